#include "cpu/turns.hpp"

#include <algorithm>
#include <optional>
#include <utility>

namespace cbit::cpu {
namespace {

constexpr std::uint64_t slice_ns = 100'000;
constexpr std::uint64_t urgent_slice_ns = 10'000;

}  // namespace

Stop Turns::run(std::uint64_t until_ns) {
  stop_requested_ = false;
  while (!stop_requested_) {
    if (std::exchange(pass_is_due_, false)) (void)pass();
    if (current().idle() && !pass()) return Stop::halted;
    if (pause_at_ != never) {
      const std::uint64_t position = this->position();
      if (position >= pause_at_) return Stop::debugger;
      current().pause_at(current().position() + (pause_at_ - position));
    }
    const std::uint64_t end_ns = others_idle() ? until_ns : std::min(until_ns, turn_ends_ns_);
    running_ = true;
    const Stop stop = current().run(end_ns);
    running_ = false;
    if (stop == Stop::shutdown || stop == Stop::debugger) return stop;
    pass_is_due_ = false;
    if (stop == Stop::deadline && clock_->now_ns() >= until_ns) return stop;
    if (stop != Stop::halted) (void)pass();
  }
  return Stop::requested;
}

std::uint64_t Turns::position() const {
  std::uint64_t sum = 0;
  for (const Seat& seat : seats_) sum += seat.cpu->position();
  return sum;
}

void Turns::pause_at(std::uint64_t position) {
  pause_at_ = position;
  for (const Seat& seat : seats_) seat.cpu->pause_at(never);
}

bool Turns::others_idle() const {
  for (std::size_t seat = 0; seat < seats_.size(); ++seat)
    if (seat != turn_ && !seats_[seat].cpu->idle()) return false;
  return true;
}

bool Turns::pass() {
  std::optional<std::size_t> next;
  for (std::size_t step = 1; step <= seats_.size(); ++step) {
    const std::size_t seat = (turn_ + step) % seats_.size();
    if (seats_[seat].cpu->idle()) continue;
    if (!next || seats_[seat].urgent) next = seat;
    if (seats_[seat].urgent) break;
  }
  if (!next) return false;
  turn_ = *next;
  const bool urgent = std::exchange(seats_[turn_].urgent, false);
  turn_ends_ns_ = clock_->now_ns() + (urgent ? urgent_slice_ns : slice_ns);
  return true;
}

void Turns::request_stop() {
  stop_requested_ = true;
  current().request_stop();
}

void Turns::signal_raised(const Cpu& cpu) {
  if (&cpu == &current()) return;
  const auto seat = std::ranges::find(seats_, &cpu, &Seat::cpu);
  if (seat == seats_.end()) return;
  seat->urgent = true;
  if (running_) end_turn();
}

void Turns::spin_wait() {
  if (!others_idle()) end_turn();
}

// Also where a debugger stops at the same instruction.
void Turns::end_turn() {
  pass_is_due_ = true;
  current().request_stop();
}

void Turns::transfer(StateStream& s) {
  std::uint64_t turn = turn_;
  s.up_to(turn, std::uint64_t{seats_.size() - 1});
  turn_ = static_cast<std::size_t>(turn);
  s(turn_ends_ns_);
  for (Seat& seat : seats_) s(seat.urgent);
}

}  // namespace cbit::cpu
