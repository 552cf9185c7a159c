// Bounces: who sees which bytes when, and what is refused how.
#include "kernel/dma/swiotlb.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <thread>

#include "base/random.hpp"
#include "kernel/kernel.hpp"
#include "swiotlb_board.hpp"
#include "versions.hpp"

namespace cbit::kernel {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using Direction = DmaDirection;

constexpr PhysAddr buffer = SwiotlbBoard::buffers;

Bytes slice(const Bytes& bytes, std::size_t first, std::size_t count) {
  return {bytes.begin() + static_cast<std::ptrdiff_t>(first),
          bytes.begin() + static_cast<std::ptrdiff_t>(first + count)};
}

// ---- the default pool -----------------------------------------------------------------------------------

TEST(Swiotlb, AFreshSlotHoldsCiphertextOfZeros) {
  for (const Platform platform : {Platform::sev, Platform::sme}) {
    SwiotlbBoard board{{.platform = platform}};
    const PhysAddr slot = board.swiotlb->default_pool().first;
    const Bytes zeros(2048);
    EXPECT_EQ(board.with_key(slot, 2048, board.key()), zeros);
    EXPECT_NE(board.raw(slot, 2048), zeros);
    EXPECT_EQ(board.seen(slot, 2048), board.raw(slot, 2048)) << "the CPU's mapping of it is decrypted";
    EXPECT_EQ(board.device_sees(slot, 2048), board.raw(slot, 2048));
  }
}

TEST(Swiotlb, AFreshSlotIsZeroWhereNothingIsEncryptedOrConversionClearsIt) {
  for (const Platform platform : {Platform::plain, Platform::tdx}) {
    SwiotlbBoard board{{.platform = platform, .parameter = "512,1,force"}};
    EXPECT_EQ(board.device_sees(board.swiotlb->default_pool().first, 2048), Bytes(2048));
  }
}

TEST(Swiotlb, SaysAtBootWhereItIs) {
  SwiotlbBoard board;
  EXPECT_THAT(board.messages(), ElementsAre("software IO TLB: area num 1."));
  board.log.clear();
  board.swiotlb->print_info(board.cpu());
  const mem::PhysRange pool = board.swiotlb->default_pool();
  char mapped[100];
  std::snprintf(mapped, sizeof mapped, "software IO TLB: mapped [mem 0x%016lx-0x%016lx] (1MB)",
                static_cast<unsigned long>(pool.first.value()),
                static_cast<unsigned long>(pool.end().value()));
  EXPECT_THAT(board.messages(),
              ElementsAre("PCI-DMA: Using software bounce buffering for IO (SWIOTLB)", std::string{mapped}));

  SwiotlbBoard forced{{.platform = Platform::plain, .parameter = "512,1,force"}};
  forced.log.clear();
  forced.swiotlb->print_info(forced.cpu());
  EXPECT_THAT(forced.messages(), IsEmpty()) << "nothing needs the pool";
}

TEST(Swiotlb, IsAnnouncedAfterMemoryEncryptionAtBoot) {
  test::EventLog log;
  const auto machine = machine::Machine::create({.platform = Platform::sev}).value();
  machine->tracer().attach(log);
  const auto kernel = Kernel::boot(*machine, {}).value();
  static constexpr std::string_view words[] = {
      "adjusted to", "area num", "roundup to", "Features active", "PCI-DMA: Using software", "mapped [mem"};
  std::vector<std::string_view> order;
  for (const KernelMessage& message : log.all<KernelMessage>())
    for (const std::string_view word : words)
      if (message.text.find(word) != std::string::npos) order.push_back(word);
  EXPECT_THAT(order, testing::ElementsAreArray(words));
}

TEST(Swiotlb, IsHalvedUntilItFits) {
  SwiotlbBoard board{{.parameter = "force", .memory_bytes = 64 << 20}};  // 32 MiB at most below the buffers
  ASSERT_NE(board.swiotlb, nullptr);
  EXPECT_EQ(board.swiotlb->usage().io_tlb_nslabs, 8192u);
  EXPECT_THAT(
      board.messages(),
      AllOf(Contains(
                "software IO TLB: swiotlb_memblock_alloc: Failed to allocate 67108864 bytes tlb structure"),
            Contains("software IO TLB: SWIOTLB bounce buffer size adjusted 32768 -> 8192 slabs")));
}

TEST(Swiotlb, IsMissingWhereNotEvenAMegabyteIsFree) {
  SwiotlbBoard board{{.parameter = "noforce"}};
  while (board.mm->page_allocator().allocate(256)) {
  }
  const auto none = Swiotlb::create_default(*board.mm, board.cc, KernelVersion::v6_1, {.slots = 4096}, false);
  ASSERT_TRUE(none);
  EXPECT_EQ(*none, nullptr);
}

// The kernel does not look at what set_memory_decrypted() returns.
TEST(Swiotlb, GivesDevicesCiphertextWhenThePoolCouldNotBeDecrypted) {
  SwiotlbBoard board{{.platform = Platform::sev_snp, .parameter = "noforce"}};
  board.mm->fail_conversion_after(1);
  board.swiotlb =
      Swiotlb::create_default(*board.mm, board.cc, KernelVersion::v6_1, {.slots = 512}, false).value();
  const Bytes data = pattern_bytes(512, 1);
  board.put(buffer, data);
  const PhysAddr bounce = board.map(buffer, 512).value();
  EXPECT_EQ(board.seen(bounce, 512), data);
  EXPECT_NE(board.device_sees(bounce, 512), data);
}

// ---- what is copied when --------------------------------------------------------------------------------

class SwiotlbDirection : public testing::TestWithParam<Direction> {
 protected:
  bool writes_memory() const { return GetParam() != Direction::to_device; }
  bool reads_memory() const { return GetParam() != Direction::from_device; }
};

INSTANTIATE_TEST_SUITE_P(All, SwiotlbDirection,
                         testing::Values(Direction::to_device, Direction::from_device,
                                         Direction::bidirectional),
                         [](const auto& param) {
                           std::string name{to_string(param.param)};
                           std::erase(name, '-');
                           return name;
                         });

TEST_P(SwiotlbDirection, MapCopiesInWhateverTheDirection) {
  SwiotlbBoard board;
  const Bytes data = pattern_bytes(3000, 1);
  board.put(buffer, data);
  const PhysAddr bounce = board.map(buffer, 3000, GetParam(), dma_attr::skip_cpu_sync).value();
  EXPECT_EQ(board.device_sees(bounce, 3000), data);
  EXPECT_EQ(board.raw(bounce, 3000), data);
  EXPECT_NE(board.raw(buffer, 3000), data) << "the original stays encrypted";
  EXPECT_EQ(board.with_key(buffer, 3000, board.key()), data);
}

TEST_P(SwiotlbDirection, SyncForDeviceCopiesInWhatTheDeviceReads) {
  SwiotlbBoard board;
  const Bytes before = pattern_bytes(512, 1);
  const Bytes after = pattern_bytes(512, 2);
  board.put(buffer, before);
  const PhysAddr bounce = board.map(buffer, 512, GetParam()).value();
  board.put(buffer, after);
  EXPECT_EQ(board.swiotlb->sync_single_for_device(board.cpu(), board.dev, bounce, 512, GetParam()),
            reads_memory());
  EXPECT_EQ(board.device_sees(bounce, 512), reads_memory() ? after : before);
  EXPECT_EQ(board.seen(buffer, 512), after);
}

TEST_P(SwiotlbDirection, SyncForCpuCopiesOutWhatTheDeviceWrites) {
  SwiotlbBoard board;
  const Bytes before = pattern_bytes(512, 1);
  const Bytes data = pattern_bytes(512, 3);
  board.put(buffer, before);
  const PhysAddr bounce = board.map(buffer, 512, GetParam()).value();
  board.device_writes(bounce, data);
  EXPECT_EQ(board.seen(buffer, 512), before) << "no sync yet";
  EXPECT_EQ(board.swiotlb->sync_single_for_cpu(board.cpu(), board.dev, bounce, 512, GetParam()),
            writes_memory());
  EXPECT_EQ(board.seen(buffer, 512), writes_memory() ? data : before);
}

TEST_P(SwiotlbDirection, UnmapCopiesOutWhatTheDeviceWrites) {
  SwiotlbBoard board;
  const Bytes before = pattern_bytes(512, 1);
  const Bytes data = pattern_bytes(512, 3);
  board.put(buffer, before);
  const PhysAddr bounce = board.map(buffer, 512, GetParam()).value();
  board.device_writes(bounce, data);
  EXPECT_EQ(board.unmap(bounce, 512, GetParam()), writes_memory());
  EXPECT_EQ(board.seen(buffer, 512), writes_memory() ? data : before);
  EXPECT_EQ(board.swiotlb->usage().io_tlb_used, 0u);
}

TEST_P(SwiotlbDirection, UnmapWithSkipCpuSyncCopiesNothing) {
  SwiotlbBoard board;
  const Bytes before = pattern_bytes(512, 1);
  board.put(buffer, before);
  const PhysAddr bounce = board.map(buffer, 512, GetParam()).value();
  board.device_writes(bounce, pattern_bytes(512, 3));
  EXPECT_FALSE(board.unmap(bounce, 512, GetParam(), dma_attr::skip_cpu_sync));
  EXPECT_EQ(board.seen(buffer, 512), before);
  EXPECT_EQ(board.swiotlb->usage().io_tlb_used, 0u);
}

TEST(Swiotlb, ADeviceThatWritesOnlyAPartLeavesTheRestOfTheBuffer) {
  SwiotlbBoard board;
  const Bytes old = pattern_bytes(512, 1);
  const Bytes data = pattern_bytes(100, 2);
  board.put(buffer, old);
  const PhysAddr bounce = board.map(buffer, 512, Direction::from_device).value();
  board.device_writes(bounce, data);
  ASSERT_TRUE(board.unmap(bounce, 512, Direction::from_device));
  const Bytes now = board.seen(buffer, 512);
  EXPECT_EQ(slice(now, 0, 100), data);
  EXPECT_EQ(slice(now, 100, 412), slice(old, 100, 412));
}

TEST(Swiotlb, APartialSyncCopiesThatPartOnly) {
  SwiotlbBoard board;
  const Bytes old = pattern_bytes(512, 1);
  const Bytes data = pattern_bytes(512, 2);
  board.put(buffer, old);
  const PhysAddr bounce = board.map(buffer, 512, Direction::from_device).value();
  board.device_writes(bounce, data);
  ASSERT_TRUE(
      board.swiotlb->sync_single_for_cpu(board.cpu(), board.dev, bounce + 64, 64, Direction::from_device));
  const Bytes now = board.seen(buffer, 512);
  EXPECT_EQ(slice(now, 0, 64), slice(old, 0, 64));
  EXPECT_EQ(slice(now, 64, 64), slice(data, 64, 64));
  EXPECT_EQ(slice(now, 128, 384), slice(old, 128, 384));
}

TEST(Swiotlb, PageHistoryNamesTheBounce) {
  SwiotlbBoard board;
  const PhysAddr bounce = board.map(buffer, 512).value();
  const mem::PageHistory history = board.machine->memory().history(bounce);
  EXPECT_EQ(board.machine->tracer().name(history.writer_site), "swiotlb_bounce");
  EXPECT_EQ(board.machine->tracer().name(board.machine->memory().history(bounce + (64 << 10)).writer_site),
            "swiotlb_init_io_tlb_mem");
}

// ---- copies that go wrong -------------------------------------------------------------------------------

// NVMe's mask; the mapping begins 0x234 bytes into its first slot.
struct OffsetMapping {
  explicit OffsetMapping(KernelVersion version) : board{{.version = version}}, old{pattern_bytes(6000, 1)} {
    board.dev.min_align_mask = 0xfff;
    board.put(orig, old);
    bounce = board.map(orig, 6000, Direction::bidirectional).value();
    board.device_writes(bounce, data);
    board.log.clear();
  }
  bool sync(std::uint64_t first, std::uint64_t bytes) {
    return board.swiotlb->sync_single_for_cpu(board.cpu(), board.dev, bounce + first, bytes,
                                              Direction::bidirectional);
  }
  SwiotlbBoard board;
  PhysAddr orig = buffer + 0x234;
  Bytes old;
  Bytes data = pattern_bytes(6000, 2);
  PhysAddr bounce;
};

// Bounce + 1500 is byte 2064 of the slots: byte 16 of the second, below the offset.
TEST(Swiotlb, Before610ASyncInTheFirstBytesOfALaterSlotIsLost) {
  for (const KernelVersion version : {KernelVersion::v6_1, KernelVersion::v6_6}) {
    OffsetMapping mapping{version};
    EXPECT_FALSE(mapping.sync(1500, 100));
    EXPECT_FALSE(mapping.sync(1500, 100));
    EXPECT_EQ(mapping.board.seen(mapping.orig, 6000), mapping.old);
    const auto dropped = mapping.board.log.all<SwiotlbDropped>();
    ASSERT_THAT(dropped, SizeIs(2));
    EXPECT_EQ(dropped[0].bounce, mapping.bounce + 1500);
    EXPECT_TRUE(dropped[0].negative_offset);
    EXPECT_THAT(mapping.board.messages(),
                ElementsAre("Access before mapping start detected. orig offset 564, "
                            "requested offset 16."))
        << "once";
    EXPECT_TRUE(mapping.sync(2100, 100)) << "behind the offset it works";
  }
}

TEST(Swiotlb, In610ASyncAnywhereInTheMappingCopies) {
  OffsetMapping mapping{KernelVersion::v6_10};
  EXPECT_TRUE(mapping.sync(1500, 100));
  const Bytes now = mapping.board.seen(mapping.orig, 6000);
  EXPECT_EQ(slice(now, 1500, 100), slice(mapping.data, 1500, 100));
  EXPECT_EQ(slice(now, 0, 1500), slice(mapping.old, 0, 1500));
  EXPECT_EQ(slice(now, 1600, 4400), slice(mapping.old, 1600, 4400));
  EXPECT_THAT(mapping.board.log.all<SwiotlbDropped>(), IsEmpty());
}

// What is left of the allocation is a size_t: beyond the mapping's end it wraps around, and all is copied.
TEST(Swiotlb, In610ASyncThatBeginsBeyondTheEndCopiesWithoutAWord) {
  SwiotlbBoard board{{.version = KernelVersion::v6_10}};
  board.put(buffer, pattern_bytes(2048, 1));
  const PhysAddr bounce = board.map(buffer, 1000, Direction::from_device).value();
  board.device_writes(bounce + 1500, pattern_bytes(100, 2));
  EXPECT_TRUE(
      board.swiotlb->sync_single_for_cpu(board.cpu(), board.dev, bounce + 1500, 100, Direction::from_device));
  EXPECT_EQ(board.seen(buffer + 1500, 100), pattern_bytes(100, 2));
  EXPECT_THAT(board.messages(), testing::Not(Contains(testing::HasSubstr("Buffer overflow"))));
}

// The last slot of a mapping whose offset fills it has a size below 0, which is a size_t as well.
TEST(Swiotlb, ASlotThatIsAllOffsetIsCopiedFromWithoutAWord) {
  for (const KernelVersion version : versions) {
    SwiotlbBoard board{{.version = version}};
    board.dev.min_align_mask = 0xfff;
    board.put(buffer, pattern_bytes(4096, 1));
    const PhysAddr bounce = board.map(buffer + 100, 2000, Direction::from_device).value();
    board.device_writes(bounce + 2048, pattern_bytes(16, 2));
    EXPECT_TRUE(board.swiotlb->sync_single_for_cpu(board.cpu(), board.dev, bounce + 2048, 16,
                                                   Direction::from_device));
    EXPECT_EQ(board.seen(buffer + 2148, 16), pattern_bytes(16, 2));
    EXPECT_THAT(board.messages(), testing::Not(Contains(testing::HasSubstr("Buffer overflow"))));
  }
}

TEST(Swiotlb, UnmapCopiesTheWholeMappingWhateverItsOffset) {
  for (const KernelVersion version : versions) {
    OffsetMapping mapping{version};
    EXPECT_TRUE(mapping.board.unmap(mapping.bounce, 6000, Direction::bidirectional));
    EXPECT_EQ(mapping.board.seen(mapping.orig, 6000), mapping.data);
    EXPECT_EQ(mapping.board.swiotlb->usage().io_tlb_used, 0u);
  }
}

TEST(Swiotlb, CutsASyncThatIsLongerThanTheMapping) {
  for (const KernelVersion version : versions) {
    SwiotlbBoard board{{.version = version}};
    const Bytes old = pattern_bytes(2048, 1);
    board.put(buffer, old);
    const PhysAddr bounce = board.map(buffer, 1000, Direction::from_device).value();
    const Bytes data = pattern_bytes(2048, 2);
    board.device_writes(bounce, data);
    EXPECT_TRUE(
        board.swiotlb->sync_single_for_cpu(board.cpu(), board.dev, bounce, 2048, Direction::from_device));
    const Bytes now = board.seen(buffer, 2048);
    EXPECT_EQ(slice(now, 0, 1000), slice(data, 0, 1000));
    EXPECT_EQ(slice(now, 1000, 1048), slice(old, 1000, 1048));
    EXPECT_THAT(board.messages(),
                Contains("Buffer overflow detected. Allocation size: 1000. Mapping size: 2048."));
    // [6.10] swiotlb_bounce() subtracts the offset from a size_t: what is left of the mapping wraps around,
    // and bytes beyond it are copied.
    const bool wraps = version == KernelVersion::v6_10;
    EXPECT_EQ(
        board.swiotlb->sync_single_for_cpu(board.cpu(), board.dev, bounce + 1500, 10, Direction::from_device),
        wraps);
    EXPECT_THAT(board.log.all<SwiotlbDropped>(), SizeIs(wraps ? 0 : 1));
    EXPECT_EQ(slice(board.seen(buffer, 2048), 1500, 10), slice(wraps ? data : old, 1500, 10));
  }
}

TEST(Swiotlb, CopiesNothingForSlotsThatAreFree) {
  SwiotlbBoard board;
  const PhysAddr bounce = board.map(buffer, 512, Direction::bidirectional).value();
  ASSERT_TRUE(board.unmap(bounce, 512, Direction::bidirectional));
  board.log.clear();
  EXPECT_FALSE(
      board.swiotlb->sync_single_for_cpu(board.cpu(), board.dev, bounce, 512, Direction::bidirectional));
  EXPECT_FALSE(board.unmap(bounce, 512, Direction::bidirectional)) << "a second time";
  EXPECT_EQ(board.swiotlb->usage().io_tlb_used, 0u);
  EXPECT_THAT(board.log.all<SwiotlbCopied>(), IsEmpty());
}

TEST(Swiotlb, KnowsNothingOfAddressesOutsideItsPools) {
  SwiotlbBoard board;
  const mem::PhysRange pool = board.swiotlb->default_pool();
  EXPECT_TRUE(board.swiotlb->contains(board.dev, pool.first));
  EXPECT_FALSE(board.swiotlb->contains(board.dev, pool.end()));
  EXPECT_FALSE(board.swiotlb->contains(board.dev, buffer));
  EXPECT_FALSE(board.unmap(buffer, 512, Direction::from_device));
  EXPECT_FALSE(
      board.swiotlb->sync_single_for_cpu(board.cpu(), board.dev, buffer, 512, Direction::from_device));
  EXPECT_FALSE(board.swiotlb->free(board.cpu(), board.dev, buffer, 4096));
}

// ---- refusals -------------------------------------------------------------------------------------------

TEST(Swiotlb, MapsAQuarterMebibyteAndNotAByteMore) {
  for (const KernelVersion version : versions) {
    SwiotlbBoard board{{.version = version}};
    const auto whole_set = board.map(buffer, 262144);
    ASSERT_TRUE(whole_set);
    EXPECT_EQ(board.swiotlb->usage().io_tlb_used, 128u);
    board.unmap(*whole_set, 262144);
    board.log.clear();
    const auto refused = board.map(buffer, 262145);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error(), SwiotlbRefusal::full);
    EXPECT_THAT(board.messages(),
                ElementsAre("swiotlb buffer is full (sz: 262145 bytes), total 512 (slots), used 0 (slots)"));
    const auto facts = board.log.all<SwiotlbFull>();
    ASSERT_THAT(facts, SizeIs(1));
    EXPECT_EQ(facts[0].bytes, 262145u);
    EXPECT_EQ(facts[0].slots_wanted, 129u);
    EXPECT_EQ(facts[0].segment_slots, 128u);
    EXPECT_EQ(facts[0].slots_total, 512u);
    EXPECT_EQ(facts[0].slots_used, 0u);
    EXPECT_EQ(facts[0].longest_run, 128u);
    EXPECT_FALSE(facts[0].growth_possible);
    EXPECT_FALSE(facts[0].endless_search);
  }
}

TEST(Swiotlb, TellsAFragmentedPoolFromAnExhaustedOne) {
  SwiotlbBoard board;
  std::vector<PhysAddr> bounces;
  while (const auto bounce = board.map(buffer, 2048, Direction::to_device, dma_attr::no_warn))
    bounces.push_back(*bounce);
  EXPECT_THAT(bounces, SizeIs(512));
  EXPECT_EQ(board.log.all<SwiotlbFull>().back().longest_run, 0u);
  for (std::size_t i = 0; i < bounces.size(); i += 2) board.unmap(bounces[i], 2048);
  ASSERT_FALSE(board.map(buffer, 4096, Direction::to_device, dma_attr::no_warn));
  const SwiotlbFull facts = board.log.all<SwiotlbFull>().back();
  EXPECT_EQ(facts.slots_used, 256u);
  EXPECT_EQ(facts.longest_run, 1u);
  EXPECT_THAT(board.messages(), Not(Contains(HasSubstr("buffer is full")))) << "DMA_ATTR_NO_WARN";
}

TEST(Swiotlb, PrintsTheSizeWithItsPaddingOnlyIn610) {
  for (const KernelVersion version : versions) {
    SwiotlbBoard board{{.version = version}};
    board.dev.min_align_mask = 0xfff;
    ASSERT_FALSE(board.swiotlb->tbl_map_single(board.cpu(), board.dev, buffer + 0xe00, 262144, 262144, 0,
                                               Direction::to_device, {}));
    EXPECT_THAT(board.messages().back(),
                HasSubstr(version == KernelVersion::v6_10 ? "(sz: 263680 bytes)" : "(sz: 262144 bytes)"));
    EXPECT_EQ(board.log.all<SwiotlbFull>().back().slots_wanted, 129u);
    EXPECT_EQ(board.log.all<SwiotlbFull>().back().align_mask, 0xfffu);
  }
}

TEST(Swiotlb, RefusesSizesThatNoMemoryHas) {
  for (const KernelVersion version : versions) {
    SwiotlbBoard board{{.version = version}};
    board.dev.min_align_mask = 0xfff;
    for (const std::uint64_t bytes :
         {~std::uint64_t{0}, std::uint64_t{1} << 63, (std::uint64_t{1} << 43) + 1}) {
      const auto refused = board.map(buffer + 0xe00, bytes);
      ASSERT_FALSE(refused);
      EXPECT_EQ(refused.error(), SwiotlbRefusal::full);
    }
    EXPECT_EQ(board.swiotlb->usage().io_tlb_used, 0u);
  }
}

TEST(Swiotlb, RefusesWhatIsABugInTheKernel) {
  SwiotlbBoard board;
  EXPECT_EQ(board.map(buffer, 0).error(), SwiotlbRefusal::invalid);
  EXPECT_EQ(board.messages().back(), "kernel BUG at kernel/dma/swiotlb.c!");
  board.dev.seg_boundary_mask = 0x17ff;
  EXPECT_EQ(board.map(buffer, 512).error(), SwiotlbRefusal::invalid) << "not 2^n - 1";
  EXPECT_EQ(board.swiotlb->alloc(board.cpu(), board.dev, 4096), std::nullopt);
  board.dev.seg_boundary_mask = 0;
  EXPECT_TRUE(board.map(buffer, 512)) << "0: the bus' own boundary";
}

TEST(Swiotlb, RefusesAnAllocationThatIsShorterThanItsMapping) {
  for (const KernelVersion version : {KernelVersion::v6_1, KernelVersion::v6_6}) {
    SwiotlbBoard board{{.version = version}};
    for (int i = 0; i < 2; ++i)
      EXPECT_EQ(board.swiotlb
                    ->tbl_map_single(board.cpu(), board.dev, buffer, 4096, 2048, 0, Direction::to_device, {})
                    .error(),
                SwiotlbRefusal::invalid);
    EXPECT_EQ(std::ranges::count(board.messages(), "Invalid sizes (mapping: 4096 bytes, alloc: 2048 bytes)"),
              1);
  }
}

TEST(Swiotlb, ReportsTheLockupOf61InsteadOfHanging) {
  SwiotlbBoard board;
  board.dev.min_align_mask = 0xfff;
  const PhysAddr upper_half = buffer + 0x800;
  std::vector<PhysAddr> bounces;
  while (const auto bounce = board.map(upper_half, 4096)) bounces.push_back(*bounce);
  EXPECT_THAT(bounces, SizeIs(128)) << "half of the pool: the stride is 4 slots";
  EXPECT_FALSE(board.log.all<SwiotlbFull>().back().endless_search);
  board.unmap(bounces[0], 4096);
  ASSERT_TRUE(board.map(upper_half, 4096));
  ASSERT_FALSE(board.map(upper_half, 4096));
  EXPECT_TRUE(board.log.all<SwiotlbFull>().back().endless_search);
  EXPECT_EQ(board.messages().back(), "NMI watchdog: Watchdog detected hard LOCKUP on cpu 0");
}

TEST(Swiotlb, WarnsOnceThatMemoryEncryptionMeansBouncing) {
  SwiotlbBoard board;
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(board.map(buffer, 512));
  EXPECT_EQ(std::ranges::count(board.messages(),
                               "software IO TLB: Memory encryption is active and system is using "
                               "DMA bounce buffers"),
            1);
  SwiotlbBoard plain{{.platform = Platform::plain, .parameter = "512,1,force"}};
  ASSERT_TRUE(plain.map(buffer, 512));
  EXPECT_THAT(plain.messages(), Not(Contains(HasSubstr("encryption"))));
}

TEST(Swiotlb, TheLargestMappingLeavesRoomForTheAlignment) {
  SwiotlbBoard board;
  EXPECT_EQ(board.swiotlb->max_mapping_size(board.dev), 262144u);
  board.dev.min_align_mask = 4095;
  EXPECT_EQ(board.swiotlb->max_mapping_size(board.dev), 258048u);
  for (const std::uint64_t offset : {0, 0x234, 0x800, 0xfff})
    EXPECT_TRUE(board.map(buffer + offset, 258048)) << offset;
}

// ---- 6.10: alignment of the allocation ------------------------------------------------------------------

TEST(Swiotlb, In610PadsWithSlotsBeforeTheMapping) {
  SwiotlbBoard board{{.version = KernelVersion::v6_10}};
  board.dev.min_align_mask = 0xfff;
  const Bytes data = pattern_bytes(3000, 1);
  const PhysAddr orig = buffer + 0xe78;
  board.put(orig, data);
  const auto bounce = board.swiotlb->tbl_map_single(board.cpu(), board.dev, orig, 3000, 4096, 0xfff,
                                                    Direction::bidirectional, {});
  ASSERT_TRUE(bounce);
  EXPECT_EQ(bounce->page_offset(), 0xe78u);
  EXPECT_EQ(board.log.all<SwiotlbAllocated>().back().slots, 4u) << "0xe78 + 3000 bytes, rounded up to 8192";
  EXPECT_EQ(board.device_sees(*bounce, 3000), data);
  const Bytes written = pattern_bytes(3000, 2);
  board.device_writes(*bounce, written);
  EXPECT_TRUE(board.unmap(*bounce, 3000, Direction::bidirectional));
  EXPECT_EQ(board.seen(orig, 3000), written);
  EXPECT_EQ(board.swiotlb->usage().io_tlb_used, 0u);
}

TEST(Swiotlb, In610WarnsOfAlignmentsAboveAPage) {
  SwiotlbBoard board{{.version = KernelVersion::v6_10}};
  ASSERT_TRUE(board.swiotlb->tbl_map_single(board.cpu(), board.dev, buffer, 512, 512, 0xffff,
                                            Direction::to_device, {}));
  EXPECT_THAT(board.messages(),
              Contains("Alloc alignment may prevent fulfilling requests with max mapping_size"));
}

// ---- counters and events --------------------------------------------------------------------------------

TEST(Swiotlb, CountsAsDebugfsDoes) {
  SwiotlbBoard board{{.version = KernelVersion::v6_6, .parameter = "1024,4", .cpus = 4}};
  std::vector<PhysAddr> bounces;
  for (unsigned n = 0; n < 4; ++n)
    bounces.push_back(board.map(buffer, 4096, Direction::bidirectional, {}, n).value());
  for (unsigned n = 0; n < 4; ++n) {
    EXPECT_EQ(board.log.all<SwiotlbAllocated>()[n].area, n);
    board.unmap(bounces[n], 4096, Direction::bidirectional, {}, (n + 1) % 4);
  }
  EXPECT_EQ(board.swiotlb->usage().io_tlb_used_hiwater, 8u);
  for (int i = 0; i < 3; ++i) board.unmap(board.map(buffer, 6000, Direction::to_device, {}, 2).value(), 6000);
  const SwiotlbUsage usage = board.swiotlb->usage();
  EXPECT_EQ(usage.io_tlb_nslabs, 1024u);
  EXPECT_EQ(usage.io_tlb_used, 0u);
  EXPECT_EQ(usage.io_tlb_used_hiwater, 8u);
  EXPECT_EQ(usage.areas, 4u);
  EXPECT_EQ(usage.bounces, 7u);
  EXPECT_EQ(usage.bytes_bounced, 8u * 4096 + 3 * 6000);
}

// The mark is that of all areas together, in whatever order they fill and empty.
TEST(Swiotlb, TheHighWaterMarkIsThatOfAllAreasTogether) {
  SwiotlbBoard board{{.version = KernelVersion::v6_6, .parameter = "1024,4", .cpus = 4}};
  Random random{7};
  std::vector<PhysAddr> bounces;
  std::uint64_t mark = 0;
  for (int i = 0; i < 2000; ++i) {
    const auto n = static_cast<unsigned>(random.below(4));
    if (bounces.size() > random.below(40)) {
      std::swap(bounces[random.below(bounces.size())], bounces.back());
      board.unmap(bounces.back(), 0, Direction::to_device, {}, n);
      bounces.pop_back();
    } else {
      bounces.push_back(board.map(buffer, 1 + random.below(20'000), Direction::to_device, {}, n).value());
    }
    mark = std::max(mark, board.swiotlb->usage().io_tlb_used);
    ASSERT_EQ(board.swiotlb->usage().io_tlb_used_hiwater, mark);
  }
}

// kernel/dma/swiotlb.c: io_tlb_used_hiwater came with 6.6; 7.3 keeps it for who asks for it.
TEST(Swiotlb, KeepsTheHighWaterMarkThatItsVersionKeeps) {
  const auto mark = [](KernelVersion version, const char* parameter) {
    SwiotlbBoard board{{.version = version, .parameter = parameter}};
    EXPECT_TRUE(board.map(buffer, 4096, Direction::to_device));
    return board.swiotlb->usage().io_tlb_used_hiwater;
  };
  EXPECT_EQ(mark(KernelVersion::v6_1, "1024"), std::nullopt);
  EXPECT_EQ(mark(KernelVersion::v6_6, "1024"), 2u);
  EXPECT_EQ(mark(KernelVersion::v7_2, "1024"), 2u);
  EXPECT_EQ(mark(KernelVersion::v7_3, "1024"), 0u);
  EXPECT_EQ(mark(KernelVersion::v7_3, "1024,,force,track_hiwater"), 2u);
}

TEST(Swiotlb, ReportsWhatItDoesInOrder) {
  SwiotlbBoard board;
  board.log.clear();
  const PhysAddr bounce = board.map(buffer, 3000, Direction::from_device).value();
  board.unmap(bounce, 3000, Direction::from_device);
  std::vector<std::string_view> names;
  for (const Event& event : board.log.events())
    std::visit(
        [&](const auto& payload) {
          if (std::string_view name = payload.name; name.starts_with("swiotlb")) names.push_back(name);
        },
        event.payload);
  EXPECT_THAT(names, ElementsAre("swiotlb_alloc", "swiotlb_bounce", "swiotlb_bounce", "swiotlb_release"));
  const auto copies = board.log.all<SwiotlbCopied>();
  EXPECT_TRUE(copies[0].to_pool);
  EXPECT_FALSE(copies[1].to_pool);
  EXPECT_EQ(copies[1].orig, buffer);
  EXPECT_EQ(copies[1].bounce, bounce);
  EXPECT_EQ(copies[1].bytes, 3000u);
  EXPECT_EQ(board.log.all<SwiotlbReleased>()[0].slots, 2u);
  const auto steps = board.log.all<StepTaken>();
  EXPECT_THAT(steps,
              Contains(testing::Field(&StepTaken::source, "kernel/dma/swiotlb.c: swiotlb_do_find_slots")));
  EXPECT_THAT(steps, Contains(testing::Field(&StepTaken::rule, HasSubstr("though the device only writes"))));
}

// ---- threads --------------------------------------------------------------------------------------------

TEST(SwiotlbThreads, BounceOnTheirOwnAreasAndOnSharedOnes) {
  for (const std::string_view parameter : {"1024,2", "1024,1"}) {
    SwiotlbBoard board{{.parameter = parameter, .cpus = 2}};
    board.machine->tracer().detach(board.log);
    std::atomic<unsigned> wrong = 0;
    const auto work = [&](unsigned n) {
      const PhysAddr mine = buffer + n * (1 << 20);
      for (std::uint64_t i = 0; i < 2000; ++i) {
        const std::uint64_t bytes = 1 + (i * 977) % 9000;
        const Bytes data = pattern_bytes(bytes, i * 2 + n);
        if (!board.cpu(n).write(board.mm->phys_to_virt(mine), data)) ++wrong;
        const auto bounce = board.map(mine, bytes, Direction::bidirectional, {}, n);
        if (!bounce || board.raw(*bounce, bytes) != data) ++wrong;
        if (bounce && !board.unmap(*bounce, bytes, Direction::bidirectional, {}, n)) ++wrong;
      }
    };
    std::thread other{work, 1};
    work(0);
    other.join();
    EXPECT_EQ(wrong, 0u);
    EXPECT_EQ(board.swiotlb->usage().io_tlb_used, 0u);
    EXPECT_EQ(board.swiotlb->usage().bounces, 4000u);
  }
}

}  // namespace
}  // namespace cbit::kernel
