// Attacks on a guest: what they do to memory, and that they are the same again.
#include "guest/hostile.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "boot/pc_description.hpp"
#include "guest/run.hpp"
#include "support/guest_images.hpp"

namespace cbit::guest {
namespace {

using test::GuestCode;
using testing::HasSubstr;

constexpr std::uint32_t one = 0x48'0000, other = 0x49'0000;
constexpr std::uint64_t word = 0x1122'3344'5566'7788;

// Writes to two pages, and then loops.
Bytes looping() {
  return GuestCode{}.store(one, 0xaaaa'aaaa).store(other, 0xbbbb'bbbb).bytes({0xeb, 0xfe}).multiboot();
}

class HostileTest : public testing::Test {
 protected:
  Pc& load(Platform platform) {
    pc_ = std::move(*Pc::create({.platform = platform, .memory_bytes = 32 << 20}));
    EXPECT_TRUE(pc_->plug(*machine::parse_device("virtio-rng"), 3));
    EXPECT_TRUE(pc_->load({.name = "image", .kernel = looping(), .command_line = ""}));
    return *pc_;
  }
  void run() { (void)guest::run(*pc_, {.limits = {.virtual_ns = 1'000'000}}); }
  // What is in DRAM, and what the guest sees.
  [[nodiscard]] Bytes dram(std::uint32_t at, std::size_t bytes = 16) {
    Bytes raw(bytes);
    EXPECT_TRUE(pc_->machine().memory().probe(PhysAddr{at}, raw));
    return raw;
  }
  [[nodiscard]] std::uint64_t guests(std::uint32_t at) {
    Bytes raw(8);
    EXPECT_TRUE(pc_->machine().memory().peek(PhysAddr{at}, raw, pc_->guest_key()));
    return cbit::load<std::uint64_t>(raw);
  }
  void attack(std::vector<HostileAct> script) {
    Hostile hostile{*pc_, {.script = std::move(script)}};
    run();
    acts_ = hostile.acts();
    refused_ = hostile.refused();
  }

  std::unique_ptr<Pc> pc_;
  std::uint64_t acts_ = 0;
  std::uint64_t refused_ = 0;
};

TEST_F(HostileTest, AnOverwrittenWordIsWhatAPlainGuestReadsAndNoiseToAnEncryptedOne) {
  for (const Platform platform : {Platform::plain, Platform::sev}) {
    load(platform);
    attack({{HostileKind::overwrite, 500'000, one, word}});
    EXPECT_EQ(acts_, 1u);
    EXPECT_EQ(cbit::load<std::uint64_t>(dram(one)), word);
    if (platform == Platform::plain)
      EXPECT_EQ(guests(one), word);
    else
      EXPECT_NE(guests(one), word);
  }
}

TEST_F(HostileTest, WhatWasKeptIsPutBackAndTheGuestReadsItsOldContents) {
  load(Platform::sev);
  attack({{HostileKind::save, 100'000, one},
          {HostileKind::overwrite, 200'000, one, word},
          {HostileKind::restore, 300'000, one}});
  EXPECT_EQ(acts_, 3u);
  EXPECT_EQ(guests(one) & 0xffff'ffff, 0xaaaa'aaaau);
}

TEST_F(HostileTest, MovedCiphertextIsNoiseElsewhereAndMovedPlaintextIsNot) {
  load(Platform::sev);
  attack({{HostileKind::move, 100'000, one, other}});
  EXPECT_EQ(dram(one), dram(other));
  EXPECT_NE(guests(other) & 0xffff'ffff, 0xaaaa'aaaau);
  load(Platform::plain);
  attack({{HostileKind::move, 100'000, one, other}});
  EXPECT_EQ(guests(other) & 0xffff'ffff, 0xaaaa'aaaau);
}

TEST_F(HostileTest, SwappedPagesHoldEachOthersBytes) {
  load(Platform::plain);
  attack({{HostileKind::swap, 100'000, one, other}});
  EXPECT_EQ(guests(one) & 0xffff'ffff, 0xbbbb'bbbbu);
  EXPECT_EQ(guests(other) & 0xffff'ffff, 0xaaaa'aaaau);
}

TEST_F(HostileTest, ADevicesWriteReachesWhatIsNotEncrypted) {
  load(Platform::plain);
  attack({{HostileKind::dma, 100'000, one, word}});
  EXPECT_EQ(refused_, 1u) << "it may not master the bus yet";
  load(Platform::plain);
  constexpr std::uint16_t memory_and_master = 6;
  const PhysAddr command = boot::PcDescription{}.ecam.first + (3 << 15) + 4;
  ASSERT_TRUE(pc_->machine().bus().io_write(command, bytes_of(memory_and_master)));
  attack({{HostileKind::dma, 100'000, one, word}});
  EXPECT_EQ(guests(one), word);
}

TEST_F(HostileTest, AccessesBeyondMemoryAreRefusedAndCounted) {
  load(Platform::plain);
  constexpr std::uint64_t far = 1ull << 40;
  attack({{HostileKind::overwrite, 100'000, far, word},
          {HostileKind::dma, 100'000, far, word},
          {HostileKind::swap, 100'000, far, one},
          {HostileKind::restore, 100'000, one}});
  EXPECT_EQ(acts_, 4u);
  EXPECT_EQ(refused_, 3u);
}

std::vector<HostileAct> acts_of_seed(Pc& pc, const HostilePlan& plan) {
  std::vector<HostileAct> acts;
  const Hostile hostile{pc, plan, [&](const HostileAct& act) { acts.push_back(act); }};
  (void)run(pc, {.limits = {.virtual_ns = 1'000'000}});
  return acts;
}

TEST_F(HostileTest, ASeedGivesTheSameActsAgainAndAnotherGivesOthers) {
  HostilePlan plan{.seed = 5, .by_host = true, .every_ns = 1'000};
  const std::vector<HostileAct> first = acts_of_seed(load(Platform::sev), plan);
  EXPECT_GT(first.size(), 100u);
  EXPECT_EQ(acts_of_seed(load(Platform::sev), plan), first);
  plan.seed = 6;
  EXPECT_NE(acts_of_seed(load(Platform::sev), plan), first);
}

TEST_F(HostileTest, NothingHappensBeforeItsTime) {
  const std::vector<HostileAct> acts =
      acts_of_seed(load(Platform::sev), {.by_host = true, .every_ns = 1'000, .from_ns = 500'000});
  ASSERT_FALSE(acts.empty());
  EXPECT_GT(acts.front().when, 500'000u);
}

TEST(HostileScript, IsReadAsItIsWritten) {
  const auto acts = parse_hostile_script(
      "# a comment\n\npush 7 used-id 0x12\npush 9 used-twice # why\nns 2000 overwrite 0x4000 1");
  ASSERT_TRUE(acts) << acts.error().message;
  EXPECT_EQ(*acts, (std::vector<HostileAct>{{HostileKind::used_id, 7, 0x12},
                                            {HostileKind::used_twice, 9},
                                            {HostileKind::overwrite, 2000, 0x4000, 1}}));
  EXPECT_EQ(to_string((*acts)[2]), "ns 2000 overwrite 0x4000 0x1");
}

TEST(HostileScript, IsRefusedWithItsLine) {
  for (const std::string_view wrong :
       {"\npush 7 used-id", "\nns 7 used-id 1", "\npush x used-twice", "\nns 1 overwrite 1 2 3", "\nhello",
        "\nns 1 save -1", "\nns 18446744073709551616 save 1"}) {
    const auto acts = parse_hostile_script(wrong);
    ASSERT_FALSE(acts) << wrong;
    EXPECT_THAT(acts.error().message, HasSubstr("line 2: ")) << wrong;
  }
}

}  // namespace
}  // namespace cbit::guest
