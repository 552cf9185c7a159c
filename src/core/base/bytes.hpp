// Bytes as the machine moves them: little-endian loads and stores, patterns, hex text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

namespace cbit {

using Bytes = std::vector<std::byte>;

// Makes elements that no value is given for without clearing them.
template <class T>
struct UnfilledAllocator : std::allocator<T> {
  template <class U>
  struct rebind {
    using other = UnfilledAllocator<U>;
  };
  template <class U>
  void construct(U* at) {
    ::new (static_cast<void*>(at)) U;
  }
};
// For bytes that are about to be written: they are whatever was there before.
using UnfilledBytes = std::vector<std::byte, UnfilledAllocator<std::byte>>;

using ByteSpan = std::span<std::byte>;
using ConstByteSpan = std::span<const std::byte>;

// The hosts we support are little-endian x86-64 and AArch64, as is every modelled structure.
template <class T>
  requires std::is_trivially_copyable_v<T>
[[nodiscard]] T load(ConstByteSpan from, std::size_t offset = 0) {
  T value;
  std::memcpy(&value, from.subspan(offset, sizeof value).data(), sizeof value);
  return value;
}

template <class T>
  requires std::is_trivially_copyable_v<T>
void store(ByteSpan to, std::size_t offset, const T& value) {
  std::memcpy(to.subspan(offset, sizeof value).data(), &value, sizeof value);
}

template <class T>
  requires std::is_trivially_copyable_v<T>
[[nodiscard]] ConstByteSpan bytes_of(const T& value) {
  return std::as_bytes(std::span{&value, 1});
}

[[nodiscard]] bool all_zero(ConstByteSpan bytes);

// Lower-case hex without separators: "00ff".
[[nodiscard]] std::string to_hex(ConstByteSpan bytes);

// Deterministic filler: the same seed gives the same bytes on every host. No 16-byte block of it is
// all zero, and no two blocks are equal in practice, so the parts of a buffer can be told apart.
[[nodiscard]] Bytes pattern_bytes(std::size_t size, std::uint64_t seed);

}  // namespace cbit
