// How a buffer becomes reachable for a device: one small class per word of `--map`. Whoever owns the buffer
// (a driver, an application) reads and writes it with its own view; the device works on the segments that the
// mapping gave it.
//
// A new kind is a class of its own, a row in map_experiments.cpp, and a word and a row in
// explain/map_kind.hpp.
#pragma once

#include <memory>
#include <vector>

#include "explain/explain.hpp"
#include "mem/memory.hpp"

namespace cbit::explain {

struct DmaSegment {
  DmaAddr at;
  std::uint64_t bytes = 0;
};

// What a strategy works with; outlives it.
struct MapBench {
  const ExplainOptions& options;
  testbed::Testbed& bed;
  testbed::TestDevice device;
  // Of options.size bytes: what the buffer holds when the device comes, and what a buffer that lives long
  // held before that.
  Bytes initial;
  Bytes before;

  [[nodiscard]] paging::Mmu& cpu() const { return bed.kernel().cpu(0); }
  [[nodiscard]] kernel::Dma& dma() const { return bed.kernel().dma(); }
  [[nodiscard]] DmaDirection direction() const { return options.effective_direction(); }
};

// The calls come in the order in which they stand; after a map() that failed only read() and memory().
class MapStrategy {
 public:
  virtual ~MapStrategy() = default;

  // Brings the buffer with its initial contents, where it exists before it is mapped. Errors (usage): the
  // machine has no room.
  virtual OrError<void> prepare() { return {}; }
  // False when it was refused.
  virtual bool map() = 0;
  // What the device was told, in the buffer's order.
  [[nodiscard]] virtual std::vector<DmaSegment> segments() const = 0;
  virtual void sync_for_cpu(const SyncRange&) {}
  virtual void unmap() {}

  // The buffer as its owner reads it; empty: there is none, or it cannot be read.
  [[nodiscard]] virtual Bytes read() = 0;
  // Where it is, in the buffer's order; empty: nowhere.
  [[nodiscard]] virtual std::vector<mem::PhysRange> memory() const = 0;
  // After the last look: gives back what unmap() had to leave for it.
  virtual void release() {}
};

using MakeStrategy = std::unique_ptr<MapStrategy> (*)(MapBench& bench);

// user_mr.cpp
[[nodiscard]] std::unique_ptr<MapStrategy> make_user_mr(MapBench& bench);

// For the table of kinds.
template <class Strategy>
std::unique_ptr<MapStrategy> make_strategy(MapBench& bench) {
  return std::make_unique<Strategy>(bench);
}

// `--map ttm-bo`, in ttm_bo.cpp.
[[nodiscard]] std::unique_ptr<MapStrategy> make_graphics_buffer(MapBench& bench);

// A buffer of the kernel, in pages of the direct map.
class DriverBuffer {
 public:
  explicit DriverBuffer(MapBench& bench) : bench_{bench} {}

  // With `contents` of options.size bytes. Errors (usage): the machine has no room.
  OrError<void> allocate(const Bytes& contents);
  [[nodiscard]] Bytes read() const;
  [[nodiscard]] std::vector<mem::PhysRange> memory() const;
  [[nodiscard]] VirtAddr at() const { return at_; }
  [[nodiscard]] PhysAddr phys() const { return phys_; }

 private:
  MapBench& bench_;
  VirtAddr at_;
  PhysAddr phys_;
};

}  // namespace cbit::explain
