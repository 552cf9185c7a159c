// Text in the columns of a terminal.
//
// Columns are counted as Unicode has them, by utf8proc: a wide character takes two, a combining one none.
// What is no UTF-8 counts one column a byte. Text from outside is made safe before (base/safe_text.hpp).
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

namespace cbit::layout {

[[nodiscard]] std::size_t width(std::string_view text);

// Lines of at most so many columns, broken at blanks, which go with the break. A word that is wider has a
// line of its own. Line feeds break, too. At least one line, which may be empty; views of the text.
[[nodiscard]] std::vector<std::string_view> wrap(std::string_view text, std::size_t columns);

}  // namespace cbit::layout
