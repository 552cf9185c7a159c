#include "os/server_socket.hpp"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <fstream>

#include "support/temporary_folder.hpp"

namespace cbit::os {
namespace {

using namespace std::chrono_literals;

TEST(ServerSocket, ListensAtAFreePortOfThisHostAlone) {
  for (const char* address : {"tcp::0", "tcp:127.0.0.1:0", "0"}) {
    auto socket = ServerSocket::listen(address);
    ASSERT_TRUE(socket) << address;
    EXPECT_TRUE(socket->where().starts_with("127.0.0.1:")) << socket->where();
    EXPECT_FALSE(socket->accept(0ms));
  }
}

TEST(ServerSocket, HandsOverWhatAPeerSendsAndTellsWhenItIsGone) {
  auto socket = ServerSocket::listen("0");
  ASSERT_TRUE(socket);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port =
      htons(static_cast<std::uint16_t>(std::stoi(socket->where().substr(socket->where().rfind(':') + 1))));
  Descriptor peer{::socket(AF_INET, SOCK_STREAM, 0)};
  ASSERT_EQ(::connect(peer.fd(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  auto connection = socket->accept(1000ms);
  ASSERT_TRUE(connection);
  std::string got;
  EXPECT_TRUE(connection->receive(got, 0ms));
  EXPECT_EQ(got, "");
  ASSERT_EQ(::send(peer.fd(), "hi", 2, 0), 2);
  EXPECT_TRUE(connection->receive(got, 1000ms));
  EXPECT_EQ(got, "hi");
  EXPECT_TRUE(connection->send("ho"));
  peer.reset();
  EXPECT_FALSE(connection->receive(got, 1000ms));
}

TEST(ServerSocket, IsAFileOnlyAsLongAsItLives) {
  const test::TemporaryFolder folder;
  const std::string path = folder.file("socket");
  {
    auto socket = ServerSocket::listen("unix:" + path);
    ASSERT_TRUE(socket);
    struct stat found{};
    ASSERT_EQ(::stat(path.c_str(), &found), 0);
    EXPECT_EQ(found.st_mode & 0777, 0600u);
    const auto second = ServerSocket::listen("unix:" + path);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, ExitCode::bad_input);
    const ServerSocket moved = *std::move(socket);
    EXPECT_EQ(::stat(path.c_str(), &found), 0);
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(ServerSocket, LeavesAFileThatItDidNotMake) {
  const test::TemporaryFolder folder;
  std::ofstream{folder.file("file")} << "mine";
  EXPECT_FALSE(ServerSocket::listen("unix:" + folder.file("file")));
  EXPECT_TRUE(std::filesystem::exists(folder.file("file")));
}

TEST(ServerSocket, RefusesWhatIsNoAddress) {
  for (const char* address :
       {"", "tcp", "tcp:", "tcp:1234x", "tcp::", "tcp::65536", "x", "-1", "unix:", "1 2"}) {
    const auto socket = ServerSocket::listen(address);
    ASSERT_FALSE(socket) << address;
    EXPECT_EQ(socket.error().code, ExitCode::usage) << address;
  }
  EXPECT_EQ(ServerSocket::listen("unix:" + std::string(200, 'a')).error().code, ExitCode::usage);
  EXPECT_EQ(ServerSocket::listen("unix:/no/such/folder/socket").error().code, ExitCode::bad_input);
}

}  // namespace
}  // namespace cbit::os
