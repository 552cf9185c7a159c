// A socket that others connect to, and a connection of one of them: for a service that looks in on its peers
// now and then, and never waits for them longer than it says.
//
// Addresses are written as QEMU's character devices have them: tcp:HOST:PORT, tcp::PORT or PORT alone, which
// nobody but this host reaches; unix:PATH, a file with no rights for others, gone with the socket, also when
// a signal ends the program (os/cleanup.hpp). Threading: one thread.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "os/cleanup.hpp"
#include "os/descriptor.hpp"

namespace cbit::os {

class Connection {
 public:
  explicit Connection(Descriptor descriptor) : descriptor_{std::move(descriptor)} {}

  // What has come within so much time; empty: nothing. False: the peer is gone.
  bool receive(std::string& to, std::chrono::milliseconds most);
  // False: the peer is gone, or takes nothing.
  bool send(std::string_view bytes);
  [[nodiscard]] int fd() const { return descriptor_.fd(); }
  // Whoever gets it closes it.
  [[nodiscard]] Descriptor release() && { return std::move(descriptor_); }

 private:
  Descriptor descriptor_;
};

class ServerSocket {
 public:
  // `waiting_max`: so many may wait to be accepted. Errors: an address that is none (usage); one that cannot
  // be had (input).
  static OrError<ServerSocket> listen(std::string_view address, int waiting_max = 1);
  ServerSocket(ServerSocket&& other) noexcept = default;
  ServerSocket& operator=(ServerSocket&&) = delete;
  ~ServerSocket();

  // Where clients find it: "127.0.0.1:1234", or the file's name.
  [[nodiscard]] const std::string& where() const { return where_; }
  [[nodiscard]] int fd() const { return descriptor_.fd(); }
  // Who connects within so much time.
  std::optional<Connection> accept(std::chrono::milliseconds most);

 private:
  ServerSocket(Descriptor descriptor, std::string where)
      : descriptor_{std::move(descriptor)}, where_{std::move(where)} {}
  static OrError<ServerSocket> listen_tcp(std::string_view address, std::string_view host,
                                          std::string_view port, int waiting_max);
  static OrError<ServerSocket> listen_unix(std::string_view path, int waiting_max);

  Descriptor descriptor_;
  std::string where_;
  Descriptor folder_;  // of a file, which is removed
  std::string name_;
  Cleanup cleanup_;
};

}  // namespace cbit::os
