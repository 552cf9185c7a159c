#include "watch/mapping_table.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace cbit::watch {

const Mapping* MappingTable::Ranges::find(DmaAddr at) const {
  for (auto it = by_start.upper_bound(at); it != by_start.begin();) {
    --it;
    if (at - it->first >= longest) return nullptr;
    if (it->second.covers(at)) return &it->second;
  }
  return nullptr;
}

void MappingTable::Ranges::add(const Mapping& mapping) {
  by_start.emplace(mapping.call.dma, mapping);
  longest = std::max(longest, mapping.call.bytes);
}

Mapping& MappingTable::add(const DmaMapped& call, bool bounced, std::uint64_t time_ns) {
  Ranges& ranges = active_[call.device];
  ranges.longest = std::max(ranges.longest, call.bytes);
  const Mapping mapping{.id = ++last_id_, .mapped_ns = time_ns, .call = call, .bounced = bounced};
  return ranges.by_start.emplace(call.dma, mapping)->second;
}

std::multimap<DmaAddr, Mapping>::const_iterator MappingTable::Ranges::find_to_unmap(
    const DmaUnmapped& call) const {
  const auto likeness = [&](const DmaMapped& mapped) {
    return mapped.bytes != call.bytes ? 0 : mapped.direction != call.direction ? 1 : 2;
  };
  const auto [first, end] = by_start.equal_range(call.dma);
  auto best = by_start.end();
  for (auto it = first; it != end; ++it)
    if (best == by_start.end() || likeness(it->second.call) >= likeness(best->second.call)) best = it;
  return best;
}

const Mapping* MappingTable::find_to_unmap(const DmaUnmapped& call) const {
  const auto ranges = active_.find(call.device);
  if (ranges == active_.end()) return nullptr;
  const auto found = ranges->second.find_to_unmap(call);
  return found == ranges->second.by_start.end() ? nullptr : &found->second;
}

std::size_t MappingTable::count_at(NameId device, DmaAddr dma) const {
  const auto ranges = active_.find(device);
  return ranges == active_.end() ? 0 : ranges->second.by_start.count(dma);
}

const Mapping* MappingTable::released_at(NameId device, DmaAddr dma) const {
  const auto ranges = released_.find(device);
  if (ranges == released_.end()) return nullptr;
  const auto found = ranges->second.by_start.find(dma);
  return found == ranges->second.by_start.end() ? nullptr : &found->second;
}

const Mapping* MappingTable::nearest(NameId device, DmaAddr at) const {
  const auto ranges = active_.find(device);
  if (ranges == active_.end()) return nullptr;
  const auto behind = ranges->second.by_start.upper_bound(at);
  return behind == ranges->second.by_start.begin() ? nullptr : &std::prev(behind)->second;
}

std::optional<Mapping> MappingTable::release(const DmaUnmapped& call, std::uint64_t time_ns) {
  const auto ranges = active_.find(call.device);
  if (ranges == active_.end()) return std::nullopt;
  const auto found = ranges->second.find_to_unmap(call);
  if (found == ranges->second.by_start.end()) return std::nullopt;
  Mapping mapping = found->second;
  ranges->second.by_start.erase(found);
  mapping.released_ns = time_ns;
  Ranges& released = released_[call.device];
  released.by_start.erase(call.dma);
  released.add(mapping);
  return mapping;
}

const Mapping* MappingTable::find(NameId device, DmaAddr at) const {
  const auto ranges = active_.find(device);
  return ranges == active_.end() ? nullptr : ranges->second.find(at);
}

const Mapping* MappingTable::find_released(NameId device, DmaAddr at) const {
  const auto ranges = released_.find(device);
  return ranges == released_.end() ? nullptr : ranges->second.find(at);
}

const Mapping* MappingTable::find_untranslated(DmaAddr at) const {
  for (const auto& [device, ranges] : active_) {
    const Mapping* const mapping = ranges.find(at);
    if (mapping != nullptr && mapping->call.path != DmaPath::iommu) return mapping;
  }
  return nullptr;
}

void MappingTable::for_each_active(const std::function<void(const Mapping&)>& visit) const {
  for (const auto& [device, ranges] : active_)
    for (const auto& [dma, mapping] : ranges.by_start) visit(mapping);
}

}  // namespace cbit::watch
