#include "lab/experiment/toml.hpp"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <utility>

#include "base/safe_text.hpp"
#include "base/toml_bounds.hpp"

namespace cbit::lab {
namespace {

Place place_of(const toml::source_region& source) { return {source.begin.line, source.begin.column}; }

TomlValue convert(const toml::node& node) {
  TomlValue value{.kind = TomlValue::Kind::other, .place = place_of(node.source())};
  if (const auto* text = node.as_string()) {
    value.kind = TomlValue::Kind::text;
    value.text = text->get();
  } else if (const auto* integer = node.as_integer()) {
    value.kind = TomlValue::Kind::integer;
    value.integer = integer->get();
  } else if (const auto* flag = node.as_boolean()) {
    value.kind = TomlValue::Kind::flag;
    value.flag = flag->get();
  } else if (const auto* list = node.as_array()) {
    value.kind = TomlValue::Kind::list;
    for (const toml::node& item : *list) value.items.push_back(convert(item));
  } else if (const auto* table = node.as_table()) {
    value.kind = TomlValue::Kind::table;
    for (const auto& [key, item] : *table)
      value.entries.push_back({safe_line(key.str()), place_of(key.source()), convert(item)});
  }
  return value;
}

}  // namespace

const TomlValue* TomlValue::find(std::string_view key) const {
  const auto found = std::ranges::find(entries, key, &Entry::key);
  return found == entries.end() ? nullptr : &found->value;
}

std::string_view to_string(TomlValue::Kind kind) {
  switch (kind) {
    case TomlValue::Kind::text: return "a string";
    case TomlValue::Kind::integer: return "an integer";
    case TomlValue::Kind::flag: return "true or false";
    case TomlValue::Kind::list: return "a list";
    case TomlValue::Kind::table: return "a table";
    case TomlValue::Kind::other: return "a float, date or time";
  }
  return "?";
}

tl::unexpected<Error> error_at(std::string_view file, Place place, std::string_view message,
                               std::string hint) {
  return bad_input(fmt::format("{}:{}:{}: {}", safe_line(file), place.line, place.column, safe_line(message)),
                   std::move(hint));
}

OrError<TomlValue> parse_toml(std::string_view text, std::string_view file) {
  // The library calls itself for every part of a key and every value within a value, and so does convert().
  if (const auto deep = find_too_deep(text))
    return error_at(file, {deep->line, deep->column}, deep->what,
                    fmt::format("use at most {} parts, and {} values within one another", toml_key_parts_max,
                                toml_depth_max));
  try {
    return convert(toml::parse(text));
  } catch (const toml::parse_error& error) {
    return error_at(file, place_of(error.source()), error.description(),
                    "the file is not valid TOML; see https://toml.io");
  }
}

}  // namespace cbit::lab
