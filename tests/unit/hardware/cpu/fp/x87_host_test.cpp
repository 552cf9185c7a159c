// The x87 unit against the host's: registers, tags, control and status word after each instruction, from
// random states with every rounding mode, precision and mask.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "base/format.hpp"
#include "cpu/fp/sse.hpp"
#include "cpu/fp/x87.hpp"
#include "host_cpu.hpp"
#include "random_operands.hpp"

namespace cbit::cpu::fp::test {
namespace {

using X87Image = decltype(HostFrame::x87);

constexpr std::uint16_t c0 = 1 << 8, c1 = 1 << 9, c2 = 1 << 10, c3 = 1 << 14;
constexpr std::uint16_t c023 = c0 | c2 | c3;

// What an instruction has besides the stack.
struct Outside {
  Vec128 memory;
  std::uint64_t eflags = 0;

  template <class T>
  [[nodiscard]] T read() const {
    return memory.lane<T>(0);
  }
  [[nodiscard]] Float80 read_float80() const {
    return {memory.quads[0], static_cast<std::uint16_t>(memory.quads[1])};
  }
  [[nodiscard]] PackedDecimal read_packed_decimal() const {
    PackedDecimal value{};
    const auto bytes = memory.as<std::uint8_t>();
    std::copy_n(bytes.begin(), value.size(), value.begin());
    return value;
  }
  template <class T>
  void write(const T& value) {
    auto bytes = memory.as<std::uint8_t>();
    std::memcpy(bytes.data(), &value, std::min<std::size_t>(sizeof value, 10));
    memory = Vec128::of(bytes);
  }
};

template <class T>
void store_and_finish(X87& x87, Outside& outside, const X87Store<T>& store, Pops pops) {
  if (store.writes) outside.write(store.value);
  x87.finish(store, pops);
}

struct X87Case {
  const char* name;
  HostStub host;
  void (*model)(X87& x87, Outside& outside);
  std::uint16_t undefined = 0;                   // bits of the status word that the manuals leave undefined
  bool is_approximate = false;                   // one unit in the last place more or less
  bool (*is_defined)(const X87& x87) = nullptr;  // null: always
};

#define CBIT_X87(text, undefined, ...)                                                                      \
  X87Case {                                                                                                 \
    text, CBIT_HOST_STUB(text), [](X87& x87, [[maybe_unused]] Outside& outside) { __VA_ARGS__; }, undefined \
  }
#define CBIT_X87_FUNCTION(name, undefined, is_defined)                                                \
  X87Case {                                                                                           \
    #name, CBIT_HOST_STUB(#name), [](X87& x87, Outside&) { x87.name(); }, undefined, true, is_defined \
  }

int exponent_of(const X87& x87, unsigned i) {
  const unsigned n = (x87.state.status.get<X87Status::Top>() + i) % 8;
  return biased_exponent(x87.state.registers[n]) - exponent_bias<Float80>;
}
bool is_below_one(const X87& x87) { return exponent_of(x87, 0) < 0; }
bool is_below_quarter(const X87& x87) { return exponent_of(x87, 0) < -2; }
// A step of a partial remainder has no defined length.
bool is_remainder_whole(const X87& x87) { return exponent_of(x87, 0) - exponent_of(x87, 1) < 62; }

const std::vector<X87Case>& arithmetic_cases() {
  using A = X87Arithmetic;
  static const std::vector<X87Case> cases = {
      CBIT_X87("fadd st(0), st(1)", c023, x87.arithmetic(A::add, 0, 1)),
      CBIT_X87("fmul st(0), st(1)", c023, x87.arithmetic(A::multiply, 0, 1)),
      CBIT_X87("fsub st(0), st(1)", c023, x87.arithmetic(A::subtract, 0, 1)),
      CBIT_X87("fsubr st(0), st(1)", c023, x87.arithmetic(A::subtract_reversed, 0, 1)),
      CBIT_X87("fdiv st(0), st(1)", c023, x87.arithmetic(A::divide, 0, 1)),
      CBIT_X87("fdivr st(0), st(1)", c023, x87.arithmetic(A::divide_reversed, 0, 1)),
      CBIT_X87("fsubp st(1), st(0)", c023, x87.arithmetic(A::subtract, 1, 0, Pops::one)),
      CBIT_X87("fdivrp st(1), st(0)", c023, x87.arithmetic(A::divide_reversed, 1, 0, Pops::one)),
      CBIT_X87("fadd st(3), st(0)", c023, x87.arithmetic(A::add, 3, 0)),
      CBIT_X87("fadd dword ptr [rdi]", c023, x87.arithmetic(A::add, outside.read<Float32>())),
      CBIT_X87("fmul qword ptr [rdi]", c023, x87.arithmetic(A::multiply, outside.read<Float64>())),
      CBIT_X87("fsubr dword ptr [rdi]", c023, x87.arithmetic(A::subtract_reversed, outside.read<Float32>())),
      CBIT_X87("fdiv qword ptr [rdi]", c023, x87.arithmetic(A::divide, outside.read<Float64>())),
      CBIT_X87("fiadd word ptr [rdi]", c023,
               x87.arithmetic(A::add, Unpacked::from_integer(outside.read<std::int16_t>()))),
      CBIT_X87("fidivr dword ptr [rdi]", c023,
               x87.arithmetic(A::divide_reversed, Unpacked::from_integer(outside.read<std::int32_t>()))),
      CBIT_X87("fsqrt", c023, x87.fsqrt()),
      CBIT_X87("fabs", c023, x87.fabs()),
      CBIT_X87("fchs", c023, x87.fchs()),
      CBIT_X87("frndint", c023, x87.frndint()),
      CBIT_X87("fscale", c023, x87.fscale()),
      CBIT_X87("fxtract", c023, x87.fxtract()),
      X87Case{"fprem", CBIT_HOST_STUB("fprem"), [](X87& x87, Outside&) { x87.fprem(Quotient::truncated); },
              c0 | c1 | c3, false, is_remainder_whole},
      X87Case{"fprem1", CBIT_HOST_STUB("fprem1"), [](X87& x87, Outside&) { x87.fprem(Quotient::nearest); },
              c0 | c1 | c3, false, is_remainder_whole},
  };
  return cases;
}

const std::vector<X87Case>& comparison_cases() {
  static const std::vector<X87Case> cases = {
      CBIT_X87("fcom st(1)", 0, x87.compare(Comparison::ordered, 1, Pops::none)),
      CBIT_X87("fcomp st(2)", 0, x87.compare(Comparison::ordered, 2, Pops::one)),
      CBIT_X87("fcompp", 0, x87.compare(Comparison::ordered, 1, Pops::two)),
      CBIT_X87("fucom st(1)", 0, x87.compare(Comparison::unordered, 1, Pops::none)),
      CBIT_X87("fucompp", 0, x87.compare(Comparison::unordered, 1, Pops::two)),
      CBIT_X87("fcom dword ptr [rdi]", 0, x87.compare(outside.read<Float32>(), Pops::none)),
      CBIT_X87("fcomp qword ptr [rdi]", 0, x87.compare(outside.read<Float64>(), Pops::one)),
      CBIT_X87("ficomp dword ptr [rdi]", 0,
               x87.compare(Unpacked::from_integer(outside.read<std::int32_t>()), Pops::one)),
      CBIT_X87("fcomi st(0), st(1)", c023,
               outside.eflags = x87.compare_to_flags(Comparison::ordered, 1, Pops::none)),
      CBIT_X87("fucomip st(0), st(1)", c023,
               outside.eflags = x87.compare_to_flags(Comparison::unordered, 1, Pops::one)),
      CBIT_X87("ftst", 0, x87.ftst()),
      CBIT_X87("fxam", 0, x87.fxam()),
  };
  return cases;
}

Vec64 add_bytes(const Vec64& a, const Vec64& b) {
  SseContext context;
  return apply(SseOp::paddb, a, b, 0, context);
}

const std::vector<X87Case>& move_cases() {
  static const std::vector<X87Case> cases = {
    CBIT_X87("fld st(2)", c023, x87.fld_register(2)),
    CBIT_X87("fld dword ptr [rdi]", c023, x87.fld(outside.read<Float32>())),
    CBIT_X87("fld qword ptr [rdi]", c023, x87.fld(outside.read<Float64>())),
    CBIT_X87("fld tbyte ptr [rdi]", c023, x87.fld(outside.read_float80())),
    CBIT_X87("fild word ptr [rdi]", c023, x87.fild(outside.read<std::int16_t>())),
    CBIT_X87("fild dword ptr [rdi]", c023, x87.fild(outside.read<std::int32_t>())),
    CBIT_X87("fild qword ptr [rdi]", c023, x87.fild(outside.read<std::int64_t>())),
    CBIT_X87("fbld [rdi]", c023, x87.fbld(outside.read_packed_decimal())),
    CBIT_X87("fld1", c023, x87.fld_constant(X87Constant::one)),
    CBIT_X87("fldl2t", c023, x87.fld_constant(X87Constant::log2_10)),
    CBIT_X87("fldl2e", c023, x87.fld_constant(X87Constant::log2_e)),
    CBIT_X87("fldpi", c023, x87.fld_constant(X87Constant::pi)),
    CBIT_X87("fldlg2", c023, x87.fld_constant(X87Constant::log10_2)),
    CBIT_X87("fldln2", c023, x87.fld_constant(X87Constant::ln_2)),
    CBIT_X87("fldz", c023, x87.fld_constant(X87Constant::zero)),
    CBIT_X87("fst st(3)", c023, x87.fst_register(3, Pops::none)),
    CBIT_X87("fstp st(1)", c023, x87.fst_register(1, Pops::one)),
    CBIT_X87("fst dword ptr [rdi]", c023, store_and_finish(x87, outside, x87.fst<Float32>(), Pops::none)),
    CBIT_X87("fstp dword ptr [rdi]", c023, store_and_finish(x87, outside, x87.fst<Float32>(), Pops::one)),
    CBIT_X87("fst qword ptr [rdi]", c023, store_and_finish(x87, outside, x87.fst<Float64>(), Pops::none)),
    CBIT_X87("fstp tbyte ptr [rdi]", c023, store_and_finish(x87, outside, x87.fst<Float80>(), Pops::one)),
    CBIT_X87("fistp word ptr [rdi]", c023,
             store_and_finish(x87, outside, x87.fist<std::int16_t>(), Pops::one)),
    CBIT_X87("fist dword ptr [rdi]", c023,
             store_and_finish(x87, outside, x87.fist<std::int32_t>(), Pops::none)),
    CBIT_X87("fistp qword ptr [rdi]", c023,
             store_and_finish(x87, outside, x87.fist<std::int64_t>(), Pops::one)),
    CBIT_X87("fisttp word ptr [rdi]", c023,
             store_and_finish(x87, outside, x87.fist<std::int16_t>(true), Pops::one)),
    CBIT_X87("fisttp qword ptr [rdi]", c023,
             store_and_finish(x87, outside, x87.fist<std::int64_t>(true), Pops::one)),
    CBIT_X87("fbstp tbyte ptr [rdi]", c023, store_and_finish(x87, outside, x87.fbstp(), Pops::one)),
    CBIT_X87("fxch st(1)", c023, x87.fxch(1)),
    CBIT_X87("paddb mm0, mm1", 0, x87.enter_mmx(); x87.set_mmx(0, add_bytes(x87.mmx(0), x87.mmx(1)))),
    CBIT_X87("movd eax, mm3", 0, x87.enter_mmx()),
    CBIT_X87("emms", 0, x87.emms()),
    CBIT_X87("fcmovb st(0), st(1)", c023, x87.fcmov(outside.eflags % 2 != 0, 1)),
    CBIT_X87("fcmovnb st(0), st(1)", c023, x87.fcmov(outside.eflags % 2 == 0, 1)),
    CBIT_X87("ffree st(2)", c0 | c1 | c2 | c3, x87.ffree(2)),
    CBIT_X87("fincstp", c023, x87.fincstp()),
    CBIT_X87("fdecstp", c023, x87.fdecstp()),
    CBIT_X87("fnop", c0 | c1 | c2 | c3, static_cast<void>(x87)),
    CBIT_X87("fldcw [rdi]", c0 | c1 | c2 | c3, x87.fldcw(outside.read<std::uint16_t>())),
    CBIT_X87("fnclex", c0 | c1 | c2 | c3, x87.fnclex()),
    CBIT_X87("fninit", 0, x87.fninit()),
  };
  return cases;
}

// --- States.

void store_state(const X87& x87, X87Image& image) {
  const ByteSpan bytes = std::as_writable_bytes(std::span{image});
  x87.store_environment(bytes, X87Layout::protected_32);
  x87.store_registers(bytes.subspan(28));
}

X87 random_state(Random& random) {
  X87 x87;
  const std::uint64_t bits = random.next();
  auto control = static_cast<std::uint16_t>(bits & 0x1f3f);
  if (random.below(2) == 0 || !compares_undefined()) control |= all_exceptions;
  if ((control & 0x300) == 0x100) control |= 0x300;  // precision control 1 is reserved
  x87.fldcw(control);
  x87.state.status.raw = static_cast<std::uint16_t>(bits >> 16 & 0x7f00);
  if (random.below(4) == 0) x87.state.status.raw |= static_cast<std::uint16_t>(bits >> 32 & control & 0x3f);
  if (random.below(4) == 0) x87.state.status.raw |= 0x40;
  x87.state.in_use = static_cast<std::uint8_t>(random.below(4) == 0 ? bits >> 40 : 0xff);
  const unsigned top = x87.state.status.get<X87Status::Top>();
  if (random.below(2) == 0) x87.state.in_use &= static_cast<std::uint8_t>(~(1u << (top + 7) % 8));
  int exponent = 16383;
  for (unsigned n = 0; n < 8; ++n) {
    Float80& value = x87.state.registers[(top + n) % 8];
    value = random_float80(random, exponent);
    exponent = biased_exponent(value);
  }
  return x87;
}

Vec128 random_memory(Random& random) {
  Vec128 memory{{random_pattern(random), random.next()}};
  switch (random.below(4)) {
    case 0: return memory.with(0, random_float<Float32>(random));
    case 1: return memory.with(0, random_float<Float64>(random));
    case 2: {
      const Float80 value = random_float80(random);
      return {{value.significand, value.sign_exponent}};
    }
    default: return memory;
  }
}

Float80 load_float80(ConstByteSpan image, std::size_t offset) {
  return {load<std::uint64_t>(image, offset), load<std::uint16_t>(image, offset + 8)};
}

// Whether b has the next larger magnitude, from the largest denormal to the smallest normal number, too.
bool is_next(Float80 a, Float80 b) {
  const std::uint64_t next = a.significand + 1;
  const bool next_exponent = next == 0 || ((a.sign_exponent & 0x7fff) == 0 && next == integer_bit);
  return b.significand == (next == 0 ? integer_bit : next) &&
         b.sign_exponent == a.sign_exponent + (next_exponent ? 1 : 0);
}

std::string describe(const X87Image& image, const Vec128& memory, std::uint64_t eflags) {
  const ConstByteSpan bytes = std::as_bytes(std::span{image});
  std::string text =
      fmt::format("cw {:04x} sw {:04x} tw {:04x} flags {:02x} memory {:016x} {:016x}\n",
                  load<std::uint16_t>(bytes), load<std::uint16_t>(bytes, 4), load<std::uint16_t>(bytes, 8),
                  eflags & 0xff, memory.quads[0], memory.quads[1]);
  for (std::size_t i = 0; i < 8; ++i) {
    const Float80 value = load_float80(bytes, 28 + 10 * i);
    text += fmt::format("  st({}) {:04x} {:016x}\n", i, value.sign_exponent, value.significand);
  }
  return text;
}

constexpr std::uint64_t status_flags = 0x8d5;

// Instruction and data pointers are the caller's.
void blank_pointers(X87Image& image) { std::fill(&image[12], &image[28], std::uint8_t{0}); }

// Results next to each other count as equal, and so do then their tags, and whether they were rounded up.
void forgive_last_place(X87Image& ours, const X87Image& theirs) {
  for (std::size_t at = 28; at < 108; at += 10) {
    const Float80 a = load_float80(std::as_bytes(std::span{ours}), at);
    const Float80 b = load_float80(std::as_bytes(std::span{theirs}), at);
    if (!is_next(a, b) && !is_next(b, a)) continue;
    std::copy_n(&theirs[at], 10, &ours[at]);
    std::copy_n(&theirs[8], 2, &ours[8]);
  }
  ours[5] = static_cast<std::uint8_t>((ours[5] & ~(c1 >> 8)) | (theirs[5] & c1 >> 8));
}

// Undefined bits of the status word; of a function, also whether an exact result counts as inexact.
void blank_undefined(const X87Case& test, X87Image& image) {
  image[5] &= static_cast<std::uint8_t>(~(test.undefined >> 8));
  if (test.is_approximate) image[4] &= static_cast<std::uint8_t>(~(ue | pe));
}

bool agrees(const X87Case& test, const X87& before, const Vec128& memory) {
  HostFrame frame;
  store_state(before, frame.x87);
  frame.memory = memory;
  frame.eflags = before.state.registers[0].significand % 2 == 0 ? 0 : status_flags;
  const HostFrame start = frame;
  run_x87_on_host(frame, test.host);

  X87 x87 = before;
  Outside outside{memory, start.eflags};
  test.model(x87, outside);
  X87Image ours{};
  store_state(x87, ours);

  X87Image theirs = frame.x87;
  blank_pointers(ours);
  blank_pointers(theirs);
  if (test.is_approximate) forgive_last_place(ours, theirs);
  if (!compares_undefined()) {
    blank_undefined(test, ours);
    blank_undefined(test, theirs);
  }
  const bool same =
      ours == theirs && frame.memory == outside.memory && (frame.eflags & status_flags) == outside.eflags;
  EXPECT_TRUE(same) << test.name << "\nbefore " << describe(start.x87, start.memory, start.eflags)
                    << "ours   " << describe(ours, outside.memory, outside.eflags) << "host's "
                    << describe(theirs, frame.memory, frame.eflags);
  return same;
}

void compare_all(const std::vector<X87Case>& cases, std::uint64_t seed) {
  if (!host_has_x87()) GTEST_SKIP() << "the host has no x87 unit";
  Random random{seed};
  for (const X87Case& test : cases) {
    int failures = 0;
    for (std::uint64_t n = host_cases(20'000); n > 0 && failures < 3; --n) {
      const X87 before = random_state(random);
      if (!compares_undefined() && test.is_defined != nullptr && !test.is_defined(before)) continue;
      if (!agrees(test, before, random_memory(random))) ++failures;
    }
  }
}

const std::vector<X87Case>& transcendental_cases() {
  static const std::vector<X87Case> cases = {
      CBIT_X87_FUNCTION(f2xm1, c023, is_below_one),       CBIT_X87_FUNCTION(fyl2x, c023, nullptr),
      CBIT_X87_FUNCTION(fyl2xp1, c023, is_below_quarter), CBIT_X87_FUNCTION(fpatan, c023, nullptr),
      CBIT_X87_FUNCTION(fsin, c0 | c3, nullptr),          CBIT_X87_FUNCTION(fcos, c0 | c3, nullptr),
      CBIT_X87_FUNCTION(fsincos, c0 | c3, nullptr),       CBIT_X87_FUNCTION(fptan, c0 | c3, nullptr),
  };
  return cases;
}

TEST(X87AgainstHost, TakesTheSameFunctionsButForTheLastPlace) { compare_all(transcendental_cases(), 4); }
TEST(X87AgainstHost, ComputesTheSame) { compare_all(arithmetic_cases(), 1); }
TEST(X87AgainstHost, ComparesTheSame) { compare_all(comparison_cases(), 2); }
TEST(X87AgainstHost, MovesTheSame) { compare_all(move_cases(), 3); }

}  // namespace
}  // namespace cbit::cpu::fp::test
