#include "guest/traffic.hpp"

#include <algorithm>
#include <utility>

namespace cbit::guest {

void Traffic::on_event(const Event& event) {
  std::visit([this](const auto& payload) { on(payload); }, event.payload);
}

void Traffic::on(const DmaMapped& mapped) {
  DeviceTraffic& device = devices_[mapped.device];
  ++device.mappings;
  device.mapped_bytes += mapped.bytes;
  if (mapped.path == DmaPath::swiotlb) ++device.bounced;
  if (mapped.path == DmaPath::iommu) ++device.translated;
}

void Traffic::on(const DeviceAccess& access) {
  DeviceTraffic& device = devices_[access.device];
  (access.write ? device.bytes_written : device.bytes_read) += access.bytes;
}

void Traffic::on(const DeviceFault& refused) {
  switch (refused.fault.kind) {
    case FaultKind::iommu_not_present:
    case FaultKind::iommu_protection:
    case FaultKind::iommu_reserved_bit:
    case FaultKind::iommu_no_domain: ++devices_[refused.device].iommu_faults; break;
    default: break;
  }
}

void Traffic::on(const PageConversion& conversion) {
  const bool known = callers_.size() < callers_max || callers_.contains(conversion.site);
  CallerConversions& caller = callers_[known ? conversion.site : 0];
  ++caller.calls;
  (conversion.encrypted ? caller.pages_made_private : caller.pages_shared) += conversion.pages;
}

std::vector<DeviceTraffic> Traffic::by_device() const {
  std::vector<DeviceTraffic> devices;
  for (const auto& [name, device] : devices_) {
    devices.push_back(device);
    devices.back().device = tracer_->name(name);
  }
  std::ranges::sort(devices, {}, &DeviceTraffic::device);
  return devices;
}

std::vector<CallerConversions> Traffic::by_caller() const {
  std::vector<CallerConversions> callers;
  for (const auto& [site, caller] : callers_) {
    callers.push_back(caller);
    callers.back().caller = site == 0 ? "others" : std::string{tracer_->name(site)};
  }
  std::ranges::sort(callers, std::ranges::greater{}, [](const CallerConversions& caller) {
    return std::pair{caller.pages_shared + caller.pages_made_private, caller.caller};
  });
  return callers;
}

}  // namespace cbit::guest
