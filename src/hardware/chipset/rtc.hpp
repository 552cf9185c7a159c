// The MC146818A real-time clock of a PC with 128 bytes of CMOS RAM.
//
//   70h  index (bit 7 masks NMI; write-only) · 71h  data · IRQ 8
//
// The date is that of the configuration plus virtual time, so it is the same in every run. Nothing ticks: the
// time registers are brought up to date when they are looked at, and an update, an alarm or a period is on
// the clock only while its interrupt is enabled. UIP is set for the 244 us before an update and the 1984 us
// of the update itself, at the end of which the registers change and the flags are set; the registers may be
// read meanwhile and show the old time. Time zone and daylight saving do not exist.
//
// Bytes that a PC's firmware leaves in the RAM: memory sizes (15h-18h, 30h, 31h, 34h, 35h; 5Bh-5Dh as SeaBIOS
// and QEMU use them) and the century (32h), which follows the calendar. Sources: Motorola MC146818A
// (ADI-1009); IBM PC/AT Technical Reference, "Real-time Clock/CMOS RAM Information". Threading: one thread.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/clock.hpp"
#include "base/reg.hpp"
#include "base/state_stream.hpp"
#include "bus/irq_line.hpp"
#include "bus/port_io.hpp"

namespace cbit::chipset {

struct RtcConfig {
  std::int64_t start_seconds = 0;           // since 1970-01-01 00:00 UTC, at virtual time 0
  std::uint64_t memory_below_4g_bytes = 0;  // RAM from address 0 on
  std::uint64_t memory_above_4g_bytes = 0;
};

class Rtc final : public bus::PioRegion {
 public:
  enum Index : std::uint8_t {
    seconds = 0x00,
    seconds_alarm = 0x01,
    minutes = 0x02,
    minutes_alarm = 0x03,
    hours = 0x04,
    hours_alarm = 0x05,
    day_of_week = 0x06,  // 1 is Sunday
    day_of_month = 0x07,
    month = 0x08,
    year = 0x09,
    register_a = 0x0a,
    register_b = 0x0b,
    register_c = 0x0c,
    register_d = 0x0d,
    century = 0x32,
  };
  struct RegisterA : Register<RegisterA, std::uint8_t> {
    using UpdateInProgress = Field<7, 7, bool>;  // read-only
    using Divider = Field<6, 4, unsigned>;       // 2: the oscillator of 32.768 kHz; 6, 7: reset
    using Rate = Field<3, 0, unsigned>;
  };
  struct RegisterB : Register<RegisterB, std::uint8_t> {
    using Set = Field<7, 7, bool>;
    using PeriodicEnable = Field<6, 6, bool>;
    using AlarmEnable = Field<5, 5, bool>;
    using UpdateEnable = Field<4, 4, bool>;
    using SquareWave = Field<3, 3, bool>;
    using Binary = Field<2, 2, bool>;
    using Hours24 = Field<1, 1, bool>;
    using DaylightSaving = Field<0, 0, bool>;
  };
  struct RegisterC : Register<RegisterC, std::uint8_t> {
    using Irq = Field<7, 7, bool>;
    using Periodic = Field<6, 6, bool>;
    using Alarm = Field<5, 5, bool>;
    using Update = Field<4, 4, bool>;
  };
  static constexpr std::uint64_t uip_ns = 244'000 + 1'984'000;

  Rtc(Clock& clock, bus::IrqLine& irq, const RtcConfig& config);

  // The RESET pin: interrupts off. Time and RAM stay.
  void reset();

  std::uint32_t read(std::uint16_t offset, unsigned bytes) override;
  void write(std::uint16_t offset, unsigned bytes, std::uint32_t value) override;

  [[nodiscard]] bool nmi_masked() const { return nmi_masked_; }
  void transfer(StateStream& s);

 private:
  [[nodiscard]] std::uint64_t now() const { return timer_.clock().now_ns(); }
  [[nodiscard]] bool running() const { return a_.get<RegisterA::Divider>() == 2; }
  [[nodiscard]] std::uint64_t updates() const;
  [[nodiscard]] std::uint64_t time_of_update(std::uint64_t number) const;
  [[nodiscard]] bool update_in_progress() const;
  // Ticks of the oscillator in a period of the periodic interrupt; 0: none.
  [[nodiscard]] std::uint64_t period_ticks() const;

  [[nodiscard]] unsigned decode(std::uint8_t raw) const;
  [[nodiscard]] std::uint8_t encode(unsigned value) const;
  [[nodiscard]] unsigned decode_hour(std::uint8_t raw) const;
  [[nodiscard]] std::uint8_t encode_hour(unsigned hour) const;
  // The time registers as seconds since 1970.
  [[nodiscard]] std::int64_t time() const;
  void set_time(std::int64_t seconds_since_1970);
  // Updates from now until the alarm; 0: it never comes.
  [[nodiscard]] std::uint64_t updates_until_alarm() const;

  void catch_up();
  // IRQ 8 follows the flags, and the next event that would be an interrupt is on the clock.
  void update();
  void store_memory_sizes(const RtcConfig& config);
  [[nodiscard]] std::uint8_t read_register(std::uint8_t index);
  void write_register(std::uint8_t index, std::uint8_t value);
  void write_a(std::uint8_t value);
  void write_b(std::uint8_t value);

  bus::IrqDriver irq_;
  std::array<std::uint8_t, 128> bytes_{};  // time, alarm and RAM
  RegisterA a_{};
  RegisterB b_{};
  RegisterC flags_{};
  std::uint8_t index_ = 0;
  bool nmi_masked_ = false;

  TickCounter oscillator_{32'768};  // since the divider was released
  std::uint64_t phase_ = 0;         // ticks by which updates come earlier than full seconds
  std::uint64_t updates_seen_ = 0;
  std::uint64_t periods_seen_ = 0;
  Timer timer_;
};

static_assert(Rtc::RegisterA{{0x26}}.get<Rtc::RegisterA::Divider>() == 2);
static_assert(Rtc::RegisterB{{0x02}}.get<Rtc::RegisterB::Hours24>());
static_assert(Rtc::RegisterC{{0x10}}.get<Rtc::RegisterC::Update>());

}  // namespace cbit::chipset
