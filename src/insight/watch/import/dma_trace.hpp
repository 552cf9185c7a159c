// What a real kernel's trace tells of its DMA, as the events that the model kernel and the probes emit: of
// dma:* (Linux 6.12 and later), swiotlb:swiotlb_bounced and iommu:*, in the formats of include/trace/events/
// {dma,swiotlb,iommu}.h of 6.1 to 7.3. Other lines are counted and left out.
//
// A trace begins in the middle, and has gaps where the kernel lost events. So an unmap of what nobody has
// seen mapped is no mistake, a gap ends all that was known to be mapped, and a mistake is told only where it
// is one whatever was not seen: where the address is the mapping's alone, because it was bounced or is behind
// an IOMMU. The kernel traces an unmap after it is done: an address that is given out again was released
// before.
//
// What a trace does not say is derived so: a mapping was bounced if swiotlb_bounced told of its buffer
// before; it is direct if its address is the buffer's, or has one high bit more, which is the encryption bit;
// else it goes through an IOMMU.
//
// Bounded in memory, and time that is about linear, whatever the text is. Threading: one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/trace.hpp"
#include "watch/import/trace_line.hpp"
#include "watch/mapping_table.hpp"

namespace cbit::watch {

struct TraceTally {
  std::uint64_t lines = 0;
  std::uint64_t events = 0;        // understood
  std::uint64_t other_events = 0;  // of no concern here, or in a form that is not known
  std::uint64_t gaps = 0;
  std::uint64_t lost_events = 0;   // as far as the gaps say how many
  std::uint64_t early_unmaps = 0;  // of what was mapped before the trace or in a gap
  std::uint64_t cut_lists = 0;     // scatterlists that the kernel did not print to their end
  std::uint64_t left_out = 0;      // events beyond the bounds of this class
};

// The kernel's counter of used slots, as `cbit record` notes it in the trace.
struct PoolSample {
  std::uint64_t time_ns = 0;  // of the tracer's clock
  std::uint64_t slots_used = 0;
};

// What `cbit record` writes before the trace, and behind it: lines "# cbit record: name=value".
struct RecordingHeader {
  std::string kernel;        // release; empty: not told
  std::string command_line;  // masked
  std::string events;        // that were recorded
  std::string end;           // why it ended
  std::optional<std::uint64_t> pool_slots;
  std::optional<std::uint64_t> slots_used_max;  // since boot: io_tlb_used_hiwater
};

class DmaTrace {
 public:
  static constexpr std::size_t line_bytes_max = 64 * 1024;
  static constexpr std::size_t devices_max = 1024;  // later ones are "others"
  static constexpr std::size_t active_max = 65536;  // mappings that are followed at a time
  static constexpr std::size_t at_address_max = 64;
  static constexpr std::size_t mistakes_max = 1000;
  static constexpr std::size_t samples_max = 100'000;

  // `clock` is `tracer`'s and stands at 0. `mappings` are those of an explainer that hears `tracer`. All
  // outlive it.
  DmaTrace(Clock& clock, Tracer& tracer, const MappingTable& mappings)
      : clock_{&clock}, tracer_{&tracer}, mappings_{&mappings} {}

  // Told of each unmap that is no event, because nobody has seen what it unmaps: with how many mappings.
  using EarlyUnmapHearer = std::function<void(NameId device, std::uint64_t mappings)>;
  void hear_early_unmaps(EarlyUnmapHearer hearer) { early_unmap_ = std::move(hearer); }

  void take(std::string_view line);

  [[nodiscard]] const TraceTally& tally() const { return tally_; }
  [[nodiscard]] const RecordingHeader& header() const { return header_; }
  [[nodiscard]] const std::vector<PoolSample>& pool_samples() const { return samples_; }

 private:
  using Taker = bool (DmaTrace::*)(std::string_view text);
  struct Rule {
    std::string_view event;
    Taker take;
  };
  static const Rule rules[];

  struct Request {
    NameId device = 0;
    DmaDirection direction{};
    DmaAddr dma;
    PhysAddr phys;
    std::uint64_t bytes = 0;
    std::string_view attributes;
  };
  struct Segment {
    DmaAddr dma;
    std::uint64_t bytes = 0;
  };
  struct List {
    std::size_t entries = 0;  // of the scatterlist that was mapped
    std::vector<Segment> segments;
  };
  struct Released {
    DmaUnmapped call;
    std::uint64_t time_ns = 0;
  };
  using Place = std::pair<NameId, DmaAddr>;

  template <DmaMappingKind kind>
  bool take_map(std::string_view text);
  template <DmaMappingKind kind>
  bool take_unmap(std::string_view text);
  bool take_alloc(std::string_view text);
  bool take_alloc_failure(std::string_view text);
  bool take_map_list(std::string_view text);
  bool take_unmap_list(std::string_view text);
  bool take_map_list_failure(std::string_view text);
  template <bool for_cpu>
  bool take_sync(std::string_view text);
  template <bool for_cpu>
  bool take_sync_list(std::string_view text);
  bool take_bounce(std::string_view text);
  bool take_iommu_map(std::string_view text);
  bool take_iommu_unmap(std::string_view text);
  bool take_fault(std::string_view text);
  bool take_mark(std::string_view text);

  void take_header(std::string_view line);
  void take_event(const TraceLine& line);
  [[nodiscard]] NameId device_of(std::string_view name);
  [[nodiscard]] std::optional<Request> request_of(std::string_view text);
  [[nodiscard]] bool claim_bounce(NameId device, PhysAddr phys);
  [[nodiscard]] SwiotlbFull full_for(NameId device, std::uint64_t bytes) const;
  void find_pool_full(const Request& request);
  void mapped(DmaMapped call);
  void unmapped(DmaUnmapped call);
  void synced(NameId device, DmaAddr dma, std::uint64_t bytes, DmaDirection direction, bool for_cpu);
  void refused(const Request& request, DmaMappingKind kind);
  void release_for_reuse(const DmaMapped& call);
  [[nodiscard]] bool is_late(const DmaUnmapped& call);
  [[nodiscard]] bool is_second(const DmaUnmapped& call) const;
  void count_early_unmap(NameId device, std::uint64_t mappings);
  void forget_all();

  template <class Payload>
  void emit(Payload&& payload) {
    tracer_->emit(Agent{AgentKind::cpu, static_cast<std::uint16_t>(cpu_)}, std::forward<Payload>(payload));
  }

  Clock* clock_;
  Tracer* tracer_;
  const MappingTable* mappings_;
  TraceTally tally_;
  RecordingHeader header_;
  EarlyUnmapHearer early_unmap_;
  std::vector<PoolSample> samples_;
  std::optional<std::uint64_t> start_ns_;  // the trace's clock at the first event
  unsigned cpu_ = 0;
  std::uint64_t known_since_ns_ = 0;  // the last gap
  std::size_t active_ = 0;
  std::size_t mistakes_ = 0;
  std::map<std::string, NameId, std::less<>> devices_;
  std::map<NameId, std::vector<DmaAddr>> bounces_;  // buffers whose mapping has not been told yet
  std::map<std::pair<NameId, PhysAddr>, std::vector<List>> lists_;  // by the buffer of their first entry
  std::map<Place, std::vector<Released>> late_;                     // unmaps that are done, and not yet told
};

}  // namespace cbit::watch
