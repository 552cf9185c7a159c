#include "guest/vmcore_notes.hpp"

#include <elf.h>
#include <sys/procfs.h>

#include <array>
#include <cstddef>
#include <cstring>

#include "guest/monitor/register_text.hpp"

namespace cbit::guest {
namespace {

using isa::Gpr;
using isa::Segment;

// Name and contents are padded to 4 bytes: gABI, "Note Section".
void append_note(Bytes& to, std::string_view name, std::uint32_t type, ConstByteSpan contents) {
  const Elf64_Nhdr header{static_cast<std::uint32_t>(name.size() + 1),
                          static_cast<std::uint32_t>(contents.size()), type};
  const auto append_padded = [&to](ConstByteSpan bytes, std::size_t zeros) {
    to.insert(to.end(), bytes.begin(), bytes.end());
    to.resize(align_up(to.size() + zeros, 4));
  };
  append_padded(bytes_of(header), 0);
  append_padded(std::as_bytes(std::span{name}), 1);
  append_padded(contents, 0);
}

// struct user_regs_struct of arch/x86/include/asm/user_64.h, in its order.
elf_prstatus status_of(const cpu::Cpu& cpu) {
  const cpu::Registers from = cpu.registers();
  const auto gpr = [&](Gpr reg) { return from[reg]; };
  const auto selector = [&](Segment segment) { return from.segment(segment).selector; };
  const user_regs_struct to{.r15 = gpr(Gpr::r15),
                            .r14 = gpr(Gpr::r14),
                            .r13 = gpr(Gpr::r13),
                            .r12 = gpr(Gpr::r12),
                            .rbp = gpr(Gpr::rbp),
                            .rbx = gpr(Gpr::rbx),
                            .r11 = gpr(Gpr::r11),
                            .r10 = gpr(Gpr::r10),
                            .r9 = gpr(Gpr::r9),
                            .r8 = gpr(Gpr::r8),
                            .rax = gpr(Gpr::rax),
                            .rcx = gpr(Gpr::rcx),
                            .rdx = gpr(Gpr::rdx),
                            .rsi = gpr(Gpr::rsi),
                            .rdi = gpr(Gpr::rdi),
                            .orig_rax = ~0ull,  // no system call
                            .rip = from.rip,
                            .cs = selector(Segment::cs),
                            .eflags = from.rflags,
                            .rsp = gpr(Gpr::rsp),
                            .ss = selector(Segment::ss),
                            .fs_base = from.segment(Segment::fs).base,
                            .gs_base = from.segment(Segment::gs).base,
                            .ds = selector(Segment::ds),
                            .es = selector(Segment::es),
                            .fs = selector(Segment::fs),
                            .gs = selector(Segment::gs)};
  elf_prstatus status{};
  status.pr_pid = cpu.index() + 1;
  static_assert(sizeof status.pr_reg == sizeof to);
  std::memcpy(&status.pr_reg, &to, sizeof to);
  return status;
}

// QEMU's struct of that name, version 1.
struct QemuCpuSegment {
  std::uint32_t selector = 0;
  std::uint32_t limit = 0;
  std::uint32_t flags = 0;  // the upper word of the descriptor
  std::uint32_t pad = 0;
  std::uint64_t base = 0;
};

struct QemuCpuState {
  std::uint32_t version = 1;
  std::uint32_t size = sizeof(QemuCpuState);
  std::uint64_t rax = 0, rbx = 0, rcx = 0, rdx = 0, rsi = 0, rdi = 0, rsp = 0, rbp = 0;
  std::uint64_t r8 = 0, r9 = 0, r10 = 0, r11 = 0, r12 = 0, r13 = 0, r14 = 0, r15 = 0;
  std::uint64_t rip = 0, rflags = 0;
  QemuCpuSegment cs, ds, es, fs, gs, ss;
  QemuCpuSegment ldt, tr, gdt, idt;
  std::array<std::uint64_t, 5> cr{};
};
static_assert(sizeof(QemuCpuSegment) == 24);
static_assert(offsetof(QemuCpuState, cs) == 152 && sizeof(QemuCpuState) == 432);

QemuCpuSegment qemu_segment(const cpu::SegmentRegister& from) {
  return {.selector = from.selector,
          .limit = from.limit,
          .flags = in_descriptor(from.attributes),
          .base = from.base};
}

QemuCpuState qemu_state_of(const cpu::Registers& from) {
  const auto gpr = [&](Gpr reg) { return from[reg]; };
  const auto segment = [&](Segment which) { return qemu_segment(from.segment(which)); };
  return {.rax = gpr(Gpr::rax),
          .rbx = gpr(Gpr::rbx),
          .rcx = gpr(Gpr::rcx),
          .rdx = gpr(Gpr::rdx),
          .rsi = gpr(Gpr::rsi),
          .rdi = gpr(Gpr::rdi),
          .rsp = gpr(Gpr::rsp),
          .rbp = gpr(Gpr::rbp),
          .r8 = gpr(Gpr::r8),
          .r9 = gpr(Gpr::r9),
          .r10 = gpr(Gpr::r10),
          .r11 = gpr(Gpr::r11),
          .r12 = gpr(Gpr::r12),
          .r13 = gpr(Gpr::r13),
          .r14 = gpr(Gpr::r14),
          .r15 = gpr(Gpr::r15),
          .rip = from.rip,
          .rflags = from.rflags,
          .cs = segment(Segment::cs),
          .ds = segment(Segment::ds),
          .es = segment(Segment::es),
          .fs = segment(Segment::fs),
          .gs = segment(Segment::gs),
          .ss = segment(Segment::ss),
          .ldt = qemu_segment(from.ldtr),
          .tr = qemu_segment(from.tr),
          .gdt = {.limit = from.gdtr.limit, .base = from.gdtr.base},
          .idt = {.limit = from.idtr.limit, .base = from.idtr.base},
          .cr = {from.cr0, 0, from.cr2, from.cr3, from.cr4}};
}

}  // namespace

Bytes vmcore_notes(const Pc& pc, std::string_view vmcoreinfo) {
  Bytes notes;
  for (std::size_t number = 0; number < pc.cpu_count(); ++number)
    append_note(notes, "CORE", NT_PRSTATUS, bytes_of(status_of(pc.cpu(number))));
  for (std::size_t number = 0; number < pc.cpu_count(); ++number)
    append_note(notes, "QEMU", 0, bytes_of(qemu_state_of(pc.cpu(number).registers())));
  if (!vmcoreinfo.empty()) append_note(notes, "VMCOREINFO", 0, std::as_bytes(std::span{vmcoreinfo}));
  return notes;
}

}  // namespace cbit::guest
