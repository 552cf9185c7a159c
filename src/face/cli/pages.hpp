// What the command prints about itself, all from the command table.
#pragma once

#include <iosfwd>
#include <string>
#include <string_view>

#include "cli/command.hpp"

namespace cbit::cli {

// Examples come first: they are what people look for.
void print_help(Streams& streams);
void print_help(Streams& streams, const CommandSpec& command);

// What may follow the command's name, each with a blank before: " [OPTION]... [FILE...]".
[[nodiscard]] std::string usage_words(const CommandSpec& command);

// roff, man(7), section 1.
void print_man_page(std::ostream& out);

enum class Shell : std::uint8_t { bash, zsh, fish };
void print_completion(std::ostream& out, Shell shell);

}  // namespace cbit::cli
