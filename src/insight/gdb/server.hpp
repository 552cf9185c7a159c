// A stub behind a socket: who connects has the machine, one at a time, and it stands still for them.
//
// A debugger that goes without a word leaves the machine as it is; the next may go on with it.
// Threading: that of the machine.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "gdb/packets.hpp"
#include "gdb/stub.hpp"
#include "guest/run.hpp"
#include "os/server_socket.hpp"

namespace cbit::gdb {

class Server {
 public:
  // `frozen`: the machine stands still until a debugger lets it go. The rest outlives it; `knowledge` may be
  // nullptr.
  Server(guest::Pc& pc, const guest::KernelKnowledge* knowledge, os::ServerSocket socket, bool frozen);
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // In a child of the keeper, before the machine's first instruction. `shown`: how much of the guest's output
  // there has been, over all.
  void replay(Keeper& keeper, std::function<std::uint64_t()> shown);
  // The replay has come to its end, and whoever is attached may go back.
  guest::Wish at_end();

  // Reads what has come, does it, and tells what the machine is to do now. While it stands still, it waits a
  // little for more.
  guest::Wish attend();
  // The machine has ended: its debugger is told.
  void finish(unsigned exit_status);
  [[nodiscard]] bool killed() const { return stub_.state() == Stub::State::killed; }

 private:
  void set_out();
  // On the way to where a debugger wanted to go back to; true: it is there.
  bool travel();
  void note_stop(const Target::Stop& stop);
  [[noreturn]] void go_back(const Journey& journey);
  void welcome();
  void serve();
  // False: nothing came within so much time.
  bool listen(std::chrono::milliseconds most);
  void take(const Arrival& arrival);
  void tell(const std::optional<std::string>& data);

  os::ServerSocket socket_;
  std::optional<os::Connection> peer_;
  PacketReader reader_;
  Stub stub_;
  bool frozen_;
  guest::Pc* pc_;
  Keeper* keeper_ = nullptr;  // of a replay
  std::function<std::uint64_t()> shown_;
  std::optional<Journey> journey_;  // under way
  Journey last_stop_;               // that was found on the way
  std::string last_sent_;
};

}  // namespace cbit::gdb
