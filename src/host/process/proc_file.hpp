// Files of /proc, which have no size that one could ask for.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

namespace cbit::process {

// The whole file; nullopt, with errno set, when it cannot be opened or read, or is longer than `bytes_max`
// (EFBIG).
[[nodiscard]] std::optional<std::string> read_proc_file(const std::string& path,
                                                        std::size_t bytes_max = std::size_t{64} << 20);

}  // namespace cbit::process
