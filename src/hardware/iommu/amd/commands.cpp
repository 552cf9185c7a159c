// The command buffer. 2.4 of the specification.
#include "iommu/amd/amd_iommu.hpp"

namespace cbit::iommu {

using namespace spec;
namespace at = amd_iommu_register;

// At most as many as the buffer has: software that writes behind the IOMMU's back gains nothing.
void AmdIommu::run_commands() {
  const auto base = get<AmdIommuRingBase>(at::command_base);
  const std::uint64_t bytes = base.bytes();
  for (std::uint64_t left = bytes / amd_iommu_ring_entry_bytes; left != 0; --left) {
    const bool runs = control().get<AmdIommuControl::IommuEn>() &&
                      get<AmdIommuStatus>(at::status).get<AmdIommuStatus::CmdBufRun>();
    const std::uint64_t head = registers_.value(at::command_head) % bytes;
    if (!runs || head == registers_.value(at::command_tail) % bytes) return;
    if (!run_command(base.first(), head)) return set_status<AmdIommuStatus::CmdBufRun>(false);
    registers_.set(at::command_head, (head + amd_iommu_ring_entry_bytes) % bytes);
  }
}

// false: an event says why, and the head stays at the command.
bool AmdIommu::run_command(PtePhys buffer, std::uint64_t head) {
  const std::uint64_t command_at = format_.follow(buffer).first.value() + head;
  std::array<std::byte, amd_iommu_ring_entry_bytes> raw{};
  constexpr auto event_of = [](AmdIommuEventCode code) {
    return AmdIommuEvent{}.with<AmdIommuEvent::Code>(code);
  };
  constexpr auto hardware_error = event_of(AmdIommuEventCode::command_hardware_error)
                                      .with<AmdIommuEvent::Type>(AmdIommuHardwareError::master_abort);
  if (!read_memory(buffer, head, raw, Look::access)) {
    log(hardware_error, command_at);
    return false;
  }
  const auto [first, second] = load<std::array<std::uint64_t, 2>>(raw);
  const AmdIommuCommand command{{first}};
  switch (command.get<AmdIommuCommand::Opcode>()) {
    case AmdIommuOpcode::completion_wait: {
      const AmdIommuCompletionWait wait{{first}};
      if (complete(wait, second)) return true;
      log(hardware_error, format_.follow(wait.target()).first.value());
      return false;
    }
    case AmdIommuOpcode::invalidate_devtab_entry:
      entries_.erase(command.get<AmdIommuCommand::DeviceId>());
      return true;
    case AmdIommuOpcode::invalidate_iommu_pages:
      invalidate_pages(command.get<AmdIommuCommand::DomainId>(), {{second}});
      return true;
    // No device has an IOTLB of its own, no interrupt entry is held, nothing is fetched ahead.
    case AmdIommuOpcode::invalidate_iotlb_pages:
    case AmdIommuOpcode::invalidate_interrupt_table:
    case AmdIommuOpcode::prefetch_iommu_pages:
    case AmdIommuOpcode::complete_ppr_request: return true;
    case AmdIommuOpcode::invalidate_iommu_all: invalidate_all(); return true;
  }
  log(event_of(AmdIommuEventCode::illegal_command_error), command_at);
  return false;
}

// Commands before it are done already.
bool AmdIommu::complete(AmdIommuCompletionWait command, std::uint64_t data) {
  if (command.get<AmdIommuCompletionWait::S>() && !write_memory(command.target(), 0, bytes_of(data)))
    return false;
  if (!command.get<AmdIommuCompletionWait::I>()) return true;
  set_status<AmdIommuStatus::ComWaitInt>(true);
  interrupt(AmdIommuInterrupt::completion_wait);
  return true;
}

void AmdIommu::invalidate_pages(std::uint16_t domain, AmdIommuPages pages) {
  if (const auto held = held_.find(domain); held != held_.end())
    held->second.drop(pages.first(), pages.last());
}

void AmdIommu::invalidate_all() {
  entries_.clear();
  held_.clear();
}

}  // namespace cbit::iommu
