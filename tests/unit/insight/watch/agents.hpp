// Who acts in this room's tests.
#pragma once

#include "base/events.hpp"

namespace cbit::watch {

inline constexpr Agent cpu0{AgentKind::cpu, 0};
inline constexpr Agent some_device{AgentKind::device, 0x18};

}  // namespace cbit::watch
