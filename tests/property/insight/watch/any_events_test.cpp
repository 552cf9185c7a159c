// Events carry what guests and devices chose: any values in any order must leave the watchers standing.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <tuple>

#include "base/random.hpp"
#include "watch/counters.hpp"
#include "watch/explainer.hpp"
#include "watch/export/chrome_trace.hpp"
#include "watch/export/ftrace.hpp"
#include "watch/export/json_lines.hpp"
#include "watch/report.hpp"

namespace cbit::watch {
namespace {

// Small numbers meet each other often; the ends of the space are where arithmetic wraps.
struct AnyValues {
  Random& random;

  [[nodiscard]] std::uint64_t number() const {
    constexpr std::uint64_t corners[] = {0,    1,           511,        512,       4095,
                                         4096, 0x4000'0800, 1ull << 47, ~0ull - 1, ~0ull};
    if (random.below(2) == 0) return corners[random.below(std::size(corners))];
    return random.below(64) * 256;
  }
  [[nodiscard]] NameId name() const { return static_cast<NameId>(random.below(4)); }
  [[nodiscard]] KeyId key() const { return static_cast<KeyId>(random.below(3)); }
  [[nodiscard]] bool coin() const { return random.below(2) != 0; }
  [[nodiscard]] Agent agent() const {
    return {static_cast<AgentKind>(random.below(5)), static_cast<std::uint16_t>(random.below(3))};
  }
  template <class Enum>
  [[nodiscard]] Enum one_of(Enum last) const {
    return static_cast<Enum>(random.below(static_cast<std::uint64_t>(last) + 1));
  }
  [[nodiscard]] DmaAddr dma() const { return DmaAddr{number()}; }
  [[nodiscard]] PhysAddr phys() const { return PhysAddr{number()}; }
  [[nodiscard]] Fault fault() const { return {one_of(FaultKind::bus_master_off), number(), coin()}; }
  [[nodiscard]] std::string text() const {
    constexpr const char* texts[] = {"swiotlb buffer is full (sz: 1 bytes)", "req.0:id 7 is not a head!",
                                     "Failed to allocate 1 bytes tlb structure", "\xff\n\"", ""};
    return texts[random.below(std::size(texts))];
  }

  [[nodiscard]] EventPayload memory_event() const {
    switch (random.below(7)) {
      case 0: return OwnerChanged{phys().page(), key(), key(), name()};
      case 1: return KeyMismatch{phys().page(), key(), key(), agent(), name(), name()};
      case 2: return ForeignWrite{phys().page(), key(), key(), agent(), name(), number()};
      case 3: return CacheAliasHazard{phys(), key(), key(), coin(), name()};
      case 5: return PrivateBytesShared{phys(), phys(), number(), agent()};
      case 4: return PageConversion{phys().page(), random.below(8), coin(), coin(), name()};
      default: return AccessFault{fault(), name()};
    }
  }
  [[nodiscard]] EventPayload device_event() const {
    switch (random.below(6)) {
      case 0: return DeviceFault{name(), 8, dma(), fault()};
      case 1: return IommuMapped{1, dma(), phys(), number(), coin()};
      case 2:
        return VirtioNegotiated{name(), number() << 22, number() << 22, static_cast<std::uint8_t>(number())};
      case 3: return VirtioBroken{name(), 0, text()};
      case 4: return KernelMessage{text()};
      default:
        return DeviceAccess{name(), 8, dma(), phys(), random.below(9000), coin(), coin(), key(), key()};
    }
  }
  [[nodiscard]] EventPayload api_event() const {
    const auto kind = one_of(DmaMappingKind::resource);
    const auto direction = one_of(DmaDirection::none);
    switch (random.below(6)) {
      case 0:
        return DmaMapped{name(), kind, dma(), phys(), number(), direction, one_of(DmaPath::error), coin()};
      case 1:
        return DmaMapFailed{name(), kind, phys(), number(), one_of(DmaFailure::not_told), number(), dma()};
      case 2: return DmaSynced{name(), dma(), number(), direction, coin(), coin()};
      case 4: return MappedMemoryFreed{name(), dma(), phys()};
      case 5:
        return DmaPagesReturned{name(), phys(), VirtAddr{number()}, VirtAddr{number()}, dma(), number()};
      case 3:
        return DmaDebugReport{name(), one_of(DmaDebugKind::wrong_attributes), dma(), number(), "DMA-API: x"};
      default: return DmaUnmapped{name(), kind, dma(), number(), direction, coin()};
    }
  }
  [[nodiscard]] EventPayload swiotlb_event() const {
    switch (random.below(5)) {
      case 0: return SwiotlbAllocated{name(), number(), number(), 0, phys(), phys()};
      case 1: return SwiotlbReleased{number(), number()};
      case 2: return SwiotlbDropped{phys(), number(), coin()};
      case 3: return SwiotlbBounced{name(), number(), dma(), number(), coin()};
      default:
        return SwiotlbFull{.device = name(),
                           .bytes = number(),
                           .slots_wanted = number(),
                           .segment_slots = number(),
                           .slots_total = number(),
                           .slots_used = number()};
    }
  }
  [[nodiscard]] EventPayload event() const {
    switch (random.below(4)) {
      case 0: return memory_event();
      case 1: return device_event();
      case 2: return api_event();
      default: return swiotlb_event();
    }
  }
};

RC_GTEST_PROP(AnyEvents, LeaveTheWatchersStanding, (std::uint64_t seed)) {
  Random random{seed};
  const AnyValues any{random};
  Clock clock;
  Tracer tracer{clock};
  for (const char* name : {"a", "b", "c"}) static_cast<void>(tracer.intern(name));
  const bool guest = any.coin();
  Explainer explainer{tracer,
                      {.layout = mem::KeyLayout::amd(47), .is_guest = guest, .is_sme = !guest && any.coin()}};
  explainer.set_bounce_pool({PhysAddr{0x4000'0000}, 1 << 20});
  std::ostringstream chrome_out, lines_out, ftrace_out;
  ChromeTrace chrome{tracer, chrome_out};
  JsonLines lines{tracer, lines_out};
  Ftrace ftrace{tracer, ftrace_out};
  Counters counters;
  for (EventSink* const sink :
       std::initializer_list<EventSink*>{&explainer, &chrome, &lines, &ftrace, &counters})
    tracer.attach(*sink);
  for (int i = 0; i < 200; ++i) tracer.emit(any.agent(), any.event(), random.below(50));
  explainer.finish();
  chrome.finish();

  RC_ASSERT(nlohmann::json::accept(chrome_out.str()));
  RC_ASSERT(counters.counts().events == 200u);
  // One entry per cause, device and place.
  std::set<std::tuple<std::string_view, std::string, int, std::uint64_t>> seen;
  for (const Cause& cause : explainer.causes())
    RC_ASSERT(
        seen.insert({cause.info->name, cause.device, static_cast<int>(cause.where.space), cause.where.first})
            .second);
  RC_ASSERT(render_causes(explainer.causes()).empty() == explainer.causes().empty());
}

}  // namespace
}  // namespace cbit::watch
