// The DMA addresses that the DMA API has given out, by device: active mappings, and those that were released.
// Threading: one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>

#include "base/events.hpp"

namespace cbit::watch {

struct Mapping {
  std::uint64_t id = 0;  // 1, 2, 3, … in order of dma_map
  std::uint64_t mapped_ns = 0;
  std::uint64_t released_ns = 0;
  DmaMapped call;
  bool bounced = false;  // path swiotlb, or an untrusted device's bounce behind its IOMMU
  bool cleared = false;  // the bounce buffer was zeroed after the original had been copied into it
  // Hull of the bytes that the device wrote since the last copy back, as offsets; empty when first == end.
  std::uint64_t written_first = 0;
  std::uint64_t written_end = 0;

  [[nodiscard]] bool covers(DmaAddr at) const { return at >= call.dma && at - call.dma < call.bytes; }
  [[nodiscard]] DmaAddr end() const { return call.dma + call.bytes; }
  [[nodiscard]] bool written() const { return written_first != written_end; }
};

class MappingTable {
 public:
  Mapping& add(const DmaMapped& call, bool bounced, std::uint64_t time_ns);
  // Releases what find_to_unmap() finds; nullopt when there is none.
  std::optional<Mapping> release(const DmaUnmapped& call, std::uint64_t time_ns);

  // The active mapping that an unmap is for: it starts at the call's address; of several, one with the call's
  // size is meant, of these one with its direction, and the newest of those.
  [[nodiscard]] const Mapping* find_to_unmap(const DmaUnmapped& call) const;
  // The active mappings that start there.
  [[nodiscard]] std::size_t count_at(NameId device, DmaAddr dma) const;
  // The last that was released of those that started there.
  [[nodiscard]] const Mapping* released_at(NameId device, DmaAddr dma) const;
  // Of the active mappings that start at the address or before it, the last; it need not reach so far.
  [[nodiscard]] const Mapping* nearest(NameId device, DmaAddr at) const;

  // The newest active mapping of the device that covers the address.
  [[nodiscard]] const Mapping* find(NameId device, DmaAddr at) const;
  [[nodiscard]] Mapping* find(NameId device, DmaAddr at) {
    return const_cast<Mapping*>(std::as_const(*this).find(device, at));
  }
  // The last released mapping of the device that covered it.
  [[nodiscard]] const Mapping* find_released(NameId device, DmaAddr at) const;
  // An active mapping of any device, of those that have a physical address for a DMA address.
  [[nodiscard]] const Mapping* find_untranslated(DmaAddr at) const;
  // In order of device and address.
  void for_each_active(const std::function<void(const Mapping&)>& visit) const;

 private:
  // By first address. Mappings may overlap, so a search goes back by the longest of them.
  struct Ranges {
    std::multimap<DmaAddr, Mapping> by_start;
    std::uint64_t longest = 0;

    [[nodiscard]] const Mapping* find(DmaAddr at) const;
    [[nodiscard]] std::multimap<DmaAddr, Mapping>::const_iterator find_to_unmap(
        const DmaUnmapped& call) const;
    void add(const Mapping& mapping);
  };
  std::map<NameId, Ranges> active_;
  std::map<NameId, Ranges> released_;
  std::uint64_t last_id_ = 0;
};

}  // namespace cbit::watch
