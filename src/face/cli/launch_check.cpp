#include "cli/launch_check.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <ostream>

#include "launch/check.hpp"
#include "launch/findings_render.hpp"
#include "launch/qemu_program.hpp"

namespace cbit::cli {
namespace {

constexpr std::string_view allowed[] = {"--check",  "--host", "--root",          "--qemu-version",
                                        "--format", "--json", "--no-encryption", "--protection"};

OrError<void> check_words(const Arguments& arguments) {
  const auto refuse = [](std::string_view other) {
    return usage_error(fmt::format("{} has no meaning with --check", other),
                       "--check takes --host, --root, --qemu-version, --no-encryption and --json");
  };
  for (const auto& [name, value] : arguments.options)
    if (std::ranges::find(allowed, name) == std::end(allowed)) return refuse(name);
  for (const auto& [name, values] : arguments.repeated)
    if (!values.empty()) return refuse(name);
  if (!arguments.positional.empty()) return refuse(arguments.positional.front());
  if (const auto format = arguments.text("--format"); format && *format != "command" && *format != "json")
    return refuse(fmt::format("--format {}", *format));
  if (const auto protection = arguments.text("--protection"); protection && *protection != "none")
    return refuse(fmt::format("--protection {}", *protection));
  return {};
}

}  // namespace

OrError<ExitCode> check_launch(const Arguments& arguments, Streams& streams) {
  CBIT_TRY(check_words(arguments));
  launch::CheckRequest request{.what = std::string{*arguments.text("--check")}};
  const auto root = arguments.text("--root");
  if (const auto host = arguments.has("--host") ? arguments.text("--host") : root)
    request.host = host == "/" ? "live" : std::string{*host};
  request.encrypted = !arguments.has("--no-encryption") && !arguments.has("--protection");
  if (const auto version = arguments.text("--qemu-version"))
    request.qemu = CBIT_TRY(launch::qemu_version_of(*version));
  const launch::CheckReport report = CBIT_TRY(launch::check_guest(request));
  const bool json = arguments.has("--json") || arguments.text("--format") == "json";
  streams.out << (json ? launch::to_json(report) : launch::to_text(report));
  return std::ranges::any_of(report.findings, launch::is_error) ? ExitCode::check_failed : ExitCode::ok;
}

}  // namespace cbit::cli
