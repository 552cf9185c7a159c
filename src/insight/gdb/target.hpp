// A machine as a debugger has it: processors, memory, what they are to stop for.
//
// Memory is RAM; devices are not read, as reading may change them. Linear addresses go through the
// processor's tables as they are now, under the keys that the mappings select. A physical address is looked
// at through the key that its page was last written with, or, where it has the C-bit, the guest's: what
// guest::Inspector says. Writing is as if the processor stored there. Threading: that of the machine.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "gdb/registers.hpp"
#include "guest/monitor/inspector.hpp"
#include "guest/pc.hpp"

namespace cbit::gdb {

enum class Space : std::uint8_t { linear, physical };

// In the order of the protocol's Z packets.
enum class PointKind : std::uint8_t { software_break, hardware_break, write, read, access };

struct Point {
  PointKind kind{};
  VirtAddr at;
  std::uint64_t bytes = 0;  // watched; breakpoints have none

  friend auto operator<=>(const Point&, const Point&) = default;
};

class Target {
 public:
  static constexpr std::size_t points_max = 1024;

  // The machine outlives it.
  explicit Target(guest::Pc& pc);
  Target(const Target&) = delete;
  Target& operator=(const Target&) = delete;
  ~Target() { remove_all(); }

  [[nodiscard]] std::span<const Processor> processors() const { return processors_; }

  // False: not all of it is RAM, or mapped.
  [[nodiscard]] bool read(std::size_t processor, Space space, std::uint64_t at, ByteSpan to) const;
  // Likewise; what lies before the place that is none is written.
  bool write(std::size_t processor, Space space, std::uint64_t at, ConstByteSpan from);

  // Of all processors. False: a watch of no bytes or beyond the last address, or there are too many.
  bool insert(const Point& point);
  // Nothing, if there is none.
  void remove(const Point& point);
  void remove_all();

  struct Stop {
    std::size_t processor = 0;
    Point point;           // of a watch as it was inserted
    std::uint64_t at = 0;  // accessed
  };
  // Of the last run or step, once.
  [[nodiscard]] std::optional<Stop> take_stop();

  [[nodiscard]] const std::vector<Point>& points() const { return points_; }

  // In a replay, where nothing may change what happens: run() pauses when the processor has come a position
  // further, whoever else runs before.
  void pause_after_step(std::size_t processor);
  void forget_pause();
  // Whether it has come there, once.
  [[nodiscard]] bool take_pause();
  [[nodiscard]] guest::Pc& pc() { return *pc_; }

  // guest::Pc::step()
  bool step(std::size_t processor, bool hold_interrupts, std::uint64_t for_ns);
  [[nodiscard]] bool ended() const { return pc_->ending().has_value(); }

 private:
  using Place = guest::Inspector::Place;
  [[nodiscard]] std::optional<Place> place_of(std::size_t processor, Space space, std::uint64_t at) const;
  [[nodiscard]] bool has_break_at(VirtAddr at) const;
  void update_watches();

  guest::Pc* pc_;
  guest::Inspector inspector_;
  std::vector<Processor> processors_;
  std::vector<Point> points_;
  struct Pause {
    std::size_t processor;
    std::uint64_t position;
  };
  std::optional<Pause> pause_;
};

}  // namespace cbit::gdb
