// Interrupts, their shadows, and debugging. Expected behaviour: AMD APM vol. 2, chapters 8 and 13.
#include "cpu_box.hpp"

namespace cbit::test {
namespace {

constexpr std::uint64_t handler = 0x2'0000;

// Vector 0x40 counts in EDI and ends; #DB saves DR6 and RIP, and goes on.
struct InterruptBox : CpuBox {
  InterruptBox() {
    put_code(
        {
            0xff, 0xc7,  // inc edi
            0x48, 0xcf   // iretq
        },
        handler);
    set_gate(0x40, handler);
    set_gate(2, handler);
    put_code(
        {
            0x50,                                            // push rax
            0x0f, 0x21, 0xf0,                                // mov rax, dr6
            0x48, 0x89, 0x04, 0x25, 0x00, 0x01, 0x20, 0x00,  // mov [0x200100], rax
            0x48, 0x8b, 0x44, 0x24, 0x08,                    // mov rax, [rsp+8]
            0x48, 0x89, 0x04, 0x25, 0x08, 0x01, 0x20, 0x00,  // mov [0x200108], rax
            0xff, 0xc6,                                      // inc esi
            0x58,                                            // pop rax
            0x48, 0xcf                                       // iretq
        },
        handler + 0x100);
    set_gate(1, handler + 0x100);
  }
  std::uint64_t dr6() { return memory.load<std::uint64_t>(0x20'0100); }
  std::uint64_t trapped_at() { return memory.load<std::uint64_t>(0x20'0108); }
  void set_flags(std::uint64_t flags) {
    cpu::Registers r = cpu.registers();
    r.rflags |= flags;
    cpu.set_registers(r);
  }
};

TEST(CpuInterrupts, AreTakenOnlyWhileEnabled) {
  InterruptBox box;
  box.put_code({
      0x90,  // nop
      0x90,  // nop
      0xf4   // hlt
  });
  box.interrupts.raise(0x40);
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box[Gpr::rdi], 0u);
  EXPECT_TRUE(box.interrupts.acknowledged.empty());

  box.use(CpuBox::kernel_registers());
  box.put_code({
      0xfb,  // sti
      0x90,  // nop
      0x90,  // nop
      0xfa,  // cli
      0xf4   // hlt
  });
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box[Gpr::rdi], 1u);
  EXPECT_EQ(box.interrupts.acknowledged, std::vector<std::uint8_t>{0x40});
}

TEST(CpuInterrupts, AreHeldOffForOneInstructionAfterSti) {
  InterruptBox box;
  box.put_code({
      0xfb,  // sti
      0xfa,  // cli
      0xf4   // hlt
  });
  box.interrupts.raise(0x40);
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box[Gpr::rdi], 0u);

  InterruptBox saved;
  saved.put_code(
      {
          0x48, 0x8b, 0x04, 0x24,                          // mov rax, [rsp]
          0x48, 0x89, 0x04, 0x25, 0x00, 0x01, 0x20, 0x00,  // mov [0x200100], rax
          0xf4                                             // hlt
      },
      handler);
  saved.put_code({
      0xfb,                          // sti
      0xb8, 0x01, 0x00, 0x00, 0x00,  // mov eax, 1
      0xbb, 0x01, 0x00, 0x00, 0x00,  // mov ebx, 1
      0xf4                           // hlt
  });
  saved.interrupts.raise(0x40);
  EXPECT_EQ(saved.run(), cpu::Stop::halted);
  EXPECT_EQ(saved.dr6(), CpuBox::code_at + 6);  // where it was interrupted
  EXPECT_EQ(saved[Gpr::rbx], 0u);
}

// A device that interrupts when it is written to.
struct DoorBell final : bus::PioRegion {
  explicit DoorBell(FakeInterrupts& to) : interrupts{&to} {}
  std::uint32_t read(std::uint16_t, unsigned) override { return 0; }
  void write(std::uint16_t, unsigned, std::uint32_t) override { interrupts->raise(0x40); }
  FakeInterrupts* interrupts;
};

TEST(CpuInterrupts, OfADeviceAreTakenBehindTheInstructionThatAsksForThem) {
  InterruptBox box;
  DoorBell bell{box.interrupts};
  box.ports.add({0x60, 1}, bell);
  box.put_code({
      0xfb,        // sti
      0x90,        // nop
      0xe6, 0x60,  // out 0x60, al
      0x89, 0xf9,  // mov ecx, edi
      0xf4         // hlt
  });
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box[Gpr::rcx], 1u);
}

// As behind a port; the block goes on behind it otherwise.
TEST(CpuInterrupts, OfADeviceThatIsReadAreTakenBehindThatInstruction) {
  InterruptBox box;
  box.memory.store(CpuBox::pt, std::uint64_t{CpuBox::memory_bytes | 3});  // no memory there
  box.memory.on_device = [&box] { box.interrupts.raise(0x40); };
  box.put_code({
      0xfb,                                      // sti
      0x90,                                      // nop
      0x8b, 0x04, 0x25, 0x00, 0x00, 0x20, 0x00,  // mov eax, [small_pages]
      0x89, 0xf9,                                // mov ecx, edi
      0xf4                                       // hlt
  });
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box[Gpr::rcx], 1u);
  EXPECT_EQ(box.memory.device_reads.size(), 1u);
}

TEST(CpuInterrupts, AreHeldOffAfterALoadOfSs) {
  InterruptBox box;
  box.put_code(
      {
          0x48, 0x8b, 0x04, 0x24,                          // mov rax, [rsp]
          0x48, 0x89, 0x04, 0x25, 0x00, 0x01, 0x20, 0x00,  // mov [0x200100], rax
          0xf4                                             // hlt
      },
      handler);
  box.put_code({
      0xb9, 0x10, 0x00, 0x00, 0x00,  // mov ecx, 0x10
      0xfb,                          // sti
      0x8e, 0xd1,                    // mov ss, ecx
      0xbb, 0x01, 0x00, 0x00, 0x00,  // mov ebx, 1
      0xba, 0x01, 0x00, 0x00, 0x00,  // mov edx, 1
      0xf4                           // hlt
  });
  box.interrupts.raise(0x40);
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box.dr6(), CpuBox::code_at + 13);  // behind the MOV that follows the load
  EXPECT_EQ(box[Gpr::rdx], 0u);
}

TEST(CpuInterrupts, WakeAHaltedProcessor) {
  InterruptBox box;
  box.put_code({
      0xfb,                          // sti
      0xf4,                          // hlt
      0xbb, 0x05, 0x00, 0x00, 0x00,  // mov ebx, 5
      0xfa,                          // cli
      0xf4                           // hlt
  });
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_TRUE(box.cpu.halted());
  EXPECT_EQ(box[Gpr::rbx], 0u);
  EXPECT_EQ(box.run(), cpu::Stop::halted);  // nothing happens by itself
  EXPECT_EQ(box[Gpr::rbx], 0u);
  box.interrupts.raise(0x40);
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box[Gpr::rdi], 1u);
  EXPECT_EQ(box[Gpr::rbx], 5u);
}

TEST(CpuInterrupts, OfADeadlineComeInTime) {
  InterruptBox box;
  box.put_code({
      0xfb,        // sti
      0xff, 0xc0,  // 1: inc eax
      0xeb, 0xfc   // jmp 1b
  });
  box.clock.schedule(500, [&] { box.interrupts.raise(0x40); });
  EXPECT_EQ(box.cpu.run(400), cpu::Stop::deadline);
  EXPECT_EQ(box[Gpr::rdi], 0u);
  EXPECT_EQ(box.cpu.run(600), cpu::Stop::deadline);
  EXPECT_EQ(box[Gpr::rdi], 1u);
  ASSERT_EQ(box.cpu.deliveries().size(), 1u);
  EXPECT_GE(box.cpu.deliveries()[0].instructions, 500u);
  EXPECT_LE(box.cpu.deliveries()[0].instructions, 510u);
}

TEST(CpuInterrupts, NmiIsBlockedUntilItsHandlerReturns) {
  InterruptBox box;
  // The handler counts, and does not return before EDI says so.
  box.put_code(
      {
          0xff, 0xc7,        // inc edi
          0x83, 0xfd, 0x00,  // 1: cmp ebp, 0
          0x74, 0xfb,        // je 1b
          0x48, 0xcf         // iretq
      },
      handler);
  box.put_code({
      0xff, 0xc0,  // 1: inc eax
      0xeb, 0xfc   // jmp 1b
  });
  box.interrupts.raise_nmi();
  EXPECT_EQ(box.cpu.run(1000), cpu::Stop::deadline);
  EXPECT_EQ(box[Gpr::rdi], 1u);
  box.interrupts.raise_nmi();
  EXPECT_EQ(box.cpu.run(2000), cpu::Stop::deadline);
  EXPECT_EQ(box[Gpr::rdi], 1u);
  box.cpu.gpr(Gpr::rbp) = 1;
  EXPECT_EQ(box.cpu.run(3000), cpu::Stop::deadline);
  EXPECT_EQ(box[Gpr::rdi], 2u);
}

TEST(CpuInterrupts, NmiComesWhileInterruptsAreOff) {
  InterruptBox box;
  box.put_code({
      0x90,  // nop
      0xf4   // hlt
  });
  box.interrupts.raise_nmi();
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box[Gpr::rdi], 1u);
}

TEST(CpuDebugging, TrapFlagStopsAfterEachInstruction) {
  InterruptBox box;
  box.put_code({
      0x9c,                                            // pushfq
      0x48, 0x81, 0x0c, 0x24, 0x00, 0x01, 0x00, 0x00,  // or qword ptr [rsp], 0x100
      0x9d,                                            // popfq
      0xb8, 0x01, 0x00, 0x00, 0x00,                    // mov eax, 1
      0xbb, 0x02, 0x00, 0x00, 0x00,                    // mov ebx, 2
      0x9c,                                            // pushfq
      0x48, 0x81, 0x24, 0x24, 0xff, 0xfe, 0xff, 0xff,  // and qword ptr [rsp], -257
      0x9d,                                            // popfq
      0xb9, 0x03, 0x00, 0x00, 0x00,                    // mov ecx, 3
      0xf4                                             // hlt
  });
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  // Traps after both MOVs, PUSHF, AND, and the POPF that clears the flag; none after the one that set it.
  EXPECT_EQ(box[Gpr::rsi], 5u);
  EXPECT_EQ(box.dr6() & 0x4000, 0x4000u);  // BS
  EXPECT_EQ(box[Gpr::rcx], 3u);
}

TEST(CpuDebugging, InstructionBreakpointFaultsBeforeIt) {
  InterruptBox box;
  box.put_code({
      0x48, 0xc7, 0xc0, 0x20, 0x00, 0x01, 0x00,                                // mov rax, 0x10020
      0x0f, 0x23, 0xc0,                                                        // mov dr0, rax
      0xb8, 0x02, 0x00, 0x00, 0x00,                                            // mov eax, 2
      0x0f, 0x23, 0xf8,                                                        // mov dr7, rax
      0xeb, 0x0c,                                                              // jmp 1f
      0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,  // .org 0x20
      0xbb, 0x01, 0x00, 0x00, 0x00,                                            // 1: mov ebx, 1
      0xb9, 0x02, 0x00, 0x00, 0x00,                                            // mov ecx, 2
      0xf4                                                                     // hlt
  });
  // The handler sets RF in the flags it returns to, so that the instruction runs.
  box.put_code(
      {
          0x50,                                            // push rax
          0x0f, 0x21, 0xf0,                                // mov rax, dr6
          0x48, 0x89, 0x04, 0x25, 0x00, 0x01, 0x20, 0x00,  // mov [0x200100], rax
          0x48, 0x8b, 0x44, 0x24, 0x08,                    // mov rax, [rsp+8]
          0x48, 0x89, 0x04, 0x25, 0x08, 0x01, 0x20, 0x00,  // mov [0x200108], rax
          0x48, 0x89, 0x1c, 0x25, 0x10, 0x01, 0x20, 0x00,  // mov [0x200110], rbx
          0x81, 0x4c, 0x24, 0x18, 0x00, 0x00, 0x01, 0x00,  // or dword ptr [rsp+24], 0x10000
          0xff, 0xc6,                                      // inc esi
          0x58,                                            // pop rax
          0x48, 0xcf                                       // iretq
      },
      handler + 0x100);
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box[Gpr::rsi], 1u);
  EXPECT_EQ(box.trapped_at(), CpuBox::code_at + 0x20);
  EXPECT_EQ(box.dr6() & 0xf, 1u);
  EXPECT_EQ(box.memory.load<std::uint64_t>(0x20'0110), 0u);  // EBX before the instruction
  EXPECT_EQ(box[Gpr::rcx], 2u);
}

TEST(CpuDebugging, DataBreakpointTrapsAfterTheAccess) {
  InterruptBox box;
  // Breakpoint 1: writes of four bytes at 0x200004.
  box.put_code({
      0x48, 0xc7, 0xc0, 0x04, 0x00, 0x20, 0x00,        // mov rax, 0x200004
      0x0f, 0x23, 0xc8,                                // mov dr1, rax
      0xb8, 0x08, 0x00, 0xd0, 0x00,                    // mov eax, 0xd00008
      0x0f, 0x23, 0xf8,                                // mov dr7, rax
      0x8b, 0x1c, 0x25, 0x04, 0x00, 0x20, 0x00,        // mov ebx, [0x200004]
      0x89, 0x1c, 0x25, 0x00, 0x00, 0x20, 0x00,        // mov [0x200000], ebx
      0x66, 0x89, 0x1c, 0x25, 0x06, 0x00, 0x20, 0x00,  // mov [0x200006], bx
      0xb9, 0x01, 0x00, 0x00, 0x00,                    // mov ecx, 1
      0xf4                                             // hlt
  });
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box[Gpr::rsi], 1u);
  EXPECT_EQ(box.dr6() & 0xf, 2u);
  EXPECT_EQ(box[Gpr::rcx], 1u);
}

// The bits of breakpoints are those of the last #DB, BS stays: APM vol. 2, 13.1.1.3.
TEST(CpuDebugging, BreakpointClearsTheBitsOfOthers) {
  InterruptBox box;
  box.put_code({
      0xb8, 0x02, 0x40, 0x00, 0x00,                    // mov eax, 0x4002
      0x0f, 0x23, 0xf0,                                // mov dr6, rax
      0x48, 0xc7, 0xc0, 0x04, 0x00, 0x20, 0x00,        // mov rax, 0x200004
      0x0f, 0x23, 0xc0,                                // mov dr0, rax
      0xb8, 0x02, 0x00, 0x0d, 0x00,                    // mov eax, 0xd0002
      0x0f, 0x23, 0xf8,                                // mov dr7, rax
      0x89, 0x1c, 0x25, 0x04, 0x00, 0x20, 0x00, 0xf4,  // mov [0x200004], ebx; hlt
  });
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box.dr6() & 0x400f, 0x4001u);
}

// APM vol. 3, MOV: debug traps wait for the end of the instruction behind the one that loads SS.
TEST(CpuDebugging, LoadingTheStackSegmentHoldsTrapsBack) {
  InterruptBox box;
  // Breakpoint 1: reads of four bytes at 0x200004, where the selector is.
  box.put_code({
      0x8c, 0xd0,                                // mov eax, ss
      0x89, 0x04, 0x25, 0x04, 0x00, 0x20, 0x00,  // mov [0x200004], eax
      0x48, 0xc7, 0xc0, 0x04, 0x00, 0x20, 0x00,  // mov rax, 0x200004
      0x0f, 0x23, 0xc8,                          // mov dr1, rax
      0xb8, 0x08, 0x00, 0xf0, 0x00,              // mov eax, 0xf00008
      0x0f, 0x23, 0xf8,                          // mov dr7, rax
      0x8e, 0x14, 0x25, 0x04, 0x00, 0x20, 0x00,  // mov ss, [0x200004]
      0x90, 0xb9, 0x01, 0x00, 0x00, 0x00, 0xf4,  // nop; mov ecx, 1; hlt
  });
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box[Gpr::rsi], 1u);
  EXPECT_EQ(box.dr6() & 0xf, 2u);
  EXPECT_EQ(box.trapped_at(), CpuBox::code_at + 35);
  EXPECT_EQ(box[Gpr::rcx], 1u);
}

// APM vol. 2, 13.1.1.4: GD is clear in the handler, which reads DR6 here.
TEST(CpuDebugging, GeneralDetectEndsWithItsHandler) {
  InterruptBox box;
  box.put_code({
      0xb8, 0x00, 0x20, 0x00, 0x00,  // mov eax, 0x2000
      0x0f, 0x23, 0xf8,              // mov dr7, rax
      0x0f, 0x21, 0xc1,              // mov rcx, dr0
      0x0f, 0x21, 0xf9, 0xf4,        // mov rcx, dr7; hlt
  });
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box[Gpr::rsi], 1u);
  EXPECT_EQ(box.dr6() & 0x2000, 0x2000u);
  EXPECT_EQ(box.trapped_at(), CpuBox::code_at + 8);
  EXPECT_EQ(box[Gpr::rcx], 0x400u);
}

TEST(CpuDebugging, StepDoesOneInstruction) {
  InterruptBox box;
  box.put_code({
      0xb8, 0x01, 0x00, 0x00, 0x00,  // mov eax, 1
      0xbb, 0x02, 0x00, 0x00, 0x00,  // mov ebx, 2
      0xf4                           // hlt
  });
  EXPECT_EQ(box.cpu.step(), cpu::Stop::requested);
  EXPECT_EQ(box[Gpr::rax], 1u);
  EXPECT_EQ(box[Gpr::rbx], 0u);
  EXPECT_EQ(box.cpu.rip(), CpuBox::code_at + 5);
  EXPECT_EQ(box.cpu.instructions(), 1u);
  EXPECT_EQ(box.cpu.step(), cpu::Stop::requested);
  EXPECT_EQ(box[Gpr::rbx], 2u);
}

// Counts, and can take itself away.
class CountingProbe final : public cpu::ProbeSink {
 public:
  void on_probe(Cpu& cpu, VirtAddr at) override {
    hits.push_back(at.value());
    last_rax = cpu.registers()[Gpr::rax];
    if (once) cpu.remove_probe(at);
  }
  std::vector<std::uint64_t> hits;
  std::uint64_t last_rax = 0;
  bool once = false;
};

TEST(CpuProbes, AreToldBeforeTheInstruction) {
  InterruptBox box;
  CountingProbe probe;
  box.cpu.set_probe_sink(&probe);
  box.put_code({
      0xb9, 0x03, 0x00, 0x00, 0x00,  // mov ecx, 3
      0xff, 0xc0,                    // 1: inc eax
      0x90,                          // nop
      0xff, 0xc9,                    // dec ecx
      0x75, 0xf9,                    // jnz 1b
      0xf4                           // hlt
  });
  box.cpu.add_probe(VirtAddr{CpuBox::code_at + 7});  // NOP
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(probe.hits, std::vector<std::uint64_t>(3, CpuBox::code_at + 7));
  EXPECT_EQ(probe.last_rax, 3u);

  box.use(CpuBox::kernel_registers());
  probe.hits.clear();
  probe.once = true;
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(probe.hits.size(), 1u);
}

}  // namespace
}  // namespace cbit::test
