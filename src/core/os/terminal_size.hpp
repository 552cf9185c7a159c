// How much a line of a terminal takes.
#pragma once

#include <cstddef>
#include <optional>

namespace cbit::os {

// The environment's COLUMNS, else the width of the terminal that `fd` is; nullopt: neither is known. POSIX,
// Base Definitions, 8.3: COLUMNS is what the user prefers.
[[nodiscard]] std::optional<std::size_t> columns_of(int fd);

}  // namespace cbit::os
