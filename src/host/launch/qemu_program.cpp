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
#include <cstring>
#include <utility>

namespace cbit::launch {
namespace {

constexpr std::size_t answer_bytes_max = 4096;
constexpr std::size_t errors_bytes_kept = 16384;
constexpr int answer_ms_max = 30'000;  // of silence

struct Pipe {
  std::array<int, 2> ends{-1, -1};  // read, write
  Pipe() {
    if (pipe2(ends.data(), O_CLOEXEC) != 0) ends = {-1, -1};
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  ~Pipe() {
    close_end(0);
    close_end(1);
  }
  void close_end(std::size_t which) {
    if (ends[which] >= 0) close(std::exchange(ends[which], -1));
  }
};

tl::unexpected<Error> not_started(std::string_view program, int error) {
  return bad_input(fmt::format("cannot start {}: {}", program, std::strerror(error)),
                   "install the package qemu-system-x86, or name a QEMU with --qemu");
}

// Spawns with one stream of the child at the pipe's write end. Signals that this process ignores or catches
// have their default action in the child.
OrError<pid_t> spawn(const std::vector<std::string>& words, const Pipe& pipe, int stream, bool silent) {
  std::vector<char*> list;
  for (const std::string& word : words) list.push_back(const_cast<char*>(word.c_str()));
  list.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  if (silent) {
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  }
  posix_spawn_file_actions_adddup2(&actions, pipe.ends[1], stream);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t defaults;
  sigemptyset(&defaults);
  for (const int number : {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGPIPE}) sigaddset(&defaults, number);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
  pid_t child = -1;
  const int error = posix_spawnp(&child, list.front(), &actions, &attributes, list.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return not_started(words.front(), error);
  return child;
}

int wait_for(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

// Up to the end of the stream, but no more and no longer than an answer takes.
std::optional<std::string> read_answer(int descriptor) {
  std::string text;
  std::array<char, 512> buffer;
  for (int waited_ms = 0; text.size() < answer_bytes_max && waited_ms < answer_ms_max;) {
    pollfd poller{descriptor, POLLIN, 0};
    constexpr int step_ms = 100;
    const int ready = poll(&poller, 1, step_ms);
    if (ready == 0) waited_ms += step_ms;
    if (ready <= 0) continue;
    const ssize_t got = read(descriptor, buffer.data(), buffer.size());
    if (got == 0) return text;
    if (got > 0) text.append(buffer.data(), static_cast<std::size_t>(got));
  }
  return std::nullopt;
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

// Copies the child's stderr to ours until its end; the last bytes are kept.
std::string relay_errors(int descriptor) {
  std::string kept;
  std::array<char, 4096> buffer;
  for (;;) {
    const ssize_t got = read(descriptor, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return kept;
    const std::string_view text{buffer.data(), static_cast<std::size_t>(got)};
    for (std::string_view rest = text; !rest.empty();) {
      const ssize_t put = write(STDERR_FILENO, rest.data(), rest.size());
      if (put < 0 && errno == EINTR) continue;
      if (put <= 0) break;
      rest.remove_prefix(static_cast<std::size_t>(put));
    }
    kept += text;
    if (kept.size() > errors_bytes_kept) kept.erase(0, kept.size() - errors_bytes_kept);
  }
}

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
  Pipe pipe;
  const pid_t child = CBIT_TRY(spawn({program, "-version"}, pipe, STDOUT_FILENO, true));
  pipe.close_end(1);
  const auto answer = read_answer(pipe.ends[0]);
  if (!answer) kill(child, SIGKILL);
  const int status = wait_for(child);
  const auto version = answer && status == 0 ? parse_qemu_version(*answer) : std::nullopt;
  if (!version)
    return bad_input(fmt::format("{} -version does not tell a version of QEMU", program),
                     "name a QEMU with --qemu, or say which it is with --qemu-version 9.1");
  return *version;
}

OrError<QemuEnd> run_qemu(const std::vector<std::string>& words) {
  Pipe pipe;
  const ForegroundSignals signals;
  const pid_t child = CBIT_TRY(spawn(words, pipe, STDERR_FILENO, false));
  running_child = child;
  pipe.close_end(1);
  QemuEnd end;
  end.errors = relay_errors(pipe.ends[0]);
  end.status = wait_for(child);
  running_child = 0;
  return end;
}

}  // namespace cbit::launch
