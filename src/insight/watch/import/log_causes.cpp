#include "watch/import/log_causes.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/format.hpp"
#include "base/text.hpp"
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

// Slots that are used come back within milliseconds. Where not even a small request finds room, each time,
// and the pool is asked by one device alone, or for minutes, they were lost.
std::optional<Evidence> lost_slots(const std::vector<PoolFull>& messages, const PoolState& pool) {
  constexpr std::uint64_t small_request = 8, second_us = 1'000'000, minutes_us = 60 * second_us;
  constexpr std::uint64_t times_min = 2;
  if (messages.empty()) return std::nullopt;
  std::uint64_t times = 0, least_wanted = small_request + 1;
  bool one_device = true;
  for (const PoolFull& full : messages) {
    if (!full.slots_total || !full.slots_used || *full.slots_used < *full.slots_total) return std::nullopt;
    ++times;
    least_wanted = std::min(least_wanted, spec::nr_slots(full.bytes));
    one_device &= full.device == messages.front().device;
  }
  const PoolFull& last = messages.back();
  if (pool.slots_used == last.slots_total) ++times;
  const std::uint64_t begin = messages.front().line.time_us.value_or(0), end = last.line.time_us.value_or(0);
  const std::uint64_t time = end - std::min(begin, end);
  const bool lasting = time >= (one_device ? second_us : minutes_us) || pool.slots_used == last.slots_total;
  if (times < times_min || least_wanted > small_request || !lasting) return std::nullopt;
  return Evidence{"suspected", fmt::format("{} of {} slots in use each of {} times, asked for {} by {}",
                                           *last.slots_used, *last.slots_total, times, least_wanted,
                                           one_device ? "one device alone" : "any device")};
}

const CauseInfo* why_fault(const IommuFault& fault) {
  using enum IommuFaultKind;
  switch (fault.kind) {
    case io_page_fault: return &cause("no-translation");
    case rmp_page_fault:
    case rmp_hw_error:
    case rmp_violation: return &cause("rmp-entry-owned");
    case other_event:
    case dmar: break;
  }
  for (const CauseInfo& info : cause_catalogue())
    if (is_about(info, fault.line.text)) return &info;
  return nullptr;
}

std::string lower_case(std::string_view text) {
  std::string lower{text};
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return lower;
}

// All of the words stand somewhere in what the catalogue says of it.
bool tells_of(const CauseInfo& info, std::string_view words) {
  const std::string text =
      lower_case(fmt::format("{} {} {} {}", info.name, info.title, info.meaning, info.linux_says));
  return std::ranges::all_of(words_of(words),
                             [&](std::string_view word) { return text.find(word) != std::string::npos; });
}

void append(std::vector<LogCause>& all, std::vector<LogCause> more) {
  std::ranges::move(more, std::back_inserter(all));
}

void append(std::vector<const CauseInfo*>& all, const CauseInfo& info) {
  if (std::ranges::find(all, &info) == all.end()) all.push_back(&info);
}

}  // namespace

std::vector<LogCause> causes_of_full_pool(const KernelLog& log, const PoolState& pool) {
  const std::optional<Evidence> leak = lost_slots(log.pool_full, pool);
  std::vector<LogCause> found;
  for (const PoolFull& full : log.pool_full) {
    const SwiotlbFull event = as_event(full, pool.grows);
    const bool can_tell = can_never_fit(event) || (full.slots_total && full.slots_used);
    std::vector<const CauseInfo*> causes =
        can_tell ? why_full(event, pool.can_grow) : std::vector<const CauseInfo*>{};
    if (leak && !can_never_fit(event)) causes.insert(causes.begin(), &cause("slot-leak"));
    LogCause& entry = entry_of(
        found,
        {.driver = full.driver, .device = full.device, .causes = std::move(causes), .first = full.line});
    ++entry.count;
    if (entry.count > 1 && full.bytes <= entry.largest_bytes) continue;
    entry.largest_bytes = full.bytes;
    entry.evidence = {
        {"request",
         fmt::format("{} bytes, {} slots; the longest run ever possible is {} slots ({} bytes)", full.bytes,
                     event.slots_wanted, spec::io_tlb_segsize, spec::io_tlb_segsize * spec::io_tlb_size)},
        pool_evidence(full)};
    if (leak && !can_never_fit(event)) entry.evidence.push_back(*leak);
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
    LogCause& entry = entry_of(
        found,
        {.driver = overflow.driver, .device = overflow.device, .causes = {&reason}, .first = overflow.line});
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
    ++entry_of(
          found,
          {.driver = refusal.driver, .device = refusal.device, .causes = {&reason}, .first = refusal.line})
          .count;
  }
  return found;
}

std::vector<LogCause> causes_of_iommu_faults(const KernelLog& log) {
  std::vector<LogCause> found;
  for (const IommuFault& fault : log.iommu_faults) {
    const CauseInfo* const reason = why_fault(fault);
    ++entry_of(found, {.device = fault.device,
                       .causes = reason != nullptr ? std::vector{reason} : std::vector<const CauseInfo*>{},
                       .first = fault.line})
          .count;
  }
  return found;
}

std::vector<LogCause> causes_of_firmware_troubles(const KernelLog& log) {
  std::vector<LogCause> found;
  std::vector<LogLine> lines = log.firmware_troubles;
  if (log.iommu_forbids_snp) lines.push_back(*log.iommu_forbids_snp);
  for (const LogLine& line : lines) {
    std::vector<const CauseInfo*> causes;
    for (const CauseInfo& info : cause_catalogue())
      if (is_about(info, line.text)) causes.push_back(&info);
    ++entry_of(found, {.causes = std::move(causes), .first = line}).count;
  }
  return found;
}

std::vector<LogCause> causes_of_other_words(const KernelLog& log) {
  std::vector<LogCause> found;
  for (const CatalogueWords& words : log.other_words)
    ++entry_of(found,
               {.driver = words.driver, .device = words.device, .causes = {words.cause}, .first = words.line})
          .count;
  return found;
}

std::vector<LogCause> causes_of_log(const KernelLog& log, const ExplainerContext& platform,
                                    const PoolState& pool) {
  std::vector<LogCause> all = causes_of_full_pool(log, pool);
  append(all, causes_of_overflows(log, platform));
  append(all, causes_of_virtio_refusals(log));
  append(all, causes_of_iommu_faults(log));
  append(all, causes_of_firmware_troubles(log));
  append(all, causes_of_other_words(log));
  return all;
}

CausesOfWords causes_of_words(std::string_view words) {
  CausesOfWords found;
  KernelLog log = parse_kernel_log(words);
  log.other_words.clear();  // found below, with all that have the same words
  for (const LogCause& one : causes_of_log(log, {}, {}))
    for (const CauseInfo* const reason : one.causes) append(found.causes, *reason);
  found.decided = found.causes.size();
  const std::string wanted = lower_case(trimmed(words));
  if (wanted.empty()) return found;
  for (const CauseInfo& info : cause_catalogue())
    if (is_about(info, words)) append(found.causes, info);
  if (!found.causes.empty()) return found;
  for (const CauseInfo& info : cause_catalogue())
    if (lower_case(info.linux_says).find(wanted) != std::string::npos) append(found.causes, info);
  if (!found.causes.empty()) return found;
  for (const CauseInfo& info : cause_catalogue())
    if (tells_of(info, wanted)) append(found.causes, info);
  return found;
}

}  // namespace cbit::watch
