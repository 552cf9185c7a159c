#include "boot/kernel_file.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/boot_board.hpp"
#include "support/boot_images.hpp"
#include "support/sizes.hpp"

namespace cbit::boot {
namespace {

using test::FakeElf;
using testing::HasSubstr;

Bytes multiboot_header(std::uint32_t flags) {
  Bytes bytes;
  test::put_at<std::uint32_t>(bytes, 0, 0x1bad'b002);
  test::put_at(bytes, 4, flags);
  test::put_at(bytes, 8, static_cast<std::uint32_t>(0u - 0x1bad'b002u - flags));
  bytes.resize(64);
  return bytes;
}

FakeElf::Segment note_segment(std::string_view owner, std::uint32_t type) {
  return {.type = 4, .bytes = FakeElf::note(owner, type, Bytes(8))};
}

FakeElf elf(bool is_64_bit, std::vector<FakeElf::Segment> more = {}) {
  FakeElf made{.is_64_bit = is_64_bit,
               .machine = static_cast<std::uint16_t>(is_64_bit ? 62 : 3),
               .segments = {{.paddr = mib, .bytes = multiboot_header(1 << 5)}}};  // no header: no checksum
  made.segments[0].bytes[0] = std::byte{0};
  for (auto& segment : more) made.segments.push_back(std::move(segment));
  return made;
}

std::string kind_of(const Bytes& file) {
  const auto kind = kernel_kind(file, "f");
  return kind ? std::string{to_string(*kind)} : kind.error().message;
}

TEST(KernelKind, IsFoundInTheOrderThatQemuLooksIn) {
  EXPECT_EQ(kind_of(test::FakeBzImage{}.file()), "bzImage");
  Bytes both = test::FakeBzImage{}.file();
  const Bytes header = multiboot_header(0);
  std::ranges::copy(header, both.begin());
  EXPECT_EQ(kind_of(both), "bzImage");
  EXPECT_EQ(kind_of(header), "multiboot");
  FakeElf multiboot = elf(false, {note_segment("Xen", 18)});
  multiboot.segments[0].bytes = header;
  EXPECT_EQ(kind_of(multiboot.file()), "multiboot");
  EXPECT_EQ(kind_of(elf(false, {note_segment("Xen", 18)}).file()), "PVH");
  EXPECT_EQ(kind_of(elf(true, {note_segment("Xen", 18)}).file()), "PVH");
}

TEST(KernelKind, PrefersAWorkingWayForA64BitElfFileWithAMultibootHeader) {
  FakeElf fake = elf(true, {note_segment("Xen", 18)});
  fake.segments[0].bytes = multiboot_header(0);
  EXPECT_EQ(kind_of(fake.file()), "PVH");
  fake.segments[0].bytes = multiboot_header(1 << 16);
  EXPECT_EQ(kind_of(fake.file()), "multiboot");
  fake = elf(true);
  fake.segments[0].bytes = multiboot_header(0);
  EXPECT_EQ(kind_of(fake.file()), "multiboot");
}

TEST(KernelKind, TakesLinuxAtItsOwnEntryWhateverElseItHas) {
  EXPECT_EQ(kind_of(elf(true, {note_segment("Xen", 18), note_segment("Linux", 0x100)}).file()), "vmlinux");
  EXPECT_EQ(kind_of(elf(true, {note_segment("Linux", 0x100)}).file()), "vmlinux");
}

TEST(KernelKind, SaysWhatAFileIsInstead) {
  const auto text = [](std::string_view bytes) {
    Bytes file(64);
    std::memcpy(file.data(), bytes.data(), bytes.size());
    return file;
  };
  EXPECT_THAT(kind_of({}), HasSubstr("an empty file"));
  EXPECT_THAT(kind_of(Bytes(5000)), HasSubstr("nothing but zeros"));
  EXPECT_THAT(kind_of(text("\x1f\x8b")), HasSubstr("gzip"));
  EXPECT_THAT(kind_of(text("070701")), HasSubstr("cpio archive"));
  EXPECT_THAT(kind_of(text("!<arch>\n")), HasSubstr("Debian package"));
  EXPECT_THAT(kind_of(text("#!/bin/sh")), HasSubstr("a script"));
  EXPECT_EQ(kind_of(text("hello")), "f is no kernel");
  EXPECT_THAT(kind_of(elf(true).file()), HasSubstr("without a PVH note or multiboot header"));
  FakeElf object{.type = 1};
  EXPECT_THAT(kind_of(object.file()), HasSubstr("kernel module"));
  EXPECT_THAT(kind_of(FakeElf{.machine = 183}.file()), HasSubstr("another processor"));
}

TEST(KernelKind, LeadsToThePlanOfItsKind) {
  const Bytes kernel = test::FakeBzImage{}.file();
  const auto plan = plan_image(test::small_board(), {.name = "vmlinuz", .kernel = kernel});
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->protocol, "Linux, 64-bit entry");
  const auto refused = plan_image(test::small_board(), {.name = "f", .kernel = {}});
  ASSERT_FALSE(refused);
  EXPECT_FALSE(refused.error().hint.empty());
}

}  // namespace
}  // namespace cbit::boot
