// Processors that share a clock run at the same time, each on a thread of the host: what cpu/turns.hpp is for
// one thread. Not deterministic.
//
// While run() executes, the caller's thread waits; before and behind it all processors stand still outside
// of blocks, and everything may be looked at and changed as if there were one thread. While it executes,
// whatever is called by a processor (devices, deadlines, probes, a Supervisor) is called while that one is
// alone (cpu/standstill.hpp), so it, too, may do everything but call run().
//
// The clock shows the time of the processor that is farthest, at an instruction per nanosecond.
//
// Threading: as said; one thread makes, runs and destroys it.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>

#include "cpu/cpu.hpp"
#include "cpu/standstill.hpp"

namespace cbit::cpu {

class Crew {
 public:
  explicit Crew(Clock& clock) : clock_{&clock} {}
  // They outlive this, and have its Board::others; at least one, at most Standstill::seats_max, by their
  // numbers, before anything else is called.
  void add(Cpu& cpu);
  ~Crew();
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  [[nodiscard]] Standstill& others() { return others_; }
  // Who is alone, or was last: the one that does what is being seen.
  [[nodiscard]] Cpu& current() const { return *seats_[others_.last_alone()].cpu; }

  // As Cpu::run(), for all of them; halted: all are idle. Throws what one of them does, and then is not to be
  // run again.
  Stop run(std::uint64_t until_ns);
  void request_stop();

  // What processors tell their Supervisor, who passes it on.
  void signal_raised(const Cpu& cpu);
  // By the processor's thread.
  static void spin_wait();

 private:
  enum class State : std::uint8_t { idle, busy, stopped };
  struct Seat {
    Cpu* cpu = nullptr;
    State state = State::idle;
    Stop stop = Stop::requested;
    std::condition_variable woken;
    std::thread thread;
  };

  void start_threads();
  void work(Seat& seat);
  // Until the seat is busy again; false: it is to end.
  [[nodiscard]] bool wait_for_work(Seat& seat);
  void run_seat(Seat& seat);
  [[nodiscard]] Stop run_cpu(Cpu& cpu);
  void rest(Seat& seat, State state);
  [[nodiscard]] bool is_over() const;
  [[nodiscard]] Stop outcome() const;

  Clock* clock_;
  Standstill others_;
  std::deque<Seat> seats_;
  std::uint64_t until_ns_ = 0;
  std::mutex mutex_;  // of what follows, and the seats' states
  std::condition_variable over_;
  bool ends_ = false;
  std::exception_ptr failure_;  // written alone; read joined, or while nobody has
};

}  // namespace cbit::cpu
