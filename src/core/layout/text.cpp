#include "layout/text.hpp"

#include <utf8proc.h>

#include <algorithm>
#include <cstdint>

namespace cbit::layout {
namespace {

void wrap_line(std::vector<std::string_view>& lines, std::string_view line, std::size_t columns) {
  std::size_t begin = 0, end = 0, used = 0;
  while (end < line.size()) {
    const std::size_t word_end = std::min(line.find(' ', end + 1), line.size());
    const std::size_t more = width(line.substr(end, word_end - end));
    if (end == begin || used + more <= columns) {
      used += more;
      end = word_end;
      continue;
    }
    lines.push_back(line.substr(begin, end - begin));
    begin = end = line.find_first_not_of(' ', end);
    if (begin == std::string_view::npos) return;
    used = 0;
  }
  lines.push_back(line.substr(begin, end - begin));
}

}  // namespace

std::size_t width(std::string_view text) {
  std::size_t columns = 0;
  while (!text.empty()) {
    utf8proc_int32_t character = 0;
    const auto bytes = utf8proc_iterate(reinterpret_cast<const std::uint8_t*>(text.data()),
                                        static_cast<utf8proc_ssize_t>(text.size()), &character);
    columns += bytes < 1 ? 1 : static_cast<std::size_t>(utf8proc_charwidth(character));
    text.remove_prefix(bytes < 1 ? 1 : static_cast<std::size_t>(bytes));
  }
  return columns;
}

std::vector<std::string_view> wrap(std::string_view text, std::size_t columns) {
  std::vector<std::string_view> lines;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    wrap_line(lines, text.substr(begin, end - begin), columns);
    begin = end + 1;
  }
  return lines;
}

}  // namespace cbit::layout
