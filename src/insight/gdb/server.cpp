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
      frozen_{frozen},
      pc_{&pc} {}

void Server::replay(Keeper& keeper, std::function<std::uint64_t()> shown) {
  keeper_ = &keeper;
  shown_ = std::move(shown);
  stub_.replay();
  if (keeper.journey().kind != Journey::Kind::none) set_out();
}

void Server::set_out() {
  journey_ = keeper_->journey();
  peer_.emplace(keeper_->take_peer());
  last_stop_ = {.kind = Journey::Kind::to_position,
                .processor = journey_->processor,
                .reason = journey_->reason,
                .debugger = journey_->debugger};
  if (journey_->kind == Journey::Kind::of_a_processor)
    pc_->cpu(journey_->processor).pause_at(journey_->position);
  else
    pc_->pause_at(journey_->position);
  if (journey_->kind == Journey::Kind::to_last_stop) stub_.set_points(journey_->debugger.points);
}

bool Server::travel() {
  if (journey_->kind == Journey::Kind::to_last_stop)
    while (const auto stop = stub_.take_stop()) note_stop(*stop);
  const bool is_there = journey_->kind == Journey::Kind::of_a_processor
                            ? pc_->cpu(journey_->processor).position() >= journey_->position
                            : pc_->position() >= journey_->position;
  if (!is_there && !pc_->ending()) return false;
  if (journey_->kind == Journey::Kind::to_last_stop) go_back(last_stop_);
  pc_->pause_at(cpu::never);
  const Journey done = *std::exchange(journey_, {});
  tell(stub_.arrive(done));
  return true;
}

// Backwards, one stops before what is watched is accessed.
void Server::note_stop(const Target::Stop& stop) {
  const bool watches = stop.point.kind >= PointKind::write;
  const std::uint64_t position = pc_->position() - (watches ? 1 : 0);
  if (!watches) pc_->cpu(stop.processor).pass_breakpoint();
  if (position >= journey_->position) return;
  last_stop_.position = position;
  last_stop_.processor = stop.processor;
  last_stop_.reason = stub_.describe(stop);
}

void Server::go_back(const Journey& journey) {
  Journey next = journey;
  next.shown = shown_();
  keeper_->go_back(next, peer_->fd());
}

guest::Wish Server::at_end() {
  if (journey_ && !travel()) return guest::Wish::end;
  if (peer_ && stub_.attached() && stub_.state() == State::runs) {
    const auto stop = stub_.look_for_stop();  // of the last instruction
    tell(stop ? stop : stub_.end_of_recording());
  }
  if (!peer_ || !stub_.attached()) return guest::Wish::end;
  serve();
  return peer_ && !killed() ? guest::Wish::stand_still : guest::Wish::end;
}

guest::Wish Server::attend() {
  if (journey_ && !travel()) return guest::Wish::go_on;
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
  if (peer_ && stub_.state() == State::goes_back) go_back(stub_.journey());
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
