// The IOMMUs, and the type of each group's default domain.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cbit/kernel_config.hpp"
#include "facts/host_tree.hpp"

namespace cbit::facts {

// /sys/kernel/iommu_groups/N/type: "DMA", "DMA-FQ" translate, "identity" does not. nullopt: any other word,
// such as "blocked" or "unmanaged", which say nothing about the kernel's own drivers.
[[nodiscard]] std::optional<IommuMode> parse_domain_type(std::string_view text);

struct IommuFacts {
  Read<std::vector<std::string>> units = tl::unexpected{Unread::absent};  // /sys/class/iommu: ivhd0, dmar0
  // Group number to the words of its type.
  std::map<std::string, Read<std::string>, std::less<>> groups;

  [[nodiscard]] bool present() const { return (units && !units->empty()) || !groups.empty(); }
  // none: not in a group, or not known.
  [[nodiscard]] IommuMode mode_of(std::string_view group) const;
  // Groups whose devices the kernel maps 1:1.
  [[nodiscard]] std::size_t passthrough_groups() const;
};
[[nodiscard]] IommuFacts read_iommu(const HostTree& tree);

}  // namespace cbit::facts
