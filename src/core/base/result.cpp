#include "base/result.hpp"

namespace cbit {

std::string_view to_string(FaultKind kind) {
  switch (kind) {
    case FaultKind::not_present: return "page not present";
    case FaultKind::protection: return "protection violation";
    case FaultKind::reserved_bit: return "reserved bit set in a page-table entry";
    case FaultKind::non_canonical: return "non-canonical address";
    case FaultKind::no_memory: return "no memory at this address";
    case FaultKind::rmp_violation: return "RMP violation";
    case FaultKind::private_mmio: return "MMIO reached with the encryption bit set";
    case FaultKind::td_integrity: return "TD integrity violation";
    case FaultKind::conversion_refused: return "page-state change refused";
    case FaultKind::guest_terminated: return "the guest has terminated itself";
    case FaultKind::iommu_not_present: return "IO_PAGE_FAULT: not present";
    case FaultKind::iommu_protection: return "IO_PAGE_FAULT: permission";
    case FaultKind::iommu_reserved_bit: return "IO_PAGE_FAULT: reserved bit";
    case FaultKind::iommu_no_domain: return "IO_PAGE_FAULT: requester has no domain";
    case FaultKind::address_width: return "address exceeds the device's address lines";
    case FaultKind::device_protocol: return "device protocol violation";
    case FaultKind::bus_master_off: return "the device is no bus master";
  }
  return "?";
}

}  // namespace cbit
