// Control transfers, interrupts by software, and the flags. APM vol. 3, chapter 3.
#include "isa/builder.hpp"
#include "isa/parameters.hpp"
#include "isa/table.hpp"

namespace cbit::isa {
namespace {

constexpr Slot rcx = slot_of(Gpr::rcx);

// With a 16-bit operand size RIP is cut to 16 bits: a target that has to be computed.
bool is_narrow(const Instruction& i) { return i.operand_bytes == 2; }

// A pointer in memory is longer than the operand size, and so not a near target.
bool is_far(const Instruction& i) {
  const Operand& to = i.operands[0];
  return to.kind == OperandKind::far || (to.is_memory() && to.bytes > i.operand_bytes);
}

void lower_far(Builder& b, const Instruction& i, Helper helper) {
  const Operand& to = i.operands[0];
  FarParameters parameters{.operand_bytes = i.operand_bytes, .in_memory = to.is_memory()};
  Address at;
  if (to.is_memory()) {
    at = b.address(to, to.bytes, AccessKind::read);
  } else {
    parameters.offset = static_cast<std::uint32_t>(to.value);
    parameters.selector = to.selector;
  }
  Builder::set_address(b.call(helper, parameters.packed()), at);
}

void lower_jmp(Builder& b, const Instruction& i) {
  const Operand& to = i.operands[0];
  if (is_far(i)) {
    lower_far(b, i, Helper::jump_far);
  } else if (to.kind == OperandKind::relative) {
    if (is_narrow(i))
      b.jump_indirect(b.rip_of(b.target(to), 2));
    else
      b.jump_to(b.target(to));
  } else {
    b.jump_indirect(b.zero_extended(b.read(to, i.operand_bytes), i.operand_bytes));
  }
}

void lower_call(Builder& b, const Instruction& i) {
  const Operand& to = i.operands[0];
  const unsigned bytes = i.operand_bytes;
  if (is_far(i)) {
    lower_far(b, i, Helper::call_far);
    return;
  }
  if (b.is_64() && bytes == 8) {
    if (to.kind == OperandKind::relative)
      b.call_to(b.target(to));
    else
      b.call_indirect(b.read(to, bytes));
    return;
  }
  const bool relative = to.kind == OperandKind::relative;
  const Slot target = relative ? b.rip_of(b.target(to), bytes) : b.zero_extended(b.read(to, bytes), bytes);
  b.push(bytes, b.rip_of(b.next_place(), bytes));
  b.jump_indirect(target);
}

void lower_ret(Builder& b, const Instruction& i) {
  const unsigned bytes = i.operand_bytes;
  const std::int32_t extra =
      i.operand_count > 0 ? static_cast<std::int32_t>(i.operands[0].value & 0xffff) : 0;
  if (i.opcode == 0xca || i.opcode == 0xcb) {
    b.call(Helper::return_far, static_cast<std::uint64_t>(extra) | bytes << 16);
    return;
  }
  if (b.is_64() && bytes == 8) {
    b.return_near(extra);
    return;
  }
  const Slot target = b.temp();
  b.load_top(bytes, target);
  b.drop(static_cast<std::int32_t>(bytes) + extra);
  b.jump_indirect(b.zero_extended(target, bytes));
}

// A target that must be computed is taken by jumping over a jump.
void lower_narrow_branch(Builder& b, const Instruction& i, Slot taken) {
  const Slot next = b.rip_of(b.next_place(), i.operand_bytes);
  const Slot target = b.rip_of(b.target(i.operands[0]), i.operand_bytes);
  b.select_if_zero(next, taken, target);
  b.jump_indirect(next);
}

template <Cond cond>
void lower_jump_if(Builder& b, const Instruction& i) {
  if (!is_narrow(i)) {
    b.jump_if(cond, b.target(i.operands[0]));
    return;
  }
  const Slot next = b.rip_of(b.next_place(), 2);
  const Slot target = b.rip_of(b.target(i.operands[0]), 2);
  b.move_if(cond, 8, next, target);
  b.jump_indirect(next);
}

OpCode jump_if_zero(unsigned bytes) {
  return bytes == 8   ? OpCode::jump_if_zero_64
         : bytes == 4 ? OpCode::jump_if_zero_32
                      : OpCode::jump_if_zero_16;
}

// JCXZ and its like look at the count register in the address size.
void lower_jump_if_count_zero(Builder& b, const Instruction& i) {
  if (is_narrow(i)) {
    lower_narrow_branch(b, i, b.zero_extended(rcx, i.address_bytes));
    return;
  }
  b.branch({.code = jump_if_zero(i.address_bytes), .a = rcx}, b.target(i.operands[0]));
}

// LOOP jumps while the count is not zero (and ZF is set, or clear): while "ends" is zero, that is.
template <int zero_flag>
void lower_loop(Builder& b, const Instruction& i) {
  const unsigned bytes = i.address_bytes;
  const Slot count = b.temp();
  const Slot ends = b.temp();
  b.move_imm(8, count, 0);
  b.emit_imm(OpCode::sub_ri_quiet_8, bytes, count, rcx, 1);
  b.move(bytes, rcx, count);
  const Slot one = b.temp();
  b.move_imm(8, one, 1);
  b.move_imm(8, ends, 0);
  b.select_if_zero(ends, count, one);
  if (zero_flag != 0) b.move_if(zero_flag > 0 ? Cond::nz : Cond::z, 8, ends, one);
  if (is_narrow(i))
    lower_narrow_branch(b, i, ends);
  else
    b.branch({.code = OpCode::jump_if_zero_64, .a = ends}, b.target(i.operands[0]));
}

void lower_int(Builder& b, const Instruction& i) {
  const auto vector = static_cast<unsigned>(i.operands[0].value) & 0xff;
  b.call(Helper::interrupt, Choose<SoftwareInterrupt>{SoftwareInterrupt::general, vector}.packed());
}
template <unsigned vector, SoftwareInterrupt kind>
void lower_int_short(Builder& b, const Instruction&) {
  b.call(Helper::interrupt, Choose<SoftwareInterrupt>{kind, vector}.packed());
}
void lower_into(Builder& b, const Instruction&) { b.call(Helper::overflow); }

void lower_bound(Builder& b, const Instruction& i) {
  const unsigned bytes = i.operand_bytes;
  // Each bound is an access of its own.
  Operand bound = i.operands[1];
  const Slot lower = b.temp();
  b.load(bytes, lower, b.address(bound, bytes, AccessKind::read));
  bound.value += bytes;
  const Slot upper = b.temp();
  b.load(bytes, upper, b.address(bound, bytes, AccessKind::read));
  Op& op = b.call(Helper::bound, bytes);
  op.dst = lower;
  op.a = Builder::slot(i.operands[0]);
  op.b = upper;
}

void lower_iret(Builder& b, const Instruction& i) { b.call(Helper::return_interrupt, i.operand_bytes); }

void lower_pushf(Builder& b, const Instruction& i) {
  const Slot value = b.temp();
  b.call(Helper::push_flags, i.operand_bytes).dst = value;
  b.push(i.operand_bytes, value);
}
void lower_popf(Builder& b, const Instruction& i) {
  const Slot value = b.temp();
  b.load_top(i.operand_bytes, value);
  b.call(Helper::pop_flags, i.operand_bytes).a = value;
  b.drop(i.operand_bytes);
  b.look_for_interrupts();
}

template <OpCode code, std::uint64_t imm = 0>
void lower_flag(Builder& b, const Instruction&) {
  b.emit(code).imm = imm;
}

void lower_cli(Builder& b, const Instruction&) { b.call(Helper::clear_interrupt); }
void lower_sti(Builder& b, const Instruction&) {
  b.call(Helper::set_interrupt);
  b.end_after_next();
}

void lower_salc(Builder& b, const Instruction&) {
  const Slot rax = slot_of(Gpr::rax);
  b.emit(OpCode::sbb_rr_quiet_8, 1, rax, rax, rax);
}

template <Cond cond>
constexpr Row jump_row(std::string_view mnemonic) {
  return row(mnemonic, lower_jump_if<cond>).tried();
}

constexpr Row rows[] = {
    row("jmp", lower_jmp).tried(),
    row("call", lower_call).tried(),
    row("ret", lower_ret).tried(),
    jump_row<Cond::o>("jo"),
    jump_row<Cond::no>("jno"),
    jump_row<Cond::b>("jb"),
    jump_row<Cond::nb>("jnb"),
    jump_row<Cond::z>("jz"),
    jump_row<Cond::nz>("jnz"),
    jump_row<Cond::be>("jbe"),
    jump_row<Cond::nbe>("jnbe"),
    jump_row<Cond::s>("js"),
    jump_row<Cond::ns>("jns"),
    jump_row<Cond::p>("jp"),
    jump_row<Cond::np>("jnp"),
    jump_row<Cond::l>("jl"),
    jump_row<Cond::nl>("jnl"),
    jump_row<Cond::le>("jle"),
    jump_row<Cond::nle>("jnle"),
    row("jcxz", lower_jump_if_count_zero).tried(),
    row("jecxz", lower_jump_if_count_zero).tried(),
    row("jrcxz", lower_jump_if_count_zero).tried(),
    row("loop", lower_loop<0>).tried(),
    row("loope", lower_loop<1>).tried(),
    row("loopne", lower_loop<-1>).tried(),
    row("int", lower_int),
    row("int3", lower_int_short<3, SoftwareInterrupt::one_byte>),
    row("int1", lower_int_short<1, SoftwareInterrupt::debug>),
    row("into", lower_into).under(Rule::not_64),
    row("bound", lower_bound).under(Rule::not_64).tried(),
    row("iret", lower_iret).exits(0x74),
    row("iretd", lower_iret).exits(0x74),
    row("iretq", lower_iret).under(Rule::only_64).exits(0x74),
    row("pushf", lower_pushf).tried().exits(0x70),
    row("pushfd", lower_pushf).tried().exits(0x70),
    row("pushfq", lower_pushf).tried().exits(0x70),
    row("popf", lower_popf).exits(0x71),
    row("popfd", lower_popf).exits(0x71),
    row("popfq", lower_popf).exits(0x71),
    row("lahf", lower_flag<OpCode::flags_to_ah>).needs(Feature::lahf64).tried(),
    row("sahf", lower_flag<OpCode::ah_to_flags>).needs(Feature::lahf64).tried(),
    row("clc", lower_flag<OpCode::carry_clear>).tried(),
    row("stc", lower_flag<OpCode::carry_set>).tried(),
    row("cmc", lower_flag<OpCode::carry_flip>).tried(),
    row("cld", lower_flag<OpCode::direction, 0>).tried(),
    row("std", lower_flag<OpCode::direction, 1>).tried(),
    row("cli", lower_cli),
    row("sti", lower_sti),
    row("salc", lower_salc).under(Rule::not_64).tried(),
};

}  // namespace

std::span<const Row> branch_rows() { return rows; }

}  // namespace cbit::isa
