#include "cli/table_format.hpp"

namespace cbit {

OrError<TableFormat> table_format(const Arguments& arguments) {
  const std::string_view name =
      arguments.text("--format").value_or(arguments.has("--json") ? "json" : "text");
  if (arguments.has("--json") && name != "json")
    return usage_error("--json contradicts --format", "give one of them");
  return name == "json" ? TableFormat::json : name == "markdown" ? TableFormat::markdown : TableFormat::text;
}

}  // namespace cbit
