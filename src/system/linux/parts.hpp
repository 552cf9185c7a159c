// Pieces of bytes that nobody vouches for: a file that a user gave, memory of a guest. What does not lie in
// them is nullopt, never a read beyond them.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <type_traits>

#include "base/bytes.hpp"

namespace cbit::linux {

[[nodiscard]] inline std::optional<ConstByteSpan> part(ConstByteSpan of, std::uint64_t offset,
                                                       std::uint64_t bytes) {
  if (offset > of.size() || bytes > of.size() - offset) return std::nullopt;
  return of.subspan(offset, bytes);
}

template <class T>
  requires std::is_trivially_copyable_v<T>
[[nodiscard]] std::optional<T> load_part(ConstByteSpan of, std::uint64_t offset) {
  const auto bytes = part(of, offset, sizeof(T));
  if (!bytes) return std::nullopt;
  return load<T>(*bytes);
}

[[nodiscard]] inline std::string_view as_text(ConstByteSpan bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// The text that begins at `offset` and ends before a NUL; nullopt: there is no NUL.
[[nodiscard]] inline std::optional<std::string_view> text_at(ConstByteSpan of, std::uint64_t offset) {
  if (offset >= of.size()) return std::nullopt;
  const std::string_view rest = as_text(of.subspan(offset));
  const std::size_t end = rest.find('\0');
  if (end == std::string_view::npos) return std::nullopt;
  return rest.substr(0, end);
}

}  // namespace cbit::linux
