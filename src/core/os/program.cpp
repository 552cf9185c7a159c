#include "os/program.hpp"

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
#include <utility>

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

// The caller's variables, but for those that the call has.
std::vector<std::string> environment_of(const ProgramCall& call) {
  std::vector<std::string> variables = call.environment;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string_view own{*variable};
    const auto names_it = [name = own.substr(0, own.find('=') + 1)](const std::string& other) {
      return other.starts_with(name);
    };
    if (std::ranges::none_of(call.environment, names_it)) variables.emplace_back(own);
  }
  return variables;
}

void send_to(posix_spawn_file_actions_t& actions, int number, int to) {
  if (to >= 0)
    ::posix_spawn_file_actions_adddup2(&actions, to, number);
  else
    ::posix_spawn_file_actions_addopen(&actions, number, "/dev/null", O_WRONLY, 0);
}

OrError<pid_t> spawn(const ProgramCall& call, int output, int errors) {
  const std::vector<std::string> variables = environment_of(call);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  send_to(actions, STDOUT_FILENO, output);
  send_to(actions, STDERR_FILENO, errors);
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

// What comes from one of a program's streams.
struct Stream {
  Descriptor from;
  std::size_t bytes_max = 0;
  std::string text;

  // Where the program writes to; none: nobody listens.
  OrError<Descriptor> open(const ProgramCall& call, std::size_t max) {
    bytes_max = max;
    std::array<int, 2> ends{-1, -1};
    if (max != 0 && ::pipe2(ends.data(), O_CLOEXEC) != 0) return not_started(call, errno);
    from = Descriptor{ends[0]};
    return Descriptor{ends[1]};
  }

  // True: something came.
  bool read() {
    std::array<char, 4096> chunk;
    const ssize_t n = ::read(from.fd(), chunk.data(), chunk.size());
    if (n > 0) text.append(chunk.data(), static_cast<std::size_t>(n));
    if (n == 0 || (n < 0 && errno != EINTR)) from.reset();
    return n > 0;
  }
  [[nodiscard]] bool is_too_long() const { return text.size() > bytes_max; }
};

// A program that runs, until it ends or is ended.
class Running {
 public:
  Running(pid_t leader, std::array<Stream, 2> streams, const ProgramCall& call)
      : leader_{leader}, streams_{std::move(streams)}, time_max_{call.time_max} {}

  ProgramEnd finish() {
    const Clock::time_point deadline = Clock::now() + time_max_;
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
    end_.output = std::move(streams_[0].text);
    end_.errors = std::move(streams_[1].text);
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

  // What it has written so far: somebody else may hold a pipe open.
  void drain() {
    while (end_.fate == ProgramFate::exited && read_for(0)) {
    }
  }

  // True: something came. A stream that is closed has the descriptor -1, which poll() passes over.
  bool read_for(int time_ms) {
    std::array<pollfd, 2> pollers{{{streams_[0].from.fd(), POLLIN, 0}, {streams_[1].from.fd(), POLLIN, 0}}};
    if (::poll(pollers.data(), pollers.size(), time_ms) <= 0) return false;
    bool came = false;
    for (std::size_t i = 0; i < streams_.size(); ++i) {
      if (pollers[i].revents != 0 && streams_[i].read()) came = true;
      if (streams_[i].is_too_long()) end_.fate = ProgramFate::too_much;
    }
    return came;
  }

  pid_t leader_;
  std::array<Stream, 2> streams_;
  std::chrono::milliseconds time_max_;
  ProgramEnd end_;
};

}  // namespace

OrError<ProgramEnd> run_program(const ProgramCall& call) {
  std::array<Stream, 2> streams;
  Descriptor output = CBIT_TRY(streams[0].open(call, call.output_max));
  Descriptor errors = CBIT_TRY(streams[1].open(call, call.errors_max));
  Cleanup cleanup;
  pid_t leader = -1;
  {
    const SignalsHeld held;
    leader = CBIT_TRY(spawn(call, output.fd(), errors.fd()));
    cleanup = Cleanup::group(leader);
  }
  output.reset();
  errors.reset();
  return Running{leader, std::move(streams), call}.finish();
}

}  // namespace cbit::os
