// The command line as data. One table (commands.cpp) feeds the parser, --help, the man page and the shell
// completions, so none of them can say something else than the others.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace cbit::cli {

class Arguments;

// What an option's value is where it names a file. Outputs are checked before the command begins, and `-` is
// standard output (cli/file_options.hpp). An input_with_options may be followed by commas and words.
enum class FileUse : std::uint8_t { none, input, output, binary_output, input_with_options };

struct OptionSpec {
  std::string_view name;                           // "--memory"
  std::string_view metavar;                        // "SIZE"; empty: a flag
  std::string_view help;                           // one sentence, no full stop
  std::string_view fallback;                       // default as the user would write it; empty: none
  std::span<const std::string_view> choices = {};  // the only values, where there are few
  bool repeated = false;                           // may be given more than once: Arguments::all()
  FileUse file = FileUse::none;
  // Which of the choices stands for a word that is none of them, where that is known; empty: it is not.
  std::string_view (*stand_in)(std::string_view word) = nullptr;
  std::vector<std::string_view> (*names)() = nullptr;  // what it may be besides, for completion
};

// Arguments without a name; metavar empty: there are none.
struct PositionalSpec {
  std::string_view metavar;
  std::string_view help;
  bool required = false;
  bool repeated = false;
  bool files = false;                                  // completed as file names
  std::vector<std::string_view> (*names)() = nullptr;  // what else it may be, for completion
};

// Words behind "--": Arguments::behind. metavar empty: there are none, and "--" only ends the options.
struct BehindSpec {
  std::string_view metavar;
  std::string_view help;
};

struct Streams {
  std::ostream& out;  // data
  std::ostream& err;  // talk
  bool out_is_terminal = false;
  // What is no text, such as what a command in a guest writes, where `out` is no terminal; nullptr: `out`.
  std::ostream* bytes = nullptr;
  // Behind the gate that `out` goes through, where that is a terminal: for what base/terminal_text.hpp has
  // made fit for one.
  std::ostream* terminal = nullptr;
  // What tables and help on `out` must fit into; nullopt: a program may read it, and nothing is wrapped.
  std::optional<std::size_t> columns = std::nullopt;
};

struct CommandSpec {
  std::string_view name;  // one word, or two as in "lab run"
  std::string_view summary;
  std::string_view description;
  std::span<const OptionSpec> options;
  PositionalSpec positional;
  std::span<const std::string_view> examples;
  // The exit code, or an Error that is printed once.
  OrError<ExitCode> (*run)(const Arguments&, Streams&);
  BehindSpec behind = {};
};

[[nodiscard]] std::span<const CommandSpec> commands();

// "cbit: message", and the remedy in the next line.
void print_error(const Error& error, std::ostream& err);

// Parses and runs one command line (without the program's name) and prints errors; never throws.
[[nodiscard]] ExitCode run_command_line(std::span<const std::string_view> words, Streams& streams);

}  // namespace cbit::cli
