// The 8254 interval timer of a PC: three counters at 1.193182 MHz.
//
//   40h, 41h, 42h  counters 0 (its OUT is IRQ 0), 1 (refresh), 2 (gate and OUT: chipset/port_b.hpp)
//   43h            control word, read-back command
//
// Nothing ticks: a counter's value and its OUT are computed from the time, and only the next edge of a
// watched OUT is on the clock. The input clock has a fixed phase, so that a count that is written is loaded
// by the next tick, as in the chip. After reset the counters run as a PC's firmware leaves them: square waves
// of 65536 ticks.
//
// A count of 1, which the chip does not allow in modes 2 and 3, counts as 2 there. Sources: Intel 8254
// (231164): "Programming the 8254", "Mode Definitions". Threading: one thread, that of the machine.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>

#include "base/clock.hpp"
#include "base/state_stream.hpp"
#include "bus/irq_line.hpp"
#include "bus/port_io.hpp"

namespace cbit::chipset {

inline constexpr std::uint64_t pit_hz = 1'193'182;

// One counter. Times are ticks of the input clock, which never run backwards from call to call.
class PitCounter {
 public:
  using Ticks = std::uint64_t;

  // As firmware leaves it.
  void reset(Ticks now, bool gate);

  void write_control(Ticks now, std::uint8_t word);  // RW, M and BCD of a control word
  void write(Ticks now, std::uint8_t value);
  [[nodiscard]] std::uint8_t read(Ticks now);
  void latch_count(Ticks now);
  void latch_status(Ticks now);
  void set_gate(Ticks now, bool gate);

  [[nodiscard]] bool gate() const { return gate_; }
  [[nodiscard]] bool out(Ticks now);
  // The next tick after `now` at which OUT may change.
  [[nodiscard]] std::optional<Ticks> next_edge(Ticks now);
  void transfer(StateStream& s);

 private:
  enum class Access : std::uint8_t { latch = 0, low = 1, high = 2, low_high = 3 };

  [[nodiscard]] bool periodic() const { return mode_ == 2 || mode_ == 3; }
  [[nodiscard]] bool triggered_by_gate() const { return mode_ == 1 || mode_ == 5; }
  [[nodiscard]] std::uint32_t modulus() const { return bcd_ ? 10'000 : 0x1'0000; }
  [[nodiscard]] std::uint32_t count_of(std::uint16_t raw) const;
  [[nodiscard]] std::uint16_t raw_of(std::uint32_t count) const;
  // The count register is complete.
  void count_written(Ticks now);
  // The counting element takes the count with the next tick, and counts from it if the gate lets it.
  void load(Ticks now);
  [[nodiscard]] bool is_loaded(Ticks now) const { return count_ != 0 && now >= loaded_at_; }
  // Carries out a load of a new count that has come due at the end of a cycle.
  void settle(Ticks now);
  // In mode 3: ticks of the half cycle that begins high, or low.
  [[nodiscard]] Ticks half_cycle(bool high) const { return high ? (count_ + 1) / 2 : count_ / 2; }
  // Ticks that have been counted since the load.
  [[nodiscard]] Ticks counted(Ticks now) const;
  [[nodiscard]] std::uint32_t value(Ticks now);
  [[nodiscard]] std::uint8_t status(Ticks now);

  std::uint8_t control_ = 0;  // bits 5:0 as written
  unsigned mode_ = 3;
  bool bcd_ = false;
  Access access_ = Access::low_high;
  bool gate_ = true;

  std::uint16_t count_register_ = 0;
  bool writes_high_ = false;  // the next write of two is the second
  bool reads_high_ = false;
  std::optional<std::uint16_t> latched_count_;
  std::optional<std::uint8_t> latched_status_;

  std::uint32_t count_ = 0;  // what the counting element was loaded with; 0: nothing since the control word
  Ticks loaded_at_ = 0;      // may lie one tick ahead; until then it shows
  std::uint32_t before_ = 0;
  bool out_before_ = true;
  Ticks missed_ = 0;                 // ticks since the load that the gate let not count
  std::optional<Ticks> stopped_at_;  // counts no more since then
  bool starts_high_ = true;          // mode 3: the half cycle that began with the load
  bool null_count_ = true;           // the count register holds what has not been loaded
  bool armed_ = false;               // modes 1 and 5: a count is there for a trigger
  std::optional<Ticks> reload_at_;   // modes 2 and 3: a new count is taken at this end of a cycle
};

class Pit final : public bus::PioRegion {
 public:
  Pit(Clock& clock, bus::IrqLine& irq);

  void reset();

  std::uint32_t read(std::uint16_t offset, unsigned bytes) override;
  void write(std::uint16_t offset, unsigned bytes, std::uint32_t value) override;

  // Counter 2, for port 61h.
  void set_gate2(bool gate);
  [[nodiscard]] bool gate2() const { return counters_[2].gate(); }
  [[nodiscard]] bool out2();
  void transfer(StateStream& s);

 private:
  [[nodiscard]] PitCounter::Ticks now() const { return input_.at(timer_.clock().now_ns()); }
  void write_control(std::uint8_t word);
  // IRQ 0 follows OUT of counter 0, and its next edge is on the clock.
  void update();

  TickCounter input_{pit_hz};
  bus::IrqDriver irq_;
  std::array<PitCounter, 3> counters_;
  Timer timer_;
};

}  // namespace cbit::chipset
