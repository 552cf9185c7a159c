// Tables for people, as wide as their cells or as wide as a terminal.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace cbit::layout {

struct Column {
  std::string heading;
  bool right = false;  // flush right, as numbers are
};

struct Table {
  std::vector<Column> columns;                      // without any heading: a list, which has no line of them
  std::vector<std::vector<std::string>> rows = {};  // as long as `columns`
  bool grouped = false;                             // a blank line where the first column changes
};

// Ends with a line feed. Within `columns` where they are given: cells are wrapped at blanks; where not even
// each column's longest word fits beside the others, each row is a block of lines, "heading: cell", and what
// still does not fit is as long as its longest word.
[[nodiscard]] std::string render(const Table& table, std::optional<std::size_t> columns);

}  // namespace cbit::layout
