#include "watch/import/log_causes.hpp"

#include <algorithm>
#include <utility>

#include "base/format.hpp"
#include "spec/swiotlb.hpp"
#include "watch/cause_table.hpp"
#include "watch/detect/beyond_mask.hpp"
#include "watch/swiotlb_full.hpp"

namespace cbit::watch {
namespace {

// The message in the explainer's terms. Alignment and offset are not said, so that the request may have
// needed a slot more.
SwiotlbFull as_event(const PoolFull& full, bool grows) {
  return {.bytes = full.bytes,
          .slots_wanted = spec::nr_slots(full.bytes),
          .segment_slots = spec::io_tlb_segsize,
          .slots_total = full.slots_total.value_or(0),
          .slots_used = full.slots_used.value_or(0),
          .growth_possible = grows};
}

// The entry of the same device and causes, or a new one.
LogCause& entry_of(std::vector<LogCause>& found, LogCause wanted) {
  const auto same = std::ranges::find_if(found, [&](const LogCause& entry) {
    return entry.device == wanted.device && entry.causes == wanted.causes;
  });
  if (same != found.end()) return *same;
  return found.emplace_back(std::move(wanted));
}

Evidence pool_evidence(const PoolFull& full) {
  if (!full.slots_total || !full.slots_used) return {"pool", "this kernel does not say how full it was"};
  return {"pool", fmt::format("{} slots, {} used", *full.slots_total, *full.slots_used)};
}

// Linux, drivers/virtio/virtio.c: virtio_features_ok(). It names a flag that the driver has not accepted;
// drivers accept what is offered, but for virtballoon_validate().
const CauseInfo& why_refused(const VirtioRefusal& refusal) {
  if (refusal.flag.empty()) return cause("device-refuses-features");
  if (refusal.flag == "VIRTIO_F_VERSION_1") return cause("legacy-virtio");
  return refusal.driver == "virtio_balloon" ? cause("flag-not-acked") : cause("flag-not-offered");
}

}  // namespace

std::vector<LogCause> causes_of_full_pool(const KernelLog& log, bool can_grow, bool grows) {
  std::vector<LogCause> found;
  for (const PoolFull& full : log.pool_full) {
    const SwiotlbFull event = as_event(full, grows);
    const bool can_tell = can_never_fit(event) || (full.slots_total && full.slots_used);
    LogCause& entry =
        entry_of(found, {.driver = full.driver,
                         .device = full.device,
                         .causes = can_tell ? why_full(event, can_grow) : std::vector<const CauseInfo*>{},
                         .first = full.line});
    ++entry.count;
    if (entry.count > 1 && full.bytes <= entry.largest_bytes) continue;
    entry.largest_bytes = full.bytes;
    if (!entry.causes.empty()) entry.remedy = remedy_for(*entry.causes.front(), event);
    entry.evidence = {
        {"request",
         fmt::format("{} bytes, {} slots; the longest run ever possible is {} slots ({} bytes)", full.bytes,
                     event.slots_wanted, spec::io_tlb_segsize, spec::io_tlb_segsize * spec::io_tlb_size)},
        pool_evidence(full)};
  }
  return found;
}

std::vector<LogCause> causes_of_overflows(const KernelLog& log, const ExplainerContext& platform) {
  std::vector<LogCause> found;
  for (const DmaOverflow& overflow : log.overflows) {
    const PhysAddr first = platform.layout.split(DmaAddr{overflow.address}).first;
    const PhysAddr last = first + (std::max<std::uint64_t>(overflow.bytes, 1) - 1);
    const CauseInfo& reason = overflow.of_bounce_buffer ? cause("pool-out-of-mask")
                              : platform.is_guest && log.no_pool
                                  ? cause("pool-not-allocated-low-memory")
                                  : why_beyond_mask(platform, last, DmaAddr{overflow.address}, overflow.mask);
    LogCause& entry = entry_of(found, {.driver = overflow.driver,
                                       .device = overflow.device,
                                       .causes = {&reason},
                                       .first = overflow.line,
                                       .remedy = std::string{reason.remedy}});
    ++entry.count;
    if (entry.count > 1 && overflow.bytes <= entry.largest_bytes) continue;
    entry.largest_bytes = overflow.bytes;
    entry.evidence = {{"address", fmt::format("{:#x}, {} bytes", overflow.address, overflow.bytes)},
                      {"mask", fmt::format("{:#x}", overflow.mask)}};
    if (overflow.bus_limit != 0)
      entry.evidence.push_back({"bus limit", fmt::format("{:#x}", overflow.bus_limit)});
  }
  return found;
}

std::vector<LogCause> causes_of_virtio_refusals(const KernelLog& log) {
  std::vector<LogCause> found;
  for (const VirtioRefusal& refusal : log.virtio_refusals) {
    const CauseInfo& reason = why_refused(refusal);
    ++entry_of(found, {.driver = refusal.driver,
                       .device = refusal.device,
                       .causes = {&reason},
                       .first = refusal.line,
                       .remedy = std::string{reason.remedy}})
          .count;
  }
  return found;
}

}  // namespace cbit::watch
