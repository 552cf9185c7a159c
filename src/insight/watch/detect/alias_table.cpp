#include "watch/detect/alias_table.hpp"

#include <iterator>

namespace cbit::watch {

void AliasTable::add(const MappingAdded& mapping, Agent agent, std::uint64_t time_ns) {
  for (std::uint64_t i = 0; i < mapping.pages; ++i)
    by_page_.emplace(mapping.first.page_number() + i, Alias{mapping.kind, mapping.at + i * page_size,
                                                            mapping.encrypted, mapping.site, agent, time_ns});
}

void AliasTable::remove(const MappingRemoved& mapping) {
  for (std::uint64_t i = 0; i < mapping.pages; ++i) {
    const auto [first, end] = by_page_.equal_range(mapping.first.page_number() + i);
    for (auto alias = end; alias != first;) {
      if ((--alias)->second.at != mapping.at + i * page_size) continue;
      by_page_.erase(alias);
      break;
    }
  }
}

std::optional<AliasTable::Found> AliasTable::find(PhysAddr first, std::uint64_t pages, bool encrypted) const {
  const std::uint64_t end = first.page_number() + pages;
  for (auto at = by_page_.lower_bound(first.page_number()); at != by_page_.end() && at->first < end; ++at)
    if (at->second.encrypted == encrypted) return Found{PhysAddr{at->first * page_size}, at->second};
  return std::nullopt;
}

}  // namespace cbit::watch
