// Virtual time and what is to happen in it. The machine owns one Clock; whoever makes time pass (a CPU by
// instructions, the model kernel by modelled costs) advances it, devices put deadlines on it.
//
// Deterministic: deadlines are called in order of time, those of the same time in the order in which they
// were scheduled, and never before the clock is advanced.
//
// Threading: the thread that made it is the machine's, and the only one that makes time pass. Others may read
// now_ns(); what they charge takes no time, for there is no one order in which it could pass.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <unordered_map>
#include <utility>

#include "base/state_stream.hpp"

namespace cbit {

inline constexpr std::uint64_t ns_per_second = 1'000'000'000;

class Clock {
 public:
  // Names one scheduled callback; the default value names none.
  struct Id {
    std::uint64_t number = 0;
    explicit operator bool() const { return number != 0; }
    friend bool operator==(Id, Id) = default;
  };
  using Callback = std::function<void()>;

  Clock() = default;
  Clock(const Clock&) = delete;
  Clock& operator=(const Clock&) = delete;

  [[nodiscard]] std::uint64_t now_ns() const { return now_ns_.load(std::memory_order_relaxed); }

  // Calls what falls due up to the new time. During a callback now_ns() is its deadline (or the present, if
  // that is later); it may schedule and cancel, but not advance. The clock stands still at the end of time,
  // 2^64 - 1 ns.
  void advance(std::uint64_t ns);

  // It is at least `ns`, if no deadline falls due until then; else false, and nothing. The one thing here
  // that several threads may do at the same time, while nobody does anything else.
  [[nodiscard]] bool reach(std::uint64_t ns);

  // Something took this long by a table of costs. May be called from anywhere: what falls due by it is called
  // by the next advance(). On a machine whose CPU counts instructions costs are in these already.
  void charge(std::uint64_t ns) {
    if (charges_ && owner_ == &this_thread_mark_) set_now(now_ns() + ns);
  }
  void ignore_charges() { charges_ = false; }

  // Once, at `deadline_ns`; a deadline that has passed is called by the next advance(), be it by 0. The
  // callback must not outlive what it refers to: cancel it, or hold it in a Timer.
  Id schedule(std::uint64_t deadline_ns, Callback callback);
  // false if it has been called, or cancelled.
  bool cancel(Id id);

  [[nodiscard]] std::optional<std::uint64_t> next_deadline() const;

  // The time. Loading forgets what was scheduled: Timers schedule it again, in the same order.
  void transfer(StateStream& s);

 private:
  friend class Timer;
  using Key = std::pair<std::uint64_t, std::uint64_t>;  // deadline, number

  [[nodiscard]] std::uint64_t deadline_of(Id id) const { return deadlines_.at(id.number); }
  // As it was scheduled before: false if that cannot be.
  [[nodiscard]] bool schedule_again(Id id, std::uint64_t deadline_ns, Callback callback);
  void set_now(std::uint64_t ns) { now_ns_.store(ns, std::memory_order_relaxed); }

  static inline thread_local char this_thread_mark_ = 0;  // its address tells threads apart

  const char* owner_ = &this_thread_mark_;
  bool charges_ = true;
  std::atomic<std::uint64_t> now_ns_ = 0;
  std::uint64_t scheduled_ = 0;
  bool running_ = false;
  std::map<Key, Callback> due_;
  std::unordered_map<std::uint64_t, std::uint64_t> deadlines_;  // number → deadline
};

// A callback that can be pending once. Cancelled when it ends.
class Timer {
 public:
  Timer(Clock& clock, Clock::Callback callback) : clock_{&clock}, callback_{std::move(callback)} {}
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  ~Timer() { stop(); }

  // Replaces a pending deadline.
  void start(std::uint64_t deadline_ns);
  void stop();
  [[nodiscard]] bool pending() const { return static_cast<bool>(id_); }
  [[nodiscard]] Clock& clock() const { return *clock_; }
  // After its clock.
  void transfer(StateStream& s);

 private:
  Clock::Callback expiry();

  Clock* clock_;
  Clock::Callback callback_;
  Clock::Id id_;
};

// A counter that runs at a fixed rate in virtual time, exactly: it does not drift however often it is read.
// A value: it holds no state but its rate and its origin.
class TickCounter {
 public:
  TickCounter() = default;
  explicit TickCounter(std::uint64_t hz) : hz_{hz} {}

  [[nodiscard]] std::uint64_t hz() const { return hz_; }
  // What it shows at a time not before it was last set.
  [[nodiscard]] std::uint64_t at(std::uint64_t now_ns) const;
  // It shows `value` at `now_ns`, where its next tick is a whole period away.
  void set(std::uint64_t now_ns, std::uint64_t value);
  // The first time, from its origin on, at which it has reached `value`; the end of time if never.
  [[nodiscard]] std::uint64_t time_of(std::uint64_t value) const;
  void transfer(StateStream& s) { s(origin_ns_, origin_value_); }

 private:
  std::uint64_t hz_ = ns_per_second;
  std::uint64_t origin_ns_ = 0;
  std::uint64_t origin_value_ = 0;
};

// Whole ticks of `hz` in `ns`, and the first nanosecond at which `ticks` of them have passed; both saturate.
[[nodiscard]] std::uint64_t ticks_in(std::uint64_t ns, std::uint64_t hz);
[[nodiscard]] std::uint64_t ns_until(std::uint64_t ticks, std::uint64_t hz);

}  // namespace cbit
