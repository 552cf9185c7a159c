#include "cli/arguments.hpp"

#include <fmt/format.h>

namespace cbit::cli {

std::optional<std::string_view> Arguments::text(std::string_view name) const {
  const auto found = options.find(name);
  if (found == options.end()) return std::nullopt;
  return found->second;
}

std::span<const std::string> Arguments::all(std::string_view name) const {
  const auto found = repeated.find(name);
  if (found == repeated.end()) return {};
  return found->second;
}

OrError<std::optional<std::uint64_t>> Arguments::number(std::string_view name, std::uint64_t min,
                                                        std::uint64_t max) const {
  const auto word = text(name);
  if (!word) return std::optional<std::uint64_t>{};
  const auto value = parse_number(*word);
  if (!value)
    return usage_error(fmt::format("{} {} is not a number", name, *word), "use digits, or 0x and hex digits");
  if (*value < min || *value > max)
    return usage_error(fmt::format("{} {} is out of range", name, *word),
                       fmt::format("use {} to {}", min, max));
  return value;
}

OrError<std::optional<std::uint64_t>> Arguments::size(std::string_view name, std::uint64_t max) const {
  const auto word = text(name);
  if (!word) return std::optional<std::uint64_t>{};
  const auto value = parse_size(*word);
  if (!value)
    return usage_error(fmt::format("{} {} is not a size", name, *word),
                       "use bytes, or a number with K, M, G or T");
  if (*value > max)
    return usage_error(fmt::format("{} {} is over the limit", name, *word),
                       fmt::format("use at most {} bytes", max));
  return value;
}

}  // namespace cbit::cli
