#include "guest/console.hpp"

#include <algorithm>
#include <charconv>
#include <iterator>

#include "base/safe_text.hpp"

namespace cbit::guest {
namespace {

// A line that never ends is passed on, and read, in pieces.
constexpr std::size_t line_bytes_max = 4096;

// kernel/panic.c of Linux 6.1; boot/initramfs.
constexpr std::string_view panic_words = "Kernel panic - not syncing";
constexpr std::string_view command_words = "cbit: command ended with status ";
constexpr std::string_view module_words = "cbit: module ";
constexpr std::string_view not_loaded_words = " was not loaded: ";
constexpr std::size_t refused_modules_max = 16;

// busybox' words for ENOEXEC and ESRCH (moderror() of modutils/modutils.c), glibc's for EKEYREJECTED and
// ENOKEY. Linux 6.1, kernel/module: check_modinfo(), resolve_symbol(), module_sig_check(). Other errors are
// a module's own, and may be meant so.
struct Refusal {
  std::string_view words;
  std::string_view remedy;
};
constexpr std::string_view build_it = "build it against the headers of this kernel, linux-headers-RELEASE";
constexpr std::string_view sign_it =
    "the kernel wants a signature that it knows (module.sig_enforce=1 or CONFIG_MODULE_SIG_FORCE): sign the "
    "module by scripts/sign-file, or do not ask for signatures";
constexpr Refusal refusals[] = {
    {"invalid module format", build_it},
    {"module has wrong symbol version", build_it},
    {"Key was rejected by service", sign_it},
    {"Required key not available", sign_it},
};

}  // namespace

void Console::transmit(std::byte byte) {
  if (told_ && byte == request_) return told_();
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

std::optional<std::byte> Console::receive() {
  if (source_)
    if (const auto byte = source_()) return byte;
  return ends_.input ? ends_.input() : std::nullopt;
}

void Console::flush() {
  if (!waiting_.empty() && ends_.output) ends_.output(waiting_);
  waiting_.clear();
}

void LinuxWords::read(std::string_view line) {
  read_panic(line);
  read_command_status(line);
  read_refusal(line);
}

void LinuxWords::read_panic(std::string_view line) {
  if (const std::size_t at = line.find(panic_words); at != std::string_view::npos && panic_.empty())
    panic_ = line.substr(at);
}

void LinuxWords::read_command_status(std::string_view line) {
  const std::size_t at = line.find(command_words);
  if (at == std::string_view::npos) return;
  const std::string_view number = line.substr(at + command_words.size());
  int status = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), status);
  if (error == std::errc{}) command_status_ = status;
}

void LinuxWords::read_refusal(std::string_view line) {
  const std::size_t begin = line.find(module_words);
  if (begin == std::string_view::npos) return;
  const std::string_view rest = line.substr(begin + module_words.size());
  const std::size_t end = rest.find(not_loaded_words);
  if (end == std::string_view::npos) return;
  const std::string_view why = rest.substr(end + not_loaded_words.size());
  const auto refusal = std::ranges::find(refusals, why, &Refusal::words);
  if (refusal == std::end(refusals) || refused_modules_.size() == refused_modules_max) return;
  refused_modules_.push_back({safe_line(rest.substr(0, end)), std::string{why}, refusal->remedy});
}

}  // namespace cbit::guest
