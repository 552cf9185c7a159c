// What holds for ranges of numbers (addresses, page numbers): the last value that each was given.
//
// Time: logarithmic in the number of ranges, plus the ranges that a call replaces. Threading: one thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <utility>

namespace cbit {

template <class Value>
class RangeMap {
 public:
  struct Range {
    std::uint64_t end = 0;  // the first number behind it
    Value value{};
  };

  // [first, end) has the value from now on. Nothing where end <= first.
  void assign(std::uint64_t first, std::uint64_t end, Value value) {
    if (end <= first) return;
    erase(first, end);
    ranges_.emplace(first, Range{end, std::move(value)});
  }
  // [first, end) has none.
  void erase(std::uint64_t first, std::uint64_t end) {
    if (end <= first) return;
    cut_at(first);
    cut_at(end);
    ranges_.erase(ranges_.lower_bound(first), ranges_.lower_bound(end));
  }

  // nullptr: none.
  [[nodiscard]] const Value* find(std::uint64_t at) const {
    const auto behind = ranges_.upper_bound(at);
    if (behind == ranges_.begin()) return nullptr;
    const Range& range = std::prev(behind)->second;
    return at < range.end ? &range.value : nullptr;
  }
  // visit(first, end, const Value*) for the pieces of [first, end) in ascending order, those without a value
  // too.
  template <class Visit>
  void for_each_piece(std::uint64_t first, std::uint64_t end, Visit&& visit) const {
    auto next = ranges_.upper_bound(first);
    if (next != ranges_.begin() && std::prev(next)->second.end > first) --next;
    while (first < end) {
      const bool is_inside = next != ranges_.end() && next->first <= first;
      const std::uint64_t until = std::min(end, is_inside               ? next->second.end
                                                : next != ranges_.end() ? next->first
                                                                        : end);
      visit(first, until, is_inside ? &next->second.value : nullptr);
      if (is_inside) ++next;
      first = until;
    }
  }

  [[nodiscard]] std::size_t size() const { return ranges_.size(); }
  // Pairs of a first number and a Range, in ascending order.
  [[nodiscard]] auto begin() const { return ranges_.begin(); }
  [[nodiscard]] auto end() const { return ranges_.end(); }

 private:
  // Makes two of a range that this number lies within.
  void cut_at(std::uint64_t at) {
    const auto behind = ranges_.lower_bound(at);
    if (behind == ranges_.begin()) return;
    Range& before = std::prev(behind)->second;
    if (before.end <= at) return;
    ranges_.emplace_hint(behind, at, before);
    before.end = at;
  }

  std::map<std::uint64_t, Range> ranges_;  // by their first number; they do not overlap
};

}  // namespace cbit
