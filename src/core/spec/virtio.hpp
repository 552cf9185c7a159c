// Numbers that both sides of virtio agree on. Virtual I/O Device (VIRTIO) Version 1.2; the same values stand
// in Linux's include/uapi/linux/virtio_config.h, virtio_ring.h and virtio_blk.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/assert.hpp"
#include "cbit/addr.hpp"

namespace cbit::spec {

// Device status field, 2.1.
namespace virtio_status {
inline constexpr std::uint8_t acknowledge = 1;
inline constexpr std::uint8_t driver = 2;
inline constexpr std::uint8_t driver_ok = 4;
inline constexpr std::uint8_t features_ok = 8;
inline constexpr std::uint8_t needs_reset = 64;
inline constexpr std::uint8_t failed = 128;
}  // namespace virtio_status

// Feature bits of ring and transport, 6.
namespace virtio_feature {
inline constexpr std::uint64_t indirect_desc = 1ull << 28;
inline constexpr std::uint64_t event_idx = 1ull << 29;
inline constexpr std::uint64_t version_1 = 1ull << 32;
inline constexpr std::uint64_t access_platform = 1ull << 33;
inline constexpr std::uint64_t ring_packed = 1ull << 34;
inline constexpr std::uint64_t in_order = 1ull << 35;
inline constexpr std::uint64_t order_platform = 1ull << 36;
}  // namespace virtio_feature

// Bits 28 to 40 belong to ring and transport (VIRTIO_TRANSPORT_F_START and _END).
inline constexpr std::uint64_t virtio_transport_features = bit_mask(41) & ~bit_mask(28);

// Split virtqueues, 2.7. All little-endian.
struct VringDesc {
  std::uint64_t addr = 0;
  std::uint32_t len = 0;
  std::uint16_t flags = 0;
  std::uint16_t next = 0;
};
static_assert(sizeof(VringDesc) == 16 && offsetof(VringDesc, next) == 14);

namespace vring_flag {
inline constexpr std::uint16_t next = 1;                // VIRTQ_DESC_F_NEXT
inline constexpr std::uint16_t write = 2;               // VIRTQ_DESC_F_WRITE: the device writes
inline constexpr std::uint16_t indirect = 4;            // VIRTQ_DESC_F_INDIRECT
inline constexpr std::uint16_t avail_no_interrupt = 1;  // VIRTQ_AVAIL_F_NO_INTERRUPT
inline constexpr std::uint16_t used_no_notify = 1;      // VIRTQ_USED_F_NO_NOTIFY
}  // namespace vring_flag

struct VringUsedElem {
  std::uint32_t id = 0;
  std::uint32_t len = 0;
};
static_assert(sizeof(VringUsedElem) == 8);

inline constexpr std::uint32_t vring_size_max = 32768;

// Where things lie within the three areas of a ring of `size` entries. The available and the used ring begin
// alike: flags u16, idx u16, then the entries; the event index of the other side's wish ends them.
struct VringAreas {
  std::uint32_t size = 0;

  static constexpr std::uint64_t flags = 0;
  static constexpr std::uint64_t idx = 2;
  static constexpr std::uint64_t desc(std::uint32_t i) { return std::uint64_t{i} * sizeof(VringDesc); }
  static constexpr std::uint64_t avail_ring(std::uint32_t i) { return 4 + 2ull * i; }
  static constexpr std::uint64_t used_ring(std::uint32_t i) {
    return 4 + sizeof(VringUsedElem) * std::uint64_t{i};
  }

  [[nodiscard]] constexpr std::uint64_t used_event() const { return avail_ring(size); }
  [[nodiscard]] constexpr std::uint64_t avail_event() const { return used_ring(size); }
  [[nodiscard]] constexpr std::uint64_t desc_bytes() const { return desc(size); }
  [[nodiscard]] constexpr std::uint64_t avail_bytes() const { return used_event() + 2; }
  [[nodiscard]] constexpr std::uint64_t used_bytes() const { return avail_event() + 2; }

  // One contiguous allocation, the used ring at the next multiple of `align`: vring_init() and vring_size().
  [[nodiscard]] constexpr std::uint64_t avail_offset() const { return desc_bytes(); }
  [[nodiscard]] constexpr std::uint64_t used_offset(std::uint64_t align) const {
    return align_up(desc_bytes() + avail_bytes(), align);
  }
  [[nodiscard]] constexpr std::uint64_t bytes(std::uint64_t align) const {
    return used_offset(align) + used_bytes();
  }
};
static_assert(VringAreas{256}.bytes(4096) == 8192 + 6 + 8 * 256);
static_assert(VringAreas{256}.bytes(64) == 4672 + 6 + 8 * 256);

// 2.7.7.2: with the index having moved from `before` to `now`, has it passed `event`?
[[nodiscard]] constexpr bool vring_need_event(std::uint16_t event, std::uint16_t now, std::uint16_t before) {
  return static_cast<std::uint16_t>(now - event - 1) < static_cast<std::uint16_t>(now - before);
}
static_assert(vring_need_event(0, 1, 0) && !vring_need_event(1, 1, 0) && vring_need_event(0xffff, 0, 0xffff));

// ---- packed virtqueues, 2.8 ----

struct PackedDesc {
  std::uint64_t addr = 0;
  std::uint32_t len = 0;
  std::uint16_t id = 0;
  std::uint16_t flags = 0;  // vring_flag, and packed_flag
};
static_assert(sizeof(PackedDesc) == 16 && offsetof(PackedDesc, id) == 12 &&
              offsetof(PackedDesc, flags) == 14);

namespace packed_flag {
inline constexpr std::uint16_t avail = 1 << 7;  // VIRTQ_DESC_F_AVAIL
inline constexpr std::uint16_t used = 1 << 15;  // VIRTQ_DESC_F_USED
}  // namespace packed_flag

// Event suppression structure, 2.8.14: `off_wrap` is a place in the ring, and its wrap counter in bit 15.
struct PackedEvent {
  std::uint16_t off_wrap = 0;
  std::uint16_t flags = 0;
};
static_assert(sizeof(PackedEvent) == 4);

namespace packed_event {
inline constexpr std::uint16_t enable = 0;   // RING_EVENT_FLAGS_ENABLE
inline constexpr std::uint16_t disable = 1;  // RING_EVENT_FLAGS_DISABLE
inline constexpr std::uint16_t desc = 2;     // RING_EVENT_FLAGS_DESC, with EVENT_IDX only
inline constexpr std::uint16_t mask = 3;     // the other bits are reserved
}  // namespace packed_event

// A place in a packed ring, with the wrap counter of whoever walks there; both begin as they are here.
struct PackedPlace {
  std::uint16_t index = 0;
  bool wrap = true;

  constexpr void advance(std::uint32_t places, std::uint32_t size) {
    const std::uint32_t to = index + places;
    index = static_cast<std::uint16_t>(to >= size ? to - size : to);
    if (to >= size) wrap = !wrap;
  }
  [[nodiscard]] constexpr std::uint16_t off_wrap() const {
    return static_cast<std::uint16_t>(index | (wrap ? 1u << 15 : 0u));
  }
};

// 2.8.14: having come to `now` over the last `moved` places, was the one passed that the other side waits
// for?
[[nodiscard]] constexpr bool packed_need_event(const PackedEvent& event, const PackedPlace& now,
                                               std::uint32_t moved, std::uint32_t size) {
  const bool wrap = (event.off_wrap & 1u << 15) != 0;
  const std::uint32_t place = (event.off_wrap & 0x7fffu) - (wrap != now.wrap ? size : 0u);
  return vring_need_event(static_cast<std::uint16_t>(place), now.index,
                          static_cast<std::uint16_t>(now.index - moved));
}
static_assert(packed_need_event({1u << 15, 2}, {1, true}, 1, 8));
static_assert(packed_need_event({7 | 1u << 15, 2}, {1, false}, 2, 8));
static_assert(!packed_need_event({2, 2}, {1, false}, 2, 8));

}  // namespace cbit::spec
