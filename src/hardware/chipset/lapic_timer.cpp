#include "chipset/lapic_timer.hpp"

#include <limits>
#include <utility>

namespace cbit::chipset {

using spec::ApicTimerMode;

LapicTimer::LapicTimer(Clock& clock, std::uint64_t hz, std::function<void()> expired)
    : bus_{hz}, expired_{std::move(expired)}, timer_{clock, [this] { on_time(); }} {}

void LapicTimer::reset() {
  mode_ = ApicTimerMode::one_shot;
  divisor_ = 2;
  initial_ = first_ = 0;
  deadline_ = 0;
  watched_ = false;
  timer_.stop();
}

void LapicTimer::watch(bool watched) {
  if (watched == watched_) return;
  watched_ = watched;
  settle();
}

bool LapicTimer::counts() const {
  return first_ != 0 && (mode_ == ApicTimerMode::one_shot || mode_ == ApicTimerMode::periodic);
}

std::uint64_t LapicTimer::elapsed() const { return bus_.at(timer_.clock().now_ns()) / divisor_; }

std::uint32_t LapicTimer::current_count() const {
  if (!counts()) return 0;
  const std::uint64_t passed = elapsed();
  if (passed < first_) return static_cast<std::uint32_t>(first_ - passed);
  if (mode_ == ApicTimerMode::one_shot) return 0;
  return static_cast<std::uint32_t>(initial_ - (passed - first_) % initial_);
}

void LapicTimer::restart(std::uint32_t count) {
  bus_.set(timer_.clock().now_ns(), 0);
  first_ = count;
}

void LapicTimer::set_mode(ApicTimerMode mode) {
  if (mode == mode_) return;
  const std::uint32_t count = current_count();
  const bool disarms = mode == ApicTimerMode::tsc_deadline || mode_ == ApicTimerMode::tsc_deadline;
  mode_ = mode;
  restart(count);
  if (disarms) {
    initial_ = first_ = 0;
    deadline_ = 0;
  }
  settle();
}

void LapicTimer::set_divisor(unsigned divisor) {
  if (divisor == divisor_) return;
  const std::uint32_t count = current_count();
  divisor_ = divisor;
  restart(count);
  settle();
}

void LapicTimer::set_initial_count(std::uint32_t count) {
  if (mode_ == ApicTimerMode::tsc_deadline) return;
  initial_ = count;
  restart(count);
  settle();
}

void LapicTimer::set_tsc(const TickCounter& tsc) {
  tsc_ = tsc;
  settle();
}

void LapicTimer::set_tsc_deadline(std::uint64_t tsc) {
  if (mode_ != ApicTimerMode::tsc_deadline) return;
  deadline_ = tsc;
  settle();
}

std::uint64_t LapicTimer::tsc_deadline() {
  settle();
  return deadline_;
}

std::optional<std::uint64_t> LapicTimer::next_expiry() const {
  if (mode_ == ApicTimerMode::tsc_deadline) {
    if (deadline_ == 0) return std::nullopt;
    return tsc_.time_of(deadline_);
  }
  if (!counts()) return std::nullopt;
  const std::uint64_t passed = elapsed();
  std::uint64_t count = first_;
  if (passed >= first_) {
    if (mode_ == ApicTimerMode::one_shot) return std::nullopt;
    count += ((passed - first_) / initial_ + 1) * initial_;
  }
  return bus_.time_of(count * divisor_);
}

void LapicTimer::settle() {
  timer_.stop();
  const std::uint64_t now = timer_.clock().now_ns();
  if (deadline_ != 0 && tsc_.at(now) >= deadline_) {
    deadline_ = 0;
    if (watched_) expired_();
    return;
  }
  if (!watched_) return;
  const auto expiry = next_expiry();
  // Never is not a deadline; and at the end of time there is no later one.
  if (expiry && *expiry > now && *expiry != std::numeric_limits<std::uint64_t>::max()) timer_.start(*expiry);
}

void LapicTimer::on_time() {
  if (mode_ == ApicTimerMode::tsc_deadline) return settle();
  expired_();
  settle();
}

void LapicTimer::transfer(StateStream& s) {
  s.choice(mode_, ApicTimerMode::tsc_deadline);
  s(bus_, divisor_, initial_, first_, deadline_, tsc_, watched_, timer_);
  s.require(std::has_single_bit(divisor_) && divisor_ <= 128, "a timer has no such divisor");
}

}  // namespace cbit::chipset
