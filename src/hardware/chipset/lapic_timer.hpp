// The timer of a local APIC: a counter of 32 bits that counts down once or periodically, or a deadline of the
// CPU's time-stamp counter. Intel SDM vol. 3, 11.5.4.
//
// Nothing ticks: counts are computed from the time, and there is a deadline on the clock only while the owner
// watches, because an expiry that is masked, or whose vector waits already, has no effect that anybody could
// see. Threading: one thread, that of the machine.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "base/clock.hpp"
#include "base/state_stream.hpp"
#include "spec/apic.hpp"

namespace cbit::chipset {

class LapicTimer {
 public:
  // `hz`: of the bus clock, before it is divided. `expired` is called for each expiry that is watched.
  LapicTimer(Clock& clock, std::uint64_t hz, std::function<void()> expired);

  // Stopped, one-shot, divided by 2, not watched. Keeps the time-stamp counter.
  void reset();
  // Whether expiries matter from now on.
  void watch(bool watched);

  // Between one-shot and periodic a count goes on; to and from TSC-deadline everything is disarmed.
  void set_mode(spec::ApicTimerMode mode);
  [[nodiscard]] spec::ApicTimerMode mode() const { return mode_; }
  void set_divisor(unsigned divisor);  // a power of two, 1 to 128
  // Starts the count, or stops it with 0; ignored in TSC-deadline mode.
  void set_initial_count(std::uint32_t count);
  [[nodiscard]] std::uint32_t initial_count() const { return initial_; }
  [[nodiscard]] std::uint32_t current_count() const;

  void set_tsc(const TickCounter& tsc);
  // Arms, or disarms with 0; ignored, and 0, in other modes. A deadline that has passed expires at once.
  void set_tsc_deadline(std::uint64_t tsc);
  [[nodiscard]] std::uint64_t tsc_deadline();
  void transfer(StateStream& s);

 private:
  [[nodiscard]] bool counts() const;
  // Counts since the start, after division.
  [[nodiscard]] std::uint64_t elapsed() const;
  void restart(std::uint32_t count);
  [[nodiscard]] std::optional<std::uint64_t> next_expiry() const;
  // Expires a deadline that has passed, and puts the next expiry on the clock.
  void settle();
  void on_time();

  TickCounter bus_;  // from the start of the count
  std::function<void()> expired_;
  spec::ApicTimerMode mode_ = spec::ApicTimerMode::one_shot;
  unsigned divisor_ = 2;
  std::uint32_t initial_ = 0;
  std::uint32_t first_ = 0;  // count at the start; 0: stopped
  std::uint64_t deadline_ = 0;
  TickCounter tsc_;
  bool watched_ = false;
  Timer timer_;
};

}  // namespace cbit::chipset
