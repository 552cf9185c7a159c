// What a guest writes to a terminal of ours: a stream of bytes, of which only what is harmless goes on.
//
//   goes on    text that base/safe_text.hpp lets pass; line feed, carriage return, backspace, tab, bell; the
//              control sequences that move the cursor, insert, erase, and choose colours
//   left out   whole, with what belongs to it: strings (titles, the clipboard, palettes, pictures), requests
//              that a terminal answers by typing, modes (mouse, paste, keys), resets, character sets, the
//              erasure of what has scrolled away
//   shown      all else, as base/safe_text.hpp shows it: \x0e
//
// Sources: ECMA-48, 5.4 (control sequences) and 5.6 (control strings); console_codes(4) of Linux' manual
// pages, which has the final bytes, and what a control character within a sequence does.
// Threading: one thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace cbit {

class TerminalText {
 public:
  // As much as is complete of what has come so far.
  [[nodiscard]] std::string take(std::string_view bytes);

 private:
  enum class State : unsigned char { text, escape, intermediate, sequence, string, string_escape };

  void step(char c, std::string& out);
  void in_text(char c, std::string& out);
  void after_escape(char c, std::string& out);
  void in_sequence(char c, std::string& out);
  void in_string(char c);
  bool control(char c, std::string& out);
  void write_text(std::string& out, bool all);

  State state_ = State::text;
  std::string text_;              // the beginning of a character may be at its end
  std::string parameters_;        // of a control sequence
  std::size_t string_bytes_ = 0;  // of a control string
};

}  // namespace cbit
