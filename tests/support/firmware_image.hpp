// Firmware images that end as OVMF's do: entries of the table of GUIDs, its footer, a reset vector.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace cbit::firmware_image {

using Guid = std::array<std::uint32_t, 4>;  // in little-endian words, as it lies in memory
inline constexpr Guid footer{0x96b582de, 0x45f71fb2, 0x66a3eaba, 0x2d085ac5};
inline constexpr Guid sev_es_reset_block{0x00f771de, 0x4fcb1a7e, 0xc7680e89, 0x4eb42f7e};
inline constexpr Guid sev_hash_table{0x7255371f, 0x4b043a3b, 0xa61d7b92, 0x54d4a8ef};
inline constexpr Guid sev_metadata{0xdc886566, 0x4798984a, 0x85555ea7, 0xcc67bfa7};
inline constexpr Guid tdx_metadata{0xe47a6535, 0x5e48984a, 0x85465e86, 0xc28ebfa7};

struct Entry {
  Guid guid;
  std::size_t data_bytes = 4;  // of the words below
  std::uint32_t first = 0, second = 0;
};

inline void put(std::vector<std::byte>& image, std::uint64_t value, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i) image.push_back(static_cast<std::byte>(value >> 8 * i));
}
inline void put(std::vector<std::byte>& image, const Guid& guid) {
  for (const std::uint32_t word : guid) put(image, word, 4);
}

inline std::vector<std::byte> build(const std::vector<Entry>& entries) {
  constexpr std::size_t tail = 18;  // length and GUID
  std::vector<std::byte> image(4096);
  std::size_t total = tail;
  for (const Entry& entry : entries) {
    put(image, entry.first, std::min<std::size_t>(entry.data_bytes, 4));
    if (entry.data_bytes > 4) put(image, entry.second, entry.data_bytes - 4);
    put(image, entry.data_bytes + tail, 2);
    put(image, entry.guid);
    total += entry.data_bytes + tail;
  }
  put(image, total, 2);
  put(image, footer);
  image.resize(image.size() + 32);  // the reset vector
  return image;
}

}  // namespace cbit::firmware_image
