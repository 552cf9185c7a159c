// virtio-vsock: numbers and structures that both sides agree on. VIRTIO 1.2, 5.10;
// include/uapi/linux/virtio_vsock.h, include/uapi/linux/vm_sockets.h.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cbit::spec {

inline constexpr std::uint16_t virtio_id_vsock = 19;

// 5.10.2.
inline constexpr std::uint16_t virtio_vsock_receive = 0;
inline constexpr std::uint16_t virtio_vsock_transmit = 1;
inline constexpr std::uint16_t virtio_vsock_event = 2;
inline constexpr std::uint16_t virtio_vsock_queues = 3;

namespace virtio_vsock_feature {
inline constexpr std::uint64_t stream = 1ull << 0;
inline constexpr std::uint64_t seqpacket = 1ull << 1;
}  // namespace virtio_vsock_feature

// 5.10.4: CIDs that are nobody's in particular, and the host's.
namespace vsock_cid {
inline constexpr std::uint64_t host = 2;
inline constexpr std::uint64_t guest_first = 3;
inline constexpr std::uint64_t guest_last = 0xffff'fffe;
}  // namespace vsock_cid

struct VirtioVsockConfig {
  std::uint64_t guest_cid = 0;
};
static_assert(sizeof(VirtioVsockConfig) == 8);

// 5.10.6. The payload follows; on the wire the structure is packed.
struct [[gnu::packed]] VirtioVsockHdr {
  std::uint64_t src_cid = 0;
  std::uint64_t dst_cid = 0;
  std::uint32_t src_port = 0;
  std::uint32_t dst_port = 0;
  std::uint32_t len = 0;  // of the payload
  std::uint16_t type = 0;
  std::uint16_t op = 0;
  std::uint32_t flags = 0;
  std::uint32_t buf_alloc = 0;
  std::uint32_t fwd_cnt = 0;
};
static_assert(sizeof(VirtioVsockHdr) == 44);
static_assert(offsetof(VirtioVsockHdr, type) == 28);
static_assert(offsetof(VirtioVsockHdr, fwd_cnt) == 40);

namespace virtio_vsock_type {
inline constexpr std::uint16_t stream = 1;
inline constexpr std::uint16_t seqpacket = 2;
}  // namespace virtio_vsock_type

namespace virtio_vsock_op {
inline constexpr std::uint16_t invalid = 0;
inline constexpr std::uint16_t request = 1;
inline constexpr std::uint16_t response = 2;
inline constexpr std::uint16_t rst = 3;
inline constexpr std::uint16_t shutdown = 4;
inline constexpr std::uint16_t rw = 5;
inline constexpr std::uint16_t credit_update = 6;
inline constexpr std::uint16_t credit_request = 7;
}  // namespace virtio_vsock_op

// 5.10.6.6: whoever says it will do neither again.
namespace virtio_vsock_shutdown {
inline constexpr std::uint32_t receive = 1;
inline constexpr std::uint32_t send = 2;
inline constexpr std::uint32_t both = receive | send;
}  // namespace virtio_vsock_shutdown

// 5.10.6.7.
inline constexpr std::uint32_t virtio_vsock_event_transport_reset = 0;

}  // namespace cbit::spec
