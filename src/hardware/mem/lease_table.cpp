#include "mem/lease_table.hpp"

#include <algorithm>
#include <iterator>

namespace cbit::mem {

LeaseTable::Intents LeaseTable::settle(std::unordered_map<std::uint64_t, Leases>::iterator page) {
  Intents all = 0;
  for (const Lease& lease : page->second) all = static_cast<Intents>(all | lease.intents);
  if (all == 0) pages_.erase(page);
  return all;
}

LeaseTable::Intents LeaseTable::add(PhysAddr page, LeaseIntent intent, LeaseHolder& holder) {
  const auto entry = pages_.try_emplace(page.page_number()).first;
  Leases& leases = entry->second;
  const auto mine = std::ranges::find(leases, &holder, &Lease::holder);
  if (mine == leases.end())
    leases.push_back({&holder, bit(intent)});
  else
    mine->intents = static_cast<Intents>(mine->intents | bit(intent));
  return settle(entry);
}

void LeaseTable::revoke(PhysAddr page) {
  const auto entry = pages_.extract(page.page_number());
  if (entry.empty()) return;
  for (const Lease& lease : entry.mapped()) lease.holder->revoke(page);
}

LeaseTable::Intents LeaseTable::revoke(PhysAddr page, LeaseIntent intent) {
  const auto entry = pages_.find(page.page_number());
  if (entry == pages_.end()) return 0;
  const auto has = [&](const Lease& lease) { return (lease.intents & bit(intent)) != 0; };
  Leases ended;
  std::ranges::copy_if(entry->second, std::back_inserter(ended), has);
  std::erase_if(entry->second, has);
  const Intents left = settle(entry);
  for (const Lease& lease : ended) lease.holder->revoke(page);
  return left;
}

std::vector<PhysAddr> LeaseTable::pages_of(const LeaseHolder& holder) const {
  std::vector<PhysAddr> pages;
  for (const auto& [number, leases] : pages_)
    if (std::ranges::find(leases, &holder, &Lease::holder) != leases.end())
      pages.push_back(PhysAddr{number * page_size});
  return pages;
}

LeaseTable::Intents LeaseTable::remove(PhysAddr page, LeaseHolder& holder) {
  const auto entry = pages_.find(page.page_number());
  if (entry == pages_.end()) return 0;
  std::erase_if(entry->second, [&](const Lease& lease) { return lease.holder == &holder; });
  return settle(entry);
}

void LeaseTable::tell_of_write(PhysAddr at, std::uint64_t bytes) const {
  const auto entry = pages_.find(at.page_number());
  if (entry == pages_.end()) return;
  for (const Lease& lease : entry->second)
    if ((lease.intents & bit(LeaseIntent::execute)) != 0) lease.holder->code_written(at, bytes);
}

}  // namespace cbit::mem
