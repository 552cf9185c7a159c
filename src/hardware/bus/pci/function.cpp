#include "bus/pci/function.hpp"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/assert.hpp"
#include "bus/pci/pci_bus.hpp"

namespace cbit::bus {

using namespace spec;

PciFunction::PciFunction(const PciIdentity& identity, DmaPort* port) : port_{port} {
  config_.define(pci_register::vendor_id, identity.vendor);
  config_.define(pci_register::device_id, identity.device);
  config_.define(pci_register::revision_id, identity.revision);
  config_.define(pci_register::class_code, identity.class_code.interface);
  config_.define(pci_register::class_code + 1, identity.class_code.sub);
  config_.define(pci_register::class_code + 2, identity.class_code.base);
  config_.define(pci_register::subsystem_vendor_id, identity.subsystem_vendor);
  config_.define(pci_register::subsystem_id, identity.subsystem);
  config_.allow(pci_register::command, PciCommand{}
                                           .with<PciCommand::InterruptDisable>(true)
                                           .with<PciCommand::SerrEnable>(true)
                                           .with<PciCommand::ParityErrorResponse>(true)
                                           .with<PciCommand::BusMaster>(true)
                                           .with<PciCommand::MemorySpace>(true)
                                           .with<PciCommand::IoSpace>(true)
                                           .raw);
  config_.allow(pci_register::cache_line_size, std::uint8_t{0xff});
  config_.allow(pci_register::interrupt_line, std::uint8_t{0xff});
  if (port_ != nullptr) port_->set_bus_master(false);
}

PciFunction::~PciFunction() {
  if (bus_ != nullptr) bus_->unplug(*this);
}

// ---- set-up ----

bool PciFunction::is_free(unsigned bar) const {
  if (bar >= pci_bars || bars_[bar]) return false;
  return bar == 0 || !bars_[bar - 1] || !bars_[bar - 1]->wide;
}

void PciFunction::add_memory_bar(unsigned bar, std::uint64_t bytes, MmioRegion& region, PciMemoryBar width) {
  const bool wide = width == PciMemoryBar::bits_64;
  CBIT_ASSERT(std::has_single_bit(bytes) && bytes >= 16 && (wide || bytes <= 1u << 31));
  CBIT_ASSERT(is_free(bar) && (!wide || is_free(bar + 1)));
  Bar& made = bars_[bar].emplace(bytes, wide);
  made.memory.emplace(*this, region);
  const std::uint64_t settable = ~(bytes - 1);
  const std::uint32_t at = pci_register::base_address + 4 * bar;
  config_.define(at, wide ? pci_bar::memory_64 : 0u);
  config_.allow(at, static_cast<std::uint32_t>(settable));
  if (wide) config_.allow(at + 4, static_cast<std::uint32_t>(settable >> 32));
}

void PciFunction::add_io_bar(unsigned bar, std::uint32_t ports, PioRegion& region) {
  CBIT_ASSERT(std::has_single_bit(ports) && ports >= 4 && ports <= 256 && is_free(bar));
  Bar& made = bars_[bar].emplace(ports, false);
  made.ports = &region;
  const std::uint32_t at = pci_register::base_address + 4 * bar;
  config_.define(at, pci_bar::io);
  config_.allow(at, ~(ports - 1));
}

void PciFunction::add_intx() {
  has_intx_ = true;
  config_.define(pci_register::interrupt_pin, std::uint8_t{1});
}

void PciFunction::add_msi(unsigned vectors) {
  CBIT_ASSERT(std::has_single_bit(vectors) && vectors <= pci_msi::vectors_max);
  msi_at_ = config_.add_capability(pci_capability::msi, pci_msi::bytes);
  const auto log2 = static_cast<unsigned>(std::countr_zero(vectors));
  const auto control = PciMsiControl{}
                           .with<PciMsiControl::PerVectorMasking>(true)
                           .with<PciMsiControl::Address64>(true)
                           .with<PciMsiControl::MultipleMessageCapable>(log2);
  config_.define(msi_at_ + pci_msi::control, control.raw);
  config_.allow(
      msi_at_ + pci_msi::control,
      PciMsiControl{}.with<PciMsiControl::MultipleMessageEnable>(7).with<PciMsiControl::Enable>(true).raw);
  config_.allow(msi_at_ + pci_msi::address, ~std::uint32_t{3});
  config_.allow(msi_at_ + pci_msi::upper_address, ~std::uint32_t{0});
  config_.allow(msi_at_ + pci_msi::data, std::uint16_t{0xffff});
  config_.allow(msi_at_ + pci_msi::mask, static_cast<std::uint32_t>(bit_mask(vectors)));
}

void PciFunction::add_msix(unsigned vectors, unsigned bar) {
  CBIT_ASSERT(vectors >= 1 && vectors <= pci_msix::vectors_max);
  msix_.emplace(vectors, [this] { update(); });
  add_memory_bar(bar, msix_->bytes(), *msix_, PciMemoryBar::bits_32);
  msix_at_ = config_.add_capability(pci_capability::msi_x, pci_msix::bytes);
  config_.define(msix_at_ + pci_msix::control,
                 PciMsixControl{}.with<PciMsixControl::TableSize>(vectors - 1).raw);
  config_.allow(
      msix_at_ + pci_msix::control,
      PciMsixControl{}.with<PciMsixControl::Enable>(true).with<PciMsixControl::FunctionMask>(true).raw);
  config_.define(msix_at_ + pci_msix::table, std::uint32_t{bar});
  config_.define(msix_at_ + pci_msix::pba, msix_->pending_offset() | bar);
}

void PciFunction::add_power_management() {
  pm_at_ = config_.add_capability(pci_capability::power_management, pci_pm::bytes);
  config_.define(pm_at_ + pci_pm::capabilities, pci_pm::version_1_2);
  config_.define(pm_at_ + pci_pm::control, PciPmControl{}.with<PciPmControl::NoSoftReset>(true).raw);
  config_.allow(pm_at_ + pci_pm::control, PciPmControl{}.with<PciPmControl::PowerState>(3).raw);
}

void PciFunction::add_express() {
  express_at_ = config_.add_capability(pci_capability::express, pci_express::bytes);
  config_.define(express_at_ + pci_express::flags,
                 static_cast<std::uint16_t>(pci_express::version_2 | pci_express::integrated_endpoint));
  config_.define(express_at_ + pci_express::device_capabilities,
                 pci_express::role_based_errors | pci_express::function_level_reset);
  config_.define(express_at_ + pci_express::device_control, pci_express::control_at_reset);
  config_.allow(express_at_ + pci_express::device_control, pci_express::control_settable);
}

// ---- configuration space ----

PciCommand PciFunction::command() const { return {{config_.get<std::uint16_t>(pci_register::command)}}; }

bool PciFunction::in_d0() const {
  if (pm_at_ == 0) return true;
  const PciPmControl control{{config_.get<std::uint16_t>(pm_at_ + pci_pm::control)}};
  return control.get<PciPmControl::PowerState>() == 0;
}

void PciFunction::read_config(std::uint32_t offset, ByteSpan to) {
  if (busy()) {
    std::ranges::fill(to, std::byte{0xff});
    return;
  }
  before_config_read(offset, to.size());
  config_.read(offset, to);
}

void PciFunction::write_config(std::uint32_t offset, ConstByteSpan from) {
  if (busy()) return;
  if (wants_reset(offset, from)) return reset();
  const std::uint16_t state = pm_at_ == 0 ? 0 : config_.get<std::uint16_t>(pm_at_ + pci_pm::control);
  config_.write(offset, from);
  // 3.2.4: a state that is not there is not entered; D1 and D2 are not.
  if (pm_at_ != 0) {
    const PciPmControl control{{config_.get<std::uint16_t>(pm_at_ + pci_pm::control)}};
    const unsigned wanted = control.get<PciPmControl::PowerState>();
    if (wanted == 1 || wanted == 2) config_.set(pm_at_ + pci_pm::control, state);
  }
  update();
  after_config_write(offset, from.size());
}

bool PciFunction::wants_reset(std::uint32_t offset, ConstByteSpan from) const {
  if (express_at_ == 0) return false;
  const std::uint32_t high_byte = express_at_ + pci_express::device_control + 1;
  if (high_byte < offset || high_byte - offset >= from.size()) return false;
  return (from[high_byte - offset] & std::byte{pci_express::initiate_reset >> 8}) != std::byte{0};
}

void PciFunction::reset() {
  on_reset();
  intx_ = false;
  if (msix_) msix_->reset();
  config_.reset();
  update();
}

void PciFunction::update() {
  if (port_ != nullptr) port_->set_bus_master(command().get<PciCommand::BusMaster>() && in_d0());
  drive_intx();
  if (bus_ != nullptr) bus_->decode(*this);
  send_pending();
}

// ---- base address registers ----

std::optional<std::uint64_t> PciFunction::address_of(unsigned bar) const {
  const Bar& asked = *bars_[bar];
  const bool enabled =
      asked.memory ? command().get<PciCommand::MemorySpace>() : command().get<PciCommand::IoSpace>();
  if (!enabled || !in_d0()) return std::nullopt;
  const std::uint32_t at = pci_register::base_address + 4 * bar;
  const std::uint32_t flags = asked.memory ? pci_bar::memory_flags : pci_bar::io_flags;
  std::uint64_t address = config_.get<std::uint32_t>(at) & ~flags;
  if (asked.wide) address |= std::uint64_t{config_.get<std::uint32_t>(at + 4)} << 32;
  return address;
}

bool PciFunction::release_bars(bool all) {
  bool released = false;
  for (unsigned n = 0; n < pci_bars; ++n) {
    auto& bar = bars_[n];
    if (!bar || !bar->mapped || (!all && bar->mapped == address_of(n))) continue;
    const std::uint64_t at = *std::exchange(bar->mapped, std::nullopt);
    released = true;
    if (bar->memory)
      bus_->board_.memory.remove_mmio({PhysAddr{at}, bar->bytes}, *bar->memory);
    else
      bus_->board_.ports.remove({static_cast<std::uint16_t>(at), static_cast<std::uint32_t>(bar->bytes)},
                                *bar->ports);
  }
  return released;
}

// Physical addresses have 52 bits.
bool PciFunction::claim_memory(Bar& bar, std::uint64_t at) {
  return at <= bit_mask(52) && bus_->board_.memory.try_add_mmio({PhysAddr{at}, bar.bytes}, *bar.memory);
}

bool PciFunction::claim_ports(Bar& bar, std::uint64_t at) {
  if (at > 0xffff) return false;
  const PortRange range{static_cast<std::uint16_t>(at), static_cast<std::uint32_t>(bar.bytes)};
  return bus_->board_.ports.try_add(range, *bar.ports, ports_of_any_width);
}

void PciFunction::claim_bars() {
  for (unsigned n = 0; n < pci_bars; ++n) {
    auto& bar = bars_[n];
    if (!bar || bar->mapped) continue;
    const auto at = address_of(n);
    if (!at) continue;
    const bool claimed = bar->memory ? claim_memory(*bar, *at) : claim_ports(*bar, *at);
    if (claimed) bar->mapped = at;
  }
}

Result<void> PciFunction::Gate::read(std::uint64_t offset, ByteSpan to) {
  if (function_->busy()) return fault(FaultKind::device_protocol, offset);
  return region_->read(offset, to);
}

Result<void> PciFunction::Gate::write(std::uint64_t offset, ConstByteSpan from) {
  if (function_->busy()) return fault(FaultKind::device_protocol, offset, true);
  return region_->write(offset, from);
}

Result<void> PciFunction::Gate::peek(std::uint64_t offset, ByteSpan to) const {
  return region_->peek(offset, to);
}

// ---- the bus ----

void PciFunction::attach(PciBus& bus, IrqLine& line) {
  bus_ = &bus;
  if (has_intx_) line_.emplace(line, port_ == nullptr ? std::string{"PCI"} : port_->config().device);
  update();
}

void PciFunction::detach() {
  release_bars(true);
  line_.reset();
  bus_ = nullptr;
}

void PciFunction::transfer(StateStream& s) {
  s(config_);
  if (msix_) s(*msix_);
  s(intx_);
  if (line_) s(*line_);
  transfer_device(s);
  if (s.loads() && s.good()) update();
}

}  // namespace cbit::bus
