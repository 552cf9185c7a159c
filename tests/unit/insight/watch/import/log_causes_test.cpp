#include "watch/import/log_causes.hpp"

#include <gtest/gtest.h>

#include <string>

namespace cbit::watch {
namespace {

std::string full(const char* device, std::uint64_t bytes, std::uint64_t total, std::uint64_t used) {
  return "nvme " + std::string{device} + ": swiotlb buffer is full (sz: " + std::to_string(bytes) +
         " bytes), total " + std::to_string(total) + " (slots), used " + std::to_string(used) + " (slots)\n";
}

std::vector<LogCause> causes_of(const std::string& text, bool can_grow = false) {
  return causes_of_full_pool(parse_kernel_log(text), can_grow, false);
}

TEST(LogCauses, TellARequestThatCanNeverFitFromAPoolThatIsUsedUp) {
  const auto never = causes_of(full("0000:00:04.0", 524288, 524288, 564));
  ASSERT_EQ(never.size(), 1u);
  ASSERT_EQ(never[0].causes.size(), 1u);
  EXPECT_EQ(never[0].causes[0]->name, "request-over-segment-limit");
  EXPECT_NE(never[0].remedy.find("A larger pool does not help"), std::string::npos);
  const auto used_up = causes_of(full("0000:00:04.0", 262144, 32768, 32700));
  ASSERT_EQ(used_up.size(), 1u);
  EXPECT_EQ(used_up[0].causes[0]->name, "pool-exhausted");
  EXPECT_EQ(used_up[0].remedy.find("does not help"), std::string::npos);
}

TEST(LogCauses, TellFragmentationFromAPoolThatIsUsedUp) {
  const auto found = causes_of(full("0000:00:04.0", 262144, 32768, 20000));
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].causes[0]->name, "no-aligned-run");
}

TEST(LogCauses, NameGrowthOnlyWhereTheKernelHasIt) {
  const std::string text = full("0000:00:04.0", 4096, 32768, 32768);
  EXPECT_EQ(causes_of(text, false)[0].causes.size(), 1u);
  const auto found = causes_of(text, true);
  ASSERT_EQ(found[0].causes.size(), 2u);
  EXPECT_EQ(found[0].causes[1]->name, "growth-off");
}

TEST(LogCauses, CountRepetitionsOfADeviceAndKeepTheLargestRequest) {
  const auto found =
      causes_of(full("0000:00:04.0", 524288, 32768, 1) + full("0000:00:05.0", 524288, 32768, 1) +
                full("0000:00:04.0", 1048576, 32768, 2) + full("0000:00:04.0", 300000, 32768, 3));
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].device, "0000:00:04.0");
  EXPECT_EQ(found[0].count, 3u);
  EXPECT_EQ(found[0].largest_bytes, 1048576u);
  EXPECT_EQ(found[0].first.number, 1u);
  EXPECT_NE(found[0].remedy.find("1048576 bytes"), std::string::npos);
  EXPECT_EQ(found[1].count, 1u);
}

TEST(LogCauses, DoNotGuessWhereTheKernelSaysTooLittle) {
  const auto small = causes_of("nvme 0000:00:04.0: swiotlb buffer is full (sz: 65536 bytes)\n");
  ASSERT_EQ(small.size(), 1u);
  EXPECT_TRUE(small[0].causes.empty());
  const auto large = causes_of("nvme 0000:00:04.0: swiotlb buffer is full (sz: 262145 bytes)\n");
  ASSERT_EQ(large.size(), 1u);
  ASSERT_FALSE(large[0].causes.empty());
  EXPECT_EQ(large[0].causes[0]->name, "request-over-segment-limit");
}

TEST(LogCauses, TellAMaskBelowTheCBitFromABufferBeyondTheMask) {
  const auto log = parse_kernel_log(
      "a 0000:01:00.0: DMA addr 0x0000800012345000+4096 overflow (mask ffffffff, bus limit 0).\n"
      "b 0000:02:00.0: DMA addr 0x0000800112345000+4096 overflow (mask ffffffff, bus limit 0).\n"
      "c 0000:03:00.0: swiotlb addr 0x00000000fa000000+512 overflow (mask 7fffffff, bus limit 0).\n");
  const auto sme =
      causes_of_overflows(log, {.platform = "sme", .layout = mem::KeyLayout::amd(47), .is_sme = true});
  ASSERT_EQ(sme.size(), 3u);
  EXPECT_EQ(sme[0].causes[0]->name, "dma-mask-below-c-bit");
  EXPECT_EQ(sme[1].causes[0]->name, "buffer-beyond-mask");
  EXPECT_EQ(sme[2].causes[0]->name, "pool-out-of-mask");
  const auto guest =
      causes_of_overflows(log, {.platform = "sev", .layout = mem::KeyLayout::amd(47), .is_guest = true});
  EXPECT_EQ(guest[0].causes[0]->name, "noforce-in-guest");
}

TEST(LogCauses, NameTheMissingPoolWhereTheLogSaysThatThereWasNoLowMemory) {
  const auto log = parse_kernel_log(
      "software IO TLB: swiotlb_memblock_alloc: Failed to allocate 1048576 bytes tlb structure\n"
      "a 0000:01:00.0: DMA addr 0x0000800012345000+4096 overflow (mask ffffffff, bus limit 0).\n");
  const auto found =
      causes_of_overflows(log, {.platform = "sev", .layout = mem::KeyLayout::amd(47), .is_guest = true});
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].causes[0]->name, "pool-not-allocated-low-memory");
}

TEST(LogCauses, FindNothingInALogWithoutTroubles) {
  EXPECT_TRUE(causes_of("[    0.000000] Linux version 6.1.0\n").empty());
  EXPECT_TRUE(causes_of_overflows(parse_kernel_log(""), {.platform = "plain"}).empty());
}

// The wordings are those of drivers/virtio/virtio.c, virtio_features_ok().
TEST(LogCauses, NameWhyAVirtioDeviceIsRefusedByTheFlagAndTheDriver) {
  const auto found = causes_of_virtio_refusals(
      parse_kernel_log("virtio_blk virtio2: device must provide VIRTIO_F_ACCESS_PLATFORM\n"
                       "virtio_blk virtio2: device must provide VIRTIO_F_ACCESS_PLATFORM\n"
                       "virtio_net virtio3: device must provide VIRTIO_F_VERSION_1\n"
                       "virtio_balloon virtio4: device must provide VIRTIO_F_ACCESS_PLATFORM\n"
                       "virtio_rng virtio5: virtio: device refuses features: 9\n"));
  ASSERT_EQ(found.size(), 4u);
  const auto name = [&](std::size_t i) { return found[i].causes.at(0)->name; };
  EXPECT_EQ(name(0), "flag-not-offered");
  EXPECT_EQ(found[0].count, 2u);
  EXPECT_EQ(found[0].device, "virtio2");
  EXPECT_EQ(name(1), "legacy-virtio");
  EXPECT_EQ(name(2), "flag-not-acked") << "virtballoon_validate() clears it";
  EXPECT_EQ(name(3), "device-refuses-features");
  EXPECT_TRUE(causes_of_virtio_refusals(parse_kernel_log("virtio_blk virtio2: [vda] 4 512-byte\n")).empty());
}

}  // namespace
}  // namespace cbit::watch
