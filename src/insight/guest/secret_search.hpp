// Where bytes that should be secret stand in memory: for the guest, and for those who have no key, the host's
// software and a probe on the DRAM chips.
//
// Observation only. Time: proportional to the pages that were ever written. Threading: one thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "mem/memory.hpp"

namespace cbit::guest {

// The same bytes as each sees them.
struct SecretViews {
  static constexpr std::size_t bytes_max = 16;
  PhysAddr at;
  Bytes guest, host, dram;
};
// Of the bytes at an address, which the guest has under this key; not beyond the page.
[[nodiscard]] SecretViews views_at(const mem::Memory& memory, PhysAddr at, KeyId guest_key);

struct SecretFound {
  static constexpr std::size_t places_max = 8;
  std::string secret;
  std::uint64_t guest = 0;           // how often it stands in memory under the guest's key, if it has one
  std::uint64_t host = 0;            // how often the host's software finds it
  std::uint64_t dram = 0;            // how often it stands in DRAM
  std::vector<PhysAddr> places;      // the first of the host's
  std::optional<SecretViews> views;  // of the guest's first place, or else the host's
};

// One for each secret, in their order. A secret that is empty is found nowhere. `guest_key` is no_key where
// memory is not encrypted.
[[nodiscard]] std::vector<SecretFound> search_secrets(const mem::Memory& memory, KeyId guest_key,
                                                      const std::vector<std::string>& secrets);

}  // namespace cbit::guest
