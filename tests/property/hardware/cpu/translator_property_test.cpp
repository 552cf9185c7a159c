// Random code on both tiers: the same state wherever it is looked at, flags included, of which generated code
// keeps only what the next block asks for.
#include <cstdlib>
#include <tuple>

#include "isa/decode.hpp"
#include "unit/hardware/cpu/cpu_box.hpp"
#include "unit/hardware/cpu/random_code.hpp"

namespace cbit::test {
namespace {

constexpr std::uint64_t data_at = 0x10'0000;
constexpr std::uint64_t data_bytes = 0x1000;

// Whether the code is 32-bit, and after how many runs blocks are translated.
class TranslatedProgram : public ::testing::TestWithParam<std::tuple<bool, unsigned>> {
 protected:
  static bool is_32_bit() { return std::get<0>(GetParam()); }
  static unsigned runs() { return std::get<1>(GetParam()); }
  static isa::Mode mode() {
    const bool is_32 = is_32_bit();
    const isa::Mode mode = isa::Mode{}.with<isa::Mode::Long64>(!is_32).with<isa::Mode::NotKernel>(true);
    return is_32 ? mode.with<isa::Mode::Code32>(true).with<isa::Mode::Stack32>(true) : mode;
  }

  static cpu::Registers random_registers(Random& random) {
    cpu::Registers r = CpuBox::kernel_registers();
    const bool is_32 = is_32_bit();
    r.segment(Segment::cs) =
        is_32 ? cpu::flat_code_32(CpuBox::user_code_32) : cpu::flat_code_64(CpuBox::user_code_64);
    for (const Segment which : {Segment::es, Segment::ss, Segment::ds, Segment::fs, Segment::gs})
      r.segment(which) = cpu::flat_data(CpuBox::user_data);
    for (cpu::SegmentRegister& segment : r.segments) segment.attributes.raw |= 0x60;
    r.idtr.limit = 0;  // an exception ends it
    for (std::uint64_t& reg : r.gpr) reg = random() >> random() % 64;
    for (const unsigned pointer : RandomCode::pointers) r.gpr[pointer] = data_at + random() % data_bytes;
    r[Gpr::rsp] = data_at + data_bytes / 2;
    r[Gpr::rcx] %= 64;
    if (is_32)
      for (std::uint64_t& reg : r.gpr) reg &= 0xffff'ffff;
    r.rflags |= random() & isa::status_flags;
    return r;
  }

  static std::string listing(const RandomCode::Sequence& sequence) {
    std::string text;
    for (const RandomInstruction& instruction : sequence.instructions)
      text += isa::disassemble(mode(), std::as_bytes(std::span{instruction.bytes}), 0).text + '\n';
    return text;
  }

  static void put_code(CpuBox& box, const RandomCode::Sequence& sequence) {
    Code bytes;
    for (const RandomInstruction& instruction : sequence.instructions)
      bytes.insert(bytes.end(), instruction.bytes.begin(), instruction.bytes.end());
    bytes.resize(bytes.size() + 16, 0xcc);
    box.put_code(bytes);
  }

  void start(CpuBox& box, const cpu::Registers& registers, std::uint64_t seed) {
    Random random{seed};
    for (std::uint64_t at = 0; at < data_bytes; at += 8) box.memory.store(data_at + at, random());
    box.use(registers);
    box.cpu.set_extended_state(initial_);
  }

  // From one look to the next, until an exception ends both.
  void compare(Random& random) {
    constexpr unsigned looks_max = 64;
    for (unsigned look = 0; look < looks_max; ++look) {
      const std::uint64_t ns = 1 + random() % 100;
      const cpu::Stop stop = interpreted_.cpu.run(interpreted_.clock.now_ns() + ns);
      ASSERT_EQ(translated_.cpu.run(translated_.clock.now_ns() + ns), stop);
      const cpu::Registers expected = interpreted_.cpu.registers();
      const cpu::Registers found = translated_.cpu.registers();
      ASSERT_EQ(found.gpr, expected.gpr);
      ASSERT_EQ(found.rflags, expected.rflags);
      ASSERT_EQ(found, expected);
      ASSERT_EQ(translated_.cpu.extended_state(), interpreted_.cpu.extended_state());
      ASSERT_EQ(translated_.cpu.instructions(), interpreted_.cpu.instructions());
      ASSERT_EQ(translated_.clock.now_ns(), interpreted_.clock.now_ns());
      if (stop == cpu::Stop::shutdown) break;
    }
    ASSERT_EQ(std::memcmp(translated_.memory.at(data_at), interpreted_.memory.at(data_at), data_bytes), 0);
  }

  CpuBox interpreted_{cpu::default_model(), nullptr, 0};
  CpuBox translated_{cpu::default_model(), nullptr, runs()};
  const Cpu::ExtendedState initial_ = interpreted_.cpu.extended_state();
};

TEST_P(TranslatedProgram, IsWhereTheInterpreterIsAtEachLook) {
  const char* const fewer = std::getenv("CBIT_TRANSLATED_PROGRAMS");
  const std::uint64_t cases = fewer != nullptr ? std::strtoull(fewer, nullptr, 10) : 1500;
  const RandomCode code{mode(), cpu::default_model().features, [](const isa::Row&) { return true; }};
  for (std::uint64_t seed = 1; seed <= cases; ++seed) {
    Random random{seed};
    const auto sequence = code.sequence(random, 1 + static_cast<unsigned>(random() % 40));
    SCOPED_TRACE("seed " + std::to_string(seed) + ":\n" + listing(sequence));
    for (CpuBox* const box : {&interpreted_, &translated_}) put_code(*box, sequence);
    // Other data lead to other ways through the code that stands by then.
    for (unsigned round = 0; round < 2 * runs() - 1; ++round) {
      const cpu::Registers registers = random_registers(random);
      for (CpuBox* const box : {&interpreted_, &translated_}) start(*box, registers, seed + round);
      compare(random);
      if (HasFatalFailure()) return;
    }
  }
  const bool translates = translated_.code.enter_translation() != nullptr;
  EXPECT_TRUE(!translates || translated_.code.stats().translated > cases);
}

INSTANTIATE_TEST_SUITE_P(Code, TranslatedProgram,
                         ::testing::Combine(::testing::Bool(), ::testing::Values(1u, 3u)),
                         [](const auto& which) {
                           return (std::get<0>(which.param) ? "Of32BitsAfter" : "Of64BitsAfter") +
                                  std::to_string(std::get<1>(which.param));
                         });

}  // namespace
}  // namespace cbit::test
