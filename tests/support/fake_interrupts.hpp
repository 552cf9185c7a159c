// An interrupt controller without registers: a test raises vectors, and sees what was acknowledged.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "bus/interrupt_source.hpp"

namespace cbit::test {

class FakeInterrupts final : public bus::InterruptSource {
 public:
  void raise(std::uint8_t vector) {
    pending_.push_back(vector);
    set_signal(bus::CpuSignal::intr, true);
  }
  void raise_nmi() { set_signal(bus::CpuSignal::nmi, true); }

  std::uint8_t acknowledge() override {
    const std::uint8_t vector = pending_.front();
    pending_.erase(pending_.begin());
    set_signal(bus::CpuSignal::intr, !pending_.empty());
    acknowledged.push_back(vector);
    return vector;
  }
  bool take_nmi() override { return take(bus::CpuSignal::nmi); }
  bool take_smi() override { return take(bus::CpuSignal::smi); }
  bool take_init() override { return take(bus::CpuSignal::init); }
  std::optional<std::uint8_t> take_startup() override { return std::nullopt; }
  std::uint8_t cr8() const override { return cr8_; }
  void set_cr8(std::uint8_t priority) override { cr8_ = priority; }
  bool enabled() const override { return true; }
  std::optional<std::uint64_t> read_msr(std::uint32_t) override { return std::nullopt; }
  bool write_msr(std::uint32_t, std::uint64_t) override { return false; }
  std::optional<PhysAddr> page() const override { return std::nullopt; }
  bus::MmioRegion& registers() override { return none_; }
  void set_tsc(const TickCounter&) override {}

  std::vector<std::uint8_t> acknowledged;

 private:
  bool take(bus::CpuSignal signal) {
    const bool there = signals().has(signal);
    set_signal(signal, false);
    return there;
  }
  std::vector<std::uint8_t> pending_;
  std::uint8_t cr8_ = 0;
  bus::RamBar none_{page_size};
};

}  // namespace cbit::test
