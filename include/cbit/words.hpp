// Tables of words and what they stand for. An enum's words stand beside it, once, in the order in which help
// lists them.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string_view>

namespace cbit {

template <class T>
struct Word {
  std::string_view word;
  T value;
};

template <class T, std::size_t n>
[[nodiscard]] constexpr std::optional<T> find_word(const Word<T> (&words)[n], std::string_view name) {
  for (const Word<T>& entry : words)
    if (entry.word == name) return entry.value;
  return std::nullopt;
}

template <class T, std::size_t n>
[[nodiscard]] constexpr std::string_view word_of(const Word<T> (&words)[n], T value) {
  for (const Word<T>& entry : words)
    if (entry.value == value) return entry.word;
  return "?";
}

template <class T, std::size_t n>
[[nodiscard]] constexpr std::array<T, n> values_of(const Word<T> (&words)[n]) {
  std::array<T, n> values{};
  for (std::size_t i = 0; i < n; ++i) values[i] = words[i].value;
  return values;
}

}  // namespace cbit
