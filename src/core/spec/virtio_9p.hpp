// virtio-9p: what both sides agree on. VIRTIO 1.2 has its number (5: 9P transport) and no more; the rest is
// include/uapi/linux/virtio_9p.h. What goes through the queue: p9.hpp.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cbit::spec {

inline constexpr std::uint16_t virtio_id_9p = 9;

namespace virtio_9p_feature {
inline constexpr std::uint64_t mount_tag = 1ull << 0;  // the configuration has a tag
}  // namespace virtio_9p_feature

// The configuration: the tag's length, u16, and its bytes without a zero behind them.
inline constexpr std::size_t virtio_9p_tag_max = 32;  // QEMU, hw/9pfs/virtio-9p.h and 9p.h: MAX_TAG_LEN

}  // namespace cbit::spec
