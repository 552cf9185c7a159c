// The ACPI tables of the PC: RSDP, XSDT, FADT, FACS, MADT, MCFG, DSDT, SSDT, and IVRS or VIOT where there is
// an IOMMU.
//
// The DSDT is the compiled acpi/dsdt.asl; what depends on the machine (addresses, interrupt routing, the
// sleep state's number) it takes by name from the SSDT, which is made here. ACPI hardware is always in ACPI
// mode: there is no SMI command port. Nothing is announced that would be probed in vain: no VGA, no 8042, no
// GPEs, no buttons.
#pragma once

#include "base/bytes.hpp"
#include "boot/pc_description.hpp"

namespace cbit::boot {

// The compiled DSDT.
[[nodiscard]] ConstByteSpan dsdt_aml();

struct AcpiTables {
  PhysAddr facs;    // where `fixed` goes: memory that firmware and system share, e820 type NVS
  Bytes fixed;      // FACS; one page
  PhysAddr tables;  // where `bytes` go: e820 type ACPI; whole pages
  Bytes bytes;      // all other tables
  Bytes rsdp;       // where the caller likes, on a 16-byte boundary
};

// Tables that end at the page-aligned `end`.
[[nodiscard]] AcpiTables make_acpi_tables(const PcDescription& pc, PhysAddr end);

}  // namespace cbit::boot
