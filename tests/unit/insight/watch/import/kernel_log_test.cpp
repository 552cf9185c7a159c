#include "watch/import/kernel_log.hpp"

#include <gtest/gtest.h>

#include <ctime>
#include <string>

#include "watch/import/log_line.hpp"

namespace cbit::watch {
namespace {

constexpr const char* full_words =
    "nvme 0000:00:04.0: swiotlb buffer is full (sz: 524288 bytes), total 524288 (slots), used 564 (slots)";

TEST(KernelLog, ReadsTheFeaturesLineOfAmdAndIntel) {
  const auto sme = parse_kernel_log("[    0.094313] Memory Encryption Features active: AMD SME\n");
  ASSERT_TRUE(sme.encryption.has_value());
  EXPECT_TRUE(sme.encryption->sme);
  EXPECT_FALSE(sme.encryption->sev);
  const auto snp = parse_kernel_log("[    0.1] Memory Encryption Features active: AMD SEV SEV-ES SEV-SNP");
  ASSERT_TRUE(snp.encryption.has_value());
  EXPECT_TRUE(snp.encryption->sev && snp.encryption->sev_es && snp.encryption->sev_snp);
  EXPECT_FALSE(snp.encryption->sme || snp.encryption->tdx);
  const auto tdx = parse_kernel_log("Memory Encryption Features active: Intel TDX\n");
  ASSERT_TRUE(tdx.encryption.has_value());
  EXPECT_TRUE(tdx.encryption->tdx);
  EXPECT_FALSE(tdx.encryption->sev);
}

TEST(KernelLog, ReadsTheWordingsOfOldKernels) {
  const auto first = parse_kernel_log("AMD Secure Memory Encryption (SME) active\n");
  ASSERT_TRUE(first.encryption.has_value());
  EXPECT_TRUE(first.encryption->sme);
  const auto sev = parse_kernel_log("AMD Secure Encrypted Virtualization (SEV) active\n");
  ASSERT_TRUE(sev.encryption.has_value());
  EXPECT_TRUE(sev.encryption->sev);
  EXPECT_FALSE(sev.encryption->sme);
  const auto es = parse_kernel_log("AMD Memory Encryption Features active: SEV SEV-ES\n");
  ASSERT_TRUE(es.encryption.has_value());
  EXPECT_TRUE(es.encryption->sev && es.encryption->sev_es);
  EXPECT_FALSE(es.encryption->sev_snp);
}

TEST(KernelLog, TakesNoFeatureFromALineThatNamesNone) {
  EXPECT_FALSE(parse_kernel_log("Memory Encryption Features active:\n").encryption);
  EXPECT_FALSE(parse_kernel_log("Memory Encryption Features active: none of SEVX\n").encryption);
}

TEST(KernelLog, ReadsWhoFoundThePoolFullAndByHowMuch) {
  const auto log = parse_kernel_log(std::string{"[   12.345678] "} + full_words + "\n");
  ASSERT_EQ(log.pool_full.size(), 1u);
  const PoolFull& full = log.pool_full.front();
  EXPECT_EQ(full.driver, "nvme");
  EXPECT_EQ(full.device, "0000:00:04.0");
  EXPECT_EQ(full.bytes, 524288u);
  EXPECT_EQ(full.slots_total, 524288u);
  EXPECT_EQ(full.slots_used, 564u);
  EXPECT_EQ(full.line.time_us, 12'345'678u);
  EXPECT_EQ(full.line.text, full_words);
}

TEST(KernelLog, SaysThatOldKernelsDoNotTellHowFullThePoolWas) {
  const auto log = parse_kernel_log("sdhci-pci 0000:01:00.0: swiotlb buffer is full (sz: 65536 bytes)\n");
  ASSERT_EQ(log.pool_full.size(), 1u);
  EXPECT_FALSE(log.pool_full[0].slots_total.has_value());
  EXPECT_FALSE(log.pool_full[0].slots_used.has_value());
}

TEST(KernelLog, FindsTheSameMessageBehindEveryToolsStamps) {
  const char* const prefixes[] = {
      "",
      "[   12.345678] ",
      "[   12.345678] [   T42] ",
      "[   12.345678][   T42] ",
      "<4>[   12.345678] ",
      "4,339,12345678,-;",
      "4,339,12345678,-,caller=T42;",
      "kern  :warn  : [   12.345678] ",
      "[Thu Nov 26 19:02:41 2026] ",
      "[   12.345678 <    0.000010>] ",
      "[  +0.000010] ",
      "2026-11-26T19:02:41,123456+00:00 ",
      "Nov 26 19:02:41 myhost kernel: ",
      "Nov 26 19:02:41 myhost kernel[1]: ",
      "Nov 26 19:02:41 myhost kernel: [   12.345678] ",
      "2026-11-26T19:02:41+0000 myhost kernel: ",
      "[   12.345678] myhost kernel: ",
      "kernel: ",
  };
  for (const std::string prefix : prefixes) {
    const auto log = parse_kernel_log(prefix + full_words);
    ASSERT_EQ(log.pool_full.size(), 1u) << prefix;
    EXPECT_EQ(log.pool_full[0].line.text, full_words) << prefix;
    EXPECT_EQ(log.pool_full[0].driver, "nvme") << prefix;
    const bool stamped =
        prefix.find("12.345678") != std::string::npos || prefix.find("12345678") != std::string::npos;
    EXPECT_EQ(log.pool_full[0].line.time_us.has_value(), stamped) << prefix;
  }
}

TEST(KernelLog, LeavesAMessageThatOnlyLooksStampedAsItIs) {
  EXPECT_EQ(strip_stamps("[mem 0x1000-0x1fff] reserved").text, "[mem 0x1000-0x1fff] reserved");
  EXPECT_EQ(strip_stamps("Booting paravirtualized kernel on KVM").text,
            "Booting paravirtualized kernel on KVM");
  EXPECT_EQ(strip_stamps("Unknown kernel command line parameters \"a\"").text,
            "Unknown kernel command line parameters \"a\"");
}

TEST(KernelLog, CountsWhatTheRateLimitDropped) {
  const auto log = parse_kernel_log(
      "swiotlb_tbl_map_single: 187 callbacks suppressed\n"
      "swiotlb_tbl_map_single: 13 callbacks suppressed\n"
      "net_ratelimit: 5 callbacks suppressed\n");
  EXPECT_EQ(log.pool_full_suppressed, 200u);
}

TEST(KernelLog, ReadsThePoolsPlaceAndSize) {
  const auto log = parse_kernel_log(
      "software IO TLB: SWIOTLB bounce buffer size adjusted to 983MB\n"
      "software IO TLB: area num 16.\n"
      "software IO TLB: SWIOTLB bounce buffer size roundup to 1024MB\n"
      "software IO TLB: mapped [mem 0x000000003f000000-0x000000007f000000] (1024MB)\n"
      "Memory encryption is active and system is using DMA bounce buffers\n");
  EXPECT_EQ(log.pool_adjusted_mib, 983u);
  EXPECT_EQ(log.pool_roundup_mib, 1024u);
  EXPECT_EQ(log.pool_areas, 16u);
  ASSERT_TRUE(log.pool.has_value());
  EXPECT_EQ(log.pool->first, 0x3f00'0000u);
  EXPECT_EQ(log.pool->last, 0x7f00'0000u);
  EXPECT_TRUE(log.bounces_encrypted.has_value());
  EXPECT_FALSE(log.no_pool.has_value());
}

TEST(KernelLog, TellsAPoolThatCouldNotBeAllocatedFromOneThatWasNotWanted) {
  const auto failed = parse_kernel_log(
      "software IO TLB: swiotlb_memblock_alloc: Failed to allocate 67108864 bytes tlb structure\n");
  EXPECT_TRUE(failed.no_pool.has_value());
  const auto noforce = parse_kernel_log("software IO TLB: No low mem\n");
  EXPECT_TRUE(noforce.pool_absent.has_value());
  EXPECT_FALSE(noforce.no_pool.has_value());
}

TEST(KernelLog, RefusesAPoolThatEndsBeforeItBegins) {
  EXPECT_FALSE(parse_kernel_log("software IO TLB: mapped [mem 0x7f000000-0x3f000000] (64MB)").pool);
}

TEST(KernelLog, ReadsAddressesBeyondAMask) {
  const auto log = parse_kernel_log(
      "megaraid_sas 0000:01:00.0: DMA addr 0x0000800123456000+4096 overflow (mask ffffffff, bus limit 0).\n"
      "mpt3sas 0000:02:00.0: swiotlb addr 0x00000000fa000000+512 overflow (mask 7fffffff, bus limit "
      "ffffffff).\n");
  ASSERT_EQ(log.overflows.size(), 2u);
  EXPECT_EQ(log.overflows[0].driver, "megaraid_sas");
  EXPECT_EQ(log.overflows[0].address, 0x8001'2345'6000u);
  EXPECT_EQ(log.overflows[0].mask, 0xffff'ffffu);
  EXPECT_FALSE(log.overflows[0].of_bounce_buffer);
  EXPECT_TRUE(log.overflows[1].of_bounce_buffer);
  EXPECT_EQ(log.overflows[1].bus_limit, 0xffff'ffffu);
}

TEST(KernelLog, ReadsTheDefaultDomainAndWhoChoseIt) {
  const auto chosen =
      parse_kernel_log("iommu: Default domain type: Passthrough (set via kernel command line)\n");
  ASSERT_TRUE(chosen.default_domain.has_value());
  EXPECT_TRUE(chosen.default_domain->passthrough && chosen.default_domain->from_command_line);
  const auto built_in = parse_kernel_log("iommu: Default domain type: Translated \n");
  ASSERT_TRUE(built_in.default_domain.has_value());
  EXPECT_FALSE(built_in.default_domain->passthrough || built_in.default_domain->from_command_line);
}

TEST(KernelLog, ReadsKvmsAsidsInOldAndNewWordings) {
  const auto log = parse_kernel_log(
      "kvm_amd: SEV enabled (ASIDs 100 - 509)\n"
      "SEV-ES disabled (ASIDs 0 - 0)\n"
      "kvm_amd: SEV-SNP enabled (ASIDs 1 - 99)\n");
  ASSERT_TRUE(log.sev && log.sev_es && log.sev_snp);
  EXPECT_EQ(log.sev->state, AsidState::enabled);
  EXPECT_EQ(log.sev->first, 100u);
  EXPECT_EQ(log.sev->last, 509u);
  EXPECT_EQ(log.sev->count, 410u);
  EXPECT_EQ(log.sev_es->state, AsidState::disabled);
  const auto old =
      parse_kernel_log("kvm_amd: SEV-ES and SEV-SNP supported: 99 ASIDs\nSEV supported: 410 ASIDs\n");
  ASSERT_TRUE(old.sev && old.sev_es && old.sev_snp);
  EXPECT_EQ(old.sev_snp->count, 99u);
  EXPECT_EQ(old.sev->count, 410u);
  EXPECT_FALSE(old.sev->first.has_value());
  EXPECT_FALSE(parse_kernel_log("kvm_amd: SEV enabled (ASIDs a - b)").sev);
}

TEST(KernelLog, ReadsTheFirmwaresVersionAndItsTroubles) {
  const auto log = parse_kernel_log(
      "ccp 0000:22:00.1: SEV API:1.55 build:21\n"
      "ccp 0000:22:00.1: SEV-SNP API:1.55 build:22\n"
      "ccp 0000:22:00.1: SEV: failed to INIT error 0x1, rc -5\n"
      "ccp 0000:22:00.1: sev enabled\n");
  ASSERT_TRUE(log.sev_api && log.snp_api);
  EXPECT_EQ(log.sev_api->api_minor, 55u);
  EXPECT_EQ(log.sev_api->build, 21u);
  EXPECT_EQ(log.snp_api->build, 22u);
  ASSERT_EQ(log.firmware_troubles.size(), 1u);
  EXPECT_EQ(log.firmware_troubles[0].number, 3u);
}

TEST(KernelLog, ReadsWhatATdxHostSays) {
  const auto log = parse_kernel_log(
      "virt/tdx: BIOS enabled: private KeyID range [32, 64)\nvirt/tdx: 1050644 KB allocated for PAMT\n"
      "virt/tdx: module initialized\n");
  ASSERT_TRUE(log.tdx_key_ids && log.tdx_module);
  EXPECT_EQ(log.tdx_key_ids->first, 32u);
  EXPECT_EQ(log.tdx_key_ids->end, 64u);
  EXPECT_TRUE(log.firmware_troubles.empty());
  const auto failed = parse_kernel_log("virt/tdx: module initialization failed (-28)\n");
  EXPECT_FALSE(failed.tdx_module.has_value());
  EXPECT_EQ(failed.firmware_troubles.size(), 1u);
}

TEST(KernelLog, KeepsWhyTheIommuForbidsSnp) {
  const auto log = parse_kernel_log(
      "AMD-Vi: SNP: IOMMU disabled or configured in passthrough mode, SNP cannot be supported.\n");
  EXPECT_TRUE(log.iommu_forbids_snp.has_value());
  EXPECT_FALSE(parse_kernel_log("AMD-Vi: IOMMU SNP support enabled.\n").iommu_forbids_snp);
}

TEST(KernelLog, ReadsVirtioRefusals) {
  const auto log = parse_kernel_log(
      "virtio_blk virtio2: device must provide VIRTIO_F_ACCESS_PLATFORM\n"
      "virtio_net virtio0: virtio: device refuses features: 100000000\n");
  ASSERT_EQ(log.virtio_refusals.size(), 2u);
  EXPECT_EQ(log.virtio_refusals[0].driver, "virtio_blk");
  EXPECT_EQ(log.virtio_refusals[0].device, "virtio2");
  EXPECT_EQ(log.virtio_refusals[0].flag, "VIRTIO_F_ACCESS_PLATFORM");
  EXPECT_EQ(log.virtio_refusals[1].device, "virtio0");
  EXPECT_TRUE(log.virtio_refusals[1].flag.empty());
}

TEST(KernelLog, ReadsFaultsOfBothMakersIommus) {
  const auto log = parse_kernel_log(
      "nvme 0000:41:00.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x001b address=0xfee00000 "
      "flags=0x0020]\n"
      "AMD-Vi: Event logged [IO_PAGE_FAULT device=0000:42:00.0 domain=0x0000 address=0x1000 flags=0x0000]\n"
      "AMD-Vi: Event logged [RMP_PAGE_FAULT device=0000:43:00.0, vmg_tag=0x0000, gpa=0x2000, "
      "flags_rmp=0x0001, "
      "flags=0x0000]\n"
      "DMAR: [DMA Read NO_PASID] Request device [00:02.0] fault addr 0x7f000000 [fault reason 0x06] PTE Read "
      "access is not set\n"
      "#PF: error_code(0x80000003) - RMP violation\n");
  ASSERT_EQ(log.iommu_faults.size(), 5u);
  EXPECT_EQ(log.iommu_faults[0].device, "0000:41:00.0");
  EXPECT_EQ(log.iommu_faults[0].address, 0xfee0'0000u);
  EXPECT_EQ(log.iommu_faults[1].device, "0000:42:00.0");
  EXPECT_EQ(log.iommu_faults[2].kind, IommuFaultKind::rmp_page_fault);
  EXPECT_EQ(log.iommu_faults[2].device, "0000:43:00.0");
  EXPECT_EQ(log.iommu_faults[2].address, 0x2000u);
  EXPECT_EQ(log.iommu_faults[3].kind, IommuFaultKind::dmar);
  EXPECT_EQ(log.iommu_faults[3].device, "00:02.0");
  EXPECT_EQ(log.iommu_faults[4].kind, IommuFaultKind::rmp_violation);
}

TEST(KernelLog, ReadsBlockErrors) {
  const auto log = parse_kernel_log(
      "I/O error, dev nvme0n1, sector 2048 op 0x1:(WRITE) flags 0x0 phys_seg 1 prio class 2\n"
      "nvme nvme0: I/O 12 QID 3 timeout, aborting\n");
  ASSERT_EQ(log.io_errors.size(), 2u);
  EXPECT_EQ(log.io_errors[0].device, "nvme0n1");
  EXPECT_EQ(log.io_errors[0].sector, 2048u);
  EXPECT_EQ(log.io_errors[1].device, "nvme0");
}

TEST(KernelLog, KnowsWhetherItBeginsWithTheBoot) {
  const auto whole = parse_kernel_log("[    0.000000] Linux version 6.1.0-30-amd64 (x@y) (gcc)\n");
  EXPECT_TRUE(whole.complete);
  EXPECT_EQ(whole.version, "6.1.0-30-amd64");
  EXPECT_FALSE(parse_kernel_log("[ 4242.000000] eth0: link up\n").complete);
  EXPECT_FALSE(parse_kernel_log("usb: Linux version 6.1 of the gadget\n").complete);
}

TEST(KernelLog, SurvivesBinaryAndTruncatedTextAndShowsItAsPrintable) {
  using namespace std::string_literals;
  const std::string text =
      "\0\xff\x1b[31m\nevil\x1b[2J 0000:00:04.0: swiotlb buffer is full (sz: 4096 bytes), total 51"s;
  const auto log = parse_kernel_log(text);
  ASSERT_EQ(log.pool_full.size(), 1u);
  EXPECT_EQ(log.pool_full[0].driver, "evil\\x1b[2J");
  EXPECT_EQ(log.pool_full[0].slots_total, 51u);
  EXPECT_FALSE(log.pool_full[0].slots_used.has_value());
  EXPECT_TRUE(parse_kernel_log("software IO TLB: mapped [mem 0x").pool == std::nullopt);
  EXPECT_TRUE(
      parse_kernel_log("swiotlb buffer is full (sz: 99999999999999999999999 bytes)").pool_full.empty());
}

TEST(KernelLog, KeepsABoundedNumberOfFindings) {
  std::string text;
  for (std::size_t i = 0; i < log_findings_max + 5; ++i) text += std::string{full_words} + '\n';
  const auto log = parse_kernel_log(text);
  EXPECT_EQ(log.pool_full.size(), log_findings_max);
  EXPECT_EQ(log.left_out, 5u);
  EXPECT_EQ(log.lines, log_findings_max + 5);
}

TEST(KernelLog, TakesTimeInProportionToTheText) {
  const std::string one_line(16 << 20, '[');
  std::string many;
  while (many.size() < 16u << 20) many += "[  1.000000] kern kern: SEV: [<6>: I/O , dev \n";
  const std::clock_t begin = std::clock();  // of this process, so that others do not count
  EXPECT_EQ(parse_kernel_log(one_line).lines, 1u);
  EXPECT_GT(parse_kernel_log(many).lines, 300'000u);
  EXPECT_LT(std::clock() - begin, 60 * CLOCKS_PER_SEC);
}

TEST(KernelLog, KeepsTheLinesThatMatterWithoutTheHostsName) {
  const std::string text =
      "Nov 26 19:02:41 secret-host kernel: Memory Encryption Features active: AMD SEV\n"
      "Nov 26 19:02:41 secret-host kernel: usb 1-1: SerialNumber: 4C530001\n"
      "[   12.345678] " +
      std::string{full_words} + "\n";
  const std::string kept = lines_that_matter(text);
  EXPECT_EQ(kept,
            "Memory Encryption Features active: AMD SEV\n[   12.345678] " + std::string{full_words} + "\n");
  const auto log = parse_kernel_log(kept);
  EXPECT_TRUE(log.encryption && log.encryption->sev);
  EXPECT_EQ(log.pool_full.size(), 1u);
  EXPECT_EQ(log.lines, 2u);
}

}  // namespace
}  // namespace cbit::watch
