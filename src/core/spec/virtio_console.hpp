// virtio-console: numbers and structures that both sides agree on. VIRTIO 1.2, 5.3;
// include/uapi/linux/virtio_console.h.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cbit::spec {

inline constexpr std::uint16_t virtio_id_console = 3;

namespace virtio_console_feature {
inline constexpr std::uint64_t size = 1ull << 0;
inline constexpr std::uint64_t multiport = 1ull << 1;
inline constexpr std::uint64_t emerg_write = 1ull << 2;
}  // namespace virtio_console_feature

// 5.3.4. The packed structure has no holes of its own.
struct VirtioConsoleConfig {
  std::uint16_t cols = 0;
  std::uint16_t rows = 0;
  std::uint32_t max_nr_ports = 0;
  std::uint32_t emerg_wr = 0;
};
static_assert(sizeof(VirtioConsoleConfig) == 12);

// 5.3.6.2. The name of PORT_NAME follows it.
struct VirtioConsoleControl {
  std::uint32_t id = 0;  // of the port
  std::uint16_t event = 0;
  std::uint16_t value = 0;

  friend bool operator==(const VirtioConsoleControl&, const VirtioConsoleControl&) = default;
};
static_assert(sizeof(VirtioConsoleControl) == 8);

namespace virtio_console_event {
inline constexpr std::uint16_t device_ready = 0;
inline constexpr std::uint16_t device_add = 1;
inline constexpr std::uint16_t device_remove = 2;
inline constexpr std::uint16_t port_ready = 3;
inline constexpr std::uint16_t console_port = 4;
inline constexpr std::uint16_t resize = 5;
inline constexpr std::uint16_t port_open = 6;
inline constexpr std::uint16_t port_name = 7;
}  // namespace virtio_console_event

// 5.3.2: queues of port 0, then those of control messages, then of port 1 and so on, the device's output
// first.
[[nodiscard]] constexpr std::uint16_t virtio_console_receive_queue(unsigned port) {
  return static_cast<std::uint16_t>(port == 0 ? 0 : 2 * port + 2);
}
inline constexpr std::uint16_t virtio_console_control_receive = 2;
inline constexpr std::uint16_t virtio_console_control_transmit = 3;

}  // namespace cbit::spec
