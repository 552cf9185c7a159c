#include "chipset/lapic.hpp"

#include <algorithm>
#include <utility>

namespace cbit::chipset {

using bus::CpuSignal;
using spec::ApicBase;
using spec::ApicDelivery;
using spec::ApicEsr;
using spec::ApicLvt;
using spec::ApicSvr;
using spec::ApicTimerMode;

namespace {

constexpr std::uint8_t first_legal_vector = 16;  // 11.5.2

std::uint8_t priority_class(std::uint8_t vector) { return static_cast<std::uint8_t>(vector & 0xf0); }

}  // namespace

Lapic::Lapic(Clock& clock, ApicBus& apic_bus, LapicConfig config)
    : config_{config},
      apic_bus_{&apic_bus},
      timer_{clock, config.timer_hz, [this] { local_interrupt(timer_lvt); }} {
  apic_bus.attach(static_cast<ApicTarget&>(*this));
  reset();
}

void Lapic::reset() {
  base_ = ApicBase{{spec::apic_base_default}}.with<ApicBase::En>(true).with<ApicBase::Bsp>(config_.bootstrap);
  xapic_id_ = static_cast<std::uint8_t>(config_.id);
  for (const CpuSignal signal : {CpuSignal::nmi, CpuSignal::smi, CpuSignal::init, CpuSignal::startup})
    set_signal(signal, false);
  startup_.reset();
  reset_registers();
}

void Lapic::reset_registers() {
  tpr_ = 0;
  ldr_ = x2apic_mode() ? x2apic_logical_id() : 0;
  dfr_ = 0xffff'ffff;
  svr_ = ApicSvr{{0xff}};
  esr_ = errors_ = {};
  icr_low_ = icr_high_ = divide_ = 0;
  lvt_.fill(ApicLvt{}.with<ApicLvt::Mask>(true));
  irr_.clear();
  isr_.clear();
  tmr_.clear();
  ext_int_latched_ = false;
  timer_.reset();
  update();
}

void Lapic::enter_virtual_wire_mode() {
  svr_ = svr_.with<ApicSvr::Enabled>(true);
  lvt_[lint0_lvt] = ApicLvt{}.with<ApicLvt::Delivery>(ApicDelivery::ext_int);
  lvt_[lint1_lvt] = ApicLvt{}.with<ApicLvt::Delivery>(ApicDelivery::nmi);
  update();
}

std::uint8_t Lapic::acknowledge() {
  if (ext_int_requested()) {
    ext_int_latched_ = false;
    const std::uint8_t vector = ext_int_source_->acknowledge();
    update();
    return vector;
  }
  const auto vector = deliverable();
  if (!vector) return svr_.get<ApicSvr::Vector>();
  irr_.set(*vector, false);
  isr_.set(*vector, true);
  update();
  return *vector;
}

bool Lapic::take_nmi() {
  const bool was = signals().has(CpuSignal::nmi);
  set_signal(CpuSignal::nmi, false);
  return was;
}

bool Lapic::take_smi() {
  const bool was = signals().has(CpuSignal::smi);
  set_signal(CpuSignal::smi, false);
  return was;
}

bool Lapic::take_init() {
  if (!signals().has(CpuSignal::init)) return false;
  for (const CpuSignal signal : {CpuSignal::init, CpuSignal::nmi, CpuSignal::smi}) set_signal(signal, false);
  reset_registers();
  return true;
}

std::optional<std::uint8_t> Lapic::take_startup() {
  set_signal(CpuSignal::startup, false);
  return std::exchange(startup_, std::nullopt);
}

void Lapic::set_cr8(std::uint8_t priority) {
  tpr_ = static_cast<std::uint8_t>(priority << 4);
  update();
}

std::optional<PhysAddr> Lapic::page() const { return PhysAddr{base_.raw}.page(); }

// 11.8.3.1.
std::uint8_t Lapic::processor_priority() const {
  const std::uint8_t in_service = priority_class(isr_.highest().value_or(0));
  return priority_class(tpr_) >= in_service ? tpr_ : in_service;
}

// 11.6.2.4, the APR of processors that have one.
std::uint8_t Lapic::arbitration_priority() const {
  const std::uint8_t task = priority_class(tpr_);
  const std::uint8_t requested = priority_class(irr_.highest().value_or(0));
  const std::uint8_t in_service = priority_class(isr_.highest().value_or(0));
  return task >= requested && task > in_service ? tpr_ : std::max({task, requested, in_service});
}

std::optional<std::uint8_t> Lapic::deliverable() const {
  const auto vector = irr_.highest();
  if (!enabled() || !vector || priority_class(*vector) <= priority_class(processor_priority()))
    return std::nullopt;
  return vector;
}

void Lapic::update() {
  set_signal(CpuSignal::intr, ext_int_requested() || deliverable());
  const ApicLvt lvt = lvt_[timer_lvt];
  const auto vector = lvt.get<ApicLvt::Vector>();
  const bool noticed =
      vector >= first_legal_vector ? !irr_.has(vector) : !errors_.get<ApicEsr::ReceiveIllegalVector>();
  timer_.watch(enabled() && !lvt.get<ApicLvt::Mask>() && noticed);
}

bool Lapic::is_destination(const ApicMessage& message) const {
  if (!enabled()) return false;
  const bool to_all = message.destination == (message.wide ? spec::x2apic_broadcast : spec::xapic_broadcast);
  if (to_all) return true;
  return message.logical ? matches_logical(message) : message.destination == id();
}

// 11.6.2.2, 11.12.10.2.
bool Lapic::matches_logical(const ApicMessage& message) const {
  const std::uint32_t to = message.destination;
  if (x2apic_mode()) return to >> 16 == ldr_ >> 16 && (to & ldr_ & 0xffff) != 0;
  if (to > 0xff) return false;
  const std::uint32_t own = ldr_ >> 24;
  switch (dfr_ >> 28) {
    case 0xf: return (to & own) != 0;
    case 0x0: return to >> 4 == own >> 4 && (to & own & 0xf) != 0;
    default: return false;
  }
}

bool Lapic::accept(const ApicMessage& message) {
  if (!enabled()) return false;
  switch (message.delivery) {
    case ApicDelivery::fixed:
    case ApicDelivery::lowest_priority:
      if (!software_enabled()) return false;
      accept_vector(message.vector, message.level);
      return true;
    case ApicDelivery::ext_int:
    case ApicDelivery::smi:
    case ApicDelivery::nmi:
    case ApicDelivery::init:
    case ApicDelivery::startup: latch(message.delivery, message.vector); return true;
    case ApicDelivery::remote_read: break;
  }
  return false;
}

void Lapic::accept_vector(std::uint8_t vector, bool level) {
  if (vector < first_legal_vector) return log_error(ApicEsr{}.with<ApicEsr::ReceiveIllegalVector>(true));
  irr_.set(vector, true);
  tmr_.set(vector, level);
  update();
}

void Lapic::latch(ApicDelivery delivery, std::uint8_t vector) {
  switch (delivery) {
    case ApicDelivery::smi: return set_signal(CpuSignal::smi, true);
    case ApicDelivery::nmi: return set_signal(CpuSignal::nmi, true);
    case ApicDelivery::init:
      // What came before it is void.
      set_signal(CpuSignal::startup, false);
      startup_.reset();
      return set_signal(CpuSignal::init, true);
    case ApicDelivery::startup: startup_ = vector; return set_signal(CpuSignal::startup, true);
    case ApicDelivery::ext_int: ext_int_latched_ = true; return update();
    default: return;
  }
}

// 11.8.5.
void Lapic::end_of_interrupt() {
  const auto vector = isr_.highest();
  if (!vector) return;
  isr_.set(*vector, false);
  if (tmr_.has(*vector)) {
    ApicLvt& lint = lvt_[lint0_lvt];
    if (lint.get<ApicLvt::RemoteIrr>() && lint.get<ApicLvt::Vector>() == *vector) {
      lint = lint.with<ApicLvt::RemoteIrr>(false);
      retrigger_lint0();
    }
    if (!svr_.get<ApicSvr::SuppressEoiBroadcast>()) apic_bus_->end_of_interrupt(*vector);
  }
  update();
}

void Lapic::local_interrupt(Lvt lvt) {
  const ApicLvt entry = lvt_[lvt];
  if (!enabled() || entry.get<ApicLvt::Mask>()) return;
  // 11.5.1: these two have no delivery mode, and a counter's interrupt masks itself.
  if (lvt == timer_lvt || lvt == error_lvt) return accept_vector(entry.get<ApicLvt::Vector>(), false);
  if (lvt == perf_lvt) lvt_[lvt] = entry.with<ApicLvt::Mask>(true);
  const auto delivery = entry.get<ApicLvt::Delivery>();
  if (delivery == ApicDelivery::fixed) return accept_vector(entry.get<ApicLvt::Vector>(), false);
  if (delivery != ApicDelivery::startup && delivery != ApicDelivery::ext_int)
    latch(delivery, entry.get<ApicLvt::Vector>());
}

bool Lapic::lint_active(unsigned input) const {
  return lint_[input] != lvt_[lint0_lvt + input].get<ApicLvt::ActiveLow>();
}

void Lapic::set_input(unsigned input, bool high) {
  if (input > lint1 || lint_[input] == high) return;
  const bool was_active = lint_active(input);
  lint_[input] = high;
  lint_changed(input, !was_active);
  update();
}

void Lapic::lint_changed(unsigned input, bool rose) {
  if (!enabled()) {  // 11.4.3: the pins are INTR, which is a level, and NMI
    if (input == lint1 && lint_[input]) latch(ApicDelivery::nmi, 0);
    return;
  }
  const auto lvt = static_cast<Lvt>(lint0_lvt + input);
  const bool level = input == lint0 && lvt_[lvt].get<ApicLvt::Level>() &&
                     lvt_[lvt].get<ApicLvt::Delivery>() == ApicDelivery::fixed;
  if (level) return retrigger_lint0();
  if (rose) local_interrupt(lvt);
}

void Lapic::retrigger_lint0() {
  ApicLvt& lvt = lvt_[lint0_lvt];
  if (!enabled() || lvt.get<ApicLvt::Mask>() || lvt.get<ApicLvt::RemoteIrr>() || !lint_active(lint0)) return;
  if (!lvt.get<ApicLvt::Level>() || lvt.get<ApicLvt::Delivery>() != ApicDelivery::fixed) return;
  if (lvt.get<ApicLvt::Vector>() >= first_legal_vector) lvt = lvt.with<ApicLvt::RemoteIrr>(true);
  accept_vector(lvt.get<ApicLvt::Vector>(), true);
}

bool Lapic::ext_int_requested() const {
  if (ext_int_source_ == nullptr) return false;
  if (!enabled()) return lint_[lint0];
  const ApicLvt lvt = lvt_[lint0_lvt];
  const bool wired = !lvt.get<ApicLvt::Mask>() && lvt.get<ApicLvt::Delivery>() == ApicDelivery::ext_int;
  return ext_int_latched_ || (wired && lint_active(lint0));
}

// 11.5.3: each kind once until ESR is written, and an interrupt for the first.
void Lapic::log_error(ApicEsr error) {
  const bool armed = errors_.raw == 0;
  errors_.raw |= error.raw;
  if (armed) local_interrupt(error_lvt);
  update();
}

void Lapic::transfer(StateStream& s) {
  transfer_signals(s);
  s(base_, xapic_id_, tpr_, ldr_, dfr_, svr_, esr_, errors_, icr_low_, icr_high_, divide_, lvt_);
  s(irr_, isr_, tmr_, lint_, ext_int_latched_, startup_, timer_);
}

}  // namespace cbit::chipset
