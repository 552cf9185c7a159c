// Firmware images that end as OVMF's do: entries of the table of GUIDs, its footer, a reset vector.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace cbit::firmware_image {

// As text, the way the sources of EDK2 write them; in memory the first three fields are little-endian (UEFI
// 2.10, appendix A).
using Guid = std::string_view;

// EDK2: OvmfPkg/ResetVector/Ia16/ResetVectorVtf0.asm. Debian's OVMF.fd (2022.11) has all five.
inline constexpr Guid footer{"96b582de-1fb2-45f7-baea-a366c55a082d"};
inline constexpr Guid sev_es_reset_block{"00f771de-1a7e-4fcb-890e-68c77e2fb44e"};
inline constexpr Guid sev_hash_table{"7255371f-3a3b-4b04-927b-1da6efa8d454"};
inline constexpr Guid sev_metadata{"dc886566-984a-4798-a75e-5585a7bf67cc"};
inline constexpr Guid tdx_metadata{"e47a6535-984a-4798-865e-4685a7bf8ec2"};

struct Entry {
  Guid guid;
  std::size_t data_bytes = 4;  // of the words below
  std::uint32_t first = 0, second = 0;
};

inline void put(std::vector<std::byte>& image, std::uint64_t value, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i) image.push_back(static_cast<std::byte>(value >> 8 * i));
}
inline void put(std::vector<std::byte>& image, Guid guid) {
  const auto field = [&](std::size_t at, std::size_t digits) {
    return std::stoull(std::string{guid.substr(at, digits)}, nullptr, 16);
  };
  put(image, field(0, 8), 4);
  put(image, field(9, 4), 2);
  put(image, field(14, 4), 2);
  for (const std::size_t at : {19, 21, 24, 26, 28, 30, 32, 34}) put(image, field(at, 2), 1);
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
