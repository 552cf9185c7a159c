#include "os/program.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "os/cleanup.hpp"
#include "os/descriptor.hpp"

namespace cbit::os {
namespace {

using Clock = std::chrono::steady_clock;

std::vector<char*> pointers(const std::vector<std::string>& words) {
  std::vector<char*> list;
  for (const std::string& word : words) list.push_back(const_cast<char*>(word.c_str()));
  list.push_back(nullptr);
  return list;
}

tl::unexpected<Error> not_started(const ProgramCall& call, int error) {
  return bad_input(fmt::format("cannot start {}: {}", call.words.front(), std::strerror(error)),
                   fmt::format("install the package {}", call.package));
}

// Signals that this process ignores, catches or holds back have their default action in the child.
void set_signals(posix_spawnattr_t& attributes) {
  sigset_t defaults, held;
  sigemptyset(&held);
  sigemptyset(&defaults);
  for (const int number : {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGPIPE, SIGXFSZ}) sigaddset(&defaults, number);
  ::posix_spawnattr_setsigdefault(&attributes, &defaults);
  ::posix_spawnattr_setsigmask(&attributes, &held);
  ::posix_spawnattr_setpgroup(&attributes, 0);
  ::posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
}

OrError<pid_t> spawn(const ProgramCall& call, int out) {
  std::vector<std::string> variables = call.environment;
  for (char** variable = environ; *variable != nullptr; ++variable) variables.emplace_back(*variable);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  if (out >= 0)
    ::posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
  else
    ::posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  if (!call.folder.empty()) ::posix_spawn_file_actions_addchdir_np(&actions, call.folder.c_str());
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  set_signals(attributes);
  pid_t child = -1;
  const auto start = [&](const std::string& program) {
    return ::posix_spawnp(&child, program.c_str(), &actions, &attributes, pointers(call.words).data(),
                          pointers(variables).data());
  };
  const std::string& program = call.words.front();
  int error = start(program);
  // An ordinary user's PATH does not look where an administrator's tools are.
  for (const std::string_view folder : {"/usr/sbin/", "/sbin/"})
    if (error == ENOENT && program.find('/') == std::string::npos)
      error = start(std::string{folder} + program);
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return not_started(call, error);
  return child;
}

// A program that runs, until it ends or is ended.
class Running {
 public:
  Running(pid_t leader, Descriptor output, const ProgramCall& call)
      : leader_{leader}, output_{std::move(output)}, call_{call} {}

  ProgramEnd finish() {
    const Clock::time_point deadline = Clock::now() + call_.time_max;
    bool ended = false;
    while (!ended && end_.fate == ProgramFate::exited) {
      read_for(step_ms);
      ended = has_ended();
      if (!ended && Clock::now() >= deadline) end_.fate = ProgramFate::too_slow;
    }
    if (ended) drain();
    // Nobody of its group is left to hold on to files, or to go on writing.
    ::kill(-leader_, SIGKILL);
    int status = 0;
    retry([&] { return ::waitpid(leader_, &status, 0); });
    if (end_.fate != ProgramFate::exited) return std::move(end_);
    if (WIFSIGNALED(status)) end_.fate = ProgramFate::killed;
    end_.status = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
    return std::move(end_);
  }

 private:
  static constexpr int step_ms = 20;

  // It stays a zombie until it is reaped, so that its group's number means nothing else.
  [[nodiscard]] bool has_ended() const {
    siginfo_t info{};
    const auto id = static_cast<id_t>(leader_);
    return ::waitid(P_PID, id, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == leader_;
  }

  // What it has written so far: somebody else may hold the pipe open.
  void drain() {
    while (end_.fate == ProgramFate::exited && read_for(0)) {
    }
  }

  // True: something came.
  bool read_for(int time_ms) {
    if (!output_.is_open()) {
      ::poll(nullptr, 0, time_ms);
      return false;
    }
    pollfd poller{output_.fd(), POLLIN, 0};
    if (::poll(&poller, 1, time_ms) <= 0) return false;
    std::array<char, 4096> chunk;
    const ssize_t n = ::read(output_.fd(), chunk.data(), chunk.size());
    if (n <= 0) {
      if (n == 0 || errno != EINTR) output_.reset();
      return false;
    }
    end_.output.append(chunk.data(), static_cast<std::size_t>(n));
    if (end_.output.size() > call_.output_max) end_.fate = ProgramFate::too_much;
    return true;
  }

  pid_t leader_;
  Descriptor output_;
  const ProgramCall& call_;
  ProgramEnd end_;
};

}  // namespace

OrError<ProgramEnd> run_program(const ProgramCall& call) {
  std::array<int, 2> ends{-1, -1};
  if (call.output_max != 0 && ::pipe2(ends.data(), O_CLOEXEC) != 0) return not_started(call, errno);
  Descriptor from{ends[0]}, to{ends[1]};
  Cleanup cleanup;
  pid_t leader = -1;
  {
    const SignalsHeld held;
    leader = CBIT_TRY(spawn(call, to.fd()));
    cleanup = Cleanup::group(leader);
  }
  to.reset();
  return Running{leader, std::move(from), call}.finish();
}

}  // namespace cbit::os
