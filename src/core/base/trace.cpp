#include "base/trace.hpp"

#include <algorithm>

namespace cbit {

void Tracer::attach(EventSink& sink) {
  sinks_.push_back(&sink);
  sink.on_attach(*this);
}

void Tracer::detach(EventSink& sink) {
  if (std::erase(sinks_, &sink) != 0) sink.on_detach();
}

NameId Tracer::intern(std::string_view name) {
  if (const auto found = ids_.find(name); found != ids_.end()) return found->second;
  const auto id = static_cast<NameId>(names_.size());
  names_.emplace_back(name);
  ids_.emplace(names_.back(), id);
  return id;
}

std::uint64_t Tracer::next_stamp() {
  const std::uint64_t stamp = std::max(clock_->now_ns(), next_stamp_ns_);
  next_stamp_ns_ = stamp + 1;
  return stamp;
}

void Tracer::deliver(const Event& event) {
  for (EventSink* sink : sinks_) sink->on_event(event);
}

}  // namespace cbit
