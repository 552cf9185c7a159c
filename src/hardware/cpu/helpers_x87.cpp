// The helper of x87 instructions: operands and memory around the unit (cpu/fp/x87.hpp). APM vol. 5.
#include <cstring>
#include <unordered_map>

#include "cpu/helpers.hpp"

namespace cbit::cpu::helpers {
namespace {

using isa::X87Parameters;

// An instruction's operands.
struct X87Access {
  Core& core;
  const isa::Op& op;
  X87Parameters with;

  [[nodiscard]] fp::X87& unit() const { return core.x87; }
  [[nodiscard]] bool in_memory() const { return with.memory_bytes != 0; }
  // The register that is not ST(0), if both are named.
  [[nodiscard]] unsigned other() const { return with.first | with.second; }
  [[nodiscard]] std::uint64_t address() const { return address_of(core, &op); }
  [[nodiscard]] bool read(void* to, unsigned bytes) const {
    const std::uint64_t at = address();
    const TlbEntry& entry = core.tlb[tlb_index(at)];
    if (entry.read_tag != tag_of(at, bytes)) return core.read(core.data_set(), at, to, bytes, op.stack_fault);
    load_host_bytes(to, reinterpret_cast<const std::byte*>(entry.addend + at), bytes);
    return true;
  }
  [[nodiscard]] bool write(const void* from, unsigned bytes) const {
    const std::uint64_t at = address();
    const TlbEntry& entry = core.tlb[tlb_index(at)];
    if (entry.write_tag != tag_of(at, bytes))
      return core.write(core.data_set(), at, from, bytes, op.stack_fault);
    store_host_bytes(reinterpret_cast<std::byte*>(entry.addend + at), from, bytes);
    return true;
  }
  template <class T>
  [[nodiscard]] std::optional<T> value() const {
    T value{};
    if (!read(&value, with.memory_bytes)) return std::nullopt;
    return value;
  }
};

using X87Function = Outcome (*)(const X87Access& access);

Outcome done(bool ok) { return ok ? Outcome::next : Outcome::fault; }

// A memory operand of arithmetic: a float, or (FIADD and its like) an integer.
std::optional<fp::Unpacked> float_operand(const X87Access& access) {
  if (access.with.memory_bytes == 4) {
    const auto value = access.value<fp::Float32>();
    return value ? std::optional{fp::Unpacked{*value}} : std::nullopt;
  }
  const auto value = access.value<fp::Float64>();
  return value ? std::optional{fp::Unpacked{*value}} : std::nullopt;
}

std::optional<std::int64_t> integer_operand(const X87Access& access) {
  const auto bits = access.value<std::uint64_t>();
  if (!bits) return std::nullopt;
  switch (access.with.memory_bytes) {
    case 2: return static_cast<std::int16_t>(*bits);
    case 4: return static_cast<std::int32_t>(*bits);
    default: return static_cast<std::int64_t>(*bits);
  }
}

template <fp::X87Arithmetic operation, fp::Pops pops>
Outcome arithmetic(const X87Access& access) {
  if (!access.in_memory()) {
    access.unit().arithmetic(operation, access.with.first, access.with.second, pops);
    return Outcome::next;
  }
  const auto operand = float_operand(access);
  if (!operand) return Outcome::fault;
  access.unit().arithmetic(operation, *operand);
  return Outcome::next;
}

template <fp::X87Arithmetic operation>
Outcome arithmetic_integer(const X87Access& access) {
  const auto operand = integer_operand(access);
  if (!operand) return Outcome::fault;
  access.unit().arithmetic(operation, fp::Unpacked::from_integer(*operand));
  return Outcome::next;
}

// FLD's 80 bits: ten bytes of memory.
std::optional<fp::Float80> extended_operand(const X87Access& access) {
  std::array<std::byte, 10> raw{};
  if (!access.read(raw.data(), raw.size())) return std::nullopt;
  fp::Float80 value;
  std::memcpy(&value.significand, raw.data(), sizeof value.significand);
  std::memcpy(&value.sign_exponent, raw.data() + sizeof value.significand, sizeof value.sign_exponent);
  return value;
}

template <class T>
Outcome load_value(const X87Access& access, const std::optional<T>& value) {
  if (!value) return Outcome::fault;
  access.unit().fld(*value);
  return Outcome::next;
}

Outcome load(const X87Access& access) {
  switch (access.with.memory_bytes) {
    case 0: access.unit().fld_register(access.other()); return Outcome::next;
    case 4: return load_value(access, access.value<fp::Float32>());
    case 8: return load_value(access, access.value<fp::Float64>());
    default: return load_value(access, extended_operand(access));
  }
}

Outcome load_integer(const X87Access& access) {
  const auto value = integer_operand(access);
  if (!value) return Outcome::fault;
  access.unit().fild(*value);
  return Outcome::next;
}

Outcome load_decimal(const X87Access& access) {
  fp::PackedDecimal value{};
  if (!access.read(&value, 10)) return Outcome::fault;
  access.unit().fbld(value);
  return Outcome::next;
}

template <class T>
Outcome store_value(const X87Access& access, const fp::X87Store<T>& store, const void* bytes, unsigned size,
                    fp::Pops pops) {
  // A store that an exception keeps from memory still needs memory that could be written.
  const bool ok = store.writes ? access.write(bytes, size)
                               : access.core.probe_write(access.core.data_set(), access.address(), size,
                                                         access.op.stack_fault);
  if (!ok) return Outcome::fault;
  access.unit().finish(store, pops);
  return Outcome::next;
}

template <class T>
Outcome store_simple(const X87Access& access, const fp::X87Store<T>& store, fp::Pops pops) {
  return store_value(access, store, &store.value, sizeof store.value, pops);
}

template <fp::Pops pops>
Outcome store(const X87Access& access) {
  switch (access.with.memory_bytes) {
    case 0: access.unit().fst_register(access.other(), pops); return Outcome::next;
    case 4: return store_simple(access, access.unit().fst<fp::Float32>(), pops);
    case 8: return store_simple(access, access.unit().fst<fp::Float64>(), pops);
    default: break;
  }
  const auto extended = access.unit().fst<fp::Float80>();
  std::array<std::byte, 10> raw{};
  std::memcpy(raw.data(), &extended.value.significand, sizeof extended.value.significand);
  std::memcpy(raw.data() + sizeof extended.value.significand, &extended.value.sign_exponent,
              sizeof extended.value.sign_exponent);
  return store_value(access, extended, raw.data(), raw.size(), pops);
}

template <fp::Pops pops, bool truncate>
Outcome store_integer(const X87Access& access) {
  switch (access.with.memory_bytes) {
    case 2: return store_simple(access, access.unit().fist<std::int16_t>(truncate), pops);
    case 4: return store_simple(access, access.unit().fist<std::int32_t>(truncate), pops);
    default: return store_simple(access, access.unit().fist<std::int64_t>(truncate), pops);
  }
}

Outcome store_decimal(const X87Access& access) {
  const auto stored = access.unit().fbstp();
  return store_value(access, stored, &stored.value, 10, fp::Pops::one);
}

template <fp::X87Constant constant>
Outcome load_constant(const X87Access& access) {
  access.unit().fld_constant(constant);
  return Outcome::next;
}

// What has no operands, or only the stack.
template <void (fp::X87::*function)()>
Outcome simple(const X87Access& access) {
  (access.unit().*function)();
  return Outcome::next;
}

template <fp::Quotient how>
Outcome remainder(const X87Access& access) {
  access.unit().fprem(how);
  return Outcome::next;
}

template <fp::Comparison how, fp::Pops pops>
Outcome compare(const X87Access& access) {
  if (!access.in_memory()) {
    access.unit().compare(how, pops == fp::Pops::two ? 1 : access.other(), pops);
    return Outcome::next;
  }
  const auto operand = float_operand(access);
  if (!operand) return Outcome::fault;
  access.unit().compare(*operand, pops);
  return Outcome::next;
}

template <fp::Pops pops>
Outcome compare_integer(const X87Access& access) {
  const auto operand = integer_operand(access);
  if (!operand) return Outcome::fault;
  access.unit().compare(fp::Unpacked::from_integer(*operand), pops);
  return Outcome::next;
}

template <fp::Comparison how, fp::Pops pops>
Outcome compare_to_flags(const X87Access& access) {
  access.core.flags.set(access.unit().compare_to_flags(how, access.other(), pops));
  return Outcome::next;
}

Outcome exchange(const X87Access& access) {
  access.unit().fxch(access.other());
  return Outcome::next;
}

template <isa::Cond cond>
Outcome move_if(const X87Access& access) {
  access.unit().fcmov(holds<cond>(access.core.flags), access.other());
  return Outcome::next;
}

template <fp::Pops pops>
Outcome free_register(const X87Access& access) {
  access.unit().ffree(access.other(), pops);
  return Outcome::next;
}

Outcome nothing(const X87Access&) { return Outcome::next; }

Outcome load_control(const X87Access& access) {
  const auto value = access.value<std::uint16_t>();
  if (!value) return Outcome::fault;
  access.unit().fldcw(*value);
  return Outcome::next;
}

Outcome store_control(const X87Access& access) {
  const std::uint16_t value = access.unit().fnstcw();
  return done(access.write(&value, sizeof value));
}

Outcome store_status(const X87Access& access) {
  const std::uint16_t value = access.unit().fnstsw();
  if (access.in_memory()) return done(access.write(&value, sizeof value));
  put(access.core, access.op.dst, value);
  return Outcome::next;
}

// FNSTENV's and FNSAVE's layouts: APM vol. 2, 11.4.3 and 11.4.4.
fp::X87Layout layout_of(const X87Access& access) {
  const bool narrow = access.op.b == 2;
  if (access.core.protected_mode()) return narrow ? fp::X87Layout::protected_16 : fp::X87Layout::protected_32;
  return narrow ? fp::X87Layout::real_16 : fp::X87Layout::real_32;
}

constexpr std::size_t register_bytes = 80;
constexpr std::size_t image_bytes_max = 28 + register_bytes;

// Images are longer than one access may be.
bool read_image(const X87Access& access, ByteSpan image) {
  for (std::size_t at = 0; at < image.size(); at += 2)
    if (!access.core.read(access.core.data_set(), access.address() + at, &image[at], 2,
                          access.op.stack_fault))
      return false;
  return true;
}
bool write_image(const X87Access& access, ConstByteSpan image) {
  const TlbSet set = access.core.data_set();
  for (const std::size_t at : {std::size_t{0}, image.size() - 1})
    if (!access.core.probe_write(set, access.address() + at, 1, access.op.stack_fault)) return false;
  for (std::size_t at = 0; at < image.size(); at += 2)
    if (!access.core.write(set, access.address() + at, &image[at], 2, access.op.stack_fault)) return false;
  return true;
}

Outcome store_environment(const X87Access& access) {
  std::array<std::byte, image_bytes_max> image{};
  const fp::X87Layout layout = layout_of(access);
  const ByteSpan used = std::span{image}.first(fp::X87::environment_size(layout));
  access.unit().store_environment(used, layout);
  if (!write_image(access, used)) return Outcome::fault;
  access.unit().mask_all();
  return Outcome::next;
}

Outcome load_environment(const X87Access& access) {
  std::array<std::byte, image_bytes_max> image{};
  const fp::X87Layout layout = layout_of(access);
  const ByteSpan used = std::span{image}.first(fp::X87::environment_size(layout));
  if (!read_image(access, used)) return Outcome::fault;
  access.unit().fldenv(used, layout);
  return Outcome::next;
}

Outcome save_all(const X87Access& access) {
  std::array<std::byte, image_bytes_max> image{};
  const fp::X87Layout layout = layout_of(access);
  const std::size_t size = fp::X87::environment_size(layout);
  access.unit().store_environment(std::span{image}.first(size), layout);
  access.unit().store_registers(std::span{image}.subspan(size, register_bytes));
  if (!write_image(access, std::span{image}.first(size + register_bytes))) return Outcome::fault;
  access.unit().fninit();
  return Outcome::next;
}

Outcome restore_all(const X87Access& access) {
  std::array<std::byte, image_bytes_max> image{};
  const fp::X87Layout layout = layout_of(access);
  const std::size_t size = fp::X87::environment_size(layout);
  if (!read_image(access, std::span{image}.first(size + register_bytes))) return Outcome::fault;
  access.unit().fldenv(std::span{image}.first(size), layout);
  access.unit().load_registers(std::span{image}.subspan(size, register_bytes));
  return Outcome::next;
}

// `control`: does not wait for exceptions, and is not noted as the last instruction.
struct X87Row {
  std::string_view name;
  X87Function function = nullptr;
  bool control = false;
};

using fp::Comparison;
using fp::Pops;
using fp::X87Arithmetic;
using fp::X87Constant;

constexpr X87Row rows[] = {
    {"fadd", arithmetic<X87Arithmetic::add, Pops::none>},
    {"faddp", arithmetic<X87Arithmetic::add, Pops::one>},
    {"fiadd", arithmetic_integer<X87Arithmetic::add>},
    {"fmul", arithmetic<X87Arithmetic::multiply, Pops::none>},
    {"fmulp", arithmetic<X87Arithmetic::multiply, Pops::one>},
    {"fimul", arithmetic_integer<X87Arithmetic::multiply>},
    {"fsub", arithmetic<X87Arithmetic::subtract, Pops::none>},
    {"fsubp", arithmetic<X87Arithmetic::subtract, Pops::one>},
    {"fisub", arithmetic_integer<X87Arithmetic::subtract>},
    {"fsubr", arithmetic<X87Arithmetic::subtract_reversed, Pops::none>},
    {"fsubrp", arithmetic<X87Arithmetic::subtract_reversed, Pops::one>},
    {"fisubr", arithmetic_integer<X87Arithmetic::subtract_reversed>},
    {"fdiv", arithmetic<X87Arithmetic::divide, Pops::none>},
    {"fdivp", arithmetic<X87Arithmetic::divide, Pops::one>},
    {"fidiv", arithmetic_integer<X87Arithmetic::divide>},
    {"fdivr", arithmetic<X87Arithmetic::divide_reversed, Pops::none>},
    {"fdivrp", arithmetic<X87Arithmetic::divide_reversed, Pops::one>},
    {"fidivr", arithmetic_integer<X87Arithmetic::divide_reversed>},
    {"fld", load},
    {"fild", load_integer},
    {"fbld", load_decimal},
    {"fst", store<Pops::none>},
    {"fstp", store<Pops::one>},
    {"fstpnce", store<Pops::one>},
    {"fist", store_integer<Pops::none, false>},
    {"fistp", store_integer<Pops::one, false>},
    {"fisttp", store_integer<Pops::one, true>},
    {"fbstp", store_decimal},
    {"fld1", load_constant<X87Constant::one>},
    {"fldl2t", load_constant<X87Constant::log2_10>},
    {"fldl2e", load_constant<X87Constant::log2_e>},
    {"fldpi", load_constant<X87Constant::pi>},
    {"fldlg2", load_constant<X87Constant::log10_2>},
    {"fldln2", load_constant<X87Constant::ln_2>},
    {"fldz", load_constant<X87Constant::zero>},
    {"fchs", simple<&fp::X87::fchs>},
    {"fabs", simple<&fp::X87::fabs>},
    {"fsqrt", simple<&fp::X87::fsqrt>},
    {"frndint", simple<&fp::X87::frndint>},
    {"fscale", simple<&fp::X87::fscale>},
    {"fxtract", simple<&fp::X87::fxtract>},
    {"fprem", remainder<fp::Quotient::truncated>},
    {"fprem1", remainder<fp::Quotient::nearest>},
    {"f2xm1", simple<&fp::X87::f2xm1>},
    {"fyl2x", simple<&fp::X87::fyl2x>},
    {"fyl2xp1", simple<&fp::X87::fyl2xp1>},
    {"fptan", simple<&fp::X87::fptan>},
    {"fpatan", simple<&fp::X87::fpatan>},
    {"fsin", simple<&fp::X87::fsin>},
    {"fcos", simple<&fp::X87::fcos>},
    {"fsincos", simple<&fp::X87::fsincos>},
    {"fcom", compare<Comparison::ordered, Pops::none>},
    {"fcomp", compare<Comparison::ordered, Pops::one>},
    {"fcompp", compare<Comparison::ordered, Pops::two>},
    {"fucom", compare<Comparison::unordered, Pops::none>},
    {"fucomp", compare<Comparison::unordered, Pops::one>},
    {"fucompp", compare<Comparison::unordered, Pops::two>},
    {"ficom", compare_integer<Pops::none>},
    {"ficomp", compare_integer<Pops::one>},
    {"fcomi", compare_to_flags<Comparison::ordered, Pops::none>},
    {"fcomip", compare_to_flags<Comparison::ordered, Pops::one>},
    {"fucomi", compare_to_flags<Comparison::unordered, Pops::none>},
    {"fucomip", compare_to_flags<Comparison::unordered, Pops::one>},
    {"ftst", simple<&fp::X87::ftst>},
    {"fxam", simple<&fp::X87::fxam>},
    {"fxch", exchange},
    {"fcmovb", move_if<isa::Cond::b>},
    {"fcmovnb", move_if<isa::Cond::nb>},
    {"fcmove", move_if<isa::Cond::z>},
    {"fcmovne", move_if<isa::Cond::nz>},
    {"fcmovbe", move_if<isa::Cond::be>},
    {"fcmovnbe", move_if<isa::Cond::nbe>},
    {"fcmovu", move_if<isa::Cond::p>},
    {"fcmovnu", move_if<isa::Cond::np>},
    {"ffree", free_register<Pops::none>},
    {"ffreep", free_register<Pops::one>},
    {"fincstp", simple<&fp::X87::fincstp>},
    {"fdecstp", simple<&fp::X87::fdecstp>},
    {"fnop", nothing},
    {"fwait", nothing, false},
    {"fldcw", load_control, false},
    {"fldenv", load_environment, false},
    {"frstor", restore_all, false},
    {"fnstcw", store_control, true},
    {"fnstsw", store_status, true},
    {"fnstenv", store_environment, true},
    {"fnsave", save_all, true},
    {"fninit", simple<&fp::X87::fninit>, true},
    {"fnclex", simple<&fp::X87::fnclex>, true},
    {"feni8087_nop", nothing, true},
    {"fdisi8087_nop", nothing, true},
    {"fsetpm287_nop", nothing, true},
};

// Control instructions leave the pointers to the last instruction as they are: APM vol. 1, 6.2.5.
constexpr bool is_noted(const X87Row& row) {
  return !row.control && row.function != load_control && row.function != load_environment &&
         row.function != restore_all && row.name != "fwait";
}

template <std::size_t number>
Outcome instruction(Core& core, const isa::Op& op) {
  constexpr X87Row row = rows[number];
  if (!row.control && core.x87.pending()) return core.raise(vector::mf);
  const X87Access access{core, op, X87Parameters::unpacked(op.imm)};
  const Outcome outcome = row.function(access);
  if (outcome != Outcome::next || !is_noted(row)) return outcome;
  core.x87.note_instruction(access.with.opcode, core.selector(isa::Segment::cs), core.rip_of(op));
  if (access.in_memory()) core.x87.note_data(core.selector(isa::Segment::ds), access.address());
  return outcome;
}

Outcome unknown(Core& core, const isa::Op&) { return core.raise(vector::ud); }

// What does an instruction: as a helper, and for an operation of its own.
struct Doer {
  HelperFunction function = unknown;
  HelperRunner runner = run<unknown>;
};

template <std::size_t... numbers>
constexpr std::array<Doer, sizeof...(numbers)> doers_of(std::index_sequence<numbers...>) {
  return {Doer{instruction<numbers>, run<instruction<numbers>>}...};
}

std::vector<Doer> doers_by_mnemonic() {
  constexpr auto doers = doers_of(std::make_index_sequence<std::size(rows)>{});
  std::unordered_map<std::string_view, Doer> by_name;
  for (std::size_t i = 0; i < doers.size(); ++i) by_name.emplace(rows[i].name, doers[i]);
  std::vector<Doer> result(isa::mnemonic_count());
  for (std::uint16_t mnemonic = 0; mnemonic < isa::mnemonic_count(); ++mnemonic)
    if (const auto doer = by_name.find(isa::mnemonic_name(mnemonic)); doer != by_name.end())
      result[mnemonic] = doer->second;
  return result;
}

const Doer& doer_of(const isa::Op& op) {
  static const std::vector<Doer> by_mnemonic = doers_by_mnemonic();
  return by_mnemonic[X87Parameters::unpacked(op.imm).mnemonic];
}

}  // namespace

Outcome x87(Core& core, const isa::Op& op) { return doer_of(op).function(core, op); }

HelperRunner x87_runner(const isa::Op& op) { return doer_of(op).runner; }

}  // namespace cbit::cpu::helpers
