// The status flags as COMISS, FCOMI and others of this folder set them. Internal to it.
#pragma once

#include <cstdint>

#include "cpu/fp/softfloat.hpp"

namespace cbit::cpu::fp {

// APM vol. 1, 3.1.4.
enum EflagsBit : std::uint32_t {
  carry_flag = 1 << 0,
  parity_flag = 1 << 2,
  zero_flag = 1 << 6,
  sign_flag = 1 << 7,
  overflow_flag = 1 << 11,
};

inline std::uint32_t eflags_of(Order order) {
  switch (order) {
    case Order::greater: return 0;
    case Order::less: return carry_flag;
    case Order::equal: return zero_flag;
    case Order::unordered: break;
  }
  return zero_flag | parity_flag | carry_flag;
}

}  // namespace cbit::cpu::fp
