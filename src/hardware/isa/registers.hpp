// The registers that instructions name, and where the IR finds them.
//
// A RegisterFile holds all that straight-line code works on, by byte offset ("slot"): general registers,
// segment bases, temporaries, vectors. An 8-bit register is a byte of its slot, AH a byte higher. Interpreter
// and JIT use the same offsets; the processor's state begins with a RegisterFile.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace cbit::isa {

// In the order of their encodings: APM vol. 3, tables 1-10, 1-14.
enum class Gpr : std::uint8_t {
  rax,
  rcx,
  rdx,
  rbx,
  rsp,
  rbp,
  rsi,
  rdi,
  r8,
  r9,
  r10,
  r11,
  r12,
  r13,
  r14,
  r15
};
enum class Segment : std::uint8_t { es, cs, ss, ds, fs, gs };

// Conditions in the order of their encodings, by Zydis's names: APM vol. 3, table 1-4 (Jcc, CMOVcc, SETcc).
enum class Cond : std::uint8_t { o, no, b, nb, z, nz, be, nbe, s, ns, p, np, l, nl, le, nle };

struct alignas(16) Xmm {
  std::array<std::uint64_t, 2> quads{};
  friend bool operator==(const Xmm&, const Xmm&) = default;
};

struct RegisterFile {
  static constexpr unsigned temps = 8;
  static constexpr unsigned xmm_temps = 2;

  std::array<std::uint64_t, 16> gpr{};
  std::uint64_t zero = 0;  // never written
  // What RIP is at the first byte of the page that runs. An instruction's RIP is this plus its offset, so
  // that code does not depend on where it is mapped.
  std::uint64_t page = 0;
  std::array<std::uint64_t, 6> segment_base{};
  std::array<std::uint64_t, temps> temp{};
  std::array<Xmm, 16> xmm{};
  std::array<Xmm, xmm_temps> xmm_temp{};
};
static_assert(std::is_standard_layout_v<RegisterFile>);

using Slot = std::uint16_t;

inline constexpr Slot slot_zero = offsetof(RegisterFile, zero);
inline constexpr Slot slot_page = offsetof(RegisterFile, page);

[[nodiscard]] constexpr Slot slot_of(Gpr reg) {
  return static_cast<Slot>(offsetof(RegisterFile, gpr) + 8 * static_cast<unsigned>(reg));
}
[[nodiscard]] constexpr Slot slot_of(Segment segment) {
  return static_cast<Slot>(offsetof(RegisterFile, segment_base) + 8 * static_cast<unsigned>(segment));
}
[[nodiscard]] constexpr Slot slot_of_temp(unsigned number) {
  return static_cast<Slot>(offsetof(RegisterFile, temp) + 8 * number);
}
[[nodiscard]] constexpr Slot slot_of_xmm(unsigned number) {
  return static_cast<Slot>(offsetof(RegisterFile, xmm) + 16 * number);
}
[[nodiscard]] constexpr Slot slot_of_xmm_temp(unsigned number) {
  return static_cast<Slot>(offsetof(RegisterFile, xmm_temp) + 16 * number);
}

// The status flags: APM vol. 1, 3.1.4.
inline constexpr std::uint32_t flag_cf = 1u << 0;
inline constexpr std::uint32_t flag_pf = 1u << 2;
inline constexpr std::uint32_t flag_af = 1u << 4;
inline constexpr std::uint32_t flag_zf = 1u << 6;
inline constexpr std::uint32_t flag_sf = 1u << 7;
inline constexpr std::uint32_t flag_of = 1u << 11;
inline constexpr std::uint32_t status_flags = flag_cf | flag_pf | flag_af | flag_zf | flag_sf | flag_of;

// How the status flags are kept between the operation that sets them and one that asks for them: the
// operation, and two words. Values of fewer than 64 bits are sign-extended, which keeps both signed and
// unsigned order.
//
//   sub8..sub64  of a - b: word_a = a, word_b = b (CMP, NEG; AND, OR, XOR, TEST as result - 0)
//   add8..add64  of a + b: word_a = a + b, word_b = b
//   result       SF, ZF, PF are those of word_a; CF, AF, OF are bits of word_b in their places
//   flags        all six are bits of word_b in their places
enum class FlagKind : std::uint8_t { sub8, sub16, sub32, sub64, add8, add16, add32, add64, result, flags };

}  // namespace cbit::isa
