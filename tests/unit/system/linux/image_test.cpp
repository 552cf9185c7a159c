// A kernel's file, opened: what is in it, and what is said of one that cannot be read.
#include "linux/image.hpp"

#include <gtest/gtest.h>

#include "linux/parts.hpp"
#include "support/linux/file_writer.hpp"

namespace cbit::linux {
namespace {

using test::bytes_from;
using test::ByteWriter;
using test::pack;
using test::with_size;
using test::write_bzimage;
using test::write_elf;

constexpr std::uint64_t text_at_address = 0xffff'ffff'8100'0000;
constexpr std::uint64_t rodata_at = 0xffff'ffff'8200'0000;
constexpr std::string_view banner = "Linux version 6.1.0-test (builder@host) (gcc) #1 SMP\n";

Bytes small_kernel(const Bytes& more = {}) {
  const Bytes rodata = ByteWriter{}
                           .text("Linux version %s (%s)\n")
                           .put('\0')
                           .align(64)
                           .text(banner)
                           .put('\0')
                           .append(more)
                           .bytes();
  return write_elf({{.name = ".text",
                     .at = text_at_address,
                     .bytes = pattern_bytes(5000, 1),
                     .flags = SHF_ALLOC | SHF_EXECINSTR},
                    {.name = ".rodata", .at = rodata_at, .bytes = rodata}});
}

Error error_of(Bytes file) {
  const auto image = KernelImage::open(std::move(file), "vmlinuz");
  return image ? Error{} : image.error();
}

void expect_small_kernel(Bytes file) {
  const auto image = KernelImage::open(std::move(file), "vmlinuz");
  ASSERT_TRUE(image) << image.error().message;
  EXPECT_EQ(image->banner(), banner);
  EXPECT_EQ(image->banner_at(), VirtAddr{rodata_at + 64});
  EXPECT_EQ(image->release(), "6.1.0-test");
  const ElfPart* const text = image->elf().section(".text");
  ASSERT_NE(text, nullptr);
  EXPECT_EQ(text->at, VirtAddr{text_at_address});
  EXPECT_TRUE(text->executable);
  EXPECT_TRUE(std::ranges::equal(text->bytes, pattern_bytes(5000, 1)));
  EXPECT_FALSE(image->elf().section(".rodata")->executable);
  EXPECT_EQ(image->elf().section(".nothing"), nullptr);
}

TEST(LinuxImage, IsAVmlinuxAsItStands) { expect_small_kernel(small_kernel()); }

TEST(LinuxImage, IsUnpackedFromEveryCompressionThatIsKnown) {
  const Bytes kernel = small_kernel();
  expect_small_kernel(write_bzimage(kernel));
  expect_small_kernel(write_bzimage(pack(kernel, archive_write_add_filter_gzip)));
  for (const auto filter : {archive_write_add_filter_bzip2, archive_write_add_filter_lzma,
                            archive_write_add_filter_xz, archive_write_add_filter_zstd})
    expect_small_kernel(write_bzimage(with_size(pack(kernel, filter), kernel.size())));
  expect_small_kernel(write_bzimage(with_size(test::pack_lz4_legacy(kernel), kernel.size())));
}

TEST(LinuxImage, HasTheSetupHeaderOfABzImageOnly) {
  const auto image = KernelImage::open(write_bzimage(small_kernel()), "vmlinuz");
  ASSERT_TRUE(image);
  ASSERT_TRUE(image->setup_header());
  EXPECT_EQ(std::uint16_t{image->setup_header()->version}, 0x020f);
  EXPECT_FALSE(KernelImage::open(small_kernel(), "vmlinux")->setup_header());
}

TEST(LinuxImage, KeepsWorkingWhereItIsMovedTo) {
  auto image = KernelImage::open(small_kernel(), "vmlinux");
  ASSERT_TRUE(image);
  const KernelImage moved = *std::move(image);
  EXPECT_EQ(moved.banner(), banner);
  EXPECT_TRUE(moved.elf().at(VirtAddr{rodata_at}));
}

TEST(LinuxImage, SaysWhatIsWrongWithAFileThatIsNoKernel) {
  EXPECT_EQ(error_of(bytes_from("#!/bin/sh\n")).message, "vmlinuz is no Linux kernel");
  EXPECT_EQ(error_of({}).message, "vmlinuz is no Linux kernel");
  EXPECT_EQ(error_of(write_bzimage(small_kernel(), 0x020f, 0)).message, "vmlinuz is no 64-bit kernel");
  EXPECT_EQ(error_of(write_bzimage(small_kernel(), 0x020b)).message, "vmlinuz is no 64-bit kernel");
  EXPECT_EQ(error_of(write_elf({{.name = ".text"}}, ET_REL)).message,
            "vmlinuz is no Linux kernel but another ELF file");
  Bytes other = small_kernel();
  store(other, 18, std::uint16_t{EM_AARCH64});
  EXPECT_EQ(error_of(other).message, "vmlinuz is not for x86-64");
}

TEST(LinuxImage, NamesACompressionThatItCannotUnpack) {
  EXPECT_EQ(error_of(write_bzimage(bytes_from("\x89LZO\r\n"))).message,
            "vmlinuz: its kernel is compressed with LZO, which is not supported");
  EXPECT_EQ(error_of(write_bzimage(bytes_from("????????"))).message,
            "vmlinuz: its kernel is compressed in a way that is not known");
}

TEST(LinuxImage, IsRefusedWhereItIsCutOff) {
  const Bytes kernel = small_kernel();
  Bytes file = write_bzimage(with_size(pack(kernel, archive_write_add_filter_xz), kernel.size()));
  file.resize(3000);
  EXPECT_EQ(error_of(file).message, "vmlinuz is cut off: its kernel is not in it");
  Bytes packed = pack(kernel, archive_write_add_filter_zstd);
  packed.resize(packed.size() / 2);
  EXPECT_NE(error_of(write_bzimage(with_size(packed, kernel.size()))).message, "");
  EXPECT_EQ(error_of(write_bzimage(with_size(pack(kernel, archive_write_add_filter_xz), 17))).message,
            "vmlinuz: its XZ data cannot be unpacked: it has " + std::to_string(kernel.size()) +
                " bytes and should have 17");
}

TEST(LinuxImage, GivesTheOptionsThatWereBuiltIn) {
  const Bytes options = pack(bytes_from("CONFIG_AMD_MEM_ENCRYPT=y\n"), archive_write_add_filter_gzip);
  const Bytes embedded = ByteWriter{}.text("IKCFG_ST").append(options).text("IKCFG_ED").bytes();
  const auto image = KernelImage::open(small_kernel(embedded), "vmlinux");
  ASSERT_TRUE(image);
  EXPECT_EQ(image->config(), "CONFIG_AMD_MEM_ENCRYPT=y\n");
  EXPECT_EQ(KernelImage::open(small_kernel(), "vmlinux")->config(), std::nullopt);
}

TEST(ElfFile, LeavesOutWhatDoesNotLieInTheFile) {
  Bytes file = small_kernel();
  const auto programs_at = load<std::uint64_t>(file, 32);
  store(file, programs_at + 32, std::uint64_t{1} << 62);  // p_filesz of .text
  const auto elf = ElfFile::open(file, "vmlinux");
  ASSERT_TRUE(elf);
  EXPECT_EQ(elf->segments().size(), 1u);
  EXPECT_TRUE(elf->at(VirtAddr{rodata_at}));
  store(file, 40, ~std::uint64_t{0});  // e_shoff
  EXPECT_TRUE(ElfFile::open(file, "vmlinux")->sections().empty());
  store(file, 32, ~std::uint64_t{0});  // e_phoff
  EXPECT_FALSE(ElfFile::open(file, "vmlinux"));
}

}  // namespace
}  // namespace cbit::linux
