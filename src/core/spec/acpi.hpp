// ACPI tables as they lie in memory, packed: take fields by value. ACPI Specification 6.3, chapters 5.2 and
// 7; include/acpi/actbl*.h of Linux 6.1; the PCI Firmware Specification 3.2, 4.1.2, has MCFG, and AMD's I/O
// Virtualization Technology (IOMMU) Specification, 48882, chapter 5, IVRS.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/reg.hpp"

namespace cbit::spec {

#pragma pack(push, 1)

// 5.2.5.3
struct AcpiRsdp {
  std::array<char, 8> signature{'R', 'S', 'D', ' ', 'P', 'T', 'R', ' '};
  std::uint8_t checksum = 0;  // of the first 20 bytes
  std::array<char, 6> oem_id{};
  std::uint8_t revision = 2;
  std::uint32_t rsdt_address = 0;
  std::uint32_t length = 36;
  std::uint64_t xsdt_address = 0;
  std::uint8_t extended_checksum = 0;  // of all
  std::array<std::uint8_t, 3> reserved{};
};
static_assert(sizeof(AcpiRsdp) == 36);
inline constexpr std::size_t acpi_rsdp_first_bytes = 20;

// 5.2.6
struct AcpiHeader {
  std::array<char, 4> signature{};
  std::uint32_t length = 0;
  std::uint8_t revision = 0;
  std::uint8_t checksum = 0;  // the sum of all bytes of the table is 0
  std::array<char, 6> oem_id{};
  std::array<char, 8> oem_table_id{};
  std::uint32_t oem_revision = 0;
  std::array<char, 4> creator_id{};
  std::uint32_t creator_revision = 0;
};
static_assert(sizeof(AcpiHeader) == 36);

// 5.2.3.2
enum class AcpiSpace : std::uint8_t { memory = 0, io = 1 };
struct AcpiAddress {
  AcpiSpace space{};
  std::uint8_t bit_width = 0;
  std::uint8_t bit_offset = 0;
  std::uint8_t access_size = 0;  // 1 byte, 2 word, 3 dword
  std::uint64_t address = 0;

  friend bool operator==(const AcpiAddress&, const AcpiAddress&) = default;
};
static_assert(sizeof(AcpiAddress) == 12);

// 5.2.9.3
struct AcpiBootArch : Register<AcpiBootArch, std::uint16_t> {
  using NoCmosRtc = Field<5, 5, bool>;
  using NoAspm = Field<4, 4, bool>;
  using NoMsi = Field<3, 3, bool>;
  using NoVga = Field<2, 2, bool>;
  using Has8042 = Field<1, 1, bool>;
  using LegacyDevices = Field<0, 0, bool>;
};

// 5.2.9, table 5-34
struct AcpiFadtFlags : Register<AcpiFadtFlags, std::uint32_t> {
  using HwReducedAcpi = Field<20, 20, bool>;
  using ForceApicPhysical = Field<19, 19, bool>;
  using UsePlatformClock = Field<15, 15, bool>;
  using Headless = Field<12, 12, bool>;
  using ResetRegSup = Field<10, 10, bool>;
  using TmrValExt = Field<8, 8, bool>;  // the PM timer has 32 bits
  using FixRtc = Field<6, 6, bool>;     // RTC wake status is not in the fixed registers
  using SlpButton = Field<5, 5, bool>;  // no fixed sleep button
  using PwrButton = Field<4, 4, bool>;  // no fixed power button
  using ProcC1 = Field<2, 2, bool>;
  using Wbinvd = Field<0, 0, bool>;
};

// 5.2.9, revision 6
struct AcpiFadt {
  AcpiHeader header;
  std::uint32_t firmware_ctrl = 0;
  std::uint32_t dsdt = 0;
  std::uint8_t reserved_model = 0;
  std::uint8_t preferred_pm_profile = 0;
  std::uint16_t sci_int = 0;
  std::uint32_t smi_cmd = 0;
  std::uint8_t acpi_enable = 0;
  std::uint8_t acpi_disable = 0;
  std::uint8_t s4bios_req = 0;
  std::uint8_t pstate_cnt = 0;
  std::uint32_t pm1a_evt_blk = 0;
  std::uint32_t pm1b_evt_blk = 0;
  std::uint32_t pm1a_cnt_blk = 0;
  std::uint32_t pm1b_cnt_blk = 0;
  std::uint32_t pm2_cnt_blk = 0;
  std::uint32_t pm_tmr_blk = 0;
  std::uint32_t gpe0_blk = 0;
  std::uint32_t gpe1_blk = 0;
  std::uint8_t pm1_evt_len = 0;
  std::uint8_t pm1_cnt_len = 0;
  std::uint8_t pm2_cnt_len = 0;
  std::uint8_t pm_tmr_len = 0;
  std::uint8_t gpe0_blk_len = 0;
  std::uint8_t gpe1_blk_len = 0;
  std::uint8_t gpe1_base = 0;
  std::uint8_t cst_cnt = 0;
  std::uint16_t p_lvl2_lat = 0;
  std::uint16_t p_lvl3_lat = 0;
  std::uint16_t flush_size = 0;
  std::uint16_t flush_stride = 0;
  std::uint8_t duty_offset = 0;
  std::uint8_t duty_width = 0;
  std::uint8_t day_alrm = 0;
  std::uint8_t mon_alrm = 0;
  std::uint8_t century = 0;
  std::uint16_t iapc_boot_arch = 0;  // AcpiBootArch
  std::uint8_t reserved = 0;
  std::uint32_t flags = 0;  // AcpiFadtFlags
  AcpiAddress reset_reg;
  std::uint8_t reset_value = 0;
  std::uint16_t arm_boot_arch = 0;
  std::uint8_t minor_version = 0;
  std::uint64_t x_firmware_ctrl = 0;
  std::uint64_t x_dsdt = 0;
  AcpiAddress x_pm1a_evt_blk;
  AcpiAddress x_pm1b_evt_blk;
  AcpiAddress x_pm1a_cnt_blk;
  AcpiAddress x_pm1b_cnt_blk;
  AcpiAddress x_pm2_cnt_blk;
  AcpiAddress x_pm_tmr_blk;
  AcpiAddress x_gpe0_blk;
  AcpiAddress x_gpe1_blk;
  AcpiAddress sleep_control;
  AcpiAddress sleep_status;
  std::uint64_t hypervisor_vendor = 0;
};
static_assert(offsetof(AcpiFadt, iapc_boot_arch) == 109);
static_assert(offsetof(AcpiFadt, flags) == 112);
static_assert(offsetof(AcpiFadt, reset_reg) == 116);
static_assert(offsetof(AcpiFadt, x_pm_tmr_blk) == 208);
static_assert(sizeof(AcpiFadt) == 276);
inline constexpr std::uint8_t acpi_fadt_revision = 6;
// A FADT of revision 6 names no fixed value for "no C2, no C3": more than 100 and 1000 us say it.
inline constexpr std::uint16_t acpi_no_c2_latency = 101;
inline constexpr std::uint16_t acpi_no_c3_latency = 1001;

// 5.2.10; aligned to 64 bytes, no checksum
struct AcpiFacs {
  std::array<char, 4> signature{'F', 'A', 'C', 'S'};
  std::uint32_t length = 64;
  std::uint32_t hardware_signature = 0;
  std::uint32_t firmware_waking_vector = 0;
  std::uint32_t global_lock = 0;
  std::uint32_t flags = 0;
  std::uint64_t x_firmware_waking_vector = 0;
  std::uint8_t version = 2;
  std::array<std::uint8_t, 3> reserved{};
  std::uint32_t ospm_flags = 0;
  std::array<std::uint8_t, 24> reserved1{};
};
static_assert(sizeof(AcpiFacs) == 64);

// 5.2.12
struct AcpiMadt {
  AcpiHeader header;
  std::uint32_t local_apic_address = 0;
  std::uint32_t flags = 0;
};
static_assert(sizeof(AcpiMadt) == 44);
inline constexpr std::uint32_t acpi_madt_pcat_compat = 1;  // there is a pair of 8259s, too
inline constexpr std::uint32_t acpi_madt_cpu_enabled = 1;

// MPS INTI flags, table 5-52
enum class AcpiPolarity : std::uint16_t { of_bus = 0, high = 1, low = 3 };
enum class AcpiTrigger : std::uint16_t { of_bus = 0, edge = 1, level = 3 };
struct AcpiIntiFlags : Register<AcpiIntiFlags, std::uint16_t> {
  using Trigger = Field<3, 2, AcpiTrigger>;
  using Polarity = Field<1, 0, AcpiPolarity>;
};

struct AcpiMadtLocalApic {
  std::uint8_t type = 0;
  std::uint8_t length = 8;
  std::uint8_t processor_uid = 0;
  std::uint8_t apic_id = 0;
  std::uint32_t flags = acpi_madt_cpu_enabled;
};
static_assert(sizeof(AcpiMadtLocalApic) == 8);

struct AcpiMadtIoApic {
  std::uint8_t type = 1;
  std::uint8_t length = 12;
  std::uint8_t id = 0;
  std::uint8_t reserved = 0;
  std::uint32_t address = 0;
  std::uint32_t gsi_base = 0;
};
static_assert(sizeof(AcpiMadtIoApic) == 12);

struct AcpiMadtOverride {
  std::uint8_t type = 2;
  std::uint8_t length = 10;
  std::uint8_t bus = 0;  // ISA
  std::uint8_t source = 0;
  std::uint32_t gsi = 0;
  std::uint16_t flags = 0;  // AcpiIntiFlags
};
static_assert(sizeof(AcpiMadtOverride) == 10);

struct AcpiMadtLocalApicNmi {
  std::uint8_t type = 4;
  std::uint8_t length = 6;
  std::uint8_t processor_uid = 0xff;  // all
  std::uint16_t flags = 0;            // AcpiIntiFlags
  std::uint8_t lint = 1;
};
static_assert(sizeof(AcpiMadtLocalApicNmi) == 6);

struct AcpiMadtLocalX2Apic {
  std::uint8_t type = 9;
  std::uint8_t length = 16;
  std::uint16_t reserved = 0;
  std::uint32_t x2apic_id = 0;
  std::uint32_t flags = acpi_madt_cpu_enabled;
  std::uint32_t processor_uid = 0;
};
static_assert(sizeof(AcpiMadtLocalX2Apic) == 16);

struct AcpiMadtLocalX2ApicNmi {
  std::uint8_t type = 10;
  std::uint8_t length = 12;
  std::uint16_t flags = 0;                    // AcpiIntiFlags
  std::uint32_t processor_uid = 0xffff'ffff;  // all
  std::uint8_t lint = 1;
  std::array<std::uint8_t, 3> reserved{};
};
static_assert(sizeof(AcpiMadtLocalX2ApicNmi) == 12);
// Numbers from here on do not fit into an AcpiMadtLocalApic; 255 is the broadcast of xAPIC.
inline constexpr unsigned acpi_first_x2apic_id = 255;

struct AcpiMcfg {
  AcpiHeader header;
  std::uint64_t reserved = 0;
};
static_assert(sizeof(AcpiMcfg) == 44);

struct AcpiMcfgAllocation {
  std::uint64_t address = 0;
  std::uint16_t segment = 0;
  std::uint8_t start_bus = 0;
  std::uint8_t end_bus = 0;
  std::uint32_t reserved = 0;
};
static_assert(sizeof(AcpiMcfgAllocation) == 16);

// 48882, 5.2.1
struct AcpiIvInfo : Register<AcpiIvInfo, std::uint32_t> {
  using VirtualAddressBits = Field<21, 15, unsigned>;
  using PhysicalAddressBits = Field<14, 8, unsigned>;
  using GuestAddressSize = Field<7, 5, unsigned>;  // 2: 48 bits
  using EfrSup = Field<0, 0, bool>;                // blocks of type 11h have a copy of the feature register
};
struct AcpiIvrs {
  AcpiHeader header;
  std::uint32_t info = 0;  // AcpiIvInfo
  std::uint64_t reserved = 0;
};
static_assert(sizeof(AcpiIvrs) == 48);

// 48882, 5.2.2: type 10h, and type 11h with what is behind it.
struct AcpiIvhd {
  std::uint8_t type = 0x10;
  std::uint8_t flags = 0;
  std::uint16_t length = 0;  // with its device entries
  std::uint16_t device_id = 0;
  std::uint16_t capability_offset = 0;
  std::uint64_t base_address = 0;
  std::uint16_t segment = 0;
  std::uint16_t info = 0;
  std::uint32_t attributes = 0;  // 10h: AcpiIvhdFeatures
};
static_assert(sizeof(AcpiIvhd) == 24);
inline constexpr std::uint8_t acpi_ivhd_with_features = 0x11;
inline constexpr std::uint8_t acpi_ivhd_coherent = 0x20;       // of its flags
inline constexpr std::uint8_t acpi_ivhd_page_requests = 0x80;  // of its flags, type 10h

struct AcpiIvhdFeatures : Register<AcpiIvhdFeatures, std::uint32_t> {
  using Hats = Field<31, 30, unsigned>;
  using GaSup = Field<6, 6, bool>;
  using IaSup = Field<5, 5, bool>;
  using XtSup = Field<0, 0, bool>;
};
struct AcpiIvhdExtension {
  std::uint64_t features = 0;
  std::uint64_t features_2 = 0;
};
static_assert(sizeof(AcpiIvhdExtension) == 16);

enum class AcpiIvhdDevice : std::uint8_t { range_start = 3, range_end = 4, special = 0x48 };
struct AcpiIvhdEntry {
  AcpiIvhdDevice type{};
  std::uint16_t device_id = 0;
  std::uint8_t settings = 0;
};
static_assert(sizeof(AcpiIvhdEntry) == 4);
enum class AcpiIvhdSpecial : std::uint8_t { ioapic = 1, hpet = 2 };
struct AcpiIvhdSpecialEntry {
  AcpiIvhdEntry entry{.type = AcpiIvhdDevice::special};
  std::uint8_t handle = 0;  // an IOAPIC's id
  std::uint16_t device_id = 0;
  AcpiIvhdSpecial variety{};
};
static_assert(sizeof(AcpiIvhdSpecialEntry) == 8);

// ACPI Specification 6.4, 5.2.32, Virtual I/O Translation Table. Nodes name each other by their offsets in
// the table.
struct AcpiViot {
  AcpiHeader header;
  std::uint16_t nodes = 0;
  std::uint16_t first_node = 48;
  std::array<std::uint8_t, 8> reserved{};
};
static_assert(sizeof(AcpiViot) == 48);

struct AcpiViotPciRange {
  std::uint8_t type = 1;
  std::uint8_t reserved_1 = 0;
  std::uint16_t length = 24;
  std::uint32_t first_endpoint = 0;  // of the virtio-iommu's numbers
  std::uint16_t first_segment = 0;
  std::uint16_t last_segment = 0;
  std::uint16_t first_function = 0;
  std::uint16_t last_function = 0;
  std::uint16_t output_node = 0;
  std::array<std::uint8_t, 6> reserved_2{};
};
static_assert(sizeof(AcpiViotPciRange) == 24);

struct AcpiViotVirtioPci {
  std::uint8_t type = 3;
  std::uint8_t reserved_1 = 0;
  std::uint16_t length = 16;
  std::uint16_t segment = 0;
  std::uint16_t function = 0;
  std::array<std::uint8_t, 8> reserved_2{};
};
static_assert(sizeof(AcpiViotVirtioPci) == 16);

#pragma pack(pop)

}  // namespace cbit::spec
