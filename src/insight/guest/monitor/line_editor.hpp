// A line that is typed at a terminal without an editor of its own: keys in, what is to be shown out.
//
// Backspace and Ctrl-H, Ctrl-W (a word), Ctrl-U (all), Ctrl-C (give the line up), and with the arrows or
// Ctrl-P and Ctrl-N the lines before. Threading: one thread.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cbit::guest {

class LineEditor {
 public:
  explicit LineEditor(std::string_view prompt) : prompt_{prompt} {}

  // What shows that a line can be typed.
  [[nodiscard]] const std::string& prompt() const { return prompt_; }
  // The line, once it is complete; what is to be shown goes behind `shown`.
  std::optional<std::string> key(char c, std::string& shown);
  // What was typed of a line is forgotten.
  void give_up();

 private:
  static constexpr std::size_t bytes_max = 1024;
  static constexpr std::size_t lines_max = 100;

  std::optional<std::string> edit(char c, std::string& shown);
  bool arrow(char c, std::string& shown);
  void erase(std::size_t bytes, std::string& shown);
  void replace(std::string_view line, std::string& shown);
  void recall(bool older, std::string& shown);
  std::string finish(std::string& shown);

  std::string prompt_;
  std::string line_;
  std::vector<std::string> before_;
  std::size_t recalled_ = 0;  // index into before_; its size: the new line
  std::string escape_;        // of an arrow, so far
};

}  // namespace cbit::guest
