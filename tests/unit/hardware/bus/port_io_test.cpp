#include "bus/port_io.hpp"

#include <gtest/gtest.h>

#include <tuple>
#include <vector>

namespace cbit::bus {
namespace {

// Reads as its own offsets: byte 3 of it is 3.
struct RecordingRegion final : PioRegion {
  std::uint32_t read(std::uint16_t offset, unsigned) override {
    return offset | (offset + 1u) << 8 | (offset + 2u) << 16 | (offset + 3u) << 24;
  }
  void write(std::uint16_t offset, unsigned bytes, std::uint32_t value) override {
    written.emplace_back(offset, bytes, value);
  }
  std::vector<std::tuple<std::uint16_t, unsigned, std::uint32_t>> written;
};
using Writes = std::vector<std::tuple<std::uint16_t, unsigned, std::uint32_t>>;

TEST(PortSpace, ReadsOnesAndLosesWritesWhereNobodyAnswers) {
  PortSpace ports;
  EXPECT_EQ(ports.read(0x80, 1), 0xffu);
  EXPECT_EQ(ports.read(0x80, 2), 0xffffu);
  EXPECT_EQ(ports.read(0x80, 4), 0xffff'ffffu);
  ports.write(0x80, 4, 1);
  EXPECT_EQ(ports.find(0x80, 1).region, nullptr);
}

TEST(PortSpace, SplitsAnAccessThatIsWiderThanTheRegionAnswers) {
  PortSpace ports;
  RecordingRegion uart;
  ports.add({0x3f8, 8}, uart);
  EXPECT_EQ(ports.read(0x3fa, 1), 2u);
  EXPECT_EQ(ports.read(0x3f8, 4), 0x03020100u);
  EXPECT_EQ(ports.read(0x3fe, 4), 0xffff'0706u);  // half of it is beyond the region
  ports.write(0x3f7, 2, 0xbbaa);
  ports.write(0x3f8, 2, 0x1122);
  EXPECT_EQ(uart.written, (Writes{{0, 1, 0xbb}, {0, 1, 0x22}, {1, 1, 0x11}}));
}

TEST(PortSpace, GivesAnAccessOfAKnownWidthWhole) {
  PortSpace ports;
  RecordingRegion timer;
  ports.add({0x608, 4}, timer, ports_of_any_width);
  EXPECT_EQ(ports.read(0x608, 4), 0x03020100u);
  ports.write(0x608, 4, 0xdead'beef);
  ports.write(0x60a, 2, 0xffff'1234);
  EXPECT_EQ(timer.written, (Writes{{0, 4, 0xdead'beef}, {2, 2, 0x1234}}));
}

TEST(PortSpace, LetsARegisterOfAnotherWidthLieWithinARange) {
  PortSpace ports;
  RecordingRegion pci, reset;
  ports.add({0xcf8, 4}, pci, dword_ports);
  ports.add({0xcf9, 1}, reset, whole_bytes_only);
  ports.write(0xcf8, 4, 0x8000'0600);
  ports.write(0xcf9, 1, 0x06);
  EXPECT_EQ(pci.written, (Writes{{0, 4, 0x8000'0600}}));
  EXPECT_EQ(reset.written, (Writes{{0, 1, 0x06}}));
}

TEST(PortSpace, DoesNotReachARegisterThatWantsWholeAccessesByAPartOfAWiderOne) {
  PortSpace ports;
  RecordingRegion reset;
  ports.add({0xcf9, 1}, reset, whole_bytes_only);
  ports.write(0xcf8, 4, 0x0000'0600);
  ports.write(0xcf9, 2, 0x0006);
  EXPECT_EQ(reset.written, Writes{});
  EXPECT_EQ(ports.read(0xcf8, 4), 0xffff'ffffu);
}

TEST(PortSpace, RefusesRangesThatOverlapOrEndBeyondTheSpace) {
  PortSpace ports;
  RecordingRegion one, other;
  ports.add({0x100, 0x10}, one);
  EXPECT_FALSE(ports.try_add({0x10f, 4}, other));
  EXPECT_FALSE(ports.try_add({0xf8, 9}, other));
  EXPECT_FALSE(ports.try_add({0xfff0, 0x11}, other));
  EXPECT_FALSE(ports.try_add({0x200, 0}, other));
  EXPECT_FALSE(ports.try_add({0x104, 1}, other, ports_of_any_width));
  EXPECT_EQ(ports.find(0x104, 2).region, nullptr) << "nothing of it was added";
  EXPECT_TRUE(ports.try_add({0x110, 4}, other));
  EXPECT_TRUE(ports.try_add({0xf8, 8}, other));
  EXPECT_TRUE(ports.try_add({0xfff0, 0x10}, other));
}

TEST(PortSpace, ForgetsOnlyTheRegionThatIsRemoved) {
  PortSpace ports;
  RecordingRegion one, other;
  ports.add({0xc000, 0x20}, one, ports_of_any_width);
  ports.remove({0xc000, 0x20}, other);
  ports.remove({0xc000, 0x10}, one);
  EXPECT_EQ(ports.find(0xc000, 4).region, &one);
  ports.remove({0xc000, 0x20}, one);
  for (const unsigned bytes : {1u, 2u, 4u}) EXPECT_EQ(ports.find(0xc000, bytes).region, nullptr);
}

TEST(PortSpace, ReadsOnesBeyondTheLastPort) {
  PortSpace ports;
  RecordingRegion last;
  ports.add({0xfffe, 2}, last);
  EXPECT_EQ(ports.read(0xfffe, 4), 0xffff'0100u);
  EXPECT_EQ(ports.read(0xffff, 2), 0xff01u);
}

}  // namespace
}  // namespace cbit::bus
