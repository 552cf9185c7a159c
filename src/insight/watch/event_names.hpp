// Stable words for the enumerations that events carry: what trace files and JSON print instead of numbers.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/events.hpp"

namespace cbit::watch {

[[nodiscard]] std::string_view stable_name(FlushKind kind);
[[nodiscard]] std::string_view stable_name(FaultKind kind);
[[nodiscard]] std::string_view stable_name(DmaMappingKind kind);
[[nodiscard]] std::string_view stable_name(DmaFailure reason);
[[nodiscard]] std::string_view stable_name(DmaDebugKind kind);
[[nodiscard]] inline std::string_view stable_name(DmaDirection direction) { return to_string(direction); }
[[nodiscard]] inline std::string_view stable_name(DmaPath path) { return to_string(path); }

// "cpu0", "device 00:03.0", "host", "loader", "nobody".
[[nodiscard]] std::string agent_name(Agent agent);
// "00:03.0": bus, device, function.
[[nodiscard]] std::string requester_name(RequesterId requester);
[[nodiscard]] std::string_view event_name(const EventPayload& payload);
// Of all kinds of events, sorted.
[[nodiscard]] std::span<const std::string_view> all_event_names();

}  // namespace cbit::watch
