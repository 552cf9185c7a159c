// Which bytes of the guest's private memory stand in shared memory as well, although no DMA mapping has given
// them to a device: what the host can read and nobody meant it to.
//
// Observation only; cost: that of guest/twins.hpp. Threading: one thread.
#pragma once

#include <cstdint>
#include <vector>

#include "guest/given_memory.hpp"
#include "guest/secret_search.hpp"
#include "guest/twins.hpp"

namespace cbit::guest {

struct Exposure {
  // How much of the memory has been looked at.
  enum class Searched : std::uint8_t {
    not_at_all,  // no memory is private, or what the mappings are is not known
    in_part,     // too much looks alike
    all,
  };
  struct Place {
    Twin twin;
    SecretViews views;  // of the private ones
    Agent writer;       // who wrote the shared page last
  };
  // Places that are kept; what there is besides is in `bytes`.
  static constexpr std::size_t places_max = 64;

  Searched searched = Searched::not_at_all;
  std::uint64_t bytes = 0;         // that no mapping gave away
  std::uint64_t left_behind = 0;   // that a mapping, which is over, gave to a device or had from one
  std::uint64_t copied_along = 0;  // in buffers for devices to write
  std::vector<Place> places;       // the first of `bytes`
};

// At the end of a run. `since_ns` is when the kernel began to run: what stands in the clear from before is
// the boot's.
[[nodiscard]] Exposure find_exposure(const mem::Memory& memory, KeyId guest_key, const GivenMemory& given,
                                     std::uint64_t since_ns);

}  // namespace cbit::guest
