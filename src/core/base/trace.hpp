// Where rooms report what happens. Costs one branch when nobody listens.
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

#include "base/events.hpp"

namespace cbit {

class Tracer;

class EventSink {
 public:
  virtual ~EventSink() = default;
  // Around the events: `tracer` gives names to the ids in them until on_detach().
  virtual void on_attach(const Tracer&) {}
  virtual void on_detach() {}
  virtual void on_event(const Event& event) = 0;
};

// Virtual time: a count of modelled costs (base/cost.hpp), never the host's clock.
class VirtualClock {
 public:
  [[nodiscard]] std::uint64_t now_ns() const { return now_ns_; }
  void advance(std::uint64_t ns) { now_ns_ += ns; }

 private:
  std::uint64_t now_ns_ = 0;
};

class Tracer {
 public:
  Tracer() { names_.emplace_back("unknown"); }
  Tracer(const Tracer&) = delete;
  Tracer& operator=(const Tracer&) = delete;

  void attach(EventSink& sink);
  void detach(EventSink& sink);
  [[nodiscard]] bool enabled() const { return !sinks_.empty(); }

  [[nodiscard]] const VirtualClock& clock() const { return clock_; }

  // Time advances by at least 1 ns per event, so that no two events of a run share a time stamp.
  template <class Payload>
  void emit(Agent agent, Payload&& payload, std::uint64_t duration_ns = 1) {
    if (sinks_.empty()) return;
    deliver(Event{clock_.now_ns(), duration_ns, agent, std::forward<Payload>(payload)});
  }

  // Ids are stable for the life of the Tracer and are given in order of first use.
  // Not thread-safe: intern at construction time.
  [[nodiscard]] NameId intern(std::string_view name);
  [[nodiscard]] std::string_view name(NameId id) const { return names_.at(id); }

 private:
  void deliver(const Event& event);

  std::vector<EventSink*> sinks_;
  VirtualClock clock_;
  std::deque<std::string> names_;
  std::unordered_map<std::string_view, NameId> ids_;
};

}  // namespace cbit
