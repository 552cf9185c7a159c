// A processor with flat memory, a port space and an interrupt controller that tests play themselves.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "base/bytes.hpp"
#include "base/clock.hpp"
#include "bus/port_io.hpp"
#include "cpu/cpu.hpp"
#include "support/fake_interrupts.hpp"

namespace cbit::test {

using cpu::Cpu;
using isa::Gpr;
using isa::Segment;

// With CBIT_TRANSLATE_AFTER=1 all tests run on code of the host: tests/CMakeLists.txt does.
inline unsigned translate_after() {
  const char* const runs = std::getenv("CBIT_TRANSLATE_AFTER");
  return runs != nullptr ? static_cast<unsigned>(std::atoi(runs)) : 0;
}

// RAM from address 0 on, with leases as mem::Memory gives them, of one key; beyond it nothing answers.
class FlatMemory final : public cpu::PhysicalSpace {
 public:
  explicit FlatMemory(std::size_t bytes) : bytes_(bytes) {}

  std::byte* lease(PhysAddr page, KeyId, mem::LeaseIntent intent, mem::LeaseHolder& holder) override {
    if (!leases || page.value() + page_size > bytes_.size()) return nullptr;
    if (intent == mem::LeaseIntent::write) {
      if (code_.contains(page)) return nullptr;
      writers_[page] = &holder;
    }
    if (intent == mem::LeaseIntent::execute) {
      code_[page] = &holder;
      if (const auto writer = writers_.extract(page)) writer.mapped()->revoke(page);
    }
    return &bytes_[page.value()];
  }
  void end_leases(PhysAddr page, mem::LeaseHolder& holder) override {
    for (auto* holders : {&writers_, &code_})
      if (const auto found = holders->find(page); found != holders->end() && found->second == &holder)
        holders->erase(found);
  }
  void end_leases(mem::LeaseHolder& holder) override {
    for (auto* holders : {&writers_, &code_})
      std::erase_if(*holders, [&](const auto& entry) { return entry.second == &holder; });
  }
  Result<void> read(PhysAddr from, ByteSpan to, KeyId) override {
    if (from.value() + to.size() > bytes_.size()) {
      device_reads.push_back(from);
      if (on_device) on_device();
      return fault(FaultKind::no_memory, from.value());
    }
    std::memcpy(to.data(), &bytes_[from.value()], to.size());
    return {};
  }
  Result<void> write(PhysAddr to, ConstByteSpan from, KeyId) override {
    if (to.value() + from.size() > bytes_.size()) {
      device_writes.push_back(to);
      if (on_device) on_device();
      return fault(FaultKind::no_memory, to.value(), true);
    }
    std::memcpy(&bytes_[to.value()], from.data(), from.size());
    if (const auto code = code_.find(to.page()); code != code_.end())
      code->second->code_written(to, from.size());
    return {};
  }
  [[nodiscard]] bool is_memory(PhysAddr at, std::uint64_t bytes) const override {
    return at.value() + bytes <= bytes_.size();
  }

  [[nodiscard]] std::byte* at(std::uint64_t address) { return &bytes_[address]; }
  template <class T>
  void store(std::uint64_t address, const T& value) {
    std::memcpy(at(address), &value, sizeof value);
  }
  template <class T>
  [[nodiscard]] T load(std::uint64_t address) {
    T value;
    std::memcpy(&value, at(address), sizeof value);
    return value;
  }

  bool leases = true;
  std::vector<PhysAddr> device_reads;
  std::vector<PhysAddr> device_writes;
  std::function<void()> on_device;

 private:
  Bytes bytes_;
  std::map<PhysAddr, mem::LeaseHolder*> writers_;
  std::map<PhysAddr, mem::LeaseHolder*> code_;
};

using Code = std::vector<std::uint8_t>;

// 64-bit mode, all of memory mapped as it lies by pages of 2 MiB that user code may use, too. Tables at 4
// KiB, a GDT, an IDT and a TSS that a test fills; code at 64 KiB, a stack below 1 MiB.
struct CpuBox {
  static constexpr std::uint64_t pml4 = 0x1000;
  static constexpr std::uint64_t pdpt = 0x2000;
  static constexpr std::uint64_t pd = 0x3000;
  static constexpr std::uint64_t pt = 0x4000;  // of [2 MiB, 4 MiB): pages of 4 KiB
  static constexpr std::uint64_t gdt = 0x5000;
  static constexpr std::uint64_t idt = 0x6000;
  static constexpr std::uint64_t tss = 0x7000;
  static constexpr std::uint64_t code_at = 0x1'0000;
  static constexpr std::uint64_t stack_top = 0x9'0000;
  static constexpr std::uint64_t small_pages = 0x20'0000;
  static constexpr std::size_t memory_bytes = 16u << 20;

  static constexpr std::uint16_t code_64 = 0x08;
  static constexpr std::uint16_t data = 0x10;
  static constexpr std::uint16_t user_code_32 = 0x1b;
  static constexpr std::uint16_t user_data = 0x23;
  static constexpr std::uint16_t user_code_64 = 0x2b;
  static constexpr std::uint16_t task = 0x30;
  static constexpr std::uint16_t code_32 = 0x40;

  explicit CpuBox(const cpu::Model& model = cpu::default_model(), cpu::Supervisor* supervisor = nullptr,
                  unsigned runs_before_translation = translate_after(),
                  std::size_t translation_bytes = cpu::CodeCache::translation_bytes_max)
      : code{memory, runs_before_translation, translation_bytes},
        cpu{{.model = model}, {memory, ports, interrupts, clock, code, supervisor}} {
    build_tables();
    cpu.set_registers(kernel_registers());
  }

  void build_tables() {
    constexpr std::uint64_t present_writable_user = 7;
    memory.store(pml4, pdpt | present_writable_user);
    memory.store(pdpt, pd | present_writable_user);
    for (std::uint64_t i = 0; i < memory_bytes >> 21; ++i)
      memory.store(pd + 8 * i, i << 21 | 0x80 | present_writable_user);
    memory.store(pd + 8, pt | present_writable_user);
    for (std::uint64_t i = 0; i < 512; ++i)
      memory.store(pt + 8 * i, (small_pages + i * page_size) | present_writable_user);
    const std::uint64_t descriptors[] = {0,
                                         0x00af'9b00'0000'ffff,  // code, 64 bits
                                         0x00cf'9300'0000'ffff,  // data
                                         0x00cf'fb00'0000'ffff,  // user code, 32 bits
                                         0x00cf'f300'0000'ffff,  // user data
                                         0x00af'fb00'0000'ffff,  // user code, 64 bits
                                         0x0000'8900'7000'0fff,  // TSS, available
                                         0,
                                         0x00cf'9b00'0000'ffff};  // code, 32 bits
    for (std::size_t i = 0; i < std::size(descriptors); ++i) memory.store(gdt + 8 * i, descriptors[i]);
  }

  static cpu::Registers kernel_registers() {
    cpu::Registers r;
    r.cr0 = 0x8005'0033;
    r.cr3 = pml4;
    r.cr4 = cpu::cr4::physical_address_extension | cpu::cr4::page_global | cpu::cr4::osfxsr |
            cpu::cr4::osxmmexcpt;
    r.efer = cpu::efer::long_mode_enable | cpu::efer::long_mode_active | cpu::efer::no_execute |
             cpu::efer::syscall;
    r.segment(Segment::cs) = cpu::flat_code_64(code_64);
    for (const Segment which : {Segment::es, Segment::ss, Segment::ds, Segment::fs, Segment::gs})
      r.segment(which) = cpu::flat_data(data);
    r.gdtr = {gdt, 0x47};
    r.idtr = {idt, 0xfff};
    r.tr = {task, cpu::SegmentAttributes{{0x8b}}, 0xfff, tss};
    r.rip = code_at;
    r[Gpr::rsp] = stack_top;
    return r;
  }

  void put_code(const Code& bytes, std::uint64_t at = code_at) {
    std::memcpy(memory.at(at), bytes.data(), bytes.size());
    code.flush();
  }
  // An interrupt gate to `handler`, in code_64.
  void set_gate(unsigned vector, std::uint64_t handler, unsigned ist = 0, unsigned dpl = 0,
                unsigned type = 0xe) {
    memory.store(idt + 16 * vector, (handler & 0xffff) | std::uint64_t{code_64} << 16 |
                                        std::uint64_t{ist} << 32 | std::uint64_t{type} << 40 |
                                        std::uint64_t{dpl} << 45 | 1ull << 47 |
                                        (handler & 0xffff'0000) << 32);
    memory.store(idt + 16 * vector + 8, handler >> 32);
  }
  void use(cpu::Registers registers) { cpu.set_registers(registers); }
  // CPL 3, in 64-bit mode.
  void become_user() {
    cpu::Registers r = cpu.registers();
    r.segment(Segment::cs) = cpu::flat_code_64(user_code_64);
    r.segment(Segment::cs).attributes.raw |= 0x60;
    r.segment(Segment::ss) = cpu::flat_data(user_data);
    r.segment(Segment::ss).attributes.raw |= 0x60;
    cpu.set_registers(r);
  }

  // Runs what put_code() left at code_at until HLT, or as long as a test may take.
  cpu::Stop run() { return cpu.run(clock.now_ns() + 1'000'000); }
  [[nodiscard]] std::uint64_t operator[](Gpr reg) { return cpu.gpr(reg); }

  FlatMemory memory{memory_bytes};
  bus::PortSpace ports;
  FakeInterrupts interrupts;
  Clock clock;
  cpu::CodeCache code;
  Cpu cpu;
};

}  // namespace cbit::test
