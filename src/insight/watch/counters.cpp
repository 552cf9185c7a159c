#include "watch/counters.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "watch/event_names.hpp"

namespace cbit::watch {
namespace {

void count(AccessCount& counter, std::uint64_t bytes) {
  ++counter.accesses;
  counter.bytes += bytes;
}

struct Counting {
  CostCounts& counts;

  void operator()(const DmaMapped&) const { ++counts.maps; }
  void operator()(const DmaMapFailed&) const { ++counts.map_failures; }
  void operator()(const DmaUnmapped&) const { ++counts.unmaps; }
  void operator()(const DmaSynced&) const { ++counts.syncs; }

  void operator()(const SwiotlbAllocated& allocated) const {
    ++counts.bounces;
    counts.slots_used += allocated.slots;
    counts.slots_used_max = std::max(counts.slots_used_max, counts.slots_used);
  }
  void operator()(const SwiotlbReleased& released) const {
    counts.slots_used -= std::min(released.slots, counts.slots_used);
  }
  void operator()(const SwiotlbCopied& copied) const {
    count(copied.to_pool ? counts.bounced_to_pool : counts.bounced_from_pool, copied.bytes);
  }
  void operator()(const SwiotlbFull&) const { ++counts.pool_full; }
  void operator()(const SwiotlbDropped&) const { ++counts.syncs_dropped; }

  void operator()(const PageConversion& conversion) const {
    ++counts.conversions;
    (conversion.encrypted ? counts.pages_made_private : counts.pages_shared) += conversion.pages;
  }
  void operator()(const Flush& flush) const {
    switch (flush.kind) {
      case FlushKind::tlb_range: ++counts.tlb_range_flushes; return;
      case FlushKind::tlb_full: ++counts.tlb_full_flushes; return;
      case FlushKind::clflush: counts.cache_lines_flushed += flush.count; return;
      case FlushKind::wbinvd: ++counts.cache_flushes_full; return;
    }
  }

  void operator()(const DeviceAccess& access) const {
    count((access.write ? counts.device_writes : counts.device_reads)[access.key], access.bytes);
  }
  void operator()(const IommuMapped&) const { ++counts.iommu_maps; }
  void operator()(const IommuUnmapped&) const { ++counts.iommu_unmaps; }

  void operator()(const KeyMismatch&) const { ++counts.key_mismatches; }
  void operator()(const OwnerChanged&) const { ++counts.owner_changes; }
  void operator()(const AccessFault& refused) const { ++counts.access_faults[refused.fault.kind]; }
  void operator()(const DeviceFault& refused) const { ++counts.device_faults[refused.fault.kind]; }

  void operator()(const GuestExit& exit) const { ++counts.guest_exits[std::string{exit.reason}]; }

  void operator()(const auto&) const {}
};

void add_accesses(std::vector<CounterRow>& rows, std::string_view what,
                  const std::map<KeyId, AccessCount>& by_key) {
  for (const auto& [key, counter] : by_key) {
    rows.push_back({fmt::format("device-{}s-key-{}", what, key), counter.accesses});
    rows.push_back({fmt::format("device-{}-bytes-key-{}", what, key), counter.bytes});
  }
}

void add_faults(std::vector<CounterRow>& rows, std::string_view what,
                const std::map<FaultKind, std::uint64_t>& by_kind) {
  for (const auto& [kind, faults] : by_kind)
    rows.push_back({fmt::format("{}-faults-{}", what, stable_name(kind)), faults});
}

}  // namespace

void Counters::on_event(const Event& event) {
  ++counts_.events;
  counts_.virtual_ns = event.time_ns + event.duration_ns;
  std::visit(Counting{counts_}, event.payload);
}

std::vector<CounterRow> Counters::rows() const {
  const CostCounts& c = counts_;
  std::vector<CounterRow> rows{{"maps", c.maps},
                               {"map-failures", c.map_failures},
                               {"unmaps", c.unmaps},
                               {"syncs", c.syncs},
                               {"bounces", c.bounces},
                               {"bounced-to-pool-bytes", c.bounced_to_pool.bytes},
                               {"bounced-from-pool-bytes", c.bounced_from_pool.bytes},
                               {"swiotlb-slots-used", c.slots_used},
                               {"swiotlb-slots-used-max", c.slots_used_max},
                               {"swiotlb-full", c.pool_full},
                               {"syncs-dropped", c.syncs_dropped},
                               {"conversions", c.conversions},
                               {"pages-shared", c.pages_shared},
                               {"pages-made-private", c.pages_made_private},
                               {"tlb-range-flushes", c.tlb_range_flushes},
                               {"tlb-full-flushes", c.tlb_full_flushes},
                               {"cache-lines-flushed", c.cache_lines_flushed},
                               {"cache-flushes-full", c.cache_flushes_full}};
  add_accesses(rows, "read", c.device_reads);
  add_accesses(rows, "write", c.device_writes);
  rows.insert(rows.end(), {{"iommu-maps", c.iommu_maps},
                           {"iommu-unmaps", c.iommu_unmaps},
                           {"key-mismatches", c.key_mismatches},
                           {"owner-changes", c.owner_changes}});
  add_faults(rows, "access", c.access_faults);
  add_faults(rows, "device", c.device_faults);
  for (const auto& [reason, exits] : c.guest_exits) rows.push_back({fmt::format("exits-{}", reason), exits});
  rows.insert(rows.end(), {{"events", c.events}, {"virtual-ns", c.virtual_ns}});
  return rows;
}

std::string render_counters(const std::vector<CounterRow>& rows) {
  std::string text;
  for (const CounterRow& row : rows)
    fmt::format_to(std::back_inserter(text), "{:>20}  {}\n", row.value, row.name);
  return text;
}

}  // namespace cbit::watch
