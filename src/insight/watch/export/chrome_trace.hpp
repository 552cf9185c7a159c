// Events as Chrome trace JSON, which opens in Perfetto (ui.perfetto.dev) and chrome://tracing.
//
// One track per CPU and per device; a slice per event, an instant for decisions, messages and faults; an
// arrow from each dma_map over the device's accesses to its dma_unmap; a counter of used SWIOTLB slots.
// What is still mapped at the end gets a last slice on its CPU, so that every arrow has a head. Times are
// microseconds of virtual time.
//
// Slices of a track nest: one that would end after the slice around it is cut. Events come in order of time.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/trace.hpp"
#include "watch/mapping_table.hpp"

namespace cbit::watch {

class ChromeTrace final : public EventSink {
 public:
  // `tracer` and `out` outlive the sink.
  ChromeTrace(const Tracer& tracer, std::ostream& out);

  void on_event(const Event& event) override;
  // Completes the JSON. Call once, as the last thing.
  void finish();

 private:
  struct Track {
    unsigned process = 0;
    unsigned thread = 0;
    friend auto operator<=>(const Track&, const Track&) = default;
  };
  struct TrackState {
    std::string name;
    std::vector<std::uint64_t> open_ends;  // of the slices around now, outermost first
  };

  Track track_of(const Event& event);
  void name_track(Track track, const std::string& name);
  // Where a slice of this track that begins now must end at the latest.
  std::uint64_t clipped_end(Track track, std::uint64_t begin, std::uint64_t end);
  void write_event(const Event& event, Track track);
  void write_flow(char phase, std::uint64_t id, Track track, std::uint64_t time_ns);
  void write_arrows(const Event& event, Track track);
  void write_slots(const Event& event);
  void write(std::string_view object);

  const Tracer* tracer_;
  std::ostream* out_;
  bool first_ = true;
  std::map<Track, TrackState> tracks_;
  MappingTable mappings_;
  std::map<std::uint64_t, Track> mapped_on_;  // by mapping id
  std::uint64_t slots_used_ = 0;
  std::uint64_t end_ns_ = 0;
};

}  // namespace cbit::watch
