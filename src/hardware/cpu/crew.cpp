#include "cpu/crew.hpp"

#include <algorithm>
#include <csignal>

#include "base/assert.hpp"

namespace cbit::cpu {
namespace {

// Signals are for the thread that runs the machine, but those that an instruction of this thread causes.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t most;
    sigfillset(&most);
    for (const int own : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT}) sigdelset(&most, own);
    pthread_sigmask(SIG_SETMASK, &most, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_{};
};

}  // namespace

void Crew::add(Cpu& cpu) {
  CBIT_ASSERT(seats_.size() < Standstill::seats_max && cpu.index() == seats_.size());
  seats_.emplace_back().cpu = &cpu;
}

Crew::~Crew() {
  {
    const std::lock_guard lock{mutex_};
    ends_ = true;
  }
  for (Seat& seat : seats_) seat.woken.notify_one();
  for (Seat& seat : seats_)
    if (seat.thread.joinable()) seat.thread.join();
}

void Crew::start_threads() {
  const SignalsBlocked blocked;
  for (Seat& seat : seats_) seat.thread = std::thread{[this, &seat] { work(seat); }};
}

Stop Crew::run(std::uint64_t until_ns) {
  if (clock_->now_ns() >= until_ns) return Stop::deadline;
  if (!seats_.front().thread.joinable()) start_threads();
  others_.set_stopping(false);
  until_ns_ = until_ns;
  std::unique_lock lock{mutex_};
  for (Seat& seat : seats_) {
    seat.state = seat.cpu->idle() ? State::idle : State::busy;
    if (seat.state == State::busy) seat.woken.notify_one();
  }
  over_.wait(lock, [this] { return is_over(); });
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  return outcome();
}

bool Crew::is_over() const {
  return std::ranges::none_of(seats_, [](const Seat& seat) { return seat.state == State::busy; });
}

Stop Crew::outcome() const {
  Stop result = Stop::halted;
  for (const Seat& seat : seats_) {
    if (seat.state != State::stopped) continue;
    if (seat.stop == Stop::shutdown || seat.stop == Stop::debugger) return seat.stop;
    if (result != Stop::requested) result = seat.stop;
  }
  return result;
}

void Crew::work(Seat& seat) {
  while (wait_for_work(seat)) run_seat(seat);
}

bool Crew::wait_for_work(Seat& seat) {
  std::unique_lock lock{mutex_};
  seat.woken.wait(lock, [&] { return ends_ || seat.state == State::busy; });
  return !ends_;
}

void Crew::run_seat(Seat& seat) {
  const Stop stop = run_cpu(*seat.cpu);
  others_.join();
  const bool ends_all = stop == Stop::shutdown || stop == Stop::debugger || failure_ != nullptr;
  if (ends_all) {
    others_.lock(seat.cpu->index());
    request_stop();
    others_.unlock();
  }
  // Between the run's end and here it may have been woken.
  if (ends_all || stop == Stop::deadline || others_.stopping()) {
    seat.stop = stop == Stop::halted ? Stop::requested : stop;
    rest(seat, State::stopped);
  } else if (seat.cpu->idle()) {
    rest(seat, State::idle);
  }
  others_.leave();
}

// What goes wrong with the host (its memory is used up) is for whoever runs the machine.
Stop Crew::run_cpu(Cpu& cpu) {
  try {
    return cpu.run(until_ns_);
  } catch (...) {
    others_.join();
    others_.lock(cpu.index());
    if (!failure_) failure_ = std::current_exception();
    others_.unlock();
    others_.leave();
    return Stop::requested;
  }
}

// It has joined: nobody is alone who could wake it at the same time.
void Crew::rest(Seat& seat, State state) {
  const std::lock_guard lock{mutex_};
  seat.state = state;
  if (is_over()) over_.notify_one();
}

void Crew::request_stop() {
  others_.set_stopping(true);
  for (Seat& seat : seats_) seat.cpu->request_stop();
}

void Crew::signal_raised(const Cpu& cpu) {
  const auto seat = std::ranges::find(seats_, &cpu, &Seat::cpu);
  if (seat == seats_.end()) return;
  const std::lock_guard lock{mutex_};
  if (seat->state != State::idle || is_over()) return;
  seat->state = State::busy;
  seat->woken.notify_one();
}

// What it waits for may be somebody who has no processor of the host's.
void Crew::spin_wait() {
  constexpr unsigned spins_max = 64;
  thread_local unsigned spins = 0;
  if (++spins % spins_max == 0) std::this_thread::yield();
}

}  // namespace cbit::cpu
