#include "guest/given_memory.hpp"

#include <algorithm>
#include <limits>

#include "linux/own_shares.hpp"

namespace cbit::guest {

void GivenMemory::on_event(const Event& event) {
  std::visit([this](const auto& payload) { on(payload); }, event.payload);
}

void GivenMemory::on(const SwiotlbAllocated& allocated) {
  if (bounces_.size() < ranges_max)
    bounces_.insert_or_assign({allocated.device, allocated.orig}, allocated.bounce);
  else
    complete_ = false;
}

void GivenMemory::on(const DmaMapped& mapped) {
  if (mapped.kind == DmaMappingKind::resource) return;
  PhysAddr first = mapped.phys;
  if (const auto bounce = bounces_.find({mapped.device, mapped.phys}); bounce != bounces_.end()) {
    first = bounce->second;
    bounces_.erase(bounce);
  }
  if (mappings_.size() == ranges_max) {
    complete_ = false;
    return;
  }
  const bool to_write =
      mapped.direction == DmaDirection::from_device && mapped.kind != DmaMappingKind::coherent;
  const By by = to_write ? By::mapping_to_write : By::mapping_to_read;
  mappings_.emplace(std::pair{mapped.device, mapped.dma}, Mapping{++last_id_, by, mapped.bytes});
  active_.emplace(last_id_, by);
  give(first, mapped.bytes, {by, last_id_});
}

void GivenMemory::on(const DmaMapFailed& failed) {
  std::erase_if(bounces_, [&](const auto& bounce) { return bounce.first.first == failed.device; });
}

// Of several at one address, one with that size is meant, and else the newest.
void GivenMemory::on(const DmaUnmapped& unmapped) {
  const auto [first, end] = mappings_.equal_range({unmapped.device, unmapped.dma});
  if (first == end) return;
  auto chosen = std::prev(end);
  for (auto each = first; each != end; ++each)
    if (each->second.bytes == unmapped.bytes) chosen = each;
  active_.erase(chosen->second.id);
  mappings_.erase(chosen);
}

// What the driver synchronizes for the device replaces what the device wrote.
void GivenMemory::on(const SwiotlbCopied& copied) {
  const Gift* const gift = copied.to_pool ? gifts_.find(copied.bounce.value()) : nullptr;
  const auto mapping = gift != nullptr ? active_.find(gift->mapping) : active_.end();
  if (mapping != active_.end()) give(copied.bounce, copied.bytes, {mapping->second, mapping->first});
}

void GivenMemory::on(const DeviceAccess& access) {
  if (!access.write || access.key != no_key) return;
  const Gift* const gift = gifts_.find(access.phys.value());
  give(access.phys, access.bytes, {By::device, gift != nullptr ? gift->mapping : 0});
}

void GivenMemory::on(const PageConversion& conversion) {
  if (conversion.encrypted) return;
  const std::uint64_t first = conversion.first.value(), bytes = conversion.pages * page_size;
  if (linux::shares_for_itself(tracer_->name(conversion.site)))
    give(conversion.first, bytes, {By::kernel});
  else
    gifts_.erase(first, first + bytes);
}

void GivenMemory::give(PhysAddr first, std::uint64_t bytes, const Gift& gift) {
  const std::uint64_t most = std::numeric_limits<std::uint64_t>::max() - first.value();
  if (gifts_.size() < ranges_max)
    gifts_.assign(first.value(), first.value() + std::min(bytes, most), gift);
  else
    complete_ = false;
}

GivenMemory::How GivenMemory::how(const Gift* gift) const {
  if (gift == nullptr) return How::not_at_all;
  switch (gift->by) {
    case By::mapping_to_read: return active_.contains(gift->mapping) ? How::in_use : How::left_behind;
    case By::mapping_to_write: return How::copied_along;
    case By::device: return How::left_behind;
    case By::kernel: break;
  }
  return How::in_use;
}

}  // namespace cbit::guest
