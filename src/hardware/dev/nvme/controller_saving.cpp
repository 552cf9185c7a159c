// An NVMe controller, saved and loaded between commands.
#include "dev/nvme/controller.hpp"

namespace cbit::dev {
namespace {

constexpr std::uint32_t queue_entries_max = 0x1'0000;
// More than a controller remembers of anything.
constexpr std::size_t remembered_max = 0x1'0000;

void transfer_place(StateStream& s, DmaAddr& place, std::uint32_t& entries, std::uint32_t& head,
                    std::uint32_t& tail) {
  std::uint64_t at = place.value();
  s(at);
  place = DmaAddr{at};
  s.up_to(entries, queue_entries_max);
  s(head, tail);
  s.require(head < entries && tail < entries, "a place is outside of its queue");
}

void transfer_event(StateStream& s, spec::nvme::AsyncEvent& event) {
  auto page = static_cast<std::uint8_t>(event.page);
  s(event.type, event.info, page);
  event.page = static_cast<spec::nvme::LogPage>(page);
}

void transfer_event_list(StateStream& s, std::vector<spec::nvme::AsyncEvent>& events) {
  const std::size_t count = s.count(events.size(), remembered_max);
  if (s.loads()) events.resize(count);
  for (spec::nvme::AsyncEvent& event : events) transfer_event(s, event);
}

}  // namespace

void Nvme::SubmissionQueue::transfer(StateStream& s) {
  transfer_place(s, at, entries, head, tail);
  s(completion);
}

void Nvme::CompletionQueue::transfer(StateStream& s) {
  transfer_place(s, at, entries, head, tail);
  s(phase, interrupts, vector, told);
}

void Nvme::transfer(StateStream& s) {
  s(cc_, csts_, aqa_, asq_, acq_, interrupt_mask_, namespace_, features_);
  transfer_queues(s);
  transfer_events(s);
}

void Nvme::transfer_queues(StateStream& s) {
  s.same_size(submissions_);
  s.same_size(completions_);
  for (const auto& queue : submissions_)
    s.require(!queue || (queue->completion < completions_.size() && completions_[queue->completion]),
              "a queue has no completion queue");
  for (const auto& queue : completions_)
    s.require(!queue || queue->vector < vectors(), "a queue has no such vector");
}

void Nvme::transfer_events(StateStream& s) {
  s.list(waiting_for_events_, remembered_max);
  transfer_event_list(s, events_);
  transfer_event_list(s, masked_events_);
  const std::size_t errors = s.count(errors_.size(), remembered_max);
  if (s.loads()) errors_.resize(errors);
  for (spec::nvme::ErrorLogEntry& entry : errors_)
    s(entry.count, entry.sq_id, entry.cid, entry.status, entry.location, entry.lba, entry.nsid);
  s(error_count_);
}

}  // namespace cbit::dev
