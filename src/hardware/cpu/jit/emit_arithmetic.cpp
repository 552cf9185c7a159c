// Code of integer arithmetic and logic.
#include "cpu/jit/conditions.hpp"
#include "cpu/jit/forms.hpp"

namespace cbit::cpu::jit {
namespace {

constexpr Slot slot_rax = isa::slot_of(isa::Gpr::rax);
constexpr Slot slot_rdx = isa::slot_of(isa::Gpr::rdx);

// The second operand of an operation: a register with it, or the operation's immediate.
struct Second {
  Gp reg;
  bool is_immediate = false;
};

Second register_operand(BlockEmitter& e, const Op& op) { return {e.cache.use(op.b)}; }

Second immediate_operand(BlockEmitter& e, unsigned bytes) {
  if (bytes < 8 || e.immediate_fits()) return {{}, true};
  const Gp held = e.cache.scratch();
  e.as.mov(held, e.immediate());
  return {held};
}

// In RAX, which is then taken.
Second loaded_operand(BlockEmitter& e, unsigned bytes) {
  e.address_to_rax();
  e.load(bytes);
  return {rax};
}

void emit_host(BlockEmitter& e, asmjit::InstId id, Gp to, const Second& second, unsigned bytes) {
  if (second.is_immediate)
    e.as.emit(id, narrow(to, bytes), e.immediate_at(bytes));
  else
    e.as.emit(id, narrow(to, bytes), narrow(second.reg, bytes));
}

// Before the destination changes: what a difference was of.
void set_flags_before(BlockEmitter& e, const Form& form, Gp a, const Second& second) {
  if (!form.flagged || form.host != Inst::kIdSub) return;
  if (second.is_immediate)
    e.set_flags_of_difference_with_immediate(a, form.bytes);
  else
    e.set_flags_of_difference(a, second.reg, form.bytes);
}

void set_flags_behind(BlockEmitter& e, const Form& form, Gp result, const Second& second) {
  if (!form.flagged || form.host == Inst::kIdSub) return;
  if (form.host != Inst::kIdAdd)
    e.set_flags_of_logic(result, form.bytes);
  else if (second.is_immediate)
    e.set_flags_of_sum_with_immediate(result, form.bytes);
  else
    e.set_flags_of_sum(result, second.reg, form.bytes);
}

// The destination's register may be the second operand's, which the flags need behind the operation.
bool works_in_place(const Op& op, const Form& form, const Second& second) {
  const bool has_second_register = !second.is_immediate && second.reg != rax;
  if (has_second_register && op.dst == op.b) return false;
  return op.dst == op.a || form.bytes >= 4;
}

// dst = a (host) second.
void binary(BlockEmitter& e, const Op& op, const Form& form, const Second& second) {
  const Gp a = e.cache.use(op.a);
  set_flags_before(e, form, a, second);
  if (works_in_place(op, form, second)) {
    const Gp to = op.dst == op.a ? e.cache.change(op.dst) : e.cache.define(op.dst);
    if (to != a) e.as.mov(to, a);
    emit_host(e, form.host, to, second, form.bytes);
    set_flags_behind(e, form, to, second);
    return;
  }
  e.as.mov(rdx, a);
  emit_host(e, form.host, rdx, second, form.bytes);
  set_flags_behind(e, form, rdx, second);
  e.put(op.dst, rdx, form.bytes);
}

void emit_binary_rr(BlockEmitter& e, const Op& op, const Form& form) {
  binary(e, op, form, register_operand(e, op));
}
void emit_binary_ri(BlockEmitter& e, const Op& op, const Form& form) {
  binary(e, op, form, immediate_operand(e, form.bytes));
}
void emit_binary_rm(BlockEmitter& e, const Op& op, const Form& form) {
  binary(e, op, form, loaded_operand(e, form.bytes));
}

// RCX = CF, AF and OF as the host has them, in their places. Takes RAX.
void capture_carry_adjust_overflow(BlockEmitter& e) {
  e.as.lahf();
  e.as.seto(x86::al);
  e.as.movzx(x86::ecx, x86::ah);
  e.as.movzx(x86::eax, x86::al);
  e.as.and_(x86::ecx, Imm{isa::flag_cf | isa::flag_af});
  e.as.shl(x86::eax, Imm{11});
  e.as.or_(x86::ecx, x86::eax);
}

void with_carry(BlockEmitter& e, const Op& op, const Form& form, const Second& second) {
  const Gp a = e.cache.use(op.a);
  e.carry_to_host();
  e.as.mov(rdx, a);
  emit_host(e, form.host, rdx, second, form.bytes);
  if (form.flagged) {
    capture_carry_adjust_overflow(e);
    e.set_flags_of_result(rdx, form.bytes);
  }
  e.put(op.dst, rdx, form.bytes);
}
void emit_with_carry_rr(BlockEmitter& e, const Op& op, const Form& form) {
  with_carry(e, op, form, register_operand(e, op));
}
void emit_with_carry_ri(BlockEmitter& e, const Op& op, const Form& form) {
  with_carry(e, op, form, immediate_operand(e, form.bytes));
}

// --- Comparisons.

void compare(BlockEmitter& e, Gp a, const Second& second, unsigned bytes) {
  if (second.is_immediate)
    e.set_flags_of_difference_with_immediate(a, bytes);
  else
    e.set_flags_of_difference(a, second.reg, bytes);
}
void emit_cmp_rr(BlockEmitter& e, const Op& op, const Form& form) {
  compare(e, e.cache.use(op.a), register_operand(e, op), form.bytes);
}
void emit_cmp_ri(BlockEmitter& e, const Op& op, const Form& form) {
  compare(e, e.cache.use(op.a), immediate_operand(e, form.bytes), form.bytes);
}
void emit_cmp_rm(BlockEmitter& e, const Op& op, const Form& form) {
  compare(e, e.cache.use(op.a), loaded_operand(e, form.bytes), form.bytes);
}
void emit_cmp_mr(BlockEmitter& e, const Op& op, const Form& form) {
  const Gp b = e.cache.use(op.a);
  e.address_to_rax();
  e.load(form.bytes);
  e.set_flags_of_difference(rax, b, form.bytes);
}
void emit_cmp_mi(BlockEmitter& e, const Op&, const Form& form) {
  e.address_to_rax();
  e.load(form.bytes);
  compare(e, rax, immediate_operand(e, form.bytes), form.bytes);
}

void test(BlockEmitter& e, Gp a, const Second& second, unsigned bytes) {
  if (a != rax) e.as.mov(rax, a);
  emit_host(e, Inst::kIdAnd, rax, second, bytes);
  e.set_flags_of_logic(rax, bytes);
}
void emit_test_rr(BlockEmitter& e, const Op& op, const Form& form) {
  const Gp a = e.cache.use(op.a);
  test(e, a, register_operand(e, op), form.bytes);
}
void emit_test_ri(BlockEmitter& e, const Op& op, const Form& form) {
  test(e, e.cache.use(op.a), immediate_operand(e, form.bytes), form.bytes);
}
void emit_test_mr(BlockEmitter& e, const Op& op, const Form& form) {
  const Gp b = e.cache.use(op.a);
  e.address_to_rax();
  e.load(form.bytes);
  test(e, rax, {b}, form.bytes);
}
void emit_test_mi(BlockEmitter& e, const Op&, const Form& form) {
  e.address_to_rax();
  e.load(form.bytes);
  test(e, rax, immediate_operand(e, form.bytes), form.bytes);
}

// --- One operand.

// The host keeps CF, as the guest does.
void emit_inc_dec(BlockEmitter& e, const Op& op, const Form& form) {
  const Gp a = e.cache.use(op.a);
  if (form.flagged) e.carry_to_host();
  e.as.mov(rdx, a);
  e.as.emit(form.host, narrow(rdx, form.bytes));
  if (form.flagged) {
    capture_carry_adjust_overflow(e);
    e.set_flags_of_result(rdx, form.bytes);
  }
  e.put(op.dst, rdx, form.bytes);
}

void emit_neg(BlockEmitter& e, const Op& op, const Form& form) {
  e.as.mov(rax, e.cache.use(op.a));
  if (form.flagged) {
    e.as.xor_(x86::ecx, x86::ecx);
    e.set_flags_of_difference(rcx, rax, form.bytes);
  }
  e.as.neg(narrow(rax, form.bytes));
  e.put(op.dst, rax, form.bytes);
}

void emit_complement(BlockEmitter& e, const Op& op, const Form& form) {
  e.as.mov(rax, e.cache.use(op.a));
  e.as.not_(narrow(rax, form.bytes));
  e.put(op.dst, rax, form.bytes);
}

// --- Products: the host's CF tells whether the upper half means something.

void set_product_flags(BlockEmitter& e, Gp low, unsigned bytes) {
  e.as.sbb(x86::ecx, x86::ecx);
  e.as.and_(x86::ecx, Imm{isa::flag_cf | isa::flag_of});
  e.set_flags_of_result(low, bytes);
}

// MUL and IMUL of one operand: rDX:rAX.
void emit_wide_product(BlockEmitter& e, const Op& op, const Form& form) {
  const Gp factor = e.cache.use(op.a);
  e.as.mov(rax, e.cache.use(slot_rax));
  e.as.emit(form.host, narrow(factor, form.bytes));
  if (form.flagged) set_product_flags(e, rax, form.bytes);
  e.put(slot_rax, rax, form.bytes);
  e.put(slot_rdx, rdx, form.bytes);
}

void product(BlockEmitter& e, const Op& op, const Form& form, const Second& second) {
  const Gp a = e.cache.use(op.a);
  const bool in_place = second.is_immediate || op.dst != op.b;
  const Gp to = in_place ? e.cache.define(op.dst) : Gp{rdx};
  if (second.is_immediate) {
    e.as.imul(narrow(to, form.bytes), narrow(a, form.bytes), e.immediate_at(form.bytes));
  } else {
    if (to != a) e.as.mov(to, a);
    e.as.imul(narrow(to, form.bytes), narrow(second.reg, form.bytes));
  }
  if (form.flagged) set_product_flags(e, to, form.bytes);
  if (!in_place) e.put(op.dst, to, form.bytes);
}
void emit_product_rr(BlockEmitter& e, const Op& op, const Form& form) {
  product(e, op, form, register_operand(e, op));
}
void emit_product_ri(BlockEmitter& e, const Op& op, const Form& form) {
  product(e, op, form, immediate_operand(e, form.bytes));
}

// Of an operand in memory, which is a temporary here: what is stored is b, or what was there.
void emit_cmpxchg(BlockEmitter& e, const Op& op, const Form& form) {
  if (op.dst == op.a || form.bytes < 4) {
    e.call_handler(handler_of(op.code));
    return;
  }
  const Gp old = e.cache.use(op.a);
  const Gp desired = e.cache.use(op.b);
  const Gp accumulator = e.cache.use(slot_rax);
  e.set_flags_of_difference(accumulator, old, form.bytes);
  e.as.mov(narrow(rdx, form.bytes), narrow(old, form.bytes));
  e.as.mov(rcx, desired);
  e.as.mov(rax, accumulator);
  e.as.cmp(narrow(accumulator, form.bytes), narrow(old, form.bytes));
  e.as.cmovne(rcx, rdx);
  e.as.cmovne(rax, rdx);
  e.put(op.dst, rcx, form.bytes);
  e.put(slot_rax, rax, 8);
}

}  // namespace

void add_arithmetic(FormTable& table) {
  const auto binary_family = [&](OpCode rr, OpCode ri, OpCode rm, asmjit::InstId host) {
    table.flagged(rr, {.emit = emit_binary_rr, .host = host});
    table.flagged(ri, {.emit = emit_binary_ri, .host = host});
    table.flagged(rm, {.emit = emit_binary_rm, .host = host});
  };
  binary_family(OpCode::add_rr_8, OpCode::add_ri_8, OpCode::add_rm_8, Inst::kIdAdd);
  binary_family(OpCode::sub_rr_8, OpCode::sub_ri_8, OpCode::sub_rm_8, Inst::kIdSub);
  binary_family(OpCode::and_rr_8, OpCode::and_ri_8, OpCode::and_rm_8, Inst::kIdAnd);
  binary_family(OpCode::or_rr_8, OpCode::or_ri_8, OpCode::or_rm_8, Inst::kIdOr);
  binary_family(OpCode::xor_rr_8, OpCode::xor_ri_8, OpCode::xor_rm_8, Inst::kIdXor);
  table.flagged(OpCode::adc_rr_8, {.emit = emit_with_carry_rr, .host = Inst::kIdAdc});
  table.flagged(OpCode::adc_ri_8, {.emit = emit_with_carry_ri, .host = Inst::kIdAdc});
  table.flagged(OpCode::sbb_rr_8, {.emit = emit_with_carry_rr, .host = Inst::kIdSbb});
  table.flagged(OpCode::sbb_ri_8, {.emit = emit_with_carry_ri, .host = Inst::kIdSbb});

  table.sized(OpCode::cmp_rr_8, {emit_cmp_rr});
  table.sized(OpCode::cmp_ri_8, {emit_cmp_ri});
  table.sized(OpCode::cmp_rm_8, {emit_cmp_rm});
  table.sized(OpCode::cmp_mr_8, {emit_cmp_mr});
  table.sized(OpCode::cmp_mi_8, {emit_cmp_mi});
  table.sized(OpCode::test_rr_8, {emit_test_rr});
  table.sized(OpCode::test_ri_8, {emit_test_ri});
  table.sized(OpCode::test_mr_8, {emit_test_mr});
  table.sized(OpCode::test_mi_8, {emit_test_mi});

  table.flagged(OpCode::inc_8, {.emit = emit_inc_dec, .host = Inst::kIdInc});
  table.flagged(OpCode::dec_8, {.emit = emit_inc_dec, .host = Inst::kIdDec});
  table.flagged(OpCode::neg_8, {emit_neg});
  table.sized(OpCode::complement_8, {emit_complement});

  for (unsigned wide = 2; wide < 4; ++wide) {
    const auto bytes = static_cast<std::uint8_t>(1u << wide);
    for (const bool flagged : {true, false}) {
      const unsigned at = wide + (flagged ? 0 : 4);
      table.one(OpCode::mul_8 + at,
                {.emit = emit_wide_product, .bytes = bytes, .flagged = flagged, .host = Inst::kIdMul});
      table.one(OpCode::imul_8 + at,
                {.emit = emit_wide_product, .bytes = bytes, .flagged = flagged, .host = Inst::kIdImul});
      table.one(OpCode::imul_rr_8 + at, {.emit = emit_product_rr, .bytes = bytes, .flagged = flagged});
      table.one(OpCode::imul_ri_8 + at, {.emit = emit_product_ri, .bytes = bytes, .flagged = flagged});
    }
  }
  table.sized(OpCode::cmpxchg_8, {emit_cmpxchg});
}

}  // namespace cbit::cpu::jit
