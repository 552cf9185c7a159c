#include "cpu/fp/softfloat.hpp"

#include <gtest/gtest.h>

namespace cbit::cpu::fp::test {
namespace {

using enum RoundingMode;

constexpr Float32 f32(float value) { return std::bit_cast<Float32>(value); }
constexpr Float64 f64(double value) { return std::bit_cast<Float64>(value); }
constexpr Float80 f80(std::uint16_t sign_exponent, std::uint64_t significand) {
  return {significand, sign_exponent};
}
Float80 f80(double value) {
  Environment env;
  return convert<Float80>(f64(value), env);
}

constexpr Float32 smallest_normal32{0x0080'0000};
constexpr Float32 smallest_denormal32{1};
constexpr Float32 largest32{0x7f7f'ffff};
constexpr Float32 ulp_half{0x3380'0000};  // 2^-24: half of the last place of 1
constexpr Float80 largest80 = f80(0x7ffe, 0xffff'ffff'ffff'ffff);

struct Rounded {
  RoundingMode mode;
  std::uint32_t bits;
};

TEST(Softfloat, RoundsTiesToEvenAndElseAsTold) {
  for (const auto [mode, bits] : {Rounded{nearest, 0x3f80'0000}, Rounded{up, 0x3f80'0001},
                                  Rounded{down, 0x3f80'0000}, Rounded{zero, 0x3f80'0000}}) {
    Environment env{.rounding = mode};
    EXPECT_EQ(add<Float32>(f32(1), ulp_half, env).bits, bits);
    EXPECT_EQ(env.raised, pe);
    EXPECT_EQ(env.rounded_up, mode == up);
  }
  Environment env;
  EXPECT_EQ(add<Float32>(Float32{0x3f80'0001}, ulp_half, env).bits, 0x3f80'0002u);
  EXPECT_TRUE(env.rounded_up);
}

TEST(Softfloat, RaisesNothingForExactResults) {
  Environment env;
  EXPECT_EQ(add<Float64>(f64(1.5), f64(-0.25), env), f64(1.25));
  EXPECT_EQ(multiply<Float64>(f64(-3), f64(7), env), f64(-21));
  EXPECT_EQ(divide<Float64>(f64(21), f64(-7), env), f64(-3));
  EXPECT_EQ(square_root<Float64>(f64(1.5625), env), f64(1.25));
  EXPECT_EQ(square_root<Float80>(f80(9), env), f80(3));
  EXPECT_EQ(env.raised, 0);
}

// SDM vol. 1, 4.8.3.1: the sign of an exact zero sum.
TEST(Softfloat, GivesZeroSumsTheSignOfTheRoundingMode) {
  for (const RoundingMode mode : {nearest, down, up, zero}) {
    Environment env{.rounding = mode};
    EXPECT_EQ(subtract<Float32>(f32(2), f32(2), env), f32(mode == down ? -0.0F : 0.0F));
    EXPECT_EQ(add<Float32>(f32(-0.0F), f32(-0.0F), env), f32(-0.0F));
    EXPECT_EQ(env.raised, 0);
  }
}

TEST(Softfloat, FindsInvalidOperations) {
  const Float64 inf = infinity<Float64>(false);
  const auto expect_invalid = [](auto operation) {
    Environment env;
    EXPECT_EQ(operation(env), indefinite<Float64>());
    EXPECT_EQ(env.raised, ie);
  };
  expect_invalid([&](Environment& env) { return subtract<Float64>(inf, inf, env); });
  expect_invalid([&](Environment& env) { return multiply<Float64>(inf, f64(-0.0), env); });
  expect_invalid([&](Environment& env) { return divide<Float64>(inf, inf, env); });
  expect_invalid([&](Environment& env) { return divide<Float64>(f64(0), f64(-0.0), env); });
  expect_invalid([&](Environment& env) { return square_root<Float64>(f64(-1), env); });
  Environment env;
  EXPECT_EQ(square_root<Float64>(f64(-0.0), env), f64(-0.0));
  EXPECT_EQ(add<Float64>(inf, f64(1), env), inf);
  EXPECT_EQ(env.raised, 0);
}

TEST(Softfloat, DividesByZero) {
  Environment env;
  EXPECT_EQ(divide<Float32>(f32(-1), f32(0), env), infinity<Float32>(true));
  EXPECT_EQ(env.raised, ze);
}

// APM vol. 1, table 4-5.
TEST(Softfloat, PropagatesTheFirstNanInSse) {
  const Float32 quiet1{0x7fc0'0001}, quiet2{0xffc0'0002}, signaling{0x7f80'0003};
  Environment env;
  EXPECT_EQ(add<Float32>(quiet1, quiet2, env), quiet1);
  EXPECT_EQ(multiply<Float32>(quiet2, quiet1, env), quiet2);
  EXPECT_EQ(subtract<Float32>(f32(1), quiet2, env), quiet2);
  EXPECT_EQ(env.raised, 0);
  EXPECT_EQ(add<Float32>(quiet1, signaling, env), quiet1);
  EXPECT_EQ(env.raised, ie);
  EXPECT_EQ(add<Float32>(signaling, quiet1, env), Float32{0x7fc0'0003});
  EXPECT_EQ(divide<Float32>(f32(1), signaling, env), Float32{0x7fc0'0003});
}

// APM vol. 1, table 6-7.
TEST(Softfloat, PropagatesTheLargerNanInX87) {
  const Float80 small = f80(0x7fff, 0xc000'0000'0000'0001), large = f80(0x7fff, 0xc000'0000'0000'0002);
  const Float80 small_signaling = f80(0x7fff, 0x8000'0000'0000'0001);
  const Float80 large_signaling = f80(0xffff, 0xbfff'0000'0000'0000);
  const Float80 negative = f80(0xffff, 0xc000'0000'0000'0001);
  Environment env;
  EXPECT_EQ(add<Float80>(small, large, env), large);
  EXPECT_EQ(add<Float80>(large, small, env), large);
  EXPECT_EQ(add<Float80>(negative, small, env), small);
  EXPECT_EQ(env.raised, 0);
  EXPECT_EQ(add<Float80>(large_signaling, small, env), small);
  EXPECT_EQ(env.raised, ie);
  EXPECT_EQ(add<Float80>(small_signaling, large_signaling, env), f80(0xffff, 0xffff'0000'0000'0000));
}

// APM vol. 1, table 6-9.
TEST(Softfloat, RefusesUnsupportedEncodings) {
  for (const Float80 value :
       {f80(0x3fff, 0x4000'0000'0000'0000), f80(0x7fff, 0), f80(0x7fff, 1), f80(1, 0)}) {
    Environment env;
    EXPECT_EQ(Unpacked{value}.kind, Kind::unsupported);
    EXPECT_EQ(add<Float80>(value, f80(1), env), indefinite<Float80>());
    EXPECT_EQ(env.raised, ie);
    EXPECT_EQ(compare(value, f80(1), Comparison::unordered, env), Order::unordered);
  }
}

// A pseudo-denormal means the same as the normal number with exponent 1: APM vol. 1, table 6-8, note 3.
TEST(Softfloat, TakesPseudoDenormalsForDenormals) {
  Environment env;
  EXPECT_EQ(add<Float80>(f80(0, integer_bit | 5), f80(0.0), env), f80(1, integer_bit | 5));
  EXPECT_EQ(env.raised, de);
}

// SDM vol. 1, table 4-10.
TEST(Softfloat, OverflowsToInfinityOrTheLargestNumber) {
  struct Row {
    RoundingMode mode;
    Float32 positive, negative;
  };
  const Float32 inf = infinity<Float32>(false), minus_inf = infinity<Float32>(true);
  const Float32 minus_largest = largest<Float32>(true);
  for (const auto& [mode, positive, negative] :
       {Row{nearest, inf, minus_inf}, Row{down, largest32, minus_inf}, Row{up, inf, minus_largest},
        Row{zero, largest32, minus_largest}}) {
    Environment env{.rounding = mode};
    EXPECT_EQ(multiply<Float32>(largest32, f32(2), env), positive);
    EXPECT_EQ(multiply<Float32>(largest32, f32(-2), env), negative);
    EXPECT_EQ(env.raised, oe | pe);
  }
}

// (1 + 2^-23)·2^-126 × (1 − 2^-23) is below the smallest normal number, but rounds up to it.
TEST(Softfloat, DetectsTininessAfterRounding) {
  Environment env;
  EXPECT_EQ(multiply<Float32>(Float32{0x0080'0001}, Float32{0x3f7f'fffe}, env), smallest_normal32);
  EXPECT_EQ(env.raised, pe);
  Environment truncating{.rounding = zero};
  EXPECT_EQ(multiply<Float32>(Float32{0x0080'0001}, Float32{0x3f7f'fffe}, truncating), Float32{0x007f'ffff});
  EXPECT_EQ(truncating.raised, ue | pe);
}

TEST(Softfloat, ReportsMaskedUnderflowOnlyIfInexact) {
  Environment env;
  EXPECT_EQ(multiply<Float32>(smallest_normal32, f32(0.5F), env), Float32{0x0040'0000});
  EXPECT_EQ(env.raised, 0);
  EXPECT_EQ(multiply<Float32>(smallest_normal32, Float32{0x3400'0001}, env), smallest_denormal32);
  EXPECT_EQ(env.raised, ue | pe);
  Environment unmasked{.masked = all_exceptions & static_cast<Exceptions>(~ue)};
  static_cast<void>(multiply<Float32>(smallest_normal32, f32(0.5F), unmasked));
  EXPECT_EQ(unmasked.raised, ue);
}

TEST(Softfloat, FlushesResultsAndOperandsToZeroWhereTold) {
  Environment flush{.flush_to_zero = true};
  EXPECT_EQ(multiply<Float32>(smallest_normal32, f32(-0.5F), flush), f32(-0.0F));
  EXPECT_EQ(flush.raised, ue | pe);
  Environment daz{.denormals_are_zero = true};
  EXPECT_EQ(add<Float32>(Float32{0x807f'ffff}, f32(-0.0F), daz), f32(-0.0F));
  EXPECT_EQ(divide<Float32>(f32(1), smallest_denormal32, daz), infinity<Float32>(false));
  EXPECT_EQ(daz.raised, ze);
  Environment env;
  EXPECT_EQ(add<Float32>(Float32{0x807f'ffff}, f32(0), env), Float32{0x807f'ffff});
  EXPECT_EQ(env.raised, de);
}

// SDM vol. 1, 8.5.4 and 8.5.5: the exponent is scaled by 24576.
TEST(Softfloat, ScalesUnmaskedOverflowAndUnderflowOfX87) {
  Environment env{.masked = 0};
  EXPECT_EQ(multiply<Float80>(largest80, f80(2), env), f80(0x7fff - 0x6000, 0xffff'ffff'ffff'ffff));
  EXPECT_EQ(env.raised, oe);
  Environment tiny{.masked = 0};
  EXPECT_EQ(multiply<Float80>(f80(1, integer_bit), f80(0.5), tiny), f80(0x6000, integer_bit));
  EXPECT_EQ(tiny.raised, ue);
}

TEST(Softfloat, RoundsExtendedResultsToTheControlledPrecision) {
  Environment env{.significand_bits = 24};
  EXPECT_EQ(divide<Float80>(f80(1), f80(3), env), f80(0x3ffd, 0xaaaa'ab00'0000'0000));
  env = {.significand_bits = 53};
  EXPECT_EQ(divide<Float80>(f80(1), f80(3), env), f80(0x3ffd, 0xaaaa'aaaa'aaaa'a800));
  env = {};
  EXPECT_EQ(divide<Float80>(f80(1), f80(3), env), f80(0x3ffd, 0xaaaa'aaaa'aaaa'aaab));
  EXPECT_TRUE(env.rounded_up);
}

// APM vol. 1, 4.10.3: a NaN outranks a denormal, and an unmasked exception ends the operation.
TEST(Softfloat, ObservesThePriorityOfExceptions) {
  Environment env;
  EXPECT_EQ(add<Float32>(smallest_denormal32, Float32{0x7fc0'0000}, env), Float32{0x7fc0'0000});
  EXPECT_EQ(env.raised, 0);
  EXPECT_EQ(divide<Float32>(smallest_denormal32, f32(0), env), infinity<Float32>(false));
  EXPECT_EQ(env.raised, ze);
  Environment unmasked{.masked = all_exceptions & static_cast<Exceptions>(~de)};
  static_cast<void>(divide<Float32>(smallest_denormal32, f32(3), unmasked));
  EXPECT_EQ(unmasked.raised, de);
  EXPECT_EQ(unmasked.unmasked(), de);
}

TEST(Softfloat, Compares) {
  const Float64 quiet{0x7ff8'0000'0000'0000}, signaling{0x7ff0'0000'0000'0001};
  Environment env;
  EXPECT_EQ(compare(f64(-2), f64(1), Comparison::ordered, env), Order::less);
  EXPECT_EQ(compare(f64(-2), f64(-3), Comparison::ordered, env), Order::greater);
  EXPECT_EQ(compare(f64(0), f64(-0.0), Comparison::ordered, env), Order::equal);
  EXPECT_EQ(compare(infinity<Float64>(true), f64(-1e308), Comparison::ordered, env), Order::less);
  EXPECT_EQ(compare(f64(1), f64(1.0000000000000002), Comparison::ordered, env), Order::less);
  EXPECT_EQ(compare(quiet, f64(1), Comparison::unordered, env), Order::unordered);
  EXPECT_EQ(env.raised, 0);
  EXPECT_EQ(compare(f64(1), quiet, Comparison::ordered, env), Order::unordered);
  EXPECT_EQ(env.raised, ie);
  env = {};
  EXPECT_EQ(compare(signaling, f64(1), Comparison::unordered, env), Order::unordered);
  EXPECT_EQ(env.raised, ie);
}

TEST(Softfloat, TakesTheSecondOfTwoThatAreNotOrdered) {
  const Float32 quiet{0x7fc0'0000};
  Environment env;
  EXPECT_EQ(minimum(f32(1), f32(2), env), f32(1));
  EXPECT_EQ(maximum(f32(1), f32(2), env), f32(2));
  EXPECT_EQ(minimum(f32(0), f32(-0.0F), env), f32(-0.0F));
  EXPECT_EQ(minimum(f32(-0.0F), f32(0), env), f32(0));
  EXPECT_EQ(env.raised, 0);
  EXPECT_EQ(maximum(quiet, f32(1), env), f32(1));
  EXPECT_EQ(maximum(f32(1), quiet, env), quiet);
  EXPECT_EQ(env.raised, ie);
}

TEST(Softfloat, ConvertsBetweenFormats) {
  Environment env;
  EXPECT_EQ((convert<Float64, Float32>(f32(-0.1F), env)), f64(double{-0.1F}));
  EXPECT_EQ((convert<Float32, Float64>(f64(1e300), env)), infinity<Float32>(false));
  EXPECT_EQ(env.raised, oe | pe);
  env = {};
  EXPECT_EQ((convert<Float64, Float32>(smallest_denormal32, env)), Float64{0x36a0'0000'0000'0000});
  EXPECT_EQ(env.raised, de);
  env = {};
  EXPECT_EQ((convert<Float64, Float32>(Float32{0xff80'0001}, env)), Float64{0xfff8'0000'2000'0000});
  EXPECT_EQ(env.raised, ie);
  env = {.significand_bits = 24};  // loads are exact
  EXPECT_EQ((convert<Float80, Float64>(f64(0.1), env)), f80(0x3ffb, 0xcccc'cccc'cccc'd000));
  EXPECT_EQ((convert<Float32, Float80>(f80(0, 1), env)), f32(0));
  EXPECT_EQ(env.raised, ue | pe);
}

TEST(Softfloat, ConvertsToIntegers) {
  Environment env;
  EXPECT_EQ(to_integer(f64(2.5), 32, nearest, env), 2);
  EXPECT_EQ(to_integer(f64(3.5), 32, nearest, env), 4);
  EXPECT_EQ(to_integer(f64(-2.5), 32, down, env), -3);
  EXPECT_EQ(to_integer(f64(-2.5), 32, zero, env), -2);
  EXPECT_EQ(to_integer(f64(1e-300), 32, up, env), 1);
  EXPECT_EQ(env.raised, pe);
  env = {};
  EXPECT_EQ(to_integer(f64(-2147483648.0), 32, nearest, env), -2147483648LL);
  EXPECT_EQ(to_integer(f64(-9223372036854775808.0), 64, nearest, env), INT64_MIN);
  EXPECT_EQ(to_integer(f80(0x403d, 0xffff'ffff'ffff'fffe), 64, nearest, env), INT64_MAX);
  EXPECT_EQ(env.raised, 0);
  for (const Float64 value :
       {f64(2147483647.5), f64(-2147483649.0), infinity<Float64>(false), Float64{0x7ff8'0000'0000'0000}}) {
    env = {};
    EXPECT_EQ(to_integer(value, 32, nearest, env), -2147483648LL);
    EXPECT_EQ(env.raised, ie);
  }
  env = {};
  EXPECT_EQ(to_integer(f64(32768), 16, zero, env), -32768);
  EXPECT_EQ(env.raised, ie);
}

TEST(Softfloat, ConvertsFromIntegers) {
  Environment env;
  EXPECT_EQ(from_integer<Float32>(-16777216, env), f32(-16777216));
  EXPECT_EQ(from_integer<Float80>(INT64_MIN, env), f80(0xc03e, integer_bit));
  EXPECT_EQ(from_integer<Float64>(0, env), f64(0));
  EXPECT_EQ(env.raised, 0);
  EXPECT_EQ(from_integer<Float32>(16777217, env), f32(16777216));
  EXPECT_EQ(from_integer<Float64>(INT64_MAX, env), f64(9223372036854775808.0));
  EXPECT_EQ(env.raised, pe);
}

TEST(Softfloat, RoundsToIntegralValues) {
  Environment env;
  EXPECT_EQ(round_to_integral(f64(-0.5), nearest, env), f64(-0.0));
  EXPECT_EQ(round_to_integral(f64(-0.5), down, env), f64(-1));
  EXPECT_EQ(round_to_integral(f32(1.5F), nearest, env), f32(2));
  EXPECT_EQ(round_to_integral(smallest_denormal32, up, env), f32(1));
  EXPECT_EQ(env.raised, pe);
  env = {};
  EXPECT_EQ(round_to_integral(f64(1e300), up, env), f64(1e300));
  EXPECT_EQ(round_to_integral(infinity<Float64>(true), up, env), infinity<Float64>(true));
  EXPECT_EQ(env.raised, 0);
}

TEST(Softfloat, TakesRemainders) {
  Environment env;
  const Remainder truncated = remainder(f80(-7.5), f80(2), Quotient::truncated, env);
  EXPECT_EQ(truncated.value, f80(-1.5));
  EXPECT_EQ(truncated.quotient, 3);
  const Remainder rounded = remainder(f80(-7.5), f80(2), Quotient::nearest, env);
  EXPECT_EQ(rounded.value, f80(0.5));
  EXPECT_EQ(rounded.quotient, 4);
  EXPECT_EQ(remainder(f80(1), f80(2), Quotient::nearest, env).value,
            f80(1));  // a tie, to the even quotient 0
  EXPECT_EQ(remainder(f80(3), f80(2), Quotient::nearest, env).value, f80(-1));
  EXPECT_EQ(remainder(f80(-4), f80(2), Quotient::truncated, env).value, f80(-0.0));
  EXPECT_EQ(env.raised, 0);
  EXPECT_EQ(remainder(f80(1), f80(0.0), Quotient::nearest, env).value, indefinite<Float80>());
  EXPECT_EQ(env.raised, ie);
}

// What is left to reduce by fmod(2^100, 3) = 1, in however many steps.
TEST(Softfloat, TakesFarRemaindersInSteps) {
  Environment env;
  Remainder step{.value = f80(0x3fff + 100, integer_bit), .partial = true};
  for (int n = 0; n < 5 && step.partial; ++n) {
    step = remainder(step.value, f80(3), Quotient::truncated, env);
    EXPECT_TRUE(!step.partial || step.quotient == 0);
  }
  EXPECT_FALSE(step.partial);
  EXPECT_EQ(step.value, f80(1));
}

TEST(Softfloat, ScalesAndExtracts) {
  Environment env;
  EXPECT_EQ(scale(f80(1.5), f80(-3.9), env), f80(0.1875));
  EXPECT_EQ(scale(f80(1.5), infinity<Float80>(true), env), f80(0.0));
  EXPECT_EQ(scale(f80(-1.5), infinity<Float80>(false), env), infinity<Float80>(true));
  EXPECT_EQ(extract(f80(-20), env).exponent, f80(4));
  EXPECT_EQ(extract(f80(-20), env).significand, f80(-1.25));
  EXPECT_EQ(env.raised, 0);
  EXPECT_EQ(extract(f80(-0.0), env).exponent, infinity<Float80>(true));
  EXPECT_EQ(env.raised, ze);
  env = {};
  EXPECT_EQ(scale(f80(1), f80(1e30), env), infinity<Float80>(false));
  EXPECT_EQ(env.raised, oe | pe);
  EXPECT_EQ(scale(f80(0.0), infinity<Float80>(false), env), indefinite<Float80>());
}

TEST(Softfloat, ConvertsPackedDecimals) {
  const PackedDecimal digits{0x89, 0x67, 0x45, 0x23, 0x01, 0, 0, 0, 0, 0x80};
  Environment env;
  EXPECT_EQ(from_packed_decimal(digits), f80(-123456789));
  EXPECT_EQ(to_packed_decimal(f80(-123456789), env), digits);
  EXPECT_EQ(to_packed_decimal(f80(-0.0), env), (PackedDecimal{0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80}));
  EXPECT_EQ(env.raised, 0);
  EXPECT_EQ(to_packed_decimal(f80(1e18), env), packed_decimal_indefinite);
  EXPECT_EQ(env.raised, ie);
}

}  // namespace
}  // namespace cbit::cpu::fp::test
