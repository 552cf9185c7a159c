// The DMA mappings that a kernel has given out since it is watched, by device: for what a driver leaves
// behind, and for who made a mapping.
//
// Bounded: a guest that maps without end is recorded up to a limit.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "base/events.hpp"

namespace cbit::linux {

class MappingLedger {
 public:
  static constexpr std::size_t mappings_max = 1 << 20;

  struct Entry {
    std::uint64_t bytes = 0;
    DmaMappingKind kind{};
    DmaDirection direction{};
    SiteId site = 0;
  };
  struct Leak {
    std::size_t count = 0;
    DmaAddr dma;  // of one of them
    Entry entry;
  };

  void add(NameId device, DmaAddr dma, const Entry& entry);
  // false: there is none.
  bool remove(NameId device, DmaAddr dma, std::uint64_t bytes);
  // Those that begin in a range.
  [[nodiscard]] std::vector<std::pair<DmaAddr, Entry>> in_range(NameId device, DmaAddr first,
                                                                std::uint64_t bytes) const;
  // What is left of a device's mappings; nullopt: nothing.
  [[nodiscard]] std::optional<Leak> leak(NameId device) const;
  // Who made the mapping that covers the address; 0: not known.
  [[nodiscard]] SiteId site(NameId device, DmaAddr at) const;

 private:
  using Mappings = std::multimap<DmaAddr, Entry>;
  std::map<NameId, Mappings> devices_;
  std::size_t size_ = 0;
};

}  // namespace cbit::linux
