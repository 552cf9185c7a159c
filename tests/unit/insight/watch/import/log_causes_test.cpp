#include "watch/import/log_causes.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace cbit::watch {
namespace {

std::string full(const char* device, std::uint64_t bytes, std::uint64_t total, std::uint64_t used) {
  return "nvme " + std::string{device} + ": swiotlb buffer is full (sz: " + std::to_string(bytes) +
         " bytes), total " + std::to_string(total) + " (slots), used " + std::to_string(used) + " (slots)\n";
}

std::vector<LogCause> causes_of(const std::string& text, bool can_grow = false) {
  return causes_of_full_pool(parse_kernel_log(text), {.can_grow = can_grow});
}

TEST(LogCauses, TellARequestThatCanNeverFitFromAPoolThatIsUsedUp) {
  const auto never = causes_of(full("0000:00:04.0", 524288, 524288, 564));
  ASSERT_EQ(never.size(), 1u);
  ASSERT_EQ(never[0].causes.size(), 1u);
  EXPECT_EQ(never[0].causes[0]->name, "request-over-segment-limit");
  const auto used_up = causes_of(full("0000:00:04.0", 262144, 32768, 32700));
  ASSERT_EQ(used_up.size(), 1u);
  EXPECT_EQ(used_up[0].causes[0]->name, "pool-exhausted");
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
  EXPECT_NE(found[0].evidence.front().text.find("1048576 bytes"), std::string::npos);
  EXPECT_EQ(found[1].count, 1u);
}

// rtl8192ee asks for two slots, and finds none, whenever it asks.
std::string stuck(double seconds, const char* device = "0000:00:14.3", std::uint64_t used = 32768) {
  return "[" + std::to_string(seconds) + "] " + full(device, 4000, 32768, used);
}

TEST(LogCauses, SuspectALeakWhereOneDeviceFindsAllSlotsTakenEachTime) {
  const auto found = causes_of(stuck(91401) + stuck(91402) + stuck(91403));
  ASSERT_EQ(found.size(), 1u);
  ASSERT_EQ(found[0].causes.size(), 2u);
  EXPECT_EQ(found[0].causes[0]->name, "slot-leak");
  EXPECT_EQ(found[0].causes[1]->name, "pool-exhausted");
  EXPECT_EQ(found[0].evidence.back().label, "suspected");
  const auto now = causes_of_full_pool(parse_kernel_log(stuck(91401)), {.slots_used = 32768});
  EXPECT_EQ(now[0].causes[0]->name, "slot-leak") << "one message, and the pool still is full";
}

TEST(LogCauses, SuspectNoLeakInABusyPool) {
  const auto first = [](const std::string& text) { return causes_of(text)[0].causes[0]->name; };
  EXPECT_EQ(first(stuck(1) + stuck(2, "0000:00:14.3", 32767)), "pool-exhausted") << "slots come back";
  EXPECT_EQ(first(stuck(1)), "pool-exhausted") << "once";
  EXPECT_EQ(first(stuck(1) + stuck(1.2)), "pool-exhausted") << "within a second";
  EXPECT_EQ(first(stuck(1) + stuck(9, "0000:00:15.0")), "pool-exhausted") << "two devices, for seconds";
  EXPECT_EQ(first(stuck(1) + stuck(99, "0000:00:15.0")), "slot-leak") << "two devices, for minutes";
  EXPECT_EQ(first(full("0000:00:04.0", 200000, 32768, 32768) + full("0000:00:04.0", 200000, 32768, 32768)),
            "pool-exhausted")
      << "large requests";
}

TEST(LogCauses, NameTheCauseOfAnIommuFault) {
  const auto name = [](const std::string& text) {
    const auto found = causes_of_iommu_faults(parse_kernel_log(text));
    return found.size() == 1 && found[0].causes.size() == 1 ? found[0].causes[0]->name : "?";
  };
  EXPECT_EQ(
      name("vfio-pci 0000:21:00.1: AMD-Vi: Event logged [RMP_PAGE_FAULT vmg_tag=0x0000, gpa=0x740b8784, "
           "flags_rmp=0x0000, flags=0x0020]\n"),
      "rmp-entry-owned");
  EXPECT_EQ(name("nvme 0000:41:00.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x000d address=0xfd000000 "
                 "flags=0x0020]\n"),
            "no-translation");
  EXPECT_EQ(name("AMD-Vi: Event logged [ILLEGAL_DEV_TABLE_ENTRY device=0000:41:00.0 pasid=0x00000 "
                 "address=0x0 flags=0x0]\n"),
            "malformed-iopte");
  EXPECT_EQ(
      name("DMAR: [DMA Read NO_PASID] Request device [00:02.0] fault addr 0x7c000000 [fault reason 0x06] "
           "PTE Read access is not set\n"),
      "no-translation");
  EXPECT_EQ(name("DMAR: [DMA Write NO_PASID] Request device [00:02.0] fault addr 0x0 [fault reason 0x02] "
                 "Present bit in context entry is clear\n"),
            "dma-before-viommu-ready");
}

TEST(LogCauses, TieEachTroubleOfTheFirmwareToItsOwnCause) {
  const auto found = causes_of_firmware_troubles(parse_kernel_log(
      "ccp 0000:45:00.1: psp: Both TSME and SME are active, SME is unnecessary when TSME is active.\n"
      "SEV-SNP: Memory for the RMP table has not been reserved by BIOS\n"
      "ccp 0000:45:00.1: SEV: failed to INIT error 0x1, rc -5\n"
      "virt/tdx: module not loaded\n"));
  ASSERT_EQ(found.size(), 4u);
  EXPECT_EQ(found[0].causes.front()->name, "sme-beside-tsme");
  EXPECT_EQ(found[1].causes.front()->name, "rmp-not-reserved");
  EXPECT_EQ(found[2].causes.front()->name, "secure-processor-failed");
  EXPECT_EQ(found[3].causes.front()->name, "tdx-module-failed");
}

TEST(LogCauses, FindTheCataloguesWordsInAnyOtherMessage) {
  const auto found = causes_of_other_words(parse_kernel_log(
      "[    9.000000] SEV: Unsupported exit-code 0x404 in #VC exception (IP: 0xffffffff81000000)\n"
      "[   10.000000] DMA-API: e1000 0000:00:04.0: device driver frees DMA memory with different size [x]\n"
      "[   11.000000] BUG: sleeping function called from invalid context at kernel/locking/mutex.c:580\n"
      "[   12.000000] usb 1-1: value 7 out of range\n"));
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].causes.front()->name, "mapped-encrypted-but-shared");
  EXPECT_EQ(found[1].causes.front()->name, "wrong-unmap-size");
  EXPECT_EQ(found[1].device, "0000:00:04.0");
  EXPECT_EQ(found[1].driver, "e1000");
}

std::vector<std::string_view> names(const CausesOfWords& found) {
  std::vector<std::string_view> all;
  for (const CauseInfo* const info : found.causes) all.push_back(info->name);
  return all;
}

TEST(CausesOfWords, AreJudgedByTheNumbersOfAPastedLine) {
  const CausesOfWords found = causes_of_words(
      "[   52.832378] nvidia 0000:00:05.0: swiotlb buffer is full (sz: 524288 "
      "bytes), total 262144 (slots), used "
      "1044 (slots)");
  EXPECT_EQ(found.decided, 1u);
  ASSERT_GT(found.causes.size(), 1u);
  EXPECT_EQ(found.causes[0]->name, "request-over-segment-limit");
}

TEST(CausesOfWords, AreAllThatTheWordsMayMean) {
  const CausesOfWords full_pool = causes_of_words("swiotlb buffer is full");
  EXPECT_EQ(full_pool.decided, 0u);
  for (const std::string_view name : {"request-over-segment-limit", "pool-exhausted", "no-aligned-run"})
    EXPECT_TRUE(std::ranges::count(names(full_pool), name)) << name;
  EXPECT_EQ(names(causes_of_words("rmp_page_fault")), std::vector<std::string_view>{"rmp-entry-owned"});
  EXPECT_EQ(names(causes_of_words("exit-code 0x404")),
            std::vector<std::string_view>{"mapped-encrypted-but-shared"});
  EXPECT_EQ(names(causes_of_words("req.0:id 300 is not a head!")),
            std::vector<std::string_view>{"forged-descriptor"});
}

TEST(CausesOfWords, AreSearchedInTheCatalogueAtLast) {
  EXPECT_EQ(names(causes_of_words("TSME")), std::vector<std::string_view>{"sme-beside-tsme"});
  EXPECT_TRUE(causes_of_words("no such words anywhere").causes.empty());
  EXPECT_TRUE(causes_of_words("  ").causes.empty());
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
