// What operations of the IR mean: the way through blocks. See ops_move.hpp.
#pragma once

#include "cpu/code_cache.hpp"
#include "cpu/ops_shift.hpp"

namespace cbit::cpu::ops {

// Code at `rip` in the present mode; nullptr if none is known.
[[nodiscard, gnu::always_inline]] inline const isa::Op* known_code(State& s, std::uint64_t rip) {
  const JumpEntry& entry = s.jumps[jump_index(rip)];
  if (entry.rip != rip) [[unlikely]]
    return nullptr;
  s.regs.page = entry.page;
  return entry.op;
}

// Goes on at `rip`, wherever that is.
CBIT_HANDLER go_to(State& s, std::uint64_t rip) {
  if (const isa::Op* op = known_code(s, rip)) [[likely]]
    return op;
  s.rip = rip;
  s.leave = Leave::lookup;
  return nullptr;
}

[[nodiscard]] inline std::uint64_t rip_of_exit(const State& s, const isa::Op* exit) {
  return (s.regs.page + static_cast<std::uint64_t>(isa::place_of_exit(*exit))) & s.rip_mask;
}

// What an exit leads to: a block, or itself.
CBIT_HANDLER follow(const isa::Op* exit) {
  return reinterpret_cast<const isa::Op*>(static_cast<std::uintptr_t>(exit->imm));
}

// In the place of State::enter_translation, where the interpreter shall do all by itself.
[[nodiscard]] const isa::Op* enter_interpreted(State* s, const void* code);
// Whether a branch to there is allowed; else it raises the exception, of this instruction.
[[nodiscard]] bool check_target(State& s, const isa::Op* op, std::uint64_t rip);
// What is out of line: the counter is used up; an exit that has no link yet.
[[nodiscard]] const isa::Op* stop_for_budget(State& s, const isa::Op* op);
[[nodiscard]] const isa::Op* exit_unlinked(State& s, const isa::Op* op);
[[nodiscard]] const isa::Op* run_helper(State& s, const isa::Op* op);
// Others are to be let alone, before the block begins.
[[nodiscard]] const isa::Op* stop_for_others(State& s, const isa::Op* op);
// A block that has run often; false: it goes on being interpreted.
[[nodiscard]] bool translate(State& s);

CBIT_HANDLER enter(State& s, const isa::Op* op) {
  s.block = reinterpret_cast<const CodeBlock*>(static_cast<std::uintptr_t>(op->imm));
  // A block that would go beyond the deadline does not begin.
  if (s.budget < op->disp) [[unlikely]]
    return stop_for_budget(s, op);
  // A block's runs are counted in its first operation, which is the block's to change.
  if (--const_cast<isa::Op*>(op)->b == 0) [[unlikely]] {
    if (translate(s)) return op;
  }
  s.budget -= op->disp;
  return op + 1;
}

// Likewise where others run blocks, too. They count its runs together, and may lose some.
CBIT_HANDLER enter_among_others(State& s, const isa::Op* op) {
  s.block = reinterpret_cast<const CodeBlock*>(static_cast<std::uintptr_t>(op->imm));
  const bool alone_in_block = s.block->mode.get<isa::Mode::OneStep>();
  if (s.wanted->load(std::memory_order_relaxed) != 0 && !alone_in_block) [[unlikely]]
    return stop_for_others(s, op);
  if (s.budget < op->disp) [[unlikely]]
    return stop_for_budget(s, op);
  if (!alone_in_block) {
    const isa::Slot runs = load_host<isa::Slot>(&op->b);
    store_host(const_cast<isa::Slot*>(&op->b), static_cast<isa::Slot>(runs - 1));
    if (runs == 1 && translate(s)) [[unlikely]]
      return op;
  }
  s.budget -= op->disp;
  return op + 1;
}

// The first operation of a block that has become code of the host.
CBIT_HANDLER translated(State& s, const isa::Op* op) {
  s.block = reinterpret_cast<const CodeBlock*>(static_cast<std::uintptr_t>(op->imm));
  return s.enter_translation(&s, s.block->translation.entry);
}

// The first operation of a block whose code is no more.
CBIT_HANDLER stale(State& s, const isa::Op* op) { return exit_unlinked(s, op); }
CBIT_HANDLER exit(State& s, const isa::Op* op) { return exit_unlinked(s, op); }

CBIT_HANDLER exit_page(State& s, const isa::Op* op) {
  const std::uint64_t rip = rip_of_exit(s, op);
  if (const isa::Op* next = known_code(s, rip)) [[likely]]
    return next;
  if (!check_target(s, op, rip)) return nullptr;
  return go_to(s, rip);
}

CBIT_HANDLER jump(State&, const isa::Op* op) { return follow(op + 1); }

CBIT_HANDLER jump_indirect(State& s, const isa::Op* op) {
  const auto rip = get<std::uint64_t>(s, op->a);
  if (const isa::Op* next = known_code(s, rip)) [[likely]]
    return next;
  if (!check_target(s, op, rip)) return nullptr;
  return go_to(s, rip);
}

CBIT_HANDLER call_direct(State& s, const isa::Op* op) {
  if (push<std::uint64_t>(s, op, s.regs.page + op->imm) == nullptr) return nullptr;
  return follow(op + 1);
}

CBIT_HANDLER call_indirect(State& s, const isa::Op* op) {
  const auto rip = get<std::uint64_t>(s, op->a);
  if (!check_target(s, op, rip)) return nullptr;
  if (push<std::uint64_t>(s, op, s.regs.page + op->imm) == nullptr) return nullptr;
  return go_to(s, rip);
}

CBIT_HANDLER return_near(State& s, const isa::Op* op) {
  std::uint64_t rip;
  if (!cpu::load<std::uint64_t>(s, op, stack_pointer(s), rip)) return nullptr;
  const isa::Op* next = known_code(s, rip);
  if (next == nullptr && !check_target(s, op, rip)) return nullptr;
  stack_pointer(s) += sizeof rip + static_cast<std::uint64_t>(op->disp);
  return next != nullptr ? next : go_to(s, rip);
}

// The exits of a conditional branch: op + 1 falls through, op + 2 is where it leads.
CBIT_HANDLER branch(const isa::Op* op, bool taken) {
  if (taken) return follow(op + 2);
  return follow(op + 1);
}

template <Cond cond>
CBIT_HANDLER jump_if(State& s, const isa::Op* op) {
  return branch(op, holds<cond>(s.flags));
}
template <Cond cond>
CBIT_HANDLER jump_if_compared(State& s, const isa::Op* op) {
  return branch(op, compares<cond>(s.flags.a, s.flags.b));
}
template <Cond cond>
CBIT_HANDLER jump_if_result(State& s, const isa::Op* op) {
  return branch(op, tells<cond>(s.flags.a));
}
template <Cond cond, class T>
CBIT_HANDLER cmp_rr_jump(State& s, const isa::Op* op) {
  const T a = get<T>(s, op->a);
  const T b = get<T>(s, op->b);
  s.flags.of_difference(a, b);
  return branch(op, compares<cond>(a, b));
}
template <Cond cond, class T>
CBIT_HANDLER cmp_ri_jump(State& s, const isa::Op* op) {
  const T a = get<T>(s, op->a);
  const T b = static_cast<T>(op->imm);
  s.flags.of_difference(a, b);
  return branch(op, compares<cond>(a, b));
}
template <Cond cond, class T>
CBIT_HANDLER test_rr_jump(State& s, const isa::Op* op) {
  const T result = static_cast<T>(get<T>(s, op->a) & get<T>(s, op->b));
  s.flags.of_logic(result);
  return branch(op, tells<cond>(result));
}
template <Cond cond, class T>
CBIT_HANDLER test_ri_jump(State& s, const isa::Op* op) {
  const T result = static_cast<T>(get<T>(s, op->a) & static_cast<T>(op->imm));
  s.flags.of_logic(result);
  return branch(op, tells<cond>(result));
}
template <class T>
CBIT_HANDLER jump_if_zero(State& s, const isa::Op* op) {
  return branch(op, get<T>(s, op->a) == 0);
}

CBIT_HANDLER helper(State& s, const isa::Op* op) { return run_helper(s, op); }

}  // namespace cbit::cpu::ops
