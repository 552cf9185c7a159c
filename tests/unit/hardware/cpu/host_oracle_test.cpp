// The processor against the host's own: random sequences over the rows of the table, registers, flags, memory
// and faults compared after each.
//
// CBIT_ORACLE_CASES and CBIT_ORACLE_SEED run more of them, or others. A mismatch names the seed of its case.
#include <algorithm>
#include <csignal>
#include <cstdlib>

#include "base/format.hpp"
#include "cpu/standstill.hpp"
#include "cpu_box.hpp"
#include "isa/table.hpp"
#include "native_child.hpp"
#include "random_code.hpp"

namespace cbit::test {
namespace {

constexpr std::uint64_t low_32_bits = 0xffff'ffff;
constexpr std::uint8_t int3 = 0xcc;

std::uint64_t environment_number(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 0) : otherwise;
}

// The same places as in the native child, for a program at CPL 3. There is no IDT: an exception ends the run,
// and the first of the deliveries that fail is the instruction's own.
class ModelledProgram {
 public:
  // Interpreted, or translated at its first run; `among_others`: as where processors have threads.
  ModelledProgram(bool translated, bool among_others)
      : code_{memory_, translated ? 1u : 0, cpu::CodeCache::translation_bytes_max,
              among_others ? &others_ : nullptr},
        cpu_{{.model = cpu::default_model()},
             {.memory = memory_,
              .ports = ports_,
              .interrupts = interrupts_,
              .clock = clock_,
              .code = code_,
              .others = among_others ? &others_ : nullptr}} {
    constexpr std::uint64_t present_user = 5;
    constexpr std::uint64_t writable = 2;
    // Tables from 1 MiB on: one page directory for 1 GiB, a page table for each area.
    memory_.store(pml4, pdpt | present_user | writable);
    memory_.store(pdpt, pd | present_user | writable);
    memory_.store(pd + 8 * (NativeChild::code_at >> 21), code_pt | present_user | writable);
    memory_.store(pd + 8 * (NativeChild::data_at >> 21), data_pt | present_user | writable);
    memory_.store(code_pt, code_page | present_user);
    for (std::uint64_t i = 0; i < NativeChild::data_bytes / page_size; ++i)
      memory_.store(data_pt + 8 * i, (data_pages + i * page_size) | present_user | writable | 1ull << 63);
  }

  [[nodiscard]] std::span<std::byte> code() { return {memory_.at(code_page), NativeChild::code_bytes}; }
  [[nodiscard]] std::span<std::byte> data() { return {memory_.at(data_pages), NativeChild::data_bytes}; }

  // The exception that ended it.
  cpu::Delivery run(NativeState& state) {
    code_.invalidate(PhysAddr{code_page}, page_size);
    cpu::Registers r = CpuBox::kernel_registers();
    r.cr3 = pml4;
    r.idtr.limit = 0;
    r.gpr = state.gpr;
    r.rip = state.rip;
    r.rflags = state.rflags;
    r.segment(Segment::cs) = state.is_32 ? cpu::flat_code_32(0x23) : cpu::flat_code_64(0x33);
    for (const Segment which : {Segment::ss, Segment::ds, Segment::es})
      r.segment(which) = cpu::flat_data(0x2b);
    for (const Segment which : {Segment::fs, Segment::gs}) r.segment(which) = {};
    for (const Segment which : {Segment::cs, Segment::ss, Segment::ds, Segment::es})
      r.segment(which).attributes.raw |= 0x60;
    cpu_.set_registers(r);
    // What a sequence before this one has left there (XRSTOR) is not this one's.
    cpu_.set_extended_state(state.with_vectors ? state.vectors : initial_);
    (void)cpu_.run(clock_.now_ns() + 1'000'000);
    const cpu::Registers after = cpu_.registers();
    state.gpr = after.gpr;
    state.rip = after.rip;
    state.rflags = after.rflags;
    if (state.with_vectors) state.vectors = cpu_.extended_state();
    const auto deliveries = cpu_.deliveries();
    return deliveries.empty() ? cpu::Delivery{} : deliveries.front();
  }

 private:
  static constexpr std::uint64_t pml4 = 0x1000;
  static constexpr std::uint64_t pdpt = 0x2000;
  static constexpr std::uint64_t pd = 0x3000;
  static constexpr std::uint64_t code_pt = 0x4000;
  static constexpr std::uint64_t data_pt = 0x5000;
  static constexpr std::uint64_t code_page = 0x8000;
  static constexpr std::uint64_t data_pages = 0x9000;

  FlatMemory memory_{64 * page_size};
  bus::PortSpace ports_;
  FakeInterrupts interrupts_;
  Clock clock_;
  cpu::Standstill others_;
  cpu::CodeCache code_;
  Cpu cpu_;
  const Cpu::ExtendedState initial_ = cpu_.extended_state();
};

// Linux's signals for exceptions: arch/x86/kernel/traps.c, arch/x86/mm/fault.c.
int signal_of(const cpu::Delivery& delivery) {
  switch (delivery.vector) {
    case 0: return SIGFPE;
    case 3: return SIGTRAP;
    case 5: return SIGSEGV;
    case 6: return SIGILL;
    case 12:
    case 17: return SIGBUS;
    case 16:
    case 19: return SIGFPE;
    default: return SIGSEGV;
  }
}

struct OracleCase {
  const char* name;
  bool is_32 = false;
  bool with_vectors = false;
  bool translated = false;
  bool among_others = false;
};
std::ostream& operator<<(std::ostream& to, const OracleCase& which) { return to << which.name; }

constexpr isa::Rule vector_rules = isa::Rule::sse | isa::Rule::mmx | isa::Rule::x87;
bool is_integer(const isa::Row& row) { return !has(row.rules, vector_rules); }
// Approximations differ from processor to processor.
bool is_vector(const isa::Row& row) {
  return has(row.rules, vector_rules) && row.mnemonic != "rcpps" && row.mnemonic != "rcpss" &&
         row.mnemonic != "rsqrtps" && row.mnemonic != "rsqrtss";
}

class HostOracle : public ::testing::TestWithParam<OracleCase> {
 protected:
  void SetUp() override {
    child_ = NativeChild::create();
    if (child_ == nullptr) GTEST_SKIP() << "no x86-64 host that allows ptrace, or AddressSanitizer";
    if (GetParam().is_32 && !child_->runs_32()) GTEST_SKIP() << "the host's kernel runs no 32-bit code";
  }

  static isa::FeatureSet common_features() {
    const isa::FeatureSet host = host_features();
    isa::FeatureSet common;
    for (const isa::FeatureInfo& info : isa::feature_table())
      if (host.has(info.feature) && cpu::default_model().features.has(info.feature)) common.add(info.feature);
    return common;
  }

  void fill_memory(Random& random) {
    for (std::size_t at = 0; at < NativeChild::data_bytes; at += 8) {
      const std::uint64_t value = random();
      std::memcpy(child_->data().data() + at, &value, sizeof value);
    }
    std::ranges::copy(child_->data(), program_.data().begin());
  }

  void put_code(const std::vector<RandomInstruction>& instructions) {
    std::vector<std::uint8_t> bytes;
    for (const RandomInstruction& instruction : instructions)
      bytes.insert(bytes.end(), instruction.bytes.begin(), instruction.bytes.end());
    bytes.resize(bytes.size() + 16, int3);
    std::memcpy(child_->code().data(), bytes.data(), bytes.size());
    std::memcpy(program_.code().data(), bytes.data(), bytes.size());
  }

  // Vectors: of floats that are often small numbers, denormal, infinite or none; of integers.
  static void fill_vectors(Random& random, NativeState& state) {
    const auto put = [&](std::size_t at, std::uint64_t value, std::size_t bytes) {
      std::memcpy(state.vectors.data() + at, &value, bytes);
    };
    constexpr std::uint64_t corners[] = {0x3ff0'0000'0000'0000, 0xc000'0000'0000'0000,
                                         0x7ff0'0000'0000'0000, 0x7ff8'0000'0000'0000,
                                         0x0000'0000'0000'0001, 0x3f80'0000'4000'0000,
                                         0x7f80'0000'7fc0'0000, 0x0000'0001'8000'0000,
                                         0x4330'0000'0000'0000, 0};
    const auto value = [&] { return random() % 2 == 0 ? random() : corners[random() % std::size(corners)]; };
    put(0, (0x037f & ~(random() % 4 == 0 ? random() % 64 : 0)) | (random() & 0xc00), 2);
    put(2, random() % 8 << 11, 2);
    put(4, random() % 4 == 0 ? random() : 0xff, 1);
    const bool unmasked = random() % 8 == 0;
    put(24,
        (0x1f80 & ~(unmasked ? random() & 0x1f80 : 0)) | (random() & 0x6000) | (random() & random() & 0x8040),
        4);
    for (std::size_t i = 0; i < 8; ++i) {
      put(32 + 16 * i, random() % 4 == 0 ? value() : value() | 1ull << 63, 8);
      put(40 + 16 * i, random() % 2 == 0 ? random() % 64 + 16383 - 32 : random(), 2);
    }
    for (std::size_t at = 160; at < 416; at += 8) put(at, value(), 8);
  }

  static NativeState random_state(Random& random, const OracleCase& which) {
    const bool is_32 = which.is_32;
    NativeState state{.rip = NativeChild::code_at, .is_32 = is_32, .with_vectors = which.with_vectors};
    if (which.with_vectors) fill_vectors(random, state);
    for (std::uint64_t& reg : state.gpr) {
      constexpr std::uint64_t corners[] = {0, 1, 0x7f, 0x80, 0xffff, 0x8000'0000, ~0ull, 1ull << 63};
      reg = random() % 4 == 0 ? corners[random() % std::size(corners)] : random() >> random() % 64;
    }
    for (const unsigned pointer : RandomCode::pointers)
      state.gpr[pointer] = NativeChild::data_at + random() % NativeChild::data_bytes;
    state.gpr[static_cast<std::size_t>(Gpr::rsp)] =
        NativeChild::data_at + NativeChild::data_bytes / 2 + random() % 64 * 8;
    if (is_32)
      for (std::uint64_t& reg : state.gpr) reg &= low_32_bits;
    state.rflags = 0x202 | (random() & (isa::status_flags | (random() % 8 == 0 ? 0x400 : 0)));
    return state;
  }

  static std::string listing(const std::vector<RandomInstruction>& instructions, bool is_32) {
    const isa::Mode mode = mode_of(is_32);
    std::string text;
    for (const RandomInstruction& instruction : instructions) {
      const auto bytes = std::as_bytes(std::span{instruction.bytes});
      text += fmt::format("  {:32} {}\n", to_hex(bytes), isa::disassemble(mode, bytes, 0).text);
    }
    return text;
  }

  static isa::Mode mode_of(bool is_32) {
    isa::Mode mode = isa::Mode{}.with<isa::Mode::Long64>(!is_32).with<isa::Mode::NotKernel>(true);
    return is_32 ? mode.with<isa::Mode::Code32>(true).with<isa::Mode::Stack32>(true) : mode;
  }

  // Control, status without C0 to C3 (which are undefined after most instructions), tags, MXCSR, registers.
  static std::string vector_difference(const NativeState& native, const NativeState& model) {
    struct Part {
      const char* name;
      std::size_t at;
      std::size_t bytes;
      std::uint64_t mask;
    };
    std::vector<Part> parts{
        {"control", 0, 2, 0x1f3f}, {"status", 2, 2, 0xb8ff}, {"tags", 4, 1, 0xff}, {"mxcsr", 24, 4, 0xffff}};
    for (std::size_t i = 0; i < 8; ++i) {
      parts.push_back({"st", 32 + 16 * i, 8, ~0ull});
      parts.push_back({"st exponent", 40 + 16 * i, 2, 0xffff});
    }
    for (std::size_t at = 160; at < 416; at += 8) parts.push_back({"xmm", at, 8, ~0ull});
    std::string text;
    for (const Part& part : parts) {
      std::uint64_t a = 0;
      std::uint64_t b = 0;
      std::memcpy(&a, native.vectors.data() + part.at, part.bytes);
      std::memcpy(&b, model.vectors.data() + part.at, part.bytes);
      if (((a ^ b) & part.mask) != 0)
        text += fmt::format("  {} ({}): {:#x} instead of {:#x}\n", part.name, part.at, a, b);
    }
    return text;
  }

  // Differs from vendor to vendor: which of its two operands CMPS reads first, and whether POPA has changed
  // registers before it faults.
  enum class Leeway : std::uint8_t { none, either_operand, registers };
  static Leeway leeway_at(const std::vector<RandomInstruction>& instructions, std::uint64_t rip) {
    std::uint64_t at = NativeChild::code_at;
    for (const RandomInstruction& instruction : instructions) {
      const std::string_view name = instruction.row->mnemonic;
      if (at == rip && name.starts_with("cmps") && instruction.row->trial == isa::Trial::repeat)
        return Leeway::either_operand;
      if (at == rip && name.starts_with("popa")) return Leeway::registers;
      at += instruction.bytes.size();
    }
    return Leeway::none;
  }

  // What differs; empty: nothing.
  static std::string difference(const NativeState& native, const NativeEnd& end, const NativeState& model,
                                const cpu::Delivery& delivery, std::uint32_t undefined, Leeway leeway) {
    std::string text;
    if (end.signal != signal_of(delivery))
      text += fmt::format("  signal {} instead of exception {}\n", end.signal, delivery.vector);
    for (std::size_t i = 0; i < native.gpr.size(); ++i)
      if (native.gpr[i] != model.gpr[i] && leeway != Leeway::registers)
        text += fmt::format("  register {}: {:#x} instead of {:#x}\n", i, native.gpr[i], model.gpr[i]);
    // INT3 is reported behind itself.
    const std::uint64_t native_rip = end.signal == SIGTRAP ? native.rip - 1 : native.rip;
    if (native_rip != model.rip) text += fmt::format("  rip {:#x} instead of {:#x}\n", native_rip, model.rip);
    const std::uint64_t compared = (isa::status_flags & ~undefined) | 0x400;
    if (((native.rflags ^ model.rflags) & compared) != 0)
      text +=
          fmt::format("  flags {:#x} instead of {:#x}\n", native.rflags & compared, model.rflags & compared);
    if (native.with_vectors) text += vector_difference(native, model);
    if (delivery.vector == 14 && end.has_address && end.address != delivery.cr2 &&
        leeway != Leeway::either_operand)
      text += fmt::format("  fault at {:#x} instead of {:#x}\n", end.address, delivery.cr2);
    return text;
  }

  // False: they differ, and it has been said.
  bool compare_one(const RandomCode& code, std::uint64_t seed, const OracleCase& which) {
    const bool is_32 = which.is_32;
    Random random{seed};
    const auto sequence =
        code.sequence(random, 1 + static_cast<unsigned>(random() % (which.translated ? 20 : 6)));
    const auto& instructions = sequence.instructions;
    NativeState native = random_state(random, which);
    NativeState model = native;
    for (const RandomInstruction& instruction : instructions)
      if (instruction.row->trial == isa::Trial::repeat) native.gpr[1] = model.gpr[1] = random() % 40;
    const NativeState before = native;
    put_code(instructions);
    fill_memory(random);
    const auto end = child_->run(native);
    if (!end) return true;
    const cpu::Delivery delivery = program_.run(model);
    std::string text = difference(native, *end, model, delivery,
                                  end->signal == SIGTRAP ? sequence.undefined : sequence.undefined_on_way,
                                  leeway_at(instructions, model.rip));
    if (!std::ranges::equal(child_->data(), program_.data())) {
      const auto at = std::ranges::mismatch(child_->data(), program_.data()).in1 - child_->data().begin();
      text += fmt::format("  memory at {:#x}\n", NativeChild::data_at + static_cast<std::uint64_t>(at));
    }
    if (text.empty()) return true;
    std::string registers;
    for (std::size_t i = 0; i < before.gpr.size(); ++i) registers += fmt::format(" {:#x}", before.gpr[i]);
    ADD_FAILURE() << "seed " << seed << ":\n"
                  << listing(instructions, is_32) << text << "  from" << registers << " flags "
                  << fmt::format("{:#x}", before.rflags);
    return false;
  }

  std::unique_ptr<NativeChild> child_;
  ModelledProgram program_{GetParam().translated, GetParam().among_others};
};

TEST_P(HostOracle, AgreesOnRandomSequences) {
  const OracleCase& which = GetParam();
  const RandomCode code{mode_of(which.is_32), common_features(), which.with_vectors ? is_vector : is_integer};
  const std::uint64_t cases = environment_number("CBIT_ORACLE_CASES", 20'000);
  const std::uint64_t seed = environment_number("CBIT_ORACLE_SEED", 1);
  unsigned wrong = 0;
  for (std::uint64_t i = 0; i < cases && wrong < 20; ++i)
    if (!compare_one(code, seed + i, which)) ++wrong;
}

constexpr OracleCase oracle_cases[] = {
    {.name = "Integer"},
    {.name = "Vector", .with_vectors = true},
    {.name = "Integer32", .is_32 = true},
    {.name = "Vector32", .is_32 = true, .with_vectors = true},
    {.name = "TranslatedInteger", .translated = true},
    {.name = "TranslatedVector", .with_vectors = true, .translated = true},
    {.name = "TranslatedInteger32", .is_32 = true, .translated = true},
    {.name = "IntegerAmongOthers", .among_others = true},
    {.name = "VectorAmongOthers", .with_vectors = true, .among_others = true},
    {.name = "Integer32AmongOthers", .is_32 = true, .among_others = true},
    {.name = "TranslatedIntegerAmongOthers", .translated = true, .among_others = true}};
INSTANTIATE_TEST_SUITE_P(Code, HostOracle, ::testing::ValuesIn(oracle_cases),
                         [](const auto& which) { return which.param.name; });

}  // namespace
}  // namespace cbit::test
