// x87: the images of its state in memory, and constants.
#include "base/assert.hpp"
#include "cpu/fp/rounding.hpp"
#include "cpu/fp/x87.hpp"

namespace cbit::cpu::fp {
namespace {

constexpr std::size_t register_bytes = 10;

Float80 load_register(ConstByteSpan image, std::size_t offset) {
  return {cbit::load<std::uint64_t>(image, offset), cbit::load<std::uint16_t>(image, offset + 8)};
}

void store_register(ByteSpan image, std::size_t offset, Float80 value) {
  store(image, offset, value.significand);
  store(image, offset + 8, value.sign_exponent);
}

// Two bits of the full tag word: APM vol. 1, 6.2.4.
unsigned tag_of(Float80 value) {
  enum Tag : unsigned { tag_valid, tag_zero, tag_special };
  switch (Unpacked{value}.kind) {
    case Kind::zero: return tag_zero;
    case Kind::normal: return tag_valid;
    default: return tag_special;
  }
}
constexpr unsigned tag_empty = 3;

std::uint16_t full_tags(const X87State& state) {
  unsigned tags = 0;
  for (unsigned n = 0; n < 8; ++n) {
    const bool used = (state.in_use >> n & 1) != 0;
    tags |= (used ? tag_of(state.registers[n]) : tag_empty) << (2 * n);
  }
  return static_cast<std::uint16_t>(tags);
}

std::uint8_t used_by(std::uint16_t tags) {
  unsigned used = 0;
  for (unsigned n = 0; n < 8; ++n) used |= (tags >> (2 * n) & 3) != tag_empty ? 1u << n : 0;
  return static_cast<std::uint8_t>(used);
}

// Real mode has linear addresses instead of selectors.
std::uint32_t linear(std::uint16_t segment, std::uint64_t offset) {
  return static_cast<std::uint32_t>(offset) + (std::uint32_t{segment} << 4);
}

template <class T>
void store_as(ByteSpan image, std::size_t offset, std::uint64_t value) {
  store(image, offset, static_cast<T>(value));
}

// The four layouts: SDM vol. 1, figures 8-9 to 8-12. Upper halves of 32-bit words that hold 16 bits are ones.
constexpr std::uint32_t unused_half = 0xffff'0000;

void store_words(ByteSpan image, const X87State& state) {
  store(image, 0, state.control.raw);
  store(image, 2, state.status.raw);
  store(image, 4, full_tags(state));
}

void store_doublewords(ByteSpan image, const X87State& state) {
  store(image, 0, unused_half | state.control.raw);
  store(image, 4, unused_half | state.status.raw);
  store(image, 8, unused_half | full_tags(state));
}

void store_protected_16(ByteSpan image, const X87State& state) {
  store_words(image, state);
  store_as<std::uint16_t>(image, 6, state.instruction_pointer);
  store(image, 8, state.code_segment);
  store_as<std::uint16_t>(image, 10, state.data_pointer);
  store(image, 12, state.data_segment);
}

void store_protected_32(ByteSpan image, const X87State& state) {
  store_doublewords(image, state);
  store_as<std::uint32_t>(image, 12, state.instruction_pointer);
  store_as<std::uint32_t>(image, 16, std::uint32_t{state.opcode} << 16 | state.code_segment);
  store_as<std::uint32_t>(image, 20, state.data_pointer);
  store_as<std::uint32_t>(image, 24, unused_half | state.data_segment);
}

void store_real_16(ByteSpan image, const X87State& state) {
  const std::uint32_t instruction = linear(state.code_segment, state.instruction_pointer);
  const std::uint32_t data = linear(state.data_segment, state.data_pointer);
  store_words(image, state);
  store_as<std::uint16_t>(image, 6, instruction);
  store_as<std::uint16_t>(image, 8, (instruction >> 16 & 0xf) << 12 | state.opcode);
  store_as<std::uint16_t>(image, 10, data);
  store_as<std::uint16_t>(image, 12, (data >> 16 & 0xf) << 12);
}

void store_real_32(ByteSpan image, const X87State& state) {
  const std::uint32_t instruction = linear(state.code_segment, state.instruction_pointer);
  const std::uint32_t data = linear(state.data_segment, state.data_pointer);
  store_doublewords(image, state);
  store(image, 12, unused_half | (instruction & 0xffff));
  store(image, 16, instruction >> 16 << 12 | state.opcode);
  store(image, 20, unused_half | (data & 0xffff));
  store(image, 24, data >> 16 << 12);
}

void load_words(ConstByteSpan image, std::size_t stride, X87State& state) {
  state.status.raw = load<std::uint16_t>(image, stride);
  state.in_use = used_by(load<std::uint16_t>(image, 2 * stride));
  state.code_segment = state.data_segment = 0;
}

void load_protected_16(ConstByteSpan image, X87State& state) {
  state.instruction_pointer = load<std::uint16_t>(image, 6);
  state.code_segment = load<std::uint16_t>(image, 8);
  state.data_pointer = load<std::uint16_t>(image, 10);
  state.data_segment = load<std::uint16_t>(image, 12);
  state.opcode = 0;
}

void load_protected_32(ConstByteSpan image, X87State& state) {
  state.instruction_pointer = load<std::uint32_t>(image, 12);
  state.code_segment = load<std::uint16_t>(image, 16);
  state.opcode = load<std::uint16_t>(image, 18) & 0x7ff;
  state.data_pointer = load<std::uint32_t>(image, 20);
  state.data_segment = load<std::uint16_t>(image, 24);
}

void load_real_16(ConstByteSpan image, X87State& state) {
  const std::uint32_t high = load<std::uint16_t>(image, 8);
  state.instruction_pointer = load<std::uint16_t>(image, 6) | high >> 12 << 16;
  state.opcode = high & 0x7ff;
  state.data_pointer =
      load<std::uint16_t>(image, 10) | std::uint32_t{load<std::uint16_t>(image, 12)} >> 12 << 16;
}

void load_real_32(ConstByteSpan image, X87State& state) {
  const auto high = load<std::uint32_t>(image, 16);
  state.instruction_pointer = load<std::uint16_t>(image, 12) | (high >> 12 & 0xffff) << 16;
  state.opcode = high & 0x7ff;
  state.data_pointer = load<std::uint16_t>(image, 20) | (load<std::uint32_t>(image, 24) >> 12 & 0xffff) << 16;
}

// Linear addresses have 48 bits.
std::uint64_t canonical(std::uint64_t address) {
  return static_cast<std::uint64_t>(static_cast<std::int64_t>(address << 16) >> 16);
}

bool has_doublewords(X87Layout layout) {
  return layout == X87Layout::protected_32 || layout == X87Layout::real_32;
}

// Any bits, as a correctly rounded constant under each rounding mode.
Float80 round_constant(int exponent, std::uint64_t high, std::uint64_t low, RoundingMode mode) {
  Environment env{.rounding = mode};
  return round<Float80>({false, exponent, high, low}, env);
}

}  // namespace

std::size_t X87::environment_size(X87Layout layout) { return has_doublewords(layout) ? 28 : 14; }

void X87::store_environment(ByteSpan image, X87Layout layout) const {
  switch (layout) {
    case X87Layout::protected_16: return store_protected_16(image, state);
    case X87Layout::protected_32: return store_protected_32(image, state);
    case X87Layout::real_16: return store_real_16(image, state);
    case X87Layout::real_32: return store_real_32(image, state);
  }
}

void X87::mask_all() { fldcw(state.control.raw | all_exceptions); }

void X87::fldenv(ConstByteSpan image, X87Layout layout) {
  load_words(image, has_doublewords(layout) ? 4 : 2, state);
  switch (layout) {
    case X87Layout::protected_16: load_protected_16(image, state); break;
    case X87Layout::protected_32: load_protected_32(image, state); break;
    case X87Layout::real_16: load_real_16(image, state); break;
    case X87Layout::real_32: load_real_32(image, state); break;
  }
  fldcw(cbit::load<std::uint16_t>(image, 0));
}

void X87::store_registers(ByteSpan image) const {
  for (unsigned i = 0; i < 8; ++i) store_register(image, i * register_bytes, st(i));
}

void X87::load_registers(ConstByteSpan image) {
  for (unsigned i = 0; i < 8; ++i) state.registers[physical(i)] = load_register(image, i * register_bytes);
}

// SDM vol. 2, FXSAVE. Pointers are saved while an exception waits, else zeros: so do AMD's processors that
// report CPUID 8000_0008 EBX[2], which always restore them.
void X87::fxsave(ByteSpan image, bool wide) const {
  store(image, 0, state.control.raw);
  store(image, 2, state.status.raw);
  store(image, 4, std::uint16_t{state.in_use});
  const X87State saved = pending() ? state : X87State{};
  store(image, 6, saved.opcode);
  store(image, 8, saved.instruction_pointer);
  store(image, 16, saved.data_pointer);
  if (!wide) {
    store(image, 12, std::uint32_t{saved.code_segment});
    store(image, 20, std::uint32_t{saved.data_segment});
  }
  for (unsigned i = 0; i < 8; ++i) {
    const std::size_t offset = 32 + 16 * i;
    store_register(image, offset, st(i));
    store_as<std::uint32_t>(image, offset + 10, 0);
    store_as<std::uint16_t>(image, offset + 14, 0);
  }
}

void X87::fxrstor(ConstByteSpan image, bool wide) {
  state.status.raw = cbit::load<std::uint16_t>(image, 2);
  state.in_use = cbit::load<std::uint8_t>(image, 4);
  state.opcode = cbit::load<std::uint16_t>(image, 6) & 0x7ff;
  state.instruction_pointer = cbit::load<std::uint64_t>(image, 8);
  state.data_pointer = cbit::load<std::uint64_t>(image, 16);
  state.code_segment = state.data_segment = 0;
  if (wide) {
    state.instruction_pointer = canonical(state.instruction_pointer);
    state.data_pointer = canonical(state.data_pointer);
  } else {
    state.code_segment = static_cast<std::uint16_t>(state.instruction_pointer >> 32);
    state.data_segment = static_cast<std::uint16_t>(state.data_pointer >> 32);
    state.instruction_pointer &= 0xffff'ffff;
    state.data_pointer &= 0xffff'ffff;
  }
  for (unsigned i = 0; i < 8; ++i) {
    state.registers[physical(i)] = load_register(image, 32 + 16 * i);
  }
  fldcw(cbit::load<std::uint16_t>(image, 0));
}

// The constants' exact values begin with these 128 bits.
void X87::fld_constant(X87Constant constant) {
  const RoundingMode mode = state.control.get<X87Control::RoundingControl>();
  Float80 value;
  switch (constant) {
    case X87Constant::one: value = pack<Float80>(false, exponent_bias<Float80>, integer_bit); break;
    case X87Constant::log2_10: value = round_constant(1, 0xd49a784bcd1b8afe, 0x492bf6ff4dafdb4c, mode); break;
    case X87Constant::log2_e: value = round_constant(0, 0xb8aa3b295c17f0bb, 0xbe87fed0691d3e88, mode); break;
    case X87Constant::pi: value = round_constant(1, 0xc90fdaa22168c234, 0xc4c6628b80dc1cd1, mode); break;
    case X87Constant::log10_2:
      value = round_constant(-2, 0x9a209a84fbcff798, 0x8f8959ac0b7c9178, mode);
      break;
    case X87Constant::ln_2: value = round_constant(-1, 0xb17217f7d1cf79ab, 0xc9e3b39803f2f6af, mode); break;
    case X87Constant::zero: break;
  }
  load(value, environment());
}

}  // namespace cbit::cpu::fp
