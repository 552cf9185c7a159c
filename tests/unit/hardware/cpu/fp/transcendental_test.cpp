#include "cpu/fp/transcendental.hpp"

#include <gtest/gtest.h>

namespace cbit::cpu::fp::test {
namespace {

constexpr Float80 f80(std::uint16_t sign_exponent, std::uint64_t significand) {
  return {significand, sign_exponent};
}
constexpr Float80 one = f80(0x3fff, integer_bit);
constexpr Float80 zero80 = f80(0, 0);
constexpr Float80 inf = infinity<Float80>(false);
constexpr Float80 minus_inf = infinity<Float80>(true);

using Unary = Float80 (*)(const Unpacked&, Environment&);
using Binary = Float80 (*)(const Unpacked&, const Unpacked&, Environment&);

// The nearest results, computed with 500 bits by mpmath. Of angles, the ones left by subtracting multiples of
// the 66-bit π.
struct UnaryRow {
  Unary function;
  Float80 x, result;
};
constexpr UnaryRow unary_rows[] = {
    {sine, f80(0x3fff, 0x8000000000000000), f80(0x3ffe, 0xd76aa47848677021)},
    {sine, f80(0xbffe, 0x8000000000000000), f80(0xbffd, 0xf57743a2582f7f44)},
    {sine, f80(0x4012, 0xf424000000000000), f80(0xbffd, 0xb332592b46c28c7f)},
    {sine, f80(0x4000, 0xc90fdaa22168c235), f80(0xbfbf, 0x8000000000000000)},  // the nearest to π
    {sine, f80(0x403d, 0x8000000000000000), f80(0xbffe, 0xb506a9dd559cf157)},
    {cosine, f80(0x3fff, 0x8000000000000000), f80(0x3ffe, 0x8a51407da8345c92)},
    {cosine, f80(0x4012, 0xf424000000000000), f80(0x3ffe, 0xefcefcc8369983cf)},
    {cosine, f80(0x403d, 0x8000000000000000), f80(0xbffe, 0xb5033c867715345a)},
    {tangent, f80(0x3fff, 0x8000000000000000), f80(0x3fff, 0xc75922e5f71d2dc5)},
    {tangent, f80(0x4012, 0xf424000000000000), f80(0xbffd, 0xbf4bb455b9a52d14)},
    {tangent, f80(0x403d, 0x8000000000000000), f80(0x3fff, 0x80026c6541a088b0)},
    {exponential_minus_one, f80(0x3ffe, 0x8000000000000000), f80(0x3ffd, 0xd413cccfe7799211)},
    {exponential_minus_one, f80(0xbffe, 0x8000000000000000), f80(0xbffd, 0x95f619980c4336f7)},
    {exponential_minus_one, f80(0x3fd7, 0x8000000000000000), f80(0x3fd6, 0xb17217f7d20cf928)},
    {exponential_minus_one, f80(0x3ffe, 0xc000000000000000), f80(0x3ffe, 0xae89f995ad3ad5e8)},
};

struct BinaryRow {
  Binary function;
  Float80 x, y, result;
};
constexpr BinaryRow binary_rows[] = {
    {logarithm, f80(0x4002, 0xa000000000000000), one, f80(0x4000, 0xd49a784bcd1b8afe)},
    {logarithm, f80(0x3ffe, 0xc000000000000000), f80(0x4000, 0xc000000000000000),
     f80(0xbfff, 0x9f5fd8a9063e3491)},
    {logarithm, f80(0x3fff, 0x8000000000000001), one, f80(0x3fc0, 0xb8aa3b295c17f0bb)},
    {logarithm, f80(0x4000, 0xc000000000000000), f80(0xbffe, 0x8000000000000000),
     f80(0xbffe, 0xcae00d1cfdeb43d0)},
    {logarithm_plus_one, f80(0x3ff5, 0x8000000000000000), one, f80(0x3ff5, 0xb89329ba1fa2a0fd)},
    {logarithm_plus_one, f80(0xbffd, 0x8000000000000000), one, f80(0xbffd, 0xd47fcb8c0852f0c1)},
    {logarithm_plus_one, f80(0x3fcd, 0x8000000000000000), f80(0x4000, 0xc000000000000000),
     f80(0x3fcf, 0x8a7fac5f0511e33d)},
    {arc_tangent, f80(0x4000, 0x8000000000000000), one, f80(0x3ffd, 0xed63382b0dda7b45)},
    {arc_tangent, one, f80(0x4000, 0x8000000000000000), f80(0x3fff, 0x8db70c975df22363)},
    {arc_tangent, f80(0xbfff, 0x8000000000000000), one, f80(0x4000, 0x96cbe3f9990e91a8)},
    {arc_tangent, f80(0xc000, 0xc000000000000000), f80(0x3feb, 0x8000000000000000),
     f80(0x4000, 0xc90fd94ccc136cdf)},
    {arc_tangent, one, f80(0x3fe1, 0x8000000000000000), f80(0x3fe0, 0xfffffffffffffffb)},
};

TEST(Transcendental, RoundsToTheNearest) {
  for (const auto& [function, x, result] : unary_rows) {
    Environment env;
    EXPECT_EQ(function(x, env), result) << std::hex << x.sign_exponent << ' ' << x.significand;
    EXPECT_EQ(env.raised, pe);
  }
  for (const auto& [function, x, y, result] : binary_rows) {
    Environment env;
    EXPECT_EQ(function(x, y, env), result) << std::hex << x.sign_exponent << ' ' << x.significand;
    EXPECT_EQ(env.raised, pe);
  }
}

TEST(Transcendental, IgnoresPrecisionControl) {
  Environment env{.significand_bits = 24};
  EXPECT_EQ(sine(one, env), f80(0x3ffe, 0xd76aa47848677021));
}

// x − x³/6 is below x.
TEST(Transcendental, RoundsTinySinesInTheRightDirection) {
  const Float80 tiny = f80(0x2000, 0x8000000000000001);
  Environment nearest, down{.rounding = RoundingMode::down}, up{.rounding = RoundingMode::up};
  EXPECT_EQ(sine(tiny, nearest), tiny);
  EXPECT_EQ(sine(tiny, up), tiny);
  EXPECT_EQ(sine(tiny, down), f80(0x2000, 0x8000000000000000));
}

// SDM vol. 2, tables of FYL2X, FYL2XP1, FPATAN, FSIN, FPTAN, F2XM1.
struct LimitRow {
  Binary function;
  Float80 x, y, result;
  Exceptions raised;
};
constexpr Float80 minus_zero = f80(0x8000, 0);
constexpr Float80 minus_one = f80(0xbfff, integer_bit);
constexpr Float80 two = f80(0x4000, integer_bit);
constexpr LimitRow limit_rows[] = {
    {logarithm, zero80, one, minus_inf, ze},
    {logarithm, minus_zero, minus_one, inf, ze},
    {logarithm, zero80, zero80, indefinite<Float80>(), ie},
    {logarithm, zero80, inf, minus_inf, 0},
    {logarithm, inf, zero80, indefinite<Float80>(), ie},
    {logarithm, inf, minus_one, minus_inf, 0},
    {logarithm, one, inf, indefinite<Float80>(), ie},
    {logarithm, one, minus_one, minus_zero, 0},
    {logarithm, two, zero80, zero80, 0},
    {logarithm, minus_one, one, indefinite<Float80>(), ie},
    {logarithm, minus_inf, one, indefinite<Float80>(), ie},
    {logarithm_plus_one, zero80, minus_one, minus_zero, 0},
    {logarithm_plus_one, zero80, inf, indefinite<Float80>(), ie},
    {arc_tangent, one, zero80, zero80, 0},
    {arc_tangent, inf, minus_one, minus_zero, 0},
    {arc_tangent, minus_one, minus_zero, f80(0xc000, 0xc90fdaa22168c235), pe},
    {arc_tangent, zero80, one, f80(0x3fff, 0xc90fdaa22168c235), pe},
    {arc_tangent, inf, inf, f80(0x3ffe, 0xc90fdaa22168c235), pe},
    {arc_tangent, minus_inf, inf, f80(0x4000, 0x96cbe3f9990e91a8), pe},
};

TEST(Transcendental, HasTheLimitsOfTheManual) {
  for (const auto& [function, x, y, result, raised] : limit_rows) {
    Environment env;
    EXPECT_EQ(function(x, y, env), result) << std::hex << x.sign_exponent << ' ' << y.sign_exponent;
    EXPECT_EQ(env.raised, raised);
  }
  Environment env;
  EXPECT_EQ(sine(minus_zero, env), minus_zero);
  EXPECT_EQ(tangent(minus_zero, env), minus_zero);
  EXPECT_EQ(cosine(zero80, env), one);
  EXPECT_EQ(exponential_minus_one(minus_zero, env), minus_zero);
  EXPECT_EQ(exponential_minus_one(minus_inf, env), minus_one);
  EXPECT_EQ(env.raised, 0);
  EXPECT_EQ(sine(inf, env), indefinite<Float80>());
  EXPECT_EQ(env.raised, ie);
}

TEST(Transcendental, LeavesLargeAnglesAlone) {
  EXPECT_TRUE(is_out_of_trigonometric_range(f80(0x403e, integer_bit)));
  EXPECT_TRUE(is_out_of_trigonometric_range(f80(0xfffe, integer_bit)));
  EXPECT_FALSE(is_out_of_trigonometric_range(f80(0x403d, ~std::uint64_t{0})));
  EXPECT_FALSE(is_out_of_trigonometric_range(inf));
}

}  // namespace
}  // namespace cbit::cpu::fp::test
