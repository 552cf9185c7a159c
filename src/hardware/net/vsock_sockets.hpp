// A guest's vsock connections as sockets of this host's, with the convention that users know as "hybrid
// vsock": Firecracker, docs/vsock.md; cloud-hypervisor has the same.
//
//   host to guest   a program connects to PATH, writes "CONNECT <port>\n", reads "OK <host's port>\n", and
//                   talks to what listens at that port of the guest. Nobody does: the connection ends
//   guest to host   a connection to CID 2, port P, leads to PATH_P, where a program of the host's listens
//
// PATH has no rights for others, and is gone with this, also when a signal ends the program (os/cleanup.hpp).
// What a guest has sent is delivered, even where its connection has ended meanwhile; at the end of this, to
// who takes it within two seconds. Sockets are bounded in number, and what waits in them by what the device
// lets a guest send. Threading: one thread.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/result.hpp"
#include "dev/vsock_backend.hpp"
#include "os/descriptor.hpp"
#include "os/server_socket.hpp"

namespace cbit::net {

class VsockSockets final : public dev::VsockBackend {
 public:
  // Beside PATH there are names for ports: PATH_4294967295 must be one of a socket, too.
  static constexpr std::size_t path_bytes_max = 96;
  static constexpr std::size_t sockets_max = 1024;
  // The host's ports, from here on, of connections that begin at the host; Firecracker's are these, too.
  static constexpr std::uint32_t first_port = 1u << 30;

  // Errors: a name that is empty or too long (usage); one that is there already, or cannot be made (input).
  static OrError<std::unique_ptr<VsockSockets>> create(const std::string& path);
  ~VsockSockets() override;

  void open(dev::VsockFlow flow) override;
  void accept(dev::VsockFlow flow) override;
  void write(dev::VsockFlow flow, ConstByteSpan bytes) override;
  void allow(dev::VsockFlow flow, std::uint32_t bytes) override;
  void shut(dev::VsockFlow flow, bool takes_no_more, bool sends_no_more) override;
  void close(dev::VsockFlow flow) override;

  void prepare(os::PollSet& set) override;
  void serve(const os::PollSet& set) override;

 private:
  using Polled = std::optional<std::size_t>;  // its number in the set
  // Who has not said yet where to.
  struct Caller {
    os::Descriptor socket;
    std::string line;
    Polled polled;
  };
  struct Stream {
    os::Descriptor socket;
    std::uint32_t allowed = 0;
    Bytes unsent;
    bool guest_takes = true;
    bool guest_sends = true;
    bool ended = false;  // it sends no more
    bool deaf = false;   // it takes no more
    Polled polled;
  };

  VsockSockets(std::string path, os::ServerSocket listener);
  [[nodiscard]] Stream* find(dev::VsockFlow flow);
  [[nodiscard]] bool is_full() const;
  // Of who is gone, or has all.
  void drop_lingering(const os::PollSet& set);
  void answer_callers(const os::PollSet& set);
  // False: it has gone, or has been passed on.
  bool listen_to(Caller& caller);
  void connect_caller(Caller& caller, std::uint32_t guest_port);
  void serve_stream(dev::VsockFlow flow, Stream& stream, short came);
  void read_from(dev::VsockFlow flow, Stream& stream);
  void flush(dev::VsockFlow flow, Stream& stream);
  void become_deaf(dev::VsockFlow flow, Stream& stream);
  void become_silent(dev::VsockFlow flow, Stream& stream);

  std::string path_;
  os::ServerSocket listener_;
  std::size_t sockets_max_;
  Polled polled_;
  std::list<Caller> callers_;
  std::map<dev::VsockFlow, Stream> streams_;
  std::list<Stream> lingering_;  // of connections that are over
  std::uint32_t next_port_ = first_port;
};

}  // namespace cbit::net
