// splitmix64 (Steele, Lea, Flood 2014): a seedable generator that gives the same numbers everywhere.
#pragma once

#include <cstdint>

#include "base/state_stream.hpp"

namespace cbit {

class Random {
 public:
  explicit constexpr Random(std::uint64_t seed) : state_{seed} {}

  constexpr std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  // Uniform enough in [0, limit); limit > 0.
  constexpr std::uint64_t below(std::uint64_t limit) { return next() % limit; }
  void transfer(StateStream& s) { s(state_); }

 private:
  std::uint64_t state_;
};

}  // namespace cbit
