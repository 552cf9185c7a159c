#include "boot/kernel_source/command.hpp"

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
#include <cstring>
#include <string_view>
#include <utility>

#include "os/cleanup.hpp"

namespace cbit::boot {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t stream_bytes_kept = 16 << 20;

struct StreamPipe {
  std::array<int, 2> ends{-1, -1};  // read, write
  StreamPipe() {
    if (pipe2(ends.data(), O_CLOEXEC) != 0) ends = {-1, -1};
  }
  StreamPipe(const StreamPipe&) = delete;
  StreamPipe& operator=(const StreamPipe&) = delete;
  ~StreamPipe() {
    shut(0);
    shut(1);
  }
  void shut(std::size_t end) {
    if (ends[end] >= 0) close(std::exchange(ends[end], -1));
  }
  [[nodiscard]] bool open() const { return ends[0] >= 0; }
};

std::vector<char*> null_ended(const std::vector<std::string>& words) {
  std::vector<char*> list;
  for (const std::string& word : words) list.push_back(const_cast<char*>(word.c_str()));
  list.push_back(nullptr);
  return list;
}

std::vector<std::string> environment_in_c() {
  std::vector<std::string> variables;
  for (char** variable = environ; *variable != nullptr; ++variable)
    if (!std::string_view{*variable}.starts_with("LC_ALL=")) variables.emplace_back(*variable);
  variables.emplace_back("LC_ALL=C");
  return variables;
}

// An errno value; 0: started. The child leads a process group, so that all of it can be killed.
int start_command(const std::vector<std::string>& words, const std::filesystem::path& folder,
                  const StreamPipe& output, const StreamPipe& errors, pid_t& child) {
  const std::vector<std::string> variables = environment_in_c();
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addchdir_np(&actions, folder.c_str());
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output.ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, errors.ends[1], STDERR_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  // What this process ignores or holds back has its default action in the child.
  sigset_t defaults, held;
  sigemptyset(&held);
  sigemptyset(&defaults);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGXFSZ}) sigaddset(&defaults, number);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setsigmask(&attributes, &held);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
  const int error = posix_spawnp(&child, words.front().c_str(), &actions, &attributes,
                                 null_ended(words).data(), null_ended(variables).data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  return error;
}

// Reads what is there; closes the end at the stream's end.
void drain(StreamPipe& pipe, std::string& to) {
  std::array<char, 1 << 14> part;
  const ssize_t now = ::read(pipe.ends[0], part.data(), part.size());
  if (now < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (now <= 0) return pipe.shut(0);
  to.append(part.data(), std::min(static_cast<std::size_t>(now), stream_bytes_kept - to.size()));
}

// False: the time is over.
bool read_streams(StreamPipe& output, StreamPipe& errors, CommandResult& result, Clock::time_point end) {
  while (output.open() || errors.open()) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now()).count();
    std::array<pollfd, 2> waiting{{{output.ends[0], POLLIN, 0}, {errors.ends[0], POLLIN, 0}}};
    if (left <= 0) return false;
    if (poll(waiting.data(), waiting.size(), static_cast<int>(left)) < 0 && errno != EINTR) return false;
    if (waiting[0].revents != 0) drain(output, result.output);
    if (waiting[1].revents != 0) drain(errors, result.errors);
  }
  return true;
}

int wait_for_end(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace

Result<CommandResult, CommandFailure> run_command(const std::vector<std::string>& words,
                                                  const std::filesystem::path& folder,
                                                  std::chrono::milliseconds timeout) {
  StreamPipe output, errors;
  if (!output.open() || !errors.open()) return tl::unexpected{CommandFailure{.why = std::strerror(errno)}};
  pid_t child = -1;
  os::Cleanup cleanup;
  {
    const os::SignalsHeld signals;
    if (const int error = start_command(words, folder, output, errors, child); error != 0)
      return tl::unexpected{CommandFailure{error == ENOENT, std::strerror(error)}};
    cleanup = os::Cleanup::group(child);
  }
  output.shut(1);
  errors.shut(1);
  CommandResult result;
  const bool in_time = read_streams(output, errors, result, Clock::now() + timeout);
  if (!in_time) kill(-child, SIGKILL);
  result.status = wait_for_end(child);
  if (!in_time)
    return tl::unexpected{CommandFailure{
        .why = fmt::format("it had not ended after {} s",
                           std::chrono::duration_cast<std::chrono::seconds>(timeout).count())}};
  return result;
}

}  // namespace cbit::boot
