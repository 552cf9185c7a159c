// The virtio devices and what was negotiated with them (/sys/bus/virtio/devices).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "facts/host_tree.hpp"

namespace cbit::facts {

// The string of zeros and ones in `features`: character n is bit n. nullopt: not such a string.
[[nodiscard]] std::optional<std::uint64_t> parse_features(std::string_view text);

struct VirtioDeviceFacts {
  std::string name;                       // "virtio0"
  std::uint32_t id = 0;                   // virtio 1.2, 5: 1 network, 2 block, 5 balloon, ...
  std::string driver;                     // empty: none is bound, or its probe failed
  std::optional<std::uint64_t> features;  // negotiated ones
  std::optional<std::uint64_t> status;    // the device status field

  [[nodiscard]] bool has(unsigned bit) const { return (features.value_or(0) >> bit & 1) != 0; }
};

// "block device"; "device 99" for what virtio 1.2 does not list.
[[nodiscard]] std::string virtio_kind(std::uint32_t id);
// The driver that it is bound to; of those that a remedy tells apart, the one that it is for; else empty.
[[nodiscard]] std::string virtio_driver(const VirtioDeviceFacts& device);

[[nodiscard]] std::vector<VirtioDeviceFacts> read_virtio(const HostTree& tree);

}  // namespace cbit::facts
