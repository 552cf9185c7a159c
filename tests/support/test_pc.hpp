// A PC's chipset with nothing around it: ports, the APIC pages, and a clock that the test advances.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "base/clock.hpp"
#include "bus/port_io.hpp"
#include "chipset/pc_chipset.hpp"
#include "chipset/pc_map.hpp"
#include "spec/apic.hpp"

namespace cbit::test {

class RecordingPlatform final : public chipset::PlatformControl {
 public:
  void reset(chipset::ResetKind kind) override {
    calls.push_back(kind == chipset::ResetKind::cpu ? "reset cpu" : "reset platform");
  }
  void power_off() override { calls.push_back("power off"); }
  void exit(std::uint32_t status) override { calls.push_back("exit " + std::to_string(status)); }

  std::vector<std::string> calls;
};

class RecordingPeer final : public chipset::SerialPeer {
 public:
  void transmit(std::byte byte) override { output += static_cast<char>(byte); }
  std::optional<std::byte> receive() override {
    if (input.empty()) return std::nullopt;
    const auto byte = static_cast<std::byte>(input.front());
    input.erase(input.begin());
    return byte;
  }
  void flush() override { ++flushes; }

  std::string output;
  std::string input;
  int flushes = 0;
};

struct TestPc {
  explicit TestPc(const chipset::PcConfig& config = {}) : pc{clock, platform, config} { pc.attach(ports); }

  std::uint8_t inb(std::uint16_t port) { return static_cast<std::uint8_t>(ports.read(port, 1)); }
  std::uint32_t inl(std::uint16_t port) { return ports.read(port, 4); }
  void outb(std::uint8_t value, std::uint16_t port) { ports.write(port, 1, value); }
  void outw(std::uint16_t value, std::uint16_t port) { ports.write(port, 2, value); }

  void run_us(std::uint64_t us) { clock.advance(us * 1000); }

  // The local APIC's page.
  std::uint32_t apic(std::uint32_t offset, unsigned cpu = 0) {
    std::uint32_t value = 0;
    EXPECT_TRUE(
        pc.lapic(cpu).registers().read(offset, std::as_writable_bytes(std::span{&value, 1})).has_value());
    return value;
  }
  void set_apic(std::uint32_t offset, std::uint32_t value, unsigned cpu = 0) {
    EXPECT_TRUE(pc.lapic(cpu).registers().write(offset, bytes_of(value)).has_value());
  }
  void eoi(unsigned cpu = 0) { set_apic(spec::apic_register::eoi, 0, cpu); }
  bool intr(unsigned cpu = 0) { return pc.lapic(cpu).signals().has(bus::CpuSignal::intr); }
  // What a CPU with interrupts on does: the vector, or none if there is none.
  std::optional<std::uint8_t> take(unsigned cpu = 0) {
    if (!intr(cpu)) return std::nullopt;
    return pc.lapic(cpu).acknowledge();
  }

  std::uint32_t ioapic(std::uint8_t index) {
    set_ioapic_word(spec::ioapic_mmio::select, index);
    std::uint32_t value = 0;
    EXPECT_TRUE(pc.ioapic()
                    .read(spec::ioapic_mmio::window, std::as_writable_bytes(std::span{&value, 1}))
                    .has_value());
    return value;
  }
  void set_ioapic(std::uint8_t index, std::uint32_t value) {
    set_ioapic_word(spec::ioapic_mmio::select, index);
    set_ioapic_word(spec::ioapic_mmio::window, value);
  }
  std::uint64_t entry(unsigned pin) {
    const auto index = static_cast<std::uint8_t>(0x10 + 2 * pin);
    return ioapic(index) | std::uint64_t{ioapic(static_cast<std::uint8_t>(index + 1))} << 32;
  }
  void set_entry(unsigned pin, std::uint64_t value) {
    const auto index = static_cast<std::uint8_t>(0x10 + 2 * pin);
    set_ioapic(static_cast<std::uint8_t>(index + 1), static_cast<std::uint32_t>(value >> 32));
    set_ioapic(index, static_cast<std::uint32_t>(value));
  }
  void set_ioapic_word(std::uint64_t offset, std::uint32_t value) {
    EXPECT_TRUE(pc.ioapic().write(offset, bytes_of(value)).has_value());
  }

  std::uint8_t cmos(std::uint8_t index) {
    outb(index, 0x70);
    return inb(0x71);
  }
  void set_cmos(std::uint8_t index, std::uint8_t value) {
    outb(index, 0x70);
    outb(value, 0x71);
  }

  Clock clock;
  RecordingPlatform platform;
  bus::PortSpace ports;
  chipset::PcChipset pc;
};

}  // namespace cbit::test
