#include "base/terminal_text.hpp"

#include <algorithm>
#include <vector>

#include "base/safe_text.hpp"

namespace cbit {
namespace {

constexpr char escape = '\x1b';
constexpr char cancel = '\x18', substitute = '\x1a';
constexpr std::size_t parameter_bytes_max = 64;
// A string that nobody ends must not hide what comes behind it for ever.
constexpr std::size_t string_bytes_max = 4096;

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == '\x7f'; }
bool is_ascii(char c) { return static_cast<unsigned char>(c) < 0x80; }
bool is_intermediate(char c) { return c >= 0x20 && c <= 0x2f; }

// Empty ones count as 0. Not valid: there is something that is no number, or a number out of all proportion.
struct Parameters {
  std::vector<unsigned> values;
  bool valid = true;
};

Parameters numbers_of(std::string_view text) {
  constexpr unsigned most = 9999;
  Parameters result{{0}, true};
  for (const char c : text) {
    if (c == ';') {
      result.values.push_back(0);
      continue;
    }
    unsigned& value = result.values.back();
    if (c < '0' || c > '9') return {{}, false};
    value = value * 10 + static_cast<unsigned>(c - '0');
    if (value > most) return {{}, false};
  }
  return result;
}

// Colours and their like. 10 to 20 are fonts, with which Linux' console shows control characters.
bool is_rendition(unsigned value) {
  return value <= 9 || (value >= 21 && value <= 29) || (value >= 30 && value <= 49) ||
         (value >= 90 && value <= 107);
}

bool are_renditions(const std::vector<unsigned>& values) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!is_rendition(values[i])) return false;
    if (values[i] != 38 && values[i] != 48) continue;
    const unsigned kind = i + 1 < values.size() ? values[i + 1] : 0;
    if (kind != 5 && kind != 2) return false;
    i += kind == 5 ? 2 : 4;
    if (i >= values.size()) return false;
  }
  return true;
}

// By the final byte: console_codes(4), "ECMA-48 CSI sequences".
bool passes(char last, std::string_view parameters) {
  constexpr std::string_view movements = "ABCDEFGHadef`", changes = "@KLMPX", places = "su";
  const Parameters numbers = numbers_of(parameters);
  if (!numbers.valid) return false;
  if (movements.find(last) != movements.npos || changes.find(last) != changes.npos) return true;
  // With parameters these set margins.
  if (places.find(last) != places.npos) return parameters.empty();
  if (last == 'J') return std::ranges::all_of(numbers.values, [](unsigned value) { return value <= 2; });
  return last == 'm' && are_renditions(numbers.values);
}

}  // namespace

std::string TerminalText::take(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) step(c, out);
  write_text(out, false);
  return out;
}

void TerminalText::step(char c, std::string& out) {
  switch (state_) {
    case State::text: return in_text(c, out);
    case State::string:
    case State::string_escape:
      in_string(c);
      if (state_ != State::escape) return;
      break;
    case State::escape:
    case State::intermediate:
    case State::sequence: break;
  }
  // A character of another kind ends what it cannot belong to.
  if (!is_ascii(c)) {
    state_ = State::text;
    return in_text(c, out);
  }
  if (is_control(c)) {
    if (!control(c, out)) out += safe_text({&c, 1});
  } else if (state_ == State::sequence) {
    in_sequence(c, out);
  } else {
    after_escape(c, out);
  }
}

void TerminalText::in_text(char c, std::string& out) {
  if (!is_control(c)) {
    text_ += c;
    return;
  }
  write_text(out, true);
  if (!control(c, out)) out += safe_text({&c, 1});
}

// What a control character does is done at once, also within a sequence, which goes on behind it.
bool TerminalText::control(char c, std::string& out) {
  switch (c) {
    case escape: state_ = State::escape; return true;
    case cancel:
    case substitute:
      if (state_ == State::text) return false;
      state_ = State::text;
      return true;
    case '\n':
    case '\r':
    case '\b':
    case '\t':
    case '\a': out += c; return true;
    default: return false;
  }
}

void TerminalText::after_escape(char c, std::string& out) {
  if (is_intermediate(c)) {
    state_ = State::intermediate;
    return;
  }
  const bool short_form = state_ == State::escape;
  state_ = State::text;
  if (!short_form) return;
  constexpr std::string_view strings = "]PX^_", movements = "DEM78";
  if (c == '[') {
    parameters_.clear();
    state_ = State::sequence;
  } else if (strings.find(c) != strings.npos) {
    string_bytes_ = 0;
    state_ = State::string;
  } else if (movements.find(c) != movements.npos) {
    out += escape;
    out += c;
  }
}

void TerminalText::in_sequence(char c, std::string& out) {
  if (c < 0x40) {
    if (parameters_.size() <= parameter_bytes_max) parameters_ += c;
    return;
  }
  state_ = State::text;
  if (parameters_.size() > parameter_bytes_max || !passes(c, parameters_)) return;
  out += "\x1b[";
  out += parameters_;
  out += c;
}

// Ends with BEL (xterm), or with ESC and a backslash; ESC and anything else begins something new.
void TerminalText::in_string(char c) {
  if (state_ == State::string_escape) {
    state_ = c == '\\' ? State::text : State::escape;
    return;
  }
  if (c == escape)
    state_ = State::string_escape;
  else if (c == '\a' || c == cancel || c == substitute || ++string_bytes_ > string_bytes_max)
    state_ = State::text;
}

void TerminalText::write_text(std::string& out, bool all) {
  const std::size_t whole = all ? text_.size() : whole_characters(text_);
  out += safe_text(std::string_view{text_}.substr(0, whole));
  text_.erase(0, whole);
}

}  // namespace cbit
