// A crash dump, read by its headers. Layout: System V gABI, chapter 5; fs/proc/vmcore.c of Linux.
#include "guest/vmcore.hpp"

#include <elf.h>
#include <gtest/gtest.h>
#include <sys/procfs.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "support/guest_images.hpp"
#include "support/temporary_folder.hpp"

namespace cbit::guest {
namespace {

constexpr std::uint64_t core_memory_bytes = 16 << 20;
constexpr std::uint64_t secret_at = 0x50'0000;
constexpr std::uint32_t secret = 0x1234'5678;

class VmcoreTest : public testing::Test {
 protected:
  Pc& boot(Platform platform) {
    pc_ = std::move(*Pc::create({.platform = platform, .memory_bytes = core_memory_bytes}));
    const Bytes image = test::GuestCode{}.store(secret_at, secret).exit(3).multiboot();
    EXPECT_TRUE(pc_->load({.name = "image", .kernel = image, .command_line = ""}));
    EXPECT_TRUE(pc_->run(1'000'000).ending);
    return *pc_;
  }
  Bytes dump(const std::optional<KernelForDump>& kernel = {}, DumpView view = DumpView::guest) {
    const std::string path = folder_.file("core");
    EXPECT_TRUE(write_vmcore(*pc_, kernel, view, path));
    std::ifstream file{path, std::ios::binary};
    const std::string text{std::istreambuf_iterator<char>{file}, {}};
    const auto bytes = std::as_bytes(std::span{text});
    return {bytes.begin(), bytes.end()};
  }
  static std::vector<Elf64_Phdr> segments_of(const Bytes& file) {
    const auto header = load<Elf64_Ehdr>(file);
    EXPECT_EQ(header.e_type, ET_CORE);
    EXPECT_EQ(header.e_machine, EM_X86_64);
    std::vector<Elf64_Phdr> segments;
    for (unsigned i = 0; i < header.e_phnum; ++i)
      segments.push_back(load<Elf64_Phdr>(file, header.e_phoff + i * sizeof(Elf64_Phdr)));
    return segments;
  }
  static std::uint32_t at(const Bytes& file, std::uint64_t phys) {
    for (const Elf64_Phdr& segment : segments_of(file))
      if (segment.p_type == PT_LOAD && phys >= segment.p_paddr && phys - segment.p_paddr < segment.p_filesz)
        return load<std::uint32_t>(file, segment.p_offset + (phys - segment.p_paddr));
    ADD_FAILURE() << "no segment has it";
    return 0;
  }

  test::TemporaryFolder folder_;
  std::unique_ptr<Pc> pc_;
};

TEST_F(VmcoreTest, HasMemoryAsTheGuestSeesItAndTheProcessor) {
  for (const Platform platform : {Platform::plain, Platform::sev, Platform::sme}) {
    boot(platform);
    const Bytes file = dump();
    EXPECT_EQ(at(file, secret_at), secret);
    const std::vector<Elf64_Phdr> segments = segments_of(file);
    ASSERT_EQ(segments[0].p_type, std::uint32_t{PT_NOTE});
    const auto note = load<Elf64_Nhdr>(file, segments[0].p_offset);
    EXPECT_EQ(note.n_type, std::uint32_t{NT_PRSTATUS});
    EXPECT_EQ(note.n_descsz, sizeof(elf_prstatus));
    elf_prstatus status;
    std::memcpy(&status, &file[segments[0].p_offset + sizeof note + 8], sizeof status);
    constexpr std::size_t rip = 16;  // struct user_regs_struct, sys/user.h
    EXPECT_EQ(status.pr_reg[rip], pc_->cpu().rip());
  }
}

TEST_F(VmcoreTest, HasCiphertextAsTheHostSeesIt) {
  boot(Platform::sev);
  const Bytes file = dump({}, DumpView::host);
  std::uint32_t dram = 0;
  ASSERT_TRUE(
      pc_->machine().memory().peek(PhysAddr{secret_at}, std::as_writable_bytes(std::span{&dram, 1}), no_key));
  EXPECT_NE(dram, secret);
  EXPECT_EQ(at(file, secret_at), dram);
}

TEST_F(VmcoreTest, TellsWhereTheKernelIs) {
  boot(Platform::plain);
  const KernelForDump kernel{.vmcoreinfo = "OSRELEASE=6.1.0-test\n",
                             .text = VirtAddr{0xffff'ffff'8110'0000},
                             .text_bytes = 0x2000,
                             .text_phys = PhysAddr{secret_at},
                             .direct_map = VirtAddr{0xffff'8880'0000'0000}};
  const Bytes file = dump(kernel);
  const std::vector<Elf64_Phdr> segments = segments_of(file);
  ASSERT_GE(segments.size(), 3u);
  EXPECT_EQ(segments[1].p_vaddr, kernel.text.value());
  EXPECT_EQ(segments[1].p_paddr, secret_at);
  EXPECT_EQ(load<std::uint32_t>(file, segments[1].p_offset), secret);
  EXPECT_EQ(segments[2].p_vaddr, kernel.direct_map.value() + segments[2].p_paddr);
  const std::string notes{reinterpret_cast<const char*>(&file[segments[0].p_offset]), segments[0].p_filesz};
  EXPECT_NE(notes.find("VMCOREINFO"), notes.npos);
  EXPECT_NE(notes.find(kernel.vmcoreinfo), notes.npos);
}

// QEMU, target/i386/arch_dump.c: struct QEMUCPUState has version and size, 18 registers, 10 segments of 24
// bytes, cr[5]; dump/dump.c, write_elf64_notes(): behind the NT_PRSTATUS of all processors.
TEST_F(VmcoreTest, HasEachProcessorsRegistersAsQemuHasThem) {
  pc_ = std::move(*Pc::create({.memory_bytes = core_memory_bytes, .cpus = 2}));
  const Bytes image = test::GuestCode{}.store(secret_at, secret).exit(3).multiboot();
  ASSERT_TRUE(pc_->load({.name = "image", .kernel = image, .command_line = ""}));
  ASSERT_TRUE(pc_->run(1'000'000).ending);
  const Bytes file = dump();
  constexpr std::size_t head_bytes = sizeof(Elf64_Nhdr) + 8;  // the names have four letters
  std::size_t at = segments_of(file)[0].p_offset + 2 * (head_bytes + sizeof(elf_prstatus));
  for (std::size_t number = 0; number < 2; ++number) {
    const auto note = load<Elf64_Nhdr>(file, at);
    EXPECT_EQ(note.n_type, 0u);
    ASSERT_EQ(note.n_descsz, 432u);
    EXPECT_EQ(std::memcmp(&file[at + sizeof note], "QEMU", 5), 0);
    const std::size_t state = at + head_bytes;
    EXPECT_EQ(load<std::uint32_t>(file, state), 1u);        // QEMUCPUSTATE_VERSION
    EXPECT_EQ(load<std::uint32_t>(file, state + 4), 432u);  // its size
    const cpu::Registers expected = pc_->cpu(number).registers();
    EXPECT_EQ(load<std::uint64_t>(file, state + 56), expected[isa::Gpr::rsp]);
    EXPECT_EQ(load<std::uint64_t>(file, state + 136), expected.rip);
    EXPECT_EQ(load<std::uint32_t>(file, state + 152), expected.segment(isa::Segment::cs).selector);
    EXPECT_EQ(load<std::uint64_t>(file, state + 368 + 16), expected.idtr.base);  // past its limit
    EXPECT_EQ(load<std::uint64_t>(file, state + 392), expected.cr0);
    EXPECT_EQ(load<std::uint64_t>(file, state + 392 + 4 * 8), expected.cr4);
    at = state + note.n_descsz;
  }
  // Multiboot's flat code: G, B, P, S, executable and readable, accessed or not. DESC_* of target/i386/cpu.h.
  const std::size_t first_state = at - 2 * (head_bytes + 432) + head_bytes;
  const auto flags = load<std::uint32_t>(file, first_state + 152 + 8);
  EXPECT_EQ(flags & ~(1u << 8), 1u << 23 | 1u << 22 | 1u << 15 | 1u << 12 | 10u << 8);
}

TEST_F(VmcoreTest, HasHolesForZeros) {
  boot(Platform::plain);
  const Bytes file = dump();
  EXPECT_GE(file.size(), core_memory_bytes);
  struct stat found{};
  ASSERT_EQ(::stat(folder_.file("core").c_str(), &found), 0);
  EXPECT_LT(static_cast<std::uint64_t>(found.st_blocks) * 512, core_memory_bytes / 4);
}

TEST_F(VmcoreTest, LeavesNothingWhereItCannotBeWritten) {
  boot(Platform::plain);
  const auto nowhere = write_vmcore(*pc_, {}, DumpView::guest, folder_.file("none/core"));
  ASSERT_FALSE(nowhere);
  EXPECT_EQ(nowhere.error().code, ExitCode::output_failed);
  const auto stream = write_vmcore(*pc_, {}, DumpView::guest, "/dev/null");
  ASSERT_FALSE(stream);
  EXPECT_EQ(stream.error().code, ExitCode::usage);
}

}  // namespace
}  // namespace cbit::guest
