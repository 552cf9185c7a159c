// The trees of tests/doctor hold together: what one file of a system says follows from the others, as it does
// on a real one.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/text.hpp"
#include "facts/cpu.hpp"
#include "facts/host_tree.hpp"
#include "facts/iommu.hpp"
#include "facts/memory.hpp"
#include "watch/import/kernel_log.hpp"

namespace cbit::doctor {
namespace {

std::vector<std::string> tree_names() {
  std::vector<std::string> names;
  std::error_code elsewhere;  // not started in the source folder
  for (const auto& entry : std::filesystem::directory_iterator{"tests/doctor", elsewhere})
    if (entry.is_directory()) names.push_back(entry.path().filename().string());
  std::ranges::sort(names);
  return names;
}

class CapturedTree : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    auto opened = facts::HostTree::open("tests/doctor/" + GetParam());
    ASSERT_TRUE(opened.has_value()) << opened.error().message;
    tree_.emplace(std::move(*opened));
  }
  [[nodiscard]] std::string text(const std::string& path) const {
    return std::string{trimmed(tree_->read(path).value_or(""))};
  }
  [[nodiscard]] std::vector<std::string> names(const std::string& path) const {
    return tree_->list(path).value_or(std::vector<std::string>{});
  }
  [[nodiscard]] watch::KernelLog log() const {
    return watch::parse_kernel_log(tree_->kernel_log().value_or(""));
  }

  std::optional<facts::HostTree> tree_;
};

TEST_P(CapturedTree, SaysWhereItComesFrom) {
  const auto json = nlohmann::json::parse(tree_->read("/cbit/capture.json").value(), nullptr, false);
  ASSERT_TRUE(json.is_object());
  EXPECT_FALSE(json.value("origin", "").empty());
  EXPECT_FALSE(json.value("machine", "").empty());
  if (json["origin"] == "written from documented formats") {
    EXPECT_FALSE(json["documents"].empty());
  }
}

TEST_P(CapturedTree, HasLittleLessFreeMemoryThanRam) {
  const auto total = facts::parse_meminfo(tree_->read("/proc/meminfo").value());
  std::uint64_t ram = 0;
  for (const facts::MemoryRange& range : facts::parse_iomem(tree_->read("/proc/iomem").value()))
    if (range.kind == "System RAM") ram += range.last - range.first + 1;
  ASSERT_TRUE(total.has_value());
  EXPECT_LT(*total, ram);
  EXPECT_GT(*total, ram / 100 * 93);
}

TEST_P(CapturedTree, HasAPoolOfOneSizeEverywhere) {
  const watch::KernelLog said = log();
  const auto slots = decimal(text("/sys/kernel/debug/swiotlb/io_tlb_nslabs"));
  if (!said.pool) return;
  const std::uint64_t bytes = said.pool->last - said.pool->first;  // Linux prints the end, not the last byte
  if (slots) {
    EXPECT_EQ(*slots * 2048, bytes);
    EXPECT_LE(decimal(text("/sys/kernel/debug/swiotlb/io_tlb_used")).value_or(~0ull), *slots);
  }
  const auto ranges = facts::parse_iomem(tree_->read("/proc/iomem").value());
  const auto holds_pool = [&](const facts::MemoryRange& range) {
    return range.kind == "System RAM" && range.first <= said.pool->first && said.pool->last <= range.last + 1;
  };
  EXPECT_TRUE(std::ranges::any_of(ranges, holds_pool));
}

TEST_P(CapturedTree, KnowsItsKernelByOneName) {
  EXPECT_EQ(log().version, text("/proc/sys/kernel/osrelease"));
  const std::string line = text("/proc/cmdline");
  const std::string all = tree_->kernel_log().value_or("");
  if (all.find("Command line: ") != std::string::npos) {
    EXPECT_NE(all.find("Command line: " + line + "\n"), std::string::npos);
  }
}

TEST_P(CapturedTree, HasDriversAndGroupsForItsDevices) {
  const std::string folder = "/sys/bus/pci/devices/";
  for (const std::string& address : names(folder)) {
    EXPECT_TRUE(hexadecimal(text(folder + address + "/class")).has_value()) << address;
    const auto mask = decimal(text(folder + address + "/dma_mask_bits"));
    ASSERT_TRUE(mask.has_value()) << address;
    EXPECT_TRUE(*mask >= 24 && *mask <= 64) << address;
    const auto group = tree_->link(folder + address + "/iommu_group");
    if (!group) continue;
    const std::string home = "/sys/kernel/iommu_groups/" + *group;
    EXPECT_TRUE(facts::parse_domain_type(text(home + "/type")).has_value()) << address;
    EXPECT_TRUE(std::ranges::binary_search(names(home + "/devices"), address)) << address;
  }
}

TEST_P(CapturedTree, SaysOfVirtioWhatTheLogSays) {
  constexpr std::size_t version_1 = 32, access_platform = 33;
  constexpr std::uint64_t driver_ok = 0x4, failed = 0x80;
  const watch::KernelLog said = log();
  const std::string folder = "/sys/bus/virtio/devices/";
  for (const std::string& name : names(folder)) {
    const std::string bits = text(folder + name + "/features");
    ASSERT_TRUE(bits.size() == 64 || bits.size() == 128) << name;
    EXPECT_EQ(bits[version_1], '1') << name;
    const std::uint64_t status = hexadecimal(text(folder + name + "/status")).value_or(0);
    const bool refused =
        std::ranges::any_of(said.virtio_refusals, [&](const auto& row) { return row.device == name; });
    EXPECT_EQ(refused, (status & failed) != 0) << name;
    EXPECT_EQ(!refused, (status & driver_ok) != 0) << name;
    if (said.encryption && (said.encryption->sev || said.encryption->tdx)) {
      EXPECT_EQ(refused, bits[access_platform] == '0') << name;
    }
  }
}

TEST_P(CapturedTree, HasOneOpinionOfItsProcessor) {
  const auto info = facts::parse_cpuinfo(tree_->read("/proc/cpuinfo").value());
  const auto first = tree_->cpuid(1);
  EXPECT_EQ(first.has_value(), info.x86 && tree_->read("/cbit/cpuid").has_value());
  if (!first) return;
  constexpr unsigned hypervisor_bit = 31, rdrand_bit = 30;
  EXPECT_EQ((first->ecx >> hypervisor_bit & 1) != 0, info.flags.contains("hypervisor"));
  EXPECT_EQ((first->ecx >> rdrand_bit & 1) != 0, info.flags.contains("rdrand"));
  const unsigned family = first->eax >> 8 & 0xf;
  EXPECT_EQ(family == 0xf ? family + (first->eax >> 20 & 0xff) : family, info.family);
  const auto sev = tree_->cpuid(0x8000'001f);
  if (!sev || !info.flags.contains("hypervisor")) return;
  EXPECT_EQ(facts::sev_leaf(*sev).sev, info.flags.contains("sev"));
}

TEST_P(CapturedTree, HasAsManyAsidsInTheLogAsInCpuid) {
  const auto leaf = tree_->cpuid(0x8000'001f);
  const watch::KernelLog said = log();
  if (!leaf || !said.sev || !said.sev->last) return;
  EXPECT_EQ(*said.sev->last, leaf->ecx);
  EXPECT_EQ(*said.sev->first, leaf->edx);
  const std::string capacity = text("/sys/fs/cgroup/misc.capacity");
  EXPECT_TRUE(capacity.starts_with("sev " + std::to_string(*said.sev->count))) << capacity;
}

std::string test_name(const testing::TestParamInfo<std::string>& tree) {
  std::string name = tree.param;
  std::ranges::replace(name, '-', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Trees, CapturedTree, testing::ValuesIn(tree_names()), test_name);

}  // namespace
}  // namespace cbit::doctor
