#include "boot/acpi/tables.hpp"

#include <algorithm>
#include <numeric>
#include <vector>

#include "base/assert.hpp"
#include "boot/acpi/aml.hpp"
#include "spec/acpi.hpp"
#include "spec/amd_iommu.hpp"
#include "spec/pci.hpp"

namespace cbit::boot {
namespace {

using namespace spec;

constexpr std::array<char, 6> oem_id{'C', 'B', 'I', 'T', ' ', ' '};
constexpr std::size_t table_alignment = 16;
constexpr std::uint8_t isa_timer_irq = 0, isa_timer_gsi = 2;  // as on every PC with an IOAPIC
constexpr unsigned pci_slots = 32, pci_pins = 4;
constexpr std::uint32_t any_function = 0xffff;

void append_bytes(Bytes& to, ConstByteSpan bytes) {
  const std::size_t at = to.size();
  to.resize(at + bytes.size());
  std::ranges::copy(bytes, to.begin() + static_cast<std::ptrdiff_t>(at));
}

template <class T>
void append(Bytes& to, const T& value) {
  append_bytes(to, bytes_of(value));
}

// What makes the bytes' sum zero.
std::uint8_t checksum(ConstByteSpan bytes) {
  const auto add = [](unsigned sum, std::byte b) { return sum + std::to_integer<unsigned>(b); };
  return static_cast<std::uint8_t>(0u - std::accumulate(bytes.begin(), bytes.end(), 0u, add));
}

AcpiHeader header(const char (&signature)[5], std::uint8_t revision) {
  AcpiHeader made{.revision = revision,
                  .oem_id = oem_id,
                  .oem_table_id = {'C', 'B', 'I', 'T', 'P', 'C', ' ', ' '},
                  .oem_revision = 1,
                  .creator_id = {'C', 'B', 'I', 'T'},
                  .creator_revision = 1};
  std::copy_n(signature, 4, made.signature.begin());
  return made;
}

// Length and checksum of a table whose bytes are all there.
void finish(ByteSpan table) {
  store(table, offsetof(AcpiHeader, length), static_cast<std::uint32_t>(table.size()));
  store(table, offsetof(AcpiHeader, checksum), std::uint8_t{0});
  store(table, offsetof(AcpiHeader, checksum), checksum(table));
}

AcpiAddress io_register(std::uint16_t port, std::uint8_t bytes) {
  const std::uint8_t access = bytes == 4 ? 3 : bytes;
  return {AcpiSpace::io, static_cast<std::uint8_t>(bytes * 8), 0, access, port};
}

Bytes make_fadt(const PcDescription& pc, PhysAddr facs, PhysAddr dsdt) {
  AcpiFadt fadt{.header = header("FACP", acpi_fadt_revision)};
  fadt.firmware_ctrl = static_cast<std::uint32_t>(facs.value());
  fadt.dsdt = static_cast<std::uint32_t>(dsdt.value());
  fadt.x_dsdt = dsdt.value();  // X_FIRMWARE_CTRL stays 0: only one of the two may be given
  fadt.sci_int = pc.sci;
  fadt.pm1a_evt_blk = pc.pm1_event;
  fadt.pm1a_cnt_blk = pc.pm1_control;
  fadt.pm_tmr_blk = pc.pm_timer;
  fadt.pm1_evt_len = 4;
  fadt.pm1_cnt_len = 2;
  fadt.pm_tmr_len = 4;
  fadt.x_pm1a_evt_blk = io_register(pc.pm1_event, 4);
  fadt.x_pm1a_evt_blk.access_size = 2;  // two registers of 16 bits
  fadt.x_pm1a_cnt_blk = io_register(pc.pm1_control, 2);
  fadt.x_pm_tmr_blk = io_register(pc.pm_timer, 4);
  fadt.p_lvl2_lat = acpi_no_c2_latency;
  fadt.p_lvl3_lat = acpi_no_c3_latency;
  fadt.century = pc.rtc_century;
  fadt.iapc_boot_arch =
      AcpiBootArch{}.with<AcpiBootArch::LegacyDevices>(true).with<AcpiBootArch::NoVga>(true).raw;
  fadt.flags = AcpiFadtFlags{}
                   .with<AcpiFadtFlags::Wbinvd>(true)
                   .with<AcpiFadtFlags::ProcC1>(true)
                   .with<AcpiFadtFlags::PwrButton>(true)
                   .with<AcpiFadtFlags::SlpButton>(true)
                   .with<AcpiFadtFlags::FixRtc>(true)
                   .with<AcpiFadtFlags::TmrValExt>(pc.pm_timer_bits == 32)
                   .with<AcpiFadtFlags::ResetRegSup>(true)
                   .with<AcpiFadtFlags::Headless>(true)
                   .raw;
  fadt.reset_reg = io_register(pc.reset_port, 1);
  fadt.reset_value = pc.reset_value;
  Bytes table;
  append(table, fadt);
  return table;
}

AcpiMadtOverride isa_override(std::uint8_t irq, std::uint32_t gsi, AcpiIntiFlags flags) {
  return {.source = irq, .gsi = gsi, .flags = flags.raw};
}

Bytes make_madt(const PcDescription& pc) {
  Bytes table;
  append(table, AcpiMadt{.header = header("APIC", 4),
                         .local_apic_address = static_cast<std::uint32_t>(pc.local_apic.value()),
                         .flags = acpi_madt_pcat_compat});
  const unsigned small = std::min(pc.cpus, acpi_first_x2apic_id);
  for (unsigned cpu = 0; cpu < small; ++cpu)
    append(table, AcpiMadtLocalApic{.processor_uid = static_cast<std::uint8_t>(cpu),
                                    .apic_id = static_cast<std::uint8_t>(cpu)});
  for (unsigned cpu = small; cpu < pc.cpus; ++cpu)
    append(table, AcpiMadtLocalX2Apic{.x2apic_id = cpu, .processor_uid = cpu});
  append(table,
         AcpiMadtIoApic{.id = pc.io_apic_id, .address = static_cast<std::uint32_t>(pc.io_apic.value())});
  append(table, isa_override(isa_timer_irq, isa_timer_gsi, {}));
  append(table, isa_override(pc.sci, pc.sci,
                             AcpiIntiFlags{}
                                 .with<AcpiIntiFlags::Trigger>(AcpiTrigger::level)
                                 .with<AcpiIntiFlags::Polarity>(AcpiPolarity::high)));
  append(table, AcpiMadtLocalApicNmi{});
  if (pc.cpus > small) append(table, AcpiMadtLocalX2ApicNmi{});
  return table;
}

std::uint32_t ecam_buses(const PcDescription& pc) {
  constexpr std::uint64_t bytes_per_bus = 1 << 20;
  return static_cast<std::uint32_t>(pc.ecam.bytes / bytes_per_bus);
}

Bytes make_mcfg(const PcDescription& pc) {
  Bytes table;
  append(table, AcpiMcfg{.header = header("MCFG", 1)});
  append(table, AcpiMcfgAllocation{.address = pc.ecam.first.value(),
                                   .end_bus = static_cast<std::uint8_t>(ecam_buses(pc) - 1)});
  return table;
}

// The features of a block of type 10h, which has room for some of them.
AcpiIvhdFeatures features_in_brief(AmdIommuFeatures features) {
  return AcpiIvhdFeatures{}
      .with<AcpiIvhdFeatures::Hats>(features.get<AmdIommuFeatures::Hats>())
      .with<AcpiIvhdFeatures::GaSup>(features.get<AmdIommuFeatures::GaSup>())
      .with<AcpiIvhdFeatures::IaSup>(features.get<AmdIommuFeatures::IaSup>())
      .with<AcpiIvhdFeatures::XtSup>(features.get<AmdIommuFeatures::XtSup>());
}

// The devices behind the IOMMU.
Bytes make_ivhd_entries(const PcDescription& pc) {
  Bytes entries;
  append(entries, AcpiIvhdEntry{AcpiIvhdDevice::range_start, pci_requester(0, 1, 0)});
  append(entries, AcpiIvhdEntry{AcpiIvhdDevice::range_end, pci_requester(0, pci_slots - 1, 7)});
  append(entries,
         AcpiIvhdSpecialEntry{
             .handle = pc.io_apic_id, .device_id = pc.amd_iommu->ioapic, .variety = AcpiIvhdSpecial::ioapic});
  return entries;
}

// The same IOMMU twice: systems take the most telling block that they understand.
Bytes make_ivrs(const PcDescription& pc) {
  const AmdIommuDescription& iommu = *pc.amd_iommu;
  const AmdIommuFeatures features{{iommu.features}};
  const Bytes entries = make_ivhd_entries(pc);
  AcpiIvhd block{.flags = acpi_ivhd_coherent | acpi_ivhd_page_requests,
                 .length = static_cast<std::uint16_t>(sizeof(AcpiIvhd) + entries.size()),
                 .device_id = iommu.function,
                 .capability_offset = iommu.capability,
                 .base_address = iommu.registers.value(),
                 .attributes = features_in_brief(features).raw};
  Bytes table;
  append(table, AcpiIvrs{.header = header("IVRS", 2),
                         .info = AcpiIvInfo{}
                                     .with<AcpiIvInfo::VirtualAddressBits>(64)
                                     .with<AcpiIvInfo::PhysicalAddressBits>(48)
                                     .with<AcpiIvInfo::GuestAddressSize>(2)
                                     .with<AcpiIvInfo::EfrSup>(true)
                                     .raw});
  append(table, block);
  append_bytes(table, entries);
  block.type = acpi_ivhd_with_features;
  block.flags = acpi_ivhd_coherent;
  block.length = static_cast<std::uint16_t>(block.length + sizeof(AcpiIvhdExtension));
  block.attributes = 0;
  append(table, block);
  append(table, AcpiIvhdExtension{.features = features.raw});
  append_bytes(table, entries);
  return table;
}

Bytes make_viot(RequesterId virtio_iommu) {
  Bytes table;
  append(table, AcpiViot{.header = header("VIOT", 0), .nodes = 2});
  append(table, AcpiViotVirtioPci{.function = virtio_iommu});
  append(table, AcpiViotPciRange{.first_endpoint = pci_requester(0, 1, 0),
                                 .first_function = pci_requester(0, 1, 0),
                                 .last_function = pci_requester(0, pci_slots - 1, 7),
                                 .output_node = sizeof(AcpiViot)});
  return table;
}

// Names that the DSDT expects, the sleep state, and which interrupt a pin of a device is. ACPI, 6.2.13 (_PRT)
// and 7.4.2 (_Sx).
Bytes make_ssdt(const PcDescription& pc) {
  const auto low = [](PhysAddr at) { return static_cast<std::uint32_t>(at.value()); };
  AmlWriter aml;
  aml.name_integer("\\PBUS", ecam_buses(pc) - 1);
  aml.name_integer("\\PMIN", low(pc.pci_memory.first));
  aml.name_integer("\\PMAX", low(pc.pci_memory.end() - 1));
  aml.name_integer("\\PLEN", static_cast<std::uint32_t>(pc.pci_memory.bytes));
  aml.name_integer("\\ECBA", low(pc.ecam.first));
  aml.name_integer("\\ECLN", static_cast<std::uint32_t>(pc.ecam.bytes));
  aml.name_package("\\_S5_", std::array<std::uint32_t, 4>{pc.sleep_type_s5, pc.sleep_type_s5});
  std::vector<AmlWriter::Row> routes;
  for (std::uint32_t slot = 0; slot < pci_slots; ++slot)
    for (std::uint32_t pin = 0; pin < pci_pins; ++pin)
      routes.push_back({slot << 16 | any_function, pin, 0, pc.gsi_of(slot, pin)});
  aml.name_table("\\_SB_.PCI0._PRT", routes);
  Bytes table;
  append(table, header("SSDT", 2));
  append_bytes(table, aml.bytes());
  return table;
}

// RSDT and XSDT.
template <class Pointer>
Bytes make_root(const char (&signature)[5], std::span<const PhysAddr> tables) {
  Bytes root;
  append(root, header(signature, 1));
  for (const PhysAddr table : tables) append(root, static_cast<Pointer>(table.value()));
  return root;
}

Bytes make_rsdp(PhysAddr rsdt, PhysAddr xsdt) {
  AcpiRsdp rsdp{.oem_id = oem_id,
                .rsdt_address = static_cast<std::uint32_t>(rsdt.value()),
                .xsdt_address = xsdt.value()};
  rsdp.checksum = checksum(bytes_of(rsdp).first(acpi_rsdp_first_bytes));
  rsdp.extended_checksum = checksum(bytes_of(rsdp));
  Bytes bytes;
  append(bytes, rsdp);
  return bytes;
}

// Tables one behind the other from an address on.
class TableSpace {
 public:
  explicit TableSpace(PhysAddr first) : first_{first} {}

  PhysAddr put(Bytes table) {
    finish(table);
    bytes_.resize(align_up(bytes_.size(), table_alignment));
    const PhysAddr at = first_ + bytes_.size();
    bytes_.insert(bytes_.end(), table.begin(), table.end());
    return at;
  }
  [[nodiscard]] Bytes pages() && {
    bytes_.resize(align_up(bytes_.size(), page_size));
    return std::move(bytes_);
  }

 private:
  PhysAddr first_;
  Bytes bytes_;
};

// FACS in the page at `first`, the rest behind it.
AcpiTables make_tables_at(const PcDescription& pc, PhysAddr first) {
  AcpiTables made{.facs = first, .tables = first + page_size};
  append(made.fixed, AcpiFacs{});
  made.fixed.resize(page_size);
  TableSpace space{made.tables};
  const ConstByteSpan dsdt = dsdt_aml();
  const PhysAddr dsdt_at = space.put({dsdt.begin(), dsdt.end()});
  std::vector<PhysAddr> tables{space.put(make_fadt(pc, made.facs, dsdt_at)), space.put(make_madt(pc)),
                               space.put(make_mcfg(pc)), space.put(make_ssdt(pc))};
  if (pc.amd_iommu) tables.push_back(space.put(make_ivrs(pc)));
  if (pc.virtio_iommu) tables.push_back(space.put(make_viot(*pc.virtio_iommu)));
  const PhysAddr rsdt = space.put(make_root<std::uint32_t>("RSDT", tables));
  const PhysAddr xsdt = space.put(make_root<std::uint64_t>("XSDT", tables));
  made.rsdp = make_rsdp(rsdt, xsdt);
  made.bytes = std::move(space).pages();
  return made;
}

}  // namespace

AcpiTables make_acpi_tables(const PcDescription& pc, PhysAddr end) {
  CBIT_ASSERT(end.is_aligned(page_size));
  const std::uint64_t bytes = page_size + make_tables_at(pc, PhysAddr{0}).bytes.size();
  return make_tables_at(pc, end - bytes);
}

}  // namespace cbit::boot
