#include "isa/builder.hpp"

#include <limits>
#include <optional>

#include "base/assert.hpp"
#include "cbit/addr.hpp"
#include "isa/passes.hpp"

namespace cbit::isa {
namespace {

bool fits_32(std::int64_t value) {
  return value >= std::numeric_limits<std::int32_t>::min() &&
         value <= std::numeric_limits<std::int32_t>::max();
}

constexpr bool within(OpCode code, OpCode first, OpCode last) { return code >= first && code <= last; }

FlagSource source_of(OpCode code) {
  if (within(code, OpCode::sub_rr_8, OpCode::xor_rm_quiet_64) ||
      within(code, OpCode::cmp_rr_8, OpCode::test_mi_64) ||
      within(code, OpCode::neg_8, OpCode::neg_quiet_64) ||
      within(code, OpCode::cmpxchg_8, OpCode::cmpxchg_64))
    return FlagSource::comparison;
  if (within(code, OpCode::add_rr_8, OpCode::add_rm_quiet_64) ||
      within(code, OpCode::adc_rr_8, OpCode::sbb_ri_quiet_64) ||
      within(code, OpCode::inc_8, OpCode::dec_quiet_64) ||
      within(code, OpCode::shl_ri_8, OpCode::sar_ri_quiet_64))
    return FlagSource::result;
  return FlagSource::unknown;
}

// The place of a condition in CBIT_OPS_COMPARISONS.
std::optional<unsigned> comparison_index(Cond cond) {
  switch (cond) {
    case Cond::b: return 0;
    case Cond::nb: return 1;
    case Cond::z: return 2;
    case Cond::nz: return 3;
    case Cond::be: return 4;
    case Cond::nbe: return 5;
    case Cond::l: return 6;
    case Cond::nl: return 7;
    case Cond::le: return 8;
    case Cond::nle: return 9;
    default: return std::nullopt;
  }
}
constexpr unsigned comparisons = 10;

// The place of a condition in CBIT_OPS_SIGNS.
std::optional<unsigned> sign_index(Cond cond) {
  switch (cond) {
    case Cond::z: return 0;
    case Cond::nz: return 1;
    case Cond::s: return 2;
    case Cond::ns: return 3;
    default: return std::nullopt;
  }
}
constexpr unsigned signs = 4;

// TEST leaves OF clear, so "less" is the sign.
Cond after_test(Cond cond) {
  if (cond == Cond::l) return Cond::s;
  return cond == Cond::nl ? Cond::ns : cond;
}

struct Fusion {
  OpCode comparison;  // of 8 bits
  OpCode jump;        // of 8 bits and the first condition
  bool is_test;
};
constexpr Fusion fusions[] = {
    {OpCode::cmp_rr_8, OpCode::cmp_rr_jump_8_b, false},
    {OpCode::cmp_ri_8, OpCode::cmp_ri_jump_8_b, false},
    {OpCode::test_rr_8, OpCode::test_rr_jump_8_z, true},
    {OpCode::test_ri_8, OpCode::test_ri_jump_8_z, true},
};

std::optional<OpCode> fused(OpCode code, Cond cond) {
  for (const Fusion& fusion : fusions) {
    if (!within(code, fusion.comparison, fusion.comparison + 3)) continue;
    const unsigned size = static_cast<unsigned>(code) - static_cast<unsigned>(fusion.comparison);
    const auto index = fusion.is_test ? sign_index(after_test(cond)) : comparison_index(cond);
    if (!index) return std::nullopt;
    return fusion.jump + (size * (fusion.is_test ? signs : comparisons) + *index);
  }
  return std::nullopt;
}

}  // namespace

Builder::Builder(Mode mode, Block& block, bool atomic) : mode_{mode}, block_{&block}, atomic_{atomic} {
  block_->ops.push_back({.code = OpCode::enter});
}

void Builder::begin(const Instruction& instruction, std::uint16_t place) {
  number_ = static_cast<std::uint8_t>(block_->marks.size());
  block_->marks.push_back({place, instruction.length});
  next_place_ = static_cast<std::uint16_t>(place + instruction.length);
  address_bytes_ = instruction.address_bytes;
  temps_ = 0;
  locked_ = atomic_ && instruction.lock;
}

void Builder::finish() {
  if (!branched_) jump_to(next_place_);
  Op& enter = block_->ops.front();
  enter.disp = static_cast<std::int32_t>(block_->marks.size());
  block_->bytes = static_cast<std::uint16_t>(next_place_ - block_->marks.front().place);
  drop_dead_flags(*block_);
}

Op& Builder::emit(OpCode code) {
  const OpInfo& info = info_of(code);
  if (info.effect != FlagEffect::none && info.effect != FlagEffect::reads) flags_ = source_of(code);
  block_->ops.push_back({.code = code, .instruction = number_});
  return block_->ops.back();
}

Op& Builder::emit(OpCode code, unsigned bytes, Slot dst, Slot a, Slot b) {
  Op& op = emit(sized(code, bytes));
  op.dst = dst;
  op.a = a;
  op.b = b;
  return op;
}

Op& Builder::emit_imm(OpCode code, unsigned bytes, Slot dst, Slot a, std::uint64_t imm) {
  Op& op = emit(code, bytes, dst, a);
  op.imm = imm;
  return op;
}

Op& Builder::call(Helper helper, std::uint64_t imm) {
  Op& op = emit(OpCode::helper);
  op.helper = helper;
  op.imm = imm;
  if (info_of(helper).ends) ended_ = true;
  return op;
}

void Builder::raise(std::uint8_t vector) { call(Helper::raise, vector); }

void Builder::raise_general_protection() { call(Helper::raise, vector_gp | 1u << 8); }

Slot Builder::atomic(Atomic what, unsigned bytes, const Address& at, Slot a, Slot b) {
  const Slot old = temp();
  Op& op = call(Helper::atomic, AtomicParameters{what, bytes}.packed());
  op.dst = old;
  op.a = a;
  op.b = b;
  set_address(op, at);
  return old;
}

Slot Builder::temp() {
  CBIT_ASSERT(temps_ < RegisterFile::temps);
  return slot_of_temp(temps_++);
}

Slot Builder::slot(const Operand& reg) {
  if (reg.kind == OperandKind::xmm) return slot_of_xmm(reg.reg);
  return static_cast<Slot>(slot_of(static_cast<Gpr>(reg.reg)) + (reg.high ? 1 : 0));
}

void Builder::set_address(Op& op, const Address& address) {
  op.base = address.base;
  op.index = address.index;
  op.scale = address.scale;
  op.disp = address.disp;
  op.stack_fault = address.stack;
}

void Builder::zero_extend_16(Slot at) {
  Op& op = emit(OpCode::mov_zx_16);
  op.dst = at;
  op.a = at;
}

void Builder::lea(unsigned bytes, Slot dst, const Address& from) {
  Op& op = emit(bytes == 2 ? OpCode::lea_16 : bytes == 4 ? OpCode::lea_32 : OpCode::lea_64);
  op.dst = dst;
  set_address(op, from);
}

void Builder::add_displacement(Address& address, std::int64_t value) {
  if (fits_32(value)) {
    address.disp = static_cast<std::int32_t>(value);
    return;
  }
  const Slot distance = temp();
  move_imm(8, distance, static_cast<std::uint64_t>(value));
  if (address.base == slot_zero) {
    address.base = distance;
  } else if (address.index == slot_zero) {
    address.index = distance;
    address.scale = 0;
  } else {
    lea(8, distance, {.base = distance, .index = address.index, .scale = address.scale});
    address.index = distance;
    address.scale = 0;
  }
}

Address Builder::effective(const Operand& memory) {
  Address address;
  std::int64_t disp = memory.value;
  if (memory.base == rip_register) {
    address.base = slot_page;
    disp += next_place_;
  } else if (memory.base != no_register) {
    address.base = slot_of(static_cast<Gpr>(memory.base));
  }
  if (memory.index != no_register) {
    address.index = slot_of(static_cast<Gpr>(memory.index));
    address.scale = memory.scale;
  }
  add_displacement(address, disp);
  return address;
}

Address Builder::address(const Operand& memory, unsigned bytes, AccessKind access) {
  return is_64() ? address_64(memory) : address_segmented(memory, bytes, access);
}

// FS and GS take the place of a base or an index that is not there: no operation of their own.
Address Builder::address_64(const Operand& memory) {
  Address address = effective(memory);
  if (address_bytes_ == 4) {
    const Slot offset = temp();
    lea(4, offset, address);
    address = {.base = offset};
  }
  address.stack = memory.segment == Segment::ss;
  if (memory.segment < Segment::fs) return address;
  const Slot segment = slot_of(memory.segment);
  if (address.base == slot_zero) {
    address.base = segment;
  } else if (address.index == slot_zero) {
    address.index = segment;
    address.scale = 0;
  } else {
    const Slot offset = temp();
    lea(8, offset, address);
    address = {.base = offset, .index = segment, .stack = address.stack};
  }
  return address;
}

Address Builder::address_segmented(const Operand& memory, unsigned bytes, AccessKind access) {
  const Slot offset = temp();
  lea(address_bytes_, offset, effective(memory));
  if (address_bytes_ == 2) zero_extend_16(offset);
  return in_segment(offset, memory.segment, bytes, access);
}

Address Builder::fixed(const Address& address) {
  constexpr Slot rax = slot_of(Gpr::rax);
  if (address.base != rax && address.index != rax) return address;
  const Slot linear = temp();
  lea(8, linear, address);
  return {.base = linear, .stack = address.stack};
}

Address Builder::address_beyond(const Operand& memory, Slot distance, unsigned bytes, AccessKind access) {
  const Slot offset = temp();
  lea(8, offset, effective(memory));
  lea(address_bytes_, offset, {.base = offset, .index = distance});
  if (address_bytes_ == 2) zero_extend_16(offset);
  if (!is_64()) return in_segment(offset, memory.segment, bytes, access);
  const Slot segment = memory.segment >= Segment::fs ? slot_of(memory.segment) : slot_zero;
  return {.base = offset, .index = segment, .stack = memory.segment == Segment::ss};
}

// Outside 64-bit mode an address has 32 bits. Segments without base and limit, which is what systems use,
// need no more; FS and GS are where they have them. Nobody may write by CS in protected mode (APM vol. 2,
// 4.7).
Address Builder::in_segment(Slot offset, Segment segment, unsigned bytes, AccessKind access) {
  const bool stack = segment == Segment::ss;
  const bool writes_code = segment == Segment::cs && access != AccessKind::read;
  if (!mode_.get<Mode::Segmented>() && segment < Segment::fs && !writes_code)
    return {.base = offset, .stack = stack};
  Op& check = call(Helper::check_segment);
  check.a = offset;
  check.imm = static_cast<std::uint64_t>(segment) | bytes << 8 |
              (access == AccessKind::read ? 0 : std::uint64_t{1} << 16);
  const Slot linear = temp();
  lea(4, linear, {.base = offset, .index = slot_of(segment)});
  return {.base = linear, .stack = stack};
}

void Builder::load(unsigned bytes, Slot dst, const Address& from) {
  set_address(emit(OpCode::load_8, bytes, dst, slot_zero), from);
}

void Builder::load_to_modify(unsigned bytes, Slot dst, const Address& from) {
  set_address(emit(OpCode::load_to_modify_8, bytes, dst, slot_zero), from);
}

void Builder::store(unsigned bytes, const Address& to, Slot from) {
  set_address(emit(OpCode::store_r_8, bytes, slot_zero, from), to);
}

void Builder::store_imm(unsigned bytes, const Address& to, std::uint64_t value) {
  set_address(emit_imm(OpCode::store_i_8, bytes, slot_zero, slot_zero, value), to);
}

Slot Builder::read(const Operand& operand, unsigned bytes) {
  if (operand.is_general()) return slot(operand);
  const Slot value = temp();
  if (operand.is_memory())
    load(bytes, value, address(operand, bytes, AccessKind::read));
  else
    move_imm(bytes, value, static_cast<std::uint64_t>(operand.value));
  return value;
}

void Builder::write(const Operand& operand, unsigned bytes, Slot from) {
  if (operand.is_general())
    move(bytes, slot(operand), from);
  else
    store(bytes, address(operand, bytes, AccessKind::write), from);
}

void Builder::exit_to(std::int64_t place) {
  Op& exit = emit(near(place) ? OpCode::exit : OpCode::exit_page);
  constexpr std::int64_t limit = std::numeric_limits<std::int32_t>::max();
  exit.a = static_cast<Slot>(place > limit ? place - limit : 0);
  exit.disp = static_cast<std::int32_t>(place - exit.a);
}

bool Builder::near(std::int64_t place) const {
  return place >= 0 && place < static_cast<std::int64_t>(page_size) && !block_->crosses;
}

void Builder::jump_to(std::int64_t place) {
  branched_ = ended_ = true;
  emit(OpCode::jump);
  exit_to(place);
}

void Builder::branch(const Op& op, std::int64_t place) {
  branched_ = ended_ = true;
  Op& emitted = emit(op.code);
  const std::uint8_t number = emitted.instruction;
  emitted = op;
  emitted.instruction = number;
  exit_to(next_place_);
  exit_to(place);
}

bool Builder::fuse_with_comparison(Cond cond, std::int64_t place) {
  const Op last = block_->ops.back();
  const auto code = fused(last.code, cond);
  if (!code) return false;
  block_->ops.pop_back();
  Op op = last;
  op.code = *code;
  branch(op, place);
  return true;
}

void Builder::jump_if(Cond cond, std::int64_t place) {
  if (fuse_with_comparison(cond, place)) return;
  Op op{.code = conditional(OpCode::jump_o, cond)};
  if (flags_ == FlagSource::comparison) {
    if (const auto index = comparison_index(cond)) op.code = OpCode::jump_compared_b + *index;
  } else if (flags_ == FlagSource::result) {
    if (const auto index = sign_index(cond)) op.code = OpCode::jump_result_z + *index;
  }
  branch(op, place);
}

void Builder::set_if(Cond cond, Slot dst) {
  OpCode code = conditional(OpCode::set_o, cond);
  if (flags_ == FlagSource::comparison)
    if (const auto index = comparison_index(cond)) code = OpCode::set_compared_b + *index;
  emit(code).dst = dst;
}

void Builder::move_if(Cond cond, unsigned bytes, Slot dst, Slot a) {
  OpCode code = conditional(bytes == 2   ? OpCode::move_16_o
                            : bytes == 4 ? OpCode::move_32_o
                                         : OpCode::move_64_o,
                            cond);
  if (flags_ == FlagSource::comparison && bytes != 2)
    if (const auto index = comparison_index(cond))
      code = (bytes == 4 ? OpCode::move_32_compared_b : OpCode::move_64_compared_b) + *index;
  Op& op = emit(code);
  op.dst = dst;
  op.a = a;
}

void Builder::jump_indirect(Slot to) {
  branched_ = ended_ = true;
  emit(OpCode::jump_indirect).a = to;
}

void Builder::call_to(std::int64_t place) {
  branched_ = ended_ = true;
  Op& op = emit(OpCode::call_direct);
  op.imm = next_place_;
  op.stack_fault = true;
  exit_to(place);
}

void Builder::call_indirect(Slot to) {
  branched_ = ended_ = true;
  Op& op = emit(OpCode::call_indirect);
  op.a = to;
  op.imm = next_place_;
  op.stack_fault = true;
}

void Builder::return_near(std::int32_t extra) {
  branched_ = ended_ = true;
  Op& op = emit(OpCode::return_near);
  op.disp = extra;
  op.stack_fault = true;
}

void Builder::select_if_zero(Slot dst, Slot test, Slot a) {
  Op& op = emit(OpCode::select_if_zero);
  op.dst = dst;
  op.a = a;
  op.b = test;
}

Slot Builder::zero_extended(Slot from, unsigned bytes) {
  if (bytes == 8) return from;
  const Slot wide = temp();
  if (bytes == 4) {
    move(4, wide, from);
  } else {
    Op& op = emit(OpCode::mov_zx_16);
    op.dst = wide;
    op.a = from;
  }
  return wide;
}

Slot Builder::rip_of(std::int64_t place, unsigned bytes) {
  const Slot rip = temp();
  Address address{.base = slot_page};
  add_displacement(address, place);
  if (bytes == 2) move_imm(8, rip, 0);
  lea(bytes, rip, address);
  return rip;
}

}  // namespace cbit::isa
