#include "watch/import/log_line.hpp"

#include <algorithm>
#include <charconv>

namespace cbit::watch {
namespace {

constexpr std::string_view log_blanks = " \t";
constexpr std::size_t journal_prefix_max = 160;  // a stamp and a host name

bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool has(std::string_view text, std::string_view words) { return text.find(words) != std::string_view::npos; }
bool has_digit(std::string_view text) { return std::ranges::any_of(text, is_digit); }

std::string_view without_blanks(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(log_blanks), text.size()));
  return text;
}

std::optional<std::uint64_t> take_number(std::string_view& text, int base) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc{}) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

// "12.345678", the form of the kernel's own stamp.
std::optional<std::uint64_t> seconds(std::string_view text) {
  LogScanner scan{without_blanks(text)};
  const auto whole = scan.number();
  constexpr std::size_t digits = 6;
  if (!whole || !scan.skip(".") || scan.rest().size() < digits) return std::nullopt;
  std::string_view fraction = scan.rest().substr(0, digits);
  if (!std::ranges::all_of(fraction, is_digit)) return std::nullopt;
  return *whole * 1'000'000 + take_number(fraction, 10).value_or(0);
}

// "6,339,5140900,-;text", a record of /dev/kmsg.
bool strip_record(Message& message) {
  LogScanner scan{message.text};
  if (!scan.number() || !scan.skip(",") || !scan.number() || !scan.skip(",")) return false;
  const auto time_us = scan.number();
  if (!time_us || !scan.skip(",") || !scan.past(";")) return false;
  message = {time_us, scan.rest()};
  return true;
}

// "<6>"
bool strip_priority(Message& message) {
  LogScanner scan{message.text};
  if (!scan.skip("<") || !scan.number() || !scan.skip(">")) return false;
  message.text = scan.rest();
  return true;
}

// "kern  :info  : ", dmesg -x.
bool strip_facility(Message& message) {
  LogScanner scan{message.text};
  if (!scan.skip("kern ")) return false;
  if (!scan.past(":") || !scan.past(":")) return false;
  message.text = without_blanks(scan.rest());
  return true;
}

// "[    0.000000] ", "[    0.000000 <    0.000000>] ", "[Thu Nov 26 19:02:41 2026] ", "[  +0.000010] ",
// "[    T1] " and "[   C0] " of a kernel with PRINTK_CALLER.
bool strip_bracket(Message& message) {
  const std::string_view text = message.text;
  constexpr std::size_t stamp_max = 48;
  const std::size_t end = text.substr(0, stamp_max).find(']');
  if (!text.starts_with('[') || end == std::string_view::npos) return false;
  const std::string_view inside = without_blanks(text.substr(1, end - 1));
  const auto time_us = seconds(inside);
  const bool caller = inside.size() > 1 && (inside[0] == 'T' || inside[0] == 'C') && is_digit(inside[1]);
  const bool date =
      !inside.empty() && inside[0] >= 'A' && inside[0] <= 'Z' && has(inside, ":") && has_digit(inside);
  const bool delta = inside.starts_with('+');
  if (!time_us && !caller && !date && !delta) return false;
  if (time_us) message.time_us = time_us;
  message.text = text.substr(end + 1);
  if (message.text.starts_with(' ')) message.text.remove_prefix(1);
  return true;
}

// A time, and perhaps a caller.
bool strip_brackets(Message& message) { return strip_bracket(message) && (strip_bracket(message), true); }

// "Nov 26 19:02:41 host kernel: ", "2026-11-26T19:02:41+0000 host kernel: ", and without stamp or host.
// `kernel` may have a process id, as syslog writes it. Behind a stamp in brackets (journalctl -o
// short-monotonic) only the host's name is left.
bool strip_journal(Message& message, bool stamped) {
  const std::string_view text = message.text;
  const std::string_view head = text.substr(0, journal_prefix_max);
  const std::size_t name = head.find("kernel");
  if (name == std::string_view::npos) return false;
  const std::string_view before = head.substr(0, name);
  const bool prefix = before.ends_with(' ') && (stamped ? before.find(' ') == before.size() - 1
                                                        : has(before, ":") && has_digit(before));
  if (!before.empty() && !prefix) return false;
  LogScanner scan{text.substr(name)};
  scan.skip("kernel");
  if (scan.skip("[")) {
    if (!scan.number() || !scan.skip("]")) return false;
  }
  if (!scan.skip(": ")) return false;
  message.text = scan.rest();
  return true;
}

// "2026-11-26T19:02:41,123456+00:00 ", dmesg --time-format iso.
bool strip_iso(Message& message) {
  LogScanner scan{message.text};
  if (!scan.number() || !scan.skip("-") || !scan.number() || !scan.skip("-") || !scan.number() ||
      !scan.skip("T"))
    return false;
  if (!scan.past(" ")) return false;
  message.text = scan.rest();
  return true;
}

}  // namespace

bool LogScanner::past(std::string_view words) {
  const std::size_t at = rest_.find(words);
  if (at == std::string_view::npos) return false;
  rest_.remove_prefix(at + words.size());
  return true;
}

bool LogScanner::skip(std::string_view words) {
  if (!rest_.starts_with(words)) return false;
  rest_.remove_prefix(words.size());
  return true;
}

std::optional<std::uint64_t> LogScanner::number() {
  const bool in_hex = rest_.starts_with("0x");
  std::string_view text = in_hex ? rest_.substr(2) : rest_;
  const auto value = take_number(text, in_hex ? 16 : 10);
  if (value) rest_ = text;
  return value;
}

std::optional<std::uint64_t> LogScanner::hex() {
  std::string_view text = rest_.starts_with("0x") ? rest_.substr(2) : rest_;
  const auto value = take_number(text, 16);
  if (value) rest_ = text;
  return value;
}

std::string_view LogScanner::word(std::string_view stops) {
  const std::size_t end =
      std::min({rest_.find_first_of(log_blanks), rest_.find_first_of(stops), rest_.size()});
  const std::string_view found = rest_.substr(0, end);
  rest_.remove_prefix(end);
  return found;
}

Message strip_stamps(std::string_view line) {
  Message message{std::nullopt, line};
  if (strip_record(message)) return message;
  strip_priority(message);
  strip_facility(message);
  const bool stamped = strip_brackets(message);
  if (!strip_journal(message, stamped)) strip_iso(message);
  strip_brackets(message);
  return message;
}

}  // namespace cbit::watch
