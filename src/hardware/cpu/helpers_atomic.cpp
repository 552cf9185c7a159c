// Locked instructions where processors run at the same time. APM vol. 1, Write Ordering; vol. 3, LOCK.
#include "cpu/helpers.hpp"

namespace cbit::cpu::helpers {
namespace {

using isa::Atomic;
using isa::AtomicParameters;
using isa::Gpr;

struct AtomicOperands {
  std::uint64_t a = 0;
  std::uint64_t b = 0;
  bool carry = false;
};

// What memory gets for `old`.
template <class T>
T changed(Atomic what, T old, const AtomicOperands& with) {
  const auto a = static_cast<T>(with.a);
  const T bit = static_cast<T>(T{1} << (with.a % (8 * sizeof(T))));
  const T carry = with.carry ? 1 : 0;
  switch (what) {
    case Atomic::add: return static_cast<T>(old + a);
    case Atomic::subtract: return static_cast<T>(old - a);
    case Atomic::add_carry: return static_cast<T>(old + a + carry);
    case Atomic::subtract_borrow: return static_cast<T>(old - a - carry);
    case Atomic::bit_and: return static_cast<T>(old & a);
    case Atomic::bit_or: return static_cast<T>(old | a);
    case Atomic::bit_xor: return static_cast<T>(old ^ a);
    case Atomic::negate: return static_cast<T>(T{0} - old);
    case Atomic::complement: return static_cast<T>(~old);
    case Atomic::set_bit: return static_cast<T>(old | bit);
    case Atomic::reset_bit: return static_cast<T>(old & ~bit);
    case Atomic::flip_bit: return static_cast<T>(old ^ bit);
    case Atomic::exchange: return a;
    case Atomic::compare_exchange: return old == a ? static_cast<T>(with.b) : old;
  }
  return old;
}

// What memory had.
template <class T>
T change_host(void* at, Atomic what, const AtomicOperands& with) {
  T* const place = static_cast<T*>(at);
  T old = __atomic_load_n(place, __ATOMIC_RELAXED);
  while (!__atomic_compare_exchange_n(place, &old, changed(what, old, with), true, __ATOMIC_SEQ_CST,
                                      __ATOMIC_RELAXED)) {
  }
  return old;
}

// Everybody else stands still.
template <class T>
bool change_alone(Core& core, const isa::Op& op, std::uint64_t at, const AtomicOperands& with, T& old) {
  const Core::Alone alone{core};
  const TlbSet set = core.data_set();
  if (!core.probe_write(set, at, sizeof(T), op.stack_fault) ||
      !core.read(set, at, &old, sizeof(T), op.stack_fault))
    return false;
  const T value = changed(AtomicParameters::unpacked(op.imm).what, old, with);
  return core.write(set, at, &value, sizeof(T), op.stack_fault);
}

template <class T>
Outcome atomic_of(Core& core, const isa::Op& op) {
  const AtomicOperands with{get<T>(core, op.a), get<T>(core, op.b), (core.flags.image() & isa::flag_cf) != 0};
  const std::uint64_t at = address_of(core, &op);
  if (!core.check_access(at, sizeof(T), true)) return Outcome::fault;
  T old{};
  std::byte* const host =
      at % sizeof(T) == 0 ? core.known_bytes(core.data_set(), at, sizeof(T), true) : nullptr;
  if (host != nullptr)
    old = change_host<T>(host, AtomicParameters::unpacked(op.imm).what, with);
  else if (!change_alone<T>(core, op, at, with, old))
    return Outcome::fault;
  put<T>(core, op.dst, old);
  return Outcome::next;
}

}  // namespace

Outcome atomic(Core& core, const isa::Op& op) {
  switch (AtomicParameters::unpacked(op.imm).bytes) {
    case 1: return atomic_of<std::uint8_t>(core, op);
    case 2: return atomic_of<std::uint16_t>(core, op);
    case 4: return atomic_of<std::uint32_t>(core, op);
    default: return atomic_of<std::uint64_t>(core, op);
  }
}

// MFENCE. APM vol. 1, 3.9.2 (Forcing Memory Order).
Outcome fence(Core& core, const isa::Op&) {
  core.order_accesses();
  return Outcome::next;
}

}  // namespace cbit::cpu::helpers
