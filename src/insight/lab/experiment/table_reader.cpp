#include "lab/experiment/table_reader.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/assert.hpp"
#include "base/safe_text.hpp"
#include "base/text.hpp"

namespace cbit::lab {

OrError<TableReader> TableReader::create(const TomlValue& table, std::string_view file, std::string what,
                                         std::span<const std::string_view> keys,
                                         std::span<const std::string_view> common) {
  CBIT_ASSERT(table.kind == TomlValue::Kind::table);
  TableReader reader{table, file, std::move(what), keys, common};
  for (const TomlValue::Entry& entry : table.entries) {
    if (reader.allows(entry.key)) continue;
    std::vector<std::string_view> known{keys.begin(), keys.end()};
    known.insert(known.end(), common.begin(), common.end());
    return error_at(file, entry.place, fmt::format("{} has no key \"{}\"", reader.what_, entry.key),
                    did_you_mean(entry.key, known, fmt::format("its keys are {}", fmt::join(known, ", "))));
  }
  return reader;
}

bool TableReader::allows(std::string_view key) const {
  return std::ranges::find(keys_, key) != keys_.end() || std::ranges::find(common_, key) != common_.end();
}

const TomlValue* TableReader::value(std::string_view key) const {
  CBIT_ASSERT(allows(key));
  return table_->find(key);
}

OrError<std::optional<std::string>> TableReader::raw_text(std::string_view key) const {
  const TomlValue* const found = value(key);
  if (found == nullptr) return std::optional<std::string>{};
  if (found->kind != TomlValue::Kind::text) return wrong_kind(key, found->kind, "a string");
  return found->text;
}

OrError<std::optional<std::string>> TableReader::text(std::string_view key) const {
  auto raw = CBIT_TRY(raw_text(key));
  return raw ? std::optional{safe_line(*raw)} : std::nullopt;
}

OrError<std::optional<bool>> TableReader::flag(std::string_view key) const {
  const TomlValue* const found = value(key);
  if (found == nullptr) return std::optional<bool>{};
  if (found->kind != TomlValue::Kind::flag) return wrong_kind(key, found->kind, "true or false");
  return found->flag;
}

OrError<std::optional<std::uint64_t>> TableReader::number(std::string_view key, std::uint64_t min,
                                                          std::uint64_t max) const {
  const TomlValue* const found = value(key);
  if (found == nullptr) return std::optional<std::uint64_t>{};
  std::optional<std::uint64_t> number;
  if (found->kind == TomlValue::Kind::text)
    number = parse_size(found->text);
  else if (found->kind == TomlValue::Kind::integer && found->integer >= 0)
    number = static_cast<std::uint64_t>(found->integer);
  else if (found->kind != TomlValue::Kind::integer)
    return wrong_kind(key, found->kind, "a number");
  if (!number)
    return error(key, fmt::format("\"{}\" is not a number of bytes or things", key),
                 "use digits, 0x and hex digits, or a string such as \"4K\", \"64M\", \"0xffffffff\"");
  if (*number < min || *number > max)
    return error(key, fmt::format("\"{}\" is {}, out of range", key, *number),
                 fmt::format("use {} to {}", min, max));
  return number;
}

OrError<std::optional<std::vector<std::string>>> TableReader::texts(std::string_view key) const {
  const TomlValue* const found = value(key);
  if (found == nullptr) return std::optional<std::vector<std::string>>{};
  if (found->kind == TomlValue::Kind::text) return std::vector{safe_line(found->text)};
  if (found->kind != TomlValue::Kind::list)
    return wrong_kind(key, found->kind, "a string or a list of strings");
  std::vector<std::string> texts;
  for (const TomlValue& item : found->items) {
    if (item.kind != TomlValue::Kind::text) return wrong_kind(key, item.kind, "a list of strings only");
    texts.push_back(safe_line(item.text));
  }
  return texts;
}

OrError<std::vector<const TomlValue*>> TableReader::tables(std::string_view key) const {
  std::vector<const TomlValue*> tables;
  const TomlValue* const found = value(key);
  if (found == nullptr) return tables;
  if (found->kind != TomlValue::Kind::list) return wrong_kind(key, found->kind, "a list of tables");
  for (const TomlValue& item : found->items) {
    if (item.kind != TomlValue::Kind::table) return wrong_kind(key, item.kind, "a list of tables only");
    tables.push_back(&item);
  }
  return tables;
}

tl::unexpected<Error> TableReader::error(std::string_view key, std::string_view message,
                                         std::string hint) const {
  const TomlValue* const found = table_->find(key);
  return error_at(file_, found != nullptr ? found->place : table_->place,
                  fmt::format("{}: {}", what_, message), std::move(hint));
}

tl::unexpected<Error> TableReader::missing(std::string_view key, std::string hint) const {
  if (hint.empty()) hint = fmt::format("add a line: {} = ...", key);
  return error_at(file_, table_->place, fmt::format("{} lacks the key \"{}\"", what_, key), std::move(hint));
}

tl::unexpected<Error> TableReader::wrong_kind(std::string_view key, TomlValue::Kind kind,
                                              std::string_view wanted) const {
  return error(key, fmt::format("\"{}\" is {}", key, to_string(kind)), fmt::format("it must be {}", wanted));
}

tl::unexpected<Error> TableReader::unknown_word(std::string_view key, std::string_view word,
                                                const std::vector<std::string_view>& known) const {
  return error(key, fmt::format("\"{}\" does not know \"{}\"", key, word), did_you_mean(word, known));
}

}  // namespace cbit::lab
