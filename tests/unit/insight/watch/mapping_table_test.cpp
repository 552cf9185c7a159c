#include "watch/mapping_table.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <vector>

namespace cbit::watch {
namespace {

constexpr NameId device = 1;

DmaMapped call(std::uint64_t dma, std::uint64_t bytes, DmaPath path = DmaPath::direct, NameId by = device) {
  return {by,    DmaMappingKind::single,  DmaAddr{dma}, PhysAddr{dma},
          bytes, DmaDirection::to_device, path,         false};
}

DmaUnmapped unmap(std::uint64_t dma, std::uint64_t bytes, DmaDirection direction = DmaDirection::to_device) {
  return {device, DmaMappingKind::single, DmaAddr{dma}, bytes, direction, false};
}

TEST(MappingTable, FindsAnAddressInsideAMappingAndNoneOutside) {
  MappingTable table;
  table.add(call(0x1000, 256), false, 1);
  EXPECT_NE(table.find(device, DmaAddr{0x1000}), nullptr);
  EXPECT_NE(table.find(device, DmaAddr{0x10ff}), nullptr);
  EXPECT_EQ(table.find(device, DmaAddr{0x1100}), nullptr);
  EXPECT_EQ(table.find(device, DmaAddr{0xfff}), nullptr);
  EXPECT_EQ(table.find(device + 1, DmaAddr{0x1000}), nullptr);
}

TEST(MappingTable, FindsAWideMappingBehindNarrowOnes) {
  MappingTable table;
  table.add(call(0x1000, 0x1000), false, 1);
  for (std::uint64_t at = 0x1100; at < 0x1800; at += 0x100) table.add(call(at, 16), false, 2);
  const Mapping* const found = table.find(device, DmaAddr{0x17f0});
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->id, 1u);
}

TEST(MappingTable, UnmapsTheMappingOfThatSizeWhenOneAddressWasMappedTwice) {
  MappingTable table;
  table.add(call(0x1000, 512), false, 1);
  table.add(call(0x1000, 256), false, 2);
  EXPECT_EQ(table.release(unmap(0x1000, 512), 3)->id, 1u);
  EXPECT_EQ(table.release(unmap(0x1000, 100), 4)->id, 2u);
  EXPECT_FALSE(table.release(unmap(0x1000, 256), 5));
}

TEST(MappingTable, UnmapsTheMappingOfThatDirectionWhenBothHaveTheSize) {
  MappingTable table;
  DmaMapped back = call(0x1000, 512);
  back.direction = DmaDirection::from_device;
  table.add(back, false, 1);
  table.add(call(0x1000, 512), false, 2);
  EXPECT_EQ(table.count_at(device, DmaAddr{0x1000}), 2u);
  EXPECT_EQ(table.release(unmap(0x1000, 512, DmaDirection::from_device), 3)->id, 1u);
  EXPECT_EQ(table.count_at(device, DmaAddr{0x1000}), 1u);
  EXPECT_EQ(table.released_at(device, DmaAddr{0x1000})->id, 1u);
  EXPECT_EQ(table.released_at(device, DmaAddr{0x1001}), nullptr);
}

TEST(MappingTable, TellsWhichMappingStartsLastBeforeAnAddress) {
  MappingTable table;
  table.add(call(0x1000, 16), false, 1);
  table.add(call(0x2000, 16), false, 1);
  EXPECT_EQ(table.nearest(device, DmaAddr{0xfff}), nullptr);
  EXPECT_EQ(table.nearest(device, DmaAddr{0x1fff})->id, 1u);
  EXPECT_EQ(table.nearest(device, DmaAddr{0x2000})->id, 2u);
}

TEST(MappingTable, RemembersTheLastMappingReleasedAtAnAddress) {
  MappingTable table;
  for (const std::uint64_t time : {1, 3}) {
    table.add(call(0x1000, 512), false, time);
    table.release(unmap(0x1000, 512), time + 1);
  }
  const Mapping* const gone = table.find_released(device, DmaAddr{0x1010});
  ASSERT_NE(gone, nullptr);
  EXPECT_EQ(gone->id, 2u);
  EXPECT_EQ(gone->released_ns, 4u);
}

TEST(MappingTable, LooksForUntranslatedMappingsOfAnyDevice) {
  MappingTable table;
  table.add(call(0x1000, 512, DmaPath::iommu, 1), false, 1);
  EXPECT_EQ(table.find_untranslated(DmaAddr{0x1000}), nullptr);
  table.add(call(0x1000, 512, DmaPath::swiotlb, 2), true, 2);
  ASSERT_NE(table.find_untranslated(DmaAddr{0x1000}), nullptr);
  EXPECT_EQ(table.find_untranslated(DmaAddr{0x1000})->call.device, 2u);
}

// The model is a list that is searched from its end.
RC_GTEST_PROP(MappingTable, FindsWhatAListWouldFind, ()) {
  MappingTable table;
  std::vector<DmaMapped> model;
  const auto covers = [](const DmaMapped& m, std::uint64_t at) { return at - m.dma.value() < m.bytes; };
  const auto steps = *rc::gen::container<std::vector<std::pair<std::uint8_t, std::uint8_t>>>(
      rc::gen::arbitrary<std::pair<std::uint8_t, std::uint8_t>>());
  for (const auto& [at, bytes] : steps) {
    const DmaMapped next = call(at, bytes % 64 + 1u);
    if (bytes >= 64) {
      table.add(next, false, 1);
      model.push_back(next);
    } else {
      const bool released = table.release(unmap(at, next.bytes), 2).has_value();
      auto found = std::find_if(model.rbegin(), model.rend(), [&](const DmaMapped& m) {
        return m.dma == next.dma && m.bytes == next.bytes;
      });
      if (found == model.rend())
        found =
            std::find_if(model.rbegin(), model.rend(), [&](const DmaMapped& m) { return m.dma == next.dma; });
      RC_ASSERT(released == (found != model.rend()));
      if (released) model.erase(std::next(found).base());
    }
    for (std::uint64_t probe = 0; probe < 320; probe += 7) {
      const bool covered =
          std::any_of(model.begin(), model.end(), [&](const DmaMapped& m) { return covers(m, probe); });
      RC_ASSERT((table.find(device, DmaAddr{probe}) != nullptr) == covered);
    }
  }
}

}  // namespace
}  // namespace cbit::watch
