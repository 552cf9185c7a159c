// `cbit run` at a terminal: raw for as long as the guest runs, with QEMU's escape key and a monitor.
//
// What the guest writes goes through base/terminal_text.hpp, not through the gate for cbit's own text
// (cli/safe_stream.hpp), which lets no cursor be moved.
// Threading: one thread.
#pragma once

#include <memory>
#include <string_view>

#include "cli/command.hpp"
#include "cli/keyboard.hpp"
#include "guest/monitor/console_desk.hpp"
#include "guest/monitor/monitor.hpp"
#include "guest/run.hpp"
#include "os/raw_terminal.hpp"

namespace cbit::cli {

class RunTerminal {
 public:
  // All outlive it. nullptr: standard input or output is no terminal.
  static std::unique_ptr<RunTerminal> open(guest::Pc& pc, const guest::KernelKnowledge* knowledge,
                                           Streams& streams);
  RunTerminal(const RunTerminal&) = delete;
  RunTerminal& operator=(const RunTerminal&) = delete;
  // The terminal is as it was, and on a line of its own.
  ~RunTerminal();

  void attach(guest::RunOptions& options);

 private:
  RunTerminal(guest::Pc& pc, const guest::KernelKnowledge* knowledge, std::ostream& out, os::RawTerminal raw);

  std::function<void(std::string_view)> guests_writer();
  void show(std::string_view text);

  std::ostream* out_;
  bool line_begun_ = false;
  Keyboard keyboard_;
  guest::Monitor monitor_;
  guest::ConsoleDesk desk_;
  os::RawTerminal raw_;
};

}  // namespace cbit::cli
