// The x87 unit: its registers, and what each instruction makes of them. Memory is the caller's: loads take
// values, stores give them.
//
//   if (x87.pending()) …                        // #MF, before every instruction but the FN… ones
//   const auto store = x87.fst<Float32>();      // nothing has changed yet: the write may still fault
//   if (store.writes) …                         // write store.value
//   x87.finish(store, Pops::one);               // FSTP
//
// Exceptions that are not masked are kept in the status word, as on the processor: registers are then as the
// manual says, and pending() is true. Results that the manuals leave undefined are those of AMD's family 1Ah;
// they are marked as such where they stand.
//
// Left to the caller: CR0.EM, TS, NE; instruction and data pointers are noted by note_instruction() and
// note_data(). One processor's unit, one thread. Sources: AMD APM vol. 1, chapter 6, and vol. 5; Intel SDM
// vol. 1, chapter 8.
#pragma once

#include <array>
#include <cstdint>

#include "base/bytes.hpp"
#include "base/reg.hpp"
#include "cpu/fp/environment.hpp"
#include "cpu/fp/formats.hpp"
#include "cpu/fp/softfloat.hpp"
#include "cpu/fp/vec.hpp"

namespace cbit::cpu::fp {

// APM vol. 1, 6.2.3.
struct X87Control : Register<X87Control, std::uint16_t> {
  using InfinityBit = Field<12, 12, bool>;  // no effect since the 80387
  using RoundingControl = Field<11, 10, RoundingMode>;
  using PrecisionControl = Field<9, 8>;  // 0: 24 bits, 2: 53, 3: 64
  using Masks = Field<5, 0, Exceptions>;
};

// APM vol. 1, 6.2.2.
struct X87Status : Register<X87Status, std::uint16_t> {
  using Busy = Field<15, 15, bool>;  // as ErrorSummary
  using C3 = Field<14, 14, bool>;
  using Top = Field<13, 11, unsigned>;
  using C2 = Field<10, 10, bool>;
  using C1 = Field<9, 9, bool>;
  using C0 = Field<8, 8, bool>;
  using ErrorSummary = Field<7, 7, bool>;
  using StackFault = Field<6, 6, bool>;
  using Flags = Field<5, 0, Exceptions>;
};

struct X87State {
  std::array<Float80, 8> registers{};  // by physical number: ST(i) is registers[(Top + i) % 8]
  X87Control control{{0x037f}};
  X87Status status;
  std::uint8_t in_use = 0;   // bit n: physical register n is not empty (FXSAVE's tag byte)
  std::uint16_t opcode = 0;  // of the last instruction that was no control instruction: bits 10:0
  std::uint16_t code_segment = 0;
  std::uint16_t data_segment = 0;
  std::uint64_t instruction_pointer = 0;
  std::uint64_t data_pointer = 0;
};

enum class Pops : std::uint8_t { none, one, two };

enum class X87Arithmetic : std::uint8_t {
  add,
  multiply,
  subtract,
  subtract_reversed,
  divide,
  divide_reversed
};

// FLD1, FLDL2T, FLDL2E, FLDPI, FLDLG2, FLDLN2, FLDZ, in the order of their opcodes.
enum class X87Constant : std::uint8_t { one, log2_10, log2_e, pi, log10_2, ln_2, zero };

// A value on its way to memory.
template <class T>
struct X87Store {
  T value{};
  bool writes = false;  // false: an unmasked exception, memory and stack stay as they are
  Environment outcome;
  bool stack_fault = false;
};

// Layouts of FNSTENV, FNSAVE. Long mode uses the protected ones.
enum class X87Layout : std::uint8_t { protected_16, protected_32, real_16, real_32 };

class X87 {
 public:
  X87State state;

  // An unmasked exception waits: the next waiting instruction, or MMX instruction, raises #MF.
  [[nodiscard]] bool pending() const { return state.status.get<X87Status::ErrorSummary>(); }

  void note_instruction(std::uint16_t opcode, std::uint16_t code_segment, std::uint64_t instruction_pointer) {
    state.opcode = opcode & 0x7ff;
    state.code_segment = code_segment;
    state.instruction_pointer = instruction_pointer;
  }
  void note_data(std::uint16_t data_segment, std::uint64_t data_pointer) {
    state.data_segment = data_segment;
    state.data_pointer = data_pointer;
  }

  // --- Loads.
  void fld(Float32 value);
  void fld(Float64 value);
  void fld(Float80 value);
  void fld_register(unsigned i);
  void fld_constant(X87Constant constant);
  void fild(std::int64_t value);  // sign-extended
  void fbld(const PackedDecimal& value);

  // --- Stores. FST m, FSTP m with T = Float32, Float64, Float80.
  template <Format T>
  [[nodiscard]] X87Store<T> fst() const;
  // FIST, FISTP, FISTTP (truncate) with T = std::int16_t, std::int32_t, std::int64_t.
  template <class T>
  [[nodiscard]] X87Store<T> fist(bool truncate = false) const;
  [[nodiscard]] X87Store<PackedDecimal> fbstp() const;
  template <class T>
  void finish(const X87Store<T>& store, Pops pops) {
    finish_store(store.outcome, store.stack_fault, store.writes, pops);
  }
  void fst_register(unsigned i, Pops pops);

  // --- Arithmetic. ST(dst) := ST(dst) op ST(src); reversed: ST(src) op ST(dst).
  void arithmetic(X87Arithmetic operation, unsigned dst, unsigned src, Pops pops = Pops::none);
  // ST(0) with memory: a Float32, a Float64, or Unpacked::from_integer().
  void arithmetic(X87Arithmetic operation, const Unpacked& memory);
  void fsqrt();
  void fabs();
  void fchs();
  void frndint();
  void fscale();
  void fxtract();
  void fprem(Quotient how);  // FPREM: truncated, FPREM1: nearest

  // --- Comparison. FCOM, FCOMP, FCOMPP, FUCOM…: into C3, C2, C0.
  void compare(Comparison how, unsigned i, Pops pops);
  void compare(const Unpacked& memory, Pops pops);
  // FCOMI…: ZF, PF, CF in EFLAGS' places; OF, SF, AF become 0.
  std::uint32_t compare_to_flags(Comparison how, unsigned i, Pops pops);
  void ftst();
  void fxam();

  // --- Transcendental. Off by less than one unit in the last place.
  void f2xm1();
  void fyl2x();
  void fyl2xp1();
  void fptan();
  void fpatan();
  void fsin();
  void fcos();
  void fsincos();

  // --- Stack.
  void fxch(unsigned i);
  void fcmov(bool condition, unsigned i);          // the condition is the caller's to test
  void ffree(unsigned i, Pops pops = Pops::none);  // with one: FFREEP
  void fincstp();
  void fdecstp();

  // --- Control.
  void fninit();
  void fnclex();
  void fldcw(std::uint16_t value);
  [[nodiscard]] std::uint16_t fnstcw() const { return state.control.raw; }
  [[nodiscard]] std::uint16_t fnstsw() const { return state.status.raw; }

  // --- Images. FNSTENV is 14 or 28 bytes, FNSAVE 94 or 108. What these instructions do to the unit after
  // they have stored, they do in mask_all() and fninit(), so that a store may still fault.
  [[nodiscard]] static std::size_t environment_size(X87Layout layout);
  void store_environment(ByteSpan image, X87Layout layout) const;
  void mask_all();  // FNSTENV
  void fldenv(ConstByteSpan image, X87Layout layout);
  void store_registers(
      ByteSpan image) const;                 // 80 bytes, ST(0) first: what FNSAVE has behind the environment
  void load_registers(ConstByteSpan image);  // after fldenv(): FRSTOR

  // x87's part of FXSAVE's and XSAVE's legacy area: bytes 23:0 and 159:32. wide: with REX.W, pointers have 64
  // bits and no selectors.
  void fxsave(ByteSpan image, bool wide) const;
  void fxrstor(ConstByteSpan image, bool wide);

  // --- MMX. Every MMX instruction but EMMS calls enter_mmx() first.
  void enter_mmx();
  [[nodiscard]] Vec64 mmx(unsigned i) const { return {{state.registers[i % 8].significand}}; }
  void set_mmx(unsigned i, const Vec64& value) { state.registers[i % 8] = {value.quads[0], 0xffff}; }
  void emms();

 private:
  [[nodiscard]] unsigned physical(unsigned i) const { return (state.status.get<X87Status::Top>() + i) % 8; }
  [[nodiscard]] bool is_empty(unsigned i) const { return (state.in_use >> physical(i) & 1) == 0; }
  [[nodiscard]] Float80 st(unsigned i) const { return state.registers[physical(i)]; }
  void set_st(unsigned i, Float80 value) {
    state.registers[physical(i)] = value;
    state.in_use = static_cast<std::uint8_t>(state.in_use | 1u << physical(i));
  }
  void move_top(int by) {
    const unsigned top = state.status.get<X87Status::Top>();
    state.status = state.status.with<X87Status::Top>((top + static_cast<unsigned>(by)) & 7);
  }
  void push(Float80 value) {
    move_top(-1);
    set_st(0, value);
  }
  void pop(Pops pops) {
    for (int left = static_cast<int>(pops); left > 0; --left) {
      state.in_use = static_cast<std::uint8_t>(state.in_use & ~(1u << physical(0)));
      move_top(1);
    }
  }

  [[nodiscard]] Environment environment() const {
    // By the field PC; 1 is reserved, and means extended precision here.
    constexpr std::array<std::uint8_t, 4> significand_bits_of = {24, 64, 53, 64};
    return {.rounding = state.control.get<X87Control::RoundingControl>(),
            .significand_bits = significand_bits_of[state.control.get<X87Control::PrecisionControl>()],
            .masked = state.control.get<X87Control::Masks>()};
  }
  [[nodiscard]] bool is_masked(Exceptions which) const {
    return (state.control.get<X87Control::Masks>() & which) != 0;
  }
  void raise(Exceptions which);
  void summarize_errors();
  void set_c1(bool value) { state.status = state.status.with<X87Status::C1>(value); }
  void set_conditions(bool c3, bool c2, bool c0);
  bool stack_underflow();
  bool stack_overflow();
  // Takes over flags and C1. Whether there is a result: an unmasked precomputation exception leaves the
  // operands.
  bool commit(const Environment& env) {
    set_c1(env.rounded_up);
    if (env.raised == 0) return true;
    raise(env.raised);
    return (env.unmasked() & precomputation) == 0;
  }
  void load(Float80 value, const Environment& env);
  template <Format F>
  void fld_converted(F value);
  void finish_store(const Environment& env, bool stack_fault, bool writes, Pops pops);
  bool is_out_of_range(bool pushes);
  void compare_with(const Unpacked* other, Comparison how, Pops pops);
  template <class Function>
  void unary(Function function);
  template <class Function>
  void binary_and_pop(Function function);
  template <class Function>
  void unary_and_push(Function function);
};

}  // namespace cbit::cpu::fp
