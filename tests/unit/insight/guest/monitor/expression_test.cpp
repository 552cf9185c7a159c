// Values: QEMU, monitor/hmp.c, get_expr(), whose precedence is not C's.
#include "guest/monitor/expression.hpp"

#include <gtest/gtest.h>

#include <string>

namespace cbit::guest {
namespace {

std::optional<std::uint64_t> lookup(std::string_view name) {
  if (name == "rip") return 0x1000;
  if (name == "gs.base") return 0xffff'8880'0000'0000;
  return std::nullopt;
}

std::optional<std::uint64_t> value_of(std::string_view text) {
  const auto value = evaluate(text, lookup);
  return value ? std::optional{*value} : std::nullopt;
}

std::string trouble_with(std::string_view text) {
  const auto value = evaluate(text, lookup);
  return value ? "" : value.error().message;
}

TEST(Expression, TakesNumbersAsCHasThem) {
  EXPECT_EQ(value_of("10"), 10u);
  EXPECT_EQ(value_of("0x10"), 16u);
  EXPECT_EQ(value_of("010"), 8u);
  EXPECT_EQ(value_of("0"), 0u);
  EXPECT_EQ(value_of("0xffffffffffffffff"), ~std::uint64_t{0});
  EXPECT_EQ(value_of("'A'"), 65u);
}

TEST(Expression, TakesRegistersByName) {
  EXPECT_EQ(value_of("$rip"), 0x1000u);
  EXPECT_EQ(value_of(" $gs.base + 0x28 "), 0xffff'8880'0000'0028u);
  EXPECT_EQ(trouble_with("$rop"), "there is no register \"$rop\"");
}

TEST(Expression, BindsMultiplicationBeforeBitsAndBitsBeforeSums) {
  EXPECT_EQ(value_of("2 + 3 * 4"), 14u);
  EXPECT_EQ(value_of("(2 + 3) * 4"), 20u);
  EXPECT_EQ(value_of("8 + 7 & 4"), 12u);
  EXPECT_EQ(value_of("7 - 2 - 1"), 4u);
  EXPECT_EQ(value_of("$rip & ~0xfff"), 0x1000u);
  EXPECT_EQ(value_of("-1"), ~std::uint64_t{0});
  EXPECT_EQ(value_of("13 % 5 ^ 1"), 2u);
}

TEST(Expression, SaysWhatIsWrong) {
  EXPECT_EQ(trouble_with(""), "an address is missing");
  EXPECT_EQ(trouble_with("1 +"), "an address is missing");
  EXPECT_EQ(trouble_with("1 / 0"), "division by zero");
  EXPECT_EQ(trouble_with("(1"), "\")\" is missing");
  EXPECT_EQ(trouble_with("12x"), "\"12x\" is no address");
  EXPECT_EQ(trouble_with("1 2"), "\"2\" does not belong to an address");
  EXPECT_EQ(trouble_with("0x1ffffffffffffffff"), "0x1ffffffffffffffff has more than 64 bits");
  EXPECT_EQ(trouble_with("\x1b"), "\"\\x1b\" is no address");
  EXPECT_EQ(trouble_with(std::string(100'000, '(')), "an address that is nested too deeply");
}

}  // namespace
}  // namespace cbit::guest
