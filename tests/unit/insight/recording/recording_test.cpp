#include "recording/recording.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

namespace cbit::recording {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

std::string file(std::string_view name) {
  std::ifstream in{"tests/recordings/" + std::string{name}};
  return {std::istreambuf_iterator<char>{in}, {}};
}

std::string line(double seconds, std::string_view event, std::string_view text) {
  return fmt::format("            task-7       [000] .....   {:.6f}: {}: {}\n", seconds, event, text);
}

// Of one page, by include/trace/events/dma.h.
std::string map(double seconds, std::uint64_t dma, std::uint64_t phys, std::uint64_t bytes = 4096) {
  return line(seconds, "dma_map_page",
              fmt::format("dev dir=TO_DEVICE dma_addr={:x} size={} phys_addr={:x} attrs=", dma, bytes, phys));
}
std::string unmap(double seconds, std::uint64_t dma, std::uint64_t bytes = 4096) {
  return line(seconds, "dma_unmap_page",
              fmt::format("dev dir=TO_DEVICE dma_addr={:x} size={} attrs=", dma, bytes));
}
std::string bounce(double seconds, std::uint64_t at, std::uint64_t bytes = 4096) {
  return line(seconds, "swiotlb_bounced",
              fmt::format("dev_name: dev dma_mask=ffffffff dev_addr={:x} size={} NORMAL", at, bytes));
}

Recording read(const std::string& text) {
  auto recording = read_recording(text, "text");
  EXPECT_TRUE(recording.has_value()) << recording.error().message;
  return recording ? std::move(*recording) : Recording{};
}

std::vector<std::string> causes(const Recording& recording) {
  std::vector<std::string> names;
  for (const watch::Cause& cause : recording.causes) names.emplace_back(cause.info->name);
  return names;
}

TEST(Recording, CountsWhatEachDeviceBouncesAndWhatTheKernelSaysOfItsPool) {
  const Recording recording = read(file("guest-6.12.trace"));
  EXPECT_EQ(recording.header.kernel, "6.12.95+deb12-cloud-amd64");
  EXPECT_EQ(recording.header.pool_slots, 32768u);
  EXPECT_EQ(recording.header.slots_used_max, 140u);
  EXPECT_EQ(recording.slots_used_max, 8u);
  EXPECT_EQ(recording.slots_held_max, 6u) << "4096 and 8192 bytes in slots of 2048";
  ASSERT_EQ(recording.devices.size(), 3u);
  EXPECT_EQ(recording.devices[0].device, "0000:00:06.0");
  const DeviceActivity& disk = recording.devices[1].activity;
  EXPECT_EQ(recording.devices[1].device, "0000:00:04.0");
  EXPECT_EQ(disk.mappings, 3u);
  EXPECT_EQ(disk.mapped_bytes, 16384u);
  EXPECT_EQ(disk.bounces, 3u);
  EXPECT_EQ(disk.forced, 3u);
  EXPECT_EQ(disk.bounced_bytes, 16384u);
  EXPECT_EQ(recording.devices[1].still_mapped, 0u);
}

TEST(Recording, FindsTheRequestThatCanNeverFitAndTheMappingThatStays) {
  const Recording recording = read(file("guest-6.12.trace"));
  EXPECT_THAT(causes(recording), ElementsAre("request-over-segment-limit"));
  const DeviceReport& device = recording.devices[0];
  EXPECT_EQ(device.activity.too_long, 1u);
  EXPECT_EQ(device.activity.refused, 1u);
  EXPECT_EQ(device.activity.largest_bounce, 524288u);
  EXPECT_EQ(device.still_mapped, 1u) << "the coherent one is no streaming mapping";
  EXPECT_EQ(device.still_mapped_bytes, 512u);
  EXPECT_FALSE(device.grows);
}

TEST(Recording, TakesAnUnmapOfWhatWasMappedBeforeForNoMistake) {
  const Recording recording = read(file("guest-6.12.trace"));
  EXPECT_EQ(recording.tally.early_unmaps, 1u);
  EXPECT_EQ(recording.devices[2].device, "0000:00:05.0");
  EXPECT_EQ(recording.devices[2].activity.surplus, -1);
}

TEST(Recording, ReadsWhatTraceCmdPrintsAndTheEventsOfLinux73) {
  const Recording recording = read(file("host-7.3-trace-cmd.trace"));
  EXPECT_THAT(causes(recording), ElementsAre("double-unmap", "use-after-unmap"));
  ASSERT_EQ(recording.devices.size(), 1u);
  EXPECT_EQ(recording.devices[0].activity.mappings, 2u);
  EXPECT_EQ(recording.devices[0].activity.mapped_bytes, 4096u + 8192u);
  EXPECT_EQ(recording.devices[0].still_mapped, 0u);
  EXPECT_EQ(recording.tally.other_events, 0u);
}

TEST(Recording, ReadsFtracesOwnTextOfLinux61WithAGap) {
  const Recording recording = read(file("host-6.1.trace"));
  EXPECT_EQ(recording.tally.gaps, 1u);
  EXPECT_EQ(recording.tally.lost_events, 1200u);
  EXPECT_EQ(recording.tally.other_events, 1u);
  ASSERT_EQ(recording.devices.size(), 1u);
  EXPECT_EQ(recording.devices[0].activity.bounces, 2u);
  EXPECT_EQ(recording.devices[0].activity.forced, 0u);
  EXPECT_EQ(recording.devices[0].activity.dma_mask, 0xffffffffu);
  EXPECT_THAT(recording.causes, IsEmpty());
}

TEST(Recording, TellsADoubleUnmapOnlyWhereTheAddressIsTheMappingsAlone) {
  const std::string bounced = bounce(1, 0x5000) + map(1.1, 0x7000, 0x5000) + unmap(1.2, 0x7000);
  EXPECT_THAT(causes(read(bounced + unmap(1.3, 0x7000))), ElementsAre("double-unmap"));
  const std::string direct = map(1.1, 0x5000, 0x5000) + unmap(1.2, 0x5000);
  EXPECT_THAT(causes(read(direct + unmap(1.3, 0x5000))), IsEmpty());
}

TEST(Recording, TellsNoMistakeOfWhatAGapMayHide) {
  const std::string before = bounce(1, 0x5000) + map(1.1, 0x7000, 0x5000) + unmap(1.2, 0x7000);
  EXPECT_THAT(causes(read(before + "CPU:0 [LOST EVENTS]\n" + unmap(1.3, 0x7000))), IsEmpty());
  const std::string mapped = bounce(1, 0x5000) + map(1.1, 0x7000, 0x5000);
  const Recording recording = read(mapped + "CPU:1 [3 EVENTS DROPPED]\n" + unmap(1.3, 0x7000, 512));
  EXPECT_THAT(causes(recording), IsEmpty());
  EXPECT_EQ(recording.devices[0].still_mapped, 0u);
  EXPECT_EQ(recording.tally.lost_events, 3u);
}

// The kernel traces an unmap when it is done, and another CPU may have had the slot by then.
TEST(Recording, TakesALateUnmapForTheMappingThatIsOver) {
  const std::string raced = bounce(1, 0x5000) + map(1.1, 0x7000, 0x5000) + bounce(1.2, 0x6000, 512) +
                            map(1.3, 0x7000, 0x6000, 512) + unmap(1.4, 0x7000);
  const Recording recording = read(raced);
  EXPECT_THAT(causes(recording), IsEmpty());
  EXPECT_EQ(recording.devices[0].still_mapped, 1u);
  EXPECT_EQ(recording.devices[0].still_mapped_bytes, 512u);
  EXPECT_THAT(causes(read(raced + unmap(1.5, 0x7000, 512))), IsEmpty());
}

// The kernel's counter stands in the trace.
TEST(Recording, TellsThatThePoolWasUsedUpOnlyWhereTheCounterSaysSo) {
  const std::string refused = bounce(2, 0x5000) + map(2.1, ~std::uint64_t{0}, 0x5000);
  const auto after = [&](std::uint64_t used) {
    return read("# cbit record: pool-slots=1024\n" +
                line(1, "tracing_mark_write", fmt::format("cbit: io_tlb_used={}", used)) + refused);
  };
  EXPECT_THAT(causes(after(1023)), ElementsAre("pool-exhausted"));
  EXPECT_THAT(causes(after(500)), IsEmpty()) << "it may be in pieces, or the counter is old";
  EXPECT_EQ(after(500).devices[0].activity.refused, 1u);
  EXPECT_THAT(causes(read(refused)), IsEmpty());
}

TEST(Recording, TellsAnUnmapOfAnotherSize) {
  const std::string text = bounce(1, 0x5000) + map(1.1, 0x7000, 0x5000) + unmap(1.2, 0x7000, 512);
  EXPECT_THAT(causes(read(text)), ElementsAre("wrong-unmap-size"));
}

// An SME host: the address is the buffer's with the C-bit, and so is what swiotlb_bounced tells.
TEST(Recording, KnowsTheEncryptionBitInAnAddress) {
  constexpr std::uint64_t c_bit = std::uint64_t{1} << 47;
  const Recording direct = read(map(1, c_bit | 0x5000, 0x5000));
  EXPECT_EQ(direct.devices[0].activity.mappings, 1u);
  EXPECT_EQ(direct.slots_held_max, 0u);
  const Recording bounced = read(bounce(1, c_bit | 0x5000) + map(1.1, 0x7000, 0x5000));
  EXPECT_EQ(bounced.slots_held_max, 2u);
}

TEST(Recording, SuspectsADriverThatMapsMoreThanItUnmapsAllTheTime) {
  std::string leaks, busy;
  for (int i = 0; i < 400; ++i) {
    const double at = 1 + i * 0.01;
    const std::uint64_t place = 0x100000 + i * 0x1000;
    leaks += map(at, place, place);
    busy += map(at, place, place) + unmap(at + 0.005, place);
  }
  EXPECT_TRUE(read(leaks).devices[0].grows);
  EXPECT_FALSE(read(busy).devices[0].grows);
}

// A ring of receive buffers that were mapped before: each is unmapped, and another is mapped.
TEST(Recording, SuspectsNoDriverThatReplacesWhatWasMappedBefore) {
  std::string text;
  for (int i = 0; i < 400; ++i)
    text += unmap(1 + i * 0.01, 0x900000 + i * 0x1000) + map(1.005 + i * 0.01, 0x100000 + i * 0x1000, 0);
  const Recording recording = read(text);
  EXPECT_FALSE(recording.devices[0].grows);
  EXPECT_EQ(recording.devices[0].still_mapped, 400u);
}

TEST(Recording, SaysThatATextHasNoEvents) {
  const auto none = read_recording("total 4\n-rw-r--r-- 1 root\n", "x.txt");
  ASSERT_FALSE(none.has_value());
  EXPECT_THAT(none.error().message, HasSubstr("x.txt"));
  EXPECT_THAT(none.error().hint, HasSubstr("cbit record"));
  EXPECT_TRUE(read_recording("# cbit record: events=dma\n", "x").has_value()) << "nothing happened";
}

TEST(Recording, ShowsNothingThatATerminalWouldObey) {
  const Recording recording =
      read("# cbit record: kernel=\x1b]0;x\a\n" +
           line(1, "dma_map_page", "\x1b[31mx dir=TO_DEVICE dma_addr=1 size=1 phys_addr=1 attrs="));
  EXPECT_THAT(to_text(recording, false), Not(HasSubstr("\x1b")));
  EXPECT_THAT(to_html(recording), Not(HasSubstr("\x1b")));
}

TEST(Recording, IsReadInLinearTimeWhateverItRepeats) {
  std::string text;
  for (int i = 0; i < 50'000; ++i) text += map(1, 0x5000, 0x5000, 1) + unmap(1, 0x9000, 2);
  const Recording recording = read(text);
  EXPECT_EQ(recording.devices[0].still_mapped, watch::DmaTrace::at_address_max);
  EXPECT_EQ(recording.tally.left_out, 50'000u - watch::DmaTrace::at_address_max);
}

}  // namespace
}  // namespace cbit::recording
