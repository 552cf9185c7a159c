// The program: words in, exit code out. Everything else is in the room.
#include <unistd.h>

#include <csignal>
#include <iostream>
#include <string_view>
#include <vector>

#include "cli/command.hpp"

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a closed pipe is a failed write, reported as such
  const std::vector<std::string_view> words{argv + 1, argv + argc};
  cbit::cli::Streams streams{std::cout, std::cerr, isatty(STDOUT_FILENO) == 1};
  return static_cast<int>(cbit::cli::run_command_line(words, streams));
}
