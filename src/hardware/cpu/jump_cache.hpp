// Where code goes on at an instruction pointer, for generated code and the interpreter to look up, and which
// translations of addresses each answer rests on. Threading: one thread.
#pragma once

#include <algorithm>
#include <array>
#include <bitset>
#include <cstdint>
#include <vector>

#include "cpu/state.hpp"
#include "cpu/tlb.hpp"
#include "isa/mode.hpp"
#include "paging/pte.hpp"

namespace cbit::cpu {

class JumpCache {
 public:
  // The pages of an entry's block.
  struct Pages {
    paging::PageLevel level{};
    bool global = false;   // all of them
    bool crosses = false;  // the block goes on in another page
    paging::PageLevel second_level{};
  };

  // By jump_index(); an entry without an operation is none.
  [[nodiscard]] JumpEntry* entries() { return entries_.data(); }
  [[nodiscard]] isa::Mode mode() const { return mode_; }
  // All entries are of one mode.
  void begin(isa::Mode mode) {
    forget();
    mode_ = mode;
  }
  void remember(const JumpEntry& entry, Pages pages) {
    const std::size_t index = jump_index(entry.rip);
    if (entries_[index].op == nullptr) used_.push_back(static_cast<std::uint16_t>(index));
    entries_[index] = entry;
    pages_[index] = pages;
    mark(entry.rip, pages);
  }

  void forget() {
    forget_if([](std::uint64_t, Pages) { return true; });
  }
  void forget_non_global() {
    if (any_local_) forget_if([](std::uint64_t, Pages pages) { return !pages.global; });
  }
  // What rests on the translation of this address. Outside of 64-bit mode RIP is no linear address.
  void forget_page(std::uint64_t linear) {
    if (!mode_.is_64()) return forget();
    if (may_have(linear))
      forget_if([&](std::uint64_t rip, Pages pages) {
        return is_in_page(rip, linear, pages.level) ||
               (pages.crosses && is_in_page(next_page(rip), linear, pages.second_level));
      });
  }

 private:
  using Marks = std::bitset<4096>;

  [[nodiscard]] static std::uint64_t next_page(std::uint64_t rip) { return (rip & page_mask) + page_size; }
  [[nodiscard]] static std::size_t mark_of(std::uint64_t linear, paging::PageLevel level) {
    const std::uint64_t page = linear / paging::level_bytes(level);
    return (page ^ page >> 12 ^ static_cast<std::uint64_t>(level) << 10) % Marks{}.size();
  }
  void mark(std::uint64_t rip, Pages pages) {
    marks_.set(mark_of(rip, pages.level));
    if (pages.crosses) marks_.set(mark_of(next_page(rip), pages.second_level));
    any_local_ |= !pages.global;
  }
  [[nodiscard]] bool may_have(std::uint64_t linear) const {
    using enum paging::PageLevel;
    return std::ranges::any_of(std::array{size_4k, size_2m, size_1g},
                               [&](paging::PageLevel level) { return marks_[mark_of(linear, level)]; });
  }
  template <class Condition>
  void forget_if(Condition&& condition) {
    marks_.reset();
    any_local_ = false;
    std::erase_if(used_, [&](std::uint16_t index) {
      const bool gone = condition(entries_[index].rip, pages_[index]);
      if (gone)
        entries_[index] = {};
      else
        mark(entries_[index].rip, pages_[index]);
      return gone;
    });
  }

  std::vector<JumpEntry> entries_ = std::vector<JumpEntry>(jump_entries);
  std::vector<Pages> pages_ = std::vector<Pages>(jump_entries);
  std::vector<std::uint16_t> used_;  // their indexes
  // Of the pages of all entries, and of some that have been: most that are flushed have no code, and need no
  // search.
  Marks marks_;
  bool any_local_ = false;
  isa::Mode mode_;
};

}  // namespace cbit::cpu
