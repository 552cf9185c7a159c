// System instructions and modes. AMD APM vol. 2 and vol. 3.
#include "cpu/state.hpp"
#include "cpu_box.hpp"

namespace cbit::test {
namespace {

constexpr std::uint64_t handler = 0x2'0000;

struct SystemBox : CpuBox {
  explicit SystemBox(const cpu::Model& model = cpu::default_model()) : CpuBox{model} {
    put_code({0xf4}, handler);
    for (unsigned vector = 0; vector < 32; ++vector) set_gate(vector, handler);
    memory.store(tss + 4, std::uint64_t{0x8'0000});
  }
  // The vector of the first exception; 255: there was none.
  unsigned vector() {
    const auto deliveries = cpu.deliveries();
    return deliveries.empty() ? 255 : deliveries.front().vector;
  }
  bool set_msr(std::uint32_t msr, std::uint64_t value) { return cpu.write_msr(msr, value); }
};

constexpr std::uint32_t msr_star = 0xc000'0081;
constexpr std::uint32_t msr_lstar = 0xc000'0082;
constexpr std::uint32_t msr_sfmask = 0xc000'0084;
constexpr std::uint32_t msr_gs_base = 0xc000'0101;
constexpr std::uint32_t msr_kernel_gs_base = 0xc000'0102;

TEST(CpuSystem, SyscallAndSysretGoThereAndBack) {
  SystemBox box;
  box.put_code({
      0xb8, 0x01, 0x00, 0x00, 0x00,  // mov eax, 1
      0x0f, 0x05,                    // syscall
      0xbb, 0x02, 0x00, 0x00, 0x00,  // mov ebx, 2
      0xf4                           // hlt
  });
  box.put_code(
      {
          0x8c, 0xca,        // mov edx, cs
          0x8c, 0xd6,        // mov esi, ss
          0x9c,              // pushfq
          0x5f,              // pop rdi
          0x49, 0x89, 0xc8,  // mov r8, rcx
          0x4d, 0x89, 0xd9,  // mov r9, r11
          0x48, 0x0f, 0x07   // sysretq
      },
      0x2'1000);
  ASSERT_TRUE(box.set_msr(msr_star, 0x1bull << 48 | 0x08ull << 32));
  ASSERT_TRUE(box.set_msr(msr_lstar, 0x2'1000));
  ASSERT_TRUE(box.set_msr(msr_sfmask, cpu::rflags::interrupt | isa::flag_cf));
  box.become_user();
  cpu::Registers r = box.cpu.registers();
  r.rflags |= cpu::rflags::interrupt | isa::flag_cf;
  box.use(r);
  EXPECT_EQ(box.run(), cpu::Stop::halted);  // #GP of the user's HLT
  EXPECT_EQ(box[Gpr::rdx], 0x08u);
  EXPECT_EQ(box[Gpr::rsi], 0x10u);
  EXPECT_EQ(box[Gpr::rdi] & (cpu::rflags::interrupt | isa::flag_cf), 0u);
  EXPECT_EQ(box[Gpr::r8], CpuBox::code_at + 7);
  EXPECT_EQ(box[Gpr::r9] & (cpu::rflags::interrupt | isa::flag_cf), cpu::rflags::interrupt | isa::flag_cf);
  EXPECT_EQ(box[Gpr::rbx], 2u);
  EXPECT_EQ(box.vector(), 13u);
  // CS and SS of the user, as SYSRET left them: STAR + 16 and + 8.
  EXPECT_EQ(box.memory.load<std::uint64_t>(box[Gpr::rsp] + 16), 0x2bu);
  EXPECT_EQ(box.memory.load<std::uint64_t>(box[Gpr::rsp] + 40), 0x23u);
}

TEST(CpuSystem, SwapgsExchangesTheBases) {
  SystemBox box;
  ASSERT_TRUE(box.set_msr(msr_gs_base, 0x20'0000));
  ASSERT_TRUE(box.set_msr(msr_kernel_gs_base, 0x20'0100));
  box.memory.store(0x20'0008, 1);
  box.memory.store(0x20'0108, 2);
  box.put_code({
      0x65, 0x8b, 0x04, 0x25, 0x08, 0x00, 0x00, 0x00,  // mov eax, gs:[8]
      0x0f, 0x01, 0xf8,                                // swapgs
      0x65, 0x8b, 0x1c, 0x25, 0x08, 0x00, 0x00, 0x00,  // mov ebx, gs:[8]
      0xb9, 0x08, 0x00, 0x00, 0x00,                    // mov ecx, 8
      0x65, 0x8b, 0x11,                                // mov edx, gs:[rcx]
      0x65, 0x8b, 0x74, 0x09, 0xf8,                    // mov esi, gs:[rcx+rcx*1-8]
      0xf4                                             // hlt
  });
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box[Gpr::rax], 1u);
  EXPECT_EQ(box[Gpr::rbx], 2u);
  EXPECT_EQ(box[Gpr::rdx], 2u);
  EXPECT_EQ(box[Gpr::rsi], 2u);
  EXPECT_EQ(box.cpu.read_msr(msr_kernel_gs_base), 0x20'0000u);
}

TEST(CpuSystem, MsrsThatAreNotThereAreGeneralProtection) {
  SystemBox box;
  box.put_code({
      0xb9, 0x45, 0x23, 0x01, 0x00,  // mov ecx, 0x12345
      0x0f, 0x32,                    // rdmsr
      0xf4                           // hlt
  });
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box.vector(), 13u);
  EXPECT_FALSE(box.set_msr(msr_lstar, 0x8000'0000'0000'0000));  // not canonical
  EXPECT_FALSE(box.set_msr(0xc000'0080, 1ull << 40));           // a reserved bit of EFER
  EXPECT_FALSE(box.set_msr(0x277, 0x0202'0202));                // a reserved type in PAT
}

TEST(CpuSystem, CpuidTellsTheModel) {
  cpu::Model model = cpu::default_model();
  model.encryption = {.sme = false, .sev = true, .c_bit = 51, .reduced_phys_bits = 5, .active_sev = true};
  SystemBox box{model};
  const auto vendor = box.cpu.cpuid(0, 0);
  EXPECT_EQ(vendor[1], 0x6874'7541u);                         // "Auth"
  EXPECT_EQ(vendor[3], 0x6974'6e65u);                         // "enti"
  EXPECT_EQ(vendor[2], 0x444d'4163u);                         // "cAMD"
  EXPECT_EQ(box.cpu.cpuid(1, 0)[0], 0x00a0'0f11u);            // family 19h, model 1, stepping 1
  EXPECT_NE(box.cpu.cpuid(1, 0)[2] & 1u << 30, 0u);           // RDRAND
  EXPECT_EQ(box.cpu.cpuid(7, 0)[2] & 1u << 16, 0u);           // LA57
  EXPECT_EQ(box.cpu.cpuid(1, 0)[2] & 1u << 3, 0u);            // MONITOR
  EXPECT_NE(box.cpu.cpuid(0x8000'0007, 0)[3] & 1u << 8, 0u);  // invariant TSC
  const auto encryption = box.cpu.cpuid(0x8000'001f, 0);
  EXPECT_EQ(encryption[0] & 3, 2u);
  EXPECT_NE(encryption[0] & 1u << 10, 0u);
  EXPECT_EQ(encryption[1] & 0x3f, 51u);
  EXPECT_EQ(encryption[1] >> 6 & 0x3f, 5u);
  EXPECT_EQ(box.cpu.read_msr(0xc001'0131), 1u);
  EXPECT_EQ(box.cpu.cpuid(0x4000'0000, 0), (std::array<std::uint32_t, 4>{}));

  // OSXSAVE follows CR4.
  EXPECT_EQ(box.cpu.cpuid(1, 0)[2] & 1u << 27, 0u);
  cpu::Registers r = CpuBox::kernel_registers();
  r.cr4 |= cpu::cr4::osxsave;
  box.use(r);
  EXPECT_NE(box.cpu.cpuid(1, 0)[2] & 1u << 27, 0u);
}

// The bits are those of Linux' cpufeatures.h (AMD_SSB_NO, BTC_NO, AUTOIBRS, SRSO_NO) and scattered.c (TSA_*).
TEST(CpuSystem, CpuidSaysThatThereIsNoSpeculationToMendAndEferTakesAutomaticIbrs) {
  SystemBox box;
  constexpr std::uint32_t ssb_no = 1u << 26, btc_no = 1u << 29;
  EXPECT_EQ(box.cpu.cpuid(0x8000'0008, 0)[1] & (ssb_no | btc_no), ssb_no | btc_no);
  constexpr std::uint32_t automatic_ibrs = 1u << 8, srso_no = 1u << 29;
  EXPECT_EQ(box.cpu.cpuid(0x8000'0021, 0)[0] & (automatic_ibrs | srso_no), automatic_ibrs | srso_no);
  constexpr std::uint32_t tsa_sq_no = 1u << 1, tsa_l1_no = 1u << 2;
  EXPECT_EQ(box.cpu.cpuid(0x8000'0021, 0)[2] & (tsa_sq_no | tsa_l1_no), tsa_sq_no | tsa_l1_no);
  constexpr std::uint64_t efer_automatic_ibrs = 1u << 21;
  const std::uint64_t before = box.cpu.registers().efer;
  EXPECT_EQ(before & efer_automatic_ibrs, 0u);
  EXPECT_TRUE(box.set_msr(0xc000'0080, before | efer_automatic_ibrs));
  EXPECT_EQ(box.cpu.registers().efer, before | efer_automatic_ibrs);
}

// glibc asks for leaf 1 with whatever ECX holds: get_common_indices() in sysdeps/x86/cpu-features.c.
TEST(CpuSystem, CpuidLooksAtEcxWhereThereAreSubleavesAlone) {
  SystemBox box;
  for (const std::uint32_t leaf : {0u, 1u, 6u, 0x8000'0001u, 0x8000'0008u, 0x8000'001fu})
    EXPECT_EQ(box.cpu.cpuid(leaf, 0x1234), box.cpu.cpuid(leaf, 0)) << leaf;
  for (const std::uint32_t leaf : {7u, 0xbu, 0xdu})
    EXPECT_NE(box.cpu.cpuid(leaf, 0x12), box.cpu.cpuid(leaf, 0)) << leaf;
}

TEST(CpuSystem, TimeStampCounterCountsInstructions) {
  SystemBox box;
  box.put_code({
      0x0f, 0x31,  // rdtsc
      0x89, 0xc3,  // mov ebx, eax
      0x90,        // nop
      0x90,        // nop
      0x0f, 0x31,  // rdtsc
      0x29, 0xd8,  // sub eax, ebx
      0xf4         // hlt
  });
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box[Gpr::rax], 4u);

  cpu::Model fast = cpu::default_model();
  fast.tsc_hz = 3'000'000'000;
  SystemBox three{fast};
  three.put_code({
      0x0f, 0x31,  // rdtsc
      0x89, 0xc3,  // mov ebx, eax
      0x90,        // nop
      0x90,        // nop
      0x0f, 0x31,  // rdtsc
      0x29, 0xd8,  // sub eax, ebx
      0xf4         // hlt
  });
  EXPECT_EQ(three.run(), cpu::Stop::halted);
  EXPECT_EQ(three[Gpr::rax], 12u);
}

TEST(CpuSystem, RandomNumbersComeWithCarryAndFromTheSeed) {
  SystemBox first;
  SystemBox second;
  for (SystemBox* box : {&first, &second}) {
    box->put_code({
        0x48, 0x0f, 0xc7, 0xf0,  // rdrand rax
        0x0f, 0x92, 0xc1,        // setc cl
        0x48, 0x0f, 0xc7, 0xfb,  // rdseed rbx
        0xf4                     // hlt
    });
    EXPECT_EQ(box->run(), cpu::Stop::halted);
    EXPECT_EQ((*box)[Gpr::rcx], 1u);
    EXPECT_NE((*box)[Gpr::rax], (*box)[Gpr::rbx]);
  }
  EXPECT_EQ(first[Gpr::rax], second[Gpr::rax]);
}

class PortLog final : public bus::PioRegion {
 public:
  std::uint32_t read(std::uint16_t offset, unsigned) override { return 0x1122'3344u + offset; }
  void write(std::uint16_t offset, unsigned bytes, std::uint32_t value) override {
    writes.push_back({offset, bytes, value});
  }
  std::vector<std::array<std::uint32_t, 3>> writes;
};

TEST(CpuSystem, PortsAreReachedInAllWidths) {
  SystemBox box;
  PortLog log;
  box.ports.add({0x80, 16}, log, bus::ports_of_any_width);
  box.put_code({
      0xb8, 0xff, 0xff, 0xff, 0xff,  // mov eax, -1
      0xe4, 0x80,                    // in al, 0x80
      0x89, 0xc3,                    // mov ebx, eax
      0xba, 0x84, 0x00, 0x00, 0x00,  // mov edx, 0x84
      0xed,                          // in eax, dx
      0x89, 0xc1,                    // mov ecx, eax
      0xb8, 0x01, 0xef, 0xcd, 0xab,  // mov eax, 0xabcdef01
      0x66, 0xef,                    // out dx, ax
      0xe6, 0x81,                    // out 0x81, al
      0xf4                           // hlt
  });
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box[Gpr::rbx], 0xffff'ff44u);
  EXPECT_EQ(box[Gpr::rcx], 0x1122'3348u);
  const std::vector<std::array<std::uint32_t, 3>> expected{{4, 2, 0xef01}, {1, 1, 0x01}};
  EXPECT_EQ(log.writes, expected);
}

TEST(CpuSystem, StringPortInstructionsMoveToAndFromMemory) {
  SystemBox box;
  PortLog log;
  box.ports.add({0x80, 16}, log, bus::ports_of_any_width);
  box.put_code({
      0xba, 0x80, 0x00, 0x00, 0x00,  // mov edx, 0x80
      0xbf, 0xfe, 0x0f, 0x20, 0x00,  // mov edi, 0x200ffe
      0xb9, 0x03, 0x00, 0x00, 0x00,  // mov ecx, 3
      0xf3, 0x6c,                    // rep insb
      0xbe, 0x00, 0x01, 0x20, 0x00,  // mov esi, 0x200100
      0xb9, 0x02, 0x00, 0x00, 0x00,  // mov ecx, 2
      0x66, 0xf3, 0x6f,              // rep outsw
      0xf4                           // hlt
  });
  box.memory.store(0x20'0100, 0xbbbb'aaaa);
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box.memory.load<std::uint32_t>(0x20'0ffe), 0x0044'4444u);
  const std::vector<std::array<std::uint32_t, 3>> expected{{0, 2, 0xaaaa}, {0, 2, 0xbbbb}};
  EXPECT_EQ(log.writes, expected);
  EXPECT_EQ(box[Gpr::rcx], 0u);
}

TEST(CpuSystem, UsersNeedTheBitmapForPorts) {
  SystemBox box;
  PortLog log;
  box.ports.add({0x80, 16}, log, bus::ports_of_any_width);
  // The bitmap lies at 0x68 of the TSS; ports 0x80 and 0x81 are allowed.
  box.memory.store(CpuBox::tss + 0x66, std::uint16_t{0x68});
  for (unsigned byte = 0; byte < 0x20; ++byte)
    box.memory.store(CpuBox::tss + 0x68 + byte, std::uint8_t{0xff});
  box.memory.store(CpuBox::tss + 0x68 + 0x10, std::uint8_t{0xfc});
  box.put_code({
      0x66, 0xe5, 0x80,  // in ax, 0x80
      0x89, 0xc3,        // mov ebx, eax
      0x66, 0xe5, 0x81,  // in ax, 0x81
      0xf4               // hlt
  });
  box.become_user();
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box[Gpr::rbx] & 0xffff, 0x3344u);
  EXPECT_EQ(box.vector(), 13u);
  EXPECT_EQ(box.cpu.deliveries().front().rip, CpuBox::code_at + 5);
}

TEST(CpuSystem, LoadsOfSegmentsAreChecked) {
  struct Load {
    std::uint16_t selector;
    unsigned vector;
    std::uint32_t error;
  };
  constexpr Load loads[] = {
      {0x10, 255, 0},    // data
      {0x00, 255, 0},    // null
      {0x08, 255, 0},    // code that can be read
      {0x30, 13, 0x30},  // a TSS
      {0x78, 13, 0x78},  // beyond the table
      {0x14, 13, 0x14},  // an LDT that there is not
      {0x38, 13, 0x38},  // an empty descriptor
  };
  for (const Load& load : loads) {
    SystemBox box;
    box.put_code({
        0x8e, 0xd8,  // mov ds, eax
        0xf4         // hlt
    });
    box.cpu.gpr(Gpr::rax) = load.selector;
    EXPECT_EQ(box.run(), cpu::Stop::halted);
    EXPECT_EQ(box.vector(), load.vector) << load.selector;
    if (load.vector != 255) {
      EXPECT_EQ(box.cpu.deliveries().front().error, load.error);
    }
  }
}

TEST(CpuSystem, SegmentThatIsNotPresentIsReportedSo) {
  SystemBox box;
  box.memory.store(CpuBox::gdt + 0x38, 0x00cf'1300'0000'ffffull);
  box.put_code({
      0xb8, 0x38, 0x00, 0x00, 0x00,  // mov eax, 0x38
      0x8e, 0xc0,                    // mov es, eax
      0xf4                           // hlt
  });
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box.vector(), 11u);
}

TEST(CpuSystem, LtrMarksTheTaskBusy) {
  SystemBox box;
  box.memory.store(CpuBox::gdt + 0x30, 0x0000'8900'7000'0fffull);
  box.put_code({
      0xb8, 0x30, 0x00, 0x00, 0x00,  // mov eax, 0x30
      0x0f, 0x00, 0xd8,              // ltr ax
      0x0f, 0x00, 0xcb,              // str ebx
      0x0f, 0x00, 0xd8,              // ltr ax
      0xf4                           // hlt
  });
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box[Gpr::rbx], 0x30u);
  EXPECT_EQ(box.memory.load<std::uint64_t>(CpuBox::gdt + 0x30) >> 40 & 0xff, 0x8bu);
  EXPECT_EQ(box.vector(), 13u);  // the second load: it is busy
}

TEST(CpuModes, CompatibilityModeHas32BitAddressesAndReturns) {
  SystemBox box;
  // From 64-bit mode through a far return to code_32, and back through a far jump.
  box.put_code({
      0x48, 0xb8, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,  // mov rax, 0x1122334455667788
      0x6a, 0x40,                                                  // push 0x40
      0x68, 0x00, 0x10, 0x01, 0x00,                                // push 0x11000
      0x48, 0xcb                                                   // retfq
  });
  box.put_code(
      {
          0x8b, 0x1d, 0x00, 0x00, 0x20, 0x00,       // mov ebx, [0x200000]
          0x43,                                     // inc ebx
          0x53,                                     // push ebx
          0x59,                                     // pop ecx
          0xe8, 0x00, 0x00, 0x00, 0x00,             // call 1f
          0x5a,                                     // 1: pop edx
          0xea, 0x00, 0x20, 0x01, 0x00, 0x08, 0x00  // ljmp 0x08, 0x12000
      },
      0x1'1000);
  box.put_code(
      {
          0x48, 0x89, 0xe6,  // mov rsi, rsp
          0xf4               // hlt
      },
      0x1'2000);
  box.memory.store(0x20'0000, 0x7fff'ffff);
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box.vector(), 255u) << box.cpu.report();
  EXPECT_EQ(box[Gpr::rbx], 0x8000'0000u);
  EXPECT_EQ(box[Gpr::rcx], 0x8000'0000u);
  EXPECT_EQ(box[Gpr::rdx], 0x1'100eu);
  EXPECT_EQ(box[Gpr::rsi], CpuBox::stack_top);
}

// As a kernel's startup_32 does it: tables, PAE, EFER.LME, paging, a far jump.
TEST(CpuModes, LongModeIsEnteredFromProtectedMode) {
  SystemBox box;
  cpu::Registers r = CpuBox::kernel_registers();
  r.cr0 = 0x11;
  r.cr3 = 0;
  r.cr4 = 0;
  r.efer = 0;
  r.segment(Segment::cs) = cpu::flat_code_32(CpuBox::code_32);
  box.use(r);
  box.put_code({
      0x0f, 0x20, 0xe0,                         // mov eax, cr4
      0x83, 0xc8, 0x20,                         // or eax, 0x20
      0x0f, 0x22, 0xe0,                         // mov cr4, eax
      0xb8, 0x00, 0x10, 0x00, 0x00,             // mov eax, 0x1000
      0x0f, 0x22, 0xd8,                         // mov cr3, eax
      0xb9, 0x80, 0x00, 0x00, 0xc0,             // mov ecx, 0xc0000080
      0x0f, 0x32,                               // rdmsr
      0x0d, 0x00, 0x01, 0x00, 0x00,             // or eax, 0x100
      0x0f, 0x30,                               // wrmsr
      0x0f, 0x20, 0xc0,                         // mov eax, cr0
      0x0d, 0x00, 0x00, 0x00, 0x80,             // or eax, 0x80000000
      0x0f, 0x22, 0xc0,                         // mov cr0, eax
      0xea, 0x00, 0x10, 0x01, 0x00, 0x08, 0x00  // ljmp 0x08, 0x11000
  });
  box.put_code(
      {
          0xb9, 0x80, 0x00, 0x00, 0xc0,                                // mov ecx, 0xc0000080
          0x0f, 0x32,                                                  // rdmsr
          0x48, 0xbb, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01, 0x00, 0x00,  // mov rbx, 0x123456789ab
          0xf4                                                         // hlt
      },
      0x1'1000);
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box.vector(), 255u) << box.cpu.report();
  EXPECT_EQ(box[Gpr::rax], 0x500u);  // LME, LMA
  EXPECT_EQ(box[Gpr::rbx], 0x123'4567'89abu);
}

TEST(CpuModes, ProtectedModeChecksLimits) {
  SystemBox box;
  cpu::Registers r = CpuBox::kernel_registers();
  r.cr0 = 0x11;
  r.cr4 = 0;
  r.efer = 0;
  r.segment(Segment::cs) = cpu::flat_code_32(CpuBox::code_32);
  r.segment(Segment::ds) = {CpuBox::data, cpu::SegmentAttributes{{0x493}}, 0xfff, 0x20'0000};
  // Interrupt gates of 8 bytes.
  box.memory.store(CpuBox::idt + 8 * 13, 0x0002'8e00'0040'0000ull);
  box.use(r);
  box.memory.store(0x20'0010, 0x1234);
  box.put_code({
      0xa1, 0x10, 0x00, 0x00, 0x00,        // mov eax, [0x10]
      0x8b, 0x1d, 0xfd, 0x0f, 0x00, 0x00,  // mov ebx, [0xffd]
      0xf4                                 // hlt
  });
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box[Gpr::rax], 0x1234u);
  EXPECT_EQ(box.vector(), 13u);
  EXPECT_EQ(box.cpu.deliveries().front().rip, CpuBox::code_at + 5);
  // The frame of a 32-bit gate: error, EIP, CS, EFLAGS.
  EXPECT_EQ(box[Gpr::rsp], CpuBox::stack_top - 16);
  EXPECT_EQ(box.memory.load<std::uint32_t>(CpuBox::stack_top - 12), CpuBox::code_at + 5);
}

// Seen on a processor of AMD's (family 19h) with a stack that ends in the middle of the operands.
TEST(CpuModes, PopaKeepsWhatItHasReadWhenItFaults) {
  SystemBox box;
  box.memory.store(CpuBox::pt + 8, std::uint64_t{0});  // 0x201000
  for (std::uint32_t i = 0; i < 4; ++i) box.memory.store(0x20'0ff4 + 4 * i, 0xaaaa'0000 + i);
  cpu::Registers r = CpuBox::kernel_registers();
  r.segment(Segment::cs) = cpu::flat_code_32(CpuBox::code_32);
  for (const Gpr reg : {Gpr::rdi, Gpr::rsi, Gpr::rbp, Gpr::rbx}) r[reg] = 0x1111'1111;
  r[Gpr::rsp] = 0x20'0ff4;
  // The handler's stack, by the first entry of the IST.
  box.memory.store(CpuBox::tss + 0x24, CpuBox::stack_top);
  box.set_gate(14, handler, 1);
  box.use(r);
  box.put_code({0x61});  // popad
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box.vector(), 14u);
  EXPECT_EQ(box.cpu.registers().cr2, 0x20'1000u);
  EXPECT_EQ(box[Gpr::rdi], 0xaaaa'0000u);
  EXPECT_EQ(box[Gpr::rsi], 0xaaaa'0001u);
  EXPECT_EQ(box[Gpr::rbp], 0xaaaa'0002u);
  EXPECT_EQ(box[Gpr::rbx], 0x1111'1111u);
  EXPECT_EQ(box.memory.load<std::uint64_t>(CpuBox::stack_top - 16), 0x20'0ff4u);  // ESP of the frame
}

TEST(CpuModes, RealModeStartsAtTheResetVector) {
  SystemBox box;
  box.cpu.reset();
  const cpu::Registers r = box.cpu.registers();
  EXPECT_EQ(r.rip, 0xfff0u);
  EXPECT_EQ(r.segment(Segment::cs).base, 0xffff'0000u);
  EXPECT_EQ(r.segment(Segment::cs).selector, 0xf000u);
  EXPECT_EQ(r.cr0, 0x6000'0010u);
  EXPECT_EQ(r.rflags, 2u);
  EXPECT_EQ(r[Gpr::rdx], 0x00a0'0f11u);
}

TEST(CpuModes, RealModeAddressesBySegments) {
  SystemBox box;
  box.cpu.reset();
  cpu::Registers r = box.cpu.registers();
  r.segment(Segment::cs).selector = 0x1000;
  r.segment(Segment::cs).base = 0x1'0000;
  r.rip = 0;
  r[Gpr::rsp] = 0x8000;
  box.use(r);
  box.memory.store(0x2'0010, std::uint16_t{0x5678});
  box.put_code({
      0xb8, 0x00, 0x20,        // mov ax, 0x2000
      0x8e, 0xd8,              // mov ds, ax
      0x8b, 0x1e, 0x10, 0x00,  // mov bx, [0x10]
      0x53,                    // push bx
      0x59,                    // pop cx
      0xe8, 0x01, 0x00,        // call 1f
      0xf4,                    // hlt
      0x8c, 0xca,              // 1: mov dx, cs
      0xc3                     // ret
  });
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box[Gpr::rbx], 0x5678u);
  EXPECT_EQ(box[Gpr::rcx], 0x5678u);
  EXPECT_EQ(box[Gpr::rdx] & 0xffff, 0x1000u);
  EXPECT_EQ(box[Gpr::rsp], 0x8000u);
}

TEST(CpuStrings, AreRestartedWhereTheyFaulted) {
  SystemBox box;
  box.memory.store(CpuBox::pt + 8, std::uint64_t{0});
  // The handler maps the second page, and returns.
  box.put_code(
      {
          0x48, 0x83, 0xc4, 0x08,  // add rsp, 8
          0x48, 0xc7, 0x04, 0x25, 0x08, 0x40,
          0x00, 0x00, 0x07, 0x10, 0x20, 0x00,  // mov qword ptr [0x4008], 0x201007
          0xff, 0xc3,                          // inc ebx
          0x48, 0xcf                           // iretq
      },
      handler);
  box.put_code({
      0xbf, 0x00, 0x0f, 0x20, 0x00,  // mov edi, 0x200f00
      0xb9, 0x00, 0x02, 0x00, 0x00,  // mov ecx, 0x200
      0xb8, 0x77, 0x77, 0x00, 0x00,  // mov eax, 0x7777
      0x66, 0xf3, 0xab,              // rep stosw
      0xf4                           // hlt
  });
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box[Gpr::rbx], 1u);
  EXPECT_EQ(box[Gpr::rcx], 0u);
  EXPECT_EQ(box[Gpr::rdi], 0x20'1300u);
  EXPECT_EQ(box.memory.load<std::uint16_t>(0x20'12fe), 0x7777u);
  EXPECT_EQ(box.memory.load<std::uint16_t>(0x20'1300), 0u);
}

TEST(CpuStrings, RepeatWhatTheyHaveJustWritten) {
  SystemBox box;
  for (unsigned i = 0; i < 4; ++i) box.memory.store(0x20'0000 + i, static_cast<std::uint8_t>(i + 1));
  // Source and target overlap by all but four bytes.
  box.put_code({
      0xbe, 0x00, 0x00, 0x20, 0x00,  // mov esi, 0x200000
      0xbf, 0x04, 0x00, 0x20, 0x00,  // mov edi, 0x200004
      0xb9, 0xb8, 0x0b, 0x00, 0x00,  // mov ecx, 3000
      0xf3, 0xa4,                    // rep movsb
      0xf4                           // hlt
  });
  box.cpu.gpr(Gpr::rax) = 0;
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  for (unsigned i = 0; i < 3004; ++i) ASSERT_EQ(box.memory.load<std::uint8_t>(0x20'0000 + i), i % 4 + 1) << i;
}

// [0x200000, 0x202000) to 4 MiB higher, where a translation displaces that of its source.
Code move_far() {
  return {
      0xbe, 0x00, 0x00, 0x20, 0x00,  // mov esi, 0x200000
      0xbf, 0x00, 0x00, 0x60, 0x00,  // mov edi, 0x600000
      0xb9, 0x00, 0x04, 0x00, 0x00,  // mov ecx, 1024
      0xf3, 0x48, 0xa5,              // rep movsq
      0xf4                           // hlt
  };
}

TEST(CpuStrings, MoveBetweenPagesWhoseTranslationsDisplaceEachOther) {
  ASSERT_EQ(cpu::tlb_index(0x20'0000), cpu::tlb_index(0x60'0000));
  SystemBox box;
  for (std::uint64_t i = 0; i < 1024; ++i) box.memory.store(0x20'0000 + 8 * i, i * 0x0101'0101'0101);
  box.put_code(move_far());
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  for (std::uint64_t i = 0; i < 1024; ++i)
    ASSERT_EQ(box.memory.load<std::uint64_t>(0x60'0000 + 8 * i), i * 0x0101'0101'0101);
  EXPECT_EQ(box.memory.load<std::uint64_t>(0x60'2000), 0u);
  EXPECT_EQ(box[Gpr::rcx], 0u);
  EXPECT_EQ(box[Gpr::rsi], 0x20'2000u);
  EXPECT_EQ(box[Gpr::rdi], 0x60'2000u);
}

TEST(CpuStrings, FaultAtTheElementThatMayNotBeReadWhateverDisplacesWhat) {
  SystemBox box;
  box.memory.store(CpuBox::pt + 8, std::uint64_t{0});
  box.put_code(move_far());
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  ASSERT_FALSE(box.cpu.deliveries().empty());
  EXPECT_EQ(box.cpu.deliveries().front().vector, 14u);
  EXPECT_EQ(box.cpu.registers().cr2, 0x20'1000u);
  EXPECT_EQ(box[Gpr::rcx], 512u);
  EXPECT_EQ(box[Gpr::rsi], 0x20'1000u);
  EXPECT_EQ(box[Gpr::rdi], 0x60'1000u);
}

TEST(CpuStrings, MoveWithinOnePageThatHasTwoAddresses) {
  SystemBox box;
  // 6 MiB is 2 MiB once more.
  box.memory.store(CpuBox::pd + 8 * 3, std::uint64_t{0x20'0087});
  for (std::uint64_t i = 0; i < 1024; ++i) box.memory.store(0x20'0000 + 8 * i, i);
  Code code = move_far();
  code[6] = 0x08;  // mov edi, 0x600008
  box.put_code(code);
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  for (std::uint64_t i = 0; i <= 1024; ++i)
    ASSERT_EQ(box.memory.load<std::uint64_t>(0x20'0000 + 8 * i), 0u) << i;
}

// RCX and the time at which a run ends that is given so long.
std::pair<std::uint64_t, std::uint64_t> cut_off(bool leases, std::uint64_t ns) {
  SystemBox box;
  box.memory.leases = leases;
  box.put_code({
      0xbf, 0x01, 0x08, 0x20, 0x00,  // mov edi, 0x200801
      0xbe, 0x05, 0x00, 0x60, 0x00,  // mov esi, 0x600005
      0xb9, 0x00, 0x08, 0x00, 0x00,  // mov ecx, 0x800
      0xf3, 0x48, 0xa5,              // rep movsq
      0xb9, 0x00, 0x30, 0x00, 0x00,  // mov ecx, 0x3000
      0xf3, 0xaa,                    // rep stosb
      0xf4                           // hlt
  });
  (void)box.cpu.run(ns);
  return {box[Gpr::rcx], box.clock.now_ns()};
}

// Each is one instruction, which takes the time of one: 3 before it, and another behind.
TEST(CpuStrings, AreWholeWhenTheTimeIsUpWithLeasesAndWithout) {
  for (std::uint64_t ns = 1; ns < 8; ++ns) {
    EXPECT_EQ(cut_off(true, ns), cut_off(false, ns)) << ns;
    const std::uint64_t left = ns < 3 ? 0 : ns == 3 ? 0x800 : ns == 5 ? 0x3000 : 0;
    EXPECT_EQ(cut_off(true, ns), (std::pair{left, std::min<std::uint64_t>(ns, 7)})) << ns;
  }
}

TEST(CpuStrings, GoBackwardsWithTheDirectionFlag) {
  SystemBox box;
  for (unsigned i = 0; i < 64; ++i) box.memory.store(0x20'0fe0 + 8 * i, std::uint64_t{i});
  box.put_code({
      0xfd,                          // std
      0xbe, 0xd8, 0x11, 0x20, 0x00,  // mov esi, 0x2011d8
      0xbf, 0xd8, 0x31, 0x20, 0x00,  // mov edi, 0x2031d8
      0xb9, 0x40, 0x00, 0x00, 0x00,  // mov ecx, 64
      0xf3, 0x48, 0xa5,              // rep movsq
      0xfc,                          // cld
      0xf4                           // hlt
  });
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  for (unsigned i = 0; i < 64; ++i) ASSERT_EQ(box.memory.load<std::uint64_t>(0x20'2fe0 + 8 * i), i);
  EXPECT_EQ(box[Gpr::rsi], 0x20'0fd8u);
}

// Linux calls it a firmware bug where HWCR does not tell so: bsp_init_amd(), arch/x86/kernel/cpu/amd.c.
TEST(CpuMsr, TellsThatTheTscCountsAtTheFrequencyOfP0) {
  SystemBox box;
  constexpr std::uint32_t hwcr = 0xc001'0015;
  constexpr std::uint64_t tsc_freq_sel = 1 << 24;
  EXPECT_EQ(box.cpu.read_msr(hwcr), tsc_freq_sel);
  ASSERT_TRUE(box.set_msr(hwcr, 1));
  EXPECT_EQ(box.cpu.read_msr(hwcr), tsc_freq_sel | 1);
}

}  // namespace
}  // namespace cbit::test
