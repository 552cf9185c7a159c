// Text for people, in lines of a terminal's width.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace cbit::launch {

// Appends the text, broken at blanks so that no line goes over 100 columns, each line indented and ended.
void append_wrapped(std::string& out, std::string_view text, std::size_t indent);

}  // namespace cbit::launch
