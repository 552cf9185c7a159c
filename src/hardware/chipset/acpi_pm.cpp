#include "chipset/acpi_pm.hpp"

#include "base/assert.hpp"
#include "cbit/addr.hpp"

namespace cbit::chipset {

using spec::AcpiPm1Control;
using spec::AcpiPm1Enable;
using spec::AcpiPm1Status;

namespace {

constexpr std::uint16_t pm1_status_clearable = AcpiPm1Status{}
                                                   .with<AcpiPm1Status::Wake>(true)
                                                   .with<AcpiPm1Status::PcieWake>(true)
                                                   .with<AcpiPm1Status::Rtc>(true)
                                                   .with<AcpiPm1Status::SleepButton>(true)
                                                   .with<AcpiPm1Status::PowerButton>(true)
                                                   .with<AcpiPm1Status::Global>(true)
                                                   .with<AcpiPm1Status::BusMaster>(true)
                                                   .with<AcpiPm1Status::Timer>(true)
                                                   .raw;
// Each enables the status bit of the same place.
constexpr std::uint16_t pm1_enables = AcpiPm1Enable{}
                                          .with<AcpiPm1Enable::Rtc>(true)
                                          .with<AcpiPm1Enable::SleepButton>(true)
                                          .with<AcpiPm1Enable::PowerButton>(true)
                                          .with<AcpiPm1Enable::Global>(true)
                                          .with<AcpiPm1Enable::Timer>(true)
                                          .raw;
constexpr std::uint16_t pm1_enable_settable =
    pm1_enables | AcpiPm1Enable{}.with<AcpiPm1Enable::PcieWakeOff>(true).raw;
constexpr std::uint16_t pm1_control_settable =
    AcpiPm1Control{}.with<AcpiPm1Control::SleepType>(7).with<AcpiPm1Control::BusMasterReload>(true).raw;

// `word` with its byte `which` replaced where `mask` has ones.
std::uint16_t with_byte(std::uint16_t word, unsigned which, std::uint8_t value, std::uint16_t mask) {
  const auto place = static_cast<std::uint16_t>(0xff << 8 * which & mask);
  return static_cast<std::uint16_t>((word & ~place) | (value << 8 * which & place));
}

}  // namespace

AcpiPm::AcpiPm(Clock& clock, bus::IrqLine& sci, PlatformControl& platform, unsigned timer_bits)
    : sci_{sci, "acpi"}, platform_{&platform}, timer_bits_{timer_bits}, timer_{clock, [this] {
                                                                                 catch_up();
                                                                                 update();
                                                                               }} {
  CBIT_ASSERT(timer_bits == 24 || timer_bits == 32);
  reset();
}

void AcpiPm::reset() {
  counter_.set(timer_.clock().now_ns(), 0);
  status_ = {};
  enable_ = {};
  control_ = AcpiPm1Control{}.with<AcpiPm1Control::SciEnable>(true);
  carries_seen_ = 0;
  update();
}

void AcpiPm::press_power_button() {
  status_ = status_.with<AcpiPm1Status::PowerButton>(true);
  update();
}

void AcpiPm::catch_up() {
  if (carries() == carries_seen_) return;
  carries_seen_ = carries();
  status_ = status_.with<AcpiPm1Status::Timer>(true);
}

void AcpiPm::update() {
  sci_.set((status_.raw & enable_.raw & pm1_enables) != 0);
  timer_.stop();
  if (enable_.get<AcpiPm1Enable::Timer>() && !status_.get<AcpiPm1Status::Timer>())
    timer_.start(counter_.time_of((carries_seen_ + 1) << (timer_bits_ - 1)));
}

std::uint32_t AcpiPm::read(std::uint16_t offset, unsigned bytes) {
  catch_up();
  update();
  if (offset >= timer_offset) {
    // One value, however it is taken apart.
    const std::uint64_t value = offset < timer_offset + 4 ? ticks() & bit_mask(timer_bits_) : 0;
    return static_cast<std::uint32_t>(value >> 8 * (offset % 4));
  }
  std::uint32_t value = 0;
  for (unsigned i = 0; i < bytes; ++i)
    value |= std::uint32_t{read_byte(static_cast<std::uint16_t>(offset + i))} << 8 * i;
  return value;
}

void AcpiPm::write(std::uint16_t offset, unsigned bytes, std::uint32_t value) {
  catch_up();
  for (unsigned i = 0; i < bytes; ++i)
    write_byte(static_cast<std::uint16_t>(offset + i), static_cast<std::uint8_t>(value >> 8 * i));
  update();
}

std::uint8_t AcpiPm::read_byte(std::uint16_t offset) const {
  const unsigned shift = 8 * (offset % 2);
  switch (offset - offset % 2) {
    case status_offset: return static_cast<std::uint8_t>(status_.raw >> shift);
    case enable_offset: return static_cast<std::uint8_t>(enable_.raw >> shift);
    case control_offset: return static_cast<std::uint8_t>(control_.raw >> shift);
    default: return 0;
  }
}

void AcpiPm::write_byte(std::uint16_t offset, std::uint8_t value) {
  const unsigned which = offset % 2;
  switch (offset - which) {
    case status_offset:
      status_.raw &= static_cast<std::uint16_t>(~(value << 8 * which & pm1_status_clearable));
      break;
    case enable_offset: enable_.raw = with_byte(enable_.raw, which, value, pm1_enable_settable); break;
    case control_offset: {
      control_.raw = with_byte(control_.raw, which, value, pm1_control_settable);
      const AcpiPm1Control written{{with_byte(0, which, value, 0xffff)}};
      if (written.get<AcpiPm1Control::SleepEnable>()) sleep();
      break;
    }
    default: break;
  }
}

void AcpiPm::sleep() {
  if (control_.get<AcpiPm1Control::SleepType>() == s5_sleep_type) platform_->power_off();
}

void AcpiPm::transfer(StateStream& s) {
  s(sci_, counter_, status_, enable_, control_, carries_seen_, timer_);
}

}  // namespace cbit::chipset
