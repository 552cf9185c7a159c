// The stack, by modes: a 64-bit stack has operations of its own, the others are put together.
#include "isa/builder.hpp"

namespace cbit::isa {
namespace {
constexpr Slot rsp = slot_of(Gpr::rsp);
}

Address Builder::stack_address(Slot pointer, unsigned bytes, AccessKind access) {
  if (is_64()) return {.base = pointer, .stack = true};
  if (mode_.stack_bytes() == 2) zero_extend_16(pointer);
  return in_segment(pointer, Segment::ss, bytes, access);
}

void Builder::push(unsigned bytes, Slot from) {
  if (is_64()) {
    Op& op = emit(bytes == 2 ? OpCode::push_r_16 : OpCode::push_r_64);
    op.a = from;
    op.stack_fault = true;
    return;
  }
  const Slot pointer = temp();
  lea(4, pointer, {.base = rsp, .disp = -static_cast<std::int32_t>(bytes)});
  store(bytes, stack_address(pointer, bytes, AccessKind::write), from);
  set_stack_pointer(pointer);
}

void Builder::push_imm(unsigned bytes, std::uint64_t value) {
  if (is_64()) {
    Op& op = emit(bytes == 2 ? OpCode::push_i_16 : OpCode::push_i_64);
    op.imm = value;
    op.stack_fault = true;
    return;
  }
  const Slot from = temp();
  move_imm(bytes, from, value);
  push(bytes, from);
}

void Builder::load_top(unsigned bytes, Slot dst, std::int32_t distance) {
  if (is_64()) {
    load(bytes, dst, {.base = rsp, .stack = true, .disp = distance});
    return;
  }
  const Slot pointer = temp();
  lea(4, pointer, {.base = rsp, .disp = distance});
  load(bytes, dst, stack_address(pointer, bytes, AccessKind::read));
}

void Builder::drop(std::int32_t bytes) { lea(mode_.stack_bytes(), rsp, {.base = rsp, .disp = bytes}); }

// rAX is the highest. Stores may fault half way, and are then made again.
void Builder::push_block(unsigned bytes, Slot old_pointer) {
  const Slot pointer = temp();
  const auto size = static_cast<std::int32_t>(bytes);
  const Slot linear = temp();
  for (std::int32_t number = 0; number < 8; ++number) {
    lea(4, pointer, {.base = rsp, .disp = -size * (number + 1)});
    move(4, linear, pointer);
    const auto gpr = static_cast<Gpr>(number);
    const std::uint8_t temps = temps_;
    store(bytes, stack_address(linear, bytes, AccessKind::write),
          gpr == Gpr::rsp ? old_pointer : slot_of(gpr));
    temps_ = temps;
  }
  set_stack_pointer(pointer);
}

// rSP's value is skipped. A fault half way leaves the registers that have been read, as AMD's processors do;
// rSP still has its old value, so that the instruction is made again.
void Builder::pop_block(unsigned bytes) {
  const auto size = static_cast<std::int32_t>(bytes);
  const Slot skipped = temp();
  const Slot linear = temp();
  for (std::int32_t number = 7; number >= 0; --number) {
    const auto gpr = static_cast<Gpr>(number);
    lea(4, linear, {.base = rsp, .disp = size * (7 - number)});
    const std::uint8_t temps = temps_;
    load(bytes, gpr == Gpr::rsp ? skipped : slot_of(gpr), stack_address(linear, bytes, AccessKind::read));
    temps_ = temps;
  }
  drop(8 * size);
}

void Builder::set_stack_pointer(Slot from) { move(mode_.stack_bytes(), rsp, from); }

}  // namespace cbit::isa
