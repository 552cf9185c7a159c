// Which memory a device has been given, byte by byte: by DMA mappings that are, and that were.
//
// From events alone: what a mapping covers is its bounce buffer, where there is one, else the driver's
// buffer. Memory that is made shared anew has been given to nobody yet. Memory is bounded by `ranges_max`.
// Threading: one thread, as for every sink.
#pragma once

#include <cstdint>
#include <map>
#include <utility>

#include "base/range_map.hpp"
#include "base/trace.hpp"

namespace cbit::guest {

class GivenMemory final : public EventSink {
 public:
  static constexpr std::size_t ranges_max = 1 << 20;

  enum class How : std::uint8_t {
    not_at_all,
    in_use,        // a mapping that lets the device read it is active, or the kernel shares it by itself
    left_behind,   // such a mapping was; or a device wrote it
    copied_along,  // the kernel copied it into a buffer that is for a device to write
  };

  // `tracer` outlives it.
  explicit GivenMemory(const Tracer& tracer) : tracer_{&tracer} {}
  void on_event(const Event& event) override;

  // visit(first, bytes, How) for the pieces of [first, first + bytes), in ascending order.
  template <class Visit>
  void for_each_piece(PhysAddr first, std::uint64_t bytes, Visit&& visit) const {
    gifts_.for_each_piece(first.value(), first.value() + bytes,
                          [&](std::uint64_t begin, std::uint64_t end, const Gift* gift) {
                            visit(PhysAddr{begin}, end - begin, how(gift));
                          });
  }
  // false: there were more mappings than are kept.
  [[nodiscard]] bool complete() const { return complete_; }

 private:
  enum class By : std::uint8_t { mapping_to_read, mapping_to_write, device, kernel };
  using MappingId = std::uint64_t;
  struct Gift {
    By by{};
    MappingId mapping = 0;  // 0: none
  };
  struct Mapping {
    MappingId id = 0;
    By by{};
    std::uint64_t bytes = 0;
  };

  void on(const SwiotlbAllocated& allocated);
  void on(const SwiotlbCopied& copied);
  void on(const DmaMapped& mapped);
  void on(const DmaMapFailed& failed);
  void on(const DmaUnmapped& unmapped);
  void on(const DeviceAccess& access);
  void on(const PageConversion& conversion);
  template <class Other>
  void on(const Other&) {}

  void give(PhysAddr first, std::uint64_t bytes, const Gift& gift);
  [[nodiscard]] How how(const Gift* gift) const;

  const Tracer* tracer_;
  RangeMap<Gift> gifts_;                                         // by physical address
  std::multimap<std::pair<NameId, DmaAddr>, Mapping> mappings_;  // that are active
  std::map<MappingId, By> active_;
  std::map<std::pair<NameId, PhysAddr>, PhysAddr> bounces_;  // of originals whose mapping is not told yet
  MappingId last_id_ = 0;
  bool complete_ = true;
};

}  // namespace cbit::guest
