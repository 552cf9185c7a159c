// Every MMX and SSE operation against the host's: result, MXCSR, EFLAGS and faults, on random operands with
// every rounding mode, with DAZ and FZ, and with exceptions unmasked.
#include <gtest/gtest.h>

#include <cstdio>

#include "base/format.hpp"
#include "cpu/fp/formats.hpp"
#include "cpu/fp/sse.hpp"
#include "host_cpu.hpp"
#include "random_operands.hpp"

namespace cbit::cpu::fp::test {
namespace {

// What lanes are filled with.
enum class Lane : std::uint8_t { integer, count, float32, float64 };

// Where the operands and the result are.
enum class Place : std::uint8_t {
  xmm,           // XMM0 op= XMM1
  to_general,    // RAX := op(XMM1)
  from_general,  // XMM0 op= RCX
  to_flags,      // EFLAGS := op(XMM0, XMM1)
  index,         // RCX, EFLAGS := op(XMM0, XMM1, RAX, RDX)
  mask,          // XMM0, EFLAGS := op(XMM0, XMM1, RAX, RDX)
  mmx,           // MM0 op= MM1
  mmx_to_general,
  mmx_from_general,
  xmm_from_mmx,  // XMM0 := op(MM1)
  mmx_from_xmm,  // MM0 := op(XMM1)
};

struct SseCase {
  SseOp op;
  const char* text;
  HostStub host;
  Lane lane = Lane::integer;
  Place place = Place::xmm;
  bool has_immediate = false;
};

#define CBIT_XMM(lane, op) {SseOp::op, #op, CBIT_HOST_STUB(#op " xmm0, xmm1\n\t"), Lane::lane}
#define CBIT_XMM_IMM(lane, op) \
  {SseOp::op, #op " imm", CBIT_HOST_STUBS(#op " $imm, %%xmm1, %%xmm0"), Lane::lane, Place::xmm, true}
#define CBIT_MMX(lane, op) \
  {SseOp::op, #op " mmx", CBIT_HOST_STUB(#op " mm0, mm1\n\t"), Lane::lane, Place::mmx}
#define CBIT_MMX_IMM(lane, op) \
  {SseOp::op, #op " mmx imm", CBIT_HOST_STUBS(#op " $imm, %%mm1, %%mm0"), Lane::lane, Place::mmx, true}
#define CBIT_BOTH(lane, op) CBIT_XMM(lane, op), CBIT_MMX(lane, op)
#define CBIT_PLACED(lane, place, op, text) \
  {SseOp::op, text, CBIT_HOST_STUB(text "\n\t"), Lane::lane, Place::place}
#define CBIT_PLACED_IMM(lane, place, op, text) \
  {SseOp::op, text, CBIT_HOST_STUBS(text), Lane::lane, Place::place, true}

const std::vector<SseCase>& integer_cases() {
  static const std::vector<SseCase> cases = {
      CBIT_BOTH(integer, paddb),
      CBIT_BOTH(integer, paddw),
      CBIT_BOTH(integer, paddd),
      CBIT_BOTH(integer, paddq),
      CBIT_BOTH(integer, paddsb),
      CBIT_BOTH(integer, paddsw),
      CBIT_BOTH(integer, paddusb),
      CBIT_BOTH(integer, paddusw),
      CBIT_BOTH(integer, psubb),
      CBIT_BOTH(integer, psubw),
      CBIT_BOTH(integer, psubd),
      CBIT_BOTH(integer, psubq),
      CBIT_BOTH(integer, psubsb),
      CBIT_BOTH(integer, psubsw),
      CBIT_BOTH(integer, psubusb),
      CBIT_BOTH(integer, psubusw),
      CBIT_BOTH(integer, pmulhw),
      CBIT_BOTH(integer, pmullw),
      CBIT_BOTH(integer, pmulhuw),
      CBIT_BOTH(integer, pmuludq),
      CBIT_BOTH(integer, pmaddwd),
      CBIT_BOTH(integer, pmaddubsw),
      CBIT_BOTH(integer, pmulhrsw),
      CBIT_XMM(integer, pmulld),
      CBIT_XMM(integer, pmuldq),
      CBIT_BOTH(integer, pavgb),
      CBIT_BOTH(integer, pavgw),
      CBIT_BOTH(integer, psadbw),
      CBIT_XMM_IMM(integer, mpsadbw),
      CBIT_XMM(integer, phminposuw),
      CBIT_BOTH(integer, pmaxub),
      CBIT_BOTH(integer, pmaxsw),
      CBIT_XMM(integer, pmaxsb),
      CBIT_XMM(integer, pmaxuw),
      CBIT_XMM(integer, pmaxud),
      CBIT_XMM(integer, pmaxsd),
      CBIT_BOTH(integer, pminub),
      CBIT_BOTH(integer, pminsw),
      CBIT_XMM(integer, pminsb),
      CBIT_XMM(integer, pminuw),
      CBIT_XMM(integer, pminud),
      CBIT_XMM(integer, pminsd),
      CBIT_BOTH(integer, pcmpeqb),
      CBIT_BOTH(integer, pcmpeqw),
      CBIT_BOTH(integer, pcmpeqd),
      CBIT_XMM(integer, pcmpeqq),
      CBIT_BOTH(integer, pcmpgtb),
      CBIT_BOTH(integer, pcmpgtw),
      CBIT_BOTH(integer, pcmpgtd),
      CBIT_XMM(integer, pcmpgtq),
      CBIT_BOTH(integer, psignb),
      CBIT_BOTH(integer, psignw),
      CBIT_BOTH(integer, psignd),
      CBIT_BOTH(integer, pabsb),
      CBIT_BOTH(integer, pabsw),
      CBIT_BOTH(integer, pabsd),
      CBIT_BOTH(integer, phaddw),
      CBIT_BOTH(integer, phaddd),
      CBIT_BOTH(integer, phaddsw),
      CBIT_BOTH(integer, phsubw),
      CBIT_BOTH(integer, phsubd),
      CBIT_BOTH(integer, phsubsw),
      CBIT_BOTH(count, psllw),
      CBIT_BOTH(count, pslld),
      CBIT_BOTH(count, psllq),
      CBIT_BOTH(count, psrlw),
      CBIT_BOTH(count, psrld),
      CBIT_BOTH(count, psrlq),
      CBIT_BOTH(count, psraw),
      CBIT_BOTH(count, psrad),
      CBIT_BOTH(integer, pand),
      CBIT_BOTH(integer, pandn),
      CBIT_BOTH(integer, por),
      CBIT_BOTH(integer, pxor),
      CBIT_PLACED(integer, to_flags, ptest, "ptest xmm0, xmm1"),
  };
  return cases;
}

const std::vector<SseCase>& lane_cases() {
  static const std::vector<SseCase> cases = {
      {SseOp::pslldq, "pslldq", CBIT_HOST_STUBS("pslldq $imm, %%xmm0"), Lane::integer, Place::xmm, true},
      {SseOp::psrldq, "psrldq", CBIT_HOST_STUBS("psrldq $imm, %%xmm0"), Lane::integer, Place::xmm, true},
      CBIT_XMM_IMM(integer, palignr),
      CBIT_MMX_IMM(integer, palignr),
      CBIT_BOTH(integer, pshufb),
      CBIT_MMX_IMM(integer, pshufw),
      CBIT_XMM_IMM(integer, pshufd),
      CBIT_XMM_IMM(integer, pshuflw),
      CBIT_XMM_IMM(integer, pshufhw),
      CBIT_XMM_IMM(integer, shufps),
      CBIT_XMM_IMM(integer, shufpd),
      CBIT_BOTH(integer, packsswb),
      CBIT_BOTH(integer, packssdw),
      CBIT_BOTH(integer, packuswb),
      CBIT_XMM(integer, packusdw),
      CBIT_BOTH(integer, punpcklbw),
      CBIT_BOTH(integer, punpcklwd),
      CBIT_BOTH(integer, punpckldq),
      CBIT_XMM(integer, punpcklqdq),
      CBIT_BOTH(integer, punpckhbw),
      CBIT_BOTH(integer, punpckhwd),
      CBIT_BOTH(integer, punpckhdq),
      CBIT_XMM(integer, punpckhqdq),
      CBIT_XMM(integer, unpcklps),
      CBIT_XMM(integer, unpckhps),
      CBIT_XMM(integer, unpcklpd),
      CBIT_XMM(integer, unpckhpd),
      CBIT_XMM_IMM(integer, pblendw),
      CBIT_XMM_IMM(integer, blendps),
      CBIT_XMM_IMM(integer, blendpd),
      CBIT_XMM(integer, pblendvb),
      CBIT_XMM(integer, blendvps),
      CBIT_XMM(integer, blendvpd),
      CBIT_XMM(integer, pmovsxbw),
      CBIT_XMM(integer, pmovsxbd),
      CBIT_XMM(integer, pmovsxbq),
      CBIT_XMM(integer, pmovsxwd),
      CBIT_XMM(integer, pmovsxwq),
      CBIT_XMM(integer, pmovsxdq),
      CBIT_XMM(integer, pmovzxbw),
      CBIT_XMM(integer, pmovzxbd),
      CBIT_XMM(integer, pmovzxbq),
      CBIT_XMM(integer, pmovzxwd),
      CBIT_XMM(integer, pmovzxwq),
      CBIT_XMM(integer, pmovzxdq),
      CBIT_PLACED_IMM(integer, from_general, pinsrb, "pinsrb $imm, %%ecx, %%xmm0"),
      CBIT_PLACED_IMM(integer, from_general, pinsrw, "pinsrw $imm, %%ecx, %%xmm0"),
      CBIT_PLACED_IMM(integer, from_general, pinsrd, "pinsrd $imm, %%ecx, %%xmm0"),
      CBIT_PLACED_IMM(integer, from_general, pinsrq, "pinsrq $imm, %%rcx, %%xmm0"),
      CBIT_PLACED_IMM(integer, mmx_from_general, pinsrw, "pinsrw $imm, %%ecx, %%mm0"),
      CBIT_PLACED_IMM(integer, to_general, pextrb, "pextrb $imm, %%xmm1, %%eax"),
      CBIT_PLACED_IMM(integer, to_general, pextrw, "pextrw $imm, %%xmm1, %%eax"),
      CBIT_PLACED_IMM(integer, to_general, pextrd, "pextrd $imm, %%xmm1, %%eax"),
      CBIT_PLACED_IMM(integer, to_general, pextrq, "pextrq $imm, %%xmm1, %%rax"),
      CBIT_PLACED_IMM(integer, to_general, extractps, "extractps $imm, %%xmm1, %%eax"),
      CBIT_PLACED_IMM(integer, mmx_to_general, pextrw, "pextrw $imm, %%mm1, %%eax"),
      CBIT_XMM_IMM(integer, insertps),
      CBIT_PLACED(integer, to_general, pmovmskb, "pmovmskb eax, xmm1"),
      CBIT_PLACED(integer, mmx_to_general, pmovmskb, "pmovmskb eax, mm1"),
      CBIT_PLACED(integer, to_general, movmskps, "movmskps eax, xmm1"),
      CBIT_PLACED(integer, to_general, movmskpd, "movmskpd eax, xmm1"),
      CBIT_XMM(integer, movss),
      CBIT_XMM(integer, movsd),
      CBIT_XMM(integer, movq),
      CBIT_XMM(integer, movlhps),
      CBIT_XMM(integer, movhlps),
      CBIT_XMM(integer, movddup),
      CBIT_XMM(integer, movsldup),
      CBIT_XMM(integer, movshdup),
      {SseOp::pcmpestri, "pcmpestri", CBIT_HOST_STUBS("pcmpestri $imm, %%xmm1, %%xmm0"), Lane::integer,
       Place::index, true},
      {SseOp::pcmpistri, "pcmpistri", CBIT_HOST_STUBS("pcmpistri $imm, %%xmm1, %%xmm0"), Lane::integer,
       Place::index, true},
      {SseOp::pcmpestrm, "pcmpestrm", CBIT_HOST_STUBS("pcmpestrm $imm, %%xmm1, %%xmm0"), Lane::integer,
       Place::mask, true},
      {SseOp::pcmpistrm, "pcmpistrm", CBIT_HOST_STUBS("pcmpistrm $imm, %%xmm1, %%xmm0"), Lane::integer,
       Place::mask, true},
  };
  return cases;
}

const std::vector<SseCase>& float_cases() {
  static const std::vector<SseCase> cases = {
      CBIT_XMM(float32, addps),
      CBIT_XMM(float32, addss),
      CBIT_XMM(float64, addpd),
      CBIT_XMM(float64, addsd),
      CBIT_XMM(float32, subps),
      CBIT_XMM(float32, subss),
      CBIT_XMM(float64, subpd),
      CBIT_XMM(float64, subsd),
      CBIT_XMM(float32, mulps),
      CBIT_XMM(float32, mulss),
      CBIT_XMM(float64, mulpd),
      CBIT_XMM(float64, mulsd),
      CBIT_XMM(float32, divps),
      CBIT_XMM(float32, divss),
      CBIT_XMM(float64, divpd),
      CBIT_XMM(float64, divsd),
      CBIT_XMM(float32, minps),
      CBIT_XMM(float32, minss),
      CBIT_XMM(float64, minpd),
      CBIT_XMM(float64, minsd),
      CBIT_XMM(float32, maxps),
      CBIT_XMM(float32, maxss),
      CBIT_XMM(float64, maxpd),
      CBIT_XMM(float64, maxsd),
      CBIT_XMM(float32, sqrtps),
      CBIT_XMM(float32, sqrtss),
      CBIT_XMM(float64, sqrtpd),
      CBIT_XMM(float64, sqrtsd),
      CBIT_XMM(float32, haddps),
      CBIT_XMM(float64, haddpd),
      CBIT_XMM(float32, hsubps),
      CBIT_XMM(float64, hsubpd),
      CBIT_XMM(float32, addsubps),
      CBIT_XMM(float64, addsubpd),
      CBIT_XMM_IMM(float32, dpps),
      CBIT_XMM_IMM(float64, dppd),
      CBIT_XMM_IMM(float32, cmpps),
      CBIT_XMM_IMM(float32, cmpss),
      CBIT_XMM_IMM(float64, cmppd),
      CBIT_XMM_IMM(float64, cmpsd),
      CBIT_PLACED(float32, to_flags, comiss, "comiss xmm0, xmm1"),
      CBIT_PLACED(float64, to_flags, comisd, "comisd xmm0, xmm1"),
      CBIT_PLACED(float32, to_flags, ucomiss, "ucomiss xmm0, xmm1"),
      CBIT_PLACED(float64, to_flags, ucomisd, "ucomisd xmm0, xmm1"),
  };
  return cases;
}

const std::vector<SseCase>& conversion_cases() {
  static const std::vector<SseCase> cases = {
      CBIT_XMM_IMM(float32, roundps),
      CBIT_XMM_IMM(float32, roundss),
      CBIT_XMM_IMM(float64, roundpd),
      CBIT_XMM_IMM(float64, roundsd),
      CBIT_XMM(float32, cvtps2pd),
      CBIT_XMM(float64, cvtpd2ps),
      CBIT_XMM(float32, cvtss2sd),
      CBIT_XMM(float64, cvtsd2ss),
      CBIT_XMM(integer, cvtdq2ps),
      CBIT_XMM(integer, cvtdq2pd),
      CBIT_XMM(float32, cvtps2dq),
      CBIT_XMM(float32, cvttps2dq),
      CBIT_XMM(float64, cvtpd2dq),
      CBIT_XMM(float64, cvttpd2dq),
      CBIT_PLACED(integer, from_general, cvtsi2ss, "cvtsi2ss xmm0, ecx"),
      CBIT_PLACED(integer, from_general, cvtsi2sd, "cvtsi2sd xmm0, ecx"),
      CBIT_PLACED(integer, from_general, cvtsi2ss_q, "cvtsi2ss xmm0, rcx"),
      CBIT_PLACED(integer, from_general, cvtsi2sd_q, "cvtsi2sd xmm0, rcx"),
      CBIT_PLACED(float32, to_general, cvtss2si, "cvtss2si eax, xmm1"),
      CBIT_PLACED(float32, to_general, cvttss2si, "cvttss2si eax, xmm1"),
      CBIT_PLACED(float64, to_general, cvtsd2si, "cvtsd2si eax, xmm1"),
      CBIT_PLACED(float64, to_general, cvttsd2si, "cvttsd2si eax, xmm1"),
      CBIT_PLACED(float32, to_general, cvtss2si_q, "cvtss2si rax, xmm1"),
      CBIT_PLACED(float32, to_general, cvttss2si_q, "cvttss2si rax, xmm1"),
      CBIT_PLACED(float64, to_general, cvtsd2si_q, "cvtsd2si rax, xmm1"),
      CBIT_PLACED(float64, to_general, cvttsd2si_q, "cvttsd2si rax, xmm1"),
      CBIT_PLACED(integer, xmm_from_mmx, cvtpi2ps, "cvtpi2ps xmm0, mm1"),
      CBIT_PLACED(integer, xmm_from_mmx, cvtpi2pd, "cvtpi2pd xmm0, mm1"),
      CBIT_PLACED(float32, mmx_from_xmm, cvtps2pi, "cvtps2pi mm0, xmm1"),
      CBIT_PLACED(float32, mmx_from_xmm, cvttps2pi, "cvttps2pi mm0, xmm1"),
      CBIT_PLACED(float64, mmx_from_xmm, cvtpd2pi, "cvtpd2pi mm0, xmm1"),
      CBIT_PLACED(float64, mmx_from_xmm, cvttpd2pi, "cvttpd2pi mm0, xmm1"),
  };
  return cases;
}

// --- Operands.

template <class F>
Vec128 random_floats(Random& random, const Vec128& near) {
  auto lanes = near.as<F>();
  for (F& lane : lanes) lane = random_float<F>(random, biased_exponent(lane));
  return Vec128::of(lanes);
}

Vec128 random_operand(Random& random, Lane lane, const Vec128* first) {
  // The exponents of ones, for the first operand.
  const Vec128 ones = lane == Lane::float32 ? Vec128{{0x3f8000003f800000, 0x3f8000003f800000}}
                                            : Vec128{{0x3ff0000000000000, 0x3ff0000000000000}};
  switch (lane) {
    case Lane::count:
      if (first != nullptr && random.below(8) != 0) return {{random.below(70), random.next()}};
      break;
    case Lane::float32: return random_floats<Float32>(random, first != nullptr ? *first : ones);
    case Lane::float64: return random_floats<Float64>(random, first != nullptr ? *first : ones);
    case Lane::integer: break;
  }
  Vec128 value{{random_pattern(random), random_pattern(random)}};
  if (first != nullptr && random.below(4) == 0) {  // some lanes alike
    for (std::size_t i = 0; i < 2; ++i) {
      const std::uint64_t mask = random_pattern(random);
      value.quads[i] = (value.quads[i] & mask) | (first->quads[i] & ~mask);
    }
  }
  if (random.below(4) == 0) {  // short strings of few letters
    auto bytes = value.as<std::uint8_t>();
    for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random.below(4));
    value = Vec128::of(bytes);
  }
  return value;
}

std::uint32_t random_mxcsr(Random& random, const SseCase& test) {
  const auto bits = static_cast<std::uint32_t>(random.next());
  std::uint32_t mxcsr = 0x1f80 | (bits & 0x6000);
  if (random.below(4) == 0) mxcsr |= bits & 0x3f;
  if (random.below(3) == 0) mxcsr |= bits & 0x8040;
  const bool floats = test.lane == Lane::float32 || test.lane == Lane::float64;
  if (floats && test.place <= Place::mask && random.below(16) == 0) mxcsr &= ~(bits >> 16 & 0x1f80);
  return mxcsr;
}

// --- Comparison.

void run_on_host(const SseCase& test, std::uint8_t imm, HostFrame& frame) {
  const HostStub stub = test.has_immediate ? with_immediate(test.host, imm) : test.host;
  test.place >= Place::mmx ? run_mmx_on_host(frame, stub) : run_sse_on_host(frame, stub);
}

struct Outcome {
  Vec128 value;
  std::uint32_t mxcsr = 0;
  std::uint32_t fault = 0;
  std::uint64_t flags = 0;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

constexpr std::uint64_t status_flags = 0x8d5;

Outcome outcome_of(const HostFrame& frame, Place place) {
  Outcome outcome{.mxcsr = frame.mxcsr, .fault = frame.fault};
  switch (place) {
    case Place::to_general:
    case Place::mmx_to_general: outcome.value = {{frame.rax, 0}}; break;
    case Place::index: outcome.value = {{frame.rcx, 0}}; break;
    case Place::mmx:
    case Place::mmx_from_general:
    case Place::mmx_from_xmm: outcome.value = {{frame.xmm1.quads[0], 0}}; break;
    default: outcome.value = frame.xmm0; break;
  }
  const bool flags = place == Place::to_flags || place == Place::index || place == Place::mask;
  if (flags) outcome.flags = frame.eflags & status_flags;
  return outcome;
}

Outcome outcome_of_model(const SseCase& test, std::uint8_t imm, const HostFrame& start) {
  SseContext context{.mxcsr = {{start.mxcsr}},
                     .xmm0 = start.xmm0,
                     .first_length = static_cast<std::int32_t>(start.rax),
                     .second_length = static_cast<std::int32_t>(start.rdx),
                     .flags = static_cast<std::uint32_t>(start.eflags)};
  const bool general_source = test.place == Place::from_general || test.place == Place::mmx_from_general;
  const Vec128 src = general_source ? Vec128{{start.rcx, 0}} : start.xmm1;
  Outcome outcome;
  if (test.place == Place::mmx || test.place == Place::mmx_to_general ||
      test.place == Place::mmx_from_general) {
    outcome.value = zero_extended(apply(test.op, low_half(start.xmm0), low_half(src), imm, context));
  } else {
    outcome.value = apply(test.op, start.xmm0, src, imm, context);
  }
  outcome.mxcsr = context.mxcsr.raw;
  outcome.fault = context.exception ? 1 : 0;
  if (context.exception && test.place == Place::to_general) outcome.value = {{start.rax, 0}};
  const bool flags = test.place == Place::to_flags || test.place == Place::index || test.place == Place::mask;
  if (flags) outcome.flags = context.flags;
  return outcome;
}

std::string describe(const Outcome& outcome) {
  return fmt::format("{:016x}{:016x} mxcsr {:04x} fault {} flags {:03x}", outcome.value.quads[1],
                     outcome.value.quads[0], outcome.mxcsr, outcome.fault, outcome.flags);
}

bool agrees(const SseCase& test, Random& random) {
  HostFrame frame;
  frame.xmm0 = random_operand(random, test.lane, nullptr);
  frame.xmm1 = random_operand(random, test.lane, &frame.xmm0);
  frame.mxcsr = random_mxcsr(random, test);
  frame.rax = random.below(4) == 0 ? random.next() : random.below(40) - 20;
  frame.rdx = random.below(4) == 0 ? random.next() : random.below(40) - 20;
  frame.rcx = random_pattern(random);
  frame.eflags = random.below(2) == 0 ? 0 : status_flags;
  const auto imm = static_cast<std::uint8_t>(random.next());
  const HostFrame start = frame;
  run_on_host(test, imm, frame);
  const Outcome theirs = outcome_of(frame, test.place);
  const Outcome ours = outcome_of_model(test, imm, start);
  EXPECT_EQ(ours, theirs) << fmt::format(
      "{} imm {:02x} mxcsr {:04x}\n  {:016x}{:016x}\n  {:016x}{:016x} rax {:x} rcx {:x} rdx {:x}\nours   "
      "{}\nhost's {}\n",
      test.text, imm, start.mxcsr, start.xmm0.quads[1], start.xmm0.quads[0], start.xmm1.quads[1],
      start.xmm1.quads[0], start.rax, start.rcx, start.rdx, describe(ours), describe(theirs));
  return ours == theirs;
}

void compare_all(const std::vector<SseCase>& cases, std::uint64_t seed) {
  if (!host_has_sse42()) GTEST_SKIP() << "the host has no SSE4.2";
  Random random{seed};
  for (const SseCase& test : cases) {
    int failures = 0;
    for (std::uint64_t n = host_cases(10'000); n > 0 && failures < 3; --n) {
      if (!agrees(test, random)) ++failures;
    }
  }
}

TEST(SseAgainstHost, ComputesIntegersTheSame) { compare_all(integer_cases(), 1); }
TEST(SseAgainstHost, MovesLanesTheSame) { compare_all(lane_cases(), 2); }
TEST(SseAgainstHost, ComputesFloatsTheSame) { compare_all(float_cases(), 3); }
TEST(SseAgainstHost, ConvertsTheSame) { compare_all(conversion_cases(), 4); }

}  // namespace
}  // namespace cbit::cpu::fp::test
