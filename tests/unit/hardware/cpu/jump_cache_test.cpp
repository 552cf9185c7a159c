#include "cpu/jump_cache.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <map>

namespace cbit::cpu {
namespace {

using Pages = JumpCache::Pages;
using enum paging::PageLevel;

const isa::Op some_op{};
const isa::Mode long_mode = isa::Mode{}.with<isa::Mode::Long64>(true);

JumpEntry jump_to(std::uint64_t rip) { return {.rip = rip, .page = 0, .op = &some_op, .block = nullptr}; }

bool has(JumpCache& cache, std::uint64_t rip) {
  const JumpEntry& entry = cache.entries()[jump_index(rip)];
  return entry.op != nullptr && entry.rip == rip;
}

// Intel SDM vol. 2, INVLPG: it takes the translations of the page that holds the address, whatever its size.
bool within(std::uint64_t address, std::uint64_t other, paging::PageLevel level) {
  const std::uint64_t bytes = level == size_4k ? 1ull << 12 : level == size_2m ? 1ull << 21 : 1ull << 30;
  return address / bytes == other / bytes;
}

RC_GTEST_PROP(JumpCache, KnowsWhatNoFlushHasTaken, ()) {
  struct Known {
    std::uint64_t rip;
    Pages pages;
  };
  JumpCache cache;
  cache.begin(long_mode);
  std::map<std::size_t, Known> known;  // by index: a later one takes the place
  const auto address = [] {
    return *rc::gen::inRange<std::uint64_t>(0, 4) << 30 | *rc::gen::inRange<std::uint64_t>(0, 4) << 21 |
           *rc::gen::inRange<std::uint64_t>(0, 4) << 12 | *rc::gen::inRange<std::uint64_t>(0, 64);
  };
  for (unsigned steps = *rc::gen::inRange(1u, 60u); steps != 0; --steps) {
    switch (*rc::gen::weightedElement<int>({{8, 0}, {4, 1}, {1, 2}, {1, 3}})) {
      case 0: {
        const std::uint64_t rip = address();
        const Pages pages{*rc::gen::element(size_4k, size_2m, size_1g), *rc::gen::arbitrary<bool>(),
                          *rc::gen::arbitrary<bool>(), *rc::gen::element(size_4k, size_2m, size_1g)};
        cache.remember(jump_to(rip), pages);
        known[jump_index(rip)] = {rip, pages};
        break;
      }
      case 1: {
        const std::uint64_t at = address();
        cache.forget_page(at);
        std::erase_if(known, [&](const auto& one) {
          const auto& [rip, pages] = one.second;
          return within(rip, at, pages.level) ||
                 (pages.crosses && within((rip | 0xfff) + 1, at, pages.second_level));
        });
        break;
      }
      case 2:
        cache.forget_non_global();
        std::erase_if(known, [](const auto& one) { return !one.second.pages.global; });
        break;
      case 3:
        cache.forget();
        known.clear();
        break;
    }
    for (std::size_t index = 0; index != jump_entries; ++index)
      RC_ASSERT((cache.entries()[index].op != nullptr) == known.contains(index));
    for (const auto& [index, one] : known) RC_ASSERT(has(cache, one.rip));
  }
}

TEST(JumpCacheModes, OutsideOf64BitModeAFlushedPageTakesAll) {
  JumpCache cache;
  cache.begin(isa::Mode{});
  cache.remember(jump_to(0x1000), {});
  cache.forget_page(0x7000);
  EXPECT_FALSE(has(cache, 0x1000));
}

TEST(JumpCacheModes, AnotherModeBeginsWithNothing) {
  JumpCache cache;
  cache.begin(long_mode);
  cache.remember(jump_to(0x1000), {});
  cache.begin(isa::Mode{});
  EXPECT_FALSE(has(cache, 0x1000));
}

}  // namespace
}  // namespace cbit::cpu
