#include "explain/table.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/safe_text.hpp"

namespace cbit::explain {
namespace {

using Line = std::vector<std::string>;

std::string padded(const Line& line, const std::vector<std::size_t>& widths) {
  std::string text;
  for (std::size_t i = 0; i < line.size(); ++i) text += fmt::format("{:<{}}  ", line[i], widths[i]);
  text.erase(text.find_last_not_of(' ') + 1);
  return text + '\n';
}

std::string render_text(const Table& table) {
  std::vector<std::size_t> widths;
  for (const std::string& column : table.columns) widths.push_back(column.size());
  for (const Line& line : table.rows)
    for (std::size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], line[i].size());
  std::string text = padded(table.columns, widths);
  for (std::size_t n = 0; n < table.rows.size(); ++n) {
    if (n > 0 && table.rows[n][0] != table.rows[n - 1][0]) text += '\n';
    text += padded(table.rows[n], widths);
  }
  for (const std::string& note : table.notes) text += fmt::format("\n{}\n", note);
  return text;
}

std::string render_markdown(const Table& table) {
  std::string text = fmt::format("| {} |\n", fmt::join(table.columns, " | "));
  for (std::size_t i = 0; i < table.columns.size(); ++i) text += "|---";
  text += "|\n";
  for (const Line& line : table.rows) text += fmt::format("| {} |\n", fmt::join(line, " | "));
  for (const std::string& note : table.notes) text += fmt::format("\n{}\n", note);
  return text;
}

std::string render_json(const Table& table) {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const Line& line : table.rows) {
    nlohmann::ordered_json& row = rows.emplace_back(nlohmann::ordered_json::object());
    for (std::size_t i = 0; i < line.size(); ++i) row[table.columns[i]] = line[i];
  }
  const nlohmann::ordered_json document{
      {"schema", "cbit-table-1"}, {"rows", std::move(rows)}, {"notes", table.notes}};
  return json_text(document, 2) + '\n';
}

}  // namespace

std::string render(const Table& table, TableFormat format) {
  switch (format) {
    case TableFormat::text: return render_text(table);
    case TableFormat::json: return render_json(table);
    case TableFormat::markdown: return render_markdown(table);
  }
  return {};
}

}  // namespace cbit::explain
