// The registers of a local APIC: one row each, and what reading and writing them does.
#include <algorithm>
#include <array>
#include <utility>

#include "chipset/lapic.hpp"

namespace cbit::chipset {

namespace reg = spec::apic_register;
using spec::ApicBase;
using spec::ApicDelivery;
using spec::ApicEsr;
using spec::ApicIcr;
using spec::ApicLvt;
using spec::ApicShorthand;
using spec::ApicSvr;
using spec::ApicTimerMode;
using spec::ApicVersion;

namespace {

enum class Access : std::uint8_t { none, read, write, both };

bool may_read(Access access) { return access == Access::read || access == Access::both; }
bool may_write(Access access) { return access == Access::write || access == Access::both; }

// SDM tables 11-1 and 11-6, figures of each register.
struct LapicRegister {
  std::uint32_t offset = 0;
  unsigned count = 1;  // registers of this kind, 10h apart
  Access xapic{};
  Access x2apic{};
  std::uint32_t settable = 0;   // bits that software writes
  std::uint32_t read_only = 0;  // bits that it may write, without effect; the others are reserved
};

constexpr std::uint32_t all_bits = 0xffff'ffff;
constexpr std::uint32_t lvt_settable = 0x0001'07ff;  // mask, delivery mode, vector
constexpr std::uint32_t lvt_pending = 0x0000'1000;   // delivery status

constexpr std::array lapic_registers{
    LapicRegister{reg::id, 1, Access::both, Access::read, 0xff00'0000},
    LapicRegister{reg::version, 1, Access::read, Access::read},
    LapicRegister{reg::tpr, 1, Access::both, Access::both, 0xff},
    LapicRegister{reg::apr, 1, Access::read, Access::none},
    LapicRegister{reg::ppr, 1, Access::read, Access::read},
    LapicRegister{reg::eoi, 1, Access::write, Access::write},
    LapicRegister{reg::remote_read, 1, Access::read, Access::none},
    LapicRegister{reg::ldr, 1, Access::both, Access::read, 0xff00'0000},
    LapicRegister{reg::dfr, 1, Access::both, Access::none, 0xf000'0000},
    LapicRegister{reg::svr, 1, Access::both, Access::both, 0x13ff},
    LapicRegister{reg::isr, 8, Access::read, Access::read},
    LapicRegister{reg::tmr, 8, Access::read, Access::read},
    LapicRegister{reg::irr, 8, Access::read, Access::read},
    LapicRegister{reg::esr, 1, Access::both, Access::both},
    LapicRegister{reg::icr, 1, Access::both, Access::both, 0x000c'cfff, 0x1000},
    LapicRegister{reg::icr_high, 1, Access::both, Access::none, 0xff00'0000},
    LapicRegister{reg::lvt_timer, 1, Access::both, Access::both, 0x0007'00ff, lvt_pending},
    LapicRegister{reg::lvt_thermal, 1, Access::both, Access::both, lvt_settable, lvt_pending},
    LapicRegister{reg::lvt_perf, 1, Access::both, Access::both, lvt_settable, lvt_pending},
    LapicRegister{reg::lvt_lint0, 1, Access::both, Access::both, lvt_settable | 0xa000, lvt_pending | 0x4000},
    LapicRegister{reg::lvt_lint1, 1, Access::both, Access::both, lvt_settable | 0xa000, lvt_pending | 0x4000},
    LapicRegister{reg::lvt_error, 1, Access::both, Access::both, 0x0001'00ff, lvt_pending},
    LapicRegister{reg::initial_count, 1, Access::both, Access::both, all_bits},
    LapicRegister{reg::current_count, 1, Access::read, Access::read},
    LapicRegister{reg::divide, 1, Access::both, Access::both, 0xb},
    LapicRegister{reg::self_ipi, 1, Access::none, Access::write, 0xff},
};

// nullptr: reserved.
const LapicRegister* find_lapic_register(std::uint32_t offset) {
  for (const LapicRegister& row : lapic_registers)
    if (offset >= row.offset && offset < row.offset + 0x10 * row.count) return &row;
  return nullptr;
}

std::uint32_t version_value(unsigned lvt_entries) {
  return ApicVersion{}
      .with<ApicVersion::EoiBroadcastSuppression>(true)
      .with<ApicVersion::MaxLvt>(static_cast<std::uint8_t>(lvt_entries - 1))
      .with<ApicVersion::Version>(0x14)
      .raw;
}

// Figure 11-10: bits 3, 1 and 0 are the power of two less one, and 7 stands for 1.
unsigned divisor_of(std::uint32_t divide) {
  const std::uint32_t power = (divide >> 1 & 4) | (divide & 3);
  return power == 7 ? 1 : 2u << power;
}

}  // namespace

// 11.4.1: an access lies within the four bytes of a register; only a whole one writes.
Result<void> Lapic::Page::read(std::uint64_t offset, ByteSpan to) {
  std::ranges::fill(to, lapic_->has_page_registers() ? std::byte{0} : std::byte{0xff});
  if (!lapic_->has_page_registers()) return {};
  const std::uint64_t within = offset % 0x10;
  if (within >= sizeof(std::uint32_t)) return {};
  const std::uint32_t value = lapic_->read_page(static_cast<std::uint32_t>(offset - within));
  const ConstByteSpan bytes = bytes_of(value).subspan(within);
  std::ranges::copy(bytes.first(std::min(bytes.size(), to.size())), to.begin());
  return {};
}

Result<void> Lapic::Page::write(std::uint64_t offset, ConstByteSpan from) {
  if (lapic_->has_page_registers() && offset % 0x10 == 0 && from.size() == sizeof(std::uint32_t))
    lapic_->write_page(static_cast<std::uint32_t>(offset), load<std::uint32_t>(from));
  return {};
}

std::uint32_t Lapic::read_page(std::uint32_t offset) {
  const LapicRegister* const row = find_lapic_register(offset);
  if (row == nullptr || row->xapic == Access::none) {
    log_error(ApicEsr{}.with<ApicEsr::IllegalRegister>(true));
    return 0;
  }
  return may_read(row->xapic) ? read_register(offset) : 0;
}

void Lapic::write_page(std::uint32_t offset, std::uint32_t value) {
  const LapicRegister* const row = find_lapic_register(offset);
  if (row == nullptr || row->xapic == Access::none)
    return log_error(ApicEsr{}.with<ApicEsr::IllegalRegister>(true));
  if (may_write(row->xapic)) write_register(offset, value & row->settable);
}

std::optional<std::uint64_t> Lapic::read_x2apic(std::uint32_t offset) {
  const LapicRegister* const row = find_lapic_register(offset);
  if (row == nullptr || !may_read(row->x2apic)) return std::nullopt;
  if (offset == reg::icr) return std::uint64_t{icr_high_} << 32 | icr_low_;
  return read_register(offset);
}

bool Lapic::write_x2apic(std::uint32_t offset, std::uint64_t value) {
  const LapicRegister* const row = find_lapic_register(offset);
  if (row == nullptr || !may_write(row->x2apic)) return false;
  const auto low = static_cast<std::uint32_t>(value);
  if ((low & ~(row->settable | row->read_only)) != 0) return false;
  if (offset == reg::icr)
    icr_high_ = static_cast<std::uint32_t>(value >> 32);
  else if (value >> 32 != 0)
    return false;
  if (offset == reg::lvt_timer && !config_.tsc_deadline && (low & 1 << 18) != 0) return false;
  write_register(offset, low & row->settable);
  return true;
}

std::optional<std::uint64_t> Lapic::read_msr(std::uint32_t msr) {
  if (msr == spec::apic_msr::base) return base_.raw;
  if (msr == spec::apic_msr::tsc_deadline) {
    if (!config_.tsc_deadline) return std::nullopt;
    return timer_.tsc_deadline();
  }
  if (!x2apic_mode() || msr < spec::apic_msr::x2apic_first || msr > spec::apic_msr::x2apic_last)
    return std::nullopt;
  return read_x2apic((msr - spec::apic_msr::x2apic_first) * 0x10);
}

bool Lapic::write_msr(std::uint32_t msr, std::uint64_t value) {
  if (msr == spec::apic_msr::base) return write_base(value);
  if (msr == spec::apic_msr::tsc_deadline) {
    if (config_.tsc_deadline && enabled()) timer_.set_tsc_deadline(value);
    return config_.tsc_deadline;
  }
  if (!x2apic_mode() || msr < spec::apic_msr::x2apic_first || msr > spec::apic_msr::x2apic_last) return false;
  return write_x2apic((msr - spec::apic_msr::x2apic_first) * 0x10, value);
}

// 11.12.5: from xAPIC to x2APIC and to disabled, from x2APIC to disabled, from there to xAPIC.
bool Lapic::write_base(std::uint64_t value) {
  const std::uint64_t page = bit_mask(config_.address_bits) & ~bit_mask(12);
  const std::uint64_t flags =
      ApicBase{}.with<ApicBase::En>(true).with<ApicBase::Bsp>(true).with<ApicBase::Extd>(config_.x2apic).raw;
  if ((value & ~(page | flags)) != 0) return false;
  const ApicBase next{{value}};
  const bool extended = next.get<ApicBase::Extd>();
  if (extended && (!next.get<ApicBase::En>() || !enabled())) return false;
  if (x2apic_mode() && next.get<ApicBase::En>() && !extended) return false;
  const bool was_enabled = enabled();
  const bool was_x2apic = x2apic_mode();
  base_ = next;
  if (was_enabled != enabled()) {
    xapic_id_ = static_cast<std::uint8_t>(config_.id);
    reset_registers();
  } else if (x2apic_mode() && !was_x2apic) {
    ldr_ = x2apic_logical_id();
    icr_high_ = 0;
  }
  update();
  return true;
}

std::uint32_t Lapic::read_register(std::uint32_t offset) {
  if (offset >= reg::isr && offset < reg::isr + 0x80) return isr_.word((offset - reg::isr) / 0x10);
  if (offset >= reg::tmr && offset < reg::tmr + 0x80) return tmr_.word((offset - reg::tmr) / 0x10);
  if (offset >= reg::irr && offset < reg::irr + 0x80) return irr_.word((offset - reg::irr) / 0x10);
  if (offset >= reg::lvt_timer && offset <= reg::lvt_error) return lvt_[(offset - reg::lvt_timer) / 0x10].raw;
  switch (offset) {
    case reg::id: return x2apic_mode() ? config_.id : std::uint32_t{xapic_id_} << 24;
    case reg::version: return version_value(lvt_count);
    case reg::tpr: return tpr_;
    case reg::apr: return arbitration_priority();
    case reg::ppr: return processor_priority();
    case reg::ldr: return ldr_;
    case reg::dfr: return dfr_;
    case reg::svr: return svr_.raw;
    case reg::esr: return esr_.raw;
    case reg::icr: return icr_low_;
    case reg::icr_high: return icr_high_;
    case reg::initial_count: return timer_.initial_count();
    case reg::current_count: return timer_.current_count();
    case reg::divide: return divide_;
    default: return 0;
  }
}

void Lapic::write_register(std::uint32_t offset, std::uint32_t value) {
  if (offset >= reg::lvt_timer && offset <= reg::lvt_error)
    return write_lvt(static_cast<Lvt>((offset - reg::lvt_timer) / 0x10), value);
  switch (offset) {
    case reg::id: xapic_id_ = static_cast<std::uint8_t>(value >> 24); return;
    case reg::tpr: tpr_ = static_cast<std::uint8_t>(value); return update();
    case reg::eoi: return end_of_interrupt();
    case reg::ldr: ldr_ = value; return;
    case reg::dfr: dfr_ = value | 0x0fff'ffff; return;
    case reg::svr: return write_svr(value);
    case reg::esr: esr_ = std::exchange(errors_, {}); return update();
    case reg::icr: icr_low_ = value; return send_ipi();
    case reg::icr_high: icr_high_ = value; return;
    case reg::initial_count: return timer_.set_initial_count(value);
    case reg::divide: divide_ = value; return timer_.set_divisor(divisor_of(value));
    case reg::self_ipi: return send_self_ipi(static_cast<std::uint8_t>(value));
    default: return;
  }
}

// 11.4.7.2: while the APIC is disabled by software, its own interrupts are masked.
void Lapic::write_svr(std::uint32_t value) {
  svr_ = ApicSvr{{value}};
  if (!software_enabled())
    for (ApicLvt& lvt : lvt_) lvt = lvt.with<ApicLvt::Mask>(true);
  update();
}

void Lapic::write_lvt(Lvt lvt, std::uint32_t value) {
  ApicLvt next{{value}};
  if (!software_enabled()) next = next.with<ApicLvt::Mask>(true);
  // Remote IRR belongs to a level-triggered interrupt that is under way.
  const bool level = next.get<ApicLvt::Level>() && next.get<ApicLvt::Delivery>() == ApicDelivery::fixed;
  next = next.with<ApicLvt::RemoteIrr>(level && lvt_[lvt].get<ApicLvt::RemoteIrr>());
  if (lvt == timer_lvt && !config_.tsc_deadline) next.raw &= ~(1u << 18);
  lvt_[lvt] = next;
  if (lvt == timer_lvt) timer_.set_mode(next.get<ApicLvt::TimerMode>());
  if (lvt == lint0_lvt) retrigger_lint0();
  update();
}

// 11.6.1: the level and the trigger mode mean something to an INIT only, which is ignored as a de-assert.
void Lapic::send_ipi() {
  const ApicIcr icr{{std::uint64_t{icr_high_} << 32 | icr_low_}};
  ApicMessage message;
  message.wide = x2apic_mode();
  message.destination = message.wide ? icr_high_ : icr_high_ >> 24;
  message.logical = icr.get<ApicIcr::Logical>();
  message.delivery = icr.get<ApicIcr::Delivery>();
  message.vector = icr.get<ApicIcr::Vector>();
  const ApicShorthand shorthand = icr.get<ApicIcr::Shorthand>();

  const bool has_vector =
      message.delivery == ApicDelivery::fixed || message.delivery == ApicDelivery::lowest_priority;
  if (has_vector && message.vector < 16) {
    log_error(ApicEsr{}.with<ApicEsr::SendIllegalVector>(true));
    if (shorthand == ApicShorthand::self) log_error(ApicEsr{}.with<ApicEsr::ReceiveIllegalVector>(true));
    return;
  }
  if (message.delivery == ApicDelivery::remote_read || message.delivery == ApicDelivery::ext_int) return;
  if (message.delivery == ApicDelivery::init && icr.get<ApicIcr::Level>() && !icr.get<ApicIcr::Assert>())
    return;
  switch (shorthand) {
    case ApicShorthand::none: apic_bus_->send(message); return;
    case ApicShorthand::self: accept(message); return;
    case ApicShorthand::all: apic_bus_->broadcast(message); return;
    case ApicShorthand::all_but_self: apic_bus_->broadcast(message, this); return;
  }
}

// 11.12.11: as a fixed IPI with the shorthand self; the ICR keeps its value.
void Lapic::send_self_ipi(std::uint8_t vector) {
  if (vector < 16) log_error(ApicEsr{}.with<ApicEsr::SendIllegalVector>(true));
  accept({.delivery = ApicDelivery::fixed, .vector = vector});
}

}  // namespace cbit::chipset
