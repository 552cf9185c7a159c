// Processors that share a clock run in turns on one thread of the host: one after another, each for a slice
// of virtual time.
//
// A turn ends early where the processor halts, where it spins (PAUSE) and another has something to do, and
// where an interrupt is raised for another, which is next then, for a short turn: what the first waits for is
// done soon. A processor alone, the others idle, has no slices.
//
// All of them together execute an instruction per nanosecond, so each of four busy ones has a quarter of the
// speed of one alone. Deterministic: slices are virtual time, and who is next follows from what happened.
// Threading: one thread, that of the machine.
#pragma once

#include <cstdint>
#include <vector>

#include "base/state_stream.hpp"
#include "cpu/cpu.hpp"

namespace cbit::cpu {

class Turns {
 public:
  explicit Turns(Clock& clock) : clock_{&clock} {}

  // In the order of their turns; they outlive this. At least one, before anything else is called.
  void add(Cpu& cpu) { seats_.push_back({&cpu}); }
  // Whose turn it is, or was last.
  [[nodiscard]] Cpu& current() const { return *seats_[turn_].cpu; }

  // As Cpu::run(), for all of them; halted: all are idle. What a debugger is told of changes no turn.
  Stop run(std::uint64_t until_ns);
  void request_stop();
  // run() ends, as for a debugger, when all of them together have come so far (Cpu::position()); `never`:
  // nowhere.
  void pause_at(std::uint64_t position);
  [[nodiscard]] std::uint64_t position() const;

  // What processors tell their Supervisor, who passes it on.
  void signal_raised(const Cpu& cpu);
  void spin_wait();

  // Whose turn it is, and for how long; the CPUs' own states are not in it.
  void transfer(StateStream& s);

 private:
  struct Seat {
    Cpu* cpu;
    bool urgent = false;  // its next turn is a short one, before the others'
  };

  [[nodiscard]] bool others_idle() const;
  void end_turn();
  // False: all are idle.
  [[nodiscard]] bool pass();

  Clock* clock_;
  std::vector<Seat> seats_;
  std::size_t turn_ = 0;
  std::uint64_t turn_ends_ns_ = 0;
  std::uint64_t pause_at_ = never;
  bool running_ = false;
  bool pass_is_due_ = false;
  bool stop_requested_ = false;
};

}  // namespace cbit::cpu
