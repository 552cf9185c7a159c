// CRC-32C (Castagnoli), as iSCSI and NVMe use it: reflected polynomial 82F63B78h, start and final XOR all
// ones.
#pragma once

#include <cstdint>

#include "base/bytes.hpp"

namespace cbit::dev {

// crc32c("123456789") == 0xe3069283.
[[nodiscard]] std::uint32_t crc32c(ConstByteSpan bytes);

}  // namespace cbit::dev
