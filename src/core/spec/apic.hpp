// Local APIC and IOAPIC: what software, devices and controllers agree on. Intel SDM vol. 3, chapter "Advanced
// Programmable Interrupt Controller (APIC)" (11; 10 in editions before 2022), AMD APM vol. 2, 16; Intel
// 82093AA IOAPIC (290566); names as in the SDM.
#pragma once

#include <cstdint>

#include "base/reg.hpp"

namespace cbit::spec {

// Delivery mode of an interrupt message, an LVT entry and an IOAPIC's redirection. SDM 11.5.1, 11.6.1,
// 11.11.2.
enum class ApicDelivery : std::uint8_t {
  fixed = 0,
  lowest_priority = 1,
  smi = 2,
  remote_read = 3,  // of the 82489DX; reserved since
  nmi = 4,
  init = 5,
  startup = 6,  // in the ICR only
  ext_int = 7,
};

// Offsets of the registers in the page of an xAPIC, table 11-1. The MSR of an x2APIC is 800h + offset / 16.
namespace apic_register {
inline constexpr std::uint32_t id = 0x020;
inline constexpr std::uint32_t version = 0x030;
inline constexpr std::uint32_t tpr = 0x080;
inline constexpr std::uint32_t apr = 0x090;
inline constexpr std::uint32_t ppr = 0x0a0;
inline constexpr std::uint32_t eoi = 0x0b0;
inline constexpr std::uint32_t remote_read = 0x0c0;
inline constexpr std::uint32_t ldr = 0x0d0;
inline constexpr std::uint32_t dfr = 0x0e0;
inline constexpr std::uint32_t svr = 0x0f0;
inline constexpr std::uint32_t isr = 0x100;  // eight of them, 10h apart; so are the next two
inline constexpr std::uint32_t tmr = 0x180;
inline constexpr std::uint32_t irr = 0x200;
inline constexpr std::uint32_t esr = 0x280;
inline constexpr std::uint32_t lvt_cmci = 0x2f0;
inline constexpr std::uint32_t icr = 0x300;
inline constexpr std::uint32_t icr_high = 0x310;
inline constexpr std::uint32_t lvt_timer = 0x320;
inline constexpr std::uint32_t lvt_thermal = 0x330;
inline constexpr std::uint32_t lvt_perf = 0x340;
inline constexpr std::uint32_t lvt_lint0 = 0x350;
inline constexpr std::uint32_t lvt_lint1 = 0x360;
inline constexpr std::uint32_t lvt_error = 0x370;
inline constexpr std::uint32_t initial_count = 0x380;
inline constexpr std::uint32_t current_count = 0x390;
inline constexpr std::uint32_t divide = 0x3e0;
inline constexpr std::uint32_t self_ipi = 0x3f0;  // x2APIC only
}  // namespace apic_register

namespace apic_msr {
inline constexpr std::uint32_t base = 0x1b;           // IA32_APIC_BASE
inline constexpr std::uint32_t tsc_deadline = 0x6e0;  // IA32_TSC_DEADLINE
inline constexpr std::uint32_t x2apic_first = 0x800;
inline constexpr std::uint32_t x2apic_last = 0x8ff;
}  // namespace apic_msr

// SDM 11.4.4.
struct ApicBase : Register<ApicBase, std::uint64_t> {
  using Page = Field<51, 12>;  // up to the physical address width; reserved above
  using En = Field<11, 11, bool>;
  using Extd = Field<10, 10, bool>;
  using Bsp = Field<8, 8, bool>;
};
inline constexpr std::uint64_t apic_base_default = 0xfee0'0000;

// SDM 11.4.8.
struct ApicVersion : Register<ApicVersion, std::uint32_t> {
  using EoiBroadcastSuppression = Field<24, 24, bool>;
  using MaxLvt = Field<23, 16, std::uint8_t>;  // number of LVT entries - 1
  using Version = Field<7, 0, std::uint8_t>;
};

// SDM 11.9.
struct ApicSvr : Register<ApicSvr, std::uint32_t> {
  using SuppressEoiBroadcast = Field<12, 12, bool>;
  using FocusDisabled = Field<9, 9, bool>;
  using Enabled = Field<8, 8, bool>;
  using Vector = Field<7, 0, std::uint8_t>;
};

enum class ApicTimerMode : std::uint8_t { one_shot = 0, periodic = 1, tsc_deadline = 2, reserved = 3 };

// SDM 11.5.1. An entry has some of these fields only.
struct ApicLvt : Register<ApicLvt, std::uint32_t> {
  using TimerMode = Field<18, 17, ApicTimerMode>;  // timer
  using Mask = Field<16, 16, bool>;
  using Level = Field<15, 15, bool>;            // LINT0, LINT1
  using RemoteIrr = Field<14, 14, bool>;        // LINT0, LINT1; read-only
  using ActiveLow = Field<13, 13, bool>;        // LINT0, LINT1
  using Pending = Field<12, 12, bool>;          // delivery status; read-only
  using Delivery = Field<10, 8, ApicDelivery>;  // not timer, not error
  using Vector = Field<7, 0, std::uint8_t>;
};
static_assert(ApicLvt{{0x0001'0700}}.get<ApicLvt::Delivery>() == ApicDelivery::ext_int);

enum class ApicShorthand : std::uint8_t { none = 0, self = 1, all = 2, all_but_self = 3 };

// SDM 11.6.1, 11.12.9. The high half is a register of its own in xAPIC mode, its destination in bits 31:24.
struct ApicIcr : Register<ApicIcr, std::uint64_t> {
  using Destination = Field<63, 32, std::uint32_t>;
  using Shorthand = Field<19, 18, ApicShorthand>;
  using Level = Field<15, 15, bool>;   // trigger mode
  using Assert = Field<14, 14, bool>;  // level
  using Pending = Field<12, 12, bool>;
  using Logical = Field<11, 11, bool>;
  using Delivery = Field<10, 8, ApicDelivery>;
  using Vector = Field<7, 0, std::uint8_t>;
};

// SDM 11.5.3.
struct ApicEsr : Register<ApicEsr, std::uint32_t> {
  using IllegalRegister = Field<7, 7, bool>;
  using ReceiveIllegalVector = Field<6, 6, bool>;
  using SendIllegalVector = Field<5, 5, bool>;
  using RedirectibleIpi = Field<4, 4, bool>;
};

// Of a message to `all`, in physical mode as in logical mode.
inline constexpr std::uint8_t xapic_broadcast = 0xff;
inline constexpr std::uint32_t x2apic_broadcast = 0xffff'ffff;

// A message-signalled interrupt is a write of four bytes to this megabyte. SDM 11.11.
inline constexpr std::uint64_t msi_window = 0xfee0'0000;
inline constexpr std::uint64_t msi_window_bytes = 0x10'0000;

struct MsiAddress : Register<MsiAddress, std::uint64_t> {
  using Window = Field<31, 20, std::uint32_t>;  // FEEh
  using Destination = Field<19, 12, std::uint8_t>;
  using RedirectionHint = Field<3, 3, bool>;
  using Logical = Field<2, 2, bool>;
};
struct MsiData : Register<MsiData, std::uint32_t> {
  using Level = Field<15, 15, bool>;   // trigger mode
  using Assert = Field<14, 14, bool>;  // level
  using Delivery = Field<10, 8, ApicDelivery>;
  using Vector = Field<7, 0, std::uint8_t>;
};
static_assert(MsiAddress{{0xfee0'1004}}.get<MsiAddress::Destination>() == 1);

// An IOAPIC's page: two registers that select and access the others, and the EOI register of version 20h.
namespace ioapic_mmio {
inline constexpr std::uint64_t select = 0x00;
inline constexpr std::uint64_t window = 0x10;
inline constexpr std::uint64_t eoi = 0x40;
}  // namespace ioapic_mmio
// What is selected.
namespace ioapic_register {
inline constexpr std::uint8_t id = 0x00;
inline constexpr std::uint8_t version = 0x01;
inline constexpr std::uint8_t arbitration = 0x02;
inline constexpr std::uint8_t redirection = 0x10;  // two per pin: low half, high half
}  // namespace ioapic_register

// 82093AA 3.2.4.
struct IoapicEntry : Register<IoapicEntry, std::uint64_t> {
  using Destination = Field<63, 56, std::uint8_t>;
  using Mask = Field<16, 16, bool>;
  using Level = Field<15, 15, bool>;
  using RemoteIrr = Field<14, 14, bool>;  // read-only
  using ActiveLow = Field<13, 13, bool>;
  using Pending = Field<12, 12, bool>;  // delivery status; read-only
  using Logical = Field<11, 11, bool>;
  using Delivery = Field<10, 8, ApicDelivery>;
  using Vector = Field<7, 0, std::uint8_t>;
};
static_assert(IoapicEntry{{1ull << 16}}.get<IoapicEntry::Mask>());

}  // namespace cbit::spec
