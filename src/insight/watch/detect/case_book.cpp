#include "watch/detect/case_book.hpp"

#include <algorithm>

namespace cbit::watch {
namespace {

// A message is printed next to what it is about; further back it belongs to something else.
constexpr std::size_t unclaimed_max = 4;

// The last address of a range, which is its first if it is empty. A forged address may lie at the end of
// the space.
std::uint64_t last(const CauseRange& range) {
  const std::uint64_t more = range.bytes == 0 ? 0 : range.bytes - 1;
  return range.first + std::min(more, ~range.first);
}

bool belongs_together(const CauseRange& a, const CauseRange& b) {
  if (a.space != b.space) return false;
  if (a.space == CauseRange::Space::none || (a.first <= last(b) && b.first <= last(a))) return true;
  return a.space == CauseRange::Space::physical && (last(a) + 1 == b.first || last(b) + 1 == a.first);
}

void extend(CauseRange& range, const CauseRange& by) {
  const std::uint64_t end = std::max(last(range), last(by));
  range.first = std::min(range.first, by.first);
  range.bytes = end - range.first + 1;
}

}  // namespace

void add_once(Cause& cause, const Evidence& evidence) {
  const bool there =
      std::ranges::any_of(cause.evidence, [&](const Evidence& e) { return e.label == evidence.label; });
  if (!there) cause.evidence.push_back(evidence);
}

Cause* CaseBook::open(const CauseInfo& info, NameId device, const CauseRange& where, std::uint64_t time_ns) {
  std::vector<std::size_t>& known = by_subject_[{info.name, device}];
  const auto same = std::ranges::find_if(
      known, [&](std::size_t index) { return belongs_together(causes_[index].where, where); });
  if (same != known.end()) {
    Cause& cause = causes_[*same];
    if (where.space != CauseRange::Space::none) extend(cause.where, where);
    ++cause.count;
    const std::size_t index = *same;
    absorb_neighbours(known, index);
    claim_message(index);
    return nullptr;
  }
  known.push_back(causes_.size());
  causes_.push_back({.info = &info,
                     .device = device == 0 ? std::string{} : std::string{tracer_->name(device)},
                     .where = where,
                     .remedies = remedies_for(info.remedies, asked_),
                     .time_ns = time_ns});
  claim_message(known.back());
  return &causes_.back();
}

void CaseBook::absorb_neighbours(std::vector<std::size_t>& known, std::size_t index) {
  for (auto other = known.end(); *--other != index;) {
    if (!belongs_together(causes_[index].where, causes_[*other].where)) continue;
    extend(causes_[index].where, causes_[*other].where);
    causes_[index].count += causes_[*other].count;
    if (causes_[index].kernel_message.empty()) causes_[index].kernel_message = causes_[*other].kernel_message;
    const std::size_t absorbed = *other;
    known.erase(other);
    erase(absorbed);
    other = known.end();
  }
}

void CaseBook::erase(std::size_t index) {
  causes_.erase(causes_.begin() + static_cast<std::ptrdiff_t>(index));
  for (auto& [subject, indices] : by_subject_)
    for (std::size_t& other : indices)
      if (other > index) --other;
  if (awaiting_ == index)
    awaiting_ = none;
  else if (awaiting_ != none && awaiting_ > index)
    --awaiting_;
}

Cause* CaseBook::open_misuse(const CauseInfo& info, NameId device, const CauseRange& where,
                             std::uint64_t time_ns, const std::optional<std::string>& message) {
  const bool by_kernel = message.has_value();
  const std::pair misuse{Subject{info.name, device}, where.first};
  const auto reported = reported_.find(misuse);
  if (reported != reported_.end() && reported->second != by_kernel) {
    reported_.erase(reported);
    Cause* const cause = known(info, device);
    if (cause->kernel_message.empty()) cause->kernel_message = message.value_or("");
    return nullptr;
  }
  reported_[misuse] = by_kernel;
  Cause* const cause = open(info, device, where, time_ns);
  if (cause != nullptr && by_kernel) cause->kernel_message = *message;
  return cause;
}

Cause* CaseBook::known(const CauseInfo& info, NameId device) {
  const auto found = by_subject_.find({info.name, device});
  return found == by_subject_.end() ? nullptr : &causes_[found->second.back()];
}

Cause* CaseBook::find(const CauseInfo& info, CauseRange::Space space, std::uint64_t address) {
  const auto found = std::ranges::find_if(causes_, [&](const Cause& cause) {
    return cause.info == &info && cause.where.space == space && address >= cause.where.first &&
           address - cause.where.first < cause.where.bytes;
  });
  return found == causes_.end() ? nullptr : &*found;
}

void CaseBook::amend(std::uint64_t time_ns, const Evidence& evidence) {
  for (auto cause = causes_.rbegin(); cause != causes_.rend() && cause->time_ns == time_ns; ++cause)
    add_once(*cause, evidence);
}

void CaseBook::claim_message(std::size_t index) {
  Cause& cause = causes_[index];
  awaiting_ = none;
  if (cause.info->linux_says.empty()) return;
  const auto said = std::find_if(unclaimed_.rbegin(), unclaimed_.rend(),
                                 [&](const std::string& text) { return is_about(*cause.info, text); });
  if (said == unclaimed_.rend()) {
    awaiting_ = index;
    return;
  }
  if (cause.kernel_message.empty()) cause.kernel_message = *said;
  unclaimed_.erase(std::next(said).base());
}

void CaseBook::message(const std::string& text) {
  if (awaiting_ != none && is_about(*causes_[awaiting_].info, text)) {
    Cause& cause = causes_[std::exchange(awaiting_, none)];
    if (cause.kernel_message.empty()) cause.kernel_message = text;
    return;
  }
  unclaimed_.push_back(text);
  if (unclaimed_.size() > unclaimed_max) unclaimed_.pop_front();
}

}  // namespace cbit::watch
