// What a debugger stops a processor for, beside what the guest's own debug registers do.
#include <gtest/gtest.h>

#include "unit/hardware/cpu/cpu_box.hpp"

namespace cbit::test {
namespace {

using cpu::DataWatch;
using cpu::Stop;

constexpr std::uint64_t data_at = 0x30'0000;

DataWatch writes_to(std::uint64_t at, std::uint64_t bytes) { return {VirtAddr{at}, bytes, false, true}; }
DataWatch reads_of(std::uint64_t at, std::uint64_t bytes) { return {VirtAddr{at}, bytes, true, false}; }

class CountedProbe final : public cpu::ProbeSink {
 public:
  void on_probe(Cpu&, VirtAddr) override { ++hits; }
  unsigned hits = 0;
};

// mov ecx, 3; 1: inc eax; nop; dec ecx; jnz 1b; hlt
const Code loop = {0xb9, 0x03, 0x00, 0x00, 0x00, 0xff, 0xc0, 0x90, 0xff, 0xc9, 0x75, 0xf9, 0xf4};
constexpr VirtAddr loop_nop{CpuBox::code_at + 7};

TEST(CpuBreakpoints, StopBeforeTheInstructionAndLeaveItsBytes) {
  CpuBox box;
  box.put_code(loop);
  box.cpu.add_breakpoint(loop_nop);
  for (unsigned round = 1; round <= 3; ++round) {
    ASSERT_EQ(box.run(), Stop::debugger);
    EXPECT_EQ(box.cpu.rip(), loop_nop.value());
    const auto stop = box.cpu.take_debug_stop();
    EXPECT_EQ(stop->at, loop_nop);
    EXPECT_FALSE(stop->watch);
    EXPECT_EQ(box[Gpr::rax], round);
    EXPECT_EQ(box.memory.load<std::uint8_t>(loop_nop.value()), 0x90);
    ASSERT_EQ(box.cpu.step(), Stop::requested);
    EXPECT_FALSE(box.cpu.take_debug_stop());
    EXPECT_EQ(box.cpu.rip(), loop_nop.value() + 1);
  }
  EXPECT_EQ(box.run(), Stop::halted);
}

TEST(CpuBreakpoints, LeaveTheCountOfInstructionsAndTheTimeAsTheyAre) {
  CpuBox without;
  without.put_code(loop);
  EXPECT_EQ(without.run(), Stop::halted);
  CpuBox with;
  with.put_code(loop);
  with.cpu.add_breakpoint(loop_nop);
  while (with.run() == Stop::debugger) EXPECT_EQ(with.cpu.step(), Stop::requested);
  EXPECT_EQ(with.cpu.instructions(), without.cpu.instructions());
  EXPECT_EQ(with.clock.now_ns(), without.clock.now_ns());
}

TEST(CpuBreakpoints, ShareTheirPlaceWithAProbeWhichIsToldOnce) {
  CpuBox box;
  CountedProbe probe;
  box.put_code(loop);
  box.cpu.set_probe_sink(&probe);
  box.cpu.add_probe(loop_nop);
  box.cpu.add_breakpoint(loop_nop);
  ASSERT_EQ(box.run(), Stop::debugger);
  EXPECT_EQ(probe.hits, 0u);
  ASSERT_EQ(box.cpu.step(), Stop::requested);
  EXPECT_EQ(probe.hits, 1u);
  box.cpu.remove_breakpoint(loop_nop);
  EXPECT_EQ(box.run(), Stop::halted);
  EXPECT_EQ(probe.hits, 3u);
}

TEST(CpuBreakpoints, CountAtTheirAddressAloneHoweverElseTheCodeIsMapped) {
  constexpr std::uint64_t alias = CpuBox::small_pages + 5 * page_size;
  CpuBox box;
  box.memory.store(CpuBox::pt + 5 * 8, CpuBox::code_at | 7);
  box.put_code(loop);
  box.cpu.add_breakpoint(VirtAddr{alias + 7});
  EXPECT_EQ(box.run(), Stop::halted);
  cpu::Registers registers = CpuBox::kernel_registers();
  registers.rip = alias;
  box.use(registers);
  EXPECT_EQ(box.run(), Stop::debugger);
  EXPECT_EQ(box.cpu.rip(), alias + 7);
}

TEST(CpuBreakpoints, CountWhileTheGuestStepsItself) {
  CpuBox box;
  box.set_gate(1, 0x2'0000);
  box.put_code({0x48, 0xcf}, 0x2'0000);  // iretq
  box.put_code(loop);
  box.cpu.add_breakpoint(loop_nop);
  cpu::Registers registers = CpuBox::kernel_registers();
  registers.rflags |= cpu::rflags::trap;
  box.use(registers);
  ASSERT_EQ(box.run(), Stop::debugger);
  EXPECT_EQ(box.cpu.rip(), loop_nop.value());
  EXPECT_EQ(box[Gpr::rax], 1u);
}

// mov eax, 1; mov [data], eax; mov ebx, [data]; inc ebx; hlt
const Code store_and_load = {0xb8, 1,    0,    0,    0, 0x89, 0x04, 0x25, 0,    0,    0x30,
                             0,    0x8b, 0x1c, 0x25, 0, 0,    0x30, 0,    0xff, 0xc3, 0xf4};

TEST(CpuWatches, StopBehindTheInstructionThatWrites) {
  CpuBox box;
  box.put_code(store_and_load);
  box.cpu.set_watches({writes_to(data_at + 2, 8)});
  ASSERT_EQ(box.run(), Stop::debugger);
  EXPECT_EQ(box.cpu.rip(), CpuBox::code_at + 12);
  const auto stop = box.cpu.take_debug_stop();
  EXPECT_EQ(stop->at, VirtAddr{data_at + 2});
  EXPECT_EQ(stop->watch, writes_to(data_at + 2, 8));
  EXPECT_EQ(box.memory.load<std::uint32_t>(data_at), 1u);
  EXPECT_EQ(box.cpu.instructions(), 2u);
  EXPECT_EQ(box.cpu.debug_registers().status & 0xf, 0u);
  EXPECT_EQ(box.run(), Stop::halted);
  EXPECT_EQ(box[Gpr::rbx], 2u);
}

TEST(CpuWatches, StopBehindTheInstructionThatReads) {
  CpuBox box;
  box.put_code(store_and_load);
  box.cpu.set_watches({reads_of(data_at, 4)});
  ASSERT_EQ(box.run(), Stop::debugger);
  EXPECT_EQ(box.cpu.rip(), CpuBox::code_at + 19);
  EXPECT_EQ(box[Gpr::rbx], 1u);
  EXPECT_EQ(box.run(), Stop::halted);
}

TEST(CpuWatches, TakeNoNoticeOfNeighbours) {
  CpuBox box;
  box.put_code(store_and_load);
  box.cpu.set_watches(
      {writes_to(data_at - 8, 8), writes_to(data_at + 4, 4), writes_to(~std::uint64_t{0}, 1)});
  EXPECT_EQ(box.run(), Stop::halted);
  EXPECT_EQ(box[Gpr::rbx], 2u);
}

TEST(CpuWatches, ChangeNothingOfAnInstructionThatReadsFlagsAndWritesThem) {
  CpuBox box;
  // stc; adc dword [data], -1; setc bl; hlt
  box.put_code({0xf9, 0x83, 0x14, 0x25, 0, 0, 0x30, 0, 0xff, 0x0f, 0x92, 0xc3, 0xf4});
  box.memory.store<std::uint32_t>(data_at, 5);
  box.cpu.set_watches({writes_to(data_at, 4)});
  ASSERT_EQ(box.run(), Stop::debugger);
  EXPECT_EQ(box.memory.load<std::uint32_t>(data_at), 5u);  // 5 - 1 + the carry
  EXPECT_EQ(box.run(), Stop::halted);
  EXPECT_EQ(box[Gpr::rbx] & 0xff, 1u);
}

TEST(CpuWatches, StopARepeatedInstructionBehindTheElement) {
  CpuBox box;
  // mov edi, data; mov ecx, 8; mov al, 7; rep stosb; hlt
  box.put_code({0xbf, 0, 0, 0x30, 0, 0xb9, 8, 0, 0, 0, 0xb0, 7, 0xf3, 0xaa, 0xf4});
  box.cpu.set_watches({writes_to(data_at + 3, 1)});
  ASSERT_EQ(box.run(), Stop::debugger);
  EXPECT_EQ(box[Gpr::rcx], 4u);
  EXPECT_EQ(box[Gpr::rdi], data_at + 4);
  EXPECT_EQ(box.cpu.rip(), CpuBox::code_at + 12);
  EXPECT_EQ(box.run(), Stop::halted);
  EXPECT_EQ(box.memory.load<std::uint64_t>(data_at), 0x0707'0707'0707'0707u);
}

TEST(CpuWatches, SeeTheFrameOfAnException) {
  CpuBox box;
  box.set_gate(6, 0x2'0000);
  box.put_code({0xf4}, 0x2'0000);
  box.put_code({0x0f, 0x0b});  // ud2
  box.cpu.set_watches({writes_to(CpuBox::stack_top - 8, 8)});
  ASSERT_EQ(box.run(), Stop::debugger);
  EXPECT_EQ(box.cpu.rip(), 0x2'0000u);
  EXPECT_EQ(box.cpu.instructions(), 0u);
}

TEST(CpuWatches, ForgetWhatAFaultUndoes) {
  CpuBox box;
  box.set_gate(14, 0x2'0000);
  box.put_code({0xf4}, 0x2'0000);
  box.memory.store<std::uint64_t>(CpuBox::pt + 8, 0);  // where RDI points
  // mov esi, data; mov edi, small_pages + page; movsb
  box.put_code({0xbe, 0, 0, 0x30, 0, 0xbf, 0, 0x10, 0x20, 0, 0xa4});
  box.cpu.set_watches({reads_of(data_at, 1)});
  EXPECT_EQ(box.run(), Stop::halted);
  EXPECT_EQ(box.cpu.rip(), 0x2'0001u);
}

TEST(CpuDebugging, StepsPastInterruptsWhereTheyAreHeld) {
  CpuBox box;
  box.set_gate(0x40, 0x2'0000);
  box.put_code({0x90, 0x90, 0xf4});
  cpu::Registers registers = CpuBox::kernel_registers();
  registers.rflags |= cpu::rflags::interrupt;
  box.use(registers);
  box.interrupts.raise(0x40);
  EXPECT_EQ(box.cpu.step(true), Stop::requested);
  EXPECT_EQ(box.cpu.rip(), CpuBox::code_at + 1);
  EXPECT_TRUE(box.interrupts.acknowledged.empty());
  EXPECT_EQ(box.cpu.step(), Stop::requested);
  EXPECT_EQ(box.cpu.rip(), 0x2'0000u);
}

}  // namespace
}  // namespace cbit::test
