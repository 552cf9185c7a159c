#include <fmt/format.h>

#include "base/format.hpp"
#include "stream/report.hpp"

namespace cbit::stream {
namespace {

struct Described {
  std::string_view kind;
  std::string detail;
};

// The events that a DMA consists of; an empty kind for all others.
Described describe(const EventPayload& payload) {
  if (const auto* e = std::get_if<DmaMapped>(&payload))
    return {"map", fmt::format("{} bytes at {} as {}, {}", e->bytes, e->phys, e->dma, to_string(e->path))};
  if (const auto* e = std::get_if<DmaUnmapped>(&payload))
    return {"unmap",
            fmt::format("{} bytes at {}{}", e->bytes, e->dma, e->copied_back ? ", copied back" : "")};
  if (const auto* e = std::get_if<SwiotlbCopied>(&payload))
    return {"bounce",
            fmt::format("{} bytes {} the pool at {}", e->bytes, e->to_pool ? "into" : "out of", e->bounce)};
  if (const auto* e = std::get_if<DeviceAccess>(&payload))
    return {"device",
            fmt::format("{} {} bytes at {}", e->write ? "writes" : "reads", e->bytes, e->bus_address)};
  return {};
}

}  // namespace

void Timeline::on_event(const Event& event) {
  if (slices_.size() >= slices_max_) return;
  Described what = describe(event.payload);
  mapped_ = mapped_ || what.kind == "map";
  if (what.kind.empty() || !mapped_) return;
  const auto* access = std::get_if<DeviceAccess>(&event.payload);
  std::string track =
      access != nullptr ? std::string{tracer_->name(access->device)} : fmt::format("{}", event.agent);
  slices_.push_back({std::move(track), what.kind, std::move(what.detail), event.time_ns, event.duration_ns});
}

}  // namespace cbit::stream
