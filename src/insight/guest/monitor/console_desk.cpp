#include "guest/monitor/console_desk.hpp"

namespace cbit::guest {

Wish ConsoleDesk::attend() {
  while (!ended_ && for_guest_.size() < kept_max) {
    const auto key = ends_.key();
    if (!key) break;
    take(static_cast<char>(*key));
  }
  // Nobody can close the monitor any more.
  if (ends_.ended() && (in_monitor_ || monitor_->stopped())) ended_ = true;
  if (ended_ || monitor_->quits()) return Wish::end;
  return in_monitor_ || monitor_->stopped() ? Wish::stand_still : Wish::go_on;
}

std::optional<std::byte> ConsoleDesk::next() {
  if (for_guest_.empty()) return std::nullopt;
  const std::byte key = for_guest_.front();
  for_guest_.pop_front();
  return key;
}

void ConsoleDesk::take(char c) {
  const auto [typed, key] = escape_keys_.take(c);
  take_escape(key);
  if (!typed) return;
  if (in_monitor_)
    to_monitor(*typed);
  else
    for_guest_.push_back(static_cast<std::byte>(*typed));
}

void ConsoleDesk::take_escape(EscapeKey key) {
  switch (key) {
    case EscapeKey::none: return;
    case EscapeKey::end: ended_ = true; return;
    case EscapeKey::change: return in_monitor_ ? open_console() : open_monitor();
    case EscapeKey::help:
      ends_.show('\n' + std::string{escape_keys_help});
      editor_.give_up();
      if (in_monitor_) ends_.show(editor_.prompt());
      return;
  }
}

void ConsoleDesk::to_monitor(char c) {
  std::string shown;
  const auto line = editor_.key(c, shown);
  if (!shown.empty()) ends_.show(shown);
  if (!line) return;
  const std::string answer = monitor_->execute(*line);
  if (!answer.empty()) ends_.show(answer);
  if (monitor_->quits()) ended_ = true;
  if (monitor_->take_continue()) return open_console();
  if (!ended_) ends_.show(editor_.prompt());
}

void ConsoleDesk::open_monitor() {
  in_monitor_ = true;
  ends_.show(
      "\ncbit's monitor. The guest stands still; cont or Ctrl-A c goes back, help lists the commands.\n");
  ends_.show(editor_.prompt());
}

void ConsoleDesk::open_console() {
  in_monitor_ = false;
  editor_.give_up();
  ends_.show("\n");
}

}  // namespace cbit::guest
