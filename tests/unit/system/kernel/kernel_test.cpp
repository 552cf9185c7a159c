#include "kernel/kernel.hpp"

#include <gmock/gmock.h>

#include "support/small_machine.hpp"

namespace cbit::kernel {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::Not;

struct Boot {
  explicit Boot(Platform platform, DmaConfig config = {}, machine::MachineConfig machine_config = {}) {
    machine_config.platform = platform;
    if (!config.swiotlb.slots) config.swiotlb.slots = 1024;
    machine = machine::Machine::create(machine_config).value();
    machine->tracer().attach(log);
    result = Kernel::boot(*machine, config);
    for (const auto& message : log.all<KernelMessage>()) messages.push_back(message.text);
  }
  ~Boot() { result = bad_input(""); }

  test::EventLog log;
  std::unique_ptr<machine::Machine> machine;
  OrError<std::unique_ptr<Kernel>> result = bad_input("");
  std::vector<std::string> messages;
};

TEST(Kernel, BootsOnEveryPlatformAndVersion) {
  for (const Platform platform : platforms)
    for (const KernelVersion version : {KernelVersion::v6_1, KernelVersion::v6_6, KernelVersion::v6_10}) {
      const Boot boot{platform, {.version = version}};
      EXPECT_TRUE(boot.result) << to_string(platform) << " " << to_string(version);
    }
}

TEST(Kernel, PrintsWhatLinuxPrintsAboutMemoryEncryption) {
  const std::pair<Platform, std::string> words[] = {
      {Platform::sme, "AMD SME"},           {Platform::sev, "AMD SEV"},
      {Platform::sev_es, "AMD SEV SEV-ES"}, {Platform::sev_snp, "AMD SEV SEV-ES SEV-SNP"},
      {Platform::tdx, "Intel TDX"},
  };
  for (const auto& [platform, text] : words)
    EXPECT_THAT(Boot{platform}.messages, Contains("Memory Encryption Features active: " + text));
  EXPECT_THAT(Boot{Platform::plain}.messages, Not(Contains(HasSubstr("Memory Encryption"))));
}

TEST(Kernel, PrintsTheAtomicPools) {
  const Boot boot{Platform::plain, {}, {.memory_bytes = 8ull << 30}};
  for (const std::string zone : {"GFP_KERNEL", "GFP_KERNEL|GFP_DMA", "GFP_KERNEL|GFP_DMA32"})
    EXPECT_THAT(boot.messages,
                Contains("DMA: preallocated 1024 KiB " + zone + " pool for atomic allocations"));
}

TEST(Kernel, PrintsTheDefaultDomain) {
  machine::MachineConfig with_iommu;
  with_iommu.iommu = true;
  EXPECT_THAT(
      (Boot{Platform::sme, {.iommu = IommuMode::passthrough, .iommu_explicit = false}, with_iommu}.messages),
      testing::IsSupersetOf({"iommu: Memory encryption detected - Disabling default IOMMU Passthrough",
                             "iommu: Default domain type: Translated "}));
  EXPECT_THAT((Boot{Platform::sme, {.iommu = IommuMode::passthrough}, with_iommu}.messages),
              Contains("iommu: Default domain type: Passthrough (set via kernel command line)"));
}

TEST(Kernel, RefusesAnIommuModeWithoutAnIommu) {
  const Boot boot{Platform::sme, {.iommu = IommuMode::translated}};
  ASSERT_FALSE(boot.result);
  EXPECT_EQ(boot.result.error().code, ExitCode::usage);
  EXPECT_THAT(boot.result.error().message, HasSubstr("no IOMMU"));
  EXPECT_FALSE(boot.result.error().hint.empty());
}

TEST(Kernel, RefusesADynamicSwiotlbBefore6_6) {
  const Boot boot{Platform::sev, {.version = KernelVersion::v6_1, .swiotlb = {.dynamic = true}}};
  ASSERT_FALSE(boot.result);
  EXPECT_THAT(boot.result.error().message, HasSubstr("6.1"));
  EXPECT_TRUE((Boot{Platform::sev, {.version = KernelVersion::v6_6, .swiotlb = {.dynamic = true}}}.result));
}

TEST(Kernel, LeavesAnUnusedIommuOff) {
  machine::MachineConfig config;
  config.iommu = true;
  Boot boot{Platform::plain, {.iommu = IommuMode::none}, config};
  EXPECT_EQ(boot.machine->bus().iommu(), nullptr);
}

TEST(Kernel, NamesAndNumbersDevicesLikePciFunctions) {
  Boot boot{Platform::plain};
  Kernel& kernel = **boot.result;
  Device& first = kernel.add_device({});
  Device& second = kernel.add_device({});
  Device named;
  named.name = "nvme0";
  named.requester = 0x1234;
  Device& third = kernel.add_device(named);
  EXPECT_EQ(first.name, "0000:00:01.0");
  EXPECT_EQ(first.requester, 0x08);
  EXPECT_EQ(second.name, "0000:00:02.0");
  EXPECT_EQ(third.name, "nvme0");
  EXPECT_EQ(third.requester, 0x1234);
  EXPECT_EQ(boot.machine->tracer().name(third.name_id), "nvme0");
}

TEST(Kernel, RunsOnTheSmallestMachine) {
  for (const Platform platform : platforms) {
    Boot boot{platform, {}, {.memory_bytes = 16ull << 20}};
    ASSERT_TRUE(boot.result) << to_string(platform) << ": " << boot.result.error().message;
    Device& dev = (*boot.result)->add_device({});
    EXPECT_TRUE((*boot.result)->dma().alloc((*boot.result)->cpu(0), dev, 4096)) << to_string(platform);
  }
}

}  // namespace
}  // namespace cbit::kernel
