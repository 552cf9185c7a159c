// The value of an XMM or MMX register: lanes of any width, lane 0 the least significant.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace cbit::cpu::fp {

template <std::size_t Bytes>
struct Vec {
  static_assert(std::endian::native == std::endian::little, "lanes are reinterpreted");

  std::array<std::uint64_t, Bytes / 8> quads{};

  template <class T>
  using Lanes = std::array<T, Bytes / sizeof(T)>;

  template <class T>
  [[nodiscard]] constexpr Lanes<T> as() const {
    return std::bit_cast<Lanes<T>>(quads);
  }
  template <class T, std::size_t N>
  [[nodiscard]] static constexpr Vec of(const std::array<T, N>& lanes) {
    static_assert(sizeof lanes == Bytes);
    return {std::bit_cast<std::array<std::uint64_t, Bytes / 8>>(lanes)};
  }
  template <class T>
  [[nodiscard]] constexpr T lane(std::size_t index) const {
    return as<T>()[index];
  }
  // This value with one lane replaced.
  template <class T>
  [[nodiscard]] constexpr Vec with(std::size_t index, T value) const {
    Lanes<T> lanes = as<T>();
    lanes[index] = value;
    return of(lanes);
  }

  friend bool operator==(const Vec&, const Vec&) = default;
};

using Vec128 = Vec<16>;
using Vec64 = Vec<8>;

constexpr Vec64 low_half(const Vec128& value) { return {{value.quads[0]}}; }
constexpr Vec128 zero_extended(const Vec64& value) { return {{value.quads[0], 0}}; }

}  // namespace cbit::cpu::fp
