// The implementations against each other: equal bytes, and no byte touched beside the buffers.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <string>

#include "base/random.hpp"
#include "unit/core/crypt/reference.hpp"

namespace cbit::crypt {
namespace {

const CipherImplementation& portable() { return cipher_implementations().front(); }

struct Case {
  Key128 key;
  CipherMode mode;
  PhysAddr address;
  Bytes in;
};

Case random_case(Random& random) {
  const std::uint64_t limit = random.below(4) == 0 ? 800 : 70;  // in blocks; 70 is two wide steps and a tail
  const std::uint64_t width = random.below(61);
  return {derive_key(random.next(), "key"), random.below(2) == 0 ? CipherMode::xex : CipherMode::xe,
          PhysAddr{random.next() >> width & ~std::uint64_t{15}},
          pattern_bytes(random.below(limit + 1) * cipher_block_size, random.next())};
}

// Whether `implementation` agrees with portable on the case, from buffer to buffer and in place.
void expect_equal(const CipherImplementation& implementation, const std::shared_ptr<const TweakTable>& tweaks,
                  const Case& c) {
  const Cipher reference{c.key, tweaks, c.mode, portable()};
  const Cipher tested{c.key, tweaks, c.mode, implementation};
  for (const auto direction : {&Cipher::encrypt, &Cipher::decrypt}) {
    Bytes expected(c.in.size());
    (reference.*direction)(c.address, c.in, expected);
    Bytes out(c.in.size());
    (tested.*direction)(c.address, c.in, out);
    ASSERT_EQ(out, expected);
    Bytes in_place = c.in;
    (tested.*direction)(c.address, in_place, in_place);
    ASSERT_EQ(in_place, expected);
  }
}

TEST(CipherImplementations, AllGiveThePortableBytes) {
  const auto tweaks = std::make_shared<const TweakTable>(1);
  Random random{1};
  for (int i = 0; i < 5'000; ++i) {
    const Case c = random_case(random);
    for (const CipherImplementation& implementation : cipher_implementations()) {
      if (!implementation.available()) continue;
      SCOPED_TRACE(testing::Message()
                   << implementation.name << ", case " << i << ", " << c.in.size() << " bytes");
      ASSERT_NO_FATAL_FAILURE(expect_equal(implementation, tweaks, c));
    }
  }
}

TEST(CipherImplementations, AgreeOnEveryLengthAtEveryPlaceNearAPageBoundary) {
  const auto tweaks = std::make_shared<const TweakTable>(2);
  const Bytes bytes = pattern_bytes(80 * cipher_block_size, 2);
  for (std::uint64_t before = 0; before <= 8; ++before) {
    const PhysAddr at{0x8000 - before * cipher_block_size};
    for (std::size_t blocks = 0; blocks <= 80; ++blocks) {
      const auto end = bytes.begin() + static_cast<std::ptrdiff_t>(blocks * cipher_block_size);
      const Case c{derive_key(before, "key"), CipherMode::xex, at, Bytes(bytes.begin(), end)};
      for (const CipherImplementation& implementation : cipher_implementations()) {
        if (!implementation.available()) continue;
        SCOPED_TRACE(testing::Message() << implementation.name << ", " << blocks << " blocks at -" << before);
        ASSERT_NO_FATAL_FAILURE(expect_equal(implementation, tweaks, c));
      }
    }
  }
}

// A page of memory between two that must not be touched.
class GuardedPage {
 public:
  GuardedPage() {
    constexpr int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    start_ = static_cast<std::byte*>(mmap(nullptr, 3 * page_size, PROT_NONE, flags, -1, 0));
    if (mprotect(start_ + page_size, page_size, PROT_READ | PROT_WRITE) != 0) std::abort();
  }
  ~GuardedPage() { munmap(start_, 3 * page_size); }
  GuardedPage(const GuardedPage&) = delete;
  GuardedPage& operator=(const GuardedPage&) = delete;

  [[nodiscard]] ByteSpan bytes() const { return {start_ + page_size, page_size}; }

 private:
  std::byte* start_;
};

TEST(CipherImplementations, TouchNothingBesideTheirBuffers) {
  const auto tweaks = std::make_shared<const TweakTable>(3);
  const GuardedPage in_page;
  const GuardedPage out_page;
  for (const CipherImplementation& implementation : cipher_implementations()) {
    if (!implementation.available()) continue;
    const Cipher cipher{derive_key(3, "key"), tweaks, CipherMode::xex, implementation};
    for (std::size_t size = cipher_block_size; size <= page_size; size += cipher_block_size) {
      std::ranges::fill(out_page.bytes(), std::byte{0xee});
      cipher.encrypt(PhysAddr{0x3ff0}, in_page.bytes().first(size), out_page.bytes().first(size));
      const auto behind = out_page.bytes().subspan(size);
      ASSERT_TRUE(std::ranges::all_of(behind, [](std::byte b) { return b == std::byte{0xee}; }));

      std::ranges::fill(out_page.bytes(), std::byte{0xee});
      cipher.decrypt(PhysAddr{0x3ff0}, in_page.bytes().last(size), out_page.bytes().last(size));
      const auto ahead = out_page.bytes().first(page_size - size);
      ASSERT_TRUE(std::ranges::all_of(ahead, [](std::byte b) { return b == std::byte{0xee}; }));
    }
  }
}

TEST(CipherImplementations, BeginWithPortableWhichIsAlwaysAvailable) {
  EXPECT_EQ(portable().name, "portable");
  EXPECT_TRUE(portable().available());
}

// Sets CBIT_CIPHER for the life of a test.
class CipherWish {
 public:
  explicit CipherWish(const char* name) { setenv("CBIT_CIPHER", name, 1); }
  ~CipherWish() { unsetenv("CBIT_CIPHER"); }
  CipherWish(const CipherWish&) = delete;
  CipherWish& operator=(const CipherWish&) = delete;
};

const CipherImplementation& fastest_available() {
  const auto all = cipher_implementations();
  return *std::find_if(all.rbegin(), all.rend(), [](const auto& c) { return c.available(); });
}

TEST(BestCipher, IsTheFastestAvailableOne) {
  unsetenv("CBIT_CIPHER");
  EXPECT_EQ(&best_cipher(), &fastest_available());
}

TEST(BestCipher, IsTheOneThatTheEnvironmentNames) {
  for (const CipherImplementation& implementation : cipher_implementations()) {
    const CipherWish wish{std::string{implementation.name}.c_str()};
    EXPECT_EQ(&best_cipher(), implementation.available() ? &implementation : &fastest_available());
  }
}

TEST(BestCipher, IgnoresANameThatIsNone) {
  for (const char* const name : {"", "aes", "VAES-AVX512"}) {
    const CipherWish wish{name};
    EXPECT_EQ(&best_cipher(), &fastest_available());
  }
}

}  // namespace
}  // namespace cbit::crypt
