// Takes a fuzzer's bytes apart. Past the end everything is zero, so that any input is a whole program.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

#include "base/bytes.hpp"

namespace cbit {

class FuzzInput {
 public:
  FuzzInput(const std::uint8_t* data, std::size_t size) : rest_{std::as_bytes(std::span{data, size})} {}

  [[nodiscard]] bool empty() const { return rest_.empty(); }

  template <class T>
  T take() {
    std::array<std::byte, sizeof(T)> raw{};
    const auto part = rest_.first(std::min(raw.size(), rest_.size()));
    std::ranges::copy(part, raw.begin());
    rest_ = rest_.subspan(part.size());
    return load<T>(raw);
  }
  std::uint8_t byte() { return take<std::uint8_t>(); }
  bool flag() { return (byte() & 1) != 0; }
  // In [0, limit); 0 < limit <= 256.
  std::uint8_t below(unsigned limit) { return static_cast<std::uint8_t>(byte() % limit); }

 private:
  ConstByteSpan rest_;
};

}  // namespace cbit
