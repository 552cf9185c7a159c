// A set of the 256 vectors as IRR, ISR and TMR hold it: eight registers of 32 bits.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/state_stream.hpp"

namespace cbit::chipset {

class VectorSet {
 public:
  [[nodiscard]] bool has(std::uint8_t vector) const { return (words_[vector / 32] >> vector % 32 & 1) != 0; }
  void set(std::uint8_t vector, bool on) {
    const std::uint32_t bit = 1u << vector % 32;
    std::uint32_t& word = words_[vector / 32];
    word = on ? word | bit : word & ~bit;
  }
  void clear() { words_ = {}; }
  void transfer(StateStream& s) { s(words_); }
  [[nodiscard]] std::uint32_t word(std::size_t index) const { return words_[index]; }
  [[nodiscard]] std::optional<std::uint8_t> highest() const {
    for (std::size_t i = words_.size(); i-- > 0;)
      if (words_[i] != 0) return static_cast<std::uint8_t>(32 * i + std::bit_width(words_[i]) - 1);
    return std::nullopt;
  }

 private:
  std::array<std::uint32_t, 8> words_{};
};

}  // namespace cbit::chipset
