// The words of one command line, and their conversion into values with errors that name the option.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace cbit {

class Arguments {
 public:
  // What the parser found: option name to value (empty for a flag), and the positional words.
  std::map<std::string, std::string, std::less<>> options;
  std::vector<std::string> positional;

  [[nodiscard]] bool has(std::string_view name) const { return options.contains(name); }
  [[nodiscard]] std::optional<std::string_view> text(std::string_view name) const;

  // Decimal, 0x hexadecimal; nullopt when the option was not given. The bounds are inclusive.
  [[nodiscard]] OrError<std::optional<std::uint64_t>> number(std::string_view name, std::uint64_t min,
                                                             std::uint64_t max) const;
  // A number with an optional suffix K, M, G or T (powers of 1024).
  [[nodiscard]] OrError<std::optional<std::uint64_t>> size(std::string_view name, std::uint64_t max) const;

  // Converts with `from`, which returns nullopt for a word that it does not know.
  template <class T>
  [[nodiscard]] OrError<std::optional<T>> choice(std::string_view name,
                                                 std::optional<T> (*from)(std::string_view)) const {
    const auto word = text(name);
    if (!word) return std::optional<T>{};
    const std::optional<T> value = from(*word);
    if (!value) return unknown_choice(name, *word);
    return std::optional<T>{*value};
  }

 private:
  [[nodiscard]] static tl::unexpected<Error> unknown_choice(std::string_view name, std::string_view word);
};

// "4096", "0x1000", "4K", "8G".
[[nodiscard]] std::optional<std::uint64_t> parse_number(std::string_view text);
[[nodiscard]] std::optional<std::uint64_t> parse_size(std::string_view text);

}  // namespace cbit
