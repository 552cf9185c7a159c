#include "watch/facts.hpp"

#include <algorithm>
#include <iterator>

namespace cbit::watch {

void Facts::apply(const Event& event) {
  std::visit([&](const auto& payload) { on(payload, event); }, event.payload);
}

void Facts::on(const DeviceAccess& access, const Event& event) {
  last_access_ = DeviceWrite{access, {}, event.time_ns};
  if (const Mapping* const allowed = mapping_of(access)) last_access_->mapping = *allowed;
  if (!access.write || access.bytes == 0) return;
  const std::uint64_t last = (access.phys + (access.bytes - 1)).page_number();
  for (std::uint64_t page = access.phys.page_number(); page <= last; ++page)
    device_writes_[page] = *last_access_;
  Mapping* const mapping = mappings_.find(access.device, access.bus_address);
  if (mapping == nullptr) return;
  const std::uint64_t first = access.bus_address - mapping->call.dma;
  const std::uint64_t end = std::min(first + access.bytes, mapping->call.bytes);
  mapping->written_first = mapping->written() ? std::min(mapping->written_first, first) : first;
  mapping->written_end = std::max(mapping->written_end, end);
}

void Facts::on(const KeyMismatch& mismatch, const Event& event) {
  const SeenMismatch seen{mismatch, event.agent, event.time_ns};
  if (event.agent.kind == AgentKind::device) device_mismatch_ = seen;
  if (event.agent.kind == AgentKind::host) host_mismatch_ = seen;
}

void Facts::on(const PageConversion& conversion, const Event& event) {
  const std::uint64_t first = conversion.first.page_number();
  attributes_.assign(first, first + conversion.pages,
                     {conversion.encrypted, conversion.site, event.agent, event.time_ns});
}

void Facts::on(const DmaMapped& mapped, const Event& event) {
  const bool bounced = new_bounces_[mapped.device].erase(mapped.phys) != 0 || mapped.path == DmaPath::swiotlb;
  Mapping& mapping = mappings_.add(mapped, bounced, event.time_ns);
  mapping.cleared = new_cleared_[mapped.device].erase(mapped.phys) != 0;
}

void Facts::on(const DmaMapFailed& failed, const Event&) {
  new_bounces_.erase(failed.device);
  new_cleared_.erase(failed.device);
}

void Facts::on(const DmaUnmapped& unmapped, const Event& event) {
  mappings_.release(unmapped, event.time_ns);
}

// A partial copy back shrinks the hull from either end; one from its middle leaves it as it is.
void Facts::on(const DmaSynced& synced, const Event&) {
  if (!synced.for_cpu || !synced.copied) return;
  Mapping* const mapping = mappings_.find(synced.device, synced.dma);
  if (mapping == nullptr) return;
  const std::uint64_t first = synced.dma - mapping->call.dma;
  const std::uint64_t end = first + synced.bytes;
  if (first <= mapping->written_first) mapping->written_first = std::max(mapping->written_first, end);
  if (end >= mapping->written_end) mapping->written_end = std::min(mapping->written_end, first);
  if (mapping->written_first >= mapping->written_end) mapping->written_first = mapping->written_end = 0;
}

void Facts::on(const IommuMapped& mapped, const Event&) {
  std::uint64_t& end = iovas_[mapped.iova.value()];
  end = std::max(end, mapped.iova.value() + mapped.bytes);
}

void Facts::on(const SwiotlbBounced& bounced, const Event&) { bounces_[bounced.device] = bounced; }

void Facts::on(const SwiotlbAllocated& allocated, const Event&) {
  new_bounces_[allocated.device].insert(allocated.orig);
}

void Facts::on(const SwiotlbCleared& cleared, const Event&) {
  new_cleared_[cleared.device].insert(cleared.orig);
}

void Facts::on(const PageKeyChanged& changed, const Event&) {
  page_keys_.insert_or_assign(changed.page.page_number(), changed);
}

void Facts::on(const VirtioNegotiated& negotiated, const Event&) {
  negotiations_[negotiated.device] = negotiated;
}

void Facts::on(const KernelMessage& message, const Event&) { kernel_log_.push_back(message.text); }

bool Facts::in_known_pool(PhysAddr at) const {
  return std::ranges::any_of(pools_, [&](const mem::PhysRange& pool) { return pool.contains(at, 1); });
}

bool Facts::in_bounce_pool(PhysAddr at) const {
  if (in_known_pool(at)) return true;
  const Mapping* const mapping = mappings_.find_untranslated(DmaAddr{at.value()});
  return mapping != nullptr && mapping->bounced;
}

bool Facts::in_ram(std::uint64_t address) const {
  const PhysAddr at{address};
  return std::ranges::any_of(context_.ram,
                             [&](const mem::PhysRange& range) { return range.contains(at, 1); });
}

const Mapping* Facts::mapping_of(const DeviceAccess& access) const {
  const Mapping* const own = mappings_.find(access.device, access.bus_address);
  return own != nullptr || access.through_iommu ? own : mappings_.find_untranslated(access.bus_address);
}

const Attribute* Facts::attribute(PhysAddr at) const { return attributes_.find(at.page_number()); }

bool Facts::is_shared(PhysAddr at) const {
  const Attribute* const changed = attribute(at);
  return changed != nullptr ? !changed->encrypted : in_known_pool(at);
}

bool Facts::was_iova(DmaAddr at) const {
  const auto behind = iovas_.upper_bound(at.value());
  return behind != iovas_.begin() && at.value() < std::prev(behind)->second;
}

const PageKeyChanged* Facts::page_key(PhysAddr at) const {
  const auto found = page_keys_.find(at.page_number());
  return found == page_keys_.end() ? nullptr : &found->second;
}

const VirtioNegotiated* Facts::negotiation(NameId device) const {
  const auto found = negotiations_.find(device);
  return found == negotiations_.end() ? nullptr : &found->second;
}

const VirtioIommuFault* Facts::viommu_fault(std::uint32_t endpoint) const {
  const auto found = viommu_faults_.find(endpoint);
  return found == viommu_faults_.end() ? nullptr : &found->second;
}

const SwiotlbBounced* Facts::last_bounce(NameId device) const {
  const auto found = bounces_.find(device);
  return found == bounces_.end() ? nullptr : &found->second;
}

const DeviceWrite* Facts::last_device_write(PhysAddr at) const {
  const auto found = device_writes_.find(at.page_number());
  return found == device_writes_.end() ? nullptr : &found->second;
}

}  // namespace cbit::watch
