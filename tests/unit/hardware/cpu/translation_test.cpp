// Paging as the processor does it: TLB, rights, accessed and dirty bits, code that changes. AMD APM vol. 2,
// chapter 5.
#include "cpu_box.hpp"

namespace cbit::test {
namespace {

constexpr std::uint64_t handler = 0x2'0000;
constexpr std::uint64_t present = 1;
constexpr std::uint64_t writable = 2;
constexpr std::uint64_t user = 4;
constexpr std::uint64_t accessed = 0x20;
constexpr std::uint64_t dirty = 0x40;
constexpr std::uint64_t global = 0x100;
constexpr std::uint64_t no_execute = 1ull << 63;

struct PagingCpuBox : CpuBox {
  PagingCpuBox() {
    put_code({0xf4}, handler);
    for (unsigned vector = 0; vector < 32; ++vector) set_gate(vector, handler);
    memory.store(tss + 4, std::uint64_t{0x8'0000});
  }
  // The entry of a page of the region with 4 KiB pages.
  static constexpr std::uint64_t entry_of(unsigned page) { return pt + 8 * page; }
  void set_page(unsigned page, unsigned frame, std::uint64_t bits) {
    memory.store(entry_of(page), (small_pages + frame * page_size) | bits);
  }
  std::uint64_t entry(unsigned page) { return memory.load<std::uint64_t>(entry_of(page)); }
  // The error code of the page fault that there was; -1: there was none.
  int error() {
    const auto deliveries = cpu.deliveries();
    return deliveries.empty() ? -1 : static_cast<int>(deliveries.front().error);
  }
  void set_cr4(std::uint64_t bits) {
    cpu::Registers r = cpu.registers();
    r.cr4 |= bits;
    cpu.set_registers(r);
  }
};

TEST(CpuPaging, SetsAccessedOnReadsAndDirtyOnWrites) {
  PagingCpuBox box;
  box.put_code({
      0x8b, 0x04, 0x25, 0x00, 0x00, 0x20, 0x00,  // mov eax, [0x200000]
      0xf4,                                      // hlt
      0x89, 0x04, 0x25, 0x00, 0x00, 0x20, 0x00,  // mov [0x200000], eax
      0xf4                                       // hlt
  });
  EXPECT_EQ(box.entry(0) & (accessed | dirty), 0u);
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box.entry(0) & (accessed | dirty), accessed);
  EXPECT_EQ(box.memory.load<std::uint64_t>(CpuBox::pml4) & accessed, accessed);
  EXPECT_EQ(box.memory.load<std::uint64_t>(CpuBox::pml4) & dirty, 0u);
  cpu::Registers r = box.cpu.registers();
  box.use(r);
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box.entry(0) & (accessed | dirty), accessed | dirty);
  EXPECT_EQ(box.entry(1) & (accessed | dirty), 0u);
}

TEST(CpuPaging, KeepsATranslationUntilItIsInvalidated) {
  PagingCpuBox box;
  box.memory.store(0x20'0000, 0xaaaaaaaa);
  box.memory.store(0x20'1000, 0xbbbbbbbb);
  box.put_code({
      0x8b, 0x04, 0x25, 0x00, 0x00, 0x20, 0x00,  // mov eax, [0x200000]
      0x48, 0xc7, 0x04, 0x25, 0x00, 0x40, 0x00, 0x00,
      0x07, 0x10, 0x20, 0x00,                          // mov qword ptr [0x4000], 0x201007
      0x8b, 0x1c, 0x25, 0x00, 0x00, 0x20, 0x00,        // mov ebx, [0x200000]
      0x0f, 0x01, 0x3c, 0x25, 0x00, 0x00, 0x20, 0x00,  // invlpg [0x200000]
      0x8b, 0x0c, 0x25, 0x00, 0x00, 0x20, 0x00,        // mov ecx, [0x200000]
      0xf4                                             // hlt
  });
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box[Gpr::rax], 0xaaaaaaaau);
  EXPECT_EQ(box[Gpr::rbx], 0xaaaaaaaau);
  EXPECT_EQ(box[Gpr::rcx], 0xbbbbbbbbu);
}

TEST(CpuPaging, InvlpgDropsALargePageWholly) {
  PagingCpuBox box;
  // 4 MiB to 6 MiB is one large page; it moves to 6 MiB.
  box.memory.store(0x40'0000, 0xaaaaaaaa);
  box.memory.store(0x60'0000, 0xbbbbbbbb);
  box.put_code({
      0x8b, 0x04, 0x25, 0x00, 0x00, 0x40, 0x00,  // mov eax, [0x400000]
      0x48, 0xc7, 0x04, 0x25, 0x10, 0x30, 0x00, 0x00,
      0x87, 0x00, 0x60, 0x00,                          // mov qword ptr [0x3010], 0x600087
      0x0f, 0x01, 0x3c, 0x25, 0x00, 0xf0, 0x5f, 0x00,  // invlpg [0x5ff000]
      0x8b, 0x1c, 0x25, 0x00, 0x00, 0x40, 0x00,        // mov ebx, [0x400000]
      0xf4                                             // hlt
  });
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box[Gpr::rax], 0xaaaaaaaau);
  EXPECT_EQ(box[Gpr::rbx], 0xbbbbbbbbu);
}

TEST(CpuPaging, LoadOfCr3KeepsGlobalPagesOnly) {
  PagingCpuBox box;
  for (unsigned page = 0; page < 4; ++page) box.memory.store(0x20'0000 + page * page_size, page + 10);
  box.set_page(0, 0, present | writable | global);
  box.put_code({
      0x8b, 0x04, 0x25, 0x00, 0x00, 0x20, 0x00,  // mov eax, [0x200000]
      0x8b, 0x1c, 0x25, 0x00, 0x10, 0x20, 0x00,  // mov ebx, [0x201000]
      0x48, 0xc7, 0x04, 0x25, 0x00, 0x40, 0x00,
      0x00, 0x07, 0x20, 0x20, 0x00,  // mov qword ptr [0x4000], 0x202007
      0x48, 0xc7, 0x04, 0x25, 0x08, 0x40, 0x00,
      0x00, 0x07, 0x30, 0x20, 0x00,              // mov qword ptr [0x4008], 0x203007
      0x0f, 0x20, 0xd9,                          // mov rcx, cr3
      0x0f, 0x22, 0xd9,                          // mov cr3, rcx
      0x8b, 0x34, 0x25, 0x00, 0x00, 0x20, 0x00,  // mov esi, [0x200000]
      0x8b, 0x3c, 0x25, 0x00, 0x10, 0x20, 0x00,  // mov edi, [0x201000]
      0xf4                                       // hlt
  });
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box[Gpr::rsi], 10u);
  EXPECT_EQ(box[Gpr::rdi], 13u);
}

TEST(CpuPaging, ProtectsPagesFromWritesByTheirRightsAndWp) {
  PagingCpuBox box;
  box.set_page(0, 0, present | user);
  box.put_code({
      0x89, 0x04, 0x25, 0x00, 0x00, 0x20, 0x00,  // mov [0x200000], eax
      0xf4                                       // hlt
  });
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box.error(), 3);  // present, write

  cpu::Registers r = CpuBox::kernel_registers();
  r.cr0 &= ~cpu::cr0::write_protect;
  box.use(r);
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box.error(), -1);
  EXPECT_EQ(box.entry(0) & dirty, dirty);
}

TEST(CpuPaging, KeepsUsersOutOfTheKernelsPages) {
  PagingCpuBox box;
  box.set_page(0, 0, present | writable);
  box.put_code({
      0x8b, 0x04, 0x25, 0x00, 0x00, 0x20, 0x00,  // mov eax, [0x200000]
      0xf4                                       // hlt
  });
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box.error(), -1);
  box.use(CpuBox::kernel_registers());
  box.become_user();
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box.error(), 5);  // present, user
}

TEST(CpuPaging, ReservedBitsFault) {
  PagingCpuBox box;
  box.set_page(0, 0, present | writable | 1ull << 51);
  box.put_code({
      0x8b, 0x04, 0x25, 0x00, 0x00, 0x20, 0x00,  // mov eax, [0x200000]
      0xf4                                       // hlt
  });
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box.error(), 9);  // present, reserved
}

TEST(CpuPaging, NoExecuteStopsFetches) {
  PagingCpuBox box;
  box.set_page(0, 0, present | writable | no_execute);
  box.put_code({0xf4}, 0x20'0000);
  box.put_code({
      0xb8, 0x00, 0x00, 0x20, 0x00,  // mov eax, 0x200000
      0xff, 0xe0                     // jmp rax
  });
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box.error(), 0x11);  // present, fetch
  EXPECT_EQ(box.cpu.registers().cr2, 0x20'0000u);
}

TEST(CpuPaging, NoExecuteIsReservedWithoutItsFeature) {
  PagingCpuBox box;
  box.set_page(0, 0, present | writable | no_execute);
  box.put_code({
      0x8b, 0x04, 0x25, 0x00, 0x00, 0x20, 0x00,  // mov eax, [0x200000]
      0xf4                                       // hlt
  });
  cpu::Registers r = CpuBox::kernel_registers();
  r.efer &= ~cpu::efer::no_execute;
  box.use(r);
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box.error(), 9);
}

TEST(CpuPaging, SmepStopsTheKernelFromRunningUsersCode) {
  PagingCpuBox box;
  box.put_code({0xf4}, 0x20'0000);
  box.put_code({
      0xb8, 0x00, 0x00, 0x20, 0x00,  // mov eax, 0x200000
      0xff, 0xe0                     // jmp rax
  });
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box.error(), -1);

  // All that the kernel runs must be its own then.
  PagingCpuBox smep;
  smep.memory.store(CpuBox::pd, std::uint64_t{0x83});
  smep.put_code({0xf4}, 0x20'0000);
  smep.put_code({
      0xb8, 0x00, 0x00, 0x20, 0x00,  // mov eax, 0x200000
      0xff, 0xe0                     // jmp rax
  });
  smep.set_cr4(cpu::cr4::smep);
  EXPECT_EQ(smep.run(), cpu::Stop::halted);
  EXPECT_EQ(smep.error(), 0x11);
}

TEST(CpuPaging, SmapKeepsTheKernelFromUsersDataUnlessItSaysSo) {
  PagingCpuBox box;
  box.memory.store(CpuBox::pd, std::uint64_t{0x83});
  box.memory.store(0x20'0000, 0x1234);
  box.put_code({
      0x0f, 0x01, 0xcb,                          // stac
      0x8b, 0x04, 0x25, 0x00, 0x00, 0x20, 0x00,  // mov eax, [0x200000]
      0x0f, 0x01, 0xca,                          // clac
      0x8b, 0x1c, 0x25, 0x00, 0x00, 0x20, 0x00,  // mov ebx, [0x200000]
      0xf4                                       // hlt
  });
  box.set_cr4(cpu::cr4::smap);
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box[Gpr::rax], 0x1234u);
  EXPECT_EQ(box.error(), 1);
  EXPECT_EQ(box.cpu.deliveries().front().rip, CpuBox::code_at + 13);
}

TEST(CpuPaging, WhatIsNoMemoryReadsAsOnes) {
  PagingCpuBox box;
  box.set_page(0, 0, present | writable);
  box.memory.store(PagingCpuBox::entry_of(0), 0xfee0'0000ull | present | writable);
  box.put_code({
      0x8b, 0x04, 0x25, 0x20, 0x00, 0x20, 0x00,  // mov eax, [0x200020]
      0x89, 0x04, 0x25, 0x30, 0x00, 0x20, 0x00,  // mov [0x200030], eax
      0xf4                                       // hlt
  });
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box[Gpr::rax], 0xffff'ffffu);
  EXPECT_EQ(box.memory.device_reads, std::vector<PhysAddr>{PhysAddr{0xfee0'0020}});
  EXPECT_EQ(box.memory.device_writes, std::vector<PhysAddr>{PhysAddr{0xfee0'0030}});
}

TEST(CpuPaging, RunsWithoutLeasesJustAsWell) {
  PagingCpuBox box;
  box.memory.leases = false;
  box.put_code({
      0xb8, 0x05, 0x00, 0x00, 0x00,                    // mov eax, 5
      0x89, 0x04, 0x25, 0xfe, 0x0f, 0x20, 0x00,        // mov [0x200ffe], eax
      0x83, 0x04, 0x25, 0xfe, 0x0f, 0x20, 0x00, 0x03,  // add dword ptr [0x200ffe], 3
      0x8b, 0x1c, 0x25, 0xfe, 0x0f, 0x20, 0x00,        // mov ebx, [0x200ffe]
      0x53,                                            // push rbx
      0x59,                                            // pop rcx
      0x48, 0x8d, 0x3c, 0x25, 0x00, 0x10, 0x20, 0x00,  // lea rdi, [0x201000]
      0xb9, 0x03, 0x00, 0x00, 0x00,                    // mov ecx, 3
      0xb0, 0x5a,                                      // mov al, 0x5a
      0xf3, 0xaa,                                      // rep stosb
      0xf4                                             // hlt
  });
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box[Gpr::rbx], 8u);
  EXPECT_EQ(box.memory.load<std::uint32_t>(0x20'1000), 0x005a'5a5au);
}

TEST(CpuCode, SeesItsOwnChangesAtTheNextInstruction) {
  CpuBox box;
  // The immediate of the second MOV is changed by the first.
  box.put_code({
      0xc6, 0x05, 0x01, 0x00, 0x00, 0x00, 0x09,  // mov byte ptr [rip + 1], 9
      0xbb, 0x01, 0x00, 0x00, 0x00,              // mov ebx, 1
      0xf4                                       // hlt
  });
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box[Gpr::rbx], 9u);
}

TEST(CpuCode, SeesChangesOfBlocksThatRanBefore) {
  CpuBox box;
  // A loop whose addend is changed in its third turn.
  box.put_code({
      0x31, 0xc0,                                // xor eax, eax
      0xb9, 0x05, 0x00, 0x00, 0x00,              // mov ecx, 5
      0xeb, 0x00,                                // 1: jmp 2f
      0x83, 0xc0, 0x01,                          // 2: add eax, 1
      0x83, 0xf9, 0x03,                          // cmp ecx, 3
      0x75, 0x07,                                // jne 3f
      0xc6, 0x05, 0xf3, 0xff, 0xff, 0xff, 0x0a,  // mov byte ptr [rip - 13], 10
      0xff, 0xc9,                                // 3: dec ecx
      0x75, 0xeb,                                // jnz 1b
      0xf4                                       // hlt
  });
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box[Gpr::rax], 3u + 2 * 10);
  EXPECT_GT(box.code.stats().invalidated, 0u);
}

TEST(CpuCode, KeepsBlocksOfAPageWhoseOtherBytesChange) {
  CpuBox box;
  box.put_code({
      0xb9, 0x64, 0x00, 0x00, 0x00,        // mov ecx, 100
      0x89, 0x0d, 0x00, 0x01, 0x00, 0x00,  // 1: mov [rip + 0x100], ecx
      0xff, 0xc9,                          // dec ecx
      0x75, 0xf6,                          // jnz 1b
      0xf4                                 // hlt
  });
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box.memory.load<std::uint32_t>(CpuBox::code_at + 5 + 6 + 0x100), 1u);
  EXPECT_EQ(box.code.stats().invalidated, 0u);
}

TEST(CpuCode, RunsAnInstructionThatCrossesPages) {
  CpuBox box;
  box.put_code(
      {
          0xbb, 0x44, 0x33, 0x22, 0x11,  // mov ebx, 0x11223344
          0xf4                           // hlt
      },
      CpuBox::code_at + 0xffe);
  box.put_code({
      0xe9, 0xf9, 0x0f, 0x00, 0x00  // jmp .+0xffe
  });
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box[Gpr::rbx], 0x1122'3344u);
  // Its second half changes.
  box.memory.store(CpuBox::code_at + 0x1000, std::uint8_t{0x55});
  box.code.invalidate(PhysAddr{CpuBox::code_at + 0x1000}, 1);
  box.use(CpuBox::kernel_registers());
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box[Gpr::rbx], 0x1122'5544u);
}

// Adds the byte at 0x201000 to EAX eight times, maps another page there, flushes, and adds twice more. The
// block that crosses into that page is reached by a call, and by a jump in its first page.
std::uint64_t sum_of_block_that_crosses(const Code& flush) {
  PagingCpuBox box;
  box.set_page(0, 0, present | writable | global);
  box.put_code({0xe9, 0xf9, 0x00, 0x00, 0x00}, 0x20'0f00);  // jmp 0x200ffe
  box.put_code({0x83, 0xc0}, 0x20'0ffe);                    // add eax,
  box.put_code({0x01, 0xc3}, 0x20'1000);                    // 1; ret
  box.put_code({0x10, 0xc3}, 0x20'2000);                    // 16; ret
  Code program = {
      0x31, 0xc0,                                // xor eax, eax
      0x48, 0xc7, 0xc3, 0x00, 0x0f, 0x20, 0x00,  // mov rbx, 0x200f00
      0x48, 0xc7, 0xc6, 0xfe, 0x0f, 0x20, 0x00,  // mov rsi, 0x200ffe
      0xb9, 0x04, 0x00, 0x00, 0x00,              // mov ecx, 4
      0xff, 0xd3,                                // 1: call rbx
      0xff, 0xd6,                                // call rsi
      0xff, 0xc9,                                // dec ecx
      0x75, 0xf8,                                // jnz 1b
      0x48, 0xc7, 0x04, 0x25, 0x08, 0x40, 0x00,
      0x00, 0x07, 0x20, 0x20, 0x00,  // mov qword ptr [0x4008], 0x202007
  };
  program.insert(program.end(), flush.begin(), flush.end());
  const Code again = {
      0xff, 0xd3,  // call rbx
      0xff, 0xd6,  // call rsi
      0xf4         // hlt
  };
  program.insert(program.end(), again.begin(), again.end());
  box.put_code(program);
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  return box[Gpr::rax];
}

TEST(CpuCode, RunsTheSecondHalfOfABlockWhereItIsMappedAfterEachFlush) {
  constexpr std::uint64_t before = 8 * 1, after = 2 * 16;
  const Code invlpg = {0x0f, 0x01, 0x3c, 0x25, 0x00, 0x10, 0x20, 0x00};  // invlpg [0x201000]
  EXPECT_EQ(sum_of_block_that_crosses(invlpg), before + after);
  const Code load_cr3 = {
      0x0f, 0x20, 0xd9,  // mov rcx, cr3
      0x0f, 0x22, 0xd9   // mov cr3, rcx
  };
  EXPECT_EQ(sum_of_block_that_crosses(load_cr3), before + after);
}

TEST(CpuCode, FetchesTheSecondHalfThroughItsOwnMapping) {
  PagingCpuBox box;
  // MOV EBX at the end of page 0; page 1 changes its frame between two runs, and is gone in a third.
  box.put_code({0xbb, 0x11}, 0x20'0ffe);
  box.put_code({0x22, 0x33, 0x44, 0xf4}, 0x20'1000);
  box.put_code({0x55, 0x66, 0x77, 0xf4}, 0x20'2000);
  cpu::Registers r = CpuBox::kernel_registers();
  r.rip = 0x20'0ffe;
  box.use(r);
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box[Gpr::rbx], 0x4433'2211u);
  box.set_page(1, 2, present | writable);
  box.use(r);
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box[Gpr::rbx], 0x7766'5511u);
  box.set_page(1, 2, 0);
  box.use(r);
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box.cpu.registers().cr2, 0x20'1000u);
  EXPECT_EQ(box.cpu.deliveries().front().rip, 0x20'0ffeu);
}

TEST(CpuCode, IsTheSameWhereverItIsMapped) {
  PagingCpuBox box;
  // Page 3 is another view of page 0: one block, two addresses.
  box.set_page(3, 0, present | writable | user);
  box.put_code(
      {
          0x48, 0x8d, 0x05, 0x00, 0x00, 0x00, 0x00,  // lea rax, [rip]
          0xe8, 0x00, 0x00, 0x00, 0x00,              // call 1f
          0x5b,                                      // 1: pop rbx
          0xf4                                       // hlt
      },
      0x20'0000);
  for (const std::uint64_t at : {0x20'0000, 0x20'3000}) {
    cpu::Registers r = CpuBox::kernel_registers();
    r.rip = at;
    box.use(r);
    EXPECT_EQ(box.run(), cpu::Stop::halted);
    EXPECT_EQ(box[Gpr::rax], at + 7);
    EXPECT_EQ(box[Gpr::rbx], at + 12);
  }
}

TEST(CpuCode, DropsAllBlocksWhenAPageIsRevoked) {
  CpuBox box;
  box.put_code({
      0xb8, 0x01, 0x00, 0x00, 0x00,  // mov eax, 1
      0xf4                           // hlt
  });
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  const std::uint64_t blocks = box.code.stats().blocks;
  box.memory.store(CpuBox::code_at + 1, std::uint8_t{2});
  box.code.revoke(PhysAddr{CpuBox::code_at});
  box.use(CpuBox::kernel_registers());
  EXPECT_EQ(box.run(), cpu::Stop::halted);
  EXPECT_EQ(box[Gpr::rax], 2u);
  EXPECT_GT(box.code.stats().blocks, blocks);
}

}  // namespace
}  // namespace cbit::test
