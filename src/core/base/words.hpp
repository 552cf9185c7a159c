// Tables of words and what they stand for, and numbers as people write them: for options, files and listings.
#pragma once

#include <cstddef>
#include <cstdint>
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

// "4096", "0x1000"; "4K", "8G": powers of 1024. nullopt: not a number, or beyond 64 bits.
[[nodiscard]] std::optional<std::uint64_t> parse_number(std::string_view text);
[[nodiscard]] std::optional<std::uint64_t> parse_size(std::string_view text);

}  // namespace cbit
