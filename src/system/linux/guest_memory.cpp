#include "linux/guest_memory.hpp"

#include <algorithm>

namespace cbit::linux {

std::optional<std::string> GuestMemory::text(VirtAddr at, std::size_t bytes_max) const {
  std::string found;
  while (found.size() < bytes_max) {
    // Not beyond the page: the next may not be mapped, and need not be.
    const std::uint64_t rest_of_page = page_size - at.page_offset();
    Bytes piece(std::min<std::uint64_t>({rest_of_page, bytes_max - found.size(), 64}));
    if (!read(at, piece)) return std::nullopt;
    for (const std::byte byte : piece) {
      const auto c = std::to_integer<unsigned char>(byte);
      if (c == 0) return found;
      found += c >= 0x20 && c <= 0x7e ? static_cast<char>(c) : '?';
    }
    at += piece.size();
  }
  return found;
}

}  // namespace cbit::linux
