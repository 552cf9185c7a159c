// The functions behind x87's transcendental instructions: computed with 128 bits, rounded once, hence off by
// little more than half a unit in the last place. NaNs, infinities, zeros and flags as in the tables of SDM
// vol. 2. Arguments outside of an instruction's range have results that the manuals leave undefined.
//
// Pure functions; any thread.
#pragma once

#include "cpu/fp/environment.hpp"
#include "cpu/fp/formats.hpp"

namespace cbit::cpu::fp {

[[nodiscard]] Float80 exponential_minus_one(const Unpacked& x, Environment& env);                  // F2XM1
[[nodiscard]] Float80 logarithm(const Unpacked& x, const Unpacked& y, Environment& env);           // FYL2X
[[nodiscard]] Float80 logarithm_plus_one(const Unpacked& x, const Unpacked& y, Environment& env);  // FYL2XP1
[[nodiscard]] Float80 arc_tangent(const Unpacked& x, const Unpacked& y, Environment& env);         // FPATAN

// FSIN, FCOS, FPTAN reduce their argument by a π of 66 bits, if it is below 2^63; else they set C2 and do
// nothing.
[[nodiscard]] bool is_out_of_trigonometric_range(const Unpacked& x);
[[nodiscard]] Float80 sine(const Unpacked& x, Environment& env);
[[nodiscard]] Float80 cosine(const Unpacked& x, Environment& env);
[[nodiscard]] Float80 tangent(const Unpacked& x, Environment& env);

}  // namespace cbit::cpu::fp
