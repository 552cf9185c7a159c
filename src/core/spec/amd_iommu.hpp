// What software and an AMD IOMMU agree on: registers, device table, commands, events, interrupt remapping.
// AMD I/O Virtualization Technology (IOMMU) Specification, 48882, revision 3; sections as there. The tables
// of I/O pages are in iommu/io_pte.hpp.
//
// All addresses in registers, entries and commands are system physical addresses with key bits, 51:0.
#pragma once

#include <array>
#include <cstdint>

#include "base/reg.hpp"
#include "cbit/addr.hpp"

namespace cbit::spec {

// ---- MMIO registers, 3.4 --------------------------------------------------------------------------------

namespace amd_iommu_register {
inline constexpr std::uint64_t device_table_base = 0x0000;
inline constexpr std::uint64_t command_base = 0x0008;
inline constexpr std::uint64_t event_base = 0x0010;
inline constexpr std::uint64_t control = 0x0018;
inline constexpr std::uint64_t exclusion_base = 0x0020;
inline constexpr std::uint64_t exclusion_limit = 0x0028;
inline constexpr std::uint64_t extended_features = 0x0030;
inline constexpr std::uint64_t ppr_base = 0x0038;
inline constexpr std::uint64_t xt_event_interrupt = 0x0170;
inline constexpr std::uint64_t xt_ppr_interrupt = 0x0178;
inline constexpr std::uint64_t xt_ga_interrupt = 0x0180;
inline constexpr std::uint64_t command_head = 0x2000;
inline constexpr std::uint64_t command_tail = 0x2008;
inline constexpr std::uint64_t event_head = 0x2010;
inline constexpr std::uint64_t event_tail = 0x2018;
inline constexpr std::uint64_t status = 0x2020;
inline constexpr std::uint64_t ppr_head = 0x2030;
inline constexpr std::uint64_t ppr_tail = 0x2038;
}  // namespace amd_iommu_register
// Without performance counters.
inline constexpr std::uint64_t amd_iommu_mmio_bytes = 16 << 10;

struct AmdIommuDeviceTableBase : Register<AmdIommuDeviceTableBase, std::uint64_t> {
  using Base = Field<51, 12>;
  using Size = Field<8, 0, unsigned>;  // in pages of 4 KiB, less one

  [[nodiscard]] constexpr PtePhys table() const { return PtePhys{get<Base>() << 12}; }
  [[nodiscard]] constexpr std::uint64_t bytes() const { return (std::uint64_t{get<Size>()} + 1) << 12; }
};

// Command buffer, event log and PPR log: 2^Length entries of 16 bytes.
struct AmdIommuRingBase : Register<AmdIommuRingBase, std::uint64_t> {
  using Length = Field<59, 56, unsigned>;  // 8 to 15; less is reserved
  using Base = Field<51, 12>;

  [[nodiscard]] constexpr PtePhys first() const { return PtePhys{get<Base>() << 12}; }
  [[nodiscard]] constexpr std::uint64_t bytes() const;
};
inline constexpr unsigned amd_iommu_ring_length_min = 8;
inline constexpr std::uint64_t amd_iommu_ring_entry_bytes = 16;
constexpr std::uint64_t AmdIommuRingBase::bytes() const {
  const unsigned length = get<Length>();
  return amd_iommu_ring_entry_bytes << (length < amd_iommu_ring_length_min ? amd_iommu_ring_length_min
                                                                           : length);
}
static_assert(AmdIommuRingBase{{0x9ull << 56}}.bytes() == 8192);
inline constexpr std::uint64_t amd_iommu_ring_pointer_mask = 0x7fff0;  // head and tail, 18:4

struct AmdIommuControl : Register<AmdIommuControl, std::uint64_t> {
  using IntCapXtEn = Field<51, 51, bool>;
  using XtEn = Field<50, 50, bool>;
  using GaEn = Field<17, 17, bool>;
  using PprEn = Field<15, 15, bool>;
  using PprIntEn = Field<14, 14, bool>;
  using PprLogEn = Field<13, 13, bool>;
  using CmdBufEn = Field<12, 12, bool>;
  using Isoc = Field<11, 11, bool>;
  using Coherent = Field<10, 10, bool>;
  using ResPassPw = Field<9, 9, bool>;
  using PassPw = Field<8, 8, bool>;
  using InvTimeOut = Field<7, 5, unsigned>;
  using ComWaitIntEn = Field<4, 4, bool>;
  using EventIntEn = Field<3, 3, bool>;
  using EventLogEn = Field<2, 2, bool>;
  using HtTunEn = Field<1, 1, bool>;
  using IommuEn = Field<0, 0, bool>;
};

struct AmdIommuStatus : Register<AmdIommuStatus, std::uint64_t> {
  using PprLogRun = Field<7, 7, bool>;
  using PprInt = Field<6, 6, bool>;
  using PprOverflow = Field<5, 5, bool>;
  using CmdBufRun = Field<4, 4, bool>;
  using EventLogRun = Field<3, 3, bool>;
  using ComWaitInt = Field<2, 2, bool>;
  using EventLogInt = Field<1, 1, bool>;
  using EventOverflow = Field<0, 0, bool>;
};

struct AmdIommuExclusionBase : Register<AmdIommuExclusionBase, std::uint64_t> {
  using Base = Field<51, 12>;
  using Allow = Field<1, 1, bool>;  // all devices; else those whose entry has EX
  using ExEn = Field<0, 0, bool>;
};

struct AmdIommuFeatures : Register<AmdIommuFeatures, std::uint64_t> {
  using Hats = Field<11, 10, unsigned>;  // levels of host page tables, less four
  using GaSup = Field<7, 7, bool>;       // interrupt remapping entries of 128 bits
  using IaSup = Field<6, 6, bool>;       // INVALIDATE_IOMMU_ALL
  using XtSup = Field<2, 2, bool>;       // interrupt destinations of 32 bits
  using PprSup = Field<1, 1, bool>;
};

// Where the IOMMU's own interrupts go with IntCapXtEn.
struct AmdIommuXtInterrupt : Register<AmdIommuXtInterrupt, std::uint64_t> {
  using DestinationHigh = Field<63, 56, std::uint32_t>;
  using DeliveryMode = Field<40, 40, unsigned>;
  using Vector = Field<39, 32, std::uint8_t>;
  using DestinationLow = Field<31, 8, std::uint32_t>;
  using DestinationMode = Field<2, 2, bool>;

  [[nodiscard]] constexpr std::uint32_t destination() const {
    return get<DestinationHigh>() << 24 | get<DestinationLow>();
  }
};

// ---- PCI capability block, 3.3; offsets within it -------------------------------------------------------

namespace amd_iommu_capability {
inline constexpr std::uint8_t id = 0x0f;
inline constexpr std::uint32_t header = 0;
inline constexpr std::uint32_t base_low = 4;  // bit 0: the registers answer
inline constexpr std::uint32_t base_high = 8;
inline constexpr std::uint32_t range = 12;
inline constexpr std::uint32_t misc_0 = 16;
inline constexpr std::uint32_t misc_1 = 20;
inline constexpr std::uint32_t bytes = 24;
}  // namespace amd_iommu_capability

// The upper half of the header's dword.
struct AmdIommuCapability : Register<AmdIommuCapability, std::uint16_t> {
  using CapExt = Field<12, 12, bool>;  // misc_1 is there
  using EfrSup = Field<11, 11, bool>;
  using NpCache = Field<10, 10, bool>;  // entries that are not present are cached, too
  using HtTunnel = Field<9, 9, bool>;
  using IotlbSup = Field<8, 8, bool>;  // ATS
  using Revision = Field<7, 3, unsigned>;
  using Type = Field<2, 0, unsigned>;
};
inline constexpr unsigned amd_iommu_capability_type = 3;
inline constexpr unsigned amd_iommu_capability_revision = 1;

// ---- device table, 2.2.2 --------------------------------------------------------------------------------

// Quadwords 1 and 2 of an entry; iommu::IoDte is quadword 0.
struct AmdIommuDte1 : Register<AmdIommuDte1, std::uint64_t> {
  using Ex = Field<39, 39, bool>;  // the exclusion range applies
  using Sa = Field<34, 34, bool>;  // no page fault is logged
  using Se = Field<33, 33, bool>;  // one is, and no more
  using Iotlb = Field<32, 32, bool>;
  using DomainId = Field<15, 0, std::uint16_t>;
};

enum class AmdIommuIntCtl : std::uint8_t { abort = 0, pass = 1, remap = 2, reserved = 3 };

struct AmdIommuDte2 : Register<AmdIommuDte2, std::uint64_t> {
  using Lint1Pass = Field<63, 63, bool>;
  using Lint0Pass = Field<62, 62, bool>;
  using IntCtl = Field<61, 60, AmdIommuIntCtl>;
  using NmiPass = Field<58, 58, bool>;
  using EIntPass = Field<57, 57, bool>;
  using InitPass = Field<56, 56, bool>;
  using IntTableRoot = Field<51, 6>;
  using Ig = Field<5, 5, bool>;  // unmapped interrupts are not logged
  using IntTabLen = Field<4, 1, unsigned>;
  using Iv = Field<0, 0, bool>;

  [[nodiscard]] constexpr PtePhys table() const { return PtePhys{get<IntTableRoot>() << 6}; }
};
inline constexpr unsigned amd_iommu_int_tab_len_max = 11;

// An entry's four quadwords, and their reserved bits on an IOMMU without guest translation.
using AmdIommuDte = std::array<std::uint64_t, 4>;
inline constexpr AmdIommuDte amd_iommu_dte_reserved = {1ull << 63 | bit_mask(9) << 52 | bit_mask(5) << 2,
                                                       bit_mask(1) << 42,
                                                       bit_mask(1) << 59 | bit_mask(4) << 52, 0};

// ---- interrupt remapping, 2.2.5 -------------------------------------------------------------------------

// An entry of 32 bits.
struct AmdIommuIrte : Register<AmdIommuIrte, std::uint32_t> {
  using Vector = Field<23, 16, std::uint8_t>;
  using Destination = Field<15, 8, std::uint32_t>;
  using GuestMode = Field<7, 7, bool>;
  using Dm = Field<6, 6, bool>;  // logical
  using RqEoi = Field<5, 5, bool>;
  using IntType = Field<4, 2, unsigned>;
  using SupIoPf = Field<1, 1, bool>;
  using RemapEn = Field<0, 0, bool>;
};

// One of 128 bits, with GaEn: the low half's bits 7:0 are as above.
struct AmdIommuIrteLow : Register<AmdIommuIrteLow, std::uint64_t> {
  using Destination = Field<31, 8, std::uint32_t>;
};
struct AmdIommuIrteHigh : Register<AmdIommuIrteHigh, std::uint64_t> {
  using Destination = Field<63, 56, std::uint32_t>;
  using Vector = Field<7, 0, std::uint8_t>;
};

// ---- commands, 2.4 --------------------------------------------------------------------------------------

enum class AmdIommuOpcode : std::uint8_t {
  completion_wait = 1,
  invalidate_devtab_entry = 2,
  invalidate_iommu_pages = 3,
  invalidate_iotlb_pages = 4,
  invalidate_interrupt_table = 5,
  prefetch_iommu_pages = 6,
  complete_ppr_request = 7,
  invalidate_iommu_all = 8,
};

// The first quadword of any command, and of COMPLETION_WAIT; the second of those that name pages.
struct AmdIommuCommand : Register<AmdIommuCommand, std::uint64_t> {
  using Opcode = Field<63, 60, AmdIommuOpcode>;
  using DomainId = Field<47, 32, std::uint16_t>;
  using DeviceId = Field<15, 0, std::uint16_t>;
};
struct AmdIommuCompletionWait : Register<AmdIommuCompletionWait, std::uint64_t> {
  using StoreAddress = Field<51, 3>;
  using F = Field<2, 2, bool>;  // what follows waits for this
  using I = Field<1, 1, bool>;
  using S = Field<0, 0, bool>;

  [[nodiscard]] constexpr PtePhys target() const { return PtePhys{get<StoreAddress>() << 3}; }
};
struct AmdIommuPages : Register<AmdIommuPages, std::uint64_t> {
  using Address = Field<63, 12>;
  using Gn = Field<2, 2, bool>;
  using Pde = Field<1, 1, bool>;
  using S = Field<0, 0, bool>;  // the address tells the size, too: its lowest clear bit

  // 2.4.3: with S and 7FFF'FFFF'FFFF'Fxxxh all pages. The range is [first, last].
  [[nodiscard]] constexpr DmaAddr first() const { return DmaAddr{raw & ~span_mask()}; }
  [[nodiscard]] constexpr DmaAddr last() const { return DmaAddr{raw | span_mask()}; }

 private:
  [[nodiscard]] constexpr std::uint64_t span_mask() const {
    if (!get<S>()) return bit_mask(12);
    const std::uint64_t address = raw | bit_mask(12);
    return address ^ (address + 1);  // up to the lowest clear bit, which is of the size, too
  }
};
static_assert(AmdIommuPages{{0x5000}}.last() == DmaAddr{0x5fff});
static_assert(AmdIommuPages{{0x4001}}.first() == DmaAddr{0x4000});  // bit 12 clear: two pages
static_assert(AmdIommuPages{{0x4001}}.last() == DmaAddr{0x5fff});
static_assert(AmdIommuPages{{0x7fff'ffff'ffff'f001}}.first() == DmaAddr{0});

// ---- events, 2.5 ----------------------------------------------------------------------------------------

enum class AmdIommuEventCode : std::uint8_t {
  illegal_dev_table_entry = 1,
  io_page_fault = 2,
  dev_tab_hardware_error = 3,
  page_tab_hardware_error = 4,
  illegal_command_error = 5,
  command_hardware_error = 6,
  iotlb_inv_timeout = 7,
  invalid_device_request = 8,
};

enum class AmdIommuHardwareError : std::uint8_t { master_abort = 1, target_abort = 2, data_error = 3 };

// The first quadword; the second is an address.
struct AmdIommuEvent : Register<AmdIommuEvent, std::uint64_t> {
  using Code = Field<63, 60, AmdIommuEventCode>;
  using Type = Field<58, 57, AmdIommuHardwareError>;
  using Tr = Field<56, 56, bool>;  // a translation request
  using Rz = Field<55, 55, bool>;  // a reserved bit was set; else the level was none
  using Pe = Field<54, 54, bool>;  // there was no permission
  using Rw = Field<53, 53, bool>;  // a write
  using Pr = Field<52, 52, bool>;  // the entry was present
  using I = Field<51, 51, bool>;   // an interrupt
  using DomainId = Field<47, 32, std::uint16_t>;
  using DeviceId = Field<15, 0, std::uint16_t>;
};

}  // namespace cbit::spec
