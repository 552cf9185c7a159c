// The program: words in, exit code out. Everything else is in the room.
#include <unistd.h>

#include <csignal>
#include <iostream>
#include <string_view>
#include <vector>

#include "cli/command.hpp"
#include "os/cleanup.hpp"
#include "os/descriptor.hpp"
#include "os/terminal_size.hpp"

int main(int argc, char** argv) {
  cbit::os::hold_standard_streams();
  std::signal(SIGPIPE, SIG_IGN);  // a closed pipe is a failed write, reported as such
  std::signal(SIGXFSZ, SIG_IGN);  // so is a file that ulimit -f ends
  cbit::os::clean_up_on_signals();
  const std::vector<std::string_view> words{argv + 1, argv + argc};
  cbit::cli::Streams streams{std::cout, std::cerr, isatty(STDOUT_FILENO) == 1};
  streams.columns = cbit::os::columns_of(STDOUT_FILENO);
  return static_cast<int>(cbit::cli::run_command_line(words, streams));
}
