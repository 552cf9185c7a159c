// Helpers of instructions that change CS: far transfers, interrupts by software, returns, system calls.
// APM vol. 3, chapters 3 and 4; vol. 2, 4.11 (rules of control transfers), 6.1 (SYSCALL and SYSRET).
#include "cpu/helpers.hpp"

namespace cbit::cpu::helpers {
namespace {

using isa::FarParameters;
using isa::Gpr;
using isa::Segment;

struct FarPointer {
  std::uint64_t offset = 0;
  std::uint16_t selector = 0;
};

std::optional<FarPointer> far_pointer(Core& core, const isa::Op& op, const FarParameters& with) {
  if (!with.in_memory) return FarPointer{with.offset, with.selector};
  // AMD's processors have no offset of 64 bits here (APM vol. 3, JMP far); KVM's emulation and QEMU have, and
  // tests of both use it.
  const unsigned bytes = with.operand_bytes;
  FarPointer pointer;
  const std::uint64_t at = address_of(core, &op);
  if (!core.read(core.data_set(), at, &pointer.offset, bytes, op.stack_fault) ||
      !core.read(core.data_set(), at + bytes, &pointer.selector, sizeof pointer.selector, op.stack_fault))
    return std::nullopt;
  return pointer;
}

// A code segment as the target of a direct jump, call or return; nullopt: a fault was raised.
std::optional<Descriptor> code_target(Core& core, std::uint16_t selector, bool is_return) {
  auto descriptor = core.descriptor_at(selector, vector::gp);
  if (!descriptor) return std::nullopt;
  const SegmentAttributes attributes = descriptor->attributes;
  const std::uint32_t error = selector & ~3u;
  const unsigned rpl = selector & 3;
  const unsigned dpl = attributes.get<SegmentAttributes::Dpl>();
  const unsigned cpl = core.sys.cpl;
  const auto refuse = [&](std::uint8_t fault_vector) {
    (void)core.raise(fault_vector, error);
    return std::nullopt;
  };
  if (!attributes.get<SegmentAttributes::Memory>() || !attributes.get<SegmentAttributes::Code>())
    return refuse(vector::gp);
  if (core.long_mode() && attributes.get<SegmentAttributes::Long>() &&
      attributes.get<SegmentAttributes::Big>())
    return refuse(vector::gp);
  const bool conforming = attributes.get<SegmentAttributes::Conforming>();
  if (is_return) {
    if (rpl < cpl || (conforming ? dpl > rpl : dpl != rpl)) return refuse(vector::gp);
  } else if (conforming ? dpl > cpl : (rpl > cpl || dpl != cpl)) {
    return refuse(vector::gp);
  }
  if (!attributes.get<SegmentAttributes::Present>()) return refuse(vector::np);
  return descriptor;
}

// Whether RIP may be `offset` in a segment; else #GP(0) was raised.
bool check_offset(Core& core, const Descriptor& code, std::uint64_t offset) {
  const bool wide = core.long_mode() && code.attributes.get<SegmentAttributes::Long>();
  if (wide ? core.is_canonical_address(offset) : offset <= code.limit) return true;
  return core.refuse(vector::gp, 0);
}

void set_real_code(Core& core, std::uint16_t selector) {
  SegmentRegister cs = core.segment(Segment::cs);
  cs.selector = selector;
  cs.base = std::uint64_t{selector} << 4;
  core.set_segment(Segment::cs, cs);
  core.update_mode();
}

// The stack of a far call or return, which has values of one size.
class Stack {
 public:
  Stack(Core& core, unsigned bytes)
      : core_{&core}, bytes_{bytes}, mask_{mask_of(core.mode().stack_bytes())}, top_{gpr(core, Gpr::rsp)} {}

  [[nodiscard]] bool push(std::uint64_t value) {
    top_ -= bytes_;
    return core_->write(core_->data_set(), at(), &value, bytes_, true);
  }
  [[nodiscard]] bool pop(std::uint64_t& value) {
    value = 0;
    if (!core_->read(core_->data_set(), at(), &value, bytes_, true)) return false;
    top_ += bytes_;
    return true;
  }
  void skip(std::uint64_t bytes) { top_ += bytes; }
  [[nodiscard]] std::uint64_t top() const { return top_; }
  void commit() const { put_sized(*core_, isa::slot_of(Gpr::rsp), core_->mode().stack_bytes(), top_); }

 private:
  [[nodiscard]] std::uint64_t at() const { return core_->linear(Segment::ss, top_ & mask_); }
  Core* core_;
  unsigned bytes_;
  std::uint64_t mask_;
  std::uint64_t top_;
};

// Segments that the outer level may not use become null: APM vol. 2, 4.11.4.
void drop_inner_segments(Core& core) {
  for (const Segment which : {Segment::es, Segment::ds, Segment::fs, Segment::gs}) {
    const SegmentRegister value = core.segment(which);
    const SegmentAttributes attributes = value.attributes;
    const bool conforming =
        attributes.get<SegmentAttributes::Code>() && attributes.get<SegmentAttributes::Conforming>();
    if (attributes.get<SegmentAttributes::Present>() && !conforming &&
        attributes.get<SegmentAttributes::Dpl>() < core.sys.cpl)
      core.set_segment(which, {.base = which >= Segment::fs && core.long_mode() ? value.base : 0});
  }
}

// SS of an outer level, as a return loads it; false: a fault was raised.
bool outer_stack(Core& core, std::uint16_t selector, unsigned new_cpl, bool to_64, SegmentRegister& to) {
  const std::uint32_t error = selector & ~3u;
  if ((selector & ~3u) == 0) {
    if (!to_64 || new_cpl == 3 || (selector & 3) != new_cpl) return core.refuse(vector::gp, 0);
    to = flat_data(selector);
    to.attributes = to.attributes.with<SegmentAttributes::Dpl>(static_cast<std::uint8_t>(new_cpl));
    return true;
  }
  auto descriptor = core.descriptor_at(selector, vector::gp);
  if (!descriptor) return false;
  const SegmentAttributes attributes = descriptor->attributes;
  if ((selector & 3) != new_cpl || !attributes.get<SegmentAttributes::Memory>() ||
      attributes.get<SegmentAttributes::Code>() || !attributes.get<SegmentAttributes::Writable>() ||
      attributes.get<SegmentAttributes::Dpl>() != new_cpl)
    return core.refuse(vector::gp, error);
  if (!attributes.get<SegmentAttributes::Present>()) return core.refuse(vector::ss, error);
  if (!core.mark_accessed(*descriptor)) return false;
  to = {selector, descriptor->attributes, descriptor->limit, descriptor->base};
  return true;
}

}  // namespace

Outcome jump_far(Core& core, const isa::Op& op) {
  const FarParameters with = FarParameters::unpacked(op.imm);
  const auto pointer = far_pointer(core, op, with);
  if (!pointer) return Outcome::fault;
  if (!core.protected_mode()) {
    const Outcome left = core.leave_to(op, pointer->offset);
    set_real_code(core, pointer->selector);
    return left;
  }
  auto code = code_target(core, pointer->selector, false);
  if (!code || !check_offset(core, *code, pointer->offset) || !core.mark_accessed(*code))
    return Outcome::fault;
  const Outcome left = core.leave_to(op, pointer->offset);
  core.load_code_segment(*code, core.sys.cpl);
  core.update_mode();
  return left;
}

Outcome call_far(Core& core, const isa::Op& op) {
  const FarParameters with = FarParameters::unpacked(op.imm);
  const auto pointer = far_pointer(core, op, with);
  if (!pointer) return Outcome::fault;
  std::optional<Descriptor> code;
  if (core.protected_mode()) {
    code = code_target(core, pointer->selector, false);
    if (!code || !check_offset(core, *code, pointer->offset)) return Outcome::fault;
  }
  Stack stack{core, with.operand_bytes};
  if (!stack.push(core.segment(Segment::cs).selector) || !stack.push(core.next_rip(op)))
    return Outcome::fault;
  if (code && !core.mark_accessed(*code)) return Outcome::fault;
  stack.commit();
  const Outcome left = core.leave_to(op, pointer->offset);
  if (code) {
    core.load_code_segment(*code, core.sys.cpl);
    core.update_mode();
  } else {
    set_real_code(core, pointer->selector);
  }
  return left;
}

// RET far, to the same level or an outer one.
Outcome return_far(Core& core, const isa::Op& op) {
  const unsigned bytes = op.imm >> 16 & 0xff;
  const std::uint64_t extra = op.imm & 0xffff;
  Stack stack{core, bytes};
  std::uint64_t offset = 0;
  std::uint64_t selector = 0;
  if (!stack.pop(offset) || !stack.pop(selector)) return Outcome::fault;
  stack.skip(extra);
  const auto code_selector = static_cast<std::uint16_t>(selector);
  if (!core.protected_mode()) {
    stack.commit();
    const Outcome left = core.leave_to(op, offset);
    set_real_code(core, code_selector);
    return left;
  }
  auto code = code_target(core, code_selector, true);
  if (!code || !check_offset(core, *code, offset)) return Outcome::fault;
  const unsigned new_cpl = code_selector & 3;
  const bool outward = new_cpl != core.sys.cpl;
  std::uint64_t outer_rsp = 0;
  std::uint64_t ss_selector = 0;
  SegmentRegister ss;
  if (outward) {
    const bool to_64 = core.long_mode() && code->attributes.get<SegmentAttributes::Long>();
    if (!stack.pop(outer_rsp) || !stack.pop(ss_selector) ||
        !outer_stack(core, static_cast<std::uint16_t>(ss_selector), new_cpl, to_64, ss))
      return Outcome::fault;
  }
  if (!core.mark_accessed(*code)) return Outcome::fault;
  if (!outward) stack.commit();
  const Outcome left = core.leave_to(op, offset);
  core.load_code_segment(*code, new_cpl);
  if (outward) {
    core.set_segment(Segment::ss, ss);
    gpr(core, Gpr::rsp) = outer_rsp + extra;
    core.set_cpl(new_cpl);
    drop_inner_segments(core);
  }
  core.update_mode();
  return left;
}

namespace {

// The flags that IRET restores: APM vol. 3, IRET.
void restore_flags(Core& core, std::uint64_t value, unsigned bytes, unsigned old_cpl) {
  std::uint64_t mask = isa::status_flags | rflags::trap | rflags::direction | rflags::nested;
  if (bytes != 2) mask |= rflags::resume | rflags::alignment_check | rflags::identification;
  const unsigned iopl = static_cast<unsigned>((core.sys.flags & rflags::iopl) >> 12);
  if (old_cpl <= iopl) mask |= rflags::interrupt;
  if (old_cpl == 0) {
    mask |= rflags::iopl;
    if (bytes != 2) mask |= rflags::virtual_interrupt | rflags::virtual_pending;
  }
  core.write_flags(value, mask);
  // RF lasts for one instruction, and only breakpoints ask for it.
  if ((core.sys.dr7 & 0xff) == 0) core.sys.flags &= ~rflags::resume;
}

Outcome return_interrupt_real(Core& core, const isa::Op& op, unsigned bytes) {
  Stack stack{core, bytes};
  std::uint64_t offset = 0;
  std::uint64_t selector = 0;
  std::uint64_t saved = 0;
  if (!stack.pop(offset) || !stack.pop(selector) || !stack.pop(saved)) return Outcome::fault;
  stack.commit();
  const Outcome left = core.leave_to(op, offset);
  restore_flags(core, saved, bytes, 0);
  set_real_code(core, static_cast<std::uint16_t>(selector));
  core.unblock_nmi();
  return left;
}

}  // namespace

// In 64-bit mode SS:rSP is always on the stack; elsewhere only for an outer level.
Outcome return_interrupt(Core& core, const isa::Op& op) {
  core.order_accesses();
  const unsigned bytes = static_cast<unsigned>(op.imm);
  if (!core.protected_mode()) return return_interrupt_real(core, op, bytes);
  if ((core.sys.flags & rflags::nested) != 0) return core.raise(vector::gp, 0);
  Stack stack{core, bytes};
  std::uint64_t offset = 0;
  std::uint64_t selector = 0;
  std::uint64_t saved = 0;
  if (!stack.pop(offset) || !stack.pop(selector) || !stack.pop(saved)) return Outcome::fault;
  const auto code_selector = static_cast<std::uint16_t>(selector);
  auto code = code_target(core, code_selector, true);
  if (!code) return Outcome::fault;
  const unsigned old_cpl = core.sys.cpl;
  const unsigned new_cpl = code_selector & 3;
  const bool from_64 = core.mode().is_64();
  const bool outward = new_cpl != old_cpl;
  std::uint64_t outer_rsp = 0;
  std::uint64_t ss_selector = 0;
  SegmentRegister ss;
  if (outward || from_64) {
    const bool to_64 = core.long_mode() && code->attributes.get<SegmentAttributes::Long>();
    if (!stack.pop(outer_rsp) || !stack.pop(ss_selector) ||
        !outer_stack(core, static_cast<std::uint16_t>(ss_selector), new_cpl, to_64, ss))
      return Outcome::fault;
  }
  if (!check_offset(core, *code, offset) || !core.mark_accessed(*code)) return Outcome::fault;

  if (!outward && !from_64) stack.commit();
  const Outcome left = core.leave_to(op, offset);
  core.load_code_segment(*code, new_cpl);
  if (outward || from_64) {
    core.set_segment(Segment::ss, ss);
    put_sized(core, isa::slot_of(Gpr::rsp),
              from_64                                       ? 8
              : ss.attributes.get<SegmentAttributes::Big>() ? 4
                                                            : 2,
              outer_rsp);
  }
  restore_flags(core, saved, bytes, old_cpl);
  core.set_cpl(new_cpl);
  if (outward) drop_inner_segments(core);
  core.unblock_nmi();
  if (core.interrupt_pending()) core.kick();
  return left;
}

Outcome interrupt(Core& core, const isa::Op& op) {
  const auto with = isa::Choose<isa::SoftwareInterrupt>::unpacked(op.imm);
  const auto number = static_cast<std::uint8_t>(with.bytes);
  const EventKind kind =
      with.choice == isa::SoftwareInterrupt::debug ? EventKind::exception : EventKind::software;
  const std::uint64_t at = core.rip_of(op);
  const std::uint64_t next = core.next_rip(op);
  core.stop_at(op);
  if (kind == EventKind::exception) core.join_held_traps();
  core.deliver_software({.vector = number, .kind = kind}, at, next);
  return Outcome::leave;
}

Outcome overflow(Core& core, const isa::Op& op) {
  if (!core.flags.overflow()) return core.leave_behind(op);
  const std::uint64_t at = core.rip_of(op);
  const std::uint64_t next = core.next_rip(op);
  core.stop_at(op);
  core.deliver_software({.vector = vector::of, .kind = EventKind::software}, at, next);
  return Outcome::leave;
}

Outcome raise(Core& core, const isa::Op& op) {
  const auto number = static_cast<std::uint8_t>(op.imm);
  return (op.imm >> 8 & 1) != 0 ? core.raise(number, static_cast<std::uint32_t>(op.imm >> 16))
                                : core.raise(number);
}

// APM vol. 2, 6.1.1. Segments get fixed attributes; descriptors are not read.
Outcome syscall(Core& core, const isa::Op& op) {
  SystemRegisters& sys = core.sys;
  if ((sys.efer & efer::syscall) == 0 || !core.protected_mode()) return core.raise(vector::ud);
  const std::uint64_t next = core.next_rip(op);
  std::uint64_t target = sys.star & 0xffff'ffff;
  const auto selector = static_cast<std::uint16_t>(sys.star >> 32 & 0xfffc);
  gpr(core, Gpr::rcx) = core.long_mode() ? next : next & 0xffff'ffff;
  if (core.long_mode()) {
    gpr(core, Gpr::r11) = core.read_flags() & ~rflags::resume;
    target = core.mode().is_64() ? sys.lstar : sys.cstar;
  }
  const Outcome left = core.leave_to(op, target);
  core.set_segment(Segment::cs, core.long_mode() ? flat_code_64(selector) : flat_code_32(selector));
  core.set_segment(Segment::ss, flat_data(static_cast<std::uint16_t>(selector + 8)));
  if (core.long_mode())
    core.write_flags(core.read_flags() & ~(sys.sfmask | rflags::resume), ~std::uint64_t{0});
  else
    core.write_flags(0, rflags::interrupt | rflags::virtual_8086 | rflags::resume);
  core.set_cpl(0);
  core.step_by_new_flags();
  return left;
}

namespace {

SegmentRegister user_segment(SegmentRegister segment) {
  segment.selector |= 3;
  segment.attributes = segment.attributes.with<SegmentAttributes::Dpl>(3);
  return segment;
}

}  // namespace

// APM vol. 3, SYSRET. A return address that is not canonical faults at its fetch.
Outcome sysret(Core& core, const isa::Op& op) {
  SystemRegisters& sys = core.sys;
  if ((sys.efer & efer::syscall) == 0) return core.raise(vector::ud);
  if (!core.protected_mode() || sys.cpl != 0) return core.raise(vector::gp, 0);
  const auto selector = static_cast<std::uint16_t>(sys.star >> 48);
  const bool to_64 = core.long_mode() && op.imm == 8;
  const std::uint64_t target = to_64 ? gpr(core, Gpr::rcx) : gpr(core, Gpr::rcx) & 0xffff'ffff;
  const Outcome left = core.leave_to(op, target);
  core.set_segment(Segment::cs, user_segment(to_64 ? flat_code_64(static_cast<std::uint16_t>(selector + 16))
                                                   : flat_code_32(selector)));
  core.set_segment(Segment::ss, user_segment(flat_data(static_cast<std::uint16_t>(selector + 8))));
  if (core.long_mode())
    core.write_flags(gpr(core, Gpr::r11), ~(rflags::resume | rflags::virtual_8086));
  else
    core.write_flags(rflags::interrupt, rflags::interrupt);
  core.set_cpl(3);
  core.step_by_new_flags();
  return left;
}

// AMD processors have SYSENTER outside of long mode only, where no system of today uses it.
Outcome sysenter(Core& core, const isa::Op&) { return core.raise(vector::ud); }

}  // namespace cbit::cpu::helpers
