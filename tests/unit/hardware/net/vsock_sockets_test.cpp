// The convention: Firecracker, docs/vsock.md.
#include "net/vsock_sockets.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <thread>

#include "support/temporary_folder.hpp"

namespace cbit::net {
namespace {

using dev::VsockFlow;
using dev::VsockWord;
using ::testing::HasSubstr;
using Kind = VsockWord::Kind;

class VsockSocketsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto made = VsockSockets::create(path);
    ASSERT_TRUE(made) << made.error().message;
    sockets = std::move(*made);
  }
  static sockaddr_un address_of(const std::string& name) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::ranges::copy(name, address.sun_path);
    return address;
  }
  static os::Descriptor socket() { return os::Descriptor{::socket(AF_UNIX, SOCK_STREAM, 0)}; }
  os::Descriptor call(std::string_view line) {
    os::Descriptor caller = socket();
    const sockaddr_un address = address_of(path);
    EXPECT_EQ(::connect(caller.fd(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    say(caller, line);
    return caller;
  }
  os::Descriptor listen(std::uint32_t port) {
    os::Descriptor listener = socket();
    const sockaddr_un address = address_of(path + "_" + std::to_string(port));
    EXPECT_EQ(::bind(listener.fd(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(listener.fd(), 4), 0);
    return listener;
  }
  static void say(const os::Descriptor& peer, std::string_view text) {
    EXPECT_EQ(::send(peer.fd(), text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
  }
  // "": nothing; "end": the other side has said all.
  static std::string hear(const os::Descriptor& peer) {
    std::array<char, 4096> text;
    const ssize_t count = ::recv(peer.fd(), text.data(), text.size(), MSG_DONTWAIT);
    if (count == 0) return "end";
    return count < 0 ? std::string{} : std::string{text.data(), static_cast<std::size_t>(count)};
  }
  void serve() {
    os::PollSet set;
    set.limit(std::chrono::milliseconds{0});
    sockets->prepare(set);
    set.wait();
    sockets->serve(set);
  }
  // The next word, which is to be of this kind.
  VsockWord word(Kind kind) {
    const auto said = sockets->take();
    EXPECT_TRUE(said) << "nothing was said";
    if (!said) return {};
    EXPECT_EQ(said->kind, kind);
    return *said;
  }
  bool is_silent() { return !sockets->take(); }
  // A call of the host's that the guest has taken.
  os::Descriptor connected(VsockFlow& flow) {
    os::Descriptor caller = call("CONNECT 52\n");
    serve();
    flow = word(Kind::connect).flow;
    sockets->accept(flow);
    EXPECT_EQ(hear(caller), "OK " + std::to_string(flow.host_port) + "\n");
    return caller;
  }

  test::TemporaryFolder folder;
  std::string path = folder.file("s");
  std::unique_ptr<VsockSockets> sockets;
};

std::string text_of(const Bytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
ConstByteSpan bytes_in(std::string_view text) { return std::as_bytes(std::span{text}); }

TEST_F(VsockSocketsTest, PassACallOnToTheGuestsPort) {
  VsockFlow flow;
  const os::Descriptor caller = connected(flow);
  EXPECT_EQ(flow.guest_port, 52u);
  EXPECT_EQ(flow.host_port, 1073741824u) << "as in Firecracker's example";
  VsockFlow second;
  const os::Descriptor other = connected(second);
  EXPECT_EQ(second.host_port, flow.host_port + 1);
}

TEST_F(VsockSocketsTest, TakeTheLineInPiecesAndLeaveWhatIsBehindItToTheGuest) {
  const os::Descriptor caller = call("conn");
  serve();
  EXPECT_TRUE(is_silent());
  say(caller, "ect 7\nhello");
  serve();
  const VsockFlow flow = word(Kind::connect).flow;
  EXPECT_EQ(flow.guest_port, 7u);
  serve();
  EXPECT_TRUE(is_silent()) << "nothing is read before the guest has room";
  sockets->accept(flow);
  sockets->allow(flow, 3);
  EXPECT_EQ(text_of(word(Kind::data).bytes), "hel");
  sockets->allow(flow, 100);
  EXPECT_EQ(text_of(word(Kind::data).bytes), "lo");
}

TEST_F(VsockSocketsTest, HangUpOnWhoSaysSomethingElse) {
  for (const std::string_view line :
       {"CONNECT\n", "CONNECT x\n", "CONNECT 1 2\n", "CONNECT 4294967296\n", "CONNECT -1\n", "HELO 5\n", "\n",
        "CONNECT 00000000000000000000000000000052\n"}) {
    const os::Descriptor caller = call(line);
    serve();
    serve();
    EXPECT_TRUE(is_silent()) << line;
    std::array<char, 8> text;
    EXPECT_LE(::recv(caller.fd(), text.data(), text.size(), MSG_DONTWAIT), 0);
    EXPECT_NE(errno, EAGAIN) << line;
  }
}

TEST_F(VsockSocketsTest, HangUpOnACallerWhomTheGuestRefuses) {
  const os::Descriptor caller = call("CONNECT 52\n");
  serve();
  sockets->close(word(Kind::connect).flow);
  EXPECT_EQ(hear(caller), "end");
}

TEST_F(VsockSocketsTest, LeadTheGuestToThePortsOwnSocket) {
  const os::Descriptor listener = listen(1234);
  const VsockFlow flow{.host_port = 1234, .guest_port = 9};
  sockets->open(flow);
  EXPECT_EQ(word(Kind::opened).flow, flow);
  const os::Descriptor peer{::accept(listener.fd(), nullptr, nullptr)};
  sockets->write(flow, bytes_in("ping"));
  EXPECT_EQ(word(Kind::taken).count, 4u);
  EXPECT_EQ(hear(peer), "ping");
  sockets->allow(flow, 10);
  say(peer, "pong");
  serve();
  EXPECT_EQ(text_of(word(Kind::data).bytes), "pong");
  sockets->open({.host_port = 1235, .guest_port = 9});
  EXPECT_EQ(word(Kind::closed).flow.host_port, 1235u);
}

TEST_F(VsockSocketsTest, KeepWhatTheHostDoesNotTakeYet) {
  VsockFlow flow;
  const os::Descriptor caller = connected(flow);
  const Bytes much(4 << 20, std::byte{'x'});
  sockets->write(flow, much);
  std::size_t taken = word(Kind::taken).count, got = 0;
  EXPECT_LT(taken, much.size());
  while (got < much.size()) {
    const std::string part = hear(caller);
    ASSERT_FALSE(part.empty());
    got += part.size();
    serve();
    while (const auto said = sockets->take()) taken += said->count;
  }
  EXPECT_EQ(taken, much.size());
  EXPECT_EQ(got, much.size());
}

TEST_F(VsockSocketsTest, DeliverWhatWasSentBeforeTheEnd) {
  VsockFlow flow;
  const os::Descriptor caller = connected(flow);
  const Bytes much(1 << 20, std::byte{'x'});
  sockets->write(flow, much);
  sockets->close(flow);
  std::size_t got = 0;
  for (std::string part; (part = hear(caller)) != "end"; serve()) got += part.size();
  EXPECT_EQ(got, much.size());
}

TEST_F(VsockSocketsTest, DeliverWhatWasSentBeforeTheEndOfAll) {
  VsockFlow flow;
  const os::Descriptor caller = connected(flow);
  const Bytes much(1 << 20, std::byte{'x'});
  sockets->write(flow, much);
  std::size_t got = 0;
  std::thread reader{[&] {
    std::array<char, 4096> part;
    for (ssize_t count; (count = ::recv(caller.fd(), part.data(), part.size(), 0)) > 0;)
      got += static_cast<std::size_t>(count);
  }};
  sockets.reset();
  reader.join();
  EXPECT_EQ(got, much.size());
}

TEST_F(VsockSocketsTest, TellTheEndOfOneDirectionFromThatOfBoth) {
  VsockFlow flow;
  os::Descriptor caller = connected(flow);
  sockets->allow(flow, 10);
  say(caller, "bye");
  ::shutdown(caller.fd(), SHUT_WR);
  serve();
  EXPECT_EQ(text_of(word(Kind::data).bytes), "bye");
  word(Kind::ended);
  serve();
  EXPECT_TRUE(is_silent()) << "it still takes";
  sockets->write(flow, bytes_in("x"));
  EXPECT_EQ(hear(caller), "x");
  word(Kind::taken);
  caller.reset();
  serve();
  word(Kind::deaf);
  sockets->write(flow, bytes_in("lost"));
  EXPECT_EQ(word(Kind::taken).count, 4u) << "the guest is not left waiting";
  serve();
  EXPECT_TRUE(is_silent());
}

TEST_F(VsockSocketsTest, ShutWhatTheGuestShuts) {
  VsockFlow flow;
  const os::Descriptor caller = connected(flow);
  sockets->shut(flow, false, true);
  EXPECT_EQ(hear(caller), "end");
  say(caller, "still heard");
  sockets->allow(flow, 100);
  EXPECT_EQ(text_of(word(Kind::data).bytes), "still heard");
  sockets->shut(flow, true, false);
  EXPECT_EQ(::send(caller.fd(), "x", 1, MSG_NOSIGNAL), -1);
  EXPECT_EQ(errno, EPIPE);
}

TEST_F(VsockSocketsTest, KnowNothingOfConnectionsThatAreOver) {
  const VsockFlow flow{.host_port = 1, .guest_port = 2};
  sockets->accept(flow);
  sockets->write(flow, bytes_in("x"));
  sockets->allow(flow, 5);
  sockets->shut(flow, true, true);
  sockets->close(flow);
  EXPECT_TRUE(is_silent());
}

TEST_F(VsockSocketsTest, AreAFileOfThisUsersAsLongAsTheyLive) {
  struct stat info{};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_TRUE(S_ISSOCK(info.st_mode));
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  const auto again = VsockSockets::create(path);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ExitCode::bad_input);
  EXPECT_THAT(again.error().message, HasSubstr("it exists already"));
  sockets.reset();
  EXPECT_NE(::stat(path.c_str(), &info), 0);
}

// sun_path has 108 bytes (include/uapi/linux/un.h); a port is 11 more behind the name, and a NUL.
TEST(VsockSockets, HaveNamesToWhichAPortCanBeAdded) {
  for (const std::string& name : {std::string{}, std::string(97, 'x')}) {
    const auto made = VsockSockets::create(name);
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, ExitCode::usage);
    EXPECT_FALSE(made.error().hint.empty());
  }
}

}  // namespace
}  // namespace cbit::net
