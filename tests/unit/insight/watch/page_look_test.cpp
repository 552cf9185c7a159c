#include "watch/page_look.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include "base/random.hpp"
#include "crypt/xex.hpp"

namespace cbit::watch {
namespace {

using Page = std::array<std::byte, page_size>;

Page random_page(std::uint64_t seed) {
  Random random{seed};
  Page page;
  for (std::size_t i = 0; i < page.size(); i += 8) store(ByteSpan{page}, i, random.next());
  return page;
}

Page filled(unsigned char value) {
  Page page;
  page.fill(std::byte{value});
  return page;
}

Page repeated(std::string_view text) {
  Page page;
  for (std::size_t i = 0; i < page.size(); ++i) page[i] = static_cast<std::byte>(text[i % text.size()]);
  return page;
}

void put(Page& page, std::size_t at, std::string_view text) {
  for (std::size_t i = 0; i < text.size(); ++i) page[at + i] = static_cast<std::byte>(text[i]);
}

Page encrypted(const Page& plain, std::uint64_t address, crypt::CipherMode mode = crypt::CipherMode::xex) {
  static const auto tweaks = std::make_shared<const crypt::TweakTable>(7);
  const crypt::Cipher cipher{crypt::derive_key(7, "guest"), tweaks, mode};
  Page page;
  cipher.encrypt(PhysAddr{address}, plain, page);
  return page;
}

PageLooks looks_of(const Page& page) { return look_at(page).looks; }

// Of chi-square with `freedom` degrees, even, above `x`: a closed form, unlike the thresholds' origin.
double tail_of_even(unsigned freedom, double x) {
  double term = 1;
  double sum = 0;
  for (unsigned i = 0; i < freedom / 2; ++i) {
    sum += term;
    term *= x / 2 / (i + 1);
  }
  return std::exp(-x / 2) * sum;
}
// With odd `freedom`: from one degree, two more at a time (Abramowitz and Stegun, 26.4.4).
double tail_of_odd(unsigned freedom, double x) {
  double sum = std::erfc(std::sqrt(x / 2));
  double term = std::exp(-x / 2) * std::sqrt(2 * x / M_PI);
  for (unsigned k = 3; k <= freedom; k += 2) {
    sum += term;
    term *= x / k;
  }
  return sum;
}

Uniformity typical() { return {.bytes = 255, .balance = 1, .patterns4 = 8, .patterns8 = 128}; }

TEST(Uniformity, HasThresholdsAtTheFalseAlarmThatItStates) {
  const auto boundary = [](double Uniformity::* statistic, double from) {
    Uniformity page = typical();
    for (page.*statistic = from; page.refused_by().empty();) page.*statistic += 0.001;
    return page.*statistic;
  };
  constexpr double alarm = Uniformity::false_alarm;
  EXPECT_NEAR(tail_of_odd(255, boundary(&Uniformity::bytes, 300)), alarm, 0.01 * alarm);
  EXPECT_NEAR(tail_of_odd(1, boundary(&Uniformity::balance, 10)), alarm, 0.01 * alarm);
  EXPECT_NEAR(tail_of_even(8, boundary(&Uniformity::patterns4, 20)), alarm, 0.01 * alarm);
  EXPECT_NEAR(tail_of_even(128, boundary(&Uniformity::patterns8, 150)), alarm, 0.01 * alarm);
}

TEST(Uniformity, RefusesWhatIsTooEven) {
  Uniformity page = typical();
  page.bytes = 141.9;
  EXPECT_EQ(page.refused_by(), "byte frequencies");
  page = typical();
  page.patterns8 = 53.9;
  EXPECT_EQ(page.refused_by(), "8-bit patterns");
  EXPECT_EQ(typical().refused_by(), "");
}

TEST(Uniformity, CountsOverlappingPatternsAsTheDefinitionDoes) {
  const Page page = random_page(3);
  const auto bit = [&](std::size_t i) {
    i %= page_size * 8;
    return std::to_integer<unsigned>(page[i / 8]) >> (i % 8) & 1;
  };
  const auto psi_square = [&](unsigned bits) {
    std::vector<double> counts(std::size_t{1} << bits);
    for (std::size_t i = 0; i < page_size * 8; ++i) {
      std::size_t pattern = 0;
      for (unsigned k = 0; k < bits; ++k) pattern |= std::size_t{bit(i + k)} << k;
      ++counts[pattern];
    }
    double squares = 0;
    for (const double count : counts) squares += count * count;
    return squares * static_cast<double>(counts.size()) / (page_size * 8) - page_size * 8;
  };
  const Uniformity found = Uniformity::of(page, count_bytes(page));
  EXPECT_NEAR(found.balance, psi_square(1), 1e-6);
  EXPECT_NEAR(found.patterns4, psi_square(4) - psi_square(3), 1e-6);
  EXPECT_NEAR(found.patterns8, psi_square(8) - psi_square(7), 1e-6);
}

TEST(Uniformity, SeesOverManyPagesWhatOnePageHides) {
  // Each page is well below the threshold of every test, and a little too uneven.
  Uniformity uneven = typical();
  uneven.patterns8 = 128 + 3 * 16;
  EXPECT_EQ(uneven.refused_by(), "");
  PooledUniformity pooled;
  for (int i = 0; i < 2; ++i) pooled.add(uneven);
  EXPECT_FALSE(pooled.refused());
  for (int i = 0; i < 14; ++i) pooled.add(uneven);
  EXPECT_TRUE(pooled.refused());
}

TEST(Uniformity, AcceptsAnyNumberOfRandomPagesTogether) {
  PooledUniformity pooled;
  for (std::uint64_t seed = 0; seed < 4000; ++seed) {
    const Page page = random_page(seed);
    pooled.add(Uniformity::of(page, count_bytes(page)));
  }
  EXPECT_EQ(pooled.pages(), 4000u);
  EXPECT_FALSE(pooled.refused());
}

RC_GTEST_PROP(PageLook, CallsEveryEncryptedPageCiphertextWhateverItHolds, ()) {
  const auto content = *rc::gen::inRange(0, 4);
  const auto address = *rc::gen::inRange<std::uint64_t>(0, std::uint64_t{1} << 30) * page_size;
  const Page plain = content == 0   ? Page{}
                     : content == 1 ? repeated("the container's secret ")
                     : content == 2 ? filled(0x6b)
                                    : random_page(address);
  RC_ASSERT(looks_of(encrypted(plain, address)) == PageLooks::ciphertext);
  RC_ASSERT(looks_of(encrypted(plain, address, crypt::CipherMode::xe)) == PageLooks::ciphertext);
}

RC_GTEST_PROP(PageLook, DoesNotCallAPageCiphertextThatHoldsOneBlockOfZeros, ()) {
  Page page = encrypted(Page{}, *rc::gen::inRange<std::uint64_t>(0, 1 << 20) * page_size);
  const auto at = *rc::gen::inRange<std::size_t>(0, page_size / 16) * 16;
  put(page, at, std::string(16, '\0'));
  const PageLook look = look_at(page);
  RC_ASSERT(look.looks != PageLooks::ciphertext);
  RC_ASSERT(!look.why.empty());
}

RC_GTEST_PROP(PageLook, JudgesAnyBytesAndNamesItsReason, ()) {
  // Pages of all densities: each byte is one of the first `kinds` values.
  Random random{*rc::gen::arbitrary<std::uint64_t>()};
  const std::uint64_t kinds = *rc::gen::inRange<std::uint64_t>(1, 257);
  Page page;
  for (std::byte& b : page) b = static_cast<std::byte>(random.below(kinds));
  const PageLook look = look_at(page);
  RC_ASSERT(look.entropy >= 0 && look.entropy <= 8);
  RC_ASSERT(look.looks != PageLooks::absent && look.looks != PageLooks::unreadable);
  RC_ASSERT((look.looks == PageLooks::compressed) <= !look.why.empty());
  RC_ASSERT(kinds > 200 || look.looks != PageLooks::ciphertext);
  RC_ASSERT(kinds != 1 || look.looks == PageLooks::zeros);
}

TEST(PageLook, TellsZerosFromOtherFills) {
  EXPECT_EQ(looks_of(filled(0)), PageLooks::zeros);
  EXPECT_EQ(looks_of(filled(0x6b)), PageLooks::fill);
  EXPECT_EQ(looks_of(repeated(std::string_view{"\xad\xde\0\0\0\0\0\0", 8})), PageLooks::fill);
  Page one = filled(0);
  one[4095] = std::byte{1};
  EXPECT_EQ(looks_of(one), PageLooks::data);
}

TEST(PageLook, FindsTextAlsoWhereMostIsZeros) {
  EXPECT_EQ(looks_of(repeated("Linux version 6.1.0-13-amd64\n")), PageLooks::text);
  EXPECT_EQ(looks_of(repeated("Übergrößenträger für Ölmühlen, 日本語のテキスト\n")), PageLooks::text);
  Page heap = filled(0);
  put(heap, 3984, "/run/virtcontainers/pods/35e23ee30dfb72f1570be42fe1ec13f3/console.sock");
  EXPECT_EQ(looks_of(heap), PageLooks::text);
}

TEST(PageLook, DoesNotCallNumbersText) {
  Page numbers = filled(0);
  for (std::size_t i = 0; i < page_size; i += 8) store(ByteSpan{numbers}, i, std::uint64_t{32 + i % 90});
  EXPECT_EQ(looks_of(numbers), PageLooks::data);
  Page short_words = repeated(std::string_view{"abc\x01zz\x02", 7});
  EXPECT_EQ(looks_of(short_words), PageLooks::data);
}

TEST(PageLook, CallsDenseUnevenPagesCompressed) {
  // Every value occurs, some a little more often than others: what a prefix code leaves.
  Random random{5};
  Page page;
  for (std::byte& b : page)
    b = static_cast<std::byte>(random.below(256) & (random.below(4) == 0 ? 0x7f : 0xff));
  const PageLook look = look_at(page);
  EXPECT_EQ(look.looks, PageLooks::compressed);
  EXPECT_GT(look.entropy, compressed_entropy);
  EXPECT_FALSE(look.why.empty());
}

TEST(PageLook, KnowsTheMarksOfCompressedFormatsInUniformPages) {
  const auto why = [](std::size_t at, std::string_view magic) {
    Page page = random_page(11);
    put(page, at, magic);
    const PageLook look = look_at(page);
    EXPECT_EQ(look.looks == PageLooks::compressed, !look.why.empty());
    return look.why;
  };
  EXPECT_EQ(why(0, "\x1f\x8b\x08"), "gzip magic");
  EXPECT_EQ(why(0, "\x28\xb5\x2f\xfd"), "zstd magic");
  EXPECT_EQ(why(100, {"\xfd"
                      "7zXZ\0",
                      6}),
            "xz magic");
  EXPECT_EQ(why(100, "\x28\xb5\x2f\xfd"), "") << "four bytes occur by accident";
}

TEST(PageLook, KnowsTheStuffingOfJpeg) {
  Page page = random_page(12);
  for (std::size_t i = 0; i + 1 < page_size; ++i)
    if (page[i] == std::byte{0xff}) page[i + 1] = std::byte{0};
  EXPECT_EQ(look_at(page).why, "jpeg stuffing");
}

TEST(PageLook, DoesNotCallRandomPagesWithRepetitionsCiphertext) {
  Page page = random_page(13);
  put(page, 1000, "a password that was left behind");
  EXPECT_EQ(look_at(page).why, "a run of text");
  page = random_page(14);
  std::copy_n(page.begin(), 8, page.begin() + 2048);
  EXPECT_EQ(look_at(page).why, "a repeated word");
  EXPECT_EQ(looks_of(page), PageLooks::data);
}

TEST(PageLook, HasANameForEachLook) {
  for (std::size_t i = 0; i < page_looks_count; ++i) {
    EXPECT_FALSE(to_string(static_cast<PageLooks>(i)).empty());
  }
}

}  // namespace
}  // namespace cbit::watch
