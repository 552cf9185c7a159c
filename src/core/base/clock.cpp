#include "base/clock.hpp"

#include <algorithm>
#include <limits>

#include "base/assert.hpp"

namespace cbit {
namespace {

constexpr std::uint64_t end_of_time = std::numeric_limits<std::uint64_t>::max();
using Wide = unsigned __int128;

std::uint64_t saturated(Wide value) { return static_cast<std::uint64_t>(std::min(value, Wide{end_of_time})); }

std::uint64_t sum(std::uint64_t a, std::uint64_t b) { return a > end_of_time - b ? end_of_time : a + b; }

}  // namespace

void Clock::advance(std::uint64_t ns) {
  CBIT_ASSERT(!running_);
  running_ = true;
  const std::uint64_t until = sum(now_ns(), ns);
  while (!due_.empty() && due_.begin()->first.first <= until) {
    auto first = due_.extract(due_.begin());
    const auto [deadline, number] = first.key();
    deadlines_.erase(number);
    set_now(std::max(now_ns(), deadline));
    first.mapped()();
  }
  set_now(until);
  running_ = false;
}

bool Clock::reach(std::uint64_t ns) {
  if (!due_.empty() && due_.begin()->first.first <= ns) return false;
  std::uint64_t now = now_ns();
  while (now < ns && !now_ns_.compare_exchange_weak(now, ns, std::memory_order_relaxed)) {
  }
  return true;
}

Clock::Id Clock::schedule(std::uint64_t deadline_ns, Callback callback) {
  const std::uint64_t number = ++scheduled_;
  due_.emplace(Key{deadline_ns, number}, std::move(callback));
  deadlines_.emplace(number, deadline_ns);
  return {number};
}

bool Clock::cancel(Id id) {
  const auto found = deadlines_.find(id.number);
  if (found == deadlines_.end()) return false;
  due_.erase({found->second, id.number});
  deadlines_.erase(found);
  return true;
}

bool Clock::schedule_again(Id id, std::uint64_t deadline_ns, Callback callback) {
  if (id.number > scheduled_ || !deadlines_.emplace(id.number, deadline_ns).second) return false;
  due_.emplace(Key{deadline_ns, id.number}, std::move(callback));
  return true;
}

void Clock::transfer(StateStream& s) {
  std::uint64_t now = now_ns();
  s(now, scheduled_);
  if (!s.loads() || !s.good()) return;
  due_.clear();
  deadlines_.clear();
  set_now(now);
}

std::optional<std::uint64_t> Clock::next_deadline() const {
  if (due_.empty()) return std::nullopt;
  return due_.begin()->first.first;
}

void Timer::start(std::uint64_t deadline_ns) {
  stop();
  id_ = clock_->schedule(deadline_ns, expiry());
}

Clock::Callback Timer::expiry() {
  return [this] {
    id_ = {};
    callback_();
  };
}

void Timer::transfer(StateStream& s) {
  std::uint64_t number = id_.number;
  std::uint64_t deadline_ns = id_ && !s.loads() ? clock_->deadline_of(id_) : 0;
  s(number, deadline_ns);
  if (!s.loads() || !s.good()) return;
  id_ = {};
  if (number == 0) return;
  s.require(clock_->schedule_again({number}, deadline_ns, expiry()), "a deadline is on no clock");
  if (s.good()) id_ = {number};
}

void Timer::stop() {
  clock_->cancel(id_);
  id_ = {};
}

std::uint64_t ticks_in(std::uint64_t ns, std::uint64_t hz) {
  return saturated(Wide{ns} * hz / ns_per_second);
}

std::uint64_t ns_until(std::uint64_t ticks, std::uint64_t hz) {
  CBIT_ASSERT(hz != 0);
  return saturated((Wide{ticks} * ns_per_second + hz - 1) / hz);
}

std::uint64_t TickCounter::at(std::uint64_t now_ns) const {
  return origin_value_ + ticks_in(now_ns - origin_ns_, hz_);
}

void TickCounter::set(std::uint64_t now_ns, std::uint64_t value) {
  origin_ns_ = now_ns;
  origin_value_ = value;
}

std::uint64_t TickCounter::time_of(std::uint64_t value) const {
  if (value <= origin_value_) return origin_ns_;
  return sum(origin_ns_, ns_until(value - origin_value_, hz_));
}

}  // namespace cbit
