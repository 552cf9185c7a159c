// Typed access to one table of a lab file. Every Error names FILE:LINE:COLUMN, the key and the remedy.
//
// The keys that the table may have are given once, to create(); reading another one is our bug.
#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/words.hpp"
#include "lab/experiment/toml.hpp"

namespace cbit::lab {

class TableReader {
 public:
  // `what` stands in messages: "[machine]", "step \"map\"". Errors: a key that is not among `keys` and
  // `common`.
  // `table` is of kind table and outlives the reader, as do the rest.
  static OrError<TableReader> create(const TomlValue& table, std::string_view file, std::string what,
                                     std::span<const std::string_view> keys,
                                     std::span<const std::string_view> common = {});

  [[nodiscard]] const TomlValue* value(std::string_view key) const;
  [[nodiscard]] bool has(std::string_view key) const { return value(key) != nullptr; }
  [[nodiscard]] std::string_view file() const { return file_; }
  [[nodiscard]] Place place() const { return table_->place; }
  [[nodiscard]] const std::string& what() const { return what_; }

  // nullopt: the key is absent. Names, titles and words end up in messages, traces and reports: they are
  // safe_line() from here on. raw_text() is for bytes.
  [[nodiscard]] OrError<std::optional<std::string>> text(std::string_view key) const;
  [[nodiscard]] OrError<std::optional<std::string>> raw_text(std::string_view key) const;
  [[nodiscard]] OrError<std::optional<bool>> flag(std::string_view key) const;
  // An integer, or a string as parse_size() reads it. The bounds are inclusive.
  [[nodiscard]] OrError<std::optional<std::uint64_t>> number(std::string_view key, std::uint64_t min,
                                                             std::uint64_t max) const;
  // One string or a list of strings.
  [[nodiscard]] OrError<std::optional<std::vector<std::string>>> texts(std::string_view key) const;
  // A list of tables; empty when absent.
  [[nodiscard]] OrError<std::vector<const TomlValue*>> tables(std::string_view key) const;

  template <class T, std::size_t n>
  [[nodiscard]] OrError<std::optional<T>> word(std::string_view key, const Word<T> (&words)[n]) const {
    const auto name = CBIT_TRY(text(key));
    if (!name) return std::optional<T>{};
    return std::optional{CBIT_TRY(find(key, *name, words))};
  }

  // Of flags, all that one string or a list of strings names; nullopt when absent.
  template <class T, std::size_t n>
  [[nodiscard]] OrError<std::optional<T>> flags(std::string_view key, const Word<T> (&words)[n]) const {
    const auto names = CBIT_TRY(texts(key));
    if (!names) return std::optional<T>{};
    T all{};
    for (const std::string& name : *names) all = all | CBIT_TRY(find(key, name, words));
    return std::optional{all};
  }

  // The value of a key that must be there.
  template <class T>
  [[nodiscard]] OrError<T> need(std::string_view key, OrError<std::optional<T>> value) const {
    std::optional<T> got = CBIT_TRY(std::move(value));
    if (!got) return missing(key);
    return *std::move(got);
  }

  // At the key's value; at the table when the key is absent.
  [[nodiscard]] tl::unexpected<Error> error(std::string_view key, std::string_view message,
                                            std::string hint) const;
  // `hint` empty: a line of the key.
  [[nodiscard]] tl::unexpected<Error> missing(std::string_view key, std::string hint = {}) const;

 private:
  TableReader(const TomlValue& table, std::string_view file, std::string what,
              std::span<const std::string_view> keys, std::span<const std::string_view> common)
      : table_{&table}, file_{file}, what_{std::move(what)}, keys_{keys}, common_{common} {}

  template <class T, std::size_t n>
  [[nodiscard]] OrError<T> find(std::string_view key, std::string_view name,
                                const Word<T> (&words)[n]) const {
    if (const auto found = find_word(words, name)) return *found;
    std::vector<std::string_view> known;
    for (const Word<T>& entry : words) known.push_back(entry.word);
    return unknown_word(key, name, known);
  }
  [[nodiscard]] bool allows(std::string_view key) const;
  [[nodiscard]] tl::unexpected<Error> wrong_kind(std::string_view key, TomlValue::Kind kind,
                                                 std::string_view wanted) const;
  [[nodiscard]] tl::unexpected<Error> unknown_word(std::string_view key, std::string_view word,
                                                   const std::vector<std::string_view>& known) const;

  const TomlValue* table_;
  std::string_view file_;
  std::string what_;
  std::span<const std::string_view> keys_;
  std::span<const std::string_view> common_;
};

}  // namespace cbit::lab
