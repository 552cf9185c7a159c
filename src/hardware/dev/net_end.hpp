// One end of a wire that Ethernet frames travel over: a network device, or a network of the host's
// (dev/net_backend.hpp). Frames are without preamble and check sequence.
//
// Threading: one thread for both ends.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/bytes.hpp"

namespace cbit::dev {

inline constexpr std::uint32_t ethernet_frame_min = 60;
inline constexpr std::uint32_t ethernet_frame_max = 1514;  // ETH_FRAME_LEN
inline constexpr std::uint32_t tagged_frame_max = 1518;    // with an 802.1Q tag
inline constexpr std::uint32_t ethernet_header_bytes = 14;

using MacAddress = std::array<std::uint8_t, 6>;
// QEMU's first; locally administered.
inline constexpr MacAddress default_mac{0x52, 0x54, 0, 0x12, 0x34, 0x56};

// "52:54:00:12:34:56"; nullopt: it is none, or not one station's.
[[nodiscard]] std::optional<MacAddress> parse_mac(std::string_view text);

class NetEnd {
 public:
  virtual ~NetEnd() = default;
  // A frame arrives. false: there is no room for it now, and nobody keeps it.
  virtual bool receive(ConstByteSpan frame) = 0;
  // The other end, which may have refused a frame, has room.
  virtual void has_room() {}
  // It takes frames at all: a device has a driver.
  [[nodiscard]] virtual bool is_up() const { return true; }
};

}  // namespace cbit::dev
