#include "linux/probes/ledger.hpp"

#include <algorithm>

namespace cbit::linux {
namespace {

bool is_streaming(DmaMappingKind kind) {
  return kind != DmaMappingKind::coherent && kind != DmaMappingKind::resource;
}

// First and last page number of the memory that is looked for.
std::pair<std::uint64_t, std::uint64_t> pages_of(const MappingLedger::Entry& entry) {
  const std::uint64_t first = entry.phys.page_number();
  const std::uint64_t bytes = std::min(entry.bytes, MappingLedger::pages_indexed_max * page_size);
  return {first, (entry.phys + (bytes - 1)).page_number()};
}

}  // namespace

void MappingLedger::add(NameId device, DmaAddr dma, const Entry& entry) {
  if (size_ == mappings_max) return;
  devices_[device].emplace(dma, entry);
  ++size_;
  index({device, dma}, entry);
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
  forget({device, dma}, chosen->second);
  found->second.erase(chosen);
  --size_;
  if (found->second.empty()) devices_.erase(found);
  return true;
}

void MappingLedger::index(const Mapped& mapped, const Entry& entry) {
  if (!is_streaming(entry.kind) || entry.bytes == 0) return;
  const auto [first, last] = pages_of(entry);
  for (std::uint64_t page = first; page <= last && pages_.size() < mappings_max; ++page)
    pages_.emplace(page, mapped);
}

void MappingLedger::forget(const Mapped& mapped, const Entry& entry) {
  if (!is_streaming(entry.kind) || entry.bytes == 0) return;
  const auto [first, last] = pages_of(entry);
  for (std::uint64_t page = first; page <= last; ++page) {
    const auto [begin, end] = pages_.equal_range(page);
    const auto one = std::find_if(begin, end, [&](const auto& each) { return each.second == mapped; });
    if (one != end) pages_.erase(one);
  }
}

std::set<MappingLedger::Mapped> MappingLedger::free_memory(PhysAddr first, std::uint64_t bytes) {
  std::set<Mapped> covering;
  const PhysAddr last = first + (bytes - 1);
  for (std::uint64_t page = first.page_number(); page <= last.page_number(); ++page) {
    const auto [begin, end] = pages_.equal_range(page);
    for (auto each = begin; each != end; ++each)
      for (const auto& [dma, entry] : in_range(each->second.device, each->second.dma, 1))
        if (entry.phys <= last && first < entry.phys + entry.bytes) covering.insert(each->second);
  }
  for (const Mapped& mapped : covering)
    for (const auto& [dma, entry] : in_range(mapped.device, mapped.dma, 1)) forget(mapped, entry);
  return covering;
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
