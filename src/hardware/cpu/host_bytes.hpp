// Guest memory by the host's bytes, which other processors may use at the same time (cpu/standstill.hpp):
// accesses of up to 8 bytes are one access of the host's, and an x86-64 host gives them the order that the
// guest counts on. Without threads it is what memcpy() is.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cbit::cpu {

// T: std::uint8_t to std::uint64_t; `at` may have any alignment.
template <class T>
[[nodiscard, gnu::always_inline]] inline T load_host(const void* at) {
  return __atomic_load_n(static_cast<const T*>(at), __ATOMIC_RELAXED);
}
template <class T>
[[gnu::always_inline]] inline void store_host(void* at, T value) {
  __atomic_store_n(static_cast<T*>(at), value, __ATOMIC_RELAXED);
}

// The bytes of guest memory at `from`; of 1, 2, 4 or 8 in one access, of more in pieces.
inline void load_host_bytes(void* to, const std::byte* from, std::size_t bytes) {
  auto* out = static_cast<std::byte*>(to);
  const auto piece = [&]<class T>(T) {
    const T value = load_host<T>(from);
    __builtin_memcpy(out, &value, sizeof value);
    out += sizeof value;
    from += sizeof value;
    bytes -= sizeof value;
  };
  while (bytes >= 8) piece(std::uint64_t{});
  if (bytes >= 4) piece(std::uint32_t{});
  if (bytes >= 2) piece(std::uint16_t{});
  if (bytes >= 1) piece(std::uint8_t{});
}

// To guest memory.
inline void store_host_bytes(std::byte* to, const void* from, std::size_t bytes) {
  const auto* in = static_cast<const std::byte*>(from);
  const auto piece = [&]<class T>(T value) {
    __builtin_memcpy(&value, in, sizeof value);
    store_host<T>(to, value);
    in += sizeof value;
    to += sizeof value;
    bytes -= sizeof value;
  };
  while (bytes >= 8) piece(std::uint64_t{});
  if (bytes >= 4) piece(std::uint32_t{});
  if (bytes >= 2) piece(std::uint16_t{});
  if (bytes >= 1) piece(std::uint8_t{});
}

}  // namespace cbit::cpu
