#include "base/toml_bounds.hpp"

#include <algorithm>
#include <cstddef>

namespace cbit {
namespace {

class BoundsScanner {
 public:
  explicit BoundsScanner(std::string_view text) : text_{text} {}

  std::optional<TooDeep> find() {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '#')
        at_ = std::min(text_.find('\n', at_), text_.size());
      else if (c == '"' || c == '\'')
        skip_string(c);
      else if (const auto what = count(c); !what.empty())
        return too_deep(what);
      else
        ++at_;
    }
    return std::nullopt;
  }

 private:
  // What is too deep with this character; empty: nothing.
  std::string_view count(char c) {
    switch (c) {
      case '[':
      case '{': dots_ = 0; return ++depth_ > toml_depth_max ? "values lie within values, too many deep" : "";
      case ']':
      case '}':
        dots_ = 0;
        depth_ -= depth_ == 0 ? 0 : 1;
        return {};
      case ',':
      case '=':
      case '\n': dots_ = 0; return {};
      case '.': return ++dots_ >= toml_key_parts_max ? "the key has too many parts" : "";
      default: return {};
    }
  }

  [[nodiscard]] std::size_t run_of(char quote, std::size_t from) const {
    return std::min(text_.find_first_not_of(quote, from), text_.size()) - from;
  }

  void skip_string(char quote) {
    const bool escapes = quote == '"';
    const std::size_t opened = run_of(quote, at_);
    if (opened < 3) return skip_short_string(quote, escapes);
    at_ += 3;
    while (at_ < text_.size()) {
      if (text_[at_] == quote && run_of(quote, at_) >= 3) {
        // One or two quotes before the three that end it belong to the text.
        at_ += std::min<std::size_t>(run_of(quote, at_), 5);
        return;
      }
      step_in_string(escapes);
    }
  }

  void skip_short_string(char quote, bool escapes) {
    ++at_;
    while (at_ < text_.size() && text_[at_] != '\n') {
      if (text_[at_] == quote) return void(++at_);
      step_in_string(escapes);
    }
  }

  void step_in_string(bool escapes) {
    at_ = std::min(at_ + (escapes && text_[at_] == '\\' ? 2u : 1u), text_.size());
  }

  [[nodiscard]] TooDeep too_deep(std::string_view what) const {
    const std::string_view before = text_.substr(0, at_);
    const auto line = 1 + std::ranges::count(before, '\n');
    const std::size_t line_begin = before.rfind('\n') + 1;  // 0 where there is none
    return {static_cast<unsigned>(line), static_cast<unsigned>(at_ - line_begin + 1), what};
  }

  std::string_view text_;
  std::size_t at_ = 0;
  unsigned depth_ = 0;
  unsigned dots_ = 0;
};

}  // namespace

std::optional<TooDeep> find_too_deep(std::string_view text) { return BoundsScanner{text}.find(); }

}  // namespace cbit
