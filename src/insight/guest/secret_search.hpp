// Where bytes that should be secret stand in memory for those who have no key: the host's software, and a
// probe on the DRAM chips.
//
// Observation only. Time: proportional to the pages that were ever written. Threading: one thread.
#pragma once

#include <string>
#include <vector>

#include "mem/memory.hpp"

namespace cbit::guest {

struct SecretFound {
  static constexpr std::size_t places_max = 8;
  std::string secret;
  std::uint64_t host = 0;        // how often the host's software finds it
  std::uint64_t dram = 0;        // how often it stands in DRAM
  std::vector<PhysAddr> places;  // the first of the host's
};

// One for each secret, in their order. A secret that is empty is found nowhere.
[[nodiscard]] std::vector<SecretFound> search_secrets(const mem::Memory& memory,
                                                      const std::vector<std::string>& secrets);

}  // namespace cbit::guest
