#include "launch/qemu_program.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <utility>

#include "base/safe_text.hpp"
#include "os/descriptor.hpp"
#include "os/program.hpp"

namespace cbit::launch {
namespace {

constexpr std::size_t answer_bytes_max = 4096;
constexpr std::size_t errors_bytes_kept = 16384;
constexpr std::chrono::milliseconds answer_time_max{10'000};

tl::unexpected<Error> not_started(std::string_view program, int error) {
  return bad_input(fmt::format("cannot start {}: {}", program, std::strerror(error)),
                   "install the package qemu-system-x86, or name a QEMU with --qemu");
}

// With this process' terminal, but for standard error. Signals that this process ignores or catches have
// their default action in the child.
OrError<pid_t> spawn(const std::vector<std::string>& words, int errors) {
  std::vector<char*> list;
  for (const std::string& word : words) list.push_back(const_cast<char*>(word.c_str()));
  list.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, errors, STDERR_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t defaults;
  sigemptyset(&defaults);
  for (const int number : {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGPIPE, SIGXFSZ}) sigaddset(&defaults, number);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
  pid_t child = -1;
  const int error = posix_spawnp(&child, list.front(), &actions, &attributes, list.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return not_started(words.front(), error);
  return child;
}

bool has_ended(pid_t child) {
  siginfo_t info{};
  return waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
         info.si_pid == child;
}

int wait_for(pid_t child) {
  int status = 0;
  os::retry([&] { return waitpid(child, &status, 0); });
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

// The guest's process, for the handler.
volatile sig_atomic_t running_child = 0;
extern "C" void pass_on(int number) {
  if (running_child > 0) kill(running_child, number);
}

// While it lives: interrupts from the terminal are QEMU's business, requests to end are passed on to it.
class ForegroundSignals {
 public:
  ForegroundSignals() {
    set(0, SIGINT, SIG_IGN);
    set(1, SIGQUIT, SIG_IGN);
    set(2, SIGTERM, pass_on);
    set(3, SIGHUP, pass_on);
  }
  ForegroundSignals(const ForegroundSignals&) = delete;
  ForegroundSignals& operator=(const ForegroundSignals&) = delete;
  ~ForegroundSignals() {
    for (const auto& [number, action] : before_) sigaction(number, &action, nullptr);
  }

 private:
  void set(std::size_t at, int number, void (*handler)(int)) {
    struct sigaction action{};
    action.sa_handler = handler;
    before_[at].first = number;
    sigaction(number, &action, &before_[at].second);
  }
  std::array<std::pair<int, struct sigaction>, 4> before_{};
};

void write_all(int descriptor, std::string_view text) {
  while (!text.empty()) {
    const ssize_t put = os::retry([&] { return write(descriptor, text.data(), text.size()); });
    if (put <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(put));
  }
}

// Copies the child's stderr to ours, fit for a terminal: until its end, or until the child's, for something
// that it has started may keep it open. The last bytes are kept.
class ErrorRelay {
 public:
  explicit ErrorRelay(int descriptor) : descriptor_{descriptor} {}

  std::string run(pid_t child) {
    constexpr int step_ms = 50;
    bool open = true;
    while (open && !has_ended(child)) open = read_for(step_ms).value_or(true);
    while (open && read_for(0).value_or(false)) {
    }
    pass_on(held_.size());
    return std::move(kept_);
  }

 private:
  // False: there is no more. nullopt: nothing came in time.
  std::optional<bool> read_for(int time_ms) {
    pollfd poller{descriptor_, POLLIN, 0};
    if (poll(&poller, 1, time_ms) <= 0) return std::nullopt;
    std::array<char, 4096> buffer;
    const ssize_t got = os::retry([&] { return read(descriptor_, buffer.data(), buffer.size()); });
    if (got <= 0) return false;
    const std::string_view text{buffer.data(), static_cast<std::size_t>(got)};
    kept_ += text;
    if (kept_.size() > errors_bytes_kept) kept_.erase(0, kept_.size() - errors_bytes_kept);
    held_ += text;
    pass_on(whole_characters(held_));
    return true;
  }

  void pass_on(std::size_t bytes) {
    std::string text;
    for (const char c : held_.substr(0, bytes))
      if (c != '\r') text += c;  // a terminal in raw mode gets line ends of two characters
    write_all(STDERR_FILENO, safe_text(text));
    held_.erase(0, bytes);
  }

  int descriptor_;
  std::string held_;  // the beginning of a character
  std::string kept_;
};

}  // namespace

std::optional<QemuVersion> parse_qemu_version(std::string_view text) {
  constexpr std::string_view before = "version ";
  if (const auto at = text.find(before); at != std::string_view::npos) text.remove_prefix(at + before.size());
  QemuVersion version;
  const char* const end = text.data() + text.size();
  const auto release = std::from_chars(text.data(), end, version.release);
  if (release.ec != std::errc{} || release.ptr == end || *release.ptr != '.') return std::nullopt;
  const auto update = std::from_chars(release.ptr + 1, end, version.update);
  if (update.ec != std::errc{}) return std::nullopt;
  const bool ends =
      update.ptr == end || std::string_view{". (\n"}.find(*update.ptr) != std::string_view::npos;
  return ends ? std::optional{version} : std::nullopt;
}

OrError<QemuVersion> qemu_version_of(std::string_view text) {
  const auto version = parse_qemu_version(text);
  if (!version) return usage_error(fmt::format("\"{}\" is no version of QEMU", text), "use one such as 9.1");
  return *version;
}

OrError<QemuVersion> ask_qemu_version(const std::string& program) {
  const os::ProgramEnd end =
      CBIT_TRY(os::run_program({.words = {program, "-version"},
                                .package = "qemu-system-x86, or name a QEMU with --qemu",
                                .time_max = answer_time_max,
                                .output_max = answer_bytes_max}));
  constexpr std::string_view remedy = "name a QEMU with --qemu, or say which it is with --qemu-version 9.1";
  if (end.fate == os::ProgramFate::too_slow)
    return bad_input(
        fmt::format("{} -version does not end within {} s", program, answer_time_max.count() / 1000),
        std::string{remedy});
  const auto version = end.succeeded() ? parse_qemu_version(end.output) : std::nullopt;
  if (!version)
    return bad_input(fmt::format("{} -version does not tell a version of QEMU", program),
                     std::string{remedy});
  return *version;
}

OrError<QemuEnd> run_qemu(const std::vector<std::string>& words) {
  std::array<int, 2> ends{-1, -1};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return not_started(words.front(), errno);
  const os::Descriptor from{ends[0]};
  os::Descriptor to{ends[1]};
  const ForegroundSignals signals;
  const pid_t child = CBIT_TRY(spawn(words, to.fd()));
  running_child = child;
  to.reset();
  QemuEnd end;
  end.errors = ErrorRelay{from.fd()}.run(child);
  end.status = wait_for(child);
  running_child = 0;
  return end;
}

}  // namespace cbit::launch
