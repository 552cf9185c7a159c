#include "cli/table_format.hpp"

namespace cbit::cli {

OrError<explain::TableFormat> table_format(const Arguments& arguments) {
  const std::string_view name =
      arguments.text("--format").value_or(arguments.has("--json") ? "json" : "text");
  if (arguments.has("--json") && name != "json")
    return usage_error("--json contradicts --format", "give one of them");
  return name == "json"       ? explain::TableFormat::json
         : name == "markdown" ? explain::TableFormat::markdown
                              : explain::TableFormat::text;
}

}  // namespace cbit::cli
