#include "explain/table.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "base/safe_text.hpp"
#include "layout/table.hpp"
#include "layout/text.hpp"

namespace cbit::explain {
namespace {

using Line = std::vector<std::string>;

std::string render_text(const Table& table, std::optional<std::size_t> columns) {
  layout::Table shown{.rows = table.rows, .grouped = true};
  for (const std::string& heading : table.columns) shown.columns.push_back({heading});
  std::string text = layout::render(shown, columns);
  for (const std::string& note : table.notes) {
    text += '\n';
    for (const std::string_view line : layout::wrap(note, columns.value_or(note.size())))
      text.append(line) += '\n';
  }
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

std::string render(const Table& table, TableFormat format, std::optional<std::size_t> columns) {
  switch (format) {
    case TableFormat::text: return render_text(table, columns);
    case TableFormat::json: return render_json(table);
    case TableFormat::markdown: return render_markdown(table);
  }
  return {};
}

}  // namespace cbit::explain
