// Small identities that every room shares: keys, devices, and who performs an access.
#pragma once

#include <compare>
#include <cstdint>
#include <string_view>

namespace cbit {

// Index into the machine's key table (mem/key_table.hpp). 0 means "no encryption".
using KeyId = std::uint16_t;
inline constexpr KeyId no_key = 0;

// PCI bus/device/function as the IOMMU sees it: bus 15:8, device 7:3, function 2:0.
using RequesterId = std::uint16_t;

// Interned name of the code that acts ("swiotlb_bounce", "driver"); 0 is "unknown". See base/trace.hpp.
using SiteId = std::uint32_t;
using NameId = SiteId;  // the same, where it names a device

enum class AgentKind : std::uint8_t { none, cpu, device, host, loader };

[[nodiscard]] constexpr std::string_view to_string(AgentKind kind) {
  switch (kind) {
    case AgentKind::none: return "none";
    case AgentKind::cpu: return "cpu";
    case AgentKind::device: return "device";
    case AgentKind::host: return "host";
    case AgentKind::loader: return "loader";
  }
  return "?";
}

// Who performs an access. `index` is the CPU number, or the device's RequesterId.
struct Agent {
  AgentKind kind = AgentKind::none;
  std::uint16_t index = 0;

  friend constexpr auto operator<=>(Agent, Agent) = default;
};

}  // namespace cbit
