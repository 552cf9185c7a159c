// Reading and writing at a place of an open file, all of it, however often the system stops half way.
#pragma once

#include <cstdint>

#include "base/bytes.hpp"

namespace cbit::os {

// False: errno tells why not; what was written before stays.
[[nodiscard]] bool write_at(int fd, std::uint64_t offset, ConstByteSpan bytes);
// False: there are not so many bytes, or errno tells why not.
[[nodiscard]] bool read_at(int fd, std::uint64_t offset, ByteSpan to);

}  // namespace cbit::os
