#include "launch/wrapped_text.hpp"

#include <algorithm>

namespace cbit::launch {

void append_wrapped(std::string& out, std::string_view text, std::size_t indent) {
  constexpr std::size_t width = 100;
  while (!text.empty()) {
    std::size_t end = text.size();
    if (end > width - indent) {
      end = text.rfind(' ', width - indent);
      if (end == std::string_view::npos) end = std::min(text.find(' '), text.size());
    }
    out.append(indent, ' ').append(text.substr(0, end)) += '\n';
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

}  // namespace cbit::launch
