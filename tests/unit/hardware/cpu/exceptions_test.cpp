// Exceptions as the guest sees them. Expected values: AMD APM vol. 2, chapter 8.
#include "cpu_box.hpp"

namespace cbit::test {
namespace {

constexpr std::uint64_t handler = 0x2'0000;
constexpr std::uint64_t unmapped = 0x4000'0000;

// A frame as 64-bit handlers find it, without and with an error code.
struct Frame {
  std::uint64_t rip, cs, rflags, rsp, ss;
};
struct FrameWithError {
  std::uint64_t error;
  Frame frame;
};

struct ExceptionBox : CpuBox {
  ExceptionBox() {
    put_code({0xf4}, handler);  // hlt
    for (unsigned vector = 0; vector < 32; ++vector) set_gate(vector, handler);
  }
  Frame frame() { return memory.load<Frame>(cpu.gpr(Gpr::rsp)); }
  FrameWithError frame_with_error() { return memory.load<FrameWithError>(cpu.gpr(Gpr::rsp)); }
  // The vector of the one exception that there was.
  unsigned vector() {
    const auto deliveries = cpu.deliveries();
    return deliveries.size() == 1 ? deliveries.front().vector : 255;
  }
};

TEST(CpuExceptions, PageFaultTellsAddressErrorAndState) {
  ExceptionBox box;
  box.put_code({
      0x48, 0xc7, 0xc3, 0x23, 0x01, 0x00, 0x40,  // mov rbx, 0x40000123
      0xf9,                                      // stc
      0x8b, 0x03,                                // mov eax, [rbx]
      0xf4                                       // hlt
  });
  box.cpu.gpr(Gpr::rax) = 77;
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box.vector(), 14u);
  EXPECT_EQ(box.cpu.registers().cr2, 0x4000'0123u);
  const FrameWithError stack = box.frame_with_error();
  EXPECT_EQ(stack.error, 0u);  // not present, read, supervisor
  EXPECT_EQ(stack.frame.rip, CpuBox::code_at + 8);
  EXPECT_EQ(stack.frame.cs, CpuBox::code_64);
  EXPECT_EQ(stack.frame.rsp, CpuBox::stack_top);
  EXPECT_EQ(stack.frame.ss, CpuBox::data);
  EXPECT_EQ(stack.frame.rflags & 0xfffff, 0x1'0003u);  // RF, CF, and the bit that is always set
  EXPECT_EQ(box[Gpr::rax], 77u);
  EXPECT_EQ(box.cpu.rip(), handler + 1);
}

TEST(CpuExceptions, PageFaultsOfWritesAndFetchesAreToldApart) {
  ExceptionBox write;
  write.put_code({
      0x48, 0xc7, 0xc3, 0x00, 0x00, 0x00, 0x40,  // mov rbx, 0x40000000
      0x89, 0x03,                                // mov [rbx], eax
      0xf4                                       // hlt
  });
  EXPECT_EQ(write.run(), cpu::Stop::halted);
  EXPECT_EQ(write.frame_with_error().error, 2u);

  ExceptionBox fetch;
  fetch.put_code({
      0x48, 0xc7, 0xc3, 0x00, 0x00, 0x00, 0x40,  // mov rbx, 0x40000000
      0xff, 0xe3                                 // jmp rbx
  });
  EXPECT_EQ(fetch.run(), cpu::Stop::halted);
  EXPECT_EQ(fetch.frame_with_error().error, 0x10u);
  EXPECT_EQ(fetch.frame_with_error().frame.rip, unmapped);
}

TEST(CpuExceptions, FaultInTheSecondPageLeavesTheFirstAlone) {
  ExceptionBox box;
  box.memory.store(CpuBox::pt + 8 * 1, std::uint64_t{0});  // second small page: not present
  box.put_code({
      0x48, 0xc7, 0xc3, 0xfc, 0x0f, 0x20, 0x00,  // mov rbx, 0x200ffc
      0x48, 0xc7, 0x03, 0xff, 0xff, 0xff, 0xff,  // mov qword ptr [rbx], -1
      0xf4                                       // hlt
  });
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box.cpu.registers().cr2, 0x20'1000u);
  EXPECT_EQ(box.frame_with_error().error, 2u);
  EXPECT_EQ(box.memory.load<std::uint32_t>(0x20'0ffc), 0u);
}

TEST(CpuExceptions, HandlerReturnsToTheInstructionThatFaulted) {
  ExceptionBox box;
  // The handler maps the page, and goes back.
  box.put_code(
      {
          0x48, 0x83, 0xc4, 0x08,  // add rsp, 8
          0x48, 0xc7, 0x04, 0x25, 0x08, 0x40,
          0x00, 0x00, 0x07, 0x10, 0x20, 0x00,  // mov qword ptr [0x4008], 0x201007
          0xb8, 0x01, 0x00, 0x00, 0x00,        // mov eax, 1
          0x48, 0xcf                           // iretq
      },
      handler);
  box.memory.store(CpuBox::pt + 8 * 1, std::uint64_t{0});
  box.memory.store(0x20'1000, std::uint64_t{0x1234});
  box.put_code({
      0x48, 0x8b, 0x1c, 0x25, 0x00, 0x10, 0x20, 0x00,  // mov rbx, [0x201000]
      0xf4                                             // hlt
  });
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box[Gpr::rbx], 0x1234u);
  EXPECT_EQ(box[Gpr::rax], 1u);
  EXPECT_EQ(box[Gpr::rsp], CpuBox::stack_top);
}

TEST(CpuExceptions, NonCanonicalAddressIsGeneralProtectionOrStackFault) {
  ExceptionBox general;
  general.put_code({
      0x48, 0xbb, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x80,  // mov rbx, 0x8000000000000000
      0x8b, 0x03,                                                  // mov eax, [rbx]
      0xf4                                                         // hlt
  });
  EXPECT_EQ(general.run(), cpu::Stop::halted);
  EXPECT_EQ(general.vector(), 13u);
  EXPECT_EQ(general.frame_with_error().error, 0u);

  ExceptionBox stack;
  stack.put_code({
      0x48, 0xbd, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x80,  // mov rbp, 0x8000000000000000
      0x8b, 0x45, 0x00,                                            // mov eax, [rbp]
      0xf4                                                         // hlt
  });
  EXPECT_EQ(stack.run(), cpu::Stop::halted);
  EXPECT_EQ(stack.vector(), 12u);
}

TEST(CpuExceptions, BranchToNonCanonicalAddressFaultsAtTheBranch) {
  ExceptionBox box;
  box.put_code({
      0x48, 0xbb, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x80,  // mov rbx, 0x8000000000000000
      0x53,                                                        // push rbx
      0xc3                                                         // ret
  });
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box.vector(), 13u);
  EXPECT_EQ(box.frame_with_error().frame.rip, CpuBox::code_at + 11);
  EXPECT_EQ(box.frame_with_error().frame.rsp, CpuBox::stack_top - 8);  // RET has not popped
}

TEST(CpuExceptions, UndefinedAndPrivilegedInstructionsAreRefused) {
  ExceptionBox undefined;
  undefined.put_code({
      0x0f, 0x0b  // ud2
  });
  EXPECT_EQ(undefined.run(), cpu::Stop::halted);
  EXPECT_EQ(undefined.vector(), 6u);
  EXPECT_EQ(undefined.frame().rip, CpuBox::code_at);

  ExceptionBox absent;
  absent.put_code({0xc5, 0xfc, 0x77});  // vzeroupper: no AVX here
  EXPECT_EQ(absent.run(), cpu::Stop::halted);
  EXPECT_EQ(absent.vector(), 6u);

  ExceptionBox privileged;
  privileged.memory.store(CpuBox::tss + 4, std::uint64_t{0x8'0000});
  privileged.put_code({
      0xf4  // hlt
  });
  privileged.become_user();
  EXPECT_EQ(privileged.run(), cpu::Stop::halted);
  EXPECT_EQ(privileged.vector(), 13u);
  EXPECT_EQ(privileged.frame_with_error().error, 0u);
}

TEST(CpuExceptions, InstructionOfSixteenBytesIsGeneralProtection) {
  ExceptionBox box;
  Code code(15, 0x66);
  code.push_back(0x90);
  box.put_code(code);
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box.vector(), 13u);
}

TEST(CpuExceptions, UserFaultSwitchesToTheKernelsStack) {
  ExceptionBox box;
  box.memory.store(CpuBox::tss + 4, std::uint64_t{0x8'0008});  // RSP0, not aligned to 16
  box.put_code({
      0x8b, 0x04, 0x25, 0x00, 0x00, 0x00, 0x40  // mov eax, [0x40000000]
  });
  box.become_user();
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  const FrameWithError stack = box.frame_with_error();
  EXPECT_EQ(box[Gpr::rsp], 0x8'0000u - sizeof stack);
  EXPECT_EQ(stack.error, 4u);  // user
  EXPECT_EQ(stack.frame.cs, CpuBox::user_code_64);
  EXPECT_EQ(stack.frame.ss, CpuBox::user_data);
  EXPECT_EQ(stack.frame.rsp, CpuBox::stack_top);
  EXPECT_EQ(box.cpu.registers().segment(Segment::cs).selector, CpuBox::code_64);
  EXPECT_EQ(box.cpu.registers().segment(Segment::ss).selector, 0u);  // null, with the new RPL
  EXPECT_EQ(box.cpu.registers().cpl(), 0u);
}

TEST(CpuExceptions, InterruptStackTableGivesTheStack) {
  ExceptionBox box;
  box.set_gate(14, handler, 3);
  box.memory.store(CpuBox::tss + 0x24 + 16, std::uint64_t{0x7'0000});  // IST3
  box.put_code({
      0x8b, 0x04, 0x25, 0x00, 0x00, 0x00, 0x40  // mov eax, [0x40000000]
  });
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box[Gpr::rsp], 0x7'0000u - sizeof(FrameWithError));
  EXPECT_EQ(box.frame_with_error().frame.rsp, CpuBox::stack_top);
}

TEST(CpuExceptions, FaultOnTheStackOfAFaultIsADoubleFault) {
  ExceptionBox box;
  box.set_gate(8, handler, 1);
  box.memory.store(CpuBox::tss + 0x24, std::uint64_t{0x7'0000});
  box.put_code({
      0x48, 0xc7, 0xc4, 0x00, 0x00, 0x00, 0x40,  // mov rsp, 0x40000000
      0x8b, 0x04, 0x25, 0x00, 0x00, 0x00, 0x40   // mov eax, [0x40000000]
  });
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  const auto deliveries = box.cpu.deliveries();
  ASSERT_EQ(deliveries.size(), 2u);
  EXPECT_EQ(deliveries[0].vector, 14u);
  EXPECT_EQ(deliveries[1].vector, 8u);
  EXPECT_EQ(box.frame_with_error().error, 0u);
  EXPECT_EQ(box.frame_with_error().frame.rip, CpuBox::code_at + 7);
}

TEST(CpuExceptions, FaultInTheDoubleFaultsDeliveryShutsDown) {
  ExceptionBox box;
  box.put_code({
      0x48, 0xc7, 0xc4, 0x00, 0x00, 0x00, 0x40,  // mov rsp, 0x40000000
      0x8b, 0x04, 0x25, 0x00, 0x00, 0x00, 0x40   // mov eax, [0x40000000]
  });
  EXPECT_EQ(box.run(), cpu::Stop::shutdown);
  EXPECT_EQ(box.run(), cpu::Stop::shutdown);  // and stays so
  const std::string report = box.cpu.report();
  EXPECT_NE(report.find("exception 14"), std::string::npos) << report;
  EXPECT_NE(report.find("exception 8"), std::string::npos);
  EXPECT_NE(report.find("mov eax, [0x0000000040000000]"), std::string::npos);
  EXPECT_EQ(box.cpu.rip(), CpuBox::code_at + 7);
}

TEST(CpuExceptions, ContributoryFaultsMakeADoubleFault) {
  // #GP, whose gate names a segment that there is not.
  ExceptionBox box;
  box.memory.store(CpuBox::idt + 16 * 13 + 2, std::uint16_t{0x78});
  box.put_code({
      0x48, 0xbb, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x80,  // mov rbx, 0x8000000000000000
      0x8b, 0x03                                                   // mov eax, [rbx]
  });
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  const auto deliveries = box.cpu.deliveries();
  ASSERT_EQ(deliveries.size(), 2u);
  EXPECT_EQ(deliveries[1].vector, 8u);
}

TEST(CpuExceptions, GateThatIsNotPresentIsReportedWithTheIdtsBit) {
  ExceptionBox box;
  box.set_gate(6, 0);
  box.memory.store(CpuBox::idt + 16 * 6 + 5, std::uint8_t{0x0e});
  box.put_code({
      0x0f, 0x0b  // ud2
  });
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  const auto deliveries = box.cpu.deliveries();
  ASSERT_EQ(deliveries.size(), 2u);
  EXPECT_EQ(deliveries[1].vector, 11u);
  EXPECT_EQ(box.frame_with_error().error, 6u << 3 | 2 | 1);  // IDT, EXT
}

TEST(CpuExceptions, SoftwareInterruptNeedsTheGatesPrivilege) {
  ExceptionBox refused;
  refused.memory.store(CpuBox::tss + 4, std::uint64_t{0x8'0000});
  refused.put_code({
      0xcd, 0x20  // int 0x20
  });
  refused.set_gate(0x20, handler);
  refused.become_user();
  EXPECT_EQ(refused.run(), cpu::Stop::halted);
  EXPECT_EQ(refused.frame_with_error().error, 0x20u << 3 | 2);
  EXPECT_EQ(refused.frame_with_error().frame.rip, CpuBox::code_at);

  ExceptionBox allowed;
  allowed.memory.store(CpuBox::tss + 4, std::uint64_t{0x8'0000});
  allowed.put_code({
      0xcd, 0x20  // int 0x20
  });
  allowed.set_gate(0x20, handler, 0, 3);
  allowed.become_user();
  EXPECT_EQ(allowed.run(), cpu::Stop::halted);
  EXPECT_EQ(allowed.frame().rip, CpuBox::code_at + 2);
}

TEST(CpuExceptions, DivisionErrorsAreFaults) {
  ExceptionBox box;
  box.put_code({
      0xb8, 0x01, 0x00, 0x00, 0x00,  // mov eax, 1
      0x31, 0xd2,                    // xor edx, edx
      0x31, 0xc9,                    // xor ecx, ecx
      0xf7, 0xf1,                    // div ecx
      0xf4                           // hlt
  });
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box.vector(), 0u);
  EXPECT_EQ(box.frame().rip, CpuBox::code_at + 9);
  EXPECT_EQ(box[Gpr::rax], 1u);
}

TEST(CpuExceptions, BreakpointIsATrap) {
  ExceptionBox box;
  box.put_code({
      0xcc,  // int3
      0xf4   // hlt
  });
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box.vector(), 3u);
  EXPECT_EQ(box.frame().rip, CpuBox::code_at + 1);
  EXPECT_EQ(box.frame().rflags & cpu::rflags::resume, 0u);
}

TEST(CpuExceptions, TrapGateKeepsInterruptsOn) {
  for (const bool trap : {false, true}) {
    ExceptionBox box;
    box.set_gate(3, handler, 0, 0, trap ? 0xf : 0xe);
    box.put_code({
        0xfb,  // sti
        0x90,  // nop
        0xcc,  // int3
        0xf4   // hlt
    });
    EXPECT_EQ(box.run(), cpu::Stop::halted);
    EXPECT_EQ((box.cpu.registers().rflags & cpu::rflags::interrupt) != 0, trap);
    EXPECT_NE(box.frame().rflags & cpu::rflags::interrupt, 0u);
  }
}

TEST(CpuExceptions, AlignmentCheckIsForUserCodeThatAsksForIt) {
  ExceptionBox box;
  box.memory.store(CpuBox::tss + 4, std::uint64_t{0x8'0000});
  box.put_code({
      0x48, 0xc7, 0xc3, 0x01, 0x00, 0x20, 0x00,  // mov rbx, 0x200001
      0x8b, 0x03,                                // mov eax, [rbx]
      0xf4                                       // hlt
  });
  cpu::Registers r = box.cpu.registers();
  r.cr0 |= cpu::cr0::alignment_mask;
  r.rflags |= cpu::rflags::alignment_check;
  box.cpu.set_registers(r);
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_TRUE(box.cpu.deliveries().empty());  // the kernel's accesses are not checked

  box.cpu.set_registers(r);
  box.become_user();
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box.vector(), 17u);
  EXPECT_EQ(box.frame_with_error().error, 0u);
}

TEST(CpuExceptions, ReturnRestoresTheOuterLevel) {
  ExceptionBox box;
  box.memory.store(CpuBox::tss + 4, std::uint64_t{0x8'0000});
  box.put_code(
      {
          0xb8, 0x07, 0x00, 0x00, 0x00,  // mov eax, 7
          0x48, 0xcf                     // iretq
      },
      handler);
  box.set_gate(0x80, handler, 0, 3);
  box.put_code({
      0xcd, 0x80,  // int 0x80
      0x89, 0xc3,  // mov ebx, eax
      0xf4         // hlt
  });
  box.put_code(
      {
          0xb9, 0x09, 0x00, 0x00, 0x00,  // mov ecx, 9
          0xf4                           // hlt
      },
      0x2'1000);
  box.set_gate(13, 0x2'1000);  // HLT of the user
  box.become_user();
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box[Gpr::rbx], 7u);
  EXPECT_EQ(box[Gpr::rcx], 9u);
  EXPECT_EQ(box.frame_with_error().frame.rsp, CpuBox::stack_top);
  EXPECT_EQ(box.frame_with_error().frame.cs, CpuBox::user_code_64);
}

}  // namespace
}  // namespace cbit::test
