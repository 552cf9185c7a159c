// What the IOMMU tells: the event log, and its interrupts. 2.5 and 3.4.13 of the specification.
#include "iommu/amd/amd_iommu.hpp"

namespace cbit::iommu {

using namespace spec;
namespace at = amd_iommu_register;

void AmdIommu::log(const Refusal& refusal) const {
  if (refusal.suppressed) return;
  const auto device = refusal.event.get<AmdIommuEvent::DeviceId>();
  if (const auto entry = entries_.find(device); entry != entries_.end()) entry->second.fault_told = true;
  log(refusal.event, refusal.address);
}

// A full log takes nothing more until software has restarted it.
void AmdIommu::log(AmdIommuEvent event, std::uint64_t operand) const {
  if (!get<AmdIommuStatus>(at::status).get<AmdIommuStatus::EventLogRun>()) return;
  const auto base = get<AmdIommuRingBase>(at::event_base);
  const std::uint64_t bytes = base.bytes();
  const std::uint64_t tail = registers_.value(at::event_tail) % bytes;
  const std::uint64_t next = (tail + amd_iommu_ring_entry_bytes) % bytes;
  if (next == registers_.value(at::event_head) % bytes) {
    set_status<AmdIommuStatus::EventLogRun>(false);
    set_status<AmdIommuStatus::EventOverflow>(true);
    return interrupt(AmdIommuInterrupt::event_log);
  }
  // A log that is not in memory loses what is written to it.
  static_cast<void>(write_memory(base.first(), tail, bytes_of(std::array{event.raw, operand})));
  registers_.set(at::event_tail, next);
  const bool told = get<AmdIommuStatus>(at::status).get<AmdIommuStatus::EventLogInt>();
  set_status<AmdIommuStatus::EventLogInt>(true);
  if (!told) interrupt(AmdIommuInterrupt::event_log);
}

void AmdIommu::interrupt(AmdIommuInterrupt cause) const {
  const AmdIommuControl control = this->control();
  const bool enabled = cause == AmdIommuInterrupt::event_log ? control.get<AmdIommuControl::EventIntEn>()
                                                             : control.get<AmdIommuControl::ComWaitIntEn>();
  if (!enabled) return;
  AmdIommuSignal signal{.cause = cause, .xt = {}};
  if (control.get<AmdIommuControl::IntCapXtEn>())
    signal.xt = get<AmdIommuXtInterrupt>(at::xt_event_interrupt);
  signal_(signal);
}

void AmdIommu::interrupt_if_pending(AmdIommuControl before) {
  const bool newly =
      control().get<AmdIommuControl::EventIntEn>() && !before.get<AmdIommuControl::EventIntEn>();
  const auto status = get<AmdIommuStatus>(at::status);
  if (newly && (status.get<AmdIommuStatus::EventLogInt>() || status.get<AmdIommuStatus::EventOverflow>()))
    interrupt(AmdIommuInterrupt::event_log);
}

}  // namespace cbit::iommu
