// Collects the causes that the detectors find: one entry per cause, device and mapping or run of pages,
// with a count; and gives each the kernel's message that belongs to it.
// Threading: one thread.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/trace.hpp"
#include "watch/causes.hpp"

namespace cbit::watch {

class CaseBook {
 public:
  CaseBook(const Tracer& tracer, const RemedyQuestion& asked) : tracer_{&tracer}, asked_{asked} {}

  // A new entry for the detector to fill in, or nullptr when this is one more occurrence of a known one.
  // Runs of physical addresses that touch are one. Valid until the next call.
  Cause* open(const CauseInfo& info, NameId device, const CauseRange& where, std::uint64_t time_ns);
  Cause* open(const CauseInfo& info, NameId device, std::uint64_t time_ns) {
    return open(info, device, {}, time_ns);
  }

  // The same for a misuse of the DMA API, which the explainer sees itself and the kernel's dma-debug may
  // report as well, before or after: two witnesses of one call count once. `message` is dma-debug's, empty
  // where it counts and does not print; nullopt for the explainer.
  Cause* open_misuse(const CauseInfo& info, NameId device, const CauseRange& where, std::uint64_t time_ns,
                     const std::optional<std::string>& message = std::nullopt);

  // The newest entry of this cause and device; nullptr when there is none.
  [[nodiscard]] Cause* known(const CauseInfo& info, NameId device);
  // The entry of this cause that covers the address; nullptr when there is none.
  [[nodiscard]] Cause* find(const CauseInfo& info, CauseRange::Space space, std::uint64_t address);
  // Adds evidence to the entries that were opened at that time, unless they have some with that label.
  void amend(std::uint64_t time_ns, const Evidence& evidence);

  // The kernel's words may come before the event that they belong to, or after it.
  void message(const std::string& text);

  [[nodiscard]] const std::vector<Cause>& causes() const { return causes_; }

 private:
  using Subject = std::pair<std::string_view, NameId>;
  void claim_message(std::size_t index);
  // The entry has grown: what it touches now is part of it.
  void absorb_neighbours(std::vector<std::size_t>& known, std::size_t index);
  void erase(std::size_t index);

  const Tracer* tracer_;
  RemedyQuestion asked_;
  std::vector<Cause> causes_;
  std::map<Subject, std::vector<std::size_t>> by_subject_;
  // Misuses that one witness has reported: subject and first address, and whether it was the kernel.
  std::map<std::pair<Subject, std::uint64_t>, bool> reported_;
  std::deque<std::string> unclaimed_;  // the last few messages that belong to no cause so far
  std::size_t awaiting_ = none;        // the last cause, if its message has not come yet
  static constexpr std::size_t none = ~std::size_t{0};
};

// Adds evidence unless some with that label is there.
void add_once(Cause& cause, const Evidence& evidence);

}  // namespace cbit::watch
