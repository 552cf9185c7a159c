// Bytes that stand in private memory and in shared memory as well.
#include "guest/twins.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "support/small_machine.hpp"

namespace cbit::guest {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr PhysAddr hidden_page{0x10'0000}, open_page{0x20'0000};

struct TwinsTest : ::testing::Test {
  test::SmallMachine machine{test::Encryption::sev};
  Bytes text = pattern_bytes(3 * page_size, 7);

  void write(PhysAddr at, ConstByteSpan bytes, KeyId key) {
    EXPECT_TRUE(machine.memory->write(at, bytes, {{AgentKind::cpu, 0}, key, 0}));
  }
  void write_private(PhysAddr at, ConstByteSpan bytes) { write(at, bytes, machine.key); }
  void write_shared(PhysAddr at, ConstByteSpan bytes) { write(at, bytes, no_key); }
  [[nodiscard]] ConstByteSpan part(std::size_t first, std::size_t bytes) const {
    return ConstByteSpan{text}.subspan(first, bytes);
  }
  [[nodiscard]] std::vector<Twin> find(std::uint64_t since_ns = 0) const {
    const Twins found = find_twins(*machine.memory, machine.key, since_ns);
    EXPECT_TRUE(found.complete);
    return found.runs;
  }
};

TEST_F(TwinsTest, AreFoundHoweverTheCopyIsAligned) {
  write_private(hidden_page, part(0, page_size));
  for (const std::size_t from : {0, 1, 13, 500})
    for (const std::size_t to : {0, 3, 8, 31, 64}) {
      write_shared(open_page, Bytes(page_size));
      write_shared(open_page + to, part(from, 100));
      EXPECT_THAT(find(), ElementsAre(Twin{open_page + to, hidden_page + from, 100})) << from << " to " << to;
    }
}

TEST_F(TwinsTest, AreFoundAcrossPagesOfEitherSide) {
  write_private(hidden_page + page_size - 40, part(0, 80));
  write_shared(open_page + 8, part(0, 80));
  write_shared(open_page + 2 * page_size - 21, part(0, 80));
  EXPECT_THAT(find(), ElementsAre(Twin{open_page + 8, hidden_page + page_size - 40, 80},
                                  Twin{open_page + 2 * page_size - 21, hidden_page + page_size - 40, 80}));
}

TEST_F(TwinsTest, AreTheWholeOfACopyAndNothingAroundIt) {
  write_private(hidden_page, Bytes(2 * page_size));
  write_shared(open_page, Bytes(2 * page_size));
  write_private(hidden_page + 320, part(0, 5000));
  write_shared(open_page + 320, part(0, 5000));
  EXPECT_THAT(find(), ElementsAre(Twin{open_page + 320, hidden_page + 320, 5000}));
}

TEST_F(TwinsTest, OfOnePrivatePlaceAreFoundInEverySharedOne) {
  write_private(hidden_page, part(0, 256));
  for (std::uint64_t i = 0; i < 20; ++i) write_shared(open_page + i * page_size, part(0, 256));
  EXPECT_EQ(find().size(), 20u);
}

TEST_F(TwinsTest, DoNotOverlapWherePrivatePlacesDo) {
  write_private(hidden_page, part(0, 200));
  write_private(hidden_page + page_size, part(100, 300));
  write_shared(open_page, part(0, 400));
  EXPECT_THAT(find(), ElementsAre(Twin{open_page, hidden_page, 200},
                                  Twin{open_page + 200, hidden_page + page_size + 100, 200}));
}

TEST_F(TwinsTest, AreNotWhatIsShort) {
  write_private(hidden_page, part(0, page_size));
  write_shared(open_page, part(64, 63));
  EXPECT_THAT(find(), IsEmpty());
}

TEST_F(TwinsTest, AreNotCiphertextAndItsPage) {
  write_private(hidden_page, part(0, page_size));
  Bytes dram(page_size);
  ASSERT_TRUE(machine.memory->probe(hidden_page, dram));
  write_shared(open_page, dram);
  EXPECT_THAT(find(), IsEmpty()) << "the host had that before";
}

TEST_F(TwinsTest, AreNotOfPagesThatAreBothPrivateOrBothShared) {
  write_private(hidden_page, part(0, 256));
  write_private(hidden_page + page_size, part(0, 256));
  write_shared(open_page, part(512, 256));
  write_shared(open_page + page_size, part(512, 256));
  EXPECT_THAT(find(), IsEmpty());
}

TEST_F(TwinsTest, AreNotWhatWasSharedBeforeTheTimeInQuestion) {
  machine.clock.advance(100);
  write_private(hidden_page, part(0, 256));
  write_shared(open_page, part(0, 256));
  machine.clock.advance(100);
  EXPECT_THAT(find(150), IsEmpty());
  write_shared(open_page, part(0, 256));
  EXPECT_EQ(find(150).size(), 1u);
}

Bytes repeated(std::string_view words, std::size_t bytes) {
  Bytes made(bytes);
  for (std::size_t i = 0; i < bytes; ++i) made[i] = static_cast<std::byte>(words[i % words.size()]);
  return made;
}

// Numbers of so many bytes, each by that much more than the one before.
Bytes numbers(std::size_t width, std::uint64_t first, std::uint64_t step) {
  Bytes made(512);
  for (std::size_t i = 0; i < made.size(); ++i)
    made[i] = static_cast<std::byte>((first + i / width * step) >> 8 * (i % width));
  return made;
}

TEST_F(TwinsTest, AreNotFillNorTablesOfNumbers) {
  for (const Bytes& dull : {Bytes(512), Bytes(512, std::byte{0x5a}), repeated("abcdefgh", 512),
                            numbers(1, 0, 1), numbers(2, 0, 3), numbers(4, 0, 1), numbers(4, 0x1234'5678, 9),
                            numbers(8, 0x8000'0000'1234'5067, 0x1000), numbers(8, 0, 1)}) {
    EXPECT_FALSE(has_substance(ConstByteSpan{dull}.first(Twins::block_bytes)));
    write_private(hidden_page, dull);
    write_shared(open_page, dull);
    EXPECT_THAT(find(), IsEmpty()) << to_hex(ConstByteSpan{dull}.first(32));
  }
}

TEST_F(TwinsTest, AreKeysTextPointersAndDigits) {
  const Bytes alike[] = {
      pattern_bytes(512, 1),
      repeated("To be told, or not to be told: that is the question whether this is text of substance. ",
               512),
      repeated("4929 1740 2281 0063 8174 5520 9916 3347 7002 8465 1193 6690 5581 2274 3306 9918 ", 512)};
  for (const Bytes& one : alike) {
    write_private(hidden_page, one);
    write_shared(open_page, one);
    EXPECT_EQ(find().size(), 1u) << to_hex(ConstByteSpan{one}.first(32));
  }
}

// Every block is the twin of every other one.
TEST_F(TwinsTest, OfAHostileGuestTakeBoundedTime) {
  const Bytes block = pattern_bytes(Twins::block_bytes, 3);
  Bytes page(page_size);
  for (std::size_t i = 0; i < page_size; ++i) page[i] = block[i % block.size()];
  for (std::uint64_t i = 0; i < 256; ++i) {
    write_private(hidden_page + i * page_size, page);
    write_shared(open_page + i * page_size, page);
  }
  const Twins found = find_twins(*machine.memory, machine.key, 0);
  ASSERT_FALSE(found.runs.empty());
  EXPECT_EQ(found.runs.front().at, open_page);
  EXPECT_LE(found.runs.size(), 256u);
}

}  // namespace
}  // namespace cbit::guest
