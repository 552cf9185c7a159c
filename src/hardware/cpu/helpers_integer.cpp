// Helpers of instructions that compute, and that do not fit into operations. APM vol. 3, chapter 3.
#include "cpu/helpers.hpp"

namespace cbit::cpu::helpers {
namespace {

using isa::Gpr;

enum Decimal : std::uint8_t { daa, das, aaa, aas };
enum DecimalMultiply : std::uint8_t { aam, aad };

std::uint32_t result_flags(std::uint8_t value) {
  return (value == 0 ? isa::flag_zf : 0) | (value >> 7 != 0 ? isa::flag_sf : 0) |
         (has_even_parity(value) ? isa::flag_pf : 0);
}

// DAA and DAS: both digits of AL.
void adjust_packed(Core& core, bool subtract) {
  const std::uint32_t before = core.flags.image();
  const auto al = static_cast<std::uint8_t>(gpr(core, Gpr::rax));
  const bool carry = (before & isa::flag_cf) != 0;
  bool carry_out = false;
  bool adjust = false;
  unsigned value = al;
  if ((al & 0xf) > 9 || (before & isa::flag_af) != 0) {
    value = subtract ? value - 6 : value + 6;
    carry_out = carry || value > 0xff;
    adjust = true;
  }
  if (al > 0x99 || carry) {
    value = subtract ? value - 0x60 : value + 0x60;
    carry_out = true;
  }
  const auto result = static_cast<std::uint8_t>(value);
  put<std::uint8_t>(core, isa::slot_of(Gpr::rax), result);
  core.flags.set(result_flags(result) | (carry_out ? isa::flag_cf : 0) | (adjust ? isa::flag_af : 0));
}

// AAA and AAS: one digit in AL, with what overflows in AH.
void adjust_unpacked(Core& core, bool subtract) {
  auto ax = static_cast<std::uint16_t>(gpr(core, Gpr::rax));
  const bool adjust = (ax & 0xf) > 9 || (core.flags.image() & isa::flag_af) != 0;
  if (adjust) ax = static_cast<std::uint16_t>(subtract ? ax - 0x106 : ax + 0x106);
  ax = static_cast<std::uint16_t>(ax & 0xff0f);
  put<std::uint16_t>(core, isa::slot_of(Gpr::rax), ax);
  core.flags.set(result_flags(static_cast<std::uint8_t>(ax)) | (adjust ? isa::flag_cf | isa::flag_af : 0));
}

}  // namespace

Outcome decimal_adjust(Core& core, const isa::Op& op) {
  if (op.imm <= das)
    adjust_packed(core, op.imm == das);
  else
    adjust_unpacked(core, op.imm == aas);
  return Outcome::next;
}

Outcome decimal_multiply(Core& core, const isa::Op& op) {
  const auto base = static_cast<std::uint8_t>(op.imm >> 8);
  const auto ax = static_cast<std::uint16_t>(gpr(core, Gpr::rax));
  const auto al = static_cast<std::uint8_t>(ax);
  std::uint16_t result = 0;
  if ((op.imm & 0xff) == aam) {
    if (base == 0) return core.raise(vector::de);
    result = static_cast<std::uint16_t>((al / base) << 8 | al % base);
  } else {
    result = static_cast<std::uint8_t>(al + (ax >> 8) * base);
  }
  put<std::uint16_t>(core, isa::slot_of(Gpr::rax), result);
  core.flags.set(result_flags(static_cast<std::uint8_t>(result)));
  return Outcome::next;
}

namespace {

struct Pair {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
};

// One access of the host's to `2 * half` aligned bytes; false: `expected` is what was there instead.
bool exchange_pair(std::byte* at, unsigned half, Pair& expected, const Pair& desired) {
  if (half == 4) {
    std::uint64_t old = expected.low | expected.high << 32;
    const bool equal = __atomic_compare_exchange_n(reinterpret_cast<std::uint64_t*>(at), &old,
                                                   (desired.low & 0xffff'ffff) | desired.high << 32, false,
                                                   __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
    expected = {old & 0xffff'ffff, old >> 32};
    return equal;
  }
  bool equal = false;
#if defined(__x86_64__)
  __extension__ using Wide = unsigned __int128;
  asm volatile("lock cmpxchg16b %1"
               : "=@ccz"(equal), "+m"(*reinterpret_cast<Wide*>(at)), "+a"(expected.low), "+d"(expected.high)
               : "b"(desired.low), "c"(desired.high)
               : "memory");
#endif
  return equal;
}

// The host's bytes of an operand that others may use at the same time; nullptr: it is accessed alone.
std::byte* shared_pair(Core& core, std::uint64_t at, unsigned bytes) {
  if (!core.is_among_others() || at % bytes != 0) return nullptr;
  return core.known_bytes(core.data_set(), at, bytes, true);
}

}  // namespace

// CMPXCHG8B and CMPXCHG16B: the operand is written in any case.
Outcome compare_exchange_pair(Core& core, const isa::Op& op) {
  const unsigned half = static_cast<unsigned>(op.imm) / 2;
  const std::uint64_t at = address_of(core, &op);
  if (op.aligned && at % (2 * half) != 0) return core.raise(vector::gp, 0);
  if (!core.check_access(at, half, true)) return Outcome::fault;
  if (std::byte* const shared = shared_pair(core, at, 2 * half)) {
    const std::uint64_t mask = mask_of(half);
    Pair found{gpr(core, Gpr::rax) & mask, gpr(core, Gpr::rdx) & mask};
    const bool equal = exchange_pair(shared, half, found, {gpr(core, Gpr::rbx), gpr(core, Gpr::rcx)});
    if (!equal) {
      gpr(core, Gpr::rax) = found.low;
      gpr(core, Gpr::rdx) = found.high;
    }
    core.flags.set((core.flags.image() & ~isa::flag_zf) | (equal ? isa::flag_zf : 0));
    return Outcome::next;
  }
  const Core::Alone alone{core};
  std::array<std::byte, 16> raw{};
  const TlbSet set = core.data_set();
  if (!core.probe_write(set, at, 2 * half, op.stack_fault) ||
      !core.read(set, at, raw.data(), 2 * half, op.stack_fault))
    return Outcome::fault;
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  std::memcpy(&low, raw.data(), half);
  std::memcpy(&high, raw.data() + half, half);
  const std::uint64_t mask = mask_of(half);
  const bool equal = low == (gpr(core, Gpr::rax) & mask) && high == (gpr(core, Gpr::rdx) & mask);
  if (equal) {
    std::memcpy(raw.data(), &gpr(core, Gpr::rbx), half);
    std::memcpy(raw.data() + half, &gpr(core, Gpr::rcx), half);
  }
  if (!core.write(set, at, raw.data(), 2 * half, op.stack_fault)) return Outcome::fault;
  if (!equal) {
    gpr(core, Gpr::rax) = low;
    gpr(core, Gpr::rdx) = high;
  }
  core.flags.set((core.flags.image() & ~isa::flag_zf) | (equal ? isa::flag_zf : 0));
  return Outcome::next;
}

Outcome crc32(Core& core, const isa::Op& op) {
  const unsigned bytes = static_cast<unsigned>(op.imm);
  const auto crc = static_cast<std::uint32_t>(get<std::uint64_t>(core, op.dst));
  put<std::uint64_t>(core, op.dst, fp::crc32(crc, get_sized(core, op.a, bytes), bytes));
  return Outcome::next;
}

// dst, b: the lower and the upper bound.
Outcome bound(Core& core, const isa::Op& op) {
  const unsigned bytes = static_cast<unsigned>(op.imm);
  const auto signed_value = [&](isa::Slot at) -> std::int64_t {
    const std::uint64_t value = get_sized(core, at, bytes);
    return bytes == 2 ? static_cast<std::int16_t>(value) : static_cast<std::int32_t>(value);
  };
  const std::int64_t index = signed_value(op.a);
  return index < signed_value(op.dst) || index > signed_value(op.b) ? core.raise(vector::br) : Outcome::next;
}

// ENTER: the frame pointers of enclosing procedures are copied. Nothing is changed before the last access.
Outcome enter_frame(Core& core, const isa::Op& op) {
  const auto space = static_cast<std::uint16_t>(op.imm);
  const unsigned level = op.imm >> 16 & 0x1f;
  const unsigned bytes = op.imm >> 24 & 0xff;
  const unsigned stack_bytes = core.mode().stack_bytes();
  const std::uint64_t stack_mask = mask_of(stack_bytes);
  const TlbSet set = core.data_set();
  std::uint64_t top = gpr(core, Gpr::rsp);
  std::uint64_t frame = gpr(core, Gpr::rbp);
  const auto at = [&](std::uint64_t pointer) { return core.linear(isa::Segment::ss, pointer & stack_mask); };
  const auto push = [&](std::uint64_t value) {
    top -= bytes;
    return core.write(set, at(top), &value, bytes, true);
  };
  if (!push(gpr(core, Gpr::rbp))) return Outcome::fault;
  const std::uint64_t new_frame = top;
  if (level > 0) {
    for (unsigned i = 1; i < level; ++i) {
      frame -= bytes;
      std::uint64_t outer = 0;
      if (!core.read(set, at(frame), &outer, bytes, true) || !push(outer)) return Outcome::fault;
    }
    if (!push(new_frame)) return Outcome::fault;
  }
  top -= space;
  // The new top must be writable.
  if (!core.probe_write(set, at(top), bytes, true)) return Outcome::fault;
  put_sized(core, isa::slot_of(Gpr::rbp), bytes, new_frame);
  put_sized(core, isa::slot_of(Gpr::rsp), stack_bytes, top);
  return Outcome::next;
}

}  // namespace cbit::cpu::helpers
