// Shifts, rotates, and instructions on bits. APM vol. 3, chapter 3.
#include "isa/builder.hpp"
#include "isa/table.hpp"

namespace cbit::isa {
namespace {

constexpr Slot cl = slot_of(Gpr::rcx);

// The count is taken modulo 64 with a 64-bit operand, else modulo 32.
unsigned masked_count(const Operand& count, unsigned bytes) {
  return static_cast<unsigned>(count.value) & (bytes == 8 ? 63u : 31u);
}

bool is_immediate(const Operand& operand) { return operand.kind == OperandKind::immediate; }

// With a count of 0 flags stay, and of the destination at most the upper half changes, which a 32-bit
// operation clears.
void lower_no_shift(Builder& b, const Operand& target) {
  const unsigned bytes = target.bytes;
  b.modify(target, bytes, [&](Slot value) {
    if (bytes == 4) b.move(bytes, value, value);
  });
}

template <OpCode by_immediate, OpCode by_cl>
void lower_shift(Builder& b, const Instruction& i) {
  const Operand& target = i.operands[0];
  const unsigned bytes = target.bytes;
  if (!is_immediate(i.operands[1])) {
    b.modify(target, bytes, [&](Slot value) { b.emit(by_cl, bytes, value, value, cl); });
    return;
  }
  const unsigned count = masked_count(i.operands[1], bytes);
  if (count == 0) {
    lower_no_shift(b, target);
    return;
  }
  b.modify(target, bytes, [&](Slot value) { b.emit_imm(by_immediate, bytes, value, value, count); });
}

template <OpCode by_immediate, OpCode by_cl>
void lower_double_shift(Builder& b, const Instruction& i) {
  const Operand& target = i.operands[0];
  const unsigned bytes = target.bytes;
  const Slot filler = Builder::slot(i.operands[1]);
  if (!is_immediate(i.operands[2])) {
    b.modify(target, bytes, [&](Slot value) { b.emit(by_cl, bytes, value, value, filler); });
    return;
  }
  const unsigned count = masked_count(i.operands[2], bytes);
  if (count == 0) {
    lower_no_shift(b, target);
    return;
  }
  b.modify(target, bytes, [&](Slot value) {
    Op& op = b.emit(by_immediate, bytes, value, value, filler);
    op.imm = count;
  });
}

// A bit of a register, or of the bit string that begins at a memory operand: there a register's bit number
// reaches as far as it can, an immediate stays within the operand.
Address bit_string(Builder& b, const Instruction& i, AccessKind access) {
  const unsigned bytes = i.operands[0].bytes;
  const Operand& memory = i.operands[0];
  if (is_immediate(i.operands[1])) return b.address(memory, bytes, access);
  const Slot offset = b.temp();
  b.emit(OpCode::bit_address_8, bytes, offset, Builder::slot(i.operands[1]));
  return b.address_beyond(memory, offset, bytes, access);
}

template <OpCode code, Atomic what = Atomic::exchange>
void lower_bit(Builder& b, const Instruction& i) {
  constexpr bool writes = code != OpCode::bt_8;
  const Operand& target = i.operands[0];
  const unsigned bytes = target.bytes;
  const auto change = [&](Slot value) {
    Op& op = b.emit(code, bytes, value, value);
    op.b = is_immediate(i.operands[1]) ? slot_zero : Builder::slot(i.operands[1]);
    op.imm = is_immediate(i.operands[1]) ? static_cast<std::uint64_t>(i.operands[1].value) : 0;
  };
  if (target.is_general()) {
    change(Builder::slot(target));
    return;
  }
  const Address at = bit_string(b, i, writes ? AccessKind::modify : AccessKind::read);
  if (writes && b.is_atomic()) {
    Slot number = b.temp();
    if (is_immediate(i.operands[1]))
      b.move_imm(bytes, number, static_cast<std::uint64_t>(i.operands[1].value));
    else
      number = Builder::slot(i.operands[1]);
    change(b.atomic(what, bytes, at, number));
    return;
  }
  const Slot value = b.temp();
  if (writes)
    b.load_to_modify(bytes, value, at);
  else
    b.load(bytes, value, at);
  change(value);
  if (writes) b.store(bytes, at, value);
}

template <OpCode code>
void lower_count(Builder& b, const Instruction& i) {
  const unsigned bytes = i.operands[0].bytes;
  const Slot from = b.read(i.operands[1], bytes);
  b.emit(code, bytes, Builder::slot(i.operands[0]), from);
}

void lower_bswap(Builder& b, const Instruction& i) {
  const unsigned bytes = i.operands[0].bytes;
  const Slot target = Builder::slot(i.operands[0]);
  Op& op = b.emit(bytes == 8 ? OpCode::bswap_64 : bytes == 4 ? OpCode::bswap_32 : OpCode::bswap_16);
  op.dst = target;
  op.a = target;
}

void lower_movbe(Builder& b, const Instruction& i) {
  const unsigned bytes = i.operands[0].bytes;
  const Slot from = b.read(i.operands[1], bytes);
  const Slot swapped = b.temp();
  Op& op = b.emit(bytes == 8 ? OpCode::bswap_64 : bytes == 4 ? OpCode::bswap_32 : OpCode::bswap_16);
  op.dst = swapped;
  op.a = from;
  b.write(i.operands[0], bytes, swapped);
}

constexpr std::uint32_t all_but_zero = flag_cf | flag_of | flag_sf | flag_af | flag_pf;
constexpr std::uint32_t all_but_carry = flag_of | flag_sf | flag_zf | flag_af | flag_pf;

constexpr Row rows[] = {
    row("shl", lower_shift<OpCode::shl_ri_8, OpCode::shl_rc_8>).tried().leaving(flag_af | flag_of | flag_cf),
    row("shr", lower_shift<OpCode::shr_ri_8, OpCode::shr_rc_8>).tried().leaving(flag_af | flag_of | flag_cf),
    row("sar", lower_shift<OpCode::sar_ri_8, OpCode::sar_rc_8>).tried().leaving(flag_af | flag_of),
    row("rol", lower_shift<OpCode::rol_ri_8, OpCode::rol_rc_8>).tried().leaving(flag_of),
    row("ror", lower_shift<OpCode::ror_ri_8, OpCode::ror_rc_8>).tried().leaving(flag_of),
    row("rcl", lower_shift<OpCode::rcl_ri_8, OpCode::rcl_rc_8>).tried().leaving(flag_of),
    row("rcr", lower_shift<OpCode::rcr_ri_8, OpCode::rcr_rc_8>).tried().leaving(flag_of),
    row("shld", lower_double_shift<OpCode::shld_ri_8, OpCode::shld_rc_8>)
        .tried()
        .leaving(flag_af | flag_of | flag_cf),
    row("shrd", lower_double_shift<OpCode::shrd_ri_8, OpCode::shrd_rc_8>)
        .tried()
        .leaving(flag_af | flag_of | flag_cf),
    row("bt", lower_bit<OpCode::bt_8>).tried().leaving(all_but_carry & ~flag_zf),
    row("bts", lower_bit<OpCode::bts_8, Atomic::set_bit>)
        .under(Rule::lockable)
        .tried()
        .leaving(all_but_carry & ~flag_zf),
    row("btr", lower_bit<OpCode::btr_8, Atomic::reset_bit>)
        .under(Rule::lockable)
        .tried()
        .leaving(all_but_carry & ~flag_zf),
    row("btc", lower_bit<OpCode::btc_8, Atomic::flip_bit>)
        .under(Rule::lockable)
        .tried()
        .leaving(all_but_carry & ~flag_zf),
    row("bsf", lower_count<OpCode::bsf_8>).tried().leaving(all_but_zero),
    row("bsr", lower_count<OpCode::bsr_8>).tried().leaving(all_but_zero),
    row("popcnt", lower_count<OpCode::popcnt_8>).needs(Feature::popcnt).tried(),
    row("tzcnt", lower_count<OpCode::tzcnt_8>)
        .needs(Feature::bmi1)
        .tried()
        .leaving(flag_of | flag_sf | flag_af | flag_pf),
    row("lzcnt", lower_count<OpCode::lzcnt_8>)
        .needs(Feature::lzcnt)
        .tried()
        .leaving(flag_of | flag_sf | flag_af | flag_pf),
    row("bswap", lower_bswap).tried(),
    row("movbe", lower_movbe).needs(Feature::movbe).tried(),
};

}  // namespace

std::span<const Row> shift_rows() { return rows; }

}  // namespace cbit::isa
