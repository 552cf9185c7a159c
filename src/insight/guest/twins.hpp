// What stands twice in memory: under the guest's key, and again where no key is needed to read it.
//
// The shared side is indexed, one 8-byte word for each aligned block of 32 bytes, the first that is not all
// but the same byte; the private side is looked up at every byte. So however a copy is aligned, one of
// `bytes_min` bytes has a whole block, and is found. What says nothing is no twin: a block counts only if it
// has substance, and a stretch of 32 equal bytes ends a run.
//
// Observation only. Time: proportional to the pages that were ever written, and `steps_max` blocks more that
// turn out to be no twins. Memory: three quarters of what the shared pages have that are not zero.
// Threading: one thread.
#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.hpp"
#include "mem/memory.hpp"

namespace cbit::guest {

struct Twin {
  PhysAddr at;          // in shared memory
  PhysAddr private_at;  // where the first of the bytes stand under the guest's key
  std::uint64_t bytes = 0;

  friend bool operator==(const Twin&, const Twin&) = default;
};

struct Twins {
  static constexpr std::uint64_t block_bytes = 32;
  static constexpr std::uint64_t bytes_min = 64;
  static constexpr std::uint64_t steps_max = 1 << 22;

  std::vector<Twin> runs;  // in ascending order; they do not overlap
  bool complete = true;    // false: there were too many blocks that looked like twins
};

// Of pages that were last written without a key, at `since_ns` or later; and of those last written under
// `guest_key`.
[[nodiscard]] Twins find_twins(const mem::Memory& memory, KeyId guest_key, std::uint64_t since_ns);

// Whether bytes can be anything's contents rather than fill, a ramp or a table of small numbers: neither they
// nor their differences from those 1, 2, 4 or 8 bytes before have less than 2 bits of entropy each. For a
// block: fewer bytes have no substance, more are judged as a whole.
[[nodiscard]] bool has_substance(ConstByteSpan bytes);

}  // namespace cbit::guest
