// A second witness of page states: what the guest tells the hypervisor, held against what memory shows.
//
// A page that the guest told to be shared and that was written under its key afterwards, or one that it told
// to be private and that was written without, disagrees. Pages that nobody wrote since are not judged.
//
// Time of a call: logarithmic in the number of ranges told, plus the ranges that it covers. Memory: by
// ranges, at most one per page of RAM. Threading: one thread, as for every sink.
#pragma once

#include <cstdint>
#include <vector>

#include "base/range_map.hpp"
#include "base/trace.hpp"
#include "mem/memory.hpp"

namespace cbit::guest {

struct ToldReport {
  static constexpr std::size_t places_max = 8;
  std::uint64_t calls = 0;
  std::uint64_t pages_shared = 0;  // as they stand at the end
  std::uint64_t pages_private = 0;
  std::uint64_t pages_judged = 0;  // written since they were told
  std::uint64_t disagreements = 0;
  std::vector<PhysAddr> places;  // the first of these
};

class ToldStates final : public EventSink {
 public:
  void on_event(const Event& event) override;

  // `guest_key` is that of its private pages.
  [[nodiscard]] ToldReport judge(const mem::Memory& memory, KeyId guest_key) const;

 private:
  struct Told {
    bool encrypted = false;
    std::uint64_t told_ns = 0;
  };

  RangeMap<Told> told_;  // by page number
  std::uint64_t calls_ = 0;
};

}  // namespace cbit::guest
