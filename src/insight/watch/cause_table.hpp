// The catalogue's rows (watch/causes.hpp), in the order of the documentation. For the detectors, which name
// their causes at compile time. One file per topic lies in watch/causes/.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <string_view>

#include "watch/causes/api.hpp"
#include "watch/causes/graphics.hpp"
#include "watch/causes/host.hpp"
#include "watch/causes/iommu.hpp"
#include "watch/causes/keys.hpp"
#include "watch/causes/masks.hpp"
#include "watch/causes/mktme.hpp"
#include "watch/causes/rdma.hpp"
#include "watch/causes/swiotlb.hpp"
#include "watch/causes/virtio.hpp"

namespace cbit::watch {

template <std::size_t... n>
[[nodiscard]] consteval auto joined(const CauseInfo (&... topics)[n]) {
  std::array<CauseInfo, (n + ...)> all;
  auto out = all.begin();
  ((out = std::ranges::copy(topics, out).out), ...);
  return all;
}

inline constexpr std::array cause_table =
    joined(key_causes, api_causes, mask_causes, iommu_causes, swiotlb_causes, virtio_causes, rdma_causes,
           graphics_causes, mktme_causes, host_causes);

// A row of the table. A name that is not there does not compile.
[[nodiscard]] consteval const CauseInfo& cause(std::string_view name) {
  const CauseInfo* found = nullptr;
  for (const CauseInfo& info : cause_table)
    if (info.name == name) found = &info;
  return *found;
}

}  // namespace cbit::watch
