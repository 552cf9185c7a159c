// What a TOML parser that calls itself must not be given: keys of many parts and values within values within
// values. Found by looking at the text once, as TOML 1.0 has strings and comments, before the parser sees it.
#pragma once

#include <optional>
#include <string_view>

namespace cbit {

inline constexpr unsigned toml_depth_max = 32;      // of brackets
inline constexpr unsigned toml_key_parts_max = 32;  // of a key or a table's name

struct TooDeep {
  unsigned line = 1, column = 1;
  std::string_view what;
};
// The first place beyond a bound; nullopt: none. Says nothing about whether the text is TOML.
[[nodiscard]] std::optional<TooDeep> find_too_deep(std::string_view text);

}  // namespace cbit
