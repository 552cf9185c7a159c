// PVH: expected values from xen/include/public/arch-x86/hvm/start_info.h and docs/misc/pvh.pandoc.
#include "boot/vmlinux.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/boot_board.hpp"
#include "support/boot_images.hpp"
#include "support/sizes.hpp"

namespace cbit::boot {
namespace {

using test::FakeElf;
using test::small_board;
using test::text_at;
using test::value_at;
using testing::HasSubstr;

constexpr std::uint64_t kernel_map = 0xffff'ffff'8000'0000;  // __START_KERNEL_map

Bytes entry_note(std::uint64_t entry, bool wide = true) {
  Bytes contents;
  test::put_at(contents, 0, entry);
  contents.resize(wide ? 8 : 4);
  return FakeElf::note("Xen", 18, contents);
}

// Linux in miniature: text with virtual addresses, bss, notes, and the sentence of a kernel that encrypts.
FakeElf fake_vmlinux() {
  Bytes text = pattern_bytes(0x3000, 5);
  test::put_text_at(text, 0x100, "Memory Encryption Features active:");
  Bytes notes = FakeElf::note("Linux", 0x100, Bytes(1));
  const Bytes xen = entry_note(0x100'0040);
  notes.insert(notes.end(), xen.begin(), xen.end());
  return {.entry = 0x100'0000,
          .segments = {{.vaddr = kernel_map + 0x100'0000, .paddr = 0x100'0000, .bytes = text},
                       {.flags = 6,
                        .vaddr = kernel_map + 0x120'0000,
                        .paddr = 0x120'0000,
                        .bytes = pattern_bytes(0x1800, 6),
                        .memory_bytes = 0x5000},
                       {.type = 4, .bytes = notes}}};
}

// ---- ELF ----

TEST(ElfFile, GivesSegmentsWithTheirZeros) {
  const FakeElf fake = fake_vmlinux();
  const Bytes file = fake.file();
  const auto elf = ElfFile::open(file, "vmlinux");
  ASSERT_TRUE(elf) << elf.error().message;
  EXPECT_TRUE(elf->is_64_bit());
  EXPECT_TRUE(elf->is_executable());
  EXPECT_FALSE(elf->is_relocatable());
  EXPECT_FALSE(elf->has_interpreter());
  const auto segments = elf->segments();
  ASSERT_TRUE(segments);
  ASSERT_EQ(segments->size(), 2u);
  EXPECT_EQ((*segments)[1].at, PhysAddr{0x120'0000});
  EXPECT_EQ(Bytes((*segments)[1].bytes.begin(), (*segments)[1].bytes.end()), fake.segments[1].bytes);
  EXPECT_EQ((*segments)[1].zeros, 0x5000u - 0x1800);
}

TEST(ElfFile, RefusesSegmentsThatAreNotInTheFile) {
  FakeElf fake = fake_vmlinux();
  fake.segments.resize(1);
  Bytes file = fake.file();
  const Bytes cut(file.begin(), file.end() - 1);
  const auto elf = ElfFile::open(cut, "vmlinux");
  ASSERT_TRUE(elf);
  const auto segments = elf->segments();
  ASSERT_FALSE(segments);
  EXPECT_THAT(segments.error().message, HasSubstr("cut off"));
  fake.segments[0].memory_bytes = 1;
  file = fake.file();
  const auto short_memory = ElfFile::open(file, "vmlinux");
  ASSERT_TRUE(short_memory);
  EXPECT_FALSE(short_memory->segments());
}

TEST(ElfFile, RefusesASegmentThatRunsOverTheEndOfAddresses) {
  for (const auto& [paddr, bytes] : {std::pair{~0ull - 15, 64ull}, {0x10'0000ull, ~0ull}, {~0ull, ~0ull}}) {
    FakeElf fake{.segments = {{.paddr = paddr, .bytes = Bytes(16), .memory_bytes = bytes}}};
    const Bytes file = fake.file();
    const auto elf = ElfFile::open(file, "vmlinux");
    ASSERT_TRUE(elf);
    const auto segments = elf->segments();
    ASSERT_FALSE(segments) << paddr << ' ' << bytes;
    EXPECT_THAT(segments.error().message, HasSubstr("runs over the end of all addresses"));
  }
}

TEST(ElfFile, RefusesOtherProcessorsAndStubs) {
  const auto refusal = [](const Bytes& file) {
    const auto elf = ElfFile::open(file, "file");
    return elf ? std::string{} : elf.error().message;
  };
  EXPECT_THAT(refusal(FakeElf{.machine = 183}.file()), HasSubstr("another processor (ELF machine 183)"));
  EXPECT_THAT(refusal(pattern_bytes(100, 1)), HasSubstr("no ELF file"));
  const Bytes file = FakeElf{}.file();
  EXPECT_THAT(refusal(Bytes(file.begin(), file.begin() + 20)), HasSubstr("no readable ELF header"));
}

TEST(ElfFile, FindsNotesByOwnerAndType) {
  const Bytes file = fake_vmlinux().file();
  const auto elf = ElfFile::open(file, "vmlinux");
  ASSERT_TRUE(elf);
  EXPECT_TRUE(elf->note("Xen", 18));
  EXPECT_FALSE(elf->note("Xen", 17));
  EXPECT_FALSE(elf->note("Xenon", 18));
  EXPECT_TRUE(is_linux(*elf));
  EXPECT_EQ(pvh_entry(*elf), PhysAddr{0x100'0040});
}

TEST(ElfFile, TakesTheEntryThroughTheMappingOfItsSegment) {
  FakeElf fake = fake_vmlinux();
  fake.entry = kernel_map + 0x100'0123;
  Bytes file = fake.file();
  EXPECT_EQ(ElfFile::open(file, "x")->entry(), PhysAddr{0x100'0123});
  fake.entry = 0x100'0123;
  file = fake.file();
  EXPECT_EQ(ElfFile::open(file, "x")->entry(), PhysAddr{0x100'0123});
}

// ---- PVH ----

TEST(PvhPlan, EntersFlat32BitModeWithStartInfoInEbx) {
  const Bytes file = fake_vmlinux().file();
  const auto plan = plan_pvh(small_board(), {.name = "vmlinux", .kernel = file, .command_line = "quiet"});
  ASSERT_TRUE(plan) << plan.error().message;
  const EntryState& entry = plan->entry;
  EXPECT_EQ(entry.rip, 0x100'0040u);
  EXPECT_EQ(entry.cr0 & ~0x10u, 1u);  // PE; ET cannot be cleared
  EXPECT_EQ(entry.cr4, 0u);
  EXPECT_EQ(entry.efer, 0u);
  EXPECT_EQ(entry.rflags & (1u << 17 | 1u << 9 | 1u << 8), 0u);
  EXPECT_EQ(entry.cs.attributes, 0xc9b);
  EXPECT_EQ(entry.cs.limit, 0xffff'ffffu);
  EXPECT_EQ(entry.ds.attributes, 0xc93);
  EXPECT_EQ(entry.es, entry.ds);
  EXPECT_EQ(entry.tr.attributes & 0x1f, 0x0b);  // an active 32-bit TSS
  EXPECT_EQ(entry.tr.base, 0u);
  EXPECT_EQ(entry.tr.limit, 0x67u);
}

TEST(PvhPlan, FillsStartInfo) {
  const Bytes file = fake_vmlinux().file();
  const Bytes initrd = pattern_bytes(0x1001, 1);
  const auto plan = plan_pvh(
      small_board(),
      {.name = "vmlinux", .kernel = file, .modules = {{"initrd", initrd}}, .command_line = "quiet splash"});
  ASSERT_TRUE(plan);
  const std::uint64_t info = plan->entry.rbx;
  EXPECT_EQ(value_at<std::uint32_t>(*plan, info), 0x336e'c578u);
  EXPECT_EQ(value_at<std::uint32_t>(*plan, info + 4), 1u);
  EXPECT_EQ(value_at<std::uint32_t>(*plan, info + 8), 0u);
  EXPECT_EQ(value_at<std::uint32_t>(*plan, info + 12), 1u);
  EXPECT_EQ(text_at(*plan, value_at<std::uint64_t>(*plan, info + 24)), "quiet splash");
  EXPECT_EQ(text_at(*plan, value_at<std::uint64_t>(*plan, info + 32)).substr(0, 8), "RSD PTR ");
  const auto module = value_at<std::uint64_t>(*plan, info + 16);
  const auto at = value_at<std::uint64_t>(*plan, module);
  EXPECT_EQ(value_at<std::uint64_t>(*plan, module + 8), initrd.size());
  EXPECT_EQ(test::loaded_at(*plan, at, initrd.size()), initrd);
  const auto map = value_at<std::uint64_t>(*plan, info + 40);
  ASSERT_EQ(value_at<std::uint32_t>(*plan, info + 48), plan->memory_map.size());
  for (std::size_t i = 0; i < plan->memory_map.size(); ++i) {
    EXPECT_EQ(value_at<std::uint64_t>(*plan, map + i * 24), plan->memory_map[i].first.value());
    EXPECT_EQ(value_at<std::uint64_t>(*plan, map + i * 24 + 8), plan->memory_map[i].bytes);
    EXPECT_EQ(value_at<std::uint32_t>(*plan, map + i * 24 + 16),
              static_cast<std::uint32_t>(plan->memory_map[i].type));
  }
}

TEST(PvhPlan, ReadsTheEntryOf32BitNotesToo) {
  FakeElf fake{.is_64_bit = false, .machine = 3, .segments = {{.paddr = mib, .bytes = Bytes(16)}}};
  fake.segments.push_back({.type = 4, .bytes = entry_note(mib + 4, false)});
  const Bytes file = fake.file();
  const auto plan = plan_pvh(small_board(), {.name = "k", .kernel = file});
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_EQ(plan->entry.rip, mib + 4);
  EXPECT_EQ(value_at<std::uint32_t>(*plan, plan->entry.rbx + 12), 0u);
  EXPECT_EQ(value_at<std::uint64_t>(*plan, plan->entry.rbx + 16), 0u);
}

TEST(PvhPlan, RefusesWhatHasNoNoteOrDoesNotFit) {
  FakeElf fake = fake_vmlinux();
  fake.segments.pop_back();
  Bytes file = fake.file();
  EXPECT_FALSE(plan_pvh(small_board(), {.name = "k", .kernel = file}));
  fake = fake_vmlinux();
  fake.segments[1].memory_bytes = 60 * mib;
  file = fake.file();
  const auto plan = plan_pvh(small_board(), {.name = "k", .kernel = file});
  ASSERT_FALSE(plan);
  EXPECT_THAT(plan.error().message, HasSubstr("k: kernel needs"));
  fake.segments[1] = fake.segments[0];
  file = fake.file();
  const auto twice = plan_pvh(small_board(), {.name = "k", .kernel = file});
  ASSERT_FALSE(twice);
  EXPECT_THAT(twice.error().message, HasSubstr("overlap"));
  EXPECT_THAT(twice.error().hint, HasSubstr("damaged"));
}

// ---- vmlinux ----

TEST(VmlinuxPlan, EntersTheKernelProperWithBootParams) {
  const FakeElf fake = fake_vmlinux();
  const Bytes file = fake.file();
  const Bytes initrd = pattern_bytes(0x2000, 8);
  const auto plan = plan_vmlinux(
      small_board(Platform::sev),
      {.name = "vmlinux", .kernel = file, .modules = {{"initrd", initrd}}, .command_line = "ro"});
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_EQ(plan->entry.rip, 0x100'0000u);
  EXPECT_EQ(plan->entry.efer, 0x500u);
  EXPECT_EQ(plan->entry.cs.attributes, 0xa9b);
  const std::uint64_t params = plan->entry.rsi;
  EXPECT_EQ(value_at<std::uint32_t>(*plan, params + 0x202), 0x5372'6448u);
  EXPECT_EQ(text_at(*plan, value_at<std::uint32_t>(*plan, params + 0x228)), "ro");
  EXPECT_EQ(value_at<std::uint32_t>(*plan, params + 0x21c), initrd.size());
  EXPECT_EQ(test::loaded_at(*plan, 0x120'1800, 0x3800), Bytes(0x3800)) << "bss";
  EXPECT_EQ(test::piece_at(*plan, 0x120'0000).size(), 0x5000u);
}

TEST(VmlinuxPlan, TellsTheKernelOfSmeWhatTheStubWouldHaveFound) {
  const Bytes file = fake_vmlinux().file();
  const auto bit = [&](Platform platform, std::string line) {
    const auto plan =
        plan_vmlinux(small_board(platform), {.name = "v", .kernel = file, .command_line = std::move(line)});
    return plan && (value_at<std::uint16_t>(*plan, plan->entry.rsi + 0x236) & 0x80) != 0;
  };
  EXPECT_TRUE(bit(Platform::sme, "mem_encrypt=on"));
  EXPECT_FALSE(bit(Platform::sme, "mem_encrypt=off"));
  EXPECT_FALSE(bit(Platform::sme, ""));
  EXPECT_FALSE(bit(Platform::sev, "mem_encrypt=on"));
}

TEST(VmlinuxPlan, RefusesAKernelThatCannotEncryptWhereItShall) {
  FakeElf fake = fake_vmlinux();
  fake.segments[0].bytes = pattern_bytes(0x3000, 5);
  const Bytes file = fake.file();
  EXPECT_TRUE(plan_vmlinux(small_board(), {.name = "v", .kernel = file}));
  const auto plan = plan_vmlinux(small_board(Platform::sev), {.name = "v", .kernel = file});
  ASSERT_FALSE(plan);
  EXPECT_THAT(plan.error().message, HasSubstr("CONFIG_AMD_MEM_ENCRYPT"));
}

}  // namespace
}  // namespace cbit::boot
