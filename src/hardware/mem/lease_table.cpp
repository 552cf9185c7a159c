#include "mem/lease_table.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace cbit::mem {

std::uint16_t LeaseTable::number_of(LeaseHolder& holder) {
  auto at = std::ranges::find(holders_, &holder);
  if (at == holders_.end()) at = std::ranges::find(holders_, nullptr);
  if (at == holders_.end()) {
    if (holders_.size() + 1 == several) return several;
    at = holders_.insert(holders_.end(), nullptr);
  }
  *at = &holder;
  return static_cast<std::uint16_t>(at - holders_.begin() + 1);
}

void LeaseTable::forget(const LeaseHolder& holder) {
  const auto at = std::ranges::find(holders_, &holder);
  if (at != holders_.end()) *at = nullptr;
}

LeaseTable::Leases& LeaseTable::leases_of_several(PageState& state, PhysAddr page) {
  Leases& leases = shared_[page.page_number()];
  if (state.lessee != several && state.lessee != nobody)
    leases.push_back({holder_of(state.lessee), state.leases});
  state.lessee = several;
  return leases;
}

void LeaseTable::add(PageState& state, PhysAddr page, LeaseIntent intent, LeaseHolder& holder) {
  const std::uint16_t number = number_of(holder);
  if (number != several && (state.lessee == nobody || state.lessee == number)) {
    state.lessee = number;
  } else {
    Leases& leases = leases_of_several(state, page);
    const auto mine = std::ranges::find(leases, &holder, &Lease::holder);
    if (mine == leases.end())
      leases.push_back({&holder, bit(intent)});
    else
      mine->intents = static_cast<Intents>(mine->intents | bit(intent));
  }
  state.leases = static_cast<Intents>(state.leases | bit(intent));
}

void LeaseTable::revoke(PageState& state, PhysAddr page) {
  const std::uint16_t lessee = std::exchange(state.lessee, nobody);
  state.leases = 0;
  if (lessee == several) {
    const auto entry = shared_.extract(page.page_number());
    for (const Lease& lease : entry.mapped()) lease.holder->revoke(page);
  } else if (lessee != nobody) {
    holder_of(lessee)->revoke(page);
  }
}

void LeaseTable::revoke(PageState& state, PhysAddr page, LeaseIntent intent) {
  if ((state.leases & bit(intent)) == 0) return;
  if (state.lessee != several) return revoke(state, page);
  const auto has = [&](const Lease& lease) { return (lease.intents & bit(intent)) != 0; };
  Leases& leases = leases_of_several(state, page);
  Leases ended;
  std::ranges::copy_if(leases, std::back_inserter(ended), has);
  std::erase_if(leases, has);
  settle(state, page, leases);
  for (const Lease& lease : ended) lease.holder->revoke(page);
}

void LeaseTable::remove(PageState& state, PhysAddr page, const LeaseHolder& holder) {
  if (state.lessee == several) {
    Leases& leases = leases_of_several(state, page);
    std::erase_if(leases, [&](const Lease& lease) { return lease.holder == &holder; });
    settle(state, page, leases);
  } else if (state.lessee != nobody && holder_of(state.lessee) == &holder) {
    state.lessee = nobody;
    state.leases = 0;
  }
}

void LeaseTable::settle(PageState& state, PhysAddr page, const Leases& left) {
  state.leases = 0;
  for (const Lease& lease : left) state.leases = static_cast<Intents>(state.leases | lease.intents);
  if (left.size() > 1) return;
  const std::uint16_t number = left.empty() ? nobody : number_of(*left.front().holder);
  if (number == several) return;
  state.lessee = number;
  shared_.erase(page.page_number());
}

void LeaseTable::tell_of_write(const PageState& state, PhysAddr at, std::uint64_t bytes) const {
  if ((state.leases & bit(LeaseIntent::execute)) == 0) return;
  if (state.lessee != several) return holder_of(state.lessee)->code_written(at, bytes);
  for (const Lease& lease : shared_.at(at.page_number()))
    if ((lease.intents & bit(LeaseIntent::execute)) != 0) lease.holder->code_written(at, bytes);
}

}  // namespace cbit::mem
