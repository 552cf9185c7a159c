#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernel/dma/swiotlb.hpp"
#include "support/sizes.hpp"

namespace cbit::kernel {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

CcPlatform on(Platform platform) {
  switch (platform) {
    case Platform::plain: return {platform, mem::KeyLayout::none()};
    case Platform::tdx: return {platform, mem::KeyLayout::tdx(47)};
    default: return {platform, mem::KeyLayout::amd(47)};
  }
}

SwiotlbOptions options(std::string_view text) { return parse_swiotlb(text).value(); }

// ---- swiotlb= -------------------------------------------------------------------------------------------

TEST(SwiotlbParameter, TakesSlotsAreasAndForce) {
  const SwiotlbOptions given = options("65536,4,force");
  EXPECT_EQ(given.slots, 65536u);
  EXPECT_EQ(given.areas, 4u);
  EXPECT_TRUE(given.force);
  EXPECT_FALSE(given.no_force);
}

TEST(SwiotlbParameter, EveryPartMayBeMissing) {
  EXPECT_EQ(options("").slots, std::nullopt);
  EXPECT_EQ(options("65536").areas, 0u);
  EXPECT_TRUE(options("force").force);
  EXPECT_TRUE(options("noforce").no_force);
  EXPECT_FALSE(options("noforce").force);
  EXPECT_TRUE(options("65536,force").force);
  EXPECT_TRUE(options("65536,,noforce").no_force);
  EXPECT_EQ(options(",8").areas, 8u);
  EXPECT_EQ(options(",8").slots, std::nullopt);
  EXPECT_EQ(options("128,").slots, 128u);
}

TEST(SwiotlbParameter, RoundsSlotsToSetsAndAreasToPowersOfTwo) {
  EXPECT_EQ(options("1").slots, 128u);
  EXPECT_EQ(options("0").slots, 0u) << "which is not the same as no slots given";
  EXPECT_EQ(options("32769").slots, 32896u);
  EXPECT_EQ(options("128,0").areas, 1u);
  EXPECT_EQ(options("128,5").areas, 8u);
}

TEST(SwiotlbParameter, ReadsHexadecimalAndOctalNumbers) {
  EXPECT_EQ(options("0x8000").slots, 32768u);
  EXPECT_EQ(options("0400,0x10").slots, 256u);
  EXPECT_EQ(options("0400,0x10").areas, 16u);
}

// kernel/dma/swiotlb.c: setup_io_tlb_npages compares with strncmp() since 7.3, with strcmp() before.
TEST(SwiotlbParameter, TakesTrackHiwaterAsTheLastPartAndOnlyFrom73On) {
  EXPECT_TRUE(options("track_hiwater").track_hiwater);
  const SwiotlbOptions both = options("2048,4,force,track_hiwater");
  EXPECT_TRUE(both.force && both.track_hiwater);
  EXPECT_EQ(both.slots, 2048u);
  EXPECT_TRUE(options("noforce,track_hiwater").no_force);
  EXPECT_TRUE(understood_by(KernelVersion::v7_3, both).force);
  const SwiotlbOptions ignored = understood_by(KernelVersion::v7_2, both);
  EXPECT_FALSE(ignored.force || ignored.track_hiwater) << "\"force,track_hiwater\" is no word of 7.2";
  EXPECT_EQ(ignored.slots, 2048u);
  EXPECT_TRUE(understood_by(KernelVersion::v7_2, options("force")).force);
}

TEST(SwiotlbParameter, NamesWhatItDoesNotUnderstand) {
  for (const auto& [text, part] : std::initializer_list<std::pair<const char*, const char*>>{
           {"64M", "\"M\""},
           {"forced", "\"forced\""},
           {"force,65536", "\"force,65536\""},
           {"force,", "\"force,\""},
           {"track_hiwater,force", "\"track_hiwater,force\""},
           {"65536 ", "\" \""},
           {"-1", "\"-1\""},
           {"1,2,3", "\"3\""},
           {"08", "\"8\""},
           {"0x", "\"0x\""},
           {",,,force", "\",force\""}}) {
    const auto refused = parse_swiotlb(text);
    ASSERT_FALSE(refused) << text;
    EXPECT_THAT(refused.error().message, HasSubstr(part)) << text;
    EXPECT_EQ(refused.error().code, ExitCode::usage);
    EXPECT_THAT(refused.error().hint, HasSubstr("2 KiB"));
  }
}

TEST(SwiotlbParameter, RefusesNumbersThatNoMachineHas) {
  for (const char* text : {"99999999999999999999", "18446744073709551615", "4294967296", "128,65537"}) {
    const auto refused = parse_swiotlb(text);
    ASSERT_FALSE(refused) << text;
    EXPECT_THAT(refused.error().message, HasSubstr("too large"));
  }
}

// ---- size -----------------------------------------------------------------------------------------------

struct OptionRow {
  std::uint64_t memory_mib;
  unsigned cpus;
  std::uint64_t slots;
  unsigned areas;
};

TEST(SwiotlbSize, IsSixPercentOfAGuestsMemoryRoundedToAPowerOfTwo) {
  for (const OptionRow row :
       {OptionRow{512, 1, 32768, 1}, OptionRow{1024, 1, 32768, 1}, OptionRow{2048, 1, 65536, 1},
        OptionRow{2048, 4, 65536, 4}, OptionRow{4096, 8, 131072, 8}, OptionRow{8192, 8, 262144, 8},
        OptionRow{16384, 16, 524288, 16}, OptionRow{32768, 64, 524288, 64}}) {
    for (const Platform guest : {Platform::sev, Platform::sev_es, Platform::sev_snp, Platform::tdx}) {
      const auto size = size_swiotlb(on(guest), row.memory_mib * mib, row.memory_mib > 3072, row.cpus, {});
      ASSERT_TRUE(size);
      EXPECT_EQ(size->slots, row.slots) << row.memory_mib;
      EXPECT_EQ(size->areas, row.areas) << row.memory_mib;
      EXPECT_TRUE(size->force_bounce);
    }
  }
}

TEST(SwiotlbSize, OfAHostIsTheDefaultAndForcesNothing) {
  const auto sme = size_swiotlb(on(Platform::sme), 2 * gib, false, 1, {});
  ASSERT_TRUE(sme);
  EXPECT_EQ(sme->slots, 32768u);
  EXPECT_FALSE(sme->force_bounce);
  EXPECT_TRUE(sme->enabled);
  const auto plain = size_swiotlb(on(Platform::plain), 64 * gib, true, 6, {});
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->slots, 32768u);
  EXPECT_EQ(plain->areas, 8u);
}

TEST(SwiotlbSize, ThereIsNoPoolWithoutNeedNorAgainstTheUsersWill) {
  EXPECT_FALSE(size_swiotlb(on(Platform::plain), 2 * gib, false, 1, {}));
  EXPECT_FALSE(size_swiotlb(on(Platform::plain), 2 * gib, false, 1, options("65536")));
  EXPECT_FALSE(size_swiotlb(on(Platform::sev), 8 * gib, true, 1, options("noforce")));
  const auto forced = size_swiotlb(on(Platform::plain), 2 * gib, false, 1, options("force"));
  ASSERT_TRUE(forced);
  EXPECT_TRUE(forced->force_bounce);
  EXPECT_FALSE(forced->enabled);
}

TEST(SwiotlbSize, AGuestKeepsTheSlotsThatWereAskedFor) {
  EXPECT_EQ(size_swiotlb(on(Platform::sev), 8 * gib, true, 1, options("65536"))->slots, 65536u);
  EXPECT_EQ(size_swiotlb(on(Platform::sev), 8 * gib, true, 1, options("32768"))->slots, 262144u)
      << "the default size counts as not given";
  EXPECT_EQ(size_swiotlb(on(Platform::sev), 8 * gib, true, 1, options("65537"))->slots, 131072u);
  EXPECT_EQ(size_swiotlb(on(Platform::sev), 8 * gib, true, 1, options("0"))->slots, 128u);
}

TEST(SwiotlbSize, GivesEachAreaASet) {
  const auto size = size_swiotlb(on(Platform::sev), 8 * gib, true, 200, options("128"));
  EXPECT_EQ(size->areas, 256u);
  EXPECT_EQ(size->slots, 256u * 128);
  EXPECT_EQ(size_swiotlb(on(Platform::sev), 8 * gib, true, 64, options("128,2"))->areas, 2u);
}

TEST(SwiotlbSize, IsAnnouncedInTheKernelsWords) {
  EXPECT_THAT(size_swiotlb(on(Platform::sev), 2 * gib, false, 4, {})->messages,
              ElementsAre("software IO TLB: SWIOTLB bounce buffer size adjusted to 122MB",
                          "software IO TLB: area num 4.",
                          "software IO TLB: SWIOTLB bounce buffer size roundup to 128MB"));
  EXPECT_THAT(size_swiotlb(on(Platform::sev), 2 * gib, false, 4, options(",2"))->messages,
              ElementsAre("software IO TLB: area num 2.",
                          "software IO TLB: SWIOTLB bounce buffer size adjusted to 128MB"))
      << "areas that were given are set before the size";
  EXPECT_THAT(size_swiotlb(on(Platform::plain), 8 * gib, true, 1, {})->messages,
              ElementsAre("software IO TLB: area num 1."));
  EXPECT_THAT(size_swiotlb(on(Platform::sme), 8 * gib, true, 1, options("0"))->messages,
              ElementsAre("software IO TLB: area num 1.",
                          "software IO TLB: SWIOTLB bounce buffer size roundup to 0MB"));
}

}  // namespace
}  // namespace cbit::kernel
