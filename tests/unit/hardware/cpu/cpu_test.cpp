#include "cpu/cpu.hpp"

#include "cpu_box.hpp"

namespace cbit::test {
namespace {

TEST(Cpu, RunsCodeUntilItHalts) {
  CpuBox box;
  box.put_code({0xb8, 0x05, 0x00, 0x00, 0x00,  // mov eax, 5
                0xbb, 0x07, 0x00, 0x00, 0x00,  // mov ebx, 7
                0x01, 0xd8,                    // add eax, ebx
                0xf4});                        // hlt
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box[Gpr::rax], 12u);
  EXPECT_EQ(box.cpu.instructions(), 4u);
}

TEST(Cpu, LoopsOverChainedBlocks) {
  CpuBox box;
  box.put_code({0x31, 0xc0,                    // xor eax, eax
                0xb9, 0x64, 0x00, 0x00, 0x00,  // mov ecx, 100
                0x01, 0xc8,                    // 1: add eax, ecx
                0xff, 0xc9,                    // dec ecx
                0x75, 0xfa,                    // jnz 1b
                0xf4});                        // hlt
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box[Gpr::rax], 5050u);
}

TEST(Cpu, StopsAtItsDeadlineAndGoesOn) {
  CpuBox box;
  box.put_code({0xff, 0xc0, 0xeb, 0xfc});  // 1: inc eax; jmp 1b
  EXPECT_EQ(box.cpu.run(1000), cpu::Stop::deadline);
  EXPECT_EQ(box.clock.now_ns(), 1000u);
  const std::uint64_t before = box[Gpr::rax];
  EXPECT_EQ(box.cpu.run(2000), cpu::Stop::deadline);
  EXPECT_GT(box[Gpr::rax], before);
}

// Blocks of one, two and six instructions.
const Code uneven{0xff, 0xc0, 0xeb, 0x00,           // 1: inc eax; jmp 2f
                  0x90, 0x90, 0x90, 0x90,           // 2: nop * 4
                  0xff, 0xc1, 0xe8, 0x02, 0, 0, 0,  // inc ecx; call 3f
                  0xeb, 0xef,                       // jmp 1b
                  0xc3};                            // 3: ret

TEST(Cpu, StopsAtItsDeadlineToTheInstructionWhereverBlocksEnd) {
  for (std::uint64_t ns = 1; ns < 40; ++ns) {
    CpuBox box;
    box.put_code(uneven);
    EXPECT_EQ(box.cpu.run(3 * ns), cpu::Stop::deadline);
    EXPECT_EQ(box.cpu.instructions(), 3 * ns);
    EXPECT_EQ(box.cpu.run(4 * ns), cpu::Stop::deadline);
    EXPECT_EQ(box.cpu.instructions(), 4 * ns);
    EXPECT_EQ(box.clock.now_ns(), 4 * ns);
  }
}

TEST(Cpu, StopsAtAPortThatTakesUsBeyondTheDeadline) {
  CpuBox box;
  // Nobody answers there, and it takes a microsecond all the same.
  box.put_code({0xe4, 0x80, 0x90, 0x90, 0x90, 0xf4});  // in al, 0x80; nop; nop; nop; hlt
  EXPECT_EQ(box.cpu.run(3), cpu::Stop::deadline);
  EXPECT_EQ(box.cpu.instructions(), 1u);
  EXPECT_EQ(box.clock.now_ns(), 1001u);
}

TEST(Cpu, PausesAtAPositionAsIfItHadNot) {
  CpuBox without;
  without.put_code(uneven);
  (void)without.cpu.run(1000);
  CpuBox box;
  box.put_code(uneven);
  for (std::uint64_t position = 0; position < 1000; position += 7) {
    box.cpu.pause_at(position);
    EXPECT_EQ(box.cpu.run(1000), cpu::Stop::debugger);
    EXPECT_EQ(box.cpu.position(), position);
    EXPECT_FALSE(box.cpu.take_debug_stop());
  }
  box.cpu.pause_at(cpu::never);
  EXPECT_EQ(box.cpu.run(1000), cpu::Stop::deadline);
  EXPECT_EQ(box.cpu.registers(), without.cpu.registers());
  EXPECT_EQ(box.clock.now_ns(), without.clock.now_ns());
}

// Each is a position of its own: the instruction that faults is none, its exception is one.
TEST(Cpu, CountsTheExceptionsThatItDelivers) {
  CpuBox box;
  constexpr std::uint64_t handler = CpuBox::code_at + 0x100;
  box.put_code({0x90, 0x0f, 0x0b, 0xf4});                             // nop; ud2; hlt
  box.put_code({0x48, 0x83, 0x04, 0x24, 0x02, 0x48, 0xcf}, handler);  // add qword [rsp], 2; iretq
  box.set_gate(6, handler);
  std::vector<std::uint64_t> places;
  for (std::uint64_t position = 0; position <= 4; ++position) {
    box.cpu.pause_at(position);
    EXPECT_EQ(box.run(), cpu::Stop::debugger);
    EXPECT_EQ(box.cpu.position(), position);
    places.push_back(box.cpu.rip());
  }
  EXPECT_EQ(places,
            (std::vector{CpuBox::code_at, CpuBox::code_at + 1, handler, handler + 5, CpuBox::code_at + 3}));
  EXPECT_EQ(box.cpu.instructions(), 3u);
}

TEST(Cpu, TakesADisplacementInPlaceOfBase5WhateverTheRexPrefixAndTheAddressSizeSay) {
  CpuBox box;
  box.cpu.gpr(Gpr::rbx) = 0x100;
  box.cpu.gpr(Gpr::r13) = 0x10'0000;
  box.put_code({0x67, 0x49, 0x8d, 0x04, 0x9d, 0x11, 0, 0, 0,  // lea rax, [ebx*4+0x11]
                0x49, 0x8d, 0x0c, 0x9d, 0x11, 0, 0, 0,        // lea rcx, [rbx*4+0x11]
                0xf4});                                       // hlt
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box[Gpr::rax], 0x411u);
  EXPECT_EQ(box[Gpr::rcx], 0x411u);
}

// As on an ISA or LPC bus, which pit_verify_msb() of Linux' arch/x86/kernel/tsc.c counts on.
TEST(Cpu, WaitsAMicrosecondForEachAccessToAPort) {
  CpuBox box;
  box.put_code({0xe4, 0x80,  // in al, 0x80
                0xe6, 0x80,  // out 0x80, al
                0xf4});      // hlt
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box.clock.now_ns(), 2003u);
}

struct Missing final : cpu::Supervisor {
  void missing_instruction(Cpu&, std::string_view name) override { names.emplace_back(name); }
  std::vector<std::string> names;
};

// The names told while `code` runs into its #UD.
std::vector<std::string> missing_in(const Code& code) {
  Missing missing;
  CpuBox box{cpu::default_model(), &missing};
  constexpr std::uint64_t handler = CpuBox::code_at + 0x100;
  box.set_gate(6, handler);
  box.put_code({0xf4}, handler);  // hlt
  box.put_code(code);
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box.cpu.deliveries().size(), 1u);
  return missing.names;
}

TEST(Cpu, TellsWhichInstructionItDoesNotHave) {
  using Names = std::vector<std::string>;
  EXPECT_EQ(missing_in({0xc5, 0xf8, 0x58, 0xc0}), Names{"vaddps"});        // AVX: no row
  EXPECT_EQ(missing_in({0x66, 0x0f, 0x38, 0xdc, 0xc1}), Names{"aesenc"});  // a row, but not offered
  EXPECT_EQ(missing_in({0x0f, 0x0b}), Names{});                            // ud2 is there, and is to fault
  EXPECT_EQ(missing_in({0xf0, 0x90}), Names{});                            // lock nop is no instruction
}

// Answers any access by noting where the processor is.
struct Onlooker final : bus::PioRegion {
  explicit Onlooker(const Cpu& watched) : cpu{&watched} {}
  std::uint32_t read(std::uint16_t, unsigned) override { return 0; }
  void write(std::uint16_t, unsigned, std::uint32_t) override { note(); }
  void note() {
    places.push_back(cpu->rip() - CpuBox::code_at);
    EXPECT_EQ(cpu->registers().rip, cpu->rip());
  }
  const Cpu* cpu;
  std::vector<std::uint64_t> places;
};

TEST(Cpu, TellsADeviceTheVeryInstructionThatUsesIt) {
  CpuBox box;
  Onlooker onlooker{box.cpu};
  box.memory.on_device = [&] { onlooker.note(); };
  box.ports.add({0x80, 1}, onlooker);
  box.memory.store(CpuBox::pt, std::uint64_t{CpuBox::memory_bytes | 3});  // no memory there
  box.put_code({0xb8, 0x01, 0x00, 0x00, 0x00,                             //  0: mov eax, 1
                0xff, 0xc0,                                               //  5: inc eax
                0x89, 0x04, 0x25, 0x00, 0x00, 0x20, 0x00,                 //  7: mov [small_pages], eax
                0xff, 0xc0,                                               // 14: inc eax
                0x8b, 0x1c, 0x25, 0x00, 0x00, 0x20, 0x00,                 // 16: mov ebx, [small_pages]
                0xbf, 0x00, 0x00, 0x20, 0x00,                             // 23: mov edi, small_pages
                0xaa,                                                     // 28: stosb
                0xe6, 0x80,                                               // 29: out 0x80, al
                0xf4});                                                   // 31: hlt
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(onlooker.places, (std::vector<std::uint64_t>{7, 16, 28, 29}));
  EXPECT_EQ(box.cpu.rip(), CpuBox::code_at + 32) << "nothing executes: the next instruction";
}

}  // namespace
}  // namespace cbit::test
