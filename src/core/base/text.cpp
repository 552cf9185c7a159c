#include "base/text.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

#include "base/safe_text.hpp"

namespace cbit {
namespace {

constexpr std::string_view blanks{" \t\r\n\v\f\0", 7};

std::optional<std::uint64_t> number(std::string_view word, int base) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value, base);
  if (error != std::errc{} || end != word.data() + word.size()) return std::nullopt;
  return value;
}

// How many letters have to be put in, taken out or replaced (Levenshtein).
std::size_t distance(std::string_view left, std::string_view right) {
  std::vector<std::size_t> row(right.size() + 1);
  for (std::size_t i = 0; i < row.size(); ++i) row[i] = i;
  for (std::size_t i = 0; i < left.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < right.size(); ++j) {
      const std::size_t replaced = diagonal + (left[i] == right[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

}  // namespace

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(blanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> words;
  for (std::size_t at = 0; (at = line.find_first_not_of(blanks, at)) != std::string_view::npos;) {
    const std::size_t end = std::min(line.find_first_of(blanks, at), line.size());
    words.push_back(line.substr(at, end - at));
    at = end;
  }
  return words;
}

std::optional<std::uint64_t> decimal(std::string_view word) { return number(word, 10); }

std::optional<std::uint64_t> hexadecimal(std::string_view word) {
  if (word.starts_with("0x") || word.starts_with("0X")) word.remove_prefix(2);
  return number(word, 16);
}

std::optional<std::string_view> nearest_word(std::string_view word,
                                             const std::vector<std::string_view>& names) {
  constexpr std::size_t word_bytes_max = 64;
  if (word.empty() || word.size() > word_bytes_max) return std::nullopt;
  for (const std::string_view name : names)
    if (name.starts_with(word)) return name;
  std::optional<std::string_view> nearest;
  // Of a short word two other letters leave little.
  const std::size_t most = word.size() < 4 ? 1 : 2;
  std::size_t least = most + 1;
  for (const std::string_view name : names) {
    const std::size_t steps = distance(word, name);
    // A letter in place of another is nearer than one too many: 6.10 is meant by 6.12, not 6.1.
    const bool nearer = steps < least || (steps == least && nearest && nearest->size() != word.size() &&
                                          name.size() == word.size());
    if (steps > most || !nearer || steps >= name.size()) continue;
    least = steps;
    nearest = name;
  }
  return nearest;
}

std::string did_you_mean(std::string_view word, const std::vector<std::string_view>& names,
                         std::string_view otherwise) {
  const auto meant = nearest_word(word, names);
  if (!meant || *meant == word) return std::string{otherwise};
  return fmt::format("did you mean \"{}\"? {}", *meant, otherwise);
}

std::string did_you_mean(std::string_view word, const std::vector<std::string_view>& names) {
  return did_you_mean(word, names, fmt::format("use one of {}", fmt::join(names, ", ")));
}

std::string shell_quoted(std::string_view word) {
  std::string text{'\''};
  for (const char c : word) {
    if (c == '\'')
      text += "'\\''";
    else
      text += c;
  }
  return text += '\'';
}

std::string printable(std::string_view bytes, std::size_t columns_max) {
  std::string text = safe_line(trimmed(bytes));
  if (text.size() > columns_max) {
    text.resize(whole_characters(std::string_view{text}.substr(0, columns_max)));
    text += "...";
  }
  return text;
}

}  // namespace cbit
