// A TOML document with the place of every key and value, so that an error can name line and column.
//
// toml++ parses; this is all that the rest of the lab sees of it. Dates, times and floating-point numbers,
// which no key of a lab file takes, are kept as `other`.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace cbit::lab {

// Counted from 1.
struct Place {
  unsigned line = 1;
  unsigned column = 1;
};

struct TomlValue {
  enum class Kind : std::uint8_t { text, integer, flag, list, table, other };
  struct Entry;

  Kind kind = Kind::table;
  Place place;
  std::string text;
  std::int64_t integer = 0;
  bool flag = false;
  std::vector<TomlValue> items;  // of a list
  std::vector<Entry> entries;    // of a table, by key

  // nullptr: not a table, or no such key.
  [[nodiscard]] const TomlValue* find(std::string_view key) const;
};

struct TomlValue::Entry {
  std::string key;
  Place place;
  TomlValue value;
};

// "a string", "a list", ...
[[nodiscard]] std::string_view to_string(TomlValue::Kind kind);

// Error::message is "FILE:LINE:COLUMN: message".
[[nodiscard]] tl::unexpected<Error> error_at(std::string_view file, Place place, std::string_view message,
                                             std::string hint);

[[nodiscard]] OrError<TomlValue> parse_toml(std::string_view text, std::string_view file);

}  // namespace cbit::lab
