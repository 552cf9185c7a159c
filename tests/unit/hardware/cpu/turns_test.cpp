// Processors in turns: who runs when, and what ends a turn.
#include "cpu/turns.hpp"

#include "cpu_box.hpp"

namespace cbit::cpu {
namespace {

using test::CpuBox;
using test::FakeInterrupts;

constexpr std::uint64_t first_at = CpuBox::code_at, second_at = 0x2'0000, handler_at = 0x3'0000;
constexpr std::uint16_t first_port = 0x80, second_port = 0x81;
constexpr std::uint8_t its_vector = 0x40;

const test::Code for_ever{0xeb, 0xfe};                // jmp $
const test::Code spin{0xf3, 0x90, 0xeb, 0xfc};        // pause; jmp -4
const test::Code halt{0xf4, 0xeb, 0xfd};              // hlt; jmp -3
const test::Code tell_first{0xe6, 0x80, 0xeb, 0xfe};  // out 80h, al; jmp $
const test::Code tell_second{0xe6, 0x81, 0xf4};       // out 81h, al; hlt

// A port that tells when it was written, and does something then.
class Bell final : public bus::PioRegion {
 public:
  Bell(Clock& clock, std::function<void()> then = {}) : clock_{&clock}, then_{std::move(then)} {}
  std::uint32_t read(std::uint16_t, unsigned) override { return 0; }
  void write(std::uint16_t, unsigned, std::uint32_t) override {
    rung.push_back(clock_->now_ns());
    if (then_) then_();
  }
  std::vector<std::uint64_t> rung;

 private:
  Clock* clock_;
  std::function<void()> then_;
};

class CpuTurns : public testing::Test, private Supervisor {
 protected:
  CpuTurns() {
    turns_.add(box_.cpu);
    turns_.add(second_);
    Registers registers = CpuBox::kernel_registers();
    registers.rip = second_at;
    registers[isa::Gpr::rsp] = CpuBox::stack_top - 0x1000;
    registers.rflags |= rflags::interrupt;
    second_.set_registers(registers);
    box_.set_gate(its_vector, handler_at);
  }

  void put(const test::Code& first, const test::Code& second) {
    box_.put_code(first, first_at);
    box_.put_code(second, second_at);
  }
  Stop run(std::uint64_t ns) { return turns_.run(box_.clock.now_ns() + ns); }

  CpuBox box_{default_model(), this};
  FakeInterrupts second_interrupts_;
  Cpu second_{{.index = 1, .cpus = 2},
              {box_.memory, box_.ports, second_interrupts_, box_.clock, box_.code, this}};
  Turns turns_{box_.clock};

 private:
  void signal_raised(Cpu& cpu) override { turns_.signal_raised(cpu); }
  void spin_wait(Cpu&) override { turns_.spin_wait(); }
};

TEST_F(CpuTurns, GiveTwoBusyProcessorsTheSameTime) {
  put(for_ever, for_ever);
  EXPECT_EQ(run(10'000'000), Stop::deadline);
  EXPECT_EQ(box_.cpu.instructions() + second_.instructions(), box_.clock.now_ns());
  const auto first = static_cast<double>(box_.cpu.instructions());
  EXPECT_NEAR(first, static_cast<double>(second_.instructions()), first / 20);
}

TEST_F(CpuTurns, GoOnWhereTheLastCallEnded) {
  put(for_ever, for_ever);
  for (int call = 0; call < 10'000; ++call) EXPECT_EQ(run(1'000), Stop::deadline);
  const auto first = static_cast<double>(box_.cpu.instructions());
  EXPECT_NEAR(first, static_cast<double>(second_.instructions()), first / 20);
}

TEST_F(CpuTurns, PassFromOneThatSpinsToOneThatWorks) {
  put(spin, for_ever);
  run(10'000'000);
  EXPECT_LT(box_.cpu.instructions(), second_.instructions() / 1000);
}

TEST_F(CpuTurns, LetOneThatSpinsAloneGoOn) {
  put(spin, halt);
  EXPECT_EQ(run(10'000'000), Stop::deadline);
  EXPECT_EQ(second_.instructions(), 1u);
  EXPECT_EQ(box_.cpu.instructions(), box_.clock.now_ns() - 1);
}

TEST_F(CpuTurns, EndWhenAllHalt) {
  put(halt, halt);
  EXPECT_EQ(run(10'000'000), Stop::halted);
  EXPECT_EQ(box_.clock.now_ns(), 2u);
  EXPECT_EQ(run(10'000'000), Stop::halted) << "and nothing has changed";
  EXPECT_EQ(box_.clock.now_ns(), 2u);
}

TEST_F(CpuTurns, PassAtOnceToOneThatAnotherInterrupts) {
  put(tell_first, halt);
  box_.put_code(tell_second, handler_at);
  Bell rings{box_.clock, [&] { second_interrupts_.raise(its_vector); }}, answers{box_.clock};
  box_.ports.add({first_port, 1}, rings);
  box_.ports.add({second_port, 1}, answers);
  run(1'000'000);
  ASSERT_EQ(rings.rung.size(), 1u);
  ASSERT_EQ(answers.rung.size(), 1u);
  constexpr std::uint64_t port_ns = 1'000;  // what an access costs, cpu/cpu.hpp
  EXPECT_LE(answers.rung[0] - rings.rung[0], 2 * port_ns);
}

TEST_F(CpuTurns, AnswerAnInterruptSoonEvenAmongBusyOnes) {
  put(tell_first, for_ever);
  box_.put_code(tell_second, handler_at);
  Bell rings{box_.clock, [&] { second_interrupts_.raise(its_vector); }}, answers{box_.clock};
  box_.ports.add({first_port, 1}, rings);
  box_.ports.add({second_port, 1}, answers);
  run(1'000'000);
  ASSERT_EQ(answers.rung.size(), 1u);
  EXPECT_LE(answers.rung[0] - rings.rung[0], 2'000u);
}

// The signal waits for STI, HLT follows in its shadow, and the time that was asked for ends there.
TEST_F(CpuTurns, DoNotLoseASignalThatWaitsAsTheProcessorHalts) {
  put(halt, {0x90, 0xfb, 0xf4, 0xeb, 0xfd});  // nop; sti; hlt; jmp -3
  box_.put_code(tell_second, handler_at);
  Bell answers{box_.clock};
  box_.ports.add({second_port, 1}, answers);
  Registers registers = second_.registers();
  registers.rflags &= ~rflags::interrupt;
  run(1'000);
  for (std::uint64_t ns = 1; ns <= 5; ++ns) {
    second_.set_registers(registers);
    second_interrupts_.raise(its_vector);
    run(ns);
    run(1'000'000);
    EXPECT_EQ(answers.rung.size(), ns);
  }
}

// Two that give way to each other.
class TwoThatSpin final : public CpuTurns {
 public:
  TwoThatSpin() { put(spin, {0xff, 0xc0, 0xf3, 0x90, 0x90, 0xeb, 0xf9}); }  // 1: inc eax; pause; nop; jmp 1b
  void TestBody() override {}
  // Pausing each so many positions; 0: not at all.
  std::vector<std::uint64_t> run_with_pauses(std::uint64_t every) {
    constexpr std::uint64_t ns = 5'000;
    std::uint64_t pauses = 0;
    if (every != 0) turns_.pause_at(every);
    while (turns_.run(ns) == Stop::debugger) {
      EXPECT_EQ(turns_.position(), every * ++pauses);
      turns_.pause_at(every * (pauses + 1));
    }
    EXPECT_EQ(pauses, every == 0 ? 0 : ns / every);
    return {box_.clock.now_ns(), box_.cpu.instructions(), second_.instructions(), turns_.current().index()};
  }
};

TEST(CpuTurnsWithPauses, AreAsTheyWereWithout) {
  const auto without = TwoThatSpin{}.run_with_pauses(0);
  for (const std::uint64_t every : {1, 2, 3, 7, 100})
    EXPECT_EQ(TwoThatSpin{}.run_with_pauses(every), without);
}

TEST_F(CpuTurns, StopWhenAsked) {
  put(tell_first, for_ever);
  Bell rings{box_.clock, [&] { turns_.request_stop(); }};
  box_.ports.add({first_port, 1}, rings);
  EXPECT_EQ(run(1'000'000), Stop::requested);
  EXPECT_EQ(box_.cpu.instructions(), 1u);
}

TEST_F(CpuTurns, EndAtATripleFaultOfAny) {
  put(for_ever, {0x0f, 0x0b});  // ud2
  Registers registers = second_.registers();
  registers.idtr.limit = 0;
  second_.set_registers(registers);
  EXPECT_EQ(run(1'000'000), Stop::shutdown);
  EXPECT_EQ(turns_.current().index(), 1u);
}

// APM vol. 3, E.3.2 (Fn0000_0001), E.3.6 (Fn0000_000B), E.4.2 (Fn8000_0001), E.4.8 (Fn8000_0008).
TEST(CpuTopology, IsOnePackageOfCores) {
  CpuBox box;
  FakeInterrupts interrupts;
  const Cpu third{{.index = 2, .cpus = 5, .model = default_model()},
                  {box.memory, box.ports, interrupts, box.clock, box.code}};
  EXPECT_EQ(third.cpuid(1, 0)[1] >> 24, 2u) << "initial APIC ID";
  EXPECT_EQ(third.cpuid(1, 0)[1] >> 16 & 0xff, 5u) << "logical processors";
  EXPECT_EQ(third.cpuid(1, 0)[3] >> 28 & 1, 1u) << "HTT";
  EXPECT_EQ(third.cpuid(0x8000'0001, 0)[2] >> 1 & 1, 1u) << "CmpLegacy";
  EXPECT_EQ(third.cpuid(0x8000'0008, 0)[2], 3u << 12 | 4u) << "ApicIdSize, NC";
  EXPECT_EQ(third.cpuid(0xb, 0), (std::array<std::uint32_t, 4>{0, 1, 0x100, 2}));
  EXPECT_EQ(third.cpuid(0xb, 1), (std::array<std::uint32_t, 4>{3, 5, 0x201, 2}));
  EXPECT_EQ(box.cpu.cpuid(1, 0)[3] >> 28 & 1, 0u) << "one alone";
  EXPECT_EQ(box.cpu.cpuid(0x8000'0008, 0)[2], 0u);
}

}  // namespace
}  // namespace cbit::cpu
