// The interrupts of bus/pci/function.hpp: INTx#, MSI, MSI-X.
#include <algorithm>
#include <bit>

#include "bus/pci/function.hpp"
#include "bus/pci/pci_bus.hpp"
#include "spec/apic.hpp"

namespace cbit::bus {

using namespace spec;

bool PciFunction::msix_enabled() const {
  if (msix_at_ == 0) return false;
  const PciMsixControl control{{config_.get<std::uint16_t>(msix_at_ + pci_msix::control)}};
  return control.get<PciMsixControl::Enable>();
}

bool PciFunction::msi_enabled() const {
  if (msi_at_ == 0) return false;
  const PciMsiControl control{{config_.get<std::uint16_t>(msi_at_ + pci_msi::control)}};
  return control.get<PciMsiControl::Enable>();
}

// 6.8.1.3: no more than the function asked for.
unsigned PciFunction::msi_granted() const {
  const PciMsiControl control{{config_.get<std::uint16_t>(msi_at_ + pci_msi::control)}};
  return 1u << std::min(control.get<PciMsiControl::MultipleMessageEnable>(),
                        control.get<PciMsiControl::MultipleMessageCapable>());
}

void PciFunction::interrupt(unsigned vector) {
  if (msix_enabled())
    raise_msix(vector);
  else if (msi_enabled())
    raise_msi(vector);
}

void PciFunction::raise_msix(unsigned vector) {
  if (vector >= msix_->vectors()) return;
  const PciMsixControl control{{config_.get<std::uint16_t>(msix_at_ + pci_msix::control)}};
  const bool held = control.get<PciMsixControl::FunctionMask>() || msix_->masked(vector);
  msix_->set_pending(vector, held);
  if (!held) send(msix_->entry(vector).address, msix_->entry(vector).data);
}

void PciFunction::raise_msi(unsigned vector) {
  vector %= msi_granted();
  const std::uint32_t bit = 1u << vector;
  const auto pending = config_.get<std::uint32_t>(msi_at_ + pci_msi::pending);
  if ((config_.get<std::uint32_t>(msi_at_ + pci_msi::mask) & bit) != 0)
    return config_.set(msi_at_ + pci_msi::pending, pending | bit);
  const std::uint64_t upper = config_.get<std::uint32_t>(msi_at_ + pci_msi::upper_address);
  const std::uint32_t data = config_.get<std::uint16_t>(msi_at_ + pci_msi::data);
  send(upper << 32 | config_.get<std::uint32_t>(msi_at_ + pci_msi::address),
       (data & ~(msi_granted() - 1)) | vector);
}

void PciFunction::send_pending() {
  if (msix_enabled()) {
    for (unsigned vector = 0; vector < msix_->vectors(); ++vector)
      if (msix_->pending(vector)) raise_msix(vector);
  } else if (msi_enabled()) {
    auto pending = config_.get<std::uint32_t>(msi_at_ + pci_msi::pending);
    config_.set(msi_at_ + pci_msi::pending, 0u);
    for (; pending != 0; pending &= pending - 1) raise_msi(static_cast<unsigned>(std::countr_zero(pending)));
  }
}

// A function without a way to memory is the IOMMU, whose own messages nobody holds back or remaps.
void PciFunction::send(std::uint64_t address, std::uint32_t data) {
  if (bus_ == nullptr || (port_ != nullptr && !port_->bus_master())) return;
  if (address >= msi_window && address - msi_window < msi_window_bytes) {
    const auto requester = port_ != nullptr ? std::optional{port_->config().requester} : std::nullopt;
    bus_->board_.messages.deliver({address, data, requester});
    return;
  }
  if (port_ == nullptr) return;
  // Not said to the device, which has no use for it; the refusal is an event.
  static_cast<void>(port_->store(DmaAddr{address}, data));
}

void PciFunction::set_intx(bool asserted) {
  if (!has_intx_) return;
  intx_ = asserted;
  drive_intx();
}

void PciFunction::drive_intx() {
  const PciStatus status{{config_.get<std::uint16_t>(pci_register::status)}};
  config_.set(pci_register::status, status.with<PciStatus::InterruptStatus>(intx_).raw);
  const bool allowed =
      !command().get<PciCommand::InterruptDisable>() && in_d0() && !msix_enabled() && !msi_enabled();
  if (line_) line_->set(intx_ && allowed);
}

}  // namespace cbit::bus
