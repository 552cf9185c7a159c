#include "linux/symbols.hpp"

#include <algorithm>
#include <limits>
#include <numeric>

namespace cbit::linux {

void SymbolTable::reserve(std::size_t symbols, std::size_t name_bytes) {
  entries_.reserve(symbols);
  names_.reserve(name_bytes);
}

void SymbolTable::add(VirtAddr at, char type, std::string_view name) {
  const std::string_view kept = name.substr(0, std::numeric_limits<std::uint16_t>::max());
  if (names_.size() + kept.size() > std::numeric_limits<std::uint32_t>::max()) return;
  entries_.push_back(
      {at, static_cast<std::uint32_t>(names_.size()), static_cast<std::uint16_t>(kept.size()), type});
  names_ += kept;
}

void SymbolTable::finish() {
  // Names were added in the order of their places.
  std::ranges::sort(
      entries_, [](const Entry& a, const Entry& b) { return a.at != b.at ? a.at < b.at : a.name < b.name; });
  by_name_.resize(entries_.size());
  std::iota(by_name_.begin(), by_name_.end(), std::uint32_t{0});
  std::ranges::sort(by_name_, {}, [this](std::uint32_t index) { return name_of(entries_[index]); });
}

Symbol SymbolTable::at(std::size_t index) const {
  const Entry& entry = entries_.at(index);
  return {entry.at, name_of(entry), entry.type};
}

std::pair<std::size_t, std::size_t> SymbolTable::named(std::string_view name) const {
  const auto found = std::ranges::equal_range(
      by_name_, name, {}, [this](std::uint32_t index) { return name_of(entries_[index]); });
  const auto first = static_cast<std::size_t>(found.begin() - by_name_.begin());
  return {first, first + found.size()};
}

std::size_t SymbolTable::count(std::string_view name) const {
  const auto [first, end] = named(name);
  return end - first;
}

std::optional<Symbol> SymbolTable::find(std::string_view name) const {
  const auto [first, end] = named(name);
  if (end - first != 1) return std::nullopt;
  return at(by_name_[first]);
}

std::optional<Symbol> SymbolTable::nearest(VirtAddr address) const {
  auto after = std::ranges::upper_bound(entries_, address, {}, &Entry::at);
  const auto is_absolute = [](const Entry& entry) { return entry.type == 'A' || entry.type == 'a'; };
  while (after != entries_.begin() && is_absolute(*(after - 1))) --after;
  if (after == entries_.begin()) return std::nullopt;
  const auto first = std::ranges::lower_bound(entries_.begin(), after, (after - 1)->at, {}, &Entry::at);
  const auto found = std::find_if_not(first, after, is_absolute);
  return at(static_cast<std::size_t>(found - entries_.begin()));
}

}  // namespace cbit::linux
