// The words of one command line, and their conversion into values with errors that name the option.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "base/words.hpp"

namespace cbit::cli {

class Arguments {
 public:
  // What the parser found: option name to value (empty for a flag), and the positional words.
  std::map<std::string, std::string, std::less<>> options;
  std::map<std::string, std::vector<std::string>, std::less<>> repeated;  // in the order given
  std::vector<std::string> positional;
  std::vector<std::string> behind;  // "--"

  [[nodiscard]] bool has(std::string_view name) const { return options.contains(name); }
  [[nodiscard]] std::optional<std::string_view> text(std::string_view name) const;
  // The values of an option that may be given more than once.
  [[nodiscard]] std::span<const std::string> all(std::string_view name) const;
  // Once or more than once.
  [[nodiscard]] bool has_any(std::string_view name) const { return has(name) || !all(name).empty(); }

  // Decimal, 0x hexadecimal; nullopt when the option was not given. The bounds are inclusive.
  [[nodiscard]] OrError<std::optional<std::uint64_t>> number(std::string_view name, std::uint64_t min,
                                                             std::uint64_t max) const;
  // A number with an optional suffix K, M, G or T (powers of 1024).
  [[nodiscard]] OrError<std::optional<std::uint64_t>> size(std::string_view name, std::uint64_t max) const;

  // One of a table's words. The parser has checked it against the option's choices.
  template <class T, std::size_t n>
  [[nodiscard]] std::optional<T> choice(std::string_view name, const Word<T> (&words)[n]) const {
    const auto word = text(name);
    return word ? find_word(words, *word) : std::nullopt;
  }
};

}  // namespace cbit::cli
