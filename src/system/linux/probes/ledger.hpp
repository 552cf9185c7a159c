// The DMA mappings that a kernel has given out since it is watched, by device: for what a driver leaves
// behind, for who made a mapping, and for memory that is freed under one.
//
// Bounded: a guest that maps without end is recorded up to a limit.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/events.hpp"

namespace cbit::linux {

class MappingLedger {
 public:
  static constexpr std::size_t mappings_max = 1 << 20;

  // Of a streaming mapping's memory no more than this is looked for.
  static constexpr std::uint64_t pages_indexed_max = 1024;

  struct Entry {
    PhysAddr phys;
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

  // Whether any streaming mapping covers memory of the page; cheap.
  [[nodiscard]] bool maps_page(PhysAddr page) const { return pages_.contains(page.page_number()); }
  [[nodiscard]] bool maps_memory() const { return !pages_.empty(); }
  struct Mapped {
    NameId device = 0;
    DmaAddr dma;
    friend auto operator<=>(const Mapped&, const Mapped&) = default;
  };
  // The streaming mappings that cover any of these bytes, which are freed: they cover no memory any more, for
  // what is there next is somebody else's.
  [[nodiscard]] std::set<Mapped> free_memory(PhysAddr first, std::uint64_t bytes);

 private:
  using Pages = std::unordered_multimap<std::uint64_t, Mapped>;
  void index(const Mapped& mapped, const Entry& entry);
  void forget(const Mapped& mapped, const Entry& entry);
  using Mappings = std::multimap<DmaAddr, Entry>;
  std::map<NameId, Mappings> devices_;
  std::size_t size_ = 0;
  Pages pages_;  // by page number
};

}  // namespace cbit::linux
