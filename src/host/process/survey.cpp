#include "process/survey.hpp"

#include <algorithm>
#include <numeric>

namespace cbit::process {
namespace {

constexpr std::size_t chunk_pages = 256;  // 1 MiB

class Surveyor {
 public:
  Surveyor(const ProcessMemory& process, const SurveyOptions& options,
           const std::function<void(const PagesSeen&)>& sink)
      : process_{&process}, options_{options}, sink_{&sink}, bytes_(chunk_pages * page_size) {}

  [[nodiscard]] bool run(const VirtRange& range) {
    std::array<Presence, chunk_pages> presence{};
    for (VirtAddr at = range.start; at < range.end;) {
      const std::size_t count = std::min<std::uint64_t>(chunk_pages, (range.end - at) / page_size);
      const std::span chunk = std::span{presence}.first(count);
      process_->presence(at, chunk);
      if (options_.fault_in) std::ranges::fill(chunk, Presence::present);
      if (!run_chunk(at, chunk)) return false;
      at += count * page_size;
    }
    return true;
  }

 private:
  [[nodiscard]] bool run_chunk(VirtAddr at, std::span<const Presence> pages) {
    while (!pages.empty()) {
      const auto is_absent = [](Presence p) { return p == Presence::absent; };
      const bool absent = is_absent(pages.front());
      const auto end = std::ranges::find_if(pages, [&](Presence p) { return is_absent(p) != absent; });
      const auto count = static_cast<std::size_t>(end - pages.begin());
      if (absent)
        (*sink_)({at, count, {.looks = watch::PageLooks::absent}});
      else if (!read_pages(at, count))
        return false;
      at += count * page_size;
      pages = pages.subspan(count);
    }
    return true;
  }

  // A page that cannot be read is stepped over.
  [[nodiscard]] bool read_pages(VirtAddr at, std::size_t count) {
    const VirtAddr end = at + count * page_size;
    while (at < end) {
      const ProcessMemory::Read read = process_->read(at, ByteSpan{bytes_}.first(end - at));
      const std::size_t whole = read.done / page_size;
      for (std::size_t i = 0; i < whole; ++i)
        (*sink_)({at + i * page_size, 1,
                  watch::look_at(watch::PageBytes{bytes_.data() + i * page_size, page_size})});
      at += whole * page_size;
      if (read.end == ReadEnd::gone) return false;
      if (read.end == ReadEnd::complete) continue;
      (*sink_)({at, 1, {.looks = watch::PageLooks::unreadable, .why = "cannot be read"}});
      at += page_size;
    }
    return true;
  }

  const ProcessMemory* process_;
  SurveyOptions options_;
  const std::function<void(const PagesSeen&)>* sink_;
  Bytes bytes_;
};

}  // namespace

void LookCounts::add(const LookCounts& more) {
  for (std::size_t i = 0; i < of.size(); ++i) of[i] += more.of[i];
}

std::uint64_t LookCounts::total() const { return std::accumulate(of.begin(), of.end(), std::uint64_t{0}); }

bool survey(const ProcessMemory& process, const Segment& segment, const SurveyOptions& options,
            const std::function<void(const PagesSeen&)>& sink) {
  const auto skip = [&](std::string_view why) {
    sink({segment.range.start, segment.range.pages(), {.looks = watch::PageLooks::unreadable, .why = why}});
    return true;
  };
  if (segment.mapping == nullptr) return skip("not mapped");
  if (segment.mapping->kind() == MappingKind::device && !options.devices)
    return skip("a device's; reading might disturb it");
  return Surveyor{process, options, sink}.run(segment.range);
}

std::vector<Segment> default_segments(std::span<const Mapping> mappings) {
  std::vector<Segment> segments;
  for (const Mapping& mapping : mappings) {
    const MappingKind kind = mapping.kind();
    if (!mapping.readable || !mapping.writable) continue;
    if (kind == MappingKind::device || kind == MappingKind::special) continue;
    segments.push_back({mapping.range, &mapping});
  }
  return segments;
}

}  // namespace cbit::process
