#include "dev/crc32c.hpp"

#include <array>

namespace cbit::dev {
namespace {

constexpr std::uint32_t polynomial = 0x82f63b78;

constexpr auto table = [] {
  std::array<std::uint32_t, 256> entries{};
  for (std::uint32_t byte = 0; byte < entries.size(); ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ ((crc & 1) != 0 ? polynomial : 0);
    entries[byte] = crc;
  }
  return entries;
}();

}  // namespace

std::uint32_t crc32c(ConstByteSpan bytes) {
  std::uint32_t crc = ~std::uint32_t{0};
  for (const std::byte b : bytes) crc = crc >> 8 ^ table[(crc ^ std::to_integer<std::uint32_t>(b)) & 0xff];
  return ~crc;
}

}  // namespace cbit::dev
