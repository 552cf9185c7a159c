#include <algorithm>
#include <cctype>
#include <optional>

#include "base/format.hpp"
#include "base/safe_text.hpp"
#include "base/text.hpp"
#include "launch/qemu_command.hpp"

namespace cbit::launch {
namespace {

constexpr std::size_t bytes_max = 8u << 20;  // more than ARG_MAX lets a command line have

// Token recognition of the POSIX shell (XCU 2.3), for one simple command without expansions.
class ShellReader {
 public:
  explicit ShellReader(std::string_view text) : text_{text} {}

  OrError<std::vector<std::string>> words() {
    if (text_.size() > bytes_max)
      return bad_input("the command line is longer than 8 MiB", "give the command of one guest");
    if (const auto nul = text_.find('\0'); nul != std::string_view::npos)
      return refuse(nul, "a zero byte", "give text");
    while (at_ < text_.size()) CBIT_TRY(step());
    end_word();
    return std::move(words_);
  }

 private:
  OrError<void> step() {
    const char c = text_[at_];
    switch (c) {
      case ' ':
      case '\t': end_word(); return skip(1);
      case '\n': end_word(); return end_of_command();
      case '\\': return backslash();
      case '\'': return shell_quoted();
      case '"': return double_quoted();
      case '#':
        if (!word_) return comment();
        break;
      case '$':
        if (text_.substr(at_).starts_with("$'")) return dollar_quoted();
        return expansion(c);
      default: CBIT_TRY(check_unquoted(c));
    }
    add(c);
    return skip(1);
  }

  OrError<void> skip(std::size_t count) {
    at_ = std::min(at_ + count, text_.size());
    return {};
  }

  // Only blank lines and comments may follow a line's end.
  OrError<void> end_of_command() {
    for (bool in_comment = false; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (c == '\n') in_comment = false;
      if (c == '#') in_comment = true;
      if (in_comment || c == ' ' || c == '\t' || c == '\n') continue;
      if (words_.empty()) return {};
      return refuse(at_, "a second command", "end a line that goes on with a backslash");
    }
    return {};
  }

  OrError<void> comment() {
    const auto end = text_.find('\n', at_);
    at_ = end == std::string_view::npos ? text_.size() : end;
    return {};
  }

  OrError<void> backslash() {
    // At the end it continues the line with nothing.
    if (at_ + 1 < text_.size() && text_[at_ + 1] != '\n') add(text_[at_ + 1]);
    return skip(2);
  }

  OrError<void> shell_quoted() {
    const auto end = text_.find('\'', at_ + 1);
    if (end == std::string_view::npos) return refuse(at_, "a quote that is never closed", "add a '");
    add(text_.substr(at_ + 1, end - at_ - 1));
    return skip(end + 1 - at_);
  }

  // XCU 2.2.4 of 2024: $'...' with escapes.
  OrError<void> dollar_quoted() {
    const std::size_t opened = at_;
    add("");
    for (at_ += 2; at_ < text_.size();) {
      if (text_[at_] == '\'') return skip(1);
      if (text_[at_] == '\\')
        CBIT_TRY(escape_sequence());
      else
        add(text_[at_++]);
    }
    return refuse(opened, "a quote that is never closed", "add a '");
  }

  OrError<void> escape_sequence() {
    constexpr std::string_view letters = "abefnrtv\\'\"?", meanings = "\a\b\x1b\f\n\r\t\v\\'\"?";
    const std::size_t begin = at_++;
    const char kind = at_ < text_.size() ? text_[at_++] : '\0';
    if (const auto known = letters.find(kind); known != std::string_view::npos) {
      add(meanings[known]);
      return {};
    }
    unsigned value = 0;
    std::size_t digits = 0;
    if (kind == 'x')
      for (; digits < 2 && at_ < text_.size() && std::isxdigit(static_cast<unsigned char>(text_[at_])) != 0;
           ++digits)
        value = value * 16 + hex_digit(text_[at_++]);
    if (digits == 0 || value == 0)
      return refuse(begin, "an escape that cbit does not know in $'...'",
                    "write it as \\x and two hex digits");
    add(static_cast<char>(value));
    return {};
  }

  static unsigned hex_digit(char c) {
    if (c <= '9') return static_cast<unsigned>(c - '0');
    return static_cast<unsigned>((c | 0x20) - 'a') + 10;
  }

  OrError<void> double_quoted() {
    const std::size_t opened = at_;
    add("");
    for (++at_; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (c == '"') return skip(1);
      if (c == '$' || c == '`') return expansion(c);
      if (c == '\\' && at_ + 1 < text_.size() &&
          std::string_view{"$`\"\\\n"}.find(text_[at_ + 1]) != std::string_view::npos) {
        if (text_[++at_] != '\n') add(text_[at_]);
        continue;
      }
      add(c);
    }
    return refuse(opened, "a quote that is never closed", "add a \"");
  }

  OrError<void> expansion(char c) const {
    return refuse(at_, fmt::format("'{}', which a shell expands", c),
                  "write what it stands for, or protect it with '...'");
  }

  // What a shell does not take literally outside quotes.
  OrError<void> check_unquoted(char c) const {
    constexpr std::string_view operators = "|&;<>()", expanded = "$`*?[";
    if (operators.find(c) != std::string_view::npos)
      return refuse(at_, fmt::format("'{}', which ends a command", c),
                    "give the one command that starts QEMU");
    const bool home = c == '~' && (!word_ || word_->ends_with('=') || word_->ends_with(':'));
    if (expanded.find(c) != std::string_view::npos || home) return expansion(c);
    if (c == '{')  // dash takes it literally, bash expands {a,b}
      return refuse(at_, "'{', which not every shell takes literally", "quote JSON with '...'");
    return {};
  }

  tl::unexpected<Error> refuse(std::size_t at, std::string_view what, std::string_view remedy) const {
    const auto line_begin = at == 0 ? std::string_view::npos : text_.rfind('\n', at - 1);
    const std::size_t column = line_begin == std::string_view::npos ? at + 1 : at - line_begin;
    const auto line = 1 + std::count(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(at), '\n');
    const std::string place =
        line == 1 ? fmt::format("column {}", column) : fmt::format("line {}, column {}", line, column);
    return bad_input(fmt::format("{} of the command line: {}", place, what), std::string{remedy});
  }

  void add(char c) { word().push_back(c); }
  void add(std::string_view text) { word().append(text); }
  std::string& word() { return word_ ? *word_ : word_.emplace(); }
  void end_word() {
    if (word_) words_.push_back(*std::move(word_));
    word_.reset();
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::optional<std::string> word_;
  std::vector<std::string> words_;
};

bool is_plain(std::string_view word) {
  constexpr std::string_view plain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-";
  return !word.empty() && word.find_first_not_of(plain) == std::string_view::npos;
}

// What a terminal would obey, as escapes that shells read back.
std::string dollar_quoted(std::string_view word) {
  std::string text{"$'"};
  for (const char c : word) {
    if (c == '\'' || c == '\\')
      text.append({'\\', c});
    else if (c >= ' ' && c <= '~')
      text += c;
    else
      text += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  }
  return text += '\'';
}

std::string quoted(std::string_view word) {
  if (is_plain(word)) return std::string{word};
  if (safe_line(word) != word) return dollar_quoted(word);
  return shell_quoted(word);
}

}  // namespace

OrError<std::vector<std::string>> shell_words(std::string_view text) { return ShellReader{text}.words(); }

std::string to_shell(std::span<const std::string> words) {
  std::string text;
  for (const std::string& word : words) text.append(text.empty() ? "" : " ").append(quoted(word));
  return text;
}

std::string to_shell(const QemuCommand& command, bool lines) {
  std::string text = quoted(command.program);
  for (const QemuOption& option : command.options)
    text.append(lines ? " \\\n    " : " ").append(to_shell(to_words(option)));
  return text;
}

}  // namespace cbit::launch
