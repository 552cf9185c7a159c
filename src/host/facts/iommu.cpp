#include "facts/iommu.hpp"

#include <algorithm>

#include "base/text.hpp"

namespace cbit::facts {

std::optional<IommuMode> parse_domain_type(std::string_view text) {
  text = trimmed(text);
  if (text == "DMA" || text == "DMA-FQ") return IommuMode::translated;
  if (text == "identity") return IommuMode::passthrough;
  return std::nullopt;
}

IommuMode IommuFacts::mode_of(std::string_view group) const {
  const auto found = groups.find(group);
  if (found == groups.end() || !found->second) return IommuMode::none;
  return parse_domain_type(*found->second).value_or(IommuMode::none);
}

std::size_t IommuFacts::passthrough_groups() const {
  return static_cast<std::size_t>(std::ranges::count_if(
      groups, [](const auto& group) { return group.second && trimmed(*group.second) == "identity"; }));
}

IommuFacts read_iommu(const HostTree& tree) {
  IommuFacts iommu;
  iommu.units = tree.list("/sys/class/iommu");
  for (const std::string& group : tree.list("/sys/kernel/iommu_groups").value_or(std::vector<std::string>{}))
    iommu.groups.insert_or_assign(group, tree.read("/sys/kernel/iommu_groups/" + group + "/type"));
  return iommu;
}

}  // namespace cbit::facts
