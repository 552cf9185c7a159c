#include "guest/monitor/line_editor.hpp"

namespace cbit::guest {
namespace {

constexpr char ctrl(char letter) { return static_cast<char>(letter & 0x1f); }
constexpr char escape = '\x1b', delete_key = '\x7f';

}  // namespace

std::optional<std::string> LineEditor::key(char c, std::string& shown) {
  if (!escape_.empty() || c == escape) {
    if (arrow(c, shown)) return std::nullopt;
  }
  return edit(c, shown);
}

// ESC [ or ESC O, and a letter: ECMA-48, 5.4, and DECCKM. Whatever else begins so is swallowed.
bool LineEditor::arrow(char c, std::string& shown) {
  constexpr std::size_t sequence_bytes_max = 16;
  if (c == escape) {
    escape_ = c;
    return true;
  }
  if (escape_.size() == 1 && c != '[' && c != 'O') {
    escape_.clear();
    return true;
  }
  escape_ += c;
  const bool is_last = escape_.size() > 2 && c >= 0x40 && c <= 0x7e;
  if (!is_last && escape_.size() < sequence_bytes_max) return true;
  const bool is_plain = escape_.size() == 3;
  escape_.clear();
  if (is_plain && (c == 'A' || c == 'B')) recall(c == 'A', shown);
  return true;
}

std::optional<std::string> LineEditor::edit(char c, std::string& shown) {
  switch (c) {
    case '\r':
    case '\n': return finish(shown);
    case '\b':
    case delete_key: erase(1, shown); return std::nullopt;
    case ctrl('U'): erase(line_.size(), shown); return std::nullopt;
    case ctrl('W'): {
      const std::size_t word_end = line_.find_last_not_of(' ');
      const std::size_t blank = word_end == line_.npos ? line_.npos : line_.find_last_of(' ', word_end);
      erase(line_.size() - (blank == line_.npos ? 0 : blank + 1), shown);
      return std::nullopt;
    }
    case ctrl('C'):
      shown += "^C\n" + prompt_;
      give_up();
      return std::nullopt;
    case ctrl('P'): recall(true, shown); return std::nullopt;
    case ctrl('N'): recall(false, shown); return std::nullopt;
    default: break;
  }
  if (c < ' ' || c > '~' || line_.size() >= bytes_max) return std::nullopt;
  line_ += c;
  shown += c;
  return std::nullopt;
}

void LineEditor::give_up() {
  line_.clear();
  escape_.clear();
  recalled_ = before_.size();
}

void LineEditor::erase(std::size_t bytes, std::string& shown) {
  for (; bytes != 0 && !line_.empty(); --bytes) {
    line_.pop_back();
    shown += "\b \b";
  }
}

void LineEditor::replace(std::string_view line, std::string& shown) {
  erase(line_.size(), shown);
  line_ = line;
  shown += line;
}

void LineEditor::recall(bool older, std::string& shown) {
  if (older ? recalled_ == 0 : recalled_ == before_.size()) return;
  recalled_ += older ? std::size_t{0} - 1 : 1;
  replace(recalled_ == before_.size() ? "" : before_[recalled_], shown);
}

std::string LineEditor::finish(std::string& shown) {
  shown += '\n';
  std::string line = line_;
  if (!line.empty() && (before_.empty() || before_.back() != line)) before_.push_back(line);
  if (before_.size() > lines_max) before_.erase(before_.begin());
  give_up();
  return line;
}

}  // namespace cbit::guest
