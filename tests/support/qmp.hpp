// A QEMU without a machine that a test asks over QMP, one command at a time. Each answer is waited for,
// however long it takes: a slow machine loses none. ctest ends a test that hangs.
#pragma once

#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

namespace cbit::test {

class Qmp {
 public:
  explicit Qmp(const char* program) {
    std::array<int, 2> ends{-1, -1};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) return;
    const std::string chardev = "socket,id=qmp,fd=" + std::to_string(its_end);
    const std::array<const char*, 12> words{
        program, "-machine", "none",          "-nodefaults", "-display",
        "none",  "-chardev", chardev.c_str(), "-mon",        "chardev=qmp,mode=control",
        nullptr};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], its_end);
    if (posix_spawnp(&child_, program, &actions, nullptr, const_cast<char**>(words.data()), environ) != 0)
      child_ = -1;
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    socket_ = fdopen(ends[0], "r");
    answer("QMP", "QMP");
    ask("qmp_capabilities");
  }
  Qmp(const Qmp&) = delete;
  Qmp& operator=(const Qmp&) = delete;
  ~Qmp() {
    if (socket_ != nullptr) std::fclose(socket_);
    if (child_ <= 0) return;
    kill(child_, SIGKILL);
    while (waitpid(child_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }

  // The answer, which has a member "return" or "error"; nothing once QEMU is gone.
  nlohmann::json ask(std::string_view command, nlohmann::json arguments = nlohmann::json::object()) {
    nlohmann::json request = nlohmann::json::object();
    request["execute"] = command;
    request["arguments"] = std::move(arguments);
    const std::string line = request.dump() + '\n';
    const bool sent = socket_ != nullptr &&
                      send(fileno(socket_), line.data(), line.size(), MSG_NOSIGNAL) == std::ssize(line);
    return sent ? answer("return", "error") : nlohmann::json{};
  }

 private:
  // The next message that has one of the members; events come in between.
  nlohmann::json answer(const char* one, const char* other) {
    for (std::string line; read_line(line);)
      if (auto message = nlohmann::json::parse(line); message.contains(one) || message.contains(other))
        return message;
    return {};
  }
  bool read_line(std::string& line) {
    line.clear();
    for (int c = 0; (c = socket_ == nullptr ? EOF : std::fgetc(socket_)) != EOF && c != '\n';)
      line += static_cast<char>(c);
    return !line.empty();
  }

  static constexpr int its_end = 10;  // above the standard streams
  pid_t child_ = -1;
  std::FILE* socket_ = nullptr;
};

}  // namespace cbit::test
