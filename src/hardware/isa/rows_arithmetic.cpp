// Integer arithmetic and logic. APM vol. 3, chapter 3.
#include "isa/builder.hpp"
#include "isa/table.hpp"

namespace cbit::isa {
namespace {

// The family of a two-operand instruction, each of 8 bits. `rm` is nop where there is no such operation.
struct Family {
  OpCode rr;
  OpCode ri;
  OpCode rm;
  Atomic atomic;
};
constexpr Family add_family{OpCode::add_rr_8, OpCode::add_ri_8, OpCode::add_rm_8, Atomic::add};
constexpr Family sub_family{OpCode::sub_rr_8, OpCode::sub_ri_8, OpCode::sub_rm_8, Atomic::subtract};
constexpr Family and_family{OpCode::and_rr_8, OpCode::and_ri_8, OpCode::and_rm_8, Atomic::bit_and};
constexpr Family or_family{OpCode::or_rr_8, OpCode::or_ri_8, OpCode::or_rm_8, Atomic::bit_or};
constexpr Family xor_family{OpCode::xor_rr_8, OpCode::xor_ri_8, OpCode::xor_rm_8, Atomic::bit_xor};
constexpr Family adc_family{OpCode::adc_rr_8, OpCode::adc_ri_8, OpCode::nop, Atomic::add_carry};
constexpr Family sbb_family{OpCode::sbb_rr_8, OpCode::sbb_ri_8, OpCode::nop, Atomic::subtract_borrow};

std::uint64_t immediate(const Operand& operand) { return static_cast<std::uint64_t>(operand.value); }

// Behind the access the operation is done once more, with what memory had, for the flags.
template <const Family& family>
void lower_locked(Builder& b, const Operand& target, const Operand& source) {
  const unsigned bytes = target.bytes;
  Slot from = slot_zero;
  if (source.kind == OperandKind::immediate) {
    from = b.temp();
    b.move_imm(bytes, from, immediate(source));
  } else {
    from = b.read(source, bytes);
  }
  const Slot old = b.atomic(family.atomic, bytes, b.address(target, bytes, AccessKind::modify), from);
  b.emit(family.rr, bytes, old, old, from);
}

template <const Family& family>
void lower_two_operands(Builder& b, const Instruction& i) {
  const Operand& target = i.operands[0];
  const Operand& source = i.operands[1];
  const unsigned bytes = target.bytes;
  if (source.is_memory() && family.rm != OpCode::nop) {
    const Address at = b.address(source, bytes, AccessKind::read);
    Builder::set_address(b.emit(family.rm, bytes, Builder::slot(target), Builder::slot(target)), at);
    return;
  }
  if (b.is_atomic()) {
    lower_locked<family>(b, target, source);
    return;
  }
  if (source.kind == OperandKind::immediate) {
    b.modify(target, bytes,
             [&](Slot value) { b.emit_imm(family.ri, bytes, value, value, immediate(source)); });
    return;
  }
  const Slot from = b.read(source, bytes);
  b.modify(target, bytes, [&](Slot value) { b.emit(family.rr, bytes, value, value, from); });
}

// A comparison changes flags only. dst of an operation with memory is not used.
struct Comparison {
  OpCode rr;
  OpCode ri;
  OpCode rm;
  OpCode mr;
  OpCode mi;
};
constexpr Comparison cmp_family{OpCode::cmp_rr_8, OpCode::cmp_ri_8, OpCode::cmp_rm_8, OpCode::cmp_mr_8,
                                OpCode::cmp_mi_8};
// TEST is symmetric.
constexpr Comparison test_family{OpCode::test_rr_8, OpCode::test_ri_8, OpCode::test_mr_8, OpCode::test_mr_8,
                                 OpCode::test_mi_8};

template <const Comparison& family>
void lower_comparison(Builder& b, const Instruction& i) {
  const Operand& left = i.operands[0];
  const Operand& right = i.operands[1];
  const unsigned bytes = left.bytes;
  const bool with_immediate = right.kind == OperandKind::immediate;
  if (!left.is_memory() && !right.is_memory()) {
    if (with_immediate)
      b.emit_imm(family.ri, bytes, slot_zero, Builder::slot(left), immediate(right));
    else
      b.emit(family.rr, bytes, slot_zero, Builder::slot(left), Builder::slot(right));
    return;
  }
  const Address at = b.address(left.is_memory() ? left : right, bytes, AccessKind::read);
  Op* op = nullptr;
  if (with_immediate)
    op = &b.emit_imm(family.mi, bytes, slot_zero, slot_zero, immediate(right));
  else
    op = &b.emit(left.is_memory() ? family.mr : family.rm, bytes, slot_zero,
                 Builder::slot(left.is_memory() ? right : left));
  Builder::set_address(*op, at);
}

// INC and DEC: of one.
template <Atomic what>
Slot atomic_by_one(Builder& b, unsigned bytes, const Address& at) {
  if (what != Atomic::add && what != Atomic::subtract) return b.atomic(what, bytes, at);
  const Slot one = b.temp();
  b.move_imm(bytes, one, 1);
  return b.atomic(what, bytes, at, one);
}

template <OpCode code, Atomic what>
void lower_in_place(Builder& b, const Instruction& i) {
  const unsigned bytes = i.operands[0].bytes;
  if (b.is_atomic()) {
    const Slot old = atomic_by_one<what>(b, bytes, b.address(i.operands[0], bytes, AccessKind::modify));
    b.emit(code, bytes, old, old);
    return;
  }
  b.modify(i.operands[0], bytes, [&](Slot value) { b.emit(code, bytes, value, value); });
}

// MUL, DIV, IDIV: the operand against rAX and rDX.
template <OpCode code>
void lower_with_accumulator(Builder& b, const Instruction& i) {
  const unsigned bytes = i.operands[0].bytes;
  const Slot from = b.read(i.operands[0], bytes);
  b.emit(code, bytes, slot_zero, from);
}

void lower_imul(Builder& b, const Instruction& i) {
  if (i.operand_count == 1) {
    lower_with_accumulator<OpCode::imul_8>(b, i);
    return;
  }
  const unsigned bytes = i.operands[0].bytes;
  const Slot target = Builder::slot(i.operands[0]);
  const Slot from = b.read(i.operands[1], bytes);
  if (i.operand_count == 3)
    b.emit_imm(OpCode::imul_ri_8, bytes, target, from, immediate(i.operands[2]));
  else
    b.emit(OpCode::imul_rr_8, bytes, target, target, from);
}

void lower_xadd(Builder& b, const Instruction& i) {
  const unsigned bytes = i.operands[0].bytes;
  const Slot addend = Builder::slot(i.operands[1]);
  const Slot sum = b.temp();
  if (i.operands[0].is_general()) {
    // With one register twice, the sum wins.
    const Slot target = Builder::slot(i.operands[0]);
    b.emit(OpCode::add_rr_8, bytes, sum, target, addend);
    b.move(bytes, addend, target);
    b.move(bytes, target, sum);
    return;
  }
  if (b.is_atomic()) {
    const Slot old =
        b.atomic(Atomic::add, bytes, b.address(i.operands[0], bytes, AccessKind::modify), addend);
    b.emit(OpCode::add_rr_8, bytes, sum, old, addend);
    b.move(bytes, addend, old);
    return;
  }
  const Slot old = b.temp();
  const Address at = b.address(i.operands[0], bytes, AccessKind::modify);
  b.load_to_modify(bytes, old, at);
  b.emit(OpCode::add_rr_8, bytes, sum, old, addend);
  b.store(bytes, at, sum);
  b.move(bytes, addend, old);
}

// The destination is written in any case: with what it had, if the comparison fails.
void lower_cmpxchg(Builder& b, const Instruction& i) {
  const unsigned bytes = i.operands[0].bytes;
  const Slot from = Builder::slot(i.operands[1]);
  if (i.operands[0].is_general()) {
    const Slot target = Builder::slot(i.operands[0]);
    b.emit(OpCode::cmpxchg_8, bytes, target, target, from);
    return;
  }
  if (b.is_atomic()) {
    const Slot result = b.temp();
    const Slot old = b.atomic(Atomic::compare_exchange, bytes,
                              b.address(i.operands[0], bytes, AccessKind::modify), slot_of(Gpr::rax), from);
    b.emit(OpCode::cmpxchg_8, bytes, result, old, from);
    return;
  }
  const Slot old = b.temp();
  const Slot result = b.temp();
  // The accumulator changes before the store, which may be addressed by it.
  const Address at = b.fixed(b.address(i.operands[0], bytes, AccessKind::modify));
  b.load_to_modify(bytes, old, at);
  b.emit(OpCode::cmpxchg_8, bytes, result, old, from);
  b.store(bytes, at, result);
}

void lower_cmpxchg_pair(Builder& b, const Instruction& i) {
  const unsigned bytes = i.operands[0].bytes;
  const Address at = b.address(i.operands[0], bytes, AccessKind::modify);
  Op& op = b.call(Helper::compare_exchange_pair, bytes);
  Builder::set_address(op, at);
  op.aligned = bytes == 16;
}

// Decimal arithmetic: imm is which.
template <unsigned which>
void lower_decimal_adjust(Builder& b, const Instruction&) {
  b.call(Helper::decimal_adjust, which);
}
template <unsigned which>
void lower_decimal_multiply(Builder& b, const Instruction& i) {
  b.call(Helper::decimal_multiply, which | immediate(i.operands[0]) << 8);
}

void lower_crc32(Builder& b, const Instruction& i) {
  const Operand& source = i.operands[1];
  const Slot from = b.read(source, source.bytes);
  Op& op = b.call(Helper::crc32, source.bytes);
  op.dst = Builder::slot(i.operands[0]);
  op.a = from;
}

constexpr std::uint32_t sign_zero = flag_sf | flag_zf | flag_af | flag_pf;

constexpr Row rows[] = {
    row("add", lower_two_operands<add_family>).under(Rule::lockable).tried(),
    row("sub", lower_two_operands<sub_family>).under(Rule::lockable).tried(),
    row("adc", lower_two_operands<adc_family>).under(Rule::lockable).tried(),
    row("sbb", lower_two_operands<sbb_family>).under(Rule::lockable).tried(),
    row("and", lower_two_operands<and_family>).under(Rule::lockable).tried().leaving(flag_af),
    row("or", lower_two_operands<or_family>).under(Rule::lockable).tried().leaving(flag_af),
    row("xor", lower_two_operands<xor_family>).under(Rule::lockable).tried().leaving(flag_af),
    row("cmp", lower_comparison<cmp_family>).tried(),
    row("test", lower_comparison<test_family>).tried().leaving(flag_af),
    row("inc", lower_in_place<OpCode::inc_8, Atomic::add>).under(Rule::lockable).tried(),
    row("dec", lower_in_place<OpCode::dec_8, Atomic::subtract>).under(Rule::lockable).tried(),
    row("neg", lower_in_place<OpCode::neg_8, Atomic::negate>).under(Rule::lockable).tried(),
    row("not", lower_in_place<OpCode::complement_8, Atomic::complement>).under(Rule::lockable).tried(),
    row("mul", lower_with_accumulator<OpCode::mul_8>).tried().leaving(sign_zero),
    row("imul", lower_imul).tried().leaving(sign_zero),
    row("div", lower_with_accumulator<OpCode::div_8>).tried().leaving(status_flags),
    row("idiv", lower_with_accumulator<OpCode::idiv_8>).tried().leaving(status_flags),
    row("xadd", lower_xadd).under(Rule::lockable).tried(),
    row("cmpxchg", lower_cmpxchg).under(Rule::lockable).tried(),
    row("cmpxchg8b", lower_cmpxchg_pair).needs(Feature::cmpxchg8b).under(Rule::lockable).tried(),
    row("cmpxchg16b", lower_cmpxchg_pair).needs(Feature::cmpxchg16b).under(Rule::lockable).tried(),
    row("daa", lower_decimal_adjust<0>).under(Rule::not_64).tried().leaving(flag_of),
    row("das", lower_decimal_adjust<1>).under(Rule::not_64).tried().leaving(flag_of),
    row("aaa", lower_decimal_adjust<2>)
        .under(Rule::not_64)
        .tried()
        .leaving(flag_of | flag_sf | flag_zf | flag_pf),
    row("aas", lower_decimal_adjust<3>)
        .under(Rule::not_64)
        .tried()
        .leaving(flag_of | flag_sf | flag_zf | flag_pf),
    row("aam", lower_decimal_multiply<0>).under(Rule::not_64).tried().leaving(flag_of | flag_af | flag_cf),
    row("aad", lower_decimal_multiply<1>).under(Rule::not_64).tried().leaving(flag_of | flag_af | flag_cf),
    row("crc32", lower_crc32).needs(Feature::sse42).tried(),
    missing("adcx").needs(Feature::adx),
    missing("adox").needs(Feature::adx),
    missing("andn").needs(Feature::bmi1),
    missing("mulx").needs(Feature::bmi2),
};

}  // namespace

std::span<const Row> arithmetic_rows() { return rows; }

}  // namespace cbit::isa
