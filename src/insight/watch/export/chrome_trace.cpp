#include "watch/export/chrome_trace.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <ostream>

#include "base/safe_text.hpp"
#include "watch/event_names.hpp"
#include "watch/export/field_json.hpp"

namespace cbit::watch {
namespace {

using Json = nlohmann::ordered_json;

// Process ids: Perfetto groups tracks by them.
constexpr unsigned cpus = 1;
constexpr unsigned devices = 2;
constexpr unsigned outside = 3;

std::string dump(const Json& json) { return json_text(json); }

// Microseconds with the nanoseconds behind the point.
std::string microseconds(std::uint64_t ns) { return fmt::format("{}.{:03}", ns / 1000, ns % 1000); }

// Facts without a duration of their own.
struct IsInstant {
  bool operator()(const StepTaken&) const { return true; }
  bool operator()(const KernelMessage&) const { return true; }
  bool operator()(const KeyMismatch&) const { return true; }
  bool operator()(const ForeignWrite&) const { return true; }
  bool operator()(const CacheAliasHazard&) const { return true; }
  bool operator()(const AccessFault&) const { return true; }
  bool operator()(const DeviceFault&) const { return true; }
  bool operator()(const DmaMapFailed&) const { return true; }
  bool operator()(const DmaDebugReport&) const { return true; }
  bool operator()(const SwiotlbFull&) const { return true; }
  bool operator()(const SwiotlbDropped&) const { return true; }
  bool operator()(const VirtioBroken&) const { return true; }
  bool operator()(const auto&) const { return false; }
};

// A step is best told by its rule, a message by its text.
std::string title_of(const EventPayload& payload) {
  if (const auto* const step = std::get_if<StepTaken>(&payload)) return step->rule;
  if (const auto* const message = std::get_if<KernelMessage>(&payload)) return message->text;
  return std::string{event_name(payload)};
}

// The device that an event of a device names; 0: none.
struct DeviceOf {
  NameId operator()(const DeviceAccess& access) const { return access.device; }
  NameId operator()(const DeviceFault& refused) const { return refused.device; }
  NameId operator()(const VirtioNegotiated& negotiated) const { return negotiated.device; }
  NameId operator()(const VirtioRequest& request) const { return request.device; }
  NameId operator()(const VirtioBroken& broken) const { return broken.device; }
  NameId operator()(const auto&) const { return 0; }
};

}  // namespace

ChromeTrace::ChromeTrace(const Tracer& tracer, std::ostream& out) : tracer_{&tracer}, out_{&out} {
  *out_ << "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[";
  for (const auto& [process, name] : {std::pair{cpus, "CPUs"}, {devices, "Devices"}, {outside, "Outside"}})
    write(
        fmt::format(R"({{"ph":"M","pid":{},"name":"process_name","args":{{"name":"{}"}}}})", process, name));
}

void ChromeTrace::write(std::string_view object) {
  *out_ << (first_ ? "\n" : ",\n") << object;
  first_ = false;
}

void ChromeTrace::name_track(Track track, const std::string& name) {
  TrackState& state = tracks_[track];
  if (state.name == name) return;
  state.name = name;
  write(fmt::format(R"({{"ph":"M","pid":{},"tid":{},"name":"thread_name","args":{{"name":{}}}}})",
                    track.process, track.thread, dump(name)));
}

// Thread 0 means "idle" to some viewers.
ChromeTrace::Track ChromeTrace::track_of(const Event& event) {
  const unsigned thread = event.agent.index + 1u;
  switch (event.agent.kind) {
    case AgentKind::cpu: {
      const Track track{cpus, thread};
      name_track(track, agent_name(event.agent));
      return track;
    }
    case AgentKind::device: {
      const Track track{devices, thread};
      const NameId device = std::visit(DeviceOf{}, event.payload);
      if (device != 0)
        name_track(track, std::string{tracer_->name(device)});
      else if (tracks_[track].name.empty())
        name_track(track, agent_name(event.agent));
      return track;
    }
    case AgentKind::none:
    case AgentKind::host:
    case AgentKind::loader: break;
  }
  const Track track{outside, static_cast<unsigned>(event.agent.kind) + 1};
  name_track(track, agent_name(event.agent));
  return track;
}

std::uint64_t ChromeTrace::clipped_end(Track track, std::uint64_t begin, std::uint64_t end) {
  std::vector<std::uint64_t>& open = tracks_[track].open_ends;
  while (!open.empty() && open.back() <= begin) open.pop_back();
  if (!open.empty()) end = std::min(end, open.back());
  open.push_back(end);
  return end;
}

void ChromeTrace::on_event(const Event& event) {
  end_ns_ = std::max(end_ns_, event.time_ns + std::max<std::uint64_t>(event.duration_ns, 1));
  const Track track = track_of(event);
  write_event(event, track);
  write_arrows(event, track);
  write_slots(event);
}

void ChromeTrace::write_event(const Event& event, Track track) {
  Json arguments = Json::object();
  add_fields(arguments, event.payload, *tracer_);
  const std::string where =
      fmt::format(R"("pid":{},"tid":{},"ts":{})", track.process, track.thread, microseconds(event.time_ns));
  const std::string what = fmt::format(R"("name":{},"cat":"{}","args":{})", dump(title_of(event.payload)),
                                       event_name(event.payload), dump(arguments));
  if (std::visit(IsInstant{}, event.payload))
    return write(fmt::format(R"({{"ph":"i","s":"t",{},{}}})", where, what));
  const std::uint64_t wanted_end = event.time_ns + std::max<std::uint64_t>(event.duration_ns, 1);
  const std::uint64_t end = clipped_end(track, event.time_ns, wanted_end);
  write(fmt::format(R"({{"ph":"X",{},"dur":{},{}}})", where, microseconds(end - event.time_ns), what));
}

void ChromeTrace::write_flow(char phase, std::uint64_t id, Track track, std::uint64_t time_ns) {
  write(fmt::format(R"({{"ph":"{}","id":{},"pid":{},"tid":{},"ts":{},"name":"dma","cat":"dma"{}}})", phase,
                    id, track.process, track.thread, microseconds(time_ns),
                    phase == 'f' ? R"(,"bp":"e")" : ""));
}

void ChromeTrace::write_arrows(const Event& event, Track track) {
  if (const auto* const mapped = std::get_if<DmaMapped>(&event.payload)) {
    const std::uint64_t id = mappings_.add(*mapped, false, event.time_ns).id;
    mapped_on_.emplace(id, track);
    write_flow('s', id, track, event.time_ns);
  } else if (const auto* const access = std::get_if<DeviceAccess>(&event.payload)) {
    const Mapping* const mapping = mappings_.find(access->device, access->bus_address);
    if (mapping != nullptr) write_flow('t', mapping->id, track, event.time_ns);
  } else if (const auto* const unmapped = std::get_if<DmaUnmapped>(&event.payload)) {
    const auto mapping = mappings_.release(*unmapped, event.time_ns);
    if (!mapping) return;
    write_flow('f', mapping->id, track, event.time_ns);
    mapped_on_.erase(mapping->id);
  }
}

void ChromeTrace::write_slots(const Event& event) {
  if (const auto* const allocated = std::get_if<SwiotlbAllocated>(&event.payload))
    slots_used_ += allocated->slots;
  else if (const auto* const released = std::get_if<SwiotlbReleased>(&event.payload))
    slots_used_ -= std::min(released->slots, slots_used_);
  else
    return;
  write(fmt::format(R"({{"ph":"C","pid":{},"ts":{},"name":"swiotlb slots","args":{{"used":{}}}}})", cpus,
                    microseconds(event.time_ns), slots_used_));
}

void ChromeTrace::finish() {
  for (const auto& [id, track] : mapped_on_) {
    write(fmt::format(
        R"({{"ph":"X","pid":{},"tid":{},"ts":{},"dur":0.001,"name":"still mapped","cat":"dma","args":{{}}}})",
        track.process, track.thread, microseconds(end_ns_)));
    write_flow('f', id, track, end_ns_);
    ++end_ns_;
  }
  *out_ << "\n]}\n";
}

}  // namespace cbit::watch
