#include "gdb/server.hpp"

#include <fmt/format.h>

namespace cbit::gdb {
namespace {

using namespace std::chrono_literals;
using State = Stub::State;

// How long a machine that stands still is looked away from: Ctrl-C at the console waits so long.
constexpr std::chrono::milliseconds patience = 20ms;
// How much time a processor that is halted sleeps between two looks for Ctrl-C.
constexpr std::uint64_t sleep_ns = 20'000'000;

}  // namespace

Server::Server(guest::Pc& pc, const guest::KernelKnowledge* knowledge, os::ServerSocket socket, bool frozen)
    : socket_{std::move(socket)},
      stub_{pc, knowledge, [this](std::string_view data) { tell(std::string{data}); }},
      frozen_{frozen} {}

guest::Wish Server::attend() {
  if (!peer_) welcome();
  if (peer_) serve();
  if (killed()) return guest::Wish::end;
  const bool stands_still = peer_ ? stub_.state() != State::runs : frozen_;
  return stands_still ? guest::Wish::stand_still : guest::Wish::go_on;
}

void Server::welcome() {
  auto peer = socket_.accept(frozen_ ? patience : 0ms);
  if (!peer) return;
  peer_ = std::move(*peer);
  reader_ = {};
  stub_.attach();
}

void Server::serve() {
  if (stub_.state() == State::runs) {
    if (const auto stop = stub_.look_for_stop()) tell(stop);
    if (stub_.state() == State::runs) (void)listen(0ms);
  }
  while (peer_ && (stub_.state() == State::stopped || stub_.state() == State::steps)) {
    const bool steps = stub_.state() == State::steps;
    if (steps) tell(stub_.step(sleep_ns));
    if (!listen(steps ? 0ms : patience) && !steps) break;
  }
  if (peer_) return;
  frozen_ = stub_.state() != State::runs;
  if (!frozen_) stub_.let_go();  // what it has set would stop the machine for nobody
}

bool Server::listen(std::chrono::milliseconds most) {
  std::string bytes;
  if (!peer_->receive(bytes, most)) {
    peer_.reset();
    return false;
  }
  for (const char byte : bytes)
    if (const auto arrival = reader_.take(byte); arrival && peer_) take(*arrival);
  return !bytes.empty();
}

void Server::take(const Arrival& arrival) {
  switch (arrival.kind) {
    case Arrival::Kind::interrupt: tell(stub_.interrupt()); return;
    case Arrival::Kind::refused:
      if (!peer_->send(last_sent_)) peer_.reset();
      return;
    case Arrival::Kind::damaged:
      if (stub_.acknowledges() && !peer_->send("-")) peer_.reset();
      return;
    case Arrival::Kind::packet:
      if (stub_.acknowledges() && !peer_->send("+")) {
        peer_.reset();
        return;
      }
      tell(stub_.execute(arrival.data));
      return;
  }
}

void Server::tell(const std::optional<std::string>& data) {
  if (!data || !peer_) return;
  last_sent_ = frame(*data);
  if (!peer_->send(last_sent_)) peer_.reset();
}

void Server::finish(unsigned exit_status) {
  if (peer_ && stub_.state() == State::runs) tell(fmt::format("W{:02x}", exit_status & 0xff));
}

}  // namespace cbit::gdb
