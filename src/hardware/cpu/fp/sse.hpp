// MMX and SSE to SSE4.2: what each operation makes of its operands. Neither registers nor memory, only
// values.
//
//   const SseRow& row = sse_row(SseOp::addps);
//   const Vec128 result = row.xmm(destination, source, immediate, context);
//   if (context.exception) …  // #XM: the destination keeps its value, MXCSR has its new flags
//
// Operands: `dst` is the first operand as it was, `src` the second, as wide as it is in the manual and
// extended by zeros; a general register is lane 0 of either. An operation on one lane returns the others as
// the manual says, so that the result is always the whole register. Of operations whose row says so the
// result is a general register (lane 0 of the result, zero-extended) or EFLAGS (context.flags).
//
// Shifts take their count from `src`, as their register form does; for the form with an immediate it is
// {immediate, 0}. MMX forms work on 64 bits (row.mmx); conversions between MMX and XMM registers are in
// row.xmm, with the MMX register in the lower half.
//
// Left to the caller: loads, stores and their alignment, MASKMOVDQU's and MASKMOVQ's stores, MMX's effect on
// the x87 state (x87.hpp), CR4.OSFXSR and CR0.
//
// Pure functions of their arguments; any thread. Sources: AMD APM vol. 4 and vol. 5, Intel SDM vol. 2.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/reg.hpp"
#include "cpu/fp/environment.hpp"
#include "cpu/fp/vec.hpp"

namespace cbit::cpu::fp {

// APM vol. 1, 4.2.2. Bits 31:18 and 16 are reserved: LDMXCSR and FXRSTOR fault (#GP) if one is set.
struct Mxcsr : Register<Mxcsr, std::uint32_t> {
  using MisalignedMode = Field<17, 17, bool>;  // AMD only, CPUID 8000_0001 ECX[7]
  using FlushToZero = Field<15, 15, bool>;
  using RoundingControl = Field<14, 13, RoundingMode>;
  using Masks = Field<12, 7, Exceptions>;
  using DenormalsAreZero = Field<6, 6, bool>;
  using Flags = Field<5, 0, Exceptions>;
};
inline constexpr Mxcsr mxcsr_at_reset{{0x1f80}};
inline constexpr std::uint32_t mxcsr_mask = 0xffff;  // what can be set without MisalignedMode

struct SseContext {
  Mxcsr mxcsr = mxcsr_at_reset;  // flags accumulate
  bool exception = false;        // set by an unmasked exception, never cleared here

  Vec128 xmm0{};                   // mask of BLENDVPS, BLENDVPD, PBLENDVB
  std::int64_t first_length = 0;   // RAX of PCMPESTRI and PCMPESTRM; sign-extended EAX without REX.W
  std::int64_t second_length = 0;  // RDX or EDX

  std::uint32_t flags = 0;  // CF, PF, AF, ZF, SF, OF in EFLAGS' places, all six defined
};

// In each line: what the manuals' tables group. A suffix _q is a general register of 64 bits (REX.W).
enum class SseOp : std::uint16_t {
  // clang-format off
  // Packed integers.
  paddb, paddw, paddd, paddq, paddsb, paddsw, paddusb, paddusw,
  psubb, psubw, psubd, psubq, psubsb, psubsw, psubusb, psubusw,
  pmulhw, pmullw, pmulhuw, pmuludq, pmaddwd, pmaddubsw, pmulhrsw, pmulld, pmuldq,
  pavgb, pavgw, psadbw, mpsadbw, phminposuw,
  pmaxub, pmaxsw, pmaxsb, pmaxuw, pmaxud, pmaxsd, pminub, pminsw, pminsb, pminuw, pminud, pminsd,
  pcmpeqb, pcmpeqw, pcmpeqd, pcmpeqq, pcmpgtb, pcmpgtw, pcmpgtd, pcmpgtq,
  psignb, psignw, psignd, pabsb, pabsw, pabsd,
  phaddw, phaddd, phaddsw, phsubw, phsubd, phsubsw,
  psllw, pslld, psllq, psrlw, psrld, psrlq, psraw, psrad,
  pand, pandn, por, pxor, ptest,

  // Order and size of lanes, of integers or floats alike.
  pslldq, psrldq, palignr, pshufb, pshufw, pshufd, pshuflw, pshufhw, shufps, shufpd,
  packsswb, packssdw, packuswb, packusdw,
  punpcklbw, punpcklwd, punpckldq, punpcklqdq, punpckhbw, punpckhwd, punpckhdq, punpckhqdq,
  unpcklps, unpckhps, unpcklpd, unpckhpd,
  pblendw, pblendvb, blendps, blendpd, blendvps, blendvpd,
  pmovsxbw, pmovsxbd, pmovsxbq, pmovsxwd, pmovsxwq, pmovsxdq,
  pmovzxbw, pmovzxbd, pmovzxbq, pmovzxwd, pmovzxwq, pmovzxdq,
  pinsrb, pinsrw, pinsrd, pinsrq, pextrb, pextrw, pextrd, pextrq, insertps, extractps,
  pmovmskb, movmskps, movmskpd,
  movss, movsd, movq, movlps, movhps, movlhps, movhlps, movddup, movsldup, movshdup,

  // Floating point.
  addps, addss, addpd, addsd, subps, subss, subpd, subsd, mulps, mulss, mulpd, mulsd,
  divps, divss, divpd, divsd, minps, minss, minpd, minsd, maxps, maxss, maxpd, maxsd,
  sqrtps, sqrtss, sqrtpd, sqrtsd, rcpps, rcpss, rsqrtps, rsqrtss,
  haddps, haddpd, hsubps, hsubpd, addsubps, addsubpd, dpps, dppd,
  cmpps, cmpss, cmppd, cmpsd, comiss, comisd, ucomiss, ucomisd,
  roundps, roundss, roundpd, roundsd,
  cvtps2pd, cvtpd2ps, cvtss2sd, cvtsd2ss, cvtdq2ps, cvtdq2pd, cvtps2dq, cvttps2dq, cvtpd2dq, cvttpd2dq,
  cvtsi2ss, cvtsi2sd, cvtsi2ss_q, cvtsi2sd_q,
  cvtss2si, cvttss2si, cvtsd2si, cvttsd2si, cvtss2si_q, cvttss2si_q, cvtsd2si_q, cvttsd2si_q,
  cvtpi2ps, cvtpi2pd, cvtps2pi, cvttps2pi, cvtpd2pi, cvttpd2pi,

  // Strings.
  pcmpestri, pcmpestrm, pcmpistri, pcmpistrm,
  // clang-format on
  count
};

using XmmFunction = Vec128 (*)(const Vec128& dst, const Vec128& src, std::uint8_t imm, SseContext& context);
using MmxFunction = Vec64 (*)(const Vec64& dst, const Vec64& src, std::uint8_t imm, SseContext& context);

enum class SseResult : std::uint8_t {
  vector,
  general,            // lane 0 is a general register's new value
  flags,              // EFLAGS only
  vector_and_flags,   // PCMPxSTRM: to XMM0
  general_and_flags,  // PCMPxSTRI: to ECX
};

struct SseRow {
  SseOp op{};
  std::string_view name;
  XmmFunction xmm = nullptr;  // null: no such form
  MmxFunction mmx = nullptr;
  SseResult result = SseResult::vector;
};

[[nodiscard]] const SseRow& sse_row(SseOp op);

[[nodiscard]] inline Vec128 apply(SseOp op, const Vec128& dst, const Vec128& src, std::uint8_t imm,
                                  SseContext& context) {
  return sse_row(op).xmm(dst, src, imm, context);
}
[[nodiscard]] inline Vec64 apply(SseOp op, const Vec64& dst, const Vec64& src, std::uint8_t imm,
                                 SseContext& context) {
  return sse_row(op).mmx(dst, src, imm, context);
}

// CRC32: `bytes` (1, 2, 4 or 8) of data, lowest first, into the 32 bits of crc.
[[nodiscard]] std::uint32_t crc32(std::uint32_t crc, std::uint64_t data, unsigned bytes);

}  // namespace cbit::cpu::fp
