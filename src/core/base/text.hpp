// Small tools for text that comes in lines and words, such as the files of /proc and /sys, and logs. They
// take any bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cbit {

// Without spaces, tabs, newlines and NULs at either end.
[[nodiscard]] std::string_view trimmed(std::string_view text);
[[nodiscard]] std::vector<std::string_view> lines_of(std::string_view text);
[[nodiscard]] std::vector<std::string_view> words_of(std::string_view line);

// All of the word, or nullopt; hexadecimal with or without 0x.
[[nodiscard]] std::optional<std::uint64_t> decimal(std::string_view word);
[[nodiscard]] std::optional<std::uint64_t> hexadecimal(std::string_view word);

// Which of some names a mistyped word may mean: the one that it begins, or else one that is a letter or two
// away; nullopt: none.
[[nodiscard]] std::optional<std::string_view> nearest_word(std::string_view word,
                                                           const std::vector<std::string_view>& names);
// The remedy for a word that is none of the names: `did you mean "NEAREST"?`, and what else there is to say.
[[nodiscard]] std::string did_you_mean(std::string_view word, const std::vector<std::string_view>& names,
                                       std::string_view otherwise);
// The same where the names are few: what else there is to say is "use one of" them.
[[nodiscard]] std::string did_you_mean(std::string_view word, const std::vector<std::string_view>& names);

// One word of a POSIX shell, whatever is in it: between single quotes.
[[nodiscard]] std::string shell_quoted(std::string_view word);

// For a terminal: safe_line() of what is left of it between blanks, cut with "..." after `columns_max` bytes.
[[nodiscard]] std::string printable(std::string_view bytes, std::size_t columns_max = 120);

}  // namespace cbit
