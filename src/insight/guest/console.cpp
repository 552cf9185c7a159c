#include "guest/console.hpp"

#include <charconv>

namespace cbit::guest {
namespace {

// A line that never ends is passed on, and read, in pieces.
constexpr std::size_t line_bytes_max = 4096;

// kernel/panic.c of Linux 6.1; boot/initramfs.
constexpr std::string_view panic_words = "Kernel panic - not syncing";
constexpr std::string_view command_words = "cbit: command ended with status ";

}  // namespace

void Console::transmit(std::byte byte) {
  const char c = static_cast<char>(byte);
  waiting_ += c;
  if (c != '\n' && line_.size() < line_bytes_max) {
    if (c != '\r') line_ += c;
    // A prompt shall be seen.
    if (ends_.input) flush();
    return;
  }
  flush();
  if (reader_) reader_(line_);
  line_.clear();
}

std::optional<std::byte> Console::receive() { return ends_.input ? ends_.input() : std::nullopt; }

void Console::flush() {
  if (!waiting_.empty() && ends_.output) ends_.output(waiting_);
  waiting_.clear();
}

void LinuxWords::read(std::string_view line) {
  if (const std::size_t at = line.find(panic_words); at != std::string_view::npos && panic_.empty())
    panic_ = line.substr(at);
  const std::size_t at = line.find(command_words);
  if (at == std::string_view::npos) return;
  const std::string_view number = line.substr(at + command_words.size());
  int status = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), status);
  if (error == std::errc{}) command_status_ = status;
}

}  // namespace cbit::guest
