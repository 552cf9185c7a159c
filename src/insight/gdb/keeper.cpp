#include "gdb/keeper.hpp"

#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <system_error>

#include "base/format.hpp"
#include "guest/recording_file.hpp"

namespace cbit::gdb {
namespace {

constexpr std::size_t message_bytes_max = 64 * 1024;
constexpr int killed_by_signal = 128;  // as a shell tells it

// A message with a descriptor.
struct Letter {
  explicit Letter(std::span<std::byte> bytes) : part{bytes.data(), bytes.size()} {
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
  }
  Letter(const Letter&) = delete;
  Letter& operator=(const Letter&) = delete;

  void enclose(int fd) {
    cmsghdr* const head = CMSG_FIRSTHDR(&header);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof fd);
    std::memcpy(CMSG_DATA(head), &fd, sizeof fd);
  }
  [[nodiscard]] os::Descriptor enclosed() {
    const cmsghdr* const head = CMSG_FIRSTHDR(&header);
    if (head == nullptr || head->cmsg_type != SCM_RIGHTS) return os::Descriptor{};
    int fd = -1;
    std::memcpy(&fd, CMSG_DATA(head), sizeof fd);
    return os::Descriptor{fd};
  }

  iovec part;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr header{};
};

int exit_status(pid_t child) {
  int status = 0;
  if (os::retry([&] { return ::waitpid(child, &status, 0); }) < 0) return EXIT_FAILURE;
  return WIFSIGNALED(status) ? killed_by_signal + WTERMSIG(status) : WEXITSTATUS(status);
}

tl::unexpected<Error> no_process() {
  return tl::unexpected{
      Error{fmt::format("cannot make a process: {}", std::generic_category().message(errno)),
            "a debugger of a replay needs one for each way back", ExitCode::internal}};
}

}  // namespace

Bytes Journey::to_bytes() const {
  Bytes bytes;
  const auto put = [&bytes](std::uint64_t number) { guest::put_number(bytes, number); };
  put(static_cast<std::uint64_t>(kind));
  put(position);
  put(processor);
  put(shown);
  put(debugger.acknowledges ? 1 : 0);
  put(debugger.physical ? 1 : 0);
  put(debugger.reports_breaks ? 1 : 0);
  put(debugger.step_mode);
  put(debugger.thread);
  put(debugger.points.size());
  for (const Point& point : debugger.points) {
    put(static_cast<std::uint64_t>(point.kind));
    put(point.at.value());
    put(point.bytes);
  }
  const auto words = std::as_bytes(std::span{reason});
  bytes.insert(bytes.end(), words.begin(), words.end());
  return bytes;
}

std::optional<Journey> Journey::from_bytes(ConstByteSpan bytes) {
  bool good = true;
  const auto take = [&]() -> std::uint64_t {
    const auto number = guest::take_number(bytes);
    good = good && number.has_value();
    return number.value_or(0);
  };
  Journey journey;
  journey.kind = static_cast<Kind>(take());
  journey.position = take();
  journey.processor = take();
  journey.shown = take();
  journey.debugger.acknowledges = take() != 0;
  journey.debugger.physical = take() != 0;
  journey.debugger.reports_breaks = take() != 0;
  journey.debugger.step_mode = take();
  journey.debugger.thread = take();
  for (std::uint64_t left = take(); good && left != 0; --left) {
    Point& point = journey.debugger.points.emplace_back();
    point.kind = static_cast<PointKind>(take());
    point.at = VirtAddr{take()};
    point.bytes = take();
  }
  if (!good) return std::nullopt;
  journey.reason.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return journey;
}

OrError<Keeper> Keeper::keep() {
  Keeper keeper;
  for (;;) {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) return no_process();
    os::Descriptor ours{ends[0]}, childs{ends[1]};
    const pid_t child = ::fork();
    if (child < 0) return no_process();
    if (child == 0) {
      (void)::prctl(PR_SET_PDEATHSIG, SIGTERM);
      keeper.to_keeper_ = std::move(childs);
      return keeper;
    }
    childs = os::Descriptor{};
    keeper.peer_ = os::Descriptor{};
    Bytes bytes(message_bytes_max);
    Letter letter{bytes};
    const ssize_t got = os::retry([&] { return ::recvmsg(ours.fd(), &letter.header, MSG_CMSG_CLOEXEC); });
    const int status = exit_status(child);
    const auto journey =
        got > 0 ? Journey::from_bytes(std::span{bytes}.first(static_cast<std::size_t>(got))) : std::nullopt;
    if (!journey) {
      keeper.status_ = status;
      return keeper;
    }
    keeper.journey_ = *journey;
    keeper.peer_ = letter.enclosed();
  }
}

void Keeper::go_back(const Journey& journey, int peer) const {
  Bytes bytes = journey.to_bytes();
  Letter letter{bytes};
  letter.enclose(peer);
  const ssize_t sent = os::retry([&] { return ::sendmsg(to_keeper_.fd(), &letter.header, MSG_NOSIGNAL); });
  // Nothing of this process is the last child's to clean up.
  ::_exit(sent < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}

}  // namespace cbit::gdb
