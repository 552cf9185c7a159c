#include "process/maps.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <string>

namespace cbit::process {
namespace {

constexpr std::string_view qemu_maps =
    "55d0c0a00000-55d0c0c00000 r-xp 00000000 fd:01 1316842                    /usr/bin/qemu-system-x86_64\n"
    "55d0c2000000-55d0c2400000 rw-p 00000000 00:00 0                          [heap]\n"
    "7f2d00000000-7f2e00000000 rw-s 00000000 00:01 33                         /memfd:ram (deleted)\n"
    "7f2e00000000-7f2e00001000 ---p 00000000 00:00 0 \n"
    "7f2e00001000-7f2e00800000 rw-p 00000000 00:00 0 \n"
    "7f2e10000000-7f2e10002000 rw-s 00000000 00:0f 1044                       anon_inode:[vfio-device]\n"
    "7f2e10010000-7f2e10020000 rw-s 00000000 00:05 12                         /dev/uio0\n"
    "7ffd3a000000-7ffd3a021000 rw-p 00000000 00:00 0                          [stack]\n"
    "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n";

std::vector<Mapping> qemu() { return parse_maps(qemu_maps).value(); }

TEST(Maps, AreReadFieldByField) {
  const auto mappings = qemu();
  ASSERT_EQ(mappings.size(), 9u);
  EXPECT_EQ(mappings[0].range, (VirtRange{VirtAddr{0x55d0c0a00000}, VirtAddr{0x55d0c0c00000}}));
  EXPECT_EQ(mappings[0].permissions(), "r-xp");
  EXPECT_EQ(mappings[0].device, "fd:01");
  EXPECT_EQ(mappings[0].inode, 1316842u);
  EXPECT_EQ(mappings[0].name, "/usr/bin/qemu-system-x86_64");
  EXPECT_TRUE(mappings[2].shared && mappings[2].writable && mappings[2].readable && !mappings[2].executable);
  EXPECT_EQ(mappings[2].name, "/memfd:ram (deleted)") << "blanks belong to the name";
  EXPECT_EQ(mappings[3].name, "");
  EXPECT_EQ(mappings[3].permissions(), "---p");
}

TEST(Maps, OfThirtyTwoBitProcessesAreReadToo) {
  const auto mappings = parse_maps("08048000-08056000 r-xp 00000000 03:0c 64593   /usr/sbin/gpm\n").value();
  EXPECT_EQ(mappings[0].range.start, VirtAddr{0x08048000});
}

TEST(Maps, TellMemoryFromDevicesAndFromTheKernelsOwn) {
  std::vector<MappingKind> kinds;
  for (const Mapping& mapping : qemu()) kinds.push_back(mapping.kind());
  using enum MappingKind;
  EXPECT_THAT(kinds, testing::ElementsAre(file, anonymous, shared_memory, anonymous, anonymous, device,
                                          device, anonymous, special));
}

TEST(Maps, NameTheLargestMemoryThatCanBeWritten) {
  const auto mappings = qemu();
  EXPECT_EQ(largest_memory(mappings), &mappings[2]);
  EXPECT_EQ(largest_memory(std::span{mappings}.first(1)), nullptr) << "a file is no memory";
  const auto tcg = parse_maps("1000-3000 rw-p 0 00:00 0\n10000-90000 rwxp 0 00:00 0\n").value();
  EXPECT_EQ(largest_memory(tcg), &tcg[0]) << "translated code is no guest memory";
}

TEST(Maps, ThatAreNotOfTheFormatAreRefusedWithTheirLine) {
  for (const std::string_view bad :
       {"x", "7f00-7f00 rw-p 00000000 00:00 0", "1000-2001 rw-p 00000000 00:00 0",
        "1000-2000 rw-q 00000000 00:00 0", "1000-2000 rw-p 00000000 00:00", "1000-2000 rw-p 0 00:00 0x",
        "1000-11112222333344445 rw-p 0 00:00 0", "1000 rw-p 00000000 00:00 0", "-1000-2000 rw-p 0 00:00 0"}) {
    const auto parsed = parse_maps("0000-1000 rw-p 00000000 00:00 0\n" + std::string{bad} + '\n');
    ASSERT_FALSE(parsed) << bad;
    EXPECT_THAT(parsed.error().message, testing::HasSubstr("line 2 ")) << bad;
    EXPECT_EQ(parsed.error().code, ExitCode::bad_input);
  }
}

TEST(Maps, ThatOverlapAreRefused) {
  EXPECT_FALSE(parse_maps("1000-3000 rw-p 0 00:00 0\n2000-4000 rw-p 0 00:00 0\n"));
  EXPECT_TRUE(parse_maps("1000-3000 rw-p 0 00:00 0\n3000-4000 rw-p 0 00:00 0\n"));
}

TEST(Segments, AreCutAtTheBordersOfMappings) {
  const auto mappings = qemu();
  const VirtRange range{VirtAddr{0x7f2dfffff000}, VirtAddr{0x7f2e10001000}};
  const auto segments = split_by_mapping(range, mappings);
  ASSERT_EQ(segments.size(), 5u);
  EXPECT_EQ(segments[0].mapping, &mappings[2]);
  EXPECT_EQ(segments[0].range.pages(), 1u);
  EXPECT_EQ(segments[3].mapping, nullptr) << "a gap";
  EXPECT_EQ(segments[4].mapping, &mappings[5]);
  EXPECT_EQ(segments[4].range.pages(), 1u) << "the range ends within the mapping";
}

RC_GTEST_PROP(Segments, CoverTheRangeWithoutGapOrOverlap, ()) {
  const auto mappings = qemu();
  const auto start = *rc::gen::inRange<std::uint64_t>(0, 0x800000000);
  const auto pages = *rc::gen::inRange<std::uint64_t>(1, 0x100000000);
  const VirtRange range{VirtAddr{start * page_size}, VirtAddr{(start + pages) * page_size}};
  VirtAddr at = range.start;
  for (const Segment& segment : split_by_mapping(range, mappings)) {
    RC_ASSERT(segment.range.start == at);
    RC_ASSERT(segment.range.end > at);
    for (const Mapping& mapping : mappings) {
      const bool touches = mapping.range.start < segment.range.end && segment.range.start < mapping.range.end;
      RC_ASSERT(touches == (segment.mapping == &mapping));
    }
    at = segment.range.end;
  }
  RC_ASSERT(at == range.end);
}

}  // namespace
}  // namespace cbit::process
