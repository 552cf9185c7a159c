// Whatever is copied where: a search of memory's bytes one by one finds the same.
#include "guest/twins.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "base/random.hpp"
#include "support/small_machine.hpp"

namespace cbit::guest {
namespace {

constexpr std::uint64_t pages = 2;
constexpr PhysAddr hidden{0x10'0000}, open{0x20'0000};

// Two areas of pages that are filled with pieces of one text, each byte of which occurs once in its
// neighbourhood; what is copied is known.
struct Copies {
  Random random;
  test::SmallMachine machine{test::Encryption::sev};
  Bytes text = pattern_bytes(2 * page_size, 11);
  Bytes hidden_bytes = pattern_bytes(pages * page_size, 12);
  Bytes open_bytes = pattern_bytes(pages * page_size, 13);

  void put(Bytes& area) {
    const std::uint64_t bytes = 1 + random.below(600), from = random.below(text.size() - bytes);
    std::copy_n(text.begin() + static_cast<std::ptrdiff_t>(from), bytes,
                area.begin() + static_cast<std::ptrdiff_t>(random.below(area.size() - bytes)));
  }
  void fill() {
    for (std::uint64_t i = 2 + random.below(12); i > 0; --i) put(hidden_bytes);
    for (std::uint64_t i = 2 + random.below(12); i > 0; --i) put(open_bytes);
    const Agent cpu{AgentKind::cpu, 0};
    EXPECT_TRUE(machine.memory->write(hidden, hidden_bytes, {cpu, machine.key, 0}));
    EXPECT_TRUE(machine.memory->write(open, open_bytes, {cpu, no_key, 0}));
  }
  // Of each shared block, whether it is within a run that is long enough and private as well.
  [[nodiscard]] std::vector<bool> exposed() const {
    std::vector<bool> found(open_bytes.size() / Twins::block_bytes);
    std::vector<std::uint64_t> before(hidden_bytes.size() + 1), now(before.size());
    for (std::size_t at = 0; at < open_bytes.size(); ++at) {
      for (std::size_t from = 0; from < hidden_bytes.size(); ++from) {
        now[from + 1] = open_bytes[at] == hidden_bytes[from] ? before[from] + 1 : 0;
        if (now[from + 1] < Twins::bytes_min) continue;
        const std::size_t end = at + 1, first = end - now[from + 1];
        for (std::size_t block = (first + 31) / 32; 32 * (block + 1) <= end; ++block) found[block] = true;
      }
      std::swap(before, now);
    }
    return found;
  }
};

RC_GTEST_PROP(Twins, AreWhatAComparisonOfAllBytesFinds, (std::uint64_t seed)) {
  Copies copies{Random{seed}};
  copies.fill();
  const Twins found = find_twins(*copies.machine.memory, copies.machine.key, 0);
  RC_ASSERT(found.complete);
  std::vector<bool> told(copies.open_bytes.size());
  PhysAddr end;
  for (const Twin& run : found.runs) {
    RC_ASSERT(run.at >= end);
    end = run.at + run.bytes;
    for (std::uint64_t i = 0; i < run.bytes; ++i) {
      RC_ASSERT(copies.open_bytes[run.at - open + i] == copies.hidden_bytes[run.private_at - hidden + i]);
      told[run.at - open + i] = true;
    }
  }
  const std::vector<bool> exposed = copies.exposed();
  for (std::size_t at = 0; at < told.size(); ++at) RC_ASSERT(told[at] || !exposed[at / Twins::block_bytes]);
}

}  // namespace
}  // namespace cbit::guest
