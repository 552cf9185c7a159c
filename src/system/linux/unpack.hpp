// Decompression of what a kernel image carries, through libarchive.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/bytes.hpp"
#include "base/result.hpp"

namespace cbit::linux {

// No kernel is larger than this when unpacked, and nothing is unpacked beyond it.
inline constexpr std::uint64_t unpacked_bytes_max = 512ull << 20;

// The kernel out of a bzImage's payload: gzip, bzip2, lzma, xz, lz4 (the legacy frame), zstd, or stored as it
// is. Errors (input): another compression, damaged or cut off, too large. `name` is for messages.
OrError<Bytes> unpack_payload(ConstByteSpan payload, std::string_view name);

// A gzip stream of at most `bytes_max` bytes. Errors (input): as above.
OrError<Bytes> unpack_gzip(ConstByteSpan stream, std::uint64_t bytes_max, std::string_view name);

}  // namespace cbit::linux
