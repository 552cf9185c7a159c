#include "layout/table.hpp"

#include <algorithm>
#include <numeric>

#include "layout/text.hpp"

namespace cbit::layout {
namespace {

constexpr std::size_t gap = 2, indent = 2;

using Widths = std::vector<std::size_t>;

bool has_headings(const Table& table) {
  return std::ranges::any_of(table.columns, [](const Column& column) { return !column.heading.empty(); });
}

std::vector<std::string> headings_of(const Table& table) {
  std::vector<std::string> line;
  for (const Column& column : table.columns) line.push_back(column.heading);
  return line;
}

std::size_t widest_word(std::string_view text) {
  std::size_t widest = 0;
  for (const std::string_view line : wrap(text, 0)) widest = std::max(widest, width(line));
  return widest;
}

// The least that each column can have by `measure`, its heading included.
template <class Measure>
Widths widths_by(const Table& table, Measure measure) {
  Widths widths;
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    std::size_t widest = measure(table.columns[i].heading);
    for (const auto& row : table.rows) widest = std::max<std::size_t>(widest, measure(row[i]));
    widths.push_back(widest);
  }
  return widths;
}

std::size_t total(const Widths& widths) {
  return std::reduce(widths.begin(), widths.end()) + gap * (widths.size() - 1);
}

// Takes from the widest column that can be narrower, until all fit. Empty: they do not.
Widths fitted(const Table& table, Widths widths, std::size_t columns) {
  const Widths least = widths_by(table, widest_word);
  if (total(least) > columns) return {};
  for (std::size_t all = total(widths); all > columns; --all) {
    std::size_t widest = widths.size();
    for (std::size_t i = 0; i < widths.size(); ++i)
      if (widths[i] > least[i] && (widest == widths.size() || widths[i] > widths[widest])) widest = i;
    --widths[widest];
  }
  return widths;
}

void append_row(std::string& text, const Table& table, const std::vector<std::string>& cells,
                const Widths& widths) {
  std::vector<std::vector<std::string_view>> parts;
  std::size_t lines = 0;
  for (std::size_t i = 0; i < cells.size(); ++i) {
    parts.push_back(wrap(cells[i], widths[i]));
    lines = std::max(lines, parts.back().size());
  }
  for (std::size_t line = 0; line < lines; ++line) {
    std::string out;
    for (std::size_t i = 0; i < cells.size(); ++i) {
      const std::string_view part = line < parts[i].size() ? parts[i][line] : std::string_view{};
      const std::string blanks(widths[i] - std::min(widths[i], width(part)), ' ');
      out += table.columns[i].right ? blanks : "";
      out += part;
      out += table.columns[i].right ? "" : blanks;
      out.append(gap, ' ');
    }
    out.erase(out.find_last_not_of(' ') + 1);
    text += out + '\n';
  }
}

std::string render_grid(const Table& table, const Widths& widths) {
  std::string text;
  if (has_headings(table)) append_row(text, table, headings_of(table), widths);
  for (std::size_t n = 0; n < table.rows.size(); ++n) {
    if (table.grouped && n > 0 && table.rows[n][0] != table.rows[n - 1][0]) text += '\n';
    append_row(text, table, table.rows[n], widths);
  }
  return text;
}

// Of a list only the first cell stands at the margin.
void append_stacked(std::string& text, const std::string& heading, const std::string& cell, bool at_margin,
                    std::size_t columns) {
  const std::string whole = heading.empty() ? cell : heading + ": " + cell;
  const std::size_t first = at_margin ? 0 : indent;
  bool begun = false;
  for (const std::string_view line : wrap(whole, std::max(columns, indent + 1) - indent)) {
    text.append(begun ? indent : first, ' ').append(line) += '\n';
    begun = true;
  }
}

std::string render_stacked(const Table& table, std::size_t columns) {
  const bool list = !has_headings(table);
  std::string text;
  for (std::size_t n = 0; n < table.rows.size(); ++n) {
    if (n > 0) text += '\n';
    for (std::size_t i = 0; i < table.columns.size(); ++i)
      if (!table.rows[n][i].empty())
        append_stacked(text, table.columns[i].heading, table.rows[n][i], !list || i == 0, columns);
  }
  return text;
}

}  // namespace

std::string render(const Table& table, std::optional<std::size_t> columns) {
  if (table.columns.empty()) return {};
  Widths widths = widths_by(table, width);
  if (columns && total(widths) > *columns) widths = fitted(table, widths, *columns);
  return widths.empty() ? render_stacked(table, *columns) : render_grid(table, widths);
}

}  // namespace cbit::layout
