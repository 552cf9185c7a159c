#include "linux/probes/ledger.hpp"

#include <algorithm>

namespace cbit::linux {

void MappingLedger::add(NameId device, DmaAddr dma, const Entry& entry) {
  if (size_ == mappings_max) return;
  devices_[device].emplace(dma, entry);
  ++size_;
}

// Of several at one address, one with that size is meant, and else the newest.
bool MappingLedger::remove(NameId device, DmaAddr dma, std::uint64_t bytes) {
  const auto found = devices_.find(device);
  if (found == devices_.end()) return false;
  auto [first, end] = found->second.equal_range(dma);
  if (first == end) return false;
  auto chosen = std::prev(end);
  for (auto each = first; each != end; ++each)
    if (each->second.bytes == bytes) chosen = each;
  found->second.erase(chosen);
  --size_;
  if (found->second.empty()) devices_.erase(found);
  return true;
}

std::vector<std::pair<DmaAddr, MappingLedger::Entry>> MappingLedger::in_range(NameId device, DmaAddr first,
                                                                              std::uint64_t bytes) const {
  std::vector<std::pair<DmaAddr, Entry>> inside;
  const auto found = devices_.find(device);
  if (found == devices_.end()) return inside;
  for (auto at = found->second.lower_bound(first); at != found->second.end() && at->first - first < bytes;
       ++at)
    inside.emplace_back(*at);
  return inside;
}

std::optional<MappingLedger::Leak> MappingLedger::leak(NameId device) const {
  const auto found = devices_.find(device);
  if (found == devices_.end()) return std::nullopt;
  const auto& [dma, entry] = *found->second.rbegin();
  return Leak{found->second.size(), dma, entry};
}

SiteId MappingLedger::site(NameId device, DmaAddr at) const {
  const auto found = devices_.find(device);
  if (found == devices_.end()) return 0;
  const auto after = found->second.upper_bound(at);
  if (after == found->second.begin()) return 0;
  const auto& [dma, entry] = *std::prev(after);
  return at - dma < entry.bytes ? entry.site : 0;
}

}  // namespace cbit::linux
