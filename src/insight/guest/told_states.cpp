#include "guest/told_states.hpp"

#include <iterator>

namespace cbit::guest {

void ToldStates::on_event(const Event& event) {
  const auto* const told = std::get_if<PageStateRequest>(&event.payload);
  if (told == nullptr) return;
  ++calls_;
  const std::uint64_t first = told->first.page_number(), end = first + told->pages;
  cut_at(first);
  cut_at(end);
  ranges_.erase(ranges_.lower_bound(first), ranges_.lower_bound(end));
  ranges_[first] = {.end = end, .encrypted = told->encrypted, .told_ns = event.time_ns};
}

// Makes two of a range that this page lies within.
void ToldStates::cut_at(std::uint64_t page) {
  const auto behind = ranges_.lower_bound(page);
  if (behind == ranges_.begin()) return;
  Range& before = std::prev(behind)->second;
  if (before.end <= page) return;
  ranges_.emplace_hint(behind, page, before);
  before.end = page;
}

const ToldStates::Range* ToldStates::range_of(std::uint64_t page) const {
  const auto behind = ranges_.upper_bound(page);
  if (behind == ranges_.begin()) return nullptr;
  const Range& range = std::prev(behind)->second;
  return page < range.end ? &range : nullptr;
}

ToldReport ToldStates::judge(const mem::Memory& memory, KeyId guest_key) const {
  ToldReport report{.calls = calls_};
  for (const auto& [first, range] : ranges_)
    (range.encrypted ? report.pages_private : report.pages_shared) += range.end - first;
  memory.for_each_touched([&](PhysAddr at, const mem::PageHistory& page) {
    const Range* const told = range_of(at.page_number());
    if (told == nullptr || page.writer.kind == AgentKind::none || page.written_ns <= told->told_ns) return;
    ++report.pages_judged;
    if (page.writer_key == (told->encrypted ? guest_key : no_key)) return;
    if (report.disagreements++ < ToldReport::places_max) report.places.push_back(at);
  });
  return report;
}

}  // namespace cbit::guest
