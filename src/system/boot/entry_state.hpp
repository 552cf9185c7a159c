// A processor's registers at the moment it enters a loaded image. What is not named here has its value after
// reset; a CPU takes the state over field by field.
#pragma once

#include <cstdint>

#include "cbit/addr.hpp"

namespace cbit::boot {

// A segment register with its hidden part, as a VMCB holds it. APM vol. 2, appendix B.
struct SegmentState {
  std::uint16_t selector = 0;
  std::uint16_t attributes = 0;  // bits 55:52 and 47:40 of the descriptor: G DB L AVL P DPL S type
  std::uint32_t limit = 0;       // in bytes
  std::uint64_t base = 0;

  friend bool operator==(const SegmentState&, const SegmentState&) = default;
};

// GDTR, IDTR.
struct TableState {
  std::uint16_t limit = 0;
  std::uint64_t base = 0;

  friend bool operator==(const TableState&, const TableState&) = default;
};

struct EntryState {
  std::uint64_t rax = 0, rbx = 0, rcx = 0, rdx = 0, rsi = 0, rdi = 0, rbp = 0, rsp = 0;
  std::uint64_t r8 = 0, r9 = 0, r10 = 0, r11 = 0, r12 = 0, r13 = 0, r14 = 0, r15 = 0;
  std::uint64_t rip = 0;
  std::uint64_t rflags = 0x2;  // interrupts off

  std::uint64_t cr0 = 0;
  PtePhys cr3;  // without the encryption bit: a guest's table walks are private whatever it says
  std::uint64_t cr4 = 0;
  std::uint64_t efer = 0;

  SegmentState cs, ds, es, fs, gs, ss, ldtr, tr;
  TableState gdtr, idtr;
};

}  // namespace cbit::boot
