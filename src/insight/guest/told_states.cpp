#include "guest/told_states.hpp"

namespace cbit::guest {

void ToldStates::on_event(const Event& event) {
  const auto* const told = std::get_if<PageStateRequest>(&event.payload);
  if (told == nullptr) return;
  ++calls_;
  const std::uint64_t first = told->first.page_number();
  told_.assign(first, first + told->pages, {.encrypted = told->encrypted, .told_ns = event.time_ns});
}

ToldReport ToldStates::judge(const mem::Memory& memory, KeyId guest_key) const {
  ToldReport report{.calls = calls_};
  for (const auto& [first, range] : told_)
    (range.value.encrypted ? report.pages_private : report.pages_shared) += range.end - first;
  memory.for_each_touched([&](PhysAddr at, const mem::PageHistory& page) {
    const Told* const told = told_.find(at.page_number());
    if (told == nullptr || page.writer.kind == AgentKind::none || page.written_ns <= told->told_ns) return;
    ++report.pages_judged;
    if (page.writer_key == (told->encrypted ? guest_key : no_key)) return;
    if (report.disagreements++ < ToldReport::places_max) report.places.push_back(at);
  });
  return report;
}

}  // namespace cbit::guest
