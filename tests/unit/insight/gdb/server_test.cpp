// A server and a debugger on the other end of its socket.
#include "gdb/server.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "support/guest_images.hpp"
#include "support/temporary_folder.hpp"

namespace cbit::gdb {
namespace {

using guest::Wish;
using testing::HasSubstr;

class ServerTest : public testing::Test {
 protected:
  ServerTest() {
    pc_ = std::move(*guest::Pc::create({.memory_bytes = 16 << 20}));
    const Bytes image = test::GuestCode{}.debug("hello").exit(3).multiboot();
    EXPECT_TRUE(pc_->load({.name = "image", .kernel = image, .command_line = ""}));
  }
  Server& serve(bool frozen) {
    auto socket = os::ServerSocket::listen("unix:" + folder_.file("socket"));
    EXPECT_TRUE(socket);
    return server_.emplace(*pc_, nullptr, *std::move(socket), frozen);
  }
  void connect() {
    peer_ = os::Descriptor{::socket(AF_UNIX, SOCK_STREAM, 0)};
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = folder_.file("socket");
    std::memcpy(address.sun_path, path.data(), path.size());
    ASSERT_EQ(::connect(peer_.fd(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  void send(std::string_view bytes) {
    ASSERT_EQ(::send(peer_.fd(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  }
  std::string received() {
    std::array<char, 4096> buffer;
    const ssize_t count = ::recv(peer_.fd(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    return count > 0 ? std::string{buffer.data(), static_cast<std::size_t>(count)} : "";
  }

  test::TemporaryFolder folder_;
  std::unique_ptr<guest::Pc> pc_;
  std::optional<Server> server_;
  os::Descriptor peer_;
};

TEST_F(ServerTest, LetsTheMachineRunAsLongAsNobodyIsThere) { EXPECT_EQ(serve(false).attend(), Wish::go_on); }

TEST_F(ServerTest, HoldsAMachineThatIsFrozenForItsDebugger) {
  Server& server = serve(true);
  EXPECT_EQ(server.attend(), Wish::stand_still);
  connect();
  EXPECT_EQ(server.attend(), Wish::stand_still);
  send(frame("vCont;c"));
  EXPECT_EQ(server.attend(), Wish::go_on);
  EXPECT_EQ(received(), "+");
}

TEST_F(ServerTest, AcknowledgesUntilItIsToldNotTo) {
  Server& server = serve(false);
  connect();
  send("$qC#00" + frame("QStartNoAckMode") + frame("qC"));
  EXPECT_EQ(server.attend(), Wish::stand_still);
  EXPECT_EQ(received(), "-+" + frame("OK") + frame("QC1"));
}

TEST_F(ServerTest, SendsOnceMoreWhatWasRefused) {
  Server& server = serve(false);
  connect();
  send(frame("qC") + "-");
  (void)server.attend();
  EXPECT_EQ(received(), "+" + frame("QC1") + frame("QC1"));
}

TEST_F(ServerTest, TellsOfAStopAndOfTheEnd) {
  Server& server = serve(true);
  connect();
  send(frame("Z0,"
             "400014,1") +
       frame("c"));
  EXPECT_EQ(server.attend(), Wish::go_on);
  (void)received();
  EXPECT_TRUE(pc_->run(1'000'000).debugger);
  EXPECT_EQ(server.attend(), Wish::stand_still);
  EXPECT_THAT(received(), HasSubstr("T05thread:1;"));
  send(frame("z0,400014,1") + frame("c"));
  EXPECT_EQ(server.attend(), Wish::go_on);
  (void)received();
  EXPECT_TRUE(pc_->run(1'000'000).ending);
  server.finish(7);
  EXPECT_EQ(received(), frame("W07"));
}

TEST_F(ServerTest, LetsTheMachineRunOnWhereARunningDebuggerGoes) {
  Server& server = serve(true);
  connect();
  send(frame("Z0,400014,1") + frame("c"));
  EXPECT_EQ(server.attend(), Wish::go_on);
  peer_.reset();
  EXPECT_EQ(server.attend(), Wish::go_on);
  EXPECT_TRUE(pc_->run(1'000'000).ending) << "its breakpoint is gone";
}

TEST_F(ServerTest, KeepsTheMachineForTheNextWhereADebuggerGoesWithoutAWord) {
  Server& server = serve(false);
  connect();
  EXPECT_EQ(server.attend(), Wish::stand_still);
  peer_.reset();
  EXPECT_EQ(server.attend(), Wish::stand_still);
  EXPECT_EQ(server.attend(), Wish::stand_still);
  connect();
  send(frame("D"));
  EXPECT_EQ(server.attend(), Wish::go_on);
}

TEST_F(ServerTest, EndsTheRunForADebuggerThatKillsIt) {
  Server& server = serve(false);
  connect();
  send(frame("k"));
  EXPECT_EQ(server.attend(), Wish::end);
  EXPECT_TRUE(server.killed());
}

TEST_F(ServerTest, StepsBetweenTwoLooksAndStopsAtOnce) {
  Server& server = serve(false);
  connect();
  send(frame("vCont;s:1"));
  EXPECT_EQ(server.attend(), Wish::stand_still);
  EXPECT_THAT(received(), HasSubstr(frame("T05thread:1;")));
  EXPECT_EQ(pc_->cpu().instructions(), 1u);
}

}  // namespace
}  // namespace cbit::gdb
