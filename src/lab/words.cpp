#include "lab/words.hpp"

#include <charconv>
#include <limits>

namespace cbit {

std::string_view errno_name(Errno code) {
  switch (code) {
    case Errno::eperm: return "-EPERM";
    case Errno::enoent: return "-ENOENT";
    case Errno::eio: return "-EIO";
    case Errno::enxio: return "-ENXIO";
    case Errno::enomem: return "-ENOMEM";
    case Errno::eacces: return "-EACCES";
    case Errno::efault: return "-EFAULT";
    case Errno::ebusy: return "-EBUSY";
    case Errno::enodev: return "-ENODEV";
    case Errno::einval: return "-EINVAL";
    case Errno::enospc: return "-ENOSPC";
    case Errno::erange: return "-ERANGE";
    case Errno::enosys: return "-ENOSYS";
    case Errno::eopnotsupp: return "-EOPNOTSUPP";
    case Errno::etimedout: return "-ETIMEDOUT";
    case Errno::eremoteio: return "-EREMOTEIO";
  }
  return "?";
}

std::optional<std::uint64_t> parse_number(std::string_view text) {
  int base = 10;
  if (text.starts_with("0x") || text.starts_with("0X")) base = 16, text.remove_prefix(2);
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<std::uint64_t> parse_size(std::string_view text) {
  static constexpr std::string_view suffixes = "KMGT";
  unsigned shift = 0;
  if (!text.empty()) {
    const char last = static_cast<char>(text.back() >= 'a' ? text.back() - 'a' + 'A' : text.back());
    if (const auto at = suffixes.find(last); at != std::string_view::npos && !text.starts_with("0x")) {
      shift = 10 * static_cast<unsigned>(at + 1);
      text.remove_suffix(1);
    }
  }
  const auto value = parse_number(text);
  if (!value || *value > std::numeric_limits<std::uint64_t>::max() >> shift) return std::nullopt;
  return *value << shift;
}

}  // namespace cbit
