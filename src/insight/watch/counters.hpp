// What a run cost, in counts: bytes bounced, flushes, pages converted, accesses by key, faults.
//
// Exits of the guest are counted by reason. Hypercalls that convert pages on x86 are no events;
// ConversionCost of the model kernel counts those. Threading: one thread, as for every sink.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/trace.hpp"

namespace cbit::watch {

struct AccessCount {
  std::uint64_t accesses = 0;
  std::uint64_t bytes = 0;

  friend bool operator==(const AccessCount&, const AccessCount&) = default;
};

struct CostCounts {
  std::uint64_t maps = 0;  // of all paths
  std::uint64_t map_failures = 0;
  std::uint64_t unmaps = 0;
  std::uint64_t syncs = 0;

  std::uint64_t bounces = 0;  // allocations of slots
  AccessCount bounced_to_pool;
  AccessCount bounced_from_pool;
  std::uint64_t slots_used = 0;      // now
  std::uint64_t slots_used_max = 0;  // io_tlb_used_hiwater
  std::uint64_t pool_full = 0;
  std::uint64_t syncs_dropped = 0;

  std::uint64_t conversions = 0;  // calls
  std::uint64_t pages_shared = 0;
  std::uint64_t pages_made_private = 0;
  std::uint64_t tlb_range_flushes = 0;
  std::uint64_t tlb_full_flushes = 0;
  std::uint64_t cache_lines_flushed = 0;
  std::uint64_t cache_flushes_full = 0;  // WBINVD

  std::map<KeyId, AccessCount> device_reads;
  std::map<KeyId, AccessCount> device_writes;
  std::uint64_t iommu_maps = 0;
  std::uint64_t iommu_unmaps = 0;

  std::uint64_t key_mismatches = 0;  // reads that saw ciphertext
  std::uint64_t owner_changes = 0;   // the model's own cost, not the hardware's
  std::map<FaultKind, std::uint64_t> access_faults;
  std::map<FaultKind, std::uint64_t> device_faults;
  std::map<std::string, std::uint64_t> guest_exits;  // by reason

  std::uint64_t events = 0;
  std::uint64_t virtual_ns = 0;  // end of the last event
};

struct CounterRow {
  std::string name;  // stable: "bounced-to-pool-bytes", "device-read-bytes-key-1"
  std::uint64_t value = 0;

  friend bool operator==(const CounterRow&, const CounterRow&) = default;
};

class Counters final : public EventSink {
 public:
  void on_event(const Event& event) override;

  [[nodiscard]] const CostCounts& counts() const { return counts_; }
  // All counters in a fixed order; those by key or fault only where they counted something.
  [[nodiscard]] std::vector<CounterRow> rows() const;

 private:
  CostCounts counts_;
};

// One "value  name" line each, values right-aligned, as perf stat prints them.
[[nodiscard]] std::string render_counters(const std::vector<CounterRow>& rows);

}  // namespace cbit::watch
