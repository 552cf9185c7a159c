// Who sits at a raw terminal: keys go to the guest's console or to the monitor, as Ctrl-A decides.
//
// While the monitor has the terminal, or after `stop`, the machine stands still. Keys for a guest that does
// not take them are kept; when there are too many, no more are read until it does. Threading: that of the
// machine.
#pragma once

#include <deque>
#include <functional>
#include <optional>
#include <string_view>

#include "guest/monitor/escape_keys.hpp"
#include "guest/monitor/line_editor.hpp"
#include "guest/monitor/monitor.hpp"
#include "guest/run.hpp"

namespace cbit::guest {

class ConsoleDesk {
 public:
  struct Ends {
    std::function<std::optional<std::byte>()> key;  // the next that was typed, if there is one now
    std::function<bool()> ended;                    // nothing more will be typed
    std::function<void(std::string_view)> show;     // text of ours
  };
  // `monitor` outlives it.
  ConsoleDesk(Monitor& monitor, Ends ends) : monitor_{&monitor}, ends_{std::move(ends)} {}

  // Reads what was typed, does what is ours of it, and tells what the machine is to do now.
  Wish attend();
  // The next key for the guest.
  std::optional<std::byte> next();

 private:
  static constexpr std::size_t kept_max = 65536;

  void take(char c);
  void take_escape(EscapeKey key);
  void to_monitor(char c);
  void open_monitor();
  void open_console();

  Monitor* monitor_;
  Ends ends_;
  EscapeKeys escape_keys_;
  LineEditor editor_{"(cbit) "};
  std::deque<std::byte> for_guest_;
  bool in_monitor_ = false;
  bool ended_ = false;
};

}  // namespace cbit::guest
