// Moving data: between registers, memory and the stack; widening; conditions. APM vol. 3, chapter 3.
#include "isa/builder.hpp"
#include "isa/table.hpp"

namespace cbit::isa {
namespace {

constexpr Slot rsp = slot_of(Gpr::rsp);
constexpr Slot rbp = slot_of(Gpr::rbp);
constexpr Slot rax = slot_of(Gpr::rax);
constexpr Slot rdx = slot_of(Gpr::rdx);

void lower_mov(Builder& b, const Instruction& i) {
  const Operand& to = i.operands[0];
  const Operand& from = i.operands[1];
  const unsigned bytes = to.bytes;
  if (from.kind == OperandKind::immediate) {
    const auto value = static_cast<std::uint64_t>(from.value);
    if (to.is_general())
      b.move_imm(bytes, Builder::slot(to), value);
    else
      b.store_imm(bytes, b.address(to, bytes, AccessKind::write), value);
  } else if (from.is_memory()) {
    b.load(bytes, Builder::slot(to), b.address(from, bytes, AccessKind::read));
  } else {
    b.write(to, bytes, Builder::slot(from));
  }
}

// The selector is zero-extended in a register, and 16 bits in memory.
void lower_mov_segment(Builder& b, const Instruction& i) {
  const Operand& to = i.operands[0];
  const Operand& from = i.operands[1];
  if (to.kind == OperandKind::segment) {
    b.call(Helper::load_segment, to.reg).a = b.read(from, 2);
    return;
  }
  const unsigned bytes = to.is_memory() ? 2 : i.operand_bytes;
  const Slot value = b.temp();
  b.call(Helper::store_segment, from.reg).dst = value;
  b.write(to, bytes, value);
}

void lower_mov_control(Builder& b, const Instruction& i) {
  if (i.operands[0].kind == OperandKind::control)
    b.call(Helper::write_control, i.operands[0].reg).a = Builder::slot(i.operands[1]);
  else
    b.call(Helper::read_control, i.operands[1].reg).dst = Builder::slot(i.operands[0]);
}

void lower_mov_debug(Builder& b, const Instruction& i) {
  if (i.operands[0].kind == OperandKind::debug)
    b.call(Helper::write_debug, i.operands[0].reg).a = Builder::slot(i.operands[1]);
  else
    b.call(Helper::read_debug, i.operands[1].reg).dst = Builder::slot(i.operands[0]);
}

struct Extension {
  unsigned from;
  unsigned to;
  OpCode load;  // nop: none
  OpCode move;
};
// 32 and 64 bits of zero extension are one.
constexpr Extension zero_extensions[] = {
    {1, 2, OpCode::nop, OpCode::mov_zx_8_to_16},   {1, 4, OpCode::load_zx_8, OpCode::mov_zx_8},
    {1, 8, OpCode::load_zx_8, OpCode::mov_zx_8},   {2, 4, OpCode::load_zx_16, OpCode::mov_zx_16},
    {2, 8, OpCode::load_zx_16, OpCode::mov_zx_16}, {2, 2, OpCode::load_16, OpCode::mov_rr_16},
};
constexpr Extension sign_extensions[] = {
    {1, 2, OpCode::nop, OpCode::mov_sx_8_to_16},
    {1, 4, OpCode::load_sx_8_to_32, OpCode::mov_sx_8_to_32},
    {1, 8, OpCode::load_sx_8_to_64, OpCode::mov_sx_8_to_64},
    {2, 4, OpCode::load_sx_16_to_32, OpCode::mov_sx_16_to_32},
    {2, 8, OpCode::load_sx_16_to_64, OpCode::mov_sx_16_to_64},
    {4, 8, OpCode::load_sx_32_to_64, OpCode::mov_sx_32_to_64},
    {2, 2, OpCode::load_16, OpCode::mov_rr_16},
    {4, 4, OpCode::load_32, OpCode::mov_rr_32},
};

template <const auto& extensions>
void lower_extension(Builder& b, const Instruction& i) {
  const Operand& to = i.operands[0];
  const Operand& from = i.operands[1];
  // MOVSXD with a 16-bit destination reads 16 bits.
  const unsigned from_bytes = from.bytes > to.bytes ? to.bytes : from.bytes;
  for (const Extension& extension : extensions) {
    if (extension.from != from_bytes || extension.to != to.bytes) continue;
    if (from.is_memory() && extension.load != OpCode::nop) {
      const Address at = b.address(from, from_bytes, AccessKind::read);
      Op& op = b.emit(extension.load);
      op.dst = Builder::slot(to);
      Builder::set_address(op, at);
      return;
    }
    const Slot value = b.read(from, from_bytes);
    Op& op = b.emit(extension.move);
    op.dst = Builder::slot(to);
    op.a = value;
    return;
  }
}

void lower_lea(Builder& b, const Instruction& i) {
  const unsigned bytes = i.operands[0].bytes;
  const Slot target = Builder::slot(i.operands[0]);
  const Address address = b.effective(i.operands[1]);
  if (i.address_bytes >= bytes) {
    b.lea(bytes, target, address);
    return;
  }
  // The address is narrower than the register.
  const Slot narrow = b.temp();
  b.move_imm(8, narrow, 0);
  b.lea(i.address_bytes, narrow, address);
  b.move(bytes, target, narrow);
}

void lower_xchg(Builder& b, const Instruction& i) {
  const bool first_is_memory = i.operands[0].is_memory();
  const Operand& memory = i.operands[first_is_memory ? 0 : 1];
  const Operand& reg = i.operands[first_is_memory ? 1 : 0];
  const unsigned bytes = reg.bytes;
  if (!memory.is_memory() && bytes > 1) {
    Op& op = b.emit(bytes == 8   ? OpCode::exchange_64
                    : bytes == 4 ? OpCode::exchange_32
                                 : OpCode::exchange_16);
    op.dst = Builder::slot(memory);
    op.a = Builder::slot(reg);
    return;
  }
  const Slot old = b.temp();
  if (!memory.is_memory()) {
    b.move(bytes, old, Builder::slot(memory));
    b.move(bytes, Builder::slot(memory), Builder::slot(reg));
    b.move(bytes, Builder::slot(reg), old);
    return;
  }
  const Address at = b.address(memory, bytes, AccessKind::modify);
  if (b.runs_among_others()) {
    b.move(bytes, Builder::slot(reg), b.atomic(Atomic::exchange, bytes, at, Builder::slot(reg)));
    return;
  }
  b.load_to_modify(bytes, old, at);
  b.store(bytes, at, Builder::slot(reg));
  b.move(bytes, Builder::slot(reg), old);
}

// CBW, CWDE, CDQE: into the register of twice the size. CWD, CDQ, CQO: the sign, into rDX.
template <unsigned to>
void lower_widen(Builder& b, const Instruction&) {
  Op& op = b.emit(to == 2   ? OpCode::mov_sx_8_to_16
                  : to == 4 ? OpCode::mov_sx_16_to_32
                            : OpCode::mov_sx_32_to_64);
  op.dst = rax;
  op.a = rax;
}
template <unsigned bytes>
void lower_sign(Builder& b, const Instruction&) {
  b.emit(OpCode::sign_of_8, bytes, rdx, rax);
}

void lower_xlat(Builder& b, const Instruction& i) {
  // rBX + AL, in the address size.
  const Slot index = b.temp();
  Op& widen = b.emit(OpCode::mov_zx_8);
  widen.dst = index;
  widen.a = rax;
  const Operand table{.kind = OperandKind::memory,
                      .bytes = 1,
                      .segment = i.segment,
                      .base = static_cast<std::uint8_t>(Gpr::rbx)};
  b.load(1, rax, b.address_beyond(table, index, 1, AccessKind::read));
}

void lower_push(Builder& b, const Instruction& i) {
  const Operand& from = i.operands[0];
  const unsigned bytes = i.operand_bytes;
  if (from.kind == OperandKind::immediate) {
    b.push_imm(bytes, static_cast<std::uint64_t>(from.value));
  } else if (from.kind == OperandKind::segment) {
    const Slot value = b.temp();
    b.call(Helper::store_segment, from.reg).dst = value;
    b.push(bytes, value);
  } else {
    b.push(bytes, b.read(from, bytes));
  }
}

void lower_pop(Builder& b, const Instruction& i) {
  const Operand& to = i.operands[0];
  const unsigned bytes = i.operand_bytes;
  if (to.is_general()) {
    if (b.is_64()) {
      Op& op = b.emit(bytes == 2 ? OpCode::pop_r_16 : OpCode::pop_r_64);
      op.dst = Builder::slot(to);
      op.stack_fault = true;
      return;
    }
    const Slot value = b.temp();
    b.load_top(bytes, value);
    b.drop(static_cast<std::int32_t>(bytes));
    b.move(bytes, Builder::slot(to), value);
    return;
  }
  const Slot value = b.temp();
  b.load_top(bytes, value);
  if (to.kind == OperandKind::segment) {
    b.call(Helper::load_segment, to.reg | bytes << 8).a = value;
    return;
  }
  // An address that uses rSP uses it as it is after the pop.
  Operand target = to;
  if (target.base == static_cast<std::uint8_t>(Gpr::rsp)) target.value += bytes;
  b.store(bytes, b.address(target, bytes, AccessKind::write), value);
  b.drop(static_cast<std::int32_t>(bytes));
}

// Eight registers in the order of their numbers; rSP as it was before.
void lower_push_all(Builder& b, const Instruction& i) {
  const unsigned bytes = i.operand_bytes;
  const Slot old = b.temp();
  b.move(4, old, rsp);
  b.push_block(bytes, old);
}

void lower_pop_all(Builder& b, const Instruction& i) { b.pop_block(i.operand_bytes); }

void lower_leave(Builder& b, const Instruction& i) {
  const unsigned bytes = i.operand_bytes;
  const Slot value = b.temp();
  const Slot frame = b.temp();
  b.move(8, frame, rbp);
  b.load(bytes, value, b.stack_at(frame, bytes));
  b.set_stack_pointer(rbp);
  b.drop(static_cast<std::int32_t>(bytes));
  b.move(bytes, rbp, value);
}

void lower_enter(Builder& b, const Instruction& i) {
  b.call(Helper::enter_frame, static_cast<std::uint64_t>(i.operands[0].value & 0xffff) |
                                  static_cast<std::uint64_t>(i.operands[1].value & 0x1f) << 16 |
                                  std::uint64_t{i.operand_bytes} << 24);
}

template <Cond cond>
void lower_set(Builder& b, const Instruction& i) {
  const Operand& to = i.operands[0];
  if (to.is_general()) {
    b.set_if(cond, Builder::slot(to));
    return;
  }
  const Slot value = b.temp();
  b.set_if(cond, value);
  b.write(to, 1, value);
}

template <Cond cond>
void lower_cmov(Builder& b, const Instruction& i) {
  const unsigned bytes = i.operands[0].bytes;
  const Slot from = b.read(i.operands[1], bytes);
  b.move_if(cond, bytes, Builder::slot(i.operands[0]), from);
}

void lower_movnti(Builder& b, const Instruction& i) {
  b.write(i.operands[0], i.operands[0].bytes, Builder::slot(i.operands[1]));
}

template <Cond cond>
constexpr Row set_row(std::string_view mnemonic) {
  return row(mnemonic, lower_set<cond>).tried();
}
template <Cond cond>
constexpr Row cmov_row(std::string_view mnemonic) {
  return row(mnemonic, lower_cmov<cond>).needs(Feature::cmov).tried();
}

constexpr Row rows[] = {
    row("mov", lower_mov).as(Form::general).tried(),
    row("mov", lower_mov_segment).as(Form::segment),
    row("mov", lower_mov_control).as(Form::control).under(Rule::kernel),
    row("mov", lower_mov_debug).as(Form::debug).under(Rule::kernel),
    row("movzx", lower_extension<zero_extensions>).tried(),
    row("movsx", lower_extension<sign_extensions>).tried(),
    row("movsxd", lower_extension<sign_extensions>).under(Rule::only_64).tried(),
    row("lea", lower_lea).tried(),
    row("xchg", lower_xchg).under(Rule::lockable).tried(),
    row("cbw", lower_widen<2>).tried(),
    row("cwde", lower_widen<4>).tried(),
    row("cdqe", lower_widen<8>).tried(),
    row("cwd", lower_sign<2>).tried(),
    row("cdq", lower_sign<4>).tried(),
    row("cqo", lower_sign<8>).tried(),
    row("xlat", lower_xlat).tried(),
    row("push", lower_push).as(Form::general).tried(),
    row("push", lower_push).as(Form::segment),
    row("pop", lower_pop).as(Form::general).tried(),
    row("pop", lower_pop).as(Form::segment),
    row("pusha", lower_push_all).under(Rule::not_64).tried(),
    row("pushad", lower_push_all).under(Rule::not_64).tried(),
    row("popa", lower_pop_all).under(Rule::not_64).tried(),
    row("popad", lower_pop_all).under(Rule::not_64).tried(),
    row("leave", lower_leave).tried(),
    row("enter", lower_enter).tried(),
    row("movnti", lower_movnti).needs(Feature::sse2).tried(),
    set_row<Cond::o>("seto"),
    set_row<Cond::no>("setno"),
    set_row<Cond::b>("setb"),
    set_row<Cond::nb>("setnb"),
    set_row<Cond::z>("setz"),
    set_row<Cond::nz>("setnz"),
    set_row<Cond::be>("setbe"),
    set_row<Cond::nbe>("setnbe"),
    set_row<Cond::s>("sets"),
    set_row<Cond::ns>("setns"),
    set_row<Cond::p>("setp"),
    set_row<Cond::np>("setnp"),
    set_row<Cond::l>("setl"),
    set_row<Cond::nl>("setnl"),
    set_row<Cond::le>("setle"),
    set_row<Cond::nle>("setnle"),
    cmov_row<Cond::o>("cmovo"),
    cmov_row<Cond::no>("cmovno"),
    cmov_row<Cond::b>("cmovb"),
    cmov_row<Cond::nb>("cmovnb"),
    cmov_row<Cond::z>("cmovz"),
    cmov_row<Cond::nz>("cmovnz"),
    cmov_row<Cond::be>("cmovbe"),
    cmov_row<Cond::nbe>("cmovnbe"),
    cmov_row<Cond::s>("cmovs"),
    cmov_row<Cond::ns>("cmovns"),
    cmov_row<Cond::p>("cmovp"),
    cmov_row<Cond::np>("cmovnp"),
    cmov_row<Cond::l>("cmovl"),
    cmov_row<Cond::nl>("cmovnl"),
    cmov_row<Cond::le>("cmovle"),
    cmov_row<Cond::nle>("cmovnle"),
};

}  // namespace

std::span<const Row> move_rows() { return rows; }

}  // namespace cbit::isa
