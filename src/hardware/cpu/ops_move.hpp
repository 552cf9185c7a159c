// What operations of the IR mean (isa/op_codes.hpp): moving data. Each function does one operation and
// returns the next, or nullptr where straight-line code ends (State::leave). Internal to the interpreter.
#pragma once

#include <bit>
#include <utility>

#include "cpu/memory_access.hpp"
#include "cpu/state.hpp"

// Handlers are parts of the interpreter's one function.
#define CBIT_HANDLER [[gnu::always_inline]] inline const isa::Op*

namespace cbit::cpu::ops {

CBIT_HANDLER nop(State&, const isa::Op* op) { return op + 1; }

template <class T>
CBIT_HANDLER mov_rr(State& s, const isa::Op* op) {
  put<T>(s, op->dst, get<T>(s, op->a));
  return op + 1;
}

template <class T>
CBIT_HANDLER mov_ri(State& s, const isa::Op* op) {
  put<T>(s, op->dst, static_cast<T>(op->imm));
  return op + 1;
}

template <class T>
CBIT_HANDLER load(State& s, const isa::Op* op) {
  T value;
  if (!cpu::load<T>(s, op, address_of(s, op), value)) return nullptr;
  put<T>(s, op->dst, value);
  return op + 1;
}

template <class T>
CBIT_HANDLER load_to_modify(State& s, const isa::Op* op) {
  T value;
  if (!cpu::load_to_modify<T>(s, op, address_of(s, op), value)) return nullptr;
  put<T>(s, op->dst, value);
  return op + 1;
}

template <class T>
CBIT_HANDLER store_r(State& s, const isa::Op* op) {
  const auto value = get<T>(s, op->a);
  return cpu::store<T, store_alone_slowly>(s, op, address_of(s, op), value) ? op + 1 : nullptr;
}

template <class T>
CBIT_HANDLER store_i(State& s, const isa::Op* op) {
  const auto value = static_cast<T>(op->imm);
  return cpu::store<T, store_alone_slowly>(s, op, address_of(s, op), value) ? op + 1 : nullptr;
}

// From a signed type the value is sign-extended, from an unsigned one zero-extended.
template <class From, class To>
CBIT_HANDLER load_extended(State& s, const isa::Op* op) {
  std::make_unsigned_t<From> value;
  if (!cpu::load(s, op, address_of(s, op), value)) return nullptr;
  put<To>(s, op->dst, static_cast<To>(static_cast<From>(value)));
  return op + 1;
}

template <class From, class To>
CBIT_HANDLER mov_extended(State& s, const isa::Op* op) {
  put<To>(s, op->dst, static_cast<To>(get<From>(s, op->a)));
  return op + 1;
}

template <class T>
CBIT_HANDLER lea(State& s, const isa::Op* op) {
  put<T>(s, op->dst, static_cast<T>(address_of(s, op)));
  return op + 1;
}

template <class T>
CBIT_HANDLER exchange(State& s, const isa::Op* op) {
  const T first = get<T>(s, op->dst);
  put<T>(s, op->dst, get<T>(s, op->a));
  put<T>(s, op->a, first);
  return op + 1;
}

template <class T>
CBIT_HANDLER bswap(State& s, const isa::Op* op) {
  const T value = get<T>(s, op->a);
  if constexpr (sizeof(T) == 2) put<T>(s, op->dst, __builtin_bswap16(value));
  if constexpr (sizeof(T) == 4) put<T>(s, op->dst, __builtin_bswap32(value));
  if constexpr (sizeof(T) == 8) put<T>(s, op->dst, __builtin_bswap64(value));
  return op + 1;
}

template <class T>
CBIT_HANDLER sign_of(State& s, const isa::Op* op) {
  const auto value = static_cast<std::make_signed_t<T>>(get<T>(s, op->a));
  put<T>(s, op->dst, value < 0 ? static_cast<T>(~T{0}) : T{0});
  return op + 1;
}

inline std::uint64_t& stack_pointer(State& s) { return s.regs.gpr[static_cast<std::size_t>(isa::Gpr::rsp)]; }

template <class T>
CBIT_HANDLER push(State& s, const isa::Op* op, T value) {
  const std::uint64_t at = stack_pointer(s) - sizeof(T);
  if (!cpu::store<T>(s, op, at, value)) return nullptr;
  stack_pointer(s) = at;
  return op + 1;
}
template <class T>
CBIT_HANDLER push_r(State& s, const isa::Op* op) {
  return push<T>(s, op, get<T>(s, op->a));
}
template <class T>
CBIT_HANDLER push_i(State& s, const isa::Op* op) {
  return push<T>(s, op, static_cast<T>(op->imm));
}

// POP rSP gives what was on the stack.
template <class T>
CBIT_HANDLER pop_r(State& s, const isa::Op* op) {
  T value;
  if (!cpu::load<T>(s, op, stack_pointer(s), value)) return nullptr;
  stack_pointer(s) += sizeof(T);
  put<T>(s, op->dst, value);
  return op + 1;
}

CBIT_HANDLER mov_128(State& s, const isa::Op* op) {
  put(s, op->dst, get<isa::Xmm>(s, op->a));
  return op + 1;
}

[[nodiscard, gnu::always_inline]] inline bool is_fast_128(std::uint64_t tag, const isa::Op* op,
                                                          std::uint64_t at) {
  return tag == tag_of(at, sizeof(isa::Xmm)) && !(op->aligned && at % sizeof(isa::Xmm) != 0);
}

CBIT_HANDLER load_128(State& s, const isa::Op* op) {
  const std::uint64_t at = address_of(s, op);
  const TlbEntry& entry = s.tlb[tlb_index(at)];
  isa::Xmm value;
  if (is_fast_128(entry.read_tag, op, at)) [[likely]]
    load_host_bytes(&value, reinterpret_cast<const std::byte*>(entry.addend + at), sizeof value);
  else if (!load_128_slowly(s, op, at, value))
    return nullptr;
  put(s, op->dst, value);
  return op + 1;
}

CBIT_HANDLER store_128(State& s, const isa::Op* op) {
  const std::uint64_t at = address_of(s, op);
  const TlbEntry& entry = s.tlb[tlb_index(at)];
  const auto value = get<isa::Xmm>(s, op->a);
  if (is_fast_128(entry.write_tag, op, at)) [[likely]]
    store_host_bytes(reinterpret_cast<std::byte*>(entry.addend + at), &value, sizeof value);
  else if (!store_128_slowly(s, op, at, value))
    return nullptr;
  return op + 1;
}

// The upper part of the register becomes zero.
template <class T>
CBIT_HANDLER load_to_128(State& s, const isa::Op* op) {
  T value;
  if (!cpu::load<T>(s, op, address_of(s, op), value)) return nullptr;
  put(s, op->dst, isa::Xmm{{value, 0}});
  return op + 1;
}
template <class T>
CBIT_HANDLER mov_to_128(State& s, const isa::Op* op) {
  put(s, op->dst, isa::Xmm{{get<T>(s, op->a), 0}});
  return op + 1;
}

template <Cond cond>
CBIT_HANDLER set_if(State& s, const isa::Op* op) {
  put<std::uint8_t>(s, op->dst, holds<cond>(s.flags) ? 1 : 0);
  return op + 1;
}
template <Cond cond>
CBIT_HANDLER set_if_compared(State& s, const isa::Op* op) {
  put<std::uint8_t>(s, op->dst, compares<cond>(s.flags.a, s.flags.b) ? 1 : 0);
  return op + 1;
}

// A 32-bit register loses its upper half whether or not it is replaced.
template <class T>
CBIT_HANDLER move_if_true(State& s, const isa::Op* op, bool condition) {
  put<T>(s, op->dst, condition ? get<T>(s, op->a) : get<T>(s, op->dst));
  return op + 1;
}
template <Cond cond>
CBIT_HANDLER move_16_if(State& s, const isa::Op* op) {
  return move_if_true<std::uint16_t>(s, op, holds<cond>(s.flags));
}
template <Cond cond>
CBIT_HANDLER move_32_if(State& s, const isa::Op* op) {
  return move_if_true<std::uint32_t>(s, op, holds<cond>(s.flags));
}
template <Cond cond>
CBIT_HANDLER move_64_if(State& s, const isa::Op* op) {
  return move_if_true<std::uint64_t>(s, op, holds<cond>(s.flags));
}
template <Cond cond, class T>
CBIT_HANDLER move_if_compared(State& s, const isa::Op* op) {
  return move_if_true<T>(s, op, compares<cond>(s.flags.a, s.flags.b));
}
CBIT_HANDLER select_if_zero(State& s, const isa::Op* op) {
  return move_if_true<std::uint64_t>(s, op, get<std::uint64_t>(s, op->b) == 0);
}

}  // namespace cbit::cpu::ops
