#include "cli/arguments.hpp"

#include <fmt/format.h>

#include <charconv>
#include <limits>

namespace cbit {

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

std::optional<std::string_view> Arguments::text(std::string_view name) const {
  const auto found = options.find(name);
  if (found == options.end()) return std::nullopt;
  return found->second;
}

OrError<std::optional<std::uint64_t>> Arguments::number(std::string_view name, std::uint64_t min,
                                                        std::uint64_t max) const {
  const auto word = text(name);
  if (!word) return std::optional<std::uint64_t>{};
  const auto value = parse_number(*word);
  if (!value) return usage_error(fmt::format("{} {} is not a number", name, *word), "use digits, or 0x and hex digits");
  if (*value < min || *value > max)
    return usage_error(fmt::format("{} {} is out of range", name, *word), fmt::format("use {} to {}", min, max));
  return value;
}

OrError<std::optional<std::uint64_t>> Arguments::size(std::string_view name, std::uint64_t max) const {
  const auto word = text(name);
  if (!word) return std::optional<std::uint64_t>{};
  const auto value = parse_size(*word);
  if (!value)
    return usage_error(fmt::format("{} {} is not a size", name, *word), "use bytes, or a number with K, M, G or T");
  if (*value > max)
    return usage_error(fmt::format("{} {} is over the limit", name, *word), fmt::format("use at most {} bytes", max));
  return value;
}

tl::unexpected<Error> Arguments::unknown_choice(std::string_view name, std::string_view word) {
  return usage_error(fmt::format("{} {} is not known", name, word), "see --help for the values");
}

}  // namespace cbit
