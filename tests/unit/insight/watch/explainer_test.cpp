#include "watch/explainer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agents.hpp"
#include "stage.hpp"

namespace cbit::watch {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// ---- a correct run yields none ---------------------------------------------------------------------------

TEST(Explainer, FindsNothingInAGuestThatBouncesAndCopiesBack) {
  Stage s{Stage::guest()};
  s.cpu(SwiotlbBounced{s.device, bit_mask(64), raw_dma, 512, true});
  s.cpu(SwiotlbAllocated{s.device, 1, 1, 0, bounce_phys, buffer_page});
  s.cpu(SwiotlbCopied{buffer_page, bounce_phys, 512, true});
  s.map(DmaPath::swiotlb, bounce_dma, 512, DmaDirection::from_device);
  s.device_writes(bounce_dma, bounce_phys, no_key);
  s.cpu(SwiotlbCopied{buffer_page, bounce_phys, 512, false});
  s.unmap(bounce_dma, 512, DmaDirection::from_device, true);
  s.cpu(SwiotlbReleased{1, 1});
  s.explainer.finish();
  EXPECT_THAT(s.names(), IsEmpty());
}

TEST(Explainer, FindsNothingInASmeHostWhoseAddressesCarryTheBit) {
  Stage s{Stage::sme()};
  s.map(DmaPath::direct, encrypted_dma, 512, DmaDirection::bidirectional, DmaMappingKind::single, true);
  s.device_reads(encrypted_dma, buffer_page, memory_key, memory_key);
  s.device_writes(encrypted_dma, buffer_page, memory_key, memory_key);
  s.unmap(encrypted_dma, 512, DmaDirection::bidirectional);
  s.explainer.finish();
  EXPECT_THAT(s.names(), IsEmpty());
}

// The page is new: nobody wrote it under any key, and the device is the first.
TEST(Explainer, FindsNothingWhenADeviceFillsAFreshEncryptedPage) {
  Stage s{Stage::sme()};
  s.map(DmaPath::direct, encrypted_dma, 512, DmaDirection::from_device, DmaMappingKind::single, true);
  s.device_writes(encrypted_dma, buffer_page, no_key, memory_key);
  s.unmap(encrypted_dma, 512, DmaDirection::from_device);
  EXPECT_THAT(s.names(), IsEmpty());
}

TEST(Explainer, FindsNothingBehindAnIommuWithTheBitInItsEntries) {
  Stage s{Stage::sme()};
  s.map(DmaPath::iommu, iova, 512, DmaDirection::to_device, DmaMappingKind::single, true);
  s.device_reads(iova, buffer_page, memory_key, memory_key, true);
  s.unmap(iova);
  EXPECT_THAT(s.names(), IsEmpty());
}

TEST(Explainer, FindsNothingInCoherentMemoryThatStaysMapped) {
  Stage s{Stage::guest()};
  s.share(buffer_page);
  s.map(DmaPath::direct, raw_dma, 4096, DmaDirection::bidirectional, DmaMappingKind::coherent);
  s.device_writes(raw_dma, buffer_page, no_key);
  s.device_reads(raw_dma, buffer_page, no_key);
  s.explainer.finish();
  EXPECT_THAT(s.names(), IsEmpty());
}

// Without encryption a raw address works, bad style or not.
TEST(Explainer, FindsNothingInARawAddressOnPlainMemory) {
  Stage s{Stage::plain()};
  s.device_reads(raw_dma, buffer_page, no_key);
  s.dev(VirtioNegotiated{s.device, 1ull << 32, 1ull << 32, 0x0f});
  EXPECT_THAT(s.names(), IsEmpty());
}

TEST(Explainer, FindsNothingInARawAddressOfAPageThatTheDriverShared) {
  Stage s{Stage::guest()};
  s.share(buffer_page);
  s.device_writes(raw_dma, buffer_page, no_key);
  EXPECT_THAT(s.names(), IsEmpty());
}

TEST(Explainer, FindsNothingInAVirtioDeviceThatNegotiatesAccessPlatform) {
  Stage s{Stage::guest()};
  s.dev(VirtioNegotiated{s.device, 3ull << 32, 3ull << 32, 0x0b});
  s.dev(VirtioNegotiated{s.device, 3ull << 32, 3ull << 32, 0x0f});
  EXPECT_THAT(s.names(), IsEmpty());
}

TEST(Explainer, FindsNothingInAProbeThatFailedBeforeItWroteFeatures) {
  Stage s{Stage::guest()};
  s.dev(VirtioNegotiated{s.device, 3ull << 32, 0, 0x81});
  EXPECT_THAT(s.names(), IsEmpty());
}

// A write that agrees with the page's attribute replaces old bytes of the other view: that is what Linux
// does to a fresh pool slot, and to a coherent page after its conversion.
TEST(Explainer, FindsNothingInWritesThatAgreeWithTheAttribute) {
  Stage s{Stage::guest()};
  s.cpu(ForeignWrite{stage_pool.first, no_key, memory_key, cpu0, s.site, 512});
  s.share(buffer_page);
  s.cpu(OwnerChanged{buffer_page, memory_key, no_key, s.site});
  s.make_private(buffer_page);
  s.cpu(ForeignWrite{buffer_page, memory_key, no_key, cpu0, s.site, 64});
  EXPECT_THAT(s.names(), IsEmpty());
}

TEST(Explainer, LetsTheHostReadCiphertext) {
  Stage s{Stage::guest()};
  s.host(KeyMismatch{buffer_page, no_key, memory_key, cpu0, s.site, s.site});
  EXPECT_THAT(s.names(), IsEmpty());
}

TEST(Explainer, FindsNothingWhenSyncsCoverWhatTheDeviceWrote) {
  Stage s{Stage::guest()};
  s.map(DmaPath::swiotlb, bounce_dma, 1024, DmaDirection::from_device);
  s.device_writes(bounce_dma, bounce_phys, no_key);
  s.cpu(DmaSynced{s.device, bounce_dma, 256, DmaDirection::from_device, true, true});
  s.cpu(DmaSynced{s.device, bounce_dma + 256, 256, DmaDirection::from_device, true, true});
  s.unmap(bounce_dma, 1024, DmaDirection::from_device, false);
  EXPECT_THAT(s.names(), IsEmpty());
}

// ---- who is to blame -------------------------------------------------------------------------------------

TEST(Explainer, BlamesTheRawWriteWhenOnlyTheLaterReadSeesNoise) {
  Stage s{Stage::sme()};
  s.device_writes(raw_dma, buffer_page, no_key);  // a page that nobody had written before
  EXPECT_THAT(s.names(), IsEmpty());
  s.cpu(KeyMismatch{buffer_page, memory_key, no_key, some_device, 0, s.site});
  EXPECT_THAT(s.names(), ElementsAre("missing-c-bit-in-dma-address"));
  EXPECT_THAT(s.evidence("read"), HasSubstr("cpu0"));
}

// The mapping that allowed the write is gone by the time the CPU looks; the write was not late for that.
TEST(Explainer, JudgesAWriteByTheMappingOfItsTime) {
  Stage s{Stage::sme()};
  s.map(DmaPath::iommu, iova, 512, DmaDirection::from_device);
  s.device_writes(iova, buffer_page, no_key, no_key, true);
  s.unmap(iova, 512, DmaDirection::from_device);
  s.cpu(KeyMismatch{buffer_page, memory_key, no_key, some_device, 0, s.site});
  EXPECT_THAT(s.names(), ElementsAre("iopte-without-c-bit"));
}

TEST(Explainer, BlamesTheCpuMappingWhenTheDeviceWroteToASharedPage) {
  Stage s{Stage::guest()};
  s.share(buffer_page);
  s.map(DmaPath::direct, raw_dma, 4096, DmaDirection::bidirectional, DmaMappingKind::coherent);
  s.device_writes(raw_dma, buffer_page, no_key);
  s.cpu(KeyMismatch{buffer_page, memory_key, no_key, some_device, 0, s.site});
  EXPECT_THAT(s.names(), ElementsAre("mapped-encrypted-but-shared"));
}

TEST(Explainer, BlamesTheCpuMappingForWhatTheDeviceReadsAfterwards) {
  Stage s{Stage::guest()};
  s.share(buffer_page);
  s.map(DmaPath::direct, raw_dma, 4096, DmaDirection::bidirectional, DmaMappingKind::coherent);
  s.cpu(OwnerChanged{buffer_page, no_key, memory_key, s.site});  // written whole through a C=1 mapping
  s.device_reads(raw_dma, buffer_page, memory_key);
  EXPECT_THAT(s.names(), ElementsAre("mapped-encrypted-but-shared"));
  EXPECT_EQ(s.first().count, 2u);
}

TEST(Explainer, SaysThatContentsWereNotConvertedWhenTheDeviceReadsOldBytes) {
  Stage s{Stage::guest()};
  s.share(buffer_page);
  s.map(DmaPath::direct, raw_dma, 4096, DmaDirection::bidirectional, DmaMappingKind::coherent);
  s.device_reads(raw_dma, buffer_page, memory_key);
  EXPECT_THAT(s.names(), ElementsAre("contents-not-converted"));
  EXPECT_EQ(s.first().device, "0000:00:03.0");
}

TEST(Explainer, FindsNothingInADevicesWriteOverOldContentsOfASharedPage) {
  Stage s{Stage::guest()};
  s.share(buffer_page);
  s.map(DmaPath::direct, raw_dma, 4096, DmaDirection::bidirectional, DmaMappingKind::coherent);
  s.device_writes(raw_dma, buffer_page, memory_key);
  EXPECT_THAT(s.names(), IsEmpty());
}

TEST(Explainer, TracesPrivateAccessesOfAVirtioDeviceToTheMissingFlag) {
  Stage s{Stage::guest()};
  s.dev(VirtioNegotiated{s.device, 1ull << 32, 1ull << 32, 0x0f});  // a kernel without the check goes on
  s.device_reads(raw_dma, buffer_page, memory_key);
  s.dev(VirtioBroken{s.device, 0, "descriptor chain is a loop"});
  EXPECT_THAT(s.names(), ElementsAre("flag-not-offered"));
  EXPECT_THAT(s.evidence("consequence"), HasSubstr("read of 512 bytes"));
  EXPECT_THAT(s.evidence("device stopped"), HasSubstr("loop"));
}

TEST(Explainer, TracesRmpFaultsOfAVirtioDeviceToTheMissingFlag) {
  Stage s{Stage::guest()};
  s.dev(VirtioNegotiated{s.device, 1ull << 32, 1ull << 32, 0x0f});
  s.device_fault(FaultKind::rmp_violation, raw_dma, buffer_page.value(), true);
  EXPECT_THAT(s.names(), ElementsAre("flag-not-offered"));
}

TEST(Explainer, TellsADeviceThatRefusesAMissingFlagFromOneThatRefusesSomethingElse) {
  Stage s{Stage::plain()};
  s.printk("virtio: device refuses features: 3");
  s.dev(VirtioNegotiated{s.device, 3ull << 32, 1ull << 32, 0x03});
  EXPECT_THAT(s.names(), ElementsAre("flag-not-acked"));
  EXPECT_THAT(s.first().kernel_message, HasSubstr("device refuses features"));
}

TEST(Explainer, CallsAGuestWithoutAPoolByTheReasonThatTheKernelPrinted) {
  Stage s{Stage::guest()};
  s.printk("software IO TLB: swiotlb_memblock_alloc: Failed to allocate 1048576 bytes tlb structure");
  s.printk("something else");
  s.map(DmaPath::direct, encrypted_dma);
  EXPECT_THAT(s.names(), ElementsAre("pool-not-allocated-low-memory"));
  EXPECT_THAT(s.first().kernel_message, HasSubstr("1048576 bytes tlb structure"));
}

TEST(Explainer, FilesTheFaultOfADirectMappingUnderTheMissingPool) {
  Stage s{Stage::guest()};
  s.map(DmaPath::direct, encrypted_dma);
  s.device_fault(FaultKind::no_memory, encrypted_dma, encrypted_dma.value());
  EXPECT_THAT(s.names(), ElementsAre("noforce-in-guest"));
  EXPECT_EQ(s.first().count, 2u);
}

TEST(Explainer, BlamesTheGuestsIommuForARefusedWriteToAMappedPage) {
  Stage s{Stage::guest()};
  s.map(DmaPath::iommu, iova, 512, DmaDirection::from_device);
  s.device_fault(FaultKind::rmp_violation, iova, buffer_page.value(), true);
  EXPECT_THAT(s.names(), ElementsAre("guest-iommu-skips-bounce"));
}

TEST(Explainer, BlamesTheIommuDriverForAnEncryptedEntryOfAPeersBar) {
  ExplainerContext context = Stage::sme();
  context.asked.kernel = {6, 1};
  Stage s{context};
  s.map(DmaPath::iommu, iova, 512, DmaDirection::to_device, DmaMappingKind::resource, true);
  s.device_fault(FaultKind::private_mmio, iova, 0xc000'0000);
  EXPECT_THAT(s.names(), ElementsAre("encrypted-mmio"));
  EXPECT_THAT(s.first().remedies.back().text, HasSubstr("iommu_v1_map_pages"));
}

TEST(Explainer, NamesTheFunctionThatReachedEncryptedMmioOnlyWhereItIsKnown) {
  Stage known{Stage::guest()}, unknown{Stage::guest()};
  known.cpu(AccessFault{{FaultKind::private_mmio, 0xc000'0000, false}, known.site});
  unknown.cpu(AccessFault{{FaultKind::private_mmio, 0xc000'0000, false}});
  EXPECT_EQ(known.evidence("access"),
            "read by cpu0 in driver_fill: MMIO reached with the encryption bit set");
  EXPECT_EQ(unknown.evidence("access"), "read by cpu0: MMIO reached with the encryption bit set");
}

TEST(Explainer, SeesUseAfterUnmapInAnIommuFault) {
  Stage s{Stage::sme()};
  s.map(DmaPath::iommu, iova, 512, DmaDirection::to_device, DmaMappingKind::single, true);
  s.unmap(iova);
  s.device_fault(FaultKind::iommu_not_present, iova + 16, iova.value() + 16);
  EXPECT_THAT(s.names(), ElementsAre("use-after-unmap"));
}

TEST(Explainer, SeesAWriteToAReadOnlyMappingInAnIommuFault) {
  Stage s{Stage::sme()};
  s.map(DmaPath::iommu, iova, 512, DmaDirection::to_device, DmaMappingKind::single, true);
  s.device_fault(FaultKind::iommu_protection, iova, iova.value(), true);
  EXPECT_THAT(s.names(), ElementsAre("wrong-direction"));
}

TEST(Explainer, TakesAnAddressThatWasOnceAnIovaForAMissingTranslation) {
  Stage s{Stage::plain()};
  s.cpu(IommuMapped{1, DmaAddr{0x5000}, buffer_page, 4096, false});
  s.cpu(IommuUnmapped{1, DmaAddr{0x5000}, 4096});
  s.device_fault(FaultKind::iommu_not_present, DmaAddr{0x5010}, 0x5010);
  EXPECT_THAT(s.names(), ElementsAre("no-translation"));
}

TEST(Explainer, LetsAnAccessRunOverTheSeamOfTwoMappings) {
  Stage s{Stage::plain()};
  s.map(DmaPath::direct, raw_dma, 256);
  s.map(DmaPath::direct, raw_dma + 256, 256);
  s.device_reads(raw_dma, buffer_page, no_key);
  EXPECT_THAT(s.names(), IsEmpty());
}

TEST(Explainer, SeesAccessesOfTheBouncePoolThatNoMappingAllows) {
  Stage s{Stage::guest()};
  s.device_reads(DmaAddr{0x4100'0000}, PhysAddr{0x4100'0000}, no_key);
  EXPECT_THAT(s.names(), ElementsAre("access-outside-mapping"));
}

TEST(Explainer, SeesTheBounceOfAnUntrustedDeviceBehindItsIommu) {
  Stage s{Stage::plain()};
  s.cpu(SwiotlbAllocated{s.device, 1, 2, 0, bounce_phys, buffer_page});
  s.map(DmaPath::iommu, iova, 512, DmaDirection::from_device);
  s.device_writes(iova, bounce_phys, no_key, no_key, true);
  s.explainer.finish();
  EXPECT_THAT(s.names(), ElementsAre("missing-sync", "slot-leak"));
}

// ---- one entry per cause, device and place ---------------------------------------------------------------

TEST(Explainer, MergesNeighbouringPagesIntoOneRun) {
  Stage s{Stage::guest()};
  for (const std::uint64_t page : {1, 0, 2, 1})
    s.device_reads(raw_dma + page * page_size, buffer_page + page * page_size, memory_key);
  ASSERT_THAT(s.names(), ElementsAre("raw-physical-address", "page-still-private"));
  EXPECT_EQ(s.first().count, 4u);
  EXPECT_EQ(s.first().where, (CauseRange{CauseRange::Space::physical, buffer_page.value(), 3 * page_size}));
}

TEST(Explainer, JoinsTwoRunsWhenThePageBetweenThemFollows) {
  Stage s{Stage::guest()};
  for (const std::uint64_t page : {0, 2, 4, 1})
    s.device_reads(raw_dma + page * page_size, buffer_page + page * page_size, memory_key);
  EXPECT_THAT(s.names(), ElementsAre("raw-physical-address", "page-still-private", "raw-physical-address",
                                     "page-still-private"));
  EXPECT_EQ(s.first().count, 3u);
  EXPECT_EQ(s.first().where, (CauseRange{CauseRange::Space::physical, buffer_page.value(), 3 * page_size}));
  s.device_reads(raw_dma + 3 * page_size, buffer_page + 3 * page_size, memory_key);
  EXPECT_THAT(s.names(), ElementsAre("raw-physical-address", "page-still-private"));
  EXPECT_EQ(s.first().count, 5u);
}

TEST(Explainer, KeepsDistantPagesAndOtherDevicesApart) {
  Stage s{Stage::guest()};
  s.device_reads(raw_dma, buffer_page, memory_key);
  s.device_reads(raw_dma + 8 * page_size, buffer_page + 8 * page_size, memory_key);
  s.device = s.tracer.intern("0000:00:04.0");
  s.device_reads(raw_dma, buffer_page, memory_key);
  EXPECT_THAT(s.names(), ElementsAre("raw-physical-address", "page-still-private", "raw-physical-address",
                                     "page-still-private", "raw-physical-address", "page-still-private"));
}

TEST(Explainer, CountsADmaDebugReportAndItsOwnFindingOfOneCallOnce) {
  for (const bool report_first : {false, true}) {
    SCOPED_TRACE(report_first);
    Stage s{Stage::guest()};
    s.map(DmaPath::swiotlb, bounce_dma, 512);
    const auto report = [&] {
      s.cpu(DmaDebugReport{s.device, DmaDebugKind::wrong_size, bounce_dma, 256,
                           "device driver frees DMA memory with different size"});
    };
    if (report_first) report();
    s.unmap(bounce_dma, 256);
    if (!report_first) report();
    ASSERT_THAT(s.names(), ElementsAre("wrong-unmap-size"));
    EXPECT_EQ(s.first().count, 1u);
    EXPECT_THAT(s.first().kernel_message, HasSubstr("different size"));
  }
}

TEST(Explainer, CallsASyncBeyondTheEndSoThoughDmaDebugFindsNoEntryForIt) {
  Stage s{Stage::plain()};
  s.map(DmaPath::direct, raw_dma, 512);
  s.cpu(DmaSynced{s.device, raw_dma + 500, 64, DmaDirection::to_device, false, false});
  s.cpu(DmaDebugReport{s.device, DmaDebugKind::sync_unmapped, raw_dma + 500, 64,
                       "device driver tries to sync DMA memory it has not allocated"});
  ASSERT_THAT(s.names(), ElementsAre("sync-outside-mapping"));
  EXPECT_EQ(s.first().count, 1u);
}

TEST(Explainer, CallsALeakedBounceASlotLeakWhoeverReportsIt) {
  Stage s{Stage::guest()};
  s.map(DmaPath::swiotlb, bounce_dma);
  s.cpu(DmaDebugReport{s.device, DmaDebugKind::leak, bounce_dma, 512,
                       "device driver has pending DMA allocations"});
  s.explainer.finish();
  ASSERT_THAT(s.names(), ElementsAre("slot-leak"));
  EXPECT_EQ(s.first().count, 1u);
}

// ---- what a cause carries --------------------------------------------------------------------------------

TEST(Explainer, GivesEachCauseTheMessageThatStandsNextToIt) {
  Stage s{Stage::guest()};
  SwiotlbFull full{.device = s.device,
                   .bytes = 2097152,
                   .slots_wanted = 1024,
                   .segment_slots = 128,
                   .slots_total = 524288,
                   .slots_used = 564};
  const std::string words =
      "swiotlb buffer is full (sz: 2097152 bytes), total 524288 (slots), used 564 (slots)";
  s.cpu(full);
  s.printk(words);
  full.slots_wanted = 2;
  full.slots_used = 524288;
  s.printk("swiotlb buffer is full (sz: 4096 bytes), total 524288 (slots), used 524288 (slots)");
  s.cpu(full);
  ASSERT_THAT(s.names(), ElementsAre("request-over-segment-limit", "pool-exhausted"));
  EXPECT_EQ(s.explainer.causes()[0].kernel_message, words);
  EXPECT_THAT(s.explainer.causes()[1].kernel_message, HasSubstr("used 524288"));
  EXPECT_THAT(s.explainer.kernel_log(), testing::SizeIs(2));
}

TEST(Explainer, LeavesTheMessageEmptyWhenLinuxWasSilent) {
  Stage s{Stage::guest()};
  s.printk("Memory encryption is active and system is using DMA bounce buffers");
  s.device_reads(raw_dma, buffer_page, memory_key);
  EXPECT_EQ(s.first().kernel_message, "");
}

TEST(Explainer, PutsTheActualValuesIntoTheRemedy) {
  Stage s{Stage::guest()};
  s.cpu(SwiotlbFull{.device = s.device,
                    .bytes = 2097152,
                    .slots_wanted = 1024,
                    .segment_slots = 128,
                    .slots_total = 524288,
                    .slots_used = 564});
  EXPECT_THAT(s.first().evidence.front().text,
              testing::AllOf(HasSubstr("2097152 bytes"), HasSubstr("262144 bytes")));
}

TEST(Explainer, NamesTheHoldersOfAnExhaustedPool) {
  Stage s{Stage::guest()};
  s.map(DmaPath::swiotlb, bounce_dma, 4096);
  const NameId greedy = s.tracer.intern("0000:00:04.0");
  s.cpu(DmaMapped{greedy, DmaMappingKind::single, DmaAddr{0x4001'0000}, buffer_page, 65536,
                  DmaDirection::to_device, DmaPath::swiotlb, false});
  s.cpu(SwiotlbBounced{s.device, bit_mask(64), raw_dma, 4096, true});
  s.cpu(SwiotlbFull{.device = s.device,
                    .bytes = 4096,
                    .slots_wanted = 2,
                    .segment_slots = 128,
                    .slots_total = 512,
                    .slots_used = 511,
                    .longest_run = 1,
                    .growth_possible = true,
                    .growth_failed = true});
  EXPECT_EQ(s.evidence("held by"),
            "0000:00:04.0: 65536 bytes in 1 mapping; 0000:00:03.0: 4096 bytes in 1 mapping");
  EXPECT_THAT(s.evidence("growth"), HasSubstr("failed"));
  EXPECT_THAT(s.evidence("why it bounces"), HasSubstr("every mapping is bounced"));
}

TEST(Explainer, SaysThatASmeDeviceBouncesBecauseItsMaskLacksTheBit) {
  Stage s{Stage::sme()};
  s.cpu(SwiotlbBounced{s.device, bit_mask(40), encrypted_dma, 4096, false});
  s.cpu(SwiotlbFull{.device = s.device,
                    .bytes = 4096,
                    .slots_wanted = 2,
                    .segment_slots = 128,
                    .slots_total = 512,
                    .slots_used = 511,
                    .longest_run = 1});
  EXPECT_THAT(s.evidence("why it bounces"), HasSubstr("does not reach the encryption bit"));
}

TEST(Explainer, NamesWhoWroteThePageWhicheverEventComesFirst) {
  for (const bool mismatch_first : {false, true}) {
    SCOPED_TRACE(mismatch_first);
    Stage s{Stage::guest()};
    const auto controller_reports = [&] {
      s.dev(KeyMismatch{buffer_page, no_key, memory_key, cpu0, s.site, 0});
    };
    if (mismatch_first) controller_reports();
    s.device_reads(raw_dma, buffer_page, memory_key);
    if (!mismatch_first) controller_reports();
    EXPECT_EQ(s.evidence("last written by"), "cpu0 under the guest's key (2) in driver_fill");
  }
}

TEST(Explainer, TellsSinceWhenAndByWhomAPageIsShared) {
  Stage s{Stage::guest()};
  s.share(buffer_page);
  s.cpu(KeyMismatch{buffer_page, memory_key, no_key, cpu0, s.site, s.site});
  EXPECT_EQ(s.evidence("page"), "P:0x12345000 was made shared by cpu0 in set_memory_decrypted at 0 ns");
}

TEST(Explainer, KeepsTheStepsUntilTheyAreForgotten) {
  Stage s{Stage::guest()};
  s.cpu(StepTaken{"bounced", "kernel/dma/direct.h: dma_direct_map_page"});
  ASSERT_EQ(s.explainer.steps().size(), 1u);
  EXPECT_EQ(s.explainer.steps()[0].rule, "bounced");
  s.explainer.forget_steps();
  EXPECT_TRUE(s.explainer.steps().empty());
}

// Addresses at the very end of the space come from devices; they must not wrap into something else.
TEST(Explainer, SurvivesAddressesAtTheEndOfTheSpace) {
  Stage s{Stage::guest()};
  const DmaAddr last{~std::uint64_t{0} - 1};
  s.dev(DeviceAccess{s.device, 0x18, last, PhysAddr{last.value()}, 512, true, false, no_key, memory_key});
  s.dev(DeviceAccess{s.device, 0x18, last, PhysAddr{last.value()}, 512, true, false, no_key, memory_key});
  s.cpu(DmaMapped{s.device, DmaMappingKind::single, last, buffer_page, ~std::uint64_t{0},
                  DmaDirection::to_device, DmaPath::swiotlb, false});
  s.cpu(DmaSynced{s.device, last, ~std::uint64_t{0}, DmaDirection::to_device, true, true});
  s.device_fault(FaultKind::iommu_not_present, last, last.value());
  s.explainer.finish();
  EXPECT_THAT(s.names(), testing::Contains("raw-physical-address"));
}

}  // namespace
}  // namespace cbit::watch
