// What a guest's mappings gave away, and what stands in shared memory besides.
#include "guest/exposure.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/small_machine.hpp"

namespace cbit::guest {
namespace {

using ::testing::IsEmpty;

constexpr PhysAddr buffer{0x10'0000}, pool{0x20'0000}, page{0x30'0000};
constexpr std::uint64_t bytes = 512;

struct ExposureTest : ::testing::Test {
  test::SmallMachine machine{test::Encryption::sev};
  Tracer& tracer = machine.tracer;
  GivenMemory given{tracer};
  NameId device = tracer.intern("0000:00:03.0");
  Bytes text = pattern_bytes(page_size, 7);

  ExposureTest() {
    tracer.detach(machine.log);
    tracer.attach(given);
    write(buffer, ConstByteSpan{text}, machine.key);
  }
  ~ExposureTest() override { tracer.detach(given); }

  void write(PhysAddr at, ConstByteSpan what, KeyId key) {
    EXPECT_TRUE(machine.memory->write(at, what, {{AgentKind::cpu, 0}, key, 0}));
  }
  void copy_to_shared(PhysAddr at, std::size_t from = 0, std::size_t count = bytes) {
    write(at, ConstByteSpan{text}.subspan(from, count), no_key);
  }
  void share(PhysAddr at, std::string_view caller) {
    tracer.emit({}, PageConversion{.first = at, .pages = 1, .site = tracer.intern(caller)});
  }
  // A bounced mapping of the buffer, as a real kernel's calls come.
  void map(DmaDirection direction) {
    tracer.emit({}, SwiotlbAllocated{.device = device, .slots = 1, .bounce = pool, .orig = buffer});
    copy_to_shared(pool);
    tracer.emit({}, SwiotlbCopied{.orig = buffer, .bounce = pool, .bytes = bytes, .to_pool = true});
    tracer.emit({}, DmaMapped{.device = device,
                              .kind = DmaMappingKind::page,
                              .dma = DmaAddr{pool.value()},
                              .phys = buffer,
                              .bytes = bytes,
                              .direction = direction,
                              .path = DmaPath::swiotlb});
  }
  void unmap() {
    tracer.emit({}, DmaUnmapped{.device = device, .dma = DmaAddr{pool.value()}, .bytes = bytes});
  }
  void allocate(PhysAddr at, std::uint64_t size) {
    share(at, "dma_direct_alloc+0x14d");
    tracer.emit({}, DmaMapped{.device = device,
                              .kind = DmaMappingKind::coherent,
                              .dma = DmaAddr{at.value()},
                              .phys = at,
                              .bytes = size,
                              .direction = DmaDirection::bidirectional});
  }
  [[nodiscard]] Exposure find() const { return find_exposure(*machine.memory, machine.key, given, 0); }
};

TEST_F(ExposureTest, IsNotWhatAMappingGivesToADevice) {
  map(DmaDirection::to_device);
  const Exposure found = find();
  EXPECT_EQ(found.searched, Exposure::Searched::all);
  EXPECT_EQ(found.bytes + found.left_behind + found.copied_along, 0u);
}

TEST_F(ExposureTest, IsNotWhatAMappingLeavesBehindAndThatIsCounted) {
  map(DmaDirection::to_device);
  unmap();
  EXPECT_EQ(find().left_behind, bytes);
  EXPECT_EQ(find().bytes, 0u);
}

TEST_F(ExposureTest, IsNotWhatLinuxCopiesAlongForADeviceToWriteAndThatIsCounted) {
  map(DmaDirection::from_device);
  EXPECT_EQ(find().copied_along, bytes);
  tracer.emit({}, DeviceAccess{.device = device, .phys = pool, .bytes = 128, .write = true});
  EXPECT_EQ(find().copied_along, bytes - 128) << "what the device wrote came from it";
  EXPECT_EQ(find().left_behind, 128u);
  EXPECT_EQ(find().bytes, 0u);
}

TEST_F(ExposureTest, IsWhatStandsBehindAMapping) {
  map(DmaDirection::to_device);
  copy_to_shared(pool + bytes, bytes, 128);
  const Exposure found = find();
  EXPECT_EQ(found.bytes, 128u);
  ASSERT_EQ(found.places.size(), 1u);
  EXPECT_EQ(found.places[0].twin, (Twin{pool + bytes, buffer + bytes, 128}));
  EXPECT_EQ(found.places[0].writer, (Agent{AgentKind::cpu, 0}));
  EXPECT_EQ(found.places[0].views.at, buffer + bytes);
  EXPECT_EQ(found.places[0].views.guest, Bytes(text.begin() + bytes, text.begin() + bytes + 16));
  EXPECT_NE(found.places[0].views.host, found.places[0].views.guest);
}

TEST_F(ExposureTest, IsWhatStandsInAPageThatWasSharedByHand) {
  share(page, "leak_to_shared+0x10 [mistakes]");
  copy_to_shared(page + 256, 0, 128);
  EXPECT_EQ(find().bytes, 128u);
}

TEST_F(ExposureTest, IsNotInCoherentMemoryButInWhatIsLeftOfItsLastPage) {
  allocate(page, 1000);
  copy_to_shared(page, 0, 1000);
  EXPECT_EQ(find().bytes, 0u);
  copy_to_shared(page + 1000, 1000, 200);
  EXPECT_EQ(find().bytes, 200u);
}

TEST_F(ExposureTest, IsInAPageThatIsSharedAnewWhoeverHadItBefore) {
  allocate(page, page_size);
  share(page, "leak_to_shared+0x10 [mistakes]");
  copy_to_shared(page);
  EXPECT_EQ(find().bytes, bytes);
}

TEST_F(ExposureTest, IsNotTheKernelsTrampoline) {
  share(page, "init_real_mode+0x63");
  copy_to_shared(page);
  EXPECT_EQ(find().bytes, 0u);
  share(page, "init_real_mode+0x63 [mistakes]");
  EXPECT_EQ(find().bytes, bytes) << "a module's function of that name is another";
}

TEST_F(ExposureTest, IsNotWhatADeviceWroteWithoutAMapping) {
  tracer.emit({}, DeviceAccess{.device = device, .phys = page, .bytes = bytes, .write = true});
  copy_to_shared(page);
  EXPECT_EQ(find().bytes, 0u);
  EXPECT_EQ(find().left_behind, bytes);
}

TEST_F(ExposureTest, IsNotWhatASynchronizationPutBackInPlace) {
  map(DmaDirection::bidirectional);
  tracer.emit({}, DeviceAccess{.device = device, .phys = pool, .bytes = bytes, .write = true});
  tracer.emit({}, SwiotlbCopied{.orig = buffer, .bounce = pool, .bytes = bytes, .to_pool = true});
  EXPECT_EQ(find().bytes + find().left_behind, 0u) << "it is in use";
}

TEST_F(ExposureTest, IsUnmappedByItsSize) {
  map(DmaDirection::to_device);
  tracer.emit({}, DmaUnmapped{.device = device, .dma = DmaAddr{pool.value() + 1}, .bytes = bytes});
  EXPECT_EQ(find().left_behind, 0u) << "no such mapping";
}

TEST_F(ExposureTest, IsNotLookedForWhereNothingIsEncrypted) {
  copy_to_shared(page);
  const Exposure found = find_exposure(*machine.memory, no_key, given, 0);
  EXPECT_EQ(found.searched, Exposure::Searched::not_at_all);
  EXPECT_THAT(found.places, IsEmpty());
}

TEST_F(ExposureTest, IsNotLookedForWhereThereAreMoreMappingsThanAreKept) {
  for (std::uint64_t i = 0; i <= GivenMemory::ranges_max; ++i)
    tracer.emit(
        {}, DmaMapped{
                .device = device, .kind = DmaMappingKind::page, .dma = DmaAddr{i}, .phys = page, .bytes = 1});
  copy_to_shared(page);
  EXPECT_EQ(find().searched, Exposure::Searched::not_at_all);
}

}  // namespace
}  // namespace cbit::guest
