#include "chipset/pit.hpp"

#include <algorithm>

#include "base/reg.hpp"

namespace cbit::chipset {
namespace {

constexpr std::uint16_t control_port = 3;

// 8254, "Control Word Format" and "Read-Back Command".
struct PitControl : Register<PitControl, std::uint8_t> {
  using Counter = Field<7, 6, unsigned>;  // 3: this is a read-back command
  using Access = Field<5, 4, unsigned>;   // 0: this is a latch command
  using Mode = Field<3, 1, unsigned>;
  using Bcd = Field<0, 0, bool>;
};
struct PitReadBack : Register<PitReadBack, std::uint8_t> {
  using NoCount = Field<5, 5, bool>;
  using NoStatus = Field<4, 4, bool>;
  using Counters = Field<3, 1, unsigned>;
};
struct PitStatus : Register<PitStatus, std::uint8_t> {
  using Out = Field<7, 7, bool>;
  using NullCount = Field<6, 6, bool>;
  using Control = Field<5, 0, unsigned>;
};
static_assert(PitControl{{0xb6}}.get<PitControl::Counter>() == 2 &&
              PitControl{{0xb6}}.get<PitControl::Mode>() == 3);

}  // namespace

void PitCounter::reset(Ticks now, bool gate) {
  gate_ = gate;
  count_register_ = 0;
  write_control(now, 0x36);
  count_written(now);
  loaded_at_ = now;
  if (stopped_at_) stopped_at_ = now;
}

std::uint32_t PitCounter::count_of(std::uint16_t raw) const {
  if (raw == 0) return modulus();
  std::uint32_t count = raw;
  if (bcd_) {
    count = 0;
    for (int shift = 12; shift >= 0; shift -= 4) count = 10 * count + (raw >> shift & 0xfu);
  }
  return periodic() ? std::max(count, 2u) : count;
}

std::uint16_t PitCounter::raw_of(std::uint32_t count) const {
  count %= modulus();
  if (!bcd_) return static_cast<std::uint16_t>(count);
  std::uint32_t raw = 0;
  for (int shift = 0; shift < 16; shift += 4, count /= 10) raw |= count % 10 << shift;
  return static_cast<std::uint16_t>(raw);
}

void PitCounter::write_control(Ticks now, std::uint8_t word) {
  before_ = value(now);
  const PitControl control{{word}};
  control_ = word & 0x3f;
  mode_ = control.get<PitControl::Mode>();
  if (mode_ > 5) mode_ -= 4;
  bcd_ = control.get<PitControl::Bcd>();
  access_ = static_cast<Access>(control.get<PitControl::Access>());
  writes_high_ = reads_high_ = false;
  latched_count_.reset();
  latched_status_.reset();
  count_ = 0;
  null_count_ = true;
  armed_ = false;
  stopped_at_.reset();
  reload_at_.reset();
}

void PitCounter::write(Ticks now, std::uint8_t value_written) {
  settle(now);
  const bool high = access_ == Access::high || (access_ == Access::low_high && writes_high_);
  if (access_ == Access::low_high) {
    writes_high_ = !writes_high_;
    if (!high) {
      count_register_ = value_written;
      // Mode 0: the first byte of a count stops the counter, and OUT goes low.
      if (mode_ == 0) {
        before_ = value(now);
        count_ = 0;
      }
      return;
    }
    count_register_ = static_cast<std::uint16_t>((count_register_ & 0xff) | value_written << 8);
  } else {
    count_register_ = static_cast<std::uint16_t>(high ? value_written << 8 : value_written);
  }
  count_written(now);
}

void PitCounter::count_written(Ticks now) {
  null_count_ = true;
  if (triggered_by_gate()) {
    armed_ = true;
    return;
  }
  if (!periodic() || !is_loaded(now)) return load(now);
  if (stopped_at_) return;  // the gate's next edge takes it
  const Ticks position = counted(now) % count_;
  const Ticks first = mode_ == 3 ? half_cycle(starts_high_) : count_;
  reload_at_ = now + (position < first ? first : count_) - position;
}

void PitCounter::load(Ticks now) {
  before_ = value(now);
  out_before_ = mode_ != 0 && out(now);
  count_ = count_of(count_register_);
  loaded_at_ = now + 1;
  missed_ = 0;
  starts_high_ = true;
  null_count_ = false;
  reload_at_.reset();
  stopped_at_.reset();
  if (!gate_ && !triggered_by_gate()) stopped_at_ = loaded_at_;
}

void PitCounter::settle(Ticks now) {
  if (!reload_at_ || now < *reload_at_) return;
  const Ticks at = *reload_at_;
  reload_at_.reset();
  // In mode 3 this is the end of either half.
  starts_high_ = (at - loaded_at_) % count_ == 0 ? starts_high_ : !starts_high_;
  count_ = count_of(count_register_);
  loaded_at_ = at;
  missed_ = 0;
  null_count_ = false;
}

void PitCounter::set_gate(Ticks now, bool gate) {
  if (gate == gate_) return;
  settle(now);
  gate_ = gate;
  if (triggered_by_gate()) {
    if (gate && armed_) load(now);
    return;
  }
  if (count_ == 0) return;
  if (!gate) {
    stopped_at_ = std::max(now, loaded_at_);
    reload_at_.reset();
  } else if (periodic()) {
    load(now);
    out_before_ = true;
  } else if (stopped_at_) {
    missed_ += std::max(now, loaded_at_) - *stopped_at_;
    stopped_at_.reset();
  }
}

PitCounter::Ticks PitCounter::counted(Ticks now) const {
  return stopped_at_.value_or(now) - loaded_at_ - missed_;
}

std::uint32_t PitCounter::value(Ticks now) {
  settle(now);
  if (!is_loaded(now)) return before_;
  const Ticks passed = counted(now);
  if (mode_ == 2) return count_ - static_cast<std::uint32_t>(passed % count_);
  if (mode_ == 3) {
    const Ticks first = half_cycle(starts_high_);
    const Ticks position = passed % count_;
    const Ticks in_half = position < first ? position : position - first;
    return (count_ & ~1u) - static_cast<std::uint32_t>(2 * in_half);
  }
  return (count_ + modulus() - static_cast<std::uint32_t>(passed % modulus())) % modulus();
}

bool PitCounter::out(Ticks now) {
  settle(now);
  if (count_ == 0) return mode_ != 0;
  if (periodic() && !gate_) return true;
  if (!is_loaded(now)) return out_before_;
  const Ticks passed = counted(now);
  switch (mode_) {
    case 0: return passed >= count_;
    case 1: return passed >= count_;
    case 2: return passed % count_ != count_ - 1;
    case 3: return (passed % count_ < half_cycle(starts_high_)) == starts_high_;
    default: return passed != count_;
  }
}

std::optional<PitCounter::Ticks> PitCounter::next_edge(Ticks now) {
  settle(now);
  if (count_ == 0) return std::nullopt;
  if (now < loaded_at_) return loaded_at_;
  if (stopped_at_) return std::nullopt;
  const Ticks passed = counted(now);
  if (periodic()) {
    const Ticks position = passed % count_;
    const Ticks first = mode_ == 3 ? half_cycle(starts_high_) : count_ - 1;
    return now + (position < first ? first : count_) - position;
  }
  if (passed < count_) return now + count_ - passed;
  if (passed == count_ && mode_ >= 4) return now + 1;
  return std::nullopt;
}

std::uint8_t PitCounter::status(Ticks now) {
  const bool level = out(now);
  return PitStatus{}
      .with<PitStatus::Out>(level)
      .with<PitStatus::NullCount>(null_count_ || !is_loaded(now))
      .with<PitStatus::Control>(control_)
      .raw;
}

// A latch that has not been read yet keeps what it holds.
void PitCounter::latch_count(Ticks now) {
  if (!latched_count_) latched_count_ = raw_of(value(now));
}

void PitCounter::latch_status(Ticks now) {
  if (!latched_status_) latched_status_ = status(now);
}

std::uint8_t PitCounter::read(Ticks now) {
  if (latched_status_) return *std::exchange(latched_status_, std::nullopt);
  const std::uint16_t raw = latched_count_ ? *latched_count_ : raw_of(value(now));
  const bool high = access_ == Access::high || (access_ == Access::low_high && reads_high_);
  if (access_ == Access::low_high) reads_high_ = !reads_high_;
  if (high || access_ == Access::low) latched_count_.reset();
  return static_cast<std::uint8_t>(high ? raw >> 8 : raw);
}

Pit::Pit(Clock& clock, bus::IrqLine& irq) : irq_{irq, "pit"}, timer_{clock, [this] { update(); }} { reset(); }

void Pit::reset() {
  for (std::size_t i = 0; i < counters_.size(); ++i) counters_[i].reset(now(), i != 2);
  update();
}

std::uint32_t Pit::read(std::uint16_t offset, unsigned) {
  return offset == control_port ? 0xff : counters_[offset].read(now());
}

void Pit::write(std::uint16_t offset, unsigned, std::uint32_t value) {
  const auto byte = static_cast<std::uint8_t>(value);
  offset == control_port ? write_control(byte) : counters_[offset].write(now(), byte);
  update();
}

void Pit::write_control(std::uint8_t word) {
  const PitControl control{{word}};
  const unsigned counter = control.get<PitControl::Counter>();
  if (counter < counters_.size()) {
    if (control.get<PitControl::Access>() == 0)
      counters_[counter].latch_count(now());
    else
      counters_[counter].write_control(now(), word);
    return;
  }
  const PitReadBack command{{word}};
  for (std::size_t i = 0; i < counters_.size(); ++i) {
    if ((command.get<PitReadBack::Counters>() >> i & 1) == 0) continue;
    if (!command.get<PitReadBack::NoCount>()) counters_[i].latch_count(now());
    if (!command.get<PitReadBack::NoStatus>()) counters_[i].latch_status(now());
  }
}

void Pit::set_gate2(bool gate) { counters_[2].set_gate(now(), gate); }

bool Pit::out2() { return counters_[2].out(now()); }

void Pit::update() {
  irq_.set(counters_[0].out(now()));
  const auto edge = counters_[0].next_edge(now());
  edge ? timer_.start(input_.time_of(*edge)) : timer_.stop();
}

void PitCounter::transfer(StateStream& s) {
  s(control_, bcd_, gate_, count_register_, writes_high_, reads_high_, latched_count_, latched_status_);
  s.up_to(mode_, 5u);
  s.choice(access_, Access::low_high);
  s.up_to(count_, 0x1'0000u);
  s(loaded_at_, before_, out_before_, missed_, stopped_at_, starts_high_, null_count_, armed_, reload_at_);
}

void Pit::transfer(StateStream& s) { s(irq_, counters_, input_, timer_); }

}  // namespace cbit::chipset
