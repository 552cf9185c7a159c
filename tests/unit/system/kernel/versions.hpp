// The versions that differ in what this room's tests look at.
#pragma once

#include "cbit/kernel_config.hpp"

namespace cbit::kernel {

inline constexpr KernelVersion versions[] = {KernelVersion::v6_1, KernelVersion::v6_6, KernelVersion::v6_10};

}  // namespace cbit::kernel
