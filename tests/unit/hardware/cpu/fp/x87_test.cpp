#include "cpu/fp/x87.hpp"

#include <gtest/gtest.h>

namespace cbit::cpu::fp::test {
namespace {

constexpr Float80 one{integer_bit, 0x3fff};
constexpr Float80 two{integer_bit, 0x4000};
constexpr Float80 minus_one{integer_bit, 0xbfff};
constexpr Float80 signaling{integer_bit | 1, 0x7fff};
constexpr Float80 unmasked_operand{1, 0};  // a denormal
constexpr std::uint16_t all_masked = 0x037f;
constexpr std::uint16_t none_masked = 0x0340;

X87 with(std::initializer_list<Float80> stack, std::uint16_t control = all_masked) {
  X87 x87;
  x87.fldcw(control);
  for (const Float80 value : stack) x87.fld(value);  // the last is ST(0)
  return x87;
}

Float80 st(const X87& x87, unsigned i) {
  return x87.state.registers[(x87.state.status.get<X87Status::Top>() + i) % 8];
}
unsigned top(const X87& x87) { return x87.state.status.get<X87Status::Top>(); }
Exceptions flags(const X87& x87) { return x87.state.status.get<X87Status::Flags>(); }
bool stack_fault(const X87& x87) { return x87.state.status.get<X87Status::StackFault>(); }
bool c1(const X87& x87) { return x87.state.status.get<X87Status::C1>(); }

// C3, C2, C0.
unsigned conditions(const X87& x87) {
  const X87Status status = x87.state.status;
  return (status.get<X87Status::C3>() ? 4u : 0) | (status.get<X87Status::C2>() ? 2u : 0) |
         (status.get<X87Status::C0>() ? 1u : 0);
}

TEST(X87, PushesDownwards) {
  const X87 x87 = with({one, two});
  EXPECT_EQ(top(x87), 6u);
  EXPECT_EQ(x87.state.in_use, 0xc0);
  EXPECT_EQ(x87.state.registers[7], one);
  EXPECT_EQ(x87.state.registers[6], two);
  EXPECT_EQ(x87.fnstsw(), 6 << 11);
}

TEST(X87, LoadsEachFormat) {
  X87 x87;
  x87.fld(Float32{0xbf80'0000});
  x87.fld(Float64{0x4000'0000'0000'0000});
  x87.fild(-1);
  x87.fbld({0x02});
  EXPECT_EQ(st(x87, 3), minus_one);
  EXPECT_EQ(st(x87, 2), two);
  EXPECT_EQ(st(x87, 1), minus_one);
  EXPECT_EQ(st(x87, 0), two);
  EXPECT_EQ(flags(x87), 0);
}

TEST(X87, OverflowsItsStackWithAnIndefinite) {
  X87 x87 = with({one, one, one, one, one, one, one, one});
  EXPECT_FALSE(stack_fault(x87));
  x87.fld(two);
  EXPECT_EQ(st(x87, 0), indefinite<Float80>());
  EXPECT_TRUE(stack_fault(x87) && c1(x87));
  EXPECT_EQ(flags(x87), ie);
  EXPECT_FALSE(x87.pending());
}

TEST(X87, UnderflowsItsStackWithAnIndefinite) {
  X87 x87 = with({one});
  x87.arithmetic(X87Arithmetic::add, 0, 1);
  EXPECT_EQ(st(x87, 0), indefinite<Float80>());
  EXPECT_TRUE(stack_fault(x87) && !c1(x87));
  EXPECT_EQ(flags(x87), ie);
}

TEST(X87, KeepsItsStackIfAStackFaultIsNotMasked) {
  X87 x87 = with({one}, none_masked);
  x87.arithmetic(X87Arithmetic::add, 0, 1, Pops::one);
  EXPECT_EQ(st(x87, 0), one);
  EXPECT_EQ(top(x87), 7u);
  EXPECT_TRUE(x87.pending());
}

TEST(X87, ReversesOperands) {
  struct Row {
    X87Arithmetic operation;
    double result;
  };
  for (const auto& [operation, result] :
       {Row{X87Arithmetic::add, 10}, Row{X87Arithmetic::multiply, 16}, Row{X87Arithmetic::subtract, 6},
        Row{X87Arithmetic::subtract_reversed, -6}, Row{X87Arithmetic::divide, 4},
        Row{X87Arithmetic::divide_reversed, 0.25}}) {
    X87 x87;
    x87.fild(2);
    x87.fild(8);
    x87.arithmetic(operation, 0, 1);
    EXPECT_EQ(std::bit_cast<double>(x87.fst<Float64>().value), result);
    X87 of_memory;
    of_memory.fild(8);
    of_memory.arithmetic(operation, Unpacked::from_integer(2));
    EXPECT_EQ(st(of_memory, 0), st(x87, 0));
  }
}

TEST(X87, WritesItsResultBelowAndPops) {
  X87 x87 = with({two, one});
  x87.arithmetic(X87Arithmetic::subtract, 1, 0, Pops::one);
  EXPECT_EQ(st(x87, 0), one);
  EXPECT_EQ(x87.state.in_use, 0x80);
}

// Nothing changes until the caller has written to memory.
TEST(X87, StoresInTwoSteps) {
  X87 x87 = with({Float80{0xffff'ffff'ffff'ffff, 0x3fff}});
  const X87State before = x87.state;
  const auto store = x87.fst<Float32>();
  EXPECT_EQ(store.value.bits, 0x4000'0000u);
  EXPECT_TRUE(store.writes);
  EXPECT_EQ(x87.state.status.raw, before.status.raw);
  x87.finish(store, Pops::one);
  EXPECT_EQ(flags(x87), pe);
  EXPECT_TRUE(c1(x87));
  EXPECT_EQ(x87.state.in_use, 0);
}

// SDM vol. 1, 8.5.4: there is no scaled result in memory.
TEST(X87, StoresNothingIfAnOverflowIsNotMasked) {
  X87 x87 = with({Float80{integer_bit, 0x7ffe}}, none_masked);
  const auto store = x87.fst<Float64>();
  EXPECT_FALSE(store.writes);
  x87.finish(store, Pops::one);
  EXPECT_EQ(flags(x87), oe);
  EXPECT_EQ(top(x87), 7u);
  EXPECT_TRUE(x87.pending());
}

TEST(X87, StoresIntegers) {
  X87 x87;
  x87.fld(Float32{0x4028'0000});  // 2.625
  EXPECT_EQ(x87.fist<std::int16_t>().value, 3);
  EXPECT_EQ(x87.fist<std::int32_t>(true).value, 2);
  x87.fild(40000);
  const auto store = x87.fist<std::int16_t>();
  EXPECT_EQ(store.value, -32768);
  EXPECT_TRUE(store.writes);
  EXPECT_EQ(store.outcome.raised, ie);
  X87 empty;
  EXPECT_EQ(empty.fist<std::int64_t>().value, INT64_MIN);
  EXPECT_EQ(empty.fbstp().value, packed_decimal_indefinite);
}

TEST(X87, LeavesOperandsOfAnUnmaskedException) {
  X87 x87 = with({signaling, one}, none_masked);
  x87.arithmetic(X87Arithmetic::multiply, 0, 1);
  EXPECT_EQ(st(x87, 0), one);
  EXPECT_EQ(flags(x87), ie);
  EXPECT_TRUE(x87.pending());
  EXPECT_TRUE(x87.state.status.get<X87Status::Busy>());
  x87.fnclex();
  EXPECT_FALSE(x87.pending());
  EXPECT_EQ(x87.fnstsw() & 0x80ff, 0);
}

TEST(X87, WritesTheResultOfAnUnmaskedPrecisionException) {
  X87 x87 = with({one}, none_masked);
  x87.arithmetic(X87Arithmetic::divide, Unpacked::from_integer(3));
  EXPECT_EQ(st(x87, 0), (Float80{0xaaaa'aaaa'aaaa'aaab, 0x3ffd}));
  EXPECT_TRUE(x87.pending());
}

TEST(X87, RaisesWhatIsUnmaskedLater) {
  X87 x87 = with({unmasked_operand, one});
  x87.arithmetic(X87Arithmetic::add, 0, 1);
  EXPECT_FALSE(x87.pending());
  x87.fldcw(none_masked);
  EXPECT_TRUE(x87.pending());
  x87.mask_all();
  EXPECT_FALSE(x87.pending());
}

TEST(X87, Compares) {
  X87 x87 = with({two, one});
  x87.compare(Comparison::ordered, 1, Pops::none);
  EXPECT_EQ(conditions(x87), 1u);  // below
  EXPECT_EQ(x87.compare_to_flags(Comparison::unordered, 1, Pops::none), 0x01u);
  x87.compare(Unpacked::from_integer(1), Pops::one);
  EXPECT_EQ(conditions(x87), 4u);
  x87.ftst();
  EXPECT_EQ(conditions(x87), 0u);
  EXPECT_EQ(x87.compare_to_flags(Comparison::ordered, 0, Pops::none), 0x40u);
  x87.fld(indefinite<Float80>());
  EXPECT_EQ(x87.compare_to_flags(Comparison::unordered, 1, Pops::none), 0x45u);
  EXPECT_EQ(flags(x87), 0);
  x87.compare(Comparison::ordered, 1, Pops::two);
  EXPECT_EQ(conditions(x87), 7u);
  EXPECT_EQ(flags(x87), ie);
  EXPECT_EQ(x87.state.in_use, 0);
}

// APM vol. 5, FXAM.
TEST(X87, Examines) {
  struct Row {
    Float80 value;
    unsigned conditions;
  };
  for (const auto& [value, expected] :
       {Row{{integer_bit >> 1, 0x3fff}, 0}, Row{indefinite<Float80>(), 1}, Row{one, 2},
        Row{infinity<Float80>(true), 3}, Row{{0, 0x8000}, 4}, Row{{1, 0x8000}, 6}}) {
    X87 x87 = with({value});
    x87.fxam();
    EXPECT_EQ(conditions(x87), expected);
    EXPECT_EQ(c1(x87), value.sign_exponent >> 15 != 0);
  }
  X87 empty;
  empty.fxam();
  EXPECT_EQ(conditions(empty), 5u);
}

// SDM vol. 1, 8.3.8 gives π's first 66 bits; the last place follows from the rounding mode.
TEST(X87, RoundsConstants) {
  struct Row {
    std::uint16_t rounding;
    std::uint64_t significand;
  };
  for (const auto& [rounding, significand] :
       {Row{0x0000, 0xc90fdaa22168c235}, Row{0x0400, 0xc90fdaa22168c234}, Row{0x0800, 0xc90fdaa22168c235},
        Row{0x0c00, 0xc90fdaa22168c234}}) {
    X87 x87;
    x87.fldcw(static_cast<std::uint16_t>((all_masked & ~0xf00u) | rounding));  // a precision of 24 bits
    x87.fld_constant(X87Constant::pi);
    EXPECT_EQ(st(x87, 0), (Float80{significand, 0x4000}));
    EXPECT_EQ(flags(x87), 0);
  }
}

TEST(X87, SetsQuotientBitsOfRemainders) {
  X87 x87;
  x87.fild(4);
  x87.fild(27);
  x87.fprem(Quotient::truncated);  // 27 = 6·4 + 3: C0, C3, C1 are 1, 1, 0
  EXPECT_EQ(st(x87, 0), (Float80{0xc000'0000'0000'0000, 0x4000}));
  EXPECT_EQ(conditions(x87), 5u);
  EXPECT_FALSE(c1(x87));
}

TEST(X87, LeavesAnglesThatAreTooLarge) {
  const Float80 large{integer_bit, 0x403e};
  X87 x87 = with({large});
  x87.fsin();
  EXPECT_EQ(st(x87, 0), large);
  EXPECT_EQ(conditions(x87), 2u);
  x87.fptan();
  EXPECT_EQ(top(x87), 7u);
}

TEST(X87, PushesTheSecondOfTwoResults) {
  X87 x87;
  x87.fld_constant(X87Constant::zero);
  x87.fsincos();
  EXPECT_EQ(st(x87, 0), one);
  EXPECT_EQ(st(x87, 1), Float80{});
  x87.fild(12);
  x87.fxtract();
  EXPECT_EQ(st(x87, 0), (Float80{0xc000'0000'0000'0000, 0x3fff}));
  EXPECT_EQ(st(x87, 1), (Float80{0xc000'0000'0000'0000, 0x4000}));
}

TEST(X87, MovesItsTop) {
  X87 x87 = with({one});
  x87.fincstp();
  EXPECT_EQ(top(x87), 0u);
  EXPECT_EQ(x87.state.in_use, 0x80);
  x87.fdecstp();
  x87.ffree(0);
  EXPECT_EQ(x87.state.in_use, 0);
  EXPECT_EQ(top(x87), 7u);
}

TEST(X87, ExchangesAndMovesConditionally) {
  X87 x87 = with({two, one});
  x87.fxch(1);
  EXPECT_EQ(st(x87, 0), two);
  x87.fcmov(false, 1);
  EXPECT_EQ(st(x87, 0), two);
  x87.fcmov(true, 1);
  EXPECT_EQ(st(x87, 0), one);
}

TEST(X87, Initializes) {
  X87 x87 = with({one, signaling}, none_masked);
  x87.arithmetic(X87Arithmetic::add, 0, 1);
  x87.note_instruction(0xffff, 0x33, 0x1234);
  EXPECT_EQ(x87.state.opcode, 0x7ff);
  x87.fninit();
  EXPECT_EQ(x87.fnstcw(), all_masked);
  EXPECT_EQ(x87.fnstsw(), 0);
  EXPECT_EQ(x87.state.in_use, 0);
  EXPECT_EQ(x87.state.instruction_pointer, 0u);
}

// SDM vol. 3, "Effects of MMX instructions on x87 FPU state".
TEST(X87, SharesItsRegistersWithMmx) {
  X87 x87 = with({one});
  x87.enter_mmx();
  EXPECT_EQ(top(x87), 0u);
  EXPECT_EQ(x87.state.in_use, 0xff);
  EXPECT_EQ(x87.mmx(7).quads[0], integer_bit);
  x87.set_mmx(3, {{42}});
  EXPECT_EQ(x87.state.registers[3], (Float80{42, 0xffff}));
  x87.emms();
  EXPECT_EQ(x87.state.in_use, 0);
  EXPECT_EQ(x87.mmx(3).quads[0], 42u);
}

}  // namespace
}  // namespace cbit::cpu::fp::test
