#include "cli/platform_options.hpp"

#include <fmt/format.h>

#include <limits>

#include "spec/linux_release.hpp"
#include "spec/swiotlb.hpp"

namespace cbit::cli {

std::string_view version_of_release(std::string_view word) {
  const auto release = spec::parse_release(word);
  return release ? to_string(spec::nearest_version(release)) : std::string_view{};
}

OrError<testbed::TestbedConfig> testbed_config(const Arguments& arguments) {
  constexpr std::uint64_t any = std::numeric_limits<std::uint64_t>::max();
  testbed::TestbedConfig config;
  machine::MachineConfig& machine = config.machine;
  machine.platform = arguments.choice("--platform", platform_words).value_or(Platform::plain);
  machine.c_bit = static_cast<unsigned>(CBIT_TRY(arguments.number("--cbit", 32, 51)).value_or(machine.c_bit));
  machine.memory_bytes = CBIT_TRY(arguments.size("--memory", 1ull << 40)).value_or(machine.memory_bytes);
  machine.cpus = static_cast<unsigned>(CBIT_TRY(arguments.number("--cpus", 1, 256)).value_or(1));
  machine.migration_control = arguments.has("--migration-control");
  machine.cache = arguments.choice("--cache", mem::cache_model_words).value_or(machine.cache);
  machine.cipher = arguments.choice("--cipher", crypt::cipher_mode_words).value_or(machine.cipher);
  machine.paging_levels =
      static_cast<unsigned>(CBIT_TRY(arguments.number("--paging-levels", 4, 5)).value_or(4));
  machine.seed = CBIT_TRY(arguments.number("--seed", 0, any)).value_or(machine.seed);

  kernel::DmaConfig& dma = config.dma;
  dma.version = arguments.choice("--kernel-version", kernel_version_words).value_or(dma.version);
  dma.iommu = arguments.choice("--iommu", iommu_mode_words).value_or(dma.iommu);
  dma.iommu_strict = arguments.choice("--iommu-strict", iommu_strict_words);
  if (const auto spec = arguments.text("--swiotlb")) dma.swiotlb = CBIT_TRY(kernel::parse_swiotlb(*spec));
  dma.swiotlb.dynamic = arguments.has("--swiotlb-dynamic");
  if (dma.swiotlb.dynamic && !spec::has_dynamic_swiotlb(dma.version))
    return usage_error(fmt::format("Linux {} has no dynamic SWIOTLB", to_string(dma.version)),
                       "use --kernel-version 6.6 or later with --swiotlb-dynamic");
  return config;
}

}  // namespace cbit::cli
