// The command line from anywhere: whatever the words, they are understood or refused with a message and the
// exit code of a mistake; what is understood as `explain` is performed.
//
// The input is cut into words at line ends. Commands that write files, start programs or take long are parsed
// only.
#include <array>
#include <cstdlib>
#include <sstream>
#include <string_view>
#include <vector>

#include "base/safe_text.hpp"
#include "cli/command.hpp"
#include "cli/parse.hpp"

namespace {

constexpr std::size_t words_max = 40;

std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  while (!text.empty() && words.size() < words_max) {
    const std::size_t end = text.find('\n');
    words.push_back(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return words;
}

bool may_run(const cbit::cli::ParsedCommand& parsed) {
  if (parsed.command == nullptr || parsed.help) return true;
  for (const std::string_view name : {"explain", "causes", "man", "completion", "lab list", "lab show"})
    if (parsed.command->name == name) return !parsed.arguments.has("--trace");
  return false;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const auto words = words_of({reinterpret_cast<const char*>(data), size});
  const auto parsed = cbit::cli::parse_command_line(words);
  if (parsed && !may_run(*parsed)) return 0;
  std::ostringstream out, err;
  cbit::cli::Streams streams{out, err};
  const cbit::ExitCode code = cbit::cli::run_command_line(words, streams);
  const bool refused = code == cbit::ExitCode::usage || code == cbit::ExitCode::bad_input;
  // A refusal says why and prints nothing else; everything else is an answer.
  if (refused != !err.str().empty() || (refused && !out.str().empty())) std::abort();
  if (!refused && code != cbit::ExitCode::ok) std::abort();
  // Without a terminal there are no colours either.
  if (!cbit::is_safe_text(out.str()) || !cbit::is_safe_text(err.str())) std::abort();
  return 0;
}
