#include "cpu/fp/sse.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "cpu/fp/formats.hpp"

namespace cbit::cpu::fp::test {
namespace {

constexpr std::uint32_t all_masked = 0x1f80;
constexpr std::uint32_t carry = 1, parity = 4, zf = 0x40, sign = 0x80, of = 0x800;

template <class T, class... Values>
constexpr Vec128 lanes(Values... values) {
  return Vec128::of(std::array<T, sizeof...(values)>{static_cast<T>(values)...});
}
constexpr Vec128 floats(float a, float b, float c, float d) { return Vec128::of(std::array{a, b, c, d}); }
constexpr Vec128 doubles(double a, double b) { return Vec128::of(std::array{a, b}); }
Vec128 text(std::string_view characters) {
  std::array<char, 16> bytes{};
  characters.copy(bytes.data(), bytes.size());
  return Vec128::of(bytes);
}

Vec128 run(SseOp op, const Vec128& dst, const Vec128& src, std::uint8_t imm = 0) {
  SseContext context;
  return apply(op, dst, src, imm, context);
}

// --- The table.

TEST(Sse, HasARowForEachOperation) {
  for (unsigned n = 0; n < static_cast<unsigned>(SseOp::count); ++n) {
    const auto op = static_cast<SseOp>(n);
    const SseRow& row = sse_row(op);
    EXPECT_EQ(row.op, op) << n;
    EXPECT_FALSE(row.name.empty()) << n;
    EXPECT_TRUE(row.xmm != nullptr || row.mmx != nullptr) << row.name;
  }
  EXPECT_EQ(sse_row(SseOp::pshufw).xmm, nullptr);
  EXPECT_EQ(sse_row(SseOp::addps).mmx, nullptr);
}

// --- Packed integers.

TEST(Sse, SaturatesOrWraps) {
  const Vec128 a = lanes<std::int16_t>(32767, -32768, 100, -100, 0, 1, -1, 255);
  const Vec128 b = lanes<std::int16_t>(1, -1, 100, -100, 0, -1, 1, 1);
  EXPECT_EQ(run(SseOp::paddw, a, b), lanes<std::int16_t>(-32768, 32767, 200, -200, 0, 0, 0, 256));
  EXPECT_EQ(run(SseOp::paddsw, a, b), lanes<std::int16_t>(32767, -32768, 200, -200, 0, 0, 0, 256));
  EXPECT_EQ(run(SseOp::paddusw, a, b), lanes<std::int16_t>(-32768, -1, 200, -1, 0, -1, -1, 256));
  EXPECT_EQ(run(SseOp::psubusw, a, b), lanes<std::int16_t>(32766, 0, 0, 0, 0, 0, -2, 254));
}

TEST(Sse, WrapsTheOneSumOfProductsThatOverflows) {
  const Vec128 a = lanes<std::int16_t>(-32768, -32768, 3, -4, 0, 0, 1, 1);
  EXPECT_EQ(run(SseOp::pmaddwd, a, a), lanes<std::uint32_t>(0x8000'0000u, 25, 0, 2));
}

TEST(Sse, MultipliesUnsignedBySignedBytes) {
  const Vec128 a = lanes<std::uint8_t>(255, 255, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
  const Vec128 b = lanes<std::int8_t>(127, 127, -4, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
  EXPECT_EQ(run(SseOp::pmaddubsw, a, b), lanes<std::int16_t>(32767, 7, 0, 0, 0, 0, 0, 0));
}

TEST(Sse, AddsDifferencesOfBytes) {
  const Vec128 a{{0x0102'0304'0506'0708, 0xff00'0000'0000'0000}};
  const Vec128 b{{0x0807'0605'0403'0201, 0x00ff'0000'0000'0000}};
  EXPECT_EQ(run(SseOp::psadbw, a, b), (Vec128{{32, 510}}));
  EXPECT_EQ(run(SseOp::mpsadbw, lanes<std::uint8_t>(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
                Vec128{}),
            lanes<std::uint16_t>(6, 10, 14, 18, 22, 26, 30, 34));
}

TEST(Sse, FindsTheLeastWord) {
  EXPECT_EQ(run(SseOp::phminposuw, {}, lanes<std::uint16_t>(9, 7, 0xffff, 5, 6, 5, 8, 9)),
            (Vec128{{0x3'0005, 0}}));
}

TEST(Sse, ShiftsByAnyCount) {
  const Vec128 a = lanes<std::uint32_t>(0x8000'0001u, 1, 0xffff'ffffu, 2);
  EXPECT_EQ(run(SseOp::pslld, a, Vec128{{31, 0}}),
            lanes<std::uint32_t>(0x8000'0000u, 0x8000'0000u, 0x8000'0000u, 0));
  EXPECT_EQ(run(SseOp::pslld, a, Vec128{{32, 0}}), Vec128{});
  EXPECT_EQ(run(SseOp::psrld, a, Vec128{{1ull << 40, 0}}), Vec128{});
  EXPECT_EQ(run(SseOp::psrad, a, Vec128{{99, 0}}), lanes<std::uint32_t>(~0u, 0, ~0u, 0));
}

TEST(Sse, TestsBits) {
  SseContext context{.flags = 0xffff'ffff};
  const Vec128 mask{{0xff, 0}};
  EXPECT_EQ(apply(SseOp::ptest, mask, Vec128{{0x0f, 0}}, 0, context), mask);
  EXPECT_EQ(context.flags, carry);
  static_cast<void>(apply(SseOp::ptest, mask, Vec128{{0xf00, 0}}, 0, context));
  EXPECT_EQ(context.flags, zf);
  static_cast<void>(apply(SseOp::ptest, mask, Vec128{{0xff0, 0}}, 0, context));
  EXPECT_EQ(context.flags, 0u);
}

// --- Lanes.

TEST(Sse, ShufflesBytes) {
  const Vec128 a = text("ABCDEFGHIJKLMNOP");
  EXPECT_EQ(
      run(SseOp::pshufb, a, lanes<std::uint8_t>(15, 0x80, 0x1f, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 14)),
      text(std::string_view{"P\0PBAAAAAAAAAAAO", 16}));
  EXPECT_EQ(run(SseOp::palignr, text("0123456789abcdef"), a, 15), text("P0123456789abcde"));
  EXPECT_EQ(run(SseOp::palignr, text("0123456789abcdef"), a, 17), text("123456789abcdef"));
  EXPECT_EQ(run(SseOp::palignr, a, a, 32), Vec128{});
  EXPECT_EQ(run(SseOp::pslldq, text("ABCDEFGHIJKLMNOP"), {}, 14),
            text(std::string_view{"\0\0\0\0\0\0\0\0\0\0\0\0\0\0AB", 16}));
  EXPECT_EQ(run(SseOp::psrldq, a, {}, 14), text("OP"));
  EXPECT_EQ(run(SseOp::psrldq, a, {}, 200), Vec128{});
}

TEST(Sse, ShufflesMmxWithinEightBytes) {
  SseContext context;
  const Vec64 a{{0x0807'0605'0403'0201}};
  EXPECT_EQ(apply(SseOp::pshufb, a, Vec64{{0x8000'0f07}}, 0, context), (Vec64{{0x0101'0101'0001'0808}}));
  EXPECT_EQ(apply(SseOp::palignr, a, Vec64{}, 9, context), (Vec64{{0x0008'0706'0504'0302}}));
  EXPECT_EQ(apply(SseOp::pshufw, Vec64{}, a, 0x1b, context), (Vec64{{0x0201'0403'0605'0807}}));
}

TEST(Sse, PacksWithSaturation) {
  const Vec128 a = lanes<std::int16_t>(300, -300, 127, 128, 255, 256, 0, -1);
  EXPECT_EQ(run(SseOp::packsswb, a, Vec128{}).quads[0], 0xff00'7f7f'7f7f'807f);
  EXPECT_EQ(run(SseOp::packuswb, a, Vec128{}).quads[0], 0x0000'ffff'807f'00ff);
}

TEST(Sse, InsertsAndClearsFloats) {
  const Vec128 a = floats(1, 2, 3, 4), b = floats(5, 6, 7, 8);
  EXPECT_EQ(run(SseOp::insertps, a, b, 0b10'01'0001), floats(0, 7, 3, 4));
}

TEST(Sse, BlendsByTheSignsOfXmm0) {
  SseContext context{.xmm0 = lanes<std::uint32_t>(0x8000'0000u, 0x7fff'ffff, 0, ~0u)};
  EXPECT_EQ(apply(SseOp::blendvps, floats(1, 2, 3, 4), floats(5, 6, 7, 8), 0, context), floats(5, 2, 3, 8));
}

TEST(Sse, MovesHalves) {
  const Vec128 a = doubles(1, 2), b = doubles(3, 4);
  EXPECT_EQ(run(SseOp::movlps, a, b), doubles(3, 2));
  EXPECT_EQ(run(SseOp::movhps, a, b), doubles(1, 3));
  EXPECT_EQ(run(SseOp::movhlps, a, b), doubles(4, 2));
  EXPECT_EQ(run(SseOp::movq, a, b), doubles(3, 0));
}

TEST(Sse, TakesSignMasks) {
  EXPECT_EQ(run(SseOp::pmovmskb, {}, Vec128{{0x8000'0000'0000'0080, 0x7f80'0000'0000'0000}}).quads[0],
            0x4081u);
  EXPECT_EQ(run(SseOp::movmskpd, {}, doubles(-0.0, 1)).quads[0], 1u);
}

// --- Floating point.

TEST(Sse, ComputesTheLowLaneOnly) {
  EXPECT_EQ(run(SseOp::addss, floats(1, 2, 3, 4), floats(10, 20, 30, 40)), floats(11, 2, 3, 4));
  EXPECT_EQ(run(SseOp::sqrtsd, doubles(1, 2), doubles(9, 16)), doubles(3, 2));
  EXPECT_EQ(run(SseOp::cvtsi2sd_q, doubles(1, 2), Vec128{{static_cast<std::uint64_t>(-5), 0}}),
            doubles(-5, 2));
}

TEST(Sse, AccumulatesFlags) {
  SseContext context{.mxcsr = {{all_masked | pe}}};
  const Vec128 result = apply(SseOp::divps, floats(1, 0, 1, 8), floats(0, 0, 2, 2), 0, context);
  EXPECT_EQ(result.lane<std::uint32_t>(0), 0x7f80'0000u);
  EXPECT_EQ(result.lane<std::uint32_t>(1), 0xffc0'0000u);
  EXPECT_EQ(result.lane<float>(3), 4.0F);
  EXPECT_EQ(context.mxcsr.raw, all_masked | pe | ie | ze);
  EXPECT_FALSE(context.exception);
}

// SDM vol. 1, 11.5.3, and APM vol. 1, 4.10.3: no lane is computed, or all are.
TEST(Sse, WritesAllLanesOrNone) {
  const Vec128 a = floats(1, 1, 1, 1), b = floats(3, 0, 2, 2);
  SseContext unmasked_zero_divide{.mxcsr = {{all_masked & ~(std::uint32_t{ze} << 7)}}};
  EXPECT_EQ(apply(SseOp::divps, a, b, 0, unmasked_zero_divide), a);
  EXPECT_TRUE(unmasked_zero_divide.exception);
  EXPECT_EQ(unmasked_zero_divide.mxcsr.get<Mxcsr::Flags>(), ze);  // 1/3 is not found to be inexact

  SseContext unmasked_precision{.mxcsr = {{all_masked & ~(std::uint32_t{pe} << 7)}}};
  EXPECT_EQ(apply(SseOp::divps, a, b, 0, unmasked_precision), a);
  EXPECT_TRUE(unmasked_precision.exception);
  EXPECT_EQ(unmasked_precision.mxcsr.get<Mxcsr::Flags>(), ze | pe);
}

TEST(Sse, FaultsForNewExceptionsOnly) {
  SseContext context{.mxcsr = {{ze}}};  // the flag is set, and not masked
  EXPECT_EQ(apply(SseOp::addps, floats(1, 2, 3, 4), floats(1, 1, 1, 1), 0, context), floats(2, 3, 4, 5));
  EXPECT_FALSE(context.exception);
  EXPECT_EQ(context.mxcsr.raw, ze);
}

TEST(Sse, KeepsFlagsIfAComparisonFaults) {
  SseContext context{.mxcsr = {{0}}, .flags = sign};
  static_cast<void>(apply(SseOp::comiss, floats(NAN, 0, 0, 0), floats(1, 0, 0, 0), 0, context));
  EXPECT_TRUE(context.exception);
  EXPECT_EQ(context.flags, sign);
}

TEST(Sse, ComparesToFlags) {
  SseContext context;
  const auto compare = [&](double a, double b) {
    static_cast<void>(apply(SseOp::ucomisd, doubles(a, 0), doubles(b, 0), 0, context));
    return context.flags;
  };
  EXPECT_EQ(compare(2, 1), 0u);
  EXPECT_EQ(compare(1, 2), carry);
  EXPECT_EQ(compare(0.0, -0.0), zf);
  EXPECT_EQ(compare(NAN, 1), zf | parity | carry);
  EXPECT_EQ(context.mxcsr.get<Mxcsr::Flags>(), 0);
}

// SDM vol. 2, CMPPS: for a < b, a = b, a > b, unordered.
TEST(Sse, HasEightPredicates) {
  constexpr unsigned expected[] = {0b0010, 0b0001, 0b0011, 0b1000, 0b1101, 0b1110, 0b1100, 0b0111};
  for (std::uint8_t predicate = 0; predicate < 8; ++predicate) {
    const Vec128 mask = run(SseOp::cmpps, floats(1, 2, 3, NAN), floats(2, 2, 2, 2), predicate);
    EXPECT_EQ(run(SseOp::movmskps, {}, mask).quads[0], expected[predicate]) << int{predicate};
  }
}

TEST(Sse, ConvertsOutOfRangeToTheIndefinite) {
  SseContext context;
  const Vec128 result = apply(SseOp::cvttps2dq, {}, floats(-1.9F, 3e9F, NAN, 2147483520.0F), 0, context);
  EXPECT_EQ(result, lanes<std::uint32_t>(0xffff'ffffu, 0x8000'0000u, 0x8000'0000u, 0x7fff'ff80));
  EXPECT_EQ(context.mxcsr.get<Mxcsr::Flags>(), ie | pe);
  EXPECT_EQ(run(SseOp::cvtsd2si, {}, doubles(-2.5, 0)).quads[0], 0xffff'fffeu);
  EXPECT_EQ(run(SseOp::cvtpd2dq, doubles(9, 9), doubles(1.5, -1.5)), lanes<std::int32_t>(2, -2, 0, 0));
}

TEST(Sse, RoundsAsTheImmediateSays) {
  SseContext context{.mxcsr = {{all_masked | 0x4000}}};  // upwards
  const Vec128 a = doubles(-1.5, 2.25);
  EXPECT_EQ(apply(SseOp::roundpd, {}, a, 1, context), doubles(-2, 2));
  EXPECT_EQ(context.mxcsr.get<Mxcsr::Flags>(), pe);
  context.mxcsr = {{all_masked | 0x4000}};
  EXPECT_EQ(apply(SseOp::roundpd, {}, a, 4 | 8, context), doubles(-1, 3));
  EXPECT_EQ(context.mxcsr.get<Mxcsr::Flags>(), 0);
}

TEST(Sse, AddsAcross) {
  const Vec128 a = floats(1, 2, 3, 4), b = floats(10, 20, 30, 40);
  EXPECT_EQ(run(SseOp::haddps, a, b), floats(3, 7, 30, 70));
  EXPECT_EQ(run(SseOp::addsubps, a, b), floats(-9, 22, -27, 44));
  EXPECT_EQ(run(SseOp::dpps, a, b, 0x75), floats(140, 0, 140, 0));
}

// --- Approximations. SDM vol. 2, RCPPS and RSQRTPS: a relative error of at most 1.5 · 2^-12.

double worst_error(SseOp op, double (*exact)(double)) {
  double worst = 0;
  for (std::uint32_t bits = 0x0100'0000; bits < 0x7e00'0000; bits += 0x3fff) {
    const auto x = std::bit_cast<float>(bits);
    const auto result = run(op, {}, lanes<std::uint32_t>(bits, 0, 0, 0)).lane<float>(0);
    worst = std::max(worst, std::abs(double{result} / exact(double{x}) - 1));
  }
  return worst;
}

TEST(Sse, ApproximatesReciprocals) {
  EXPECT_LE(worst_error(SseOp::rcpss, [](double x) { return 1 / x; }), 1.5 / 4096);
  EXPECT_LE(worst_error(SseOp::rsqrtss, [](double x) { return 1 / std::sqrt(x); }), 1.5 / 4096);
}

TEST(Sse, HasTheLimitsOfReciprocals) {
  SseContext context{.mxcsr = {{0}}};
  const auto bits = [&](SseOp op, std::uint32_t x) {
    return apply(op, {}, lanes<std::uint32_t>(x, 0, 0, 0), 0, context).lane<std::uint32_t>(0);
  };
  EXPECT_EQ(bits(SseOp::rcpss, 0x8000'0000), 0xff80'0000u);
  EXPECT_EQ(bits(SseOp::rcpss, 0x0000'0001), 0x7f80'0000u);
  EXPECT_EQ(bits(SseOp::rcpss, 0xff80'0000), 0x8000'0000u);
  EXPECT_EQ(bits(SseOp::rcpss, 0x7e80'0000), 0x0080'0000u);  // 2^126
  EXPECT_EQ(bits(SseOp::rcpss, 0x7e80'0c01), 0u);            // guaranteed to be tiny
  EXPECT_EQ(bits(SseOp::rcpss, 0x7f80'0001), 0x7fc0'0001u);
  EXPECT_EQ(bits(SseOp::rsqrtss, 0x8000'0001), 0xff80'0000u);
  EXPECT_EQ(bits(SseOp::rsqrtss, 0xbf80'0000), 0xffc0'0000u);
  EXPECT_EQ(bits(SseOp::rsqrtss, 0x7f80'0000), 0u);
  EXPECT_EQ(context.mxcsr.raw, 0u);
  EXPECT_FALSE(context.exception);
}

// --- Strings.

TEST(Sse, FindsTheEndOfAString) {
  SseContext context;
  // Equal each, negative polarity, against itself: the index is 16 if there is no end.
  const Vec128 index = apply(SseOp::pcmpistri, Vec128{}, text("hello"), 0x08, context);
  EXPECT_EQ(index.quads[0], 5u);
  EXPECT_EQ(context.flags, carry | zf | sign);
}

TEST(Sse, FindsASubstring) {
  SseContext context;
  EXPECT_EQ(apply(SseOp::pcmpistri, text("world"), text("hello, world"), 0x0c, context).quads[0], 7u);
  EXPECT_EQ(context.flags, carry | zf | sign);
  // One that begins at the register's end may go on behind it.
  EXPECT_EQ(apply(SseOp::pcmpistri, text("wor"), text("0123456789abcdwo"), 0x0c, context).quads[0], 14u);
  EXPECT_EQ(apply(SseOp::pcmpistri, text("moon"), text("hello, world"), 0x0c, context).quads[0], 16u);
  EXPECT_EQ(context.flags, zf | sign);
}

TEST(Sse, FindsCharactersOfASetAndOfRanges) {
  SseContext context;
  EXPECT_EQ(apply(SseOp::pcmpistri, text("aeiou"), text("xyzebra"), 0x00, context).quads[0], 3u);
  EXPECT_EQ(apply(SseOp::pcmpistri, text("aeiou"), text("xyzebra"), 0x40, context).quads[0], 6u);
  EXPECT_EQ(apply(SseOp::pcmpistri, text("09AZ"), text("ab_7"), 0x04, context).quads[0], 3u);
  EXPECT_EQ(apply(SseOp::pcmpistrm, text("az"), text("Ab1c"), 0x04, context), (Vec128{{0b1010, 0}}));
  EXPECT_EQ(apply(SseOp::pcmpistrm, text("az"), text("Ab1c"), 0x44, context), (Vec128{{0xff00'ff00, 0}}));
}

TEST(Sse, TakesExplicitLengthsByMagnitude) {
  SseContext context{.first_length = -3, .second_length = 100};
  // "abc" within sixteen bytes; zeros do not end it.
  const Vec128 subject = text(std::string_view{"\0\0\0abcdefghijklm", 16});
  EXPECT_EQ(apply(SseOp::pcmpestri, text("abcX"), subject, 0x0c, context).quads[0], 3u);
  EXPECT_EQ(context.flags, carry | sign);
  context.first_length = 0;  // the empty string is everywhere
  EXPECT_EQ(apply(SseOp::pcmpestri, text("abc"), subject, 0x0c, context).quads[0], 0u);
  EXPECT_EQ(context.flags, carry | sign | of);
}

// RFC 3720, B.4: 32 bytes of zeros. Start and end are inverted.
TEST(Sse, SumsAsIscsiDoes) {
  std::uint32_t by_bytes = ~0u, by_quads = ~0u;
  for (int n = 0; n < 32; ++n) by_bytes = crc32(by_bytes, 0xffff'ff00, 1);
  for (int n = 0; n < 4; ++n) by_quads = crc32(by_quads, 0, 8);
  EXPECT_EQ(~by_bytes, 0x8a91'36aau);
  EXPECT_EQ(~by_quads, 0x8a91'36aau);
}

}  // namespace
}  // namespace cbit::cpu::fp::test
