// Files that a user names, as bytes.
#pragma once

#include <cstdint>
#include <filesystem>

#include "base/bytes.hpp"
#include "base/result.hpp"

namespace cbit::boot {

inline constexpr std::uint64_t input_bytes_max = 1ull << 30;

// All of a regular file. Errors (input): it is not there, is none (a device, a FIFO, a folder), cannot be
// read, or is larger than `bytes_max`.
OrError<Bytes> read_file(const std::filesystem::path& path, std::uint64_t bytes_max = input_bytes_max);

}  // namespace cbit::boot
