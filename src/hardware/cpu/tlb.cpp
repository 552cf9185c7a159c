#include "cpu/tlb.hpp"

#include <algorithm>

namespace cbit::cpu {
namespace {

// Low bits of tags: nothing is there; something is, but not for fast paths.
constexpr std::uint64_t empty_tag = ~std::uint64_t{0};
constexpr std::uint64_t slow_bit = 1;

constexpr std::uint64_t piece_bytes = paging::level_bytes(paging::PageLevel::size_2m);

bool holds(std::uint64_t tag, std::uint64_t linear) { return (tag & ~slow_bit) == (linear & page_mask); }

// Of an entry among all sets'.
std::uint16_t number_of(TlbSet set, std::size_t index) {
  return static_cast<std::uint16_t>(static_cast<std::size_t>(set) * tlb_entries + index);
}

}  // namespace

Tlb::Tlb() = default;

const TlbInfo* Tlb::find(TlbSet set, std::uint64_t linear, bool write) const {
  const Set& in = sets_[static_cast<std::size_t>(set)];
  const std::size_t index = tlb_index(linear);
  if (!holds(in.entries[index].read_tag, linear)) return nullptr;
  const TlbInfo& info = in.infos[index];
  return write && !info.writable ? nullptr : &info;
}

const TlbInfo& Tlb::insert(TlbSet set, std::uint64_t linear, const TlbInfo& info, bool fast_read,
                           bool fast_write) {
  Set& in = sets_[static_cast<std::size_t>(set)];
  const std::size_t index = tlb_index(linear);
  TlbEntry& entry = in.entries[index];
  if (entry.read_tag != empty_tag) uses_.remove(in.infos[index].page);
  uses_.add(info.page, number_of(set, index));
  if (!in.listed.test(index)) {
    in.used.push_back(static_cast<std::uint16_t>(index));
    in.listed.set(index);
  }
  const std::uint64_t page = linear & page_mask;
  entry.read_tag = fast_read ? page : page | slow_bit;
  entry.write_tag = fast_write ? page : empty_tag;
  entry.addend = reinterpret_cast<std::uintptr_t>(info.host) - page;
  in.infos[index] = info;
  return in.infos[index];
}

void Tlb::erase(Set& in, std::uint16_t index) {
  in.entries[index] = TlbEntry{};
  uses_.remove(in.infos[index].page);
}

// Used indices are few against all of them, at each of thousands of address space switches.
template <class Condition>
void Tlb::erase_if(Condition&& condition) {
  for (Set& in : sets_) {
    std::erase_if(in.used, [&](std::uint16_t index) {
      const bool holds_something = in.entries[index].read_tag != empty_tag;
      if (holds_something && !condition(in.entries[index], in.infos[index])) return false;
      if (holds_something) erase(in, index);
      in.listed.reset(index);
      return true;
    });
  }
}

void Tlb::flush_all() {
  erase_if([](const TlbEntry&, const TlbInfo&) { return true; });
}

void Tlb::flush_non_global() {
  erase_if([](const TlbEntry&, const TlbInfo& info) { return !info.global; });
}

void Tlb::flush_page(std::uint64_t linear) {
  erase_if([&](const TlbEntry& entry, const TlbInfo& info) {
    return is_in_page(entry.read_tag, linear, info.level);
  });
}

template <class Action>
void Tlb::for_each_of(PhysAddr page, Action&& action) {
  const auto is_of_page = [&](const Set& in, std::uint16_t index) {
    return in.entries[index].read_tag != empty_tag && in.infos[index].page == page;
  };
  const PageUses::Use use = uses_.of(page);
  if (use.count == 0) return;
  Set& last = sets_[use.last / tlb_entries];
  const auto index = static_cast<std::uint16_t>(use.last % tlb_entries);
  if (use.count == 1 && is_of_page(last, index)) return action(last, index);
  for (Set& in : sets_)
    for (const std::uint16_t each : in.used)
      if (is_of_page(in, each)) action(in, each);
}

void Tlb::drop(PhysAddr page) {
  for_each_of(page, [this](Set& in, std::uint16_t index) { erase(in, index); });
}

void Tlb::revoke(PhysAddr page) {
  for_each_of(page, [](Set& in, std::uint16_t index) {
    in.entries[index].read_tag |= slow_bit;
    in.entries[index].write_tag = empty_tag;
    in.infos[index].host = nullptr;
    in.infos[index].revoked = true;
  });
}

std::size_t LargePages::index(TlbSet set, std::uint64_t linear) {
  return (linear / piece_bytes + static_cast<std::size_t>(set) * (size_ / 2)) % size_;
}

std::optional<TlbInfo> LargePages::find(TlbSet set, std::uint64_t linear, bool write) const {
  const Entry& entry = entries_[index(set, linear)];
  if (entry.piece != align_down(linear, piece_bytes) || entry.set != set) return std::nullopt;
  if (write && !entry.info.writable) return std::nullopt;
  TlbInfo info = entry.info;
  info.page += linear % piece_bytes & page_mask;
  return info;
}

void LargePages::insert(TlbSet set, std::uint64_t linear, const TlbInfo& info) {
  Entry& entry = entries_[index(set, linear)];
  entry = {align_down(linear, piece_bytes), set, info};
  entry.info.page = PhysAddr{align_down(info.page.value(), piece_bytes)};
}

template <class Condition>
void LargePages::erase_if(Condition&& condition) {
  for (Entry& entry : entries_)
    if (entry.piece != Entry::nothing && condition(entry)) entry = {};
}

void LargePages::flush_all() { entries_.fill({}); }

void LargePages::flush_non_global() {
  erase_if([](const Entry& entry) { return !entry.info.global; });
}

void LargePages::flush_page(std::uint64_t linear) {
  erase_if([&](const Entry& entry) { return is_in_page(entry.piece, linear, entry.info.level); });
}

template <class Condition>
void CodeTlb::erase_if(Condition&& condition) {
  for (auto& entries : entries_) {
    for (Entry& entry : entries) {
      if (entry.page == Entry{}.page || !condition(entry)) continue;
      uses_.remove(entry.phys);
      entry = Entry{};
    }
  }
}

void CodeTlb::flush() {
  erase_if([](const Entry&) { return true; });
}

void CodeTlb::flush_non_global() {
  erase_if([](const Entry& entry) { return !entry.global; });
}

void CodeTlb::flush_page(std::uint64_t linear) {
  erase_if([&](const Entry& entry) { return entry.translates(linear); });
}

void CodeTlb::drop(PhysAddr page) {
  if (uses_.of(page).count == 0) return;
  erase_if([&](const Entry& entry) { return entry.phys == page; });
}

}  // namespace cbit::cpu
