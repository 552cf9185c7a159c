// Text for the generated Markdown pages: the catalogues of causes and of a launch's findings.
#pragma once

#include <string>
#include <string_view>

namespace cbit::watch {

// The text with what Markdown would take for markup escaped.
[[nodiscard]] inline std::string escaped_markdown(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == '*' || c == '<') result += '\\';
    result += c;
  }
  return result;
}

}  // namespace cbit::watch
