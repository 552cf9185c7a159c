#include "bus/system_bus.hpp"

#include <gtest/gtest.h>

#include "support/small_machine.hpp"

namespace cbit::bus {
namespace {

constexpr PhysAddr hole{0xc000'0000};

struct SystemBusTest : testing::Test {
  test::SmallMachine machine;
  SystemBus bus{*machine.memory, machine.tracer, machine.device_view};
  RamBar low{0x2000}, high{0x1000};
};

TEST_F(SystemBusTest, FindsTheRegionAndTheOffsetInIt) {
  bus.add_mmio({hole + 0x4000, 0x1000}, high);
  bus.add_mmio({hole, 0x2000}, low);
  const auto hit = bus.find_mmio(hole + 0x1ff0, 16);
  EXPECT_EQ(hit.region, &low);
  EXPECT_EQ(hit.offset, 0x1ff0u);
  EXPECT_EQ(hit.bytes, 16u);
  EXPECT_EQ(bus.find_mmio(hole + 0x4000).region, &high);
  EXPECT_EQ(bus.find_mmio(hole + 0x4000).bytes, 0x1000u);
}

TEST_F(SystemBusTest, FindsNothingBetweenRegionsOrAcrossTheirEnds) {
  bus.add_mmio({hole, 0x2000}, low);
  bus.add_mmio({hole + 0x2000, 0x1000}, high);
  EXPECT_EQ(bus.find_mmio(hole - 1).region, nullptr);
  EXPECT_EQ(bus.find_mmio(hole - 1, 2).region, nullptr);
  EXPECT_EQ(bus.find_mmio(hole + 0x1fff, 2).region, nullptr) << "an access does not span regions";
  EXPECT_EQ(bus.find_mmio(hole + 0x3000).region, nullptr);
  EXPECT_EQ(bus.find_mmio(hole, ~0ull).region, nullptr);
  EXPECT_EQ(bus.find_mmio(PhysAddr{~0ull}).region, nullptr);
}

TEST_F(SystemBusTest, RegionMayEndAtTheTopOfTheAddressSpace) {
  bus.add_mmio({PhysAddr{~0ull << 12}, 0x1000}, high);
  EXPECT_EQ(bus.find_mmio(PhysAddr{~0ull}).offset, 0xfffu);
  EXPECT_EQ(bus.find_mmio(PhysAddr{~0ull}).bytes, 1u);
}

using SystemBusDeathTest = SystemBusTest;

TEST_F(SystemBusDeathTest, OverlapIsOurMistake) {
  bus.add_mmio({hole, 0x2000}, low);
  EXPECT_DEATH(bus.add_mmio({hole + 0x1000, 0x1000}, high), "overlap");
  EXPECT_DEATH(bus.add_mmio({hole - 0x1000, 0x8000}, high), "overlap");
  EXPECT_DEATH(bus.add_mmio({PhysAddr{0x1000}, 0x1000}, high), "overlap") << "RAM is there";
}

TEST(RamBar, KeepsBytesAndRefusesAccessesBeyondItsEnd) {
  RamBar bar{64};
  const Bytes data = pattern_bytes(16, 1);
  ASSERT_TRUE(bar.write(48, data));
  Bytes back(16);
  ASSERT_TRUE(bar.read(48, back));
  EXPECT_EQ(back, data);
  EXPECT_EQ(bar.write(49, data).error(), (Fault{FaultKind::no_memory, 49, true}));
  EXPECT_EQ(bar.read(~0ull, back).error().kind, FaultKind::no_memory);
  ASSERT_TRUE(bar.read(48, back));
  EXPECT_EQ(back, data);
  EXPECT_TRUE(bar.read(64, {})) << "nothing is read from nowhere";
}

}  // namespace
}  // namespace cbit::bus
