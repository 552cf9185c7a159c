#include "cpu/standstill.hpp"

#include <algorithm>
#include <chrono>
#include <thread>

namespace cbit::cpu {
namespace {

// Others come to the next block within less; where the host has fewer processors than we have threads, they
// may need ours.
constexpr unsigned spins_max = 400;

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Until the value has none of the bits.
void wait_until_clear(const std::atomic<std::uint32_t>& value, std::uint32_t bits) {
  for (unsigned spins = 0;; ++spins) {
    const std::uint32_t now = value.load();
    if ((now & bits) == 0) return;
    if (spins < spins_max)
      relax();
    else
      value.wait(now);
  }
}

}  // namespace

// Whoever wants to be alone sets the bit and then looks at the number, and whoever joins does it the other
// way round: one of them sees the other.
void Standstill::join_unless(std::uint32_t bits) {
  for (;;) {
    wait_until_clear(wanted_, bits);
    joined_.fetch_add(1);
    if ((wanted_.load() & bits) == 0) return;
    leave();
  }
}

void Standstill::join() { join_unless(alone | outside); }

void Standstill::leave() {
  if (joined_.fetch_sub(1) == 1 && wanted_.load() != 0) joined_.notify_all();
}

void Standstill::wait_for_others() { wait_until_clear(joined_, ~std::uint32_t{0}); }

void Standstill::lock(std::size_t seat) {
  leave();
  arbiter_.lock();
  wanted_.fetch_or(alone);
  wait_for_others();
  last_alone_ = seat;
}

// Inside of a block it goes on to the block's end even if others wait to be outside.
void Standstill::unlock() {
  wanted_.fetch_and(~alone);
  wanted_.notify_all();
  arbiter_.unlock();
  join_unless(alone);
}

void Standstill::lock_outside(std::size_t seat) {
  leave();
  for (;;) {
    arbiter_.lock();
    wanted_.fetch_or(alone | outside);
    wait_for_others();
    if (std::ranges::none_of(inside_, &Inside::value)) break;
    wanted_.fetch_and(~alone);
    wanted_.notify_all();
    arbiter_.unlock();
    std::this_thread::sleep_for(std::chrono::microseconds{50});
  }
  wanted_.fetch_and(~outside);
  last_alone_ = seat;
}

}  // namespace cbit::cpu
