// From words to a command and its arguments, by the table in commands.cpp.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "cli/arguments.hpp"
#include "cli/command.hpp"

namespace cbit::cli {

struct ParsedCommand {
  const CommandSpec* command = nullptr;  // nullptr: help or version of the program itself
  Arguments arguments;
  bool help = false;
  bool version = false;
};

[[nodiscard]] OrError<ParsedCommand> parse_command_line(std::span<const std::string_view> words);

}  // namespace cbit::cli
