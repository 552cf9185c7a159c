// The parsers of /proc and /sys: what they read, and that they take anything.
#include <gmock/gmock.h>

#include "base/text.hpp"
#include "facts/command_line.hpp"
#include "facts/cpu.hpp"
#include "facts/iommu.hpp"
#include "facts/kernel.hpp"
#include "facts/limits.hpp"
#include "facts/memory.hpp"
#include "facts/misc_cgroup.hpp"
#include "facts/virtio.hpp"
#include "support/hostile_text.hpp"

namespace cbit::facts {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(Parsers, TakeAnything) {
  for (const std::string& text : testing::hostile_text) {
    EXPECT_FALSE(parse_cpuinfo(text).x86);
    EXPECT_EQ(count_cpus(text), 0u);
    EXPECT_EQ(spec::parse_release(text), std::nullopt);
    EXPECT_THAT(parse_kernel_config(text), IsEmpty());
    EXPECT_EQ(parse_switch(text), std::nullopt);
    EXPECT_EQ(parse_limits(text), std::nullopt);
    EXPECT_EQ(parse_effective_capabilities(text), std::nullopt);
    EXPECT_EQ(parse_meminfo(text), std::nullopt);
    EXPECT_THAT(parse_iomem(text), IsEmpty());
    EXPECT_EQ(parse_domain_type(text), std::nullopt);
    EXPECT_THAT(parse_misc(text), IsEmpty());
    EXPECT_EQ(parse_features(text), std::nullopt);
    (void)KernelCommandLine{text};
  }
}

TEST(KernelCommandLine, SplitsAsTheKernelDoes) {
  const KernelCommandLine line{
      "BOOT_IMAGE=/vmlinuz ro a=\"x y\" \"b=z z\" kvm-amd.sev=1 quiet -- init=x swiotlb=1\n"};
  ASSERT_THAT(line.parameters(), SizeIs(6));
  EXPECT_EQ(line.last("a")->value, "x y");
  EXPECT_EQ(line.last("b")->value, "z z");
  EXPECT_EQ(line.last("kvm_amd.sev")->value, "1");
  EXPECT_EQ(line.last("quiet")->value, std::nullopt);
  EXPECT_FALSE(line.has("swiotlb")) << "what follows -- is not the kernel's";
  EXPECT_EQ(line.shown("ro"), "ro");
  EXPECT_EQ(line.shown("none"), "");
}

TEST(KernelCommandLine, LetsTheLastParameterCountAndAnyWord) {
  const KernelCommandLine line{"iommu=pt,nobypass mem_encrypt=on mem_encrypt=off iommu=soft"};
  EXPECT_EQ(line.last("mem_encrypt")->value, "off");
  EXPECT_TRUE(line.has_word("iommu", "pt"));
  EXPECT_TRUE(line.has_word("iommu", "soft"));
  EXPECT_FALSE(line.has_word("iommu", "p"));
  EXPECT_FALSE(line.has_word("amd_iommu", "pt"));
}

TEST(Cpu, ReadsTheLeafOfSev) {
  const SevLeaf leaf = sev_leaf({0x41f, 0x4173, 509, 100});
  EXPECT_TRUE(leaf.sme && leaf.sev && leaf.sev_es && leaf.sev_snp && leaf.sme_coherent);
  EXPECT_EQ(leaf.c_bit, 51u);
  EXPECT_EQ(leaf.reduced_phys_bits, 5u);
  EXPECT_EQ(leaf.asids, 509u);
  EXPECT_EQ(leaf.first_sev_asid, 100u);
  EXPECT_FALSE(sev_leaf({0x2, 0x6f, 0, 0}).sme);
}

TEST(Cpu, ReadsTheFirstProcessorAlone) {
  const CpuInfo info = parse_cpuinfo(
      "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel name\t: A\nflags\t\t: sme sev\n"
      "address sizes\t: 43 bits physical, 48 bits virtual\n\nprocessor\t: 1\nmodel name\t: B\nflags : x\n");
  EXPECT_TRUE(info.x86);
  EXPECT_EQ(info.model, "A");
  EXPECT_EQ(info.family, 25u);
  EXPECT_EQ(info.phys_bits, 43u);
  EXPECT_TRUE(info.flags.contains("sev"));
  EXPECT_FALSE(info.flags.contains("x"));
}

TEST(Cpu, CountsPossibleOnes) {
  EXPECT_EQ(count_cpus("0-3,8,10-11\n"), 7u);
  EXPECT_EQ(count_cpus("0"), 1u);
  for (const auto* list : {"3-0", "0-99999999", "0-", "a", ","}) EXPECT_EQ(count_cpus(list), 0u) << list;
}

TEST(Kernel, ReadsItsConfiguration) {
  const auto config = parse_kernel_config("# CONFIG_A is not set\nCONFIG_B=y\nCONFIG_C=\"x\"\nOTHER=y\n");
  EXPECT_THAT(config, SizeIs(2));
  EXPECT_EQ(config.at("B"), "y");
}

TEST(Limits, ReadsLockedMemory) {
  const auto limit =
      parse_limits("Limit  Soft Limit  Hard Limit  Units\nMax locked memory  8388608  unlimited  bytes\n");
  ASSERT_TRUE(limit);
  EXPECT_EQ(limit->soft, 8388608u);
  EXPECT_EQ(limit->hard, std::nullopt);
  EXPECT_EQ(parse_limits("Max locked memory     unlimited  unlimited  bytes\n")->soft, std::nullopt);
  for (const auto* line :
       {"Max locked memory\n", "Max locked memory 1\n", "Max locked memory 8MB 8MB bytes\n"})
    EXPECT_FALSE(parse_limits(line)) << line;
  EXPECT_EQ(parse_effective_capabilities("CapPrm:\t1\nCapEff:\t000001ffffffffff\n"), 0x1ffffffffffu);
}

TEST(Memory, ReadsTheOutermostRanges) {
  const auto ranges = parse_iomem(
      "00000000-00000fff : Reserved\n00001000-0009fbff : System RAM\n  00001000-00002000 : Kernel code\n"
      "100000000-23fffffff : System RAM\nbad-line : x\n5-4 : backwards\n");
  ASSERT_THAT(ranges, SizeIs(3));
  EXPECT_EQ(ranges[2].last, 0x23fffffffu);
  MemoryFacts memory{.ranges = ranges};
  EXPECT_EQ(memory.ram(), 0x9fc00u - 0x1000 + 0x140000000);
  EXPECT_EQ(memory.above_4g(), true);
}

TEST(Memory, TakesMemTotalWhereTheMapIsHidden) {
  EXPECT_THAT(parse_iomem("00000000-00000000 : System RAM\n00000000-00000000 : Reserved\n"), IsEmpty());
  MemoryFacts memory{.total = parse_meminfo("MemTotal:       16384000 kB\nMemFree: 1 kB\n")};
  EXPECT_EQ(memory.ram(), 16384000ull << 10);
  EXPECT_EQ(memory.above_4g(), true);
  memory.total = 1 << 30;
  EXPECT_EQ(memory.above_4g(), std::nullopt);
}

TEST(Iommu, KnowsWhichDomainsTranslate) {
  EXPECT_EQ(parse_domain_type("DMA\n"), IommuMode::translated);
  EXPECT_EQ(parse_domain_type("DMA-FQ\n"), IommuMode::translated);
  EXPECT_EQ(parse_domain_type("identity\n"), IommuMode::passthrough);
  EXPECT_EQ(parse_domain_type("blocked\n"), std::nullopt);
}

TEST(MiscCgroup, CountsFreeAsids) {
  MiscCgroup misc{.capacity = parse_misc("sev 410\nsev_es 99\n"),
                  .current = parse_misc("sev 400\nsev_es 200\n")};
  EXPECT_EQ(misc.free_of("sev"), 10u);
  EXPECT_EQ(misc.free_of("sev_es"), 0u) << "more than the capacity cannot be, and is not less than none";
  EXPECT_EQ(misc.free_of("tdx"), std::nullopt);
}

TEST(Virtio, ReadsFeatureBitsFromTheLeft) {
  std::string text(128, '0');
  text[28] = text[32] = text[33] = text[127] = '1';
  EXPECT_EQ(parse_features(text + "\n"), 1ull << 28 | 3ull << 32);
  EXPECT_EQ(parse_features("01"), 2u);
  EXPECT_EQ(parse_features("012"), std::nullopt);
  EXPECT_EQ(virtio_kind(2), "block device");
  EXPECT_EQ(virtio_kind(999), "device 999");
}

}  // namespace
}  // namespace cbit::facts
