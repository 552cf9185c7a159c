// The registers of a processor as loaders, debuggers and reports see them.
//
// Layouts: AMD APM vol. 2, 1.3 (system registers), 3.1 (control), 4.5 (segments).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/reg.hpp"
#include "base/state_stream.hpp"
#include "isa/registers.hpp"

namespace cbit::cpu {

// RFLAGS beside the status flags (isa/registers.hpp): APM vol. 2, 3.1.6.
namespace rflags {
inline constexpr std::uint64_t always_one = 1 << 1;
inline constexpr std::uint64_t trap = 1 << 8;
inline constexpr std::uint64_t interrupt = 1 << 9;
inline constexpr std::uint64_t direction = 1 << 10;
inline constexpr std::uint64_t iopl = 3 << 12;
inline constexpr std::uint64_t nested = 1 << 14;
inline constexpr std::uint64_t resume = 1 << 16;
inline constexpr std::uint64_t virtual_8086 = 1 << 17;
inline constexpr std::uint64_t alignment_check = 1 << 18;
inline constexpr std::uint64_t virtual_interrupt = 1 << 19;
inline constexpr std::uint64_t virtual_pending = 1 << 20;
inline constexpr std::uint64_t identification = 1 << 21;
}  // namespace rflags

namespace cr0 {
inline constexpr std::uint64_t protection = 1u << 0;
inline constexpr std::uint64_t monitor = 1u << 1;
inline constexpr std::uint64_t emulation = 1u << 2;
inline constexpr std::uint64_t task_switched = 1u << 3;
inline constexpr std::uint64_t extension_type = 1u << 4;
inline constexpr std::uint64_t numeric_error = 1u << 5;
inline constexpr std::uint64_t write_protect = 1u << 16;
inline constexpr std::uint64_t alignment_mask = 1u << 18;
inline constexpr std::uint64_t not_write_through = 1u << 29;
inline constexpr std::uint64_t cache_disable = 1u << 30;
inline constexpr std::uint64_t paging = 1u << 31;
}  // namespace cr0

namespace cr4 {
inline constexpr std::uint64_t virtual_8086_extensions = 1u << 0;
inline constexpr std::uint64_t protected_virtual_interrupts = 1u << 1;
inline constexpr std::uint64_t time_stamp_disable = 1u << 2;
inline constexpr std::uint64_t debugging_extensions = 1u << 3;
inline constexpr std::uint64_t page_size_extensions = 1u << 4;
inline constexpr std::uint64_t physical_address_extension = 1u << 5;
inline constexpr std::uint64_t machine_check = 1u << 6;
inline constexpr std::uint64_t page_global = 1u << 7;
inline constexpr std::uint64_t performance_counters = 1u << 8;
inline constexpr std::uint64_t osfxsr = 1u << 9;
inline constexpr std::uint64_t osxmmexcpt = 1u << 10;
inline constexpr std::uint64_t fsgsbase = 1u << 16;
inline constexpr std::uint64_t process_context = 1u << 17;
inline constexpr std::uint64_t osxsave = 1u << 18;
inline constexpr std::uint64_t smep = 1u << 20;
inline constexpr std::uint64_t smap = 1u << 21;
}  // namespace cr4

// MSR C000_0080.
namespace efer {
inline constexpr std::uint64_t syscall = 1u << 0;
inline constexpr std::uint64_t long_mode_enable = 1u << 8;
inline constexpr std::uint64_t long_mode_active = 1u << 10;
inline constexpr std::uint64_t no_execute = 1u << 11;
inline constexpr std::uint64_t secure_vm = 1u << 12;
inline constexpr std::uint64_t long_mode_limits = 1u << 13;
inline constexpr std::uint64_t fast_fxsave = 1u << 14;
inline constexpr std::uint64_t automatic_ibrs = 1u << 21;
}  // namespace efer

// The attributes of a descriptor, bits 55:52 and 47:40 put together, as the VMCB has them: APM vol. 2,
// 15.5.1.
struct SegmentAttributes : Register<SegmentAttributes, std::uint16_t> {
  using Granularity = Field<11, 11, bool>;
  using Big = Field<10, 10, bool>;  // D of code, B of data
  using Long = Field<9, 9, bool>;   // L of code
  using Available = Field<8, 8, bool>;
  using Present = Field<7, 7, bool>;
  using Dpl = Field<6, 5, std::uint8_t>;
  using Memory = Field<4, 4, bool>;  // S: code or data, not a system segment
  using Type = Field<3, 0, std::uint8_t>;
  using Code = Field<3, 3, bool>;
  using Conforming = Field<2, 2, bool>;  // of code
  using Down = Field<2, 2, bool>;        // of data: expands down
  using Readable = Field<1, 1, bool>;    // of code
  using Writable = Field<1, 1, bool>;    // of data
  using Accessed = Field<0, 0, bool>;

  friend constexpr bool operator==(SegmentAttributes a, SegmentAttributes b) { return a.raw == b.raw; }
};

struct SegmentRegister {
  std::uint16_t selector = 0;
  SegmentAttributes attributes;
  std::uint32_t limit = 0;
  std::uint64_t base = 0;

  void transfer(StateStream& s) { s(selector, attributes, limit, base); }
  friend constexpr bool operator==(const SegmentRegister&, const SegmentRegister&) = default;
};

struct TableRegister {
  std::uint64_t base = 0;
  std::uint16_t limit = 0;

  void transfer(StateStream& s) { s(base, limit); }
  friend constexpr bool operator==(const TableRegister&, const TableRegister&) = default;
};

struct Registers {
  std::array<std::uint64_t, 16> gpr{};  // by isa::Gpr
  std::uint64_t rip = 0;
  std::uint64_t rflags = rflags::always_one;
  std::array<SegmentRegister, 6> segments;  // by isa::Segment
  SegmentRegister ldtr;
  SegmentRegister tr;
  TableRegister gdtr;
  TableRegister idtr;
  std::uint64_t cr0 = 0;
  std::uint64_t cr2 = 0;
  std::uint64_t cr3 = 0;
  std::uint64_t cr4 = 0;
  std::uint64_t efer = 0;

  [[nodiscard]] SegmentRegister& segment(isa::Segment which) {
    return segments[static_cast<std::size_t>(which)];
  }
  [[nodiscard]] const SegmentRegister& segment(isa::Segment which) const {
    return segments[static_cast<std::size_t>(which)];
  }
  [[nodiscard]] std::uint64_t& operator[](isa::Gpr reg) { return gpr[static_cast<std::size_t>(reg)]; }
  [[nodiscard]] std::uint64_t operator[](isa::Gpr reg) const { return gpr[static_cast<std::size_t>(reg)]; }

  // 0 to 3: SS's DPL, as AMD keeps it.
  [[nodiscard]] unsigned cpl() const {
    return segment(isa::Segment::ss).attributes.get<SegmentAttributes::Dpl>();
  }
  friend constexpr bool operator==(const Registers&, const Registers&) = default;
};

// DR0 to DR3, DR6, DR7: APM vol. 2, 13.1.1.
struct DebugRegisters {
  std::array<std::uint64_t, 4> breakpoints{};
  std::uint64_t status = 0;   // DR6
  std::uint64_t control = 0;  // DR7
};

// Places in FXSAVE's image: APM vol. 2, figure 11-8.
namespace fxsave {
inline constexpr std::size_t control_at = 0;  // FCW
inline constexpr std::size_t status_at = 2;   // FSW
inline constexpr std::size_t tags_at = 4;     // FTW, a bit for each register: not empty
inline constexpr std::size_t mxcsr_at = 24;
inline constexpr std::size_t mxcsr_mask_at = 28;
inline constexpr std::size_t st_at = 32;  // ST(0) first, 16 bytes each
inline constexpr std::size_t xmm_at = 160;
}  // namespace fxsave

// Flat segments of a program loader: base 0, limit 4 GiB, CPL 0.
[[nodiscard]] constexpr SegmentRegister flat_code_64(std::uint16_t selector) {
  return {selector, SegmentAttributes{{0xa9b}}, 0xffff'ffff, 0};
}
[[nodiscard]] constexpr SegmentRegister flat_code_32(std::uint16_t selector) {
  return {selector, SegmentAttributes{{0xc9b}}, 0xffff'ffff, 0};
}
[[nodiscard]] constexpr SegmentRegister flat_data(std::uint16_t selector) {
  return {selector, SegmentAttributes{{0xc93}}, 0xffff'ffff, 0};
}

}  // namespace cbit::cpu
