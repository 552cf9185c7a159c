// Where rooms report what happens. Costs a branch or two when nobody listens, and takes as much virtual time
// as when somebody does.
//
// Threading: with no sink attached, emit() may be called from any thread. While a sink is attached the
// machine runs on one thread: virtual time has one order.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/clock.hpp"
#include "base/events.hpp"

namespace cbit {

class Tracer;

class EventSink {
 public:
  virtual ~EventSink() = default;
  // Around the events: `tracer` gives names to the ids in them until on_detach().
  virtual void on_attach(const Tracer&) {}
  virtual void on_detach() {}
  // Whether the boot of a model kernel is for it, too, which says something about each page of the machine.
  [[nodiscard]] virtual bool hears_boot() const { return true; }
  virtual void on_event(const Event& event) = 0;
};

// Those who listen to a run; nullptr is nobody.
using EventSinks = std::vector<EventSink*>;

class Tracer {
 public:
  // `clock` outlives the Tracer.
  explicit Tracer(Clock& clock) : clock_{&clock} { names_.emplace_back("unknown"); }
  Tracer(const Tracer&) = delete;
  Tracer& operator=(const Tracer&) = delete;

  void attach(EventSink& sink);
  void detach(EventSink& sink);
  [[nodiscard]] bool enabled() const { return !sinks_.empty(); }

  [[nodiscard]] const Clock& clock() const { return *clock_; }

  // The event begins now. What takes time by a model (base/cost.hpp) says how much: that time passes,
  // listened to or not.
  template <class Payload>
  void emit(Agent agent, Payload&& payload, std::uint64_t duration_ns = 0) {
    if (enabled()) [[unlikely]]
      deliver(Event{next_stamp(), duration_ns, agent, std::forward<Payload>(payload)});
    if (duration_ns != 0) clock_->charge(duration_ns);
  }
  // The same where the payload is costly to make: make() gives it.
  template <class Make>
  void emit_if_heard(Agent agent, Make&& make, std::uint64_t duration_ns = 0) {
    if (enabled()) [[unlikely]]
      deliver(Event{next_stamp(), duration_ns, agent, make()});
    if (duration_ns != 0) clock_->charge(duration_ns);
  }

  // Ids are stable for the life of the Tracer and are given in order of first use.
  // Not thread-safe: intern at construction time.
  [[nodiscard]] NameId intern(std::string_view name);
  [[nodiscard]] std::string_view name(NameId id) const { return names_.at(id); }

 private:
  // Events of one instant follow each other by 1 ns, so that no two of a run share a time stamp.
  [[nodiscard]] std::uint64_t next_stamp();
  void deliver(const Event& event);

  std::vector<EventSink*> sinks_;
  Clock* clock_;
  std::uint64_t next_stamp_ns_ = 0;
  std::deque<std::string> names_;
  std::unordered_map<std::string_view, NameId> ids_;
};

}  // namespace cbit
