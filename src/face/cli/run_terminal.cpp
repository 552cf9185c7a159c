#include "cli/run_terminal.hpp"

#include <unistd.h>

#include <ostream>

#include "base/terminal_text.hpp"

namespace cbit::cli {

std::unique_ptr<RunTerminal> RunTerminal::open(guest::Pc& pc, const guest::KernelKnowledge* knowledge,
                                               Streams& streams) {
  if (streams.terminal == nullptr || ::isatty(STDIN_FILENO) != 1) return nullptr;
  auto raw = os::RawTerminal::take(STDIN_FILENO);
  if (!raw) return nullptr;
  streams.err << "cbit: Ctrl-A x ends the run, Ctrl-A c opens the monitor, Ctrl-A h lists the keys\n"
              << std::flush;
  return std::unique_ptr<RunTerminal>{new RunTerminal{pc, knowledge, *streams.terminal, std::move(*raw)}};
}

RunTerminal::RunTerminal(guest::Pc& pc, const guest::KernelKnowledge* knowledge, std::ostream& out,
                         os::RawTerminal raw)
    : out_{&out},
      monitor_{pc, knowledge, guest::Monitor::Files::written},
      desk_{monitor_,
            {.key = [this] { return keyboard_.next(); },
             .ended = [this] { return keyboard_.ended(); },
             .show = [this](std::string_view text) { show(text); }}},
      raw_{std::move(raw)} {}

RunTerminal::~RunTerminal() {
  // The colours that a guest chose end with it.
  show(line_begun_ ? "\x1b[0m\n" : "\x1b[0m");
}

void RunTerminal::attach(guest::RunOptions& options) {
  options.com1 = {.output = guests_writer(), .input = [this] { return desk_.next(); }};
  options.com2.output = guests_writer();
  options.debug_console.output = guests_writer();
  options.await_input = [this](os::PollSet& set) { keyboard_.await(set); };
  options.wishes.emplace_back([this] { return desk_.attend(); });
}

// Each port has a sequence of its own under way.
std::function<void(std::string_view)> RunTerminal::guests_writer() {
  return [this, filter = TerminalText{}](std::string_view text) mutable { show(filter.take(text)); };
}

void RunTerminal::show(std::string_view text) {
  if (text.empty()) return;
  line_begun_ = text.back() != '\n';
  *out_ << text << std::flush;
}

}  // namespace cbit::cli
