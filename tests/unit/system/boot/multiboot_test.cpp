// Expected values: Multiboot Specification 0.6.96, 3.1 to 3.3; where QEMU puts things (hw/i386/multiboot.c).
#include "boot/multiboot.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/boot_board.hpp"
#include "support/boot_images.hpp"
#include "support/sizes.hpp"

namespace cbit::boot {
namespace {

using test::FakeElf;
using test::put_at;
using test::small_board;
using test::text_at;
using test::value_at;
using testing::HasSubstr;

constexpr std::uint32_t has_addresses = 1 << 16;

void put_header(Bytes& file, std::size_t at, std::uint32_t flags, std::vector<std::uint32_t> addresses = {}) {
  put_at<std::uint32_t>(file, at, 0x1bad'b002);
  put_at(file, at + 4, flags);
  put_at(file, at + 8, static_cast<std::uint32_t>(0u - 0x1bad'b002u - flags));
  for (std::size_t i = 0; i < addresses.size(); ++i) put_at(file, at + 12 + i * 4, addresses[i]);
}

// A 32-bit ELF kernel at 4 MiB, as kvm-unit-tests' are.
Bytes elf_kernel(bool is_64_bit = false) {
  Bytes text = pattern_bytes(0x2000, 2);
  put_header(text, 0x10, 0);
  return FakeElf{.is_64_bit = is_64_bit,
                 .machine = static_cast<std::uint16_t>(is_64_bit ? 62 : 3),
                 .entry = 4 * mib + 0x40,
                 .segments = {{.vaddr = 4 * mib, .paddr = 4 * mib, .bytes = text, .memory_bytes = 0x5123}}}
      .file();
}

std::string image_refusal(const Bytes& file) {
  const auto plan = plan_multiboot(small_board(), {.name = "k", .kernel = file});
  EXPECT_FALSE(plan);
  return plan ? std::string{} : plan.error().message;
}

// ---- the header ----

TEST(MultibootHeader, IsFoundAtAnyAlignedPlaceWhereItIsWholeIn8KiB) {
  for (const std::size_t at : {std::size_t{0}, std::size_t{4}, std::size_t{0x1000}, std::size_t{8192 - 52}}) {
    Bytes file(16384);
    put_header(file, at, 3);
    const auto found = find_multiboot_header(file);
    ASSERT_TRUE(found) << at;
    EXPECT_EQ(found->header_at, at);
    EXPECT_EQ(found->header.flags.raw, 3u);
  }
  for (const std::size_t at : {std::size_t{2}, std::size_t{5}, std::size_t{8192 - 48}, std::size_t{8192}}) {
    Bytes file(16384);
    put_header(file, at, 3);
    EXPECT_FALSE(find_multiboot_header(file)) << at;
  }
}

TEST(MultibootHeader, NeedsItsChecksum) {
  Bytes file(64);
  put_header(file, 0, 3);
  put_at<std::uint32_t>(file, 4, 2);
  EXPECT_FALSE(find_multiboot_header(file));
  put_header(file, 8, 3);
  const auto second = find_multiboot_header(file);
  ASSERT_TRUE(second);
  EXPECT_EQ(second->header_at, 8u);
}

TEST(MultibootHeader, MayBeTheLastInASmallFile) {
  Bytes file;
  put_header(file, 4, 0);
  ASSERT_EQ(file.size(), 16u);
  EXPECT_TRUE(find_multiboot_header(file));
  EXPECT_FALSE(find_multiboot_header(ConstByteSpan{file}.first(15)));
  EXPECT_FALSE(find_multiboot_header({}));
}

// ---- loading ----

TEST(MultibootPlan, EntersAnElfKernelWithItsMagicAndInformation) {
  const Bytes file = elf_kernel();
  const auto plan =
      plan_multiboot(small_board(), {.name = "test.elf", .kernel = file, .command_line = "a b"});
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_EQ(plan->entry.rax, 0x2bad'b002u);
  EXPECT_EQ(plan->entry.rbx, 0x9500u);
  EXPECT_EQ(plan->entry.rip, 4 * mib + 0x40);
  EXPECT_EQ(plan->entry.cr0 & 0x8000'0001u, 1u);
  EXPECT_EQ(plan->entry.rflags & 0x2'0200u, 0u);  // VM and IF are clear
  EXPECT_EQ(plan->entry.cs.attributes, 0xc9b);
  EXPECT_EQ(plan->entry.cs.limit, 0xffff'ffffu);
  for (const SegmentState& data :
       {plan->entry.ds, plan->entry.es, plan->entry.fs, plan->entry.gs, plan->entry.ss})
    EXPECT_EQ(data.attributes, 0xc93);
  EXPECT_EQ(test::piece_at(*plan, 4 * mib).size(), 0x5123u);
  EXPECT_EQ(value_at<std::uint64_t>(*plan, plan->entry.gdtr.base + plan->entry.cs.selector),
            0x00cf'9b00'0000'ffffu);
  EXPECT_EQ(value_at<std::uint64_t>(*plan, plan->entry.gdtr.base + plan->entry.ds.selector),
            0x00cf'9300'0000'ffffu);
}

TEST(MultibootPlan, GivesTheInformationThatQemuGives) {
  const Bytes file = elf_kernel();
  const Bytes first = pattern_bytes(0x1801, 3), second = pattern_bytes(5, 4);
  const auto plan = plan_multiboot(small_board(), {.name = "test.elf",
                                                   .kernel = file,
                                                   .modules = {{"env 1", first}, {"more", second}},
                                                   .command_line = "a b"});
  ASSERT_TRUE(plan);
  const std::uint64_t info = plan->entry.rbx;
  EXPECT_EQ(value_at<std::uint32_t>(*plan, info), 0b10'0100'1111u);
  EXPECT_EQ(value_at<std::uint32_t>(*plan, info + 4), 639u);
  EXPECT_EQ(value_at<std::uint32_t>(*plan, info + 12), 0x8000'ffffu);
  EXPECT_EQ(text_at(*plan, value_at<std::uint32_t>(*plan, info + 16)), "test.elf a b");
  EXPECT_EQ(text_at(*plan, value_at<std::uint32_t>(*plan, info + 64)), "cbit");
  ASSERT_EQ(value_at<std::uint32_t>(*plan, info + 20), 2u);
  const auto modules = value_at<std::uint32_t>(*plan, info + 24);
  EXPECT_EQ(modules, 4 * mib + 0x6000) << "the page behind the kernel with its bss";
  const auto start = value_at<std::uint32_t>(*plan, modules),
             end = value_at<std::uint32_t>(*plan, modules + 4);
  EXPECT_EQ(end - start, first.size());
  EXPECT_EQ(start % page_size, 0u);
  EXPECT_EQ(test::loaded_at(*plan, start, first.size()), first);
  EXPECT_EQ(text_at(*plan, value_at<std::uint32_t>(*plan, modules + 8)), "env 1");
  const auto next = value_at<std::uint32_t>(*plan, modules + 16);
  EXPECT_EQ(next, start + 0x2000);
  EXPECT_EQ(test::loaded_at(*plan, next, second.size()), second);
}

TEST(MultibootPlan, GivesAMemoryMapWithSizesInFront) {
  const Bytes file = elf_kernel();
  const auto plan = plan_multiboot(small_board(), {.name = "k", .kernel = file});
  ASSERT_TRUE(plan);
  const std::uint64_t info = plan->entry.rbx;
  const auto bytes = value_at<std::uint32_t>(*plan, info + 44);
  const auto map = value_at<std::uint32_t>(*plan, info + 48);
  EXPECT_EQ(map, 0x9000u);
  ASSERT_EQ(bytes, plan->memory_map.size() * 24);
  std::uint64_t upper = 0;
  for (std::uint64_t at = map; at < map + bytes; at += value_at<std::uint32_t>(*plan, at) + 4) {
    EXPECT_EQ(value_at<std::uint32_t>(*plan, at), 20u);
    if (value_at<std::uint64_t>(*plan, at + 4) == mib) upper = value_at<std::uint64_t>(*plan, at + 12) / 1024;
  }
  EXPECT_EQ(value_at<std::uint32_t>(*plan, info + 8), upper);
  EXPECT_GT(upper, 60u * 1024);
  EXPECT_LT(upper, 63u * 1024);
}

TEST(MultibootPlan, LoadsByTheHeadersAddresses) {
  Bytes file = pattern_bytes(0x3000, 9);
  // header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr: 0x200 bytes before the header are
  // loaded.
  put_header(file, 0x400, has_addresses, {0x20'0200, 0x20'0000, 0x20'1000, 0x20'8000, 0x20'0300});
  const auto plan = plan_multiboot(small_board(), {.name = "k", .kernel = file});
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_EQ(plan->entry.rip, 0x20'0300u);
  EXPECT_EQ(test::loaded_at(*plan, 0x20'0000, 0x1000), Bytes(file.begin() + 0x200, file.begin() + 0x1200));
  EXPECT_EQ(test::piece_at(*plan, 0x20'0000).zeros, 0x7000u);
}

TEST(MultibootPlan, LoadsTheWholeFileWhereTheHeaderNamesNoEnd) {
  Bytes file = pattern_bytes(0x3001, 9);
  put_header(file, 0, has_addresses, {0x20'0000, 0x20'0000, 0, 0, 0x20'0000});
  const auto plan = plan_multiboot(small_board(), {.name = "k", .kernel = file});
  ASSERT_TRUE(plan);
  EXPECT_EQ(test::piece_at(*plan, 0x20'0000).size(), file.size());
}

// Real-mode tests are linked at 16 KiB.
TEST(MultibootPlan, LeavesTheFirstMegabyteToAKernelThatLiesThere) {
  Bytes file(0x9000);
  put_header(file, 0, has_addresses, {0x4000, 0x4000, 0, 0, 0x4020});
  const auto plan = plan_multiboot(small_board(), {.name = "k", .kernel = file, .command_line = "a"});
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_EQ(test::loaded_at(*plan, 0x4000, file.size()), file);
  const std::uint64_t info = plan->entry.rbx;
  EXPECT_EQ(info, 0x3500u);
  EXPECT_EQ(value_at<std::uint32_t>(*plan, info + 48), 0x3000u);
  EXPECT_EQ(text_at(*plan, value_at<std::uint32_t>(*plan, info + 16)), "k a");
}

TEST(MultibootPlan, RefusesAHeaderThatContradictsItself) {
  const auto refused = [](std::vector<std::uint32_t> addresses) {
    Bytes file(0x3000);
    put_header(file, 0x400, has_addresses, std::move(addresses));
    return image_refusal(file);
  };
  EXPECT_THAT(refused({0x1f'ffff, 0x20'0000, 0, 0, 0}), HasSubstr("header_addr < load_addr"));
  EXPECT_THAT(refused({0x20'0401, 0x20'0000, 0, 0, 0}), HasSubstr("before the file's beginning"));
  EXPECT_THAT(refused({0x20'0400, 0x20'0000, 0x1f'0000, 0, 0}), HasSubstr("load_end_addr < load_addr"));
  EXPECT_THAT(refused({0x20'0400, 0x20'0000, 0x20'3001, 0, 0}), HasSubstr("cut off"));
  EXPECT_THAT(refused({0x20'0400, 0x20'0000, 0x20'2000, 0x20'1fff, 0}), HasSubstr("bss_end_addr"));
  EXPECT_THAT(refused({0x20'0400, 0x20'0000, 0, 0xffff'ffff, 0}), HasSubstr("no RAM"));
  EXPECT_THAT(refused({0x1400, 0x1000, 0, 0, 0}), HasSubstr("overlap")) << "the descriptor table is there";
}

TEST(MultibootPlan, RefusesWhatItCannotDo) {
  EXPECT_THAT(image_refusal(elf_kernel(true)), HasSubstr("64-bit multiboot kernel"));
  EXPECT_THAT(image_refusal(Bytes(64)), HasSubstr("no multiboot header"));
  Bytes file(64);
  put_header(file, 0, 0x10);
  EXPECT_THAT(image_refusal(file), HasSubstr("flags 0x10"));
  put_header(file, 0, 0);
  EXPECT_THAT(image_refusal(file), HasSubstr("no ELF file"));
}

TEST(MultibootPlan, RefusesModulesThatDoNotFit) {
  const Bytes file = elf_kernel(), large(62 * mib);
  const auto plan = plan_multiboot(small_board(), {.name = "k", .kernel = file, .modules = {{"m", large}}});
  ASSERT_FALSE(plan);
  EXPECT_THAT(plan.error().message, HasSubstr("module"));
}

}  // namespace
}  // namespace cbit::boot
