#include "cli/launch_check.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <ostream>

#include "facts/guest_support.hpp"
#include "facts/host_tree.hpp"
#include "launch/findings_render.hpp"
#include "launch/libvirt_xml.hpp"
#include "launch/qemu_program.hpp"
#include "os/input_file.hpp"

namespace cbit::cli {
namespace {

constexpr os::InputKind config_kind{.what = "a guest's configuration",
                                    .remedy = "give a file with a command line or libvirt's XML",
                                    .streams = true};
constexpr std::string_view allowed[] = {"--check",         "--root",       "--qemu-version", "--format",
                                        "--no-encryption", "--protection", "--json"};

OrError<void> check_words(const Arguments& arguments) {
  const auto refuse = [](std::string_view other) {
    return usage_error(fmt::format("{} has no meaning with --check", other),
                       "--check takes --root, --qemu-version, --no-encryption and --json");
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

// A file's text, or the words themselves.
OrError<std::string> text_to_check(const std::string& what) {
  std::error_code error;
  if (what != "-" && !std::filesystem::exists(what, error)) {
    if (what.find_first_of(" \t\n") == std::string::npos && !what.starts_with('<'))
      return bad_input(fmt::format("there is no file {}", what),
                       "give a file, or a whole command line as one word: 'qemu-system-x86_64 -machine ...'");
    return what;
  }
  return os::read_input(what, config_kind);
}

OrError<launch::GuestConfig> config_of(const std::string& text) {
  if (launch::looks_like_xml(text)) return launch::parse_libvirt_domain(text);
  launch::GuestConfig config;
  const std::vector<std::string> words = CBIT_TRY(launch::shell_words(text));
  config.command = CBIT_TRY(launch::parse_qemu_command(words));
  return config;
}

}  // namespace

OrError<ExitCode> check_launch(const Arguments& arguments, Streams& streams) {
  CBIT_TRY(check_words(arguments));
  const std::string text = CBIT_TRY(text_to_check(std::string{*arguments.text("--check")}));
  const launch::GuestConfig config = CBIT_TRY(config_of(text));
  const facts::HostTree tree =
      CBIT_TRY(facts::HostTree::open(std::string{arguments.text("--root").value_or("/")}));
  const facts::GuestSupport host = facts::read_guest_support(tree);
  launch::JudgeContext context{.host = &host};
  context.encrypted = !arguments.has("--no-encryption") && !arguments.has("--protection");
  if (const auto version = arguments.text("--qemu-version"))
    context.qemu = CBIT_TRY(launch::qemu_version_of(*version));
  const std::vector<launch::Finding> findings = launch::judge(config, context);
  const bool json = arguments.has("--json") || arguments.text("--format") == "json";
  streams.out << (json ? launch::to_json(findings, config) : launch::to_text(findings, config));
  return std::ranges::any_of(findings, launch::is_error) ? ExitCode::check_failed : ExitCode::ok;
}

}  // namespace cbit::cli
