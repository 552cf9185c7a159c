#include "linux/symbols.hpp"

#include <algorithm>
#include <array>
#include <limits>

namespace cbit::linux {
namespace {

// Compares as its bytes do.
std::uint64_t load_big_endian(const std::array<char, sizeof(std::uint64_t)>& bytes) {
  std::uint64_t value = 0;
  for (const char byte : bytes) value = value << 8 | static_cast<unsigned char>(byte);
  return value;
}

// Their indices in the names' order. Most differ in their first eight bytes, which are compared without a
// look at the names.
std::vector<std::uint32_t> order_of(const std::vector<std::string_view>& names) {
  struct Key {
    std::uint64_t first;
    std::uint32_t index;
  };
  std::vector<Key> keys;
  keys.reserve(names.size());
  for (const std::string_view name : names) {
    std::array<char, sizeof(std::uint64_t)> start{};
    std::ranges::copy(name.substr(0, start.size()), start.begin());
    keys.push_back({load_big_endian(start), static_cast<std::uint32_t>(keys.size())});
  }
  std::ranges::sort(keys, [&](const Key& a, const Key& b) {
    return a.first != b.first ? a.first < b.first : names[a.index] < names[b.index];
  });
  std::vector<std::uint32_t> order(keys.size());
  std::ranges::transform(keys, order.begin(), &Key::index);
  return order;
}

constexpr std::size_t names_bytes_max = std::numeric_limits<std::uint32_t>::max();

}  // namespace

void SymbolTable::reserve(std::size_t symbols, std::size_t name_bytes) {
  entries_.reserve(symbols);
  names_.reserve(name_bytes);
}

void SymbolTable::add(VirtAddr at, char type, std::string_view name) {
  const std::string_view kept = name.substr(0, std::numeric_limits<std::uint16_t>::max());
  if (names_.size() + kept.size() > names_bytes_max) return;
  entries_.push_back(
      {at, static_cast<std::uint32_t>(names_.size()), static_cast<std::uint16_t>(kept.size()), type});
  names_ += kept;
}

void SymbolTable::finish() {
  // Names were added in the order of their places.
  std::ranges::sort(
      entries_, [](const Entry& a, const Entry& b) { return a.at != b.at ? a.at < b.at : a.name < b.name; });
  std::vector<std::string_view> names;
  names.reserve(entries_.size());
  for (const Entry& entry : entries_) names.push_back(name_of(entry));
  by_name_ = order_of(names);
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

void SymbolTable::Entry::transfer(StateStream& s) {
  std::uint64_t address = at.value();
  s(address, name, name_bytes, type);
  at = VirtAddr{address};
}

void SymbolTable::transfer(StateStream& s) {
  s.section("symbols", [&] {
    s.text(names_, names_bytes_max);
    s.list(entries_, names_bytes_max);
    if (s.loads()) by_name_.resize(entries_.size());
    s.same_size(by_name_);
    if (!s.loads() || !s.good()) return;
    const auto is_named = [&](const Entry& entry) {
      return entry.name <= names_.size() && entry.name_bytes <= names_.size() - entry.name;
    };
    const auto is_entry = [&](std::uint32_t index) { return index < entries_.size(); };
    s.require(std::ranges::all_of(entries_, is_named), "a name lies beyond the names");
    s.require(std::ranges::all_of(by_name_, is_entry), "an index lies beyond the symbols");
  });
}

}  // namespace cbit::linux
