#include "chipset/rtc.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

namespace cbit::chipset {
namespace {

constexpr std::uint64_t ticks_per_second = 32'768;
constexpr std::uint8_t alarm_any = 0xc0;  // from this value on an alarm byte matches everything
constexpr std::uint8_t pm = 0x80;
constexpr std::int64_t seconds_per_day = 86'400;

constexpr std::uint64_t kib = 1 << 10;
constexpr std::uint64_t mib = 1 << 20;

}  // namespace

Rtc::Rtc(Clock& clock, bus::IrqLine& irq, const RtcConfig& config)
    : irq_{irq, "rtc"}, timer_{clock, [this] {
                                 catch_up();
                                 update();
                               }} {
  a_ = RegisterA{}.with<RegisterA::Divider>(2).with<RegisterA::Rate>(6);
  b_ = RegisterB{}.with<RegisterB::Hours24>(true);
  // The first day of 1970, a Thursday; set_time() counts the days of the week from there.
  bytes_[day_of_week] = 5;
  bytes_[day_of_month] = bytes_[month] = 1;
  bytes_[century] = encode(19);
  bytes_[year] = encode(70);
  set_time(config.start_seconds);
  store_memory_sizes(config);
}

void Rtc::store_memory_sizes(const RtcConfig& config) {
  const auto put = [&](std::uint8_t index, std::uint64_t value, unsigned count) {
    for (unsigned i = 0; i < count; ++i) bytes_[index + i] = static_cast<std::uint8_t>(value >> 8 * i);
  };
  const std::uint64_t low = config.memory_below_4g_bytes;
  const std::uint64_t above_1m = low > mib ? std::min((low - mib) / kib, std::uint64_t{0xffff}) : 0;
  const std::uint64_t above_16m =
      low > 16 * mib ? std::min((low - 16 * mib) / (64 * kib), std::uint64_t{0xffff}) : 0;
  put(0x15, std::min(low / kib, std::uint64_t{640}), 2);
  put(0x17, above_1m, 2);
  put(0x30, above_1m, 2);
  put(0x34, above_16m, 2);
  put(0x5b, config.memory_above_4g_bytes / (64 * kib), 3);
}

void Rtc::reset() {
  catch_up();
  b_ = b_.with<RegisterB::PeriodicEnable>(false)
           .with<RegisterB::AlarmEnable>(false)
           .with<RegisterB::UpdateEnable>(false)
           .with<RegisterB::SquareWave>(false);
  flags_ = {};
  nmi_masked_ = false;
  update();
}

std::uint64_t Rtc::updates() const { return (oscillator_.at(now()) + phase_) / ticks_per_second; }

std::uint64_t Rtc::time_of_update(std::uint64_t number) const {
  return oscillator_.time_of(number * ticks_per_second - phase_);
}

bool Rtc::update_in_progress() const {
  if (!running() || b_.get<RegisterB::Set>()) return false;
  return time_of_update(updates() + 1) - now() <= uip_ns;
}

// MC146818A table 5: with this oscillator the first two rates are those of 8 and 9.
std::uint64_t Rtc::period_ticks() const {
  const unsigned rate = a_.get<RegisterA::Rate>();
  if (rate == 0 || !running()) return 0;
  return std::uint64_t{1} << (rate <= 2 ? rate + 6 : rate - 1);
}

unsigned Rtc::decode(std::uint8_t raw) const {
  return b_.get<RegisterB::Binary>() ? raw : 10u * (raw >> 4) + (raw & 0xf);
}

std::uint8_t Rtc::encode(unsigned value) const {
  return static_cast<std::uint8_t>(b_.get<RegisterB::Binary>() ? value : value / 10 % 10 << 4 | value % 10);
}

unsigned Rtc::decode_hour(std::uint8_t raw) const {
  if (b_.get<RegisterB::Hours24>()) return decode(raw);
  const unsigned hour = decode(raw & static_cast<std::uint8_t>(~pm)) % 12;
  return (raw & pm) != 0 ? hour + 12 : hour;
}

std::uint8_t Rtc::encode_hour(unsigned hour) const {
  if (b_.get<RegisterB::Hours24>()) return encode(hour);
  const std::uint8_t twelve = encode(hour % 12 == 0 ? 12 : hour % 12);
  return hour >= 12 ? twelve | pm : twelve;
}

// Whatever a guest wrote is some time: what is out of range carries over.
std::int64_t Rtc::time() const {
  const auto full_year = static_cast<int>(100 * decode(bytes_[century]) + decode(bytes_[year]));
  const unsigned months = std::max(decode(bytes_[month]), 1u) - 1;
  const std::chrono::year_month_day first{std::chrono::year{full_year} + std::chrono::years{months / 12},
                                          std::chrono::month{months % 12 + 1}, std::chrono::day{1}};
  const std::int64_t day = std::chrono::sys_days{first}.time_since_epoch().count() +
                           std::int64_t{decode(bytes_[day_of_month])} - 1;
  const std::int64_t hour = decode_hour(bytes_[hours]);
  return day * seconds_per_day + hour * 3600 + decode(bytes_[minutes]) * 60 + decode(bytes_[seconds]);
}

void Rtc::set_time(std::int64_t seconds_since_1970) {
  using std::chrono::floor;
  const std::int64_t before = time();
  const std::chrono::sys_seconds point{std::chrono::seconds{seconds_since_1970}};
  const auto day = floor<std::chrono::days>(point);
  const std::chrono::year_month_day date{day};
  const auto in_day = static_cast<unsigned>((point - day).count());
  const auto full_year = static_cast<unsigned>(static_cast<int>(date.year()));

  bytes_[seconds] = encode(in_day % 60);
  bytes_[minutes] = encode(in_day / 60 % 60);
  bytes_[hours] = encode_hour(in_day / 3600);
  bytes_[day_of_month] = encode(static_cast<unsigned>(date.day()));
  bytes_[month] = encode(static_cast<unsigned>(date.month()));
  bytes_[year] = encode(full_year % 100);
  bytes_[century] = encode(full_year / 100);

  const std::chrono::sys_seconds old_point{std::chrono::seconds{before}};
  const std::int64_t days_on = (day - floor<std::chrono::days>(old_point)).count();
  const std::uint8_t weekday = bytes_[day_of_week];
  if (weekday >= 1 && weekday <= 7)
    bytes_[day_of_week] = static_cast<std::uint8_t>(((weekday - 1 + days_on) % 7 + 7) % 7 + 1);
}

std::uint64_t Rtc::updates_until_alarm() const {
  const auto matches = [&](Index alarm, std::uint8_t raw) {
    return bytes_[alarm] >= alarm_any || bytes_[alarm] == raw;
  };
  const auto matches_some = [&](Index alarm) {
    for (unsigned value = 0; value < 60; ++value)
      if (matches(alarm, encode(value))) return true;
    return false;
  };
  if (!matches_some(seconds_alarm) || !matches_some(minutes_alarm)) return 0;
  constexpr auto day = static_cast<unsigned>(seconds_per_day);
  const auto start = static_cast<unsigned>((time() % seconds_per_day + seconds_per_day) % seconds_per_day);
  for (unsigned at = start + 1; at <= start + day;) {
    const unsigned in_day = at % day;
    if (!matches(hours_alarm, encode_hour(in_day / 3600)))
      at += 3600 - in_day % 3600;
    else if (!matches(minutes_alarm, encode(in_day / 60 % 60)))
      at += 60 - in_day % 60;
    else if (!matches(seconds_alarm, encode(in_day % 60)))
      ++at;
    else
      return at - start;
  }
  return 0;
}

void Rtc::catch_up() {
  if (!running()) return;
  const std::uint64_t passed = updates() - std::exchange(updates_seen_, updates());
  if (passed != 0 && !b_.get<RegisterB::Set>()) {
    const std::uint64_t alarm = updates_until_alarm();
    if (alarm != 0 && alarm <= passed) flags_ = flags_.with<RegisterC::Alarm>(true);
    set_time(time() + static_cast<std::int64_t>(passed));
    flags_ = flags_.with<RegisterC::Update>(true);
  }
  if (const std::uint64_t period = period_ticks(); period != 0) {
    const std::uint64_t periods = oscillator_.at(now()) / period;
    if (periods != std::exchange(periods_seen_, periods)) flags_ = flags_.with<RegisterC::Periodic>(true);
  }
}

void Rtc::update() {
  // Flags and their enables have the same places.
  const bool requests = (flags_.raw & b_.raw & 0x70) != 0;
  flags_ = flags_.with<RegisterC::Irq>(requests);
  irq_.set(requests);
  timer_.stop();
  if (requests || !running()) return;

  std::optional<std::uint64_t> next;
  const auto consider = [&](std::uint64_t at) { next = next ? std::min(*next, at) : at; };
  if (!b_.get<RegisterB::Set>()) {
    if (b_.get<RegisterB::UpdateEnable>()) consider(time_of_update(updates() + 1));
    const std::uint64_t alarm = b_.get<RegisterB::AlarmEnable>() ? updates_until_alarm() : 0;
    if (alarm != 0) consider(time_of_update(updates() + alarm));
  }
  const std::uint64_t period = period_ticks();
  if (b_.get<RegisterB::PeriodicEnable>() && period != 0)
    consider(oscillator_.time_of((periods_seen_ + 1) * period));
  if (next) timer_.start(*next);
}

std::uint32_t Rtc::read(std::uint16_t offset, unsigned) {
  if (offset == 0) return 0xff;
  catch_up();
  const std::uint8_t value = read_register(index_);
  update();
  return value;
}

void Rtc::write(std::uint16_t offset, unsigned, std::uint32_t value) {
  if (offset == 0) {
    index_ = value & 0x7f;
    nmi_masked_ = (value & 0x80) != 0;
    return;
  }
  catch_up();
  write_register(index_, static_cast<std::uint8_t>(value));
  update();
}

std::uint8_t Rtc::read_register(std::uint8_t index) {
  switch (index) {
    case register_a: return a_.with<RegisterA::UpdateInProgress>(update_in_progress()).raw;
    case register_b: return b_.raw;
    case register_c: update(); return std::exchange(flags_, {}).raw;
    case register_d: return 0x80;  // VRT: the battery is good
    default: return bytes_[index];
  }
}

void Rtc::write_register(std::uint8_t index, std::uint8_t value) {
  switch (index) {
    case register_a: return write_a(value);
    case register_b: return write_b(value);
    case register_c:
    case register_d: return;
    default: bytes_[index] = value;
  }
}

void Rtc::write_a(std::uint8_t value) {
  const bool ran = running();
  a_ = RegisterA{{value}}.with<RegisterA::UpdateInProgress>(false);
  if (running() && !ran) {
    oscillator_.set(now(), 0);
    phase_ = ticks_per_second / 2;  // the first update is half a second away
    updates_seen_ = 0;
  }
  const std::uint64_t period = period_ticks();
  periods_seen_ = period == 0 ? 0 : oscillator_.at(now()) / period;
}

void Rtc::write_b(std::uint8_t value) {
  b_ = RegisterB{{value}};
  if (b_.get<RegisterB::Set>()) b_ = b_.with<RegisterB::UpdateEnable>(false);
}

void Rtc::transfer(StateStream& s) {
  s(irq_, bytes_, a_, b_, flags_, nmi_masked_, oscillator_, phase_, updates_seen_, periods_seen_, timer_);
  s.up_to(index_, static_cast<std::uint8_t>(bytes_.size() - 1));
}

}  // namespace cbit::chipset
