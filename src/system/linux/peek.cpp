#include "linux/peek.hpp"

#include <array>

namespace cbit::linux {

std::optional<std::uint64_t> Peek::value(VirtAddr object, Field field) const {
  const auto& where = (*fields_)[field];
  if (!where || where->bits == 0 || where->bits > 64) return std::nullopt;
  const std::uint64_t shift = where->bit_offset % 8;
  std::array<std::byte, 9> raw{};
  const std::size_t bytes = (shift + where->bits + 7) / 8;
  if (!memory_->read(object + where->offset(), ByteSpan{raw}.first(bytes))) return std::nullopt;
  std::uint64_t found = load<std::uint64_t>(raw) >> shift;
  if (shift != 0) found |= std::to_integer<std::uint64_t>(raw[8]) << (64 - shift);
  return found & bit_mask(static_cast<unsigned>(where->bits));
}

std::optional<VirtAddr> Peek::pointer(VirtAddr object, Field field) const {
  const auto found = value(object, field);
  if (!found || *found == 0) return std::nullopt;
  return VirtAddr{*found};
}

std::optional<VirtAddr> Peek::place(VirtAddr object, Field field) const {
  const auto& where = (*fields_)[field];
  if (!where) return std::nullopt;
  return object + where->offset();
}

}  // namespace cbit::linux
