// A folder with one of everything, for tests of what is shared of it; beside it something that is not.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "dev/p9/shared_folder.hpp"
#include "support/temporary_folder.hpp"

namespace cbit::test {

//   share/file        "some words\n", mode 0640      share/fifo, share/socket
//   share/folder/deep/leaf   "leaf"                   share/out -> ../outside
//   share/empty/                                      share/absolute -> TEMPORARY/outside/secret
//   outside/secret                                    share/inside -> folder/deep
struct HostFolder {
  static constexpr const char* words = "some words\n";

  HostFolder() {
    namespace fs = std::filesystem;
    fs::create_directories(path("folder/deep"));
    fs::create_directories(path("empty"));
    fs::create_directories(temporary.file("outside"));
    write("file", words);
    EXPECT_EQ(chmod(path("file").c_str(), 0640), 0);
    write("folder/deep/leaf", "leaf");
    write("../outside/secret", "secret");
    fs::create_symlink("../outside", path("out"));
    fs::create_symlink(temporary.file("outside/secret"), path("absolute"));
    fs::create_symlink("folder/deep", path("inside"));
    EXPECT_EQ(mkfifo(path("fifo").c_str(), 0644), 0);
    make_socket();
    auto opened = dev::SharedFolder::open(temporary.file("share"));
    if (opened) shared = std::move(*opened);
    EXPECT_NE(shared, nullptr) << opened.error().message;
  }
  [[nodiscard]] std::string path(const std::string& name) const { return temporary.file("share/" + name); }
  void write(const std::string& name, std::string_view text) const {
    std::ofstream{path(name), std::ios::binary} << text;
  }

  TemporaryFolder temporary;
  std::unique_ptr<dev::SharedFolder> shared;

 private:
  void make_socket() const {
    const os::Descriptor at{socket(AF_UNIX, SOCK_STREAM, 0)};
    // A path may be longer than an address: it is made by a name in the folder.
    const os::Descriptor folder{::open(temporary.file("share").c_str(), O_PATH | O_DIRECTORY)};
    const std::string name = os::path_of(folder) + "/socket";
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    name.copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(bind(at.fd(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
};

}  // namespace cbit::test
