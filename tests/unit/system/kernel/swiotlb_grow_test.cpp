// Pools beside the default one: dynamic, transient, restricted.
#include <gmock/gmock.h>

#include "swiotlb_board.hpp"
#include "versions.hpp"

namespace cbit::kernel {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;
using Direction = DmaDirection;

constexpr PhysAddr grown_buffer = SwiotlbBoard::buffers;
constexpr KernelVersion growing_versions[] = {KernelVersion::v6_6, KernelVersion::v6_10};

// A host whose pool is forced, so that transient pools come from the page allocator.
SwiotlbBoardConfig host(KernelVersion version) {
  return {.platform = Platform::plain, .version = version, .parameter = "512,1,force", .dynamic = true};
}

void fill(SwiotlbBoard& board) {
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(board.map(grown_buffer, 262144));
}

// ---- transient pools ------------------------------------------------------------------------------------

TEST(SwiotlbGrowth, GivesAMappingAPoolOfItsOwnWhenThereAreNoSlots) {
  for (const KernelVersion version : growing_versions) {
    SwiotlbBoard board{host(version)};
    fill(board);
    const std::uint64_t free_pages = board.mm->page_allocator().free_pages();
    const Bytes data = pattern_bytes(6000, 1);
    board.put(grown_buffer, data);
    const auto bounce = board.map(grown_buffer, 6000, Direction::bidirectional);
    ASSERT_TRUE(bounce);
    EXPECT_FALSE(board.swiotlb->default_pool().contains(*bounce, 1));
    EXPECT_EQ(board.device_sees(*bounce, 6000), data);
    EXPECT_TRUE(board.swiotlb->contains(board.dev, *bounce));
    EXPECT_FALSE(board.swiotlb->contains(Device{}, *bounce)) << "it is on the device's own list";

    SwiotlbUsage usage = board.swiotlb->usage();
    EXPECT_EQ(usage.io_tlb_nslabs, 512u);
    EXPECT_EQ(usage.io_tlb_transient_nslabs, 3u);
    EXPECT_EQ(usage.io_tlb_used, 515u);
    EXPECT_EQ(usage.io_tlb_used_hiwater, 515u);

    const Bytes written = pattern_bytes(6000, 2);
    board.device_writes(*bounce, written);
    EXPECT_TRUE(board.unmap(*bounce, 6000, Direction::bidirectional));
    EXPECT_EQ(board.seen(grown_buffer, 6000), written);
    EXPECT_FALSE(board.swiotlb->contains(board.dev, *bounce));
    EXPECT_EQ(board.mm->page_allocator().free_pages(), free_pages);
    usage = board.swiotlb->usage();
    EXPECT_EQ(usage.io_tlb_transient_nslabs, 0u);
    EXPECT_EQ(usage.io_tlb_used, 512u);
    EXPECT_EQ(usage.bounces, 5u);
    EXPECT_EQ(usage.bytes_bounced, 4u * 262144 + 2 * 6000);
  }
}

TEST(SwiotlbGrowth, DoesNotHappenIn61NorUnlessItIsConfigured) {
  SwiotlbBoardConfig old = host(KernelVersion::v6_1);
  SwiotlbBoardConfig fixed = host(KernelVersion::v6_10);
  fixed.dynamic = false;
  for (const SwiotlbBoardConfig& config : {old, fixed}) {
    SwiotlbBoard board{config};
    fill(board);
    EXPECT_FALSE(board.map(grown_buffer, 512));
    EXPECT_FALSE(board.log.all<SwiotlbFull>().back().growth_possible);
    EXPECT_FALSE(board.swiotlb->run_worker(board.cpu()));
  }
}

TEST(SwiotlbGrowth, TransientPoolsLieBelowTheDevicesMask) {
  SwiotlbBoard board{host(KernelVersion::v6_10)};
  fill(board);
  EXPECT_GE(board.map(grown_buffer, 4096).value(), PhysAddr{16 << 20}) << "a device that reaches everything";
  board.dev.dma_mask = bit_mask(24);
  EXPECT_LT(board.map(grown_buffer, 4096).value(), PhysAddr{16 << 20});
  board.dev.bus_dma_limit = 0xfff;  // no page is that low
  ASSERT_FALSE(board.map(grown_buffer, 4096));
  const SwiotlbFull facts = board.log.all<SwiotlbFull>().back();
  EXPECT_TRUE(facts.growth_possible);
  EXPECT_TRUE(facts.growth_failed);
}

TEST(SwiotlbGrowth, In66TriesForRequestsThatNoPoolCanServe) {
  SwiotlbBoard older{host(KernelVersion::v6_6)};
  const std::uint64_t free_pages = older.mm->page_allocator().free_pages();
  EXPECT_FALSE(older.map(grown_buffer, 262145));
  EXPECT_TRUE(older.log.all<SwiotlbFull>().back().growth_failed);
  EXPECT_EQ(older.mm->page_allocator().free_pages(), free_pages) << "the transient pool is gone again";
  EXPECT_TRUE(older.swiotlb->run_worker(older.cpu()));

  SwiotlbBoard newer{host(KernelVersion::v6_10)};
  EXPECT_FALSE(newer.map(grown_buffer, 262145));
  EXPECT_FALSE(newer.log.all<SwiotlbFull>().back().growth_failed);
  EXPECT_FALSE(newer.swiotlb->run_worker(newer.cpu()));
}

// ---- ... in a guest -------------------------------------------------------------------------------------

class SwiotlbGuestGrowth : public testing::Test {
 protected:
  SwiotlbGuestGrowth() {
    fill(board);
    first = board.mm->page_allocator().allocate(64).value();
    EXPECT_TRUE(board.mm->set_memory_decrypted(board.cpu(), board.mm->phys_to_virt(first), 64));
  }
  SwiotlbBoard board{{.version = KernelVersion::v6_10, .dynamic = true}};
  PhysAddr first;
};

TEST_F(SwiotlbGuestGrowth, NeedsTheAtomicPools) {
  ASSERT_FALSE(board.map(grown_buffer, 4096));
  EXPECT_TRUE(board.log.all<SwiotlbFull>().back().growth_failed);
  EXPECT_THAT(board.messages().back(),
              HasSubstr("swiotlb buffer is full (sz: 4096 bytes), total 512 (slots), used 512"));
}

TEST_F(SwiotlbGuestGrowth, TakesTransientPoolsFromTheAtomicPools) {
  std::vector<std::uint64_t> given, returned;
  board.swiotlb->use_atomic_memory(
      {.alloc = [&](paging::Mmu&, Device&, std::uint64_t bytes) -> std::optional<PhysAddr> {
         given.push_back(bytes);
         return first;
       },
       .free =
           [&](VirtAddr at, std::uint64_t bytes) {
             EXPECT_EQ(at, board.mm->phys_to_virt(first));
             returned.push_back(bytes);
             return true;
           }});
  const Bytes data = pattern_bytes(5000, 1);
  board.put(grown_buffer, data);
  const auto bounce = board.map(grown_buffer, 5000, Direction::from_device);
  ASSERT_EQ(bounce, first);
  EXPECT_EQ(board.device_sees(*bounce, 5000), data);
  EXPECT_TRUE(board.unmap(*bounce, 5000, Direction::from_device));
  EXPECT_THAT(given, ElementsAre(3 * 2048));
  EXPECT_EQ(returned, given);
}

// CONFIG_DMA_DIRECT_REMAP: the pools know their memory by another address.
TEST_F(SwiotlbGuestGrowth, EncryptsAndFreesInAnRcuCallbackWhatTheAtomicPoolsDeny) {
  board.swiotlb->use_atomic_memory(
      {.alloc = [&](paging::Mmu&, Device&, std::uint64_t) { return std::optional{first}; },
       .free = [](VirtAddr, std::uint64_t) { return false; }});
  const auto bounce = board.map(grown_buffer, 4096);
  ASSERT_EQ(bounce, first);
  const std::uint64_t free_pages = board.mm->page_allocator().free_pages();
  EXPECT_FALSE(board.unmap(*bounce, 4096));
  EXPECT_EQ(board.mm->page_allocator().free_pages(), free_pages + 1);
  EXPECT_THAT(board.messages(), Contains(HasSubstr("BUG: sleeping function called from invalid context")));
  EXPECT_THAT(board.messages(), Contains(HasSubstr("swiotlb_dyn_free")));
}

TEST(SwiotlbGrowth, MaySleepWhereItAddsAPoolAndNotWhereItFreesOne) {
  SwiotlbBoardConfig config = host(KernelVersion::v6_6);
  config.platform = Platform::sme;
  SwiotlbBoard board{config};
  fill(board);
  const auto bounce = board.map(grown_buffer, 4096);
  ASSERT_TRUE(bounce);
  ASSERT_TRUE(board.swiotlb->run_worker(board.cpu()));
  EXPECT_THAT(board.messages(), testing::Not(Contains(HasSubstr("BUG: sleeping"))));
  EXPECT_FALSE(board.unmap(*bounce, 4096));
  EXPECT_THAT(board.messages(), Contains(HasSubstr("BUG: sleeping")));
}

TEST_F(SwiotlbGuestGrowth, TheWorkerAddsADecryptedPool) {
  EXPECT_FALSE(board.swiotlb->run_worker(board.cpu())) << "nothing was asked of it";
  ASSERT_FALSE(board.map(grown_buffer, 4096));
  ASSERT_TRUE(board.swiotlb->run_worker(board.cpu()));
  EXPECT_FALSE(board.swiotlb->run_worker(board.cpu()));
  EXPECT_EQ(board.swiotlb->usage().io_tlb_nslabs, 1024u);

  const Bytes data = pattern_bytes(4096, 1);
  board.put(grown_buffer, data);
  const auto bounce = board.map(grown_buffer, 4096);
  ASSERT_TRUE(bounce);
  EXPECT_FALSE(board.swiotlb->default_pool().contains(*bounce, 1));
  EXPECT_TRUE(board.swiotlb->contains(Device{}, *bounce)) << "it is for all devices";
  EXPECT_EQ(board.device_sees(*bounce, 4096), data);
  EXPECT_EQ(board.device_sees(*bounce + 8192, 2048), Bytes(2048)) << "cleared after its decryption";
  EXPECT_EQ(board.swiotlb->usage().io_tlb_used_hiwater, 514u);
}

TEST_F(SwiotlbGuestGrowth, TheWorkerReportsThatItFailed) {
  ASSERT_FALSE(board.map(grown_buffer, 4096));
  while (board.mm->page_allocator().allocate(256)) {
  }
  EXPECT_FALSE(board.swiotlb->run_worker(board.cpu()));
  EXPECT_EQ(board.messages().back(), "software IO TLB: Failed to allocate new pool");
}

// ---- dynamic pools --------------------------------------------------------------------------------------

TEST(SwiotlbGrowth, PoolsOfTheWorkerAreAtMostABlockOfThePageAllocator) {
  SwiotlbBoardConfig config = host(KernelVersion::v6_10);
  config.parameter = "4096,4,force";
  config.cpus = 4;
  SwiotlbBoard board{config};
  for (int i = 0; i < 33; ++i) ASSERT_TRUE(board.map(grown_buffer, 262144));
  ASSERT_TRUE(board.swiotlb->run_worker(board.cpu()));
  EXPECT_EQ(board.swiotlb->usage().io_tlb_nslabs, 4096u + 2048);
}

TEST(SwiotlbGrowth, SearchesNewerPoolsFirst) {
  for (const KernelVersion version : growing_versions) {
    SwiotlbBoard board{host(version)};
    fill(board);
    ASSERT_TRUE(board.map(grown_buffer, 512));
    ASSERT_TRUE(board.swiotlb->run_worker(board.cpu()));
    board.unmap(board.swiotlb->default_pool().first, 262144);
    EXPECT_FALSE(board.swiotlb->default_pool().contains(board.map(grown_buffer, 512).value(), 1));
  }
}

// 6.10 asks all pools for the CPU's own area before it asks any for another; 6.6 finishes with a pool first.
TEST(SwiotlbGrowth, In610PrefersTheCpusOwnAreaToANewerPool) {
  for (const KernelVersion version : growing_versions) {
    SwiotlbBoardConfig config = host(version);
    config.parameter = "512,2,force";
    config.cpus = 2;
    SwiotlbBoard board{config};
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(board.map(grown_buffer, 262144));  // the last is transient
    ASSERT_TRUE(board.swiotlb->run_worker(board.cpu()));
    for (int i = 0; i < 2; ++i) ASSERT_TRUE(board.map(grown_buffer, 262144, Direction::to_device, {}, 1));
    board.unmap(board.swiotlb->default_pool().first + 256 * 2048, 262144);  // area 1
    const PhysAddr bounce = board.map(grown_buffer, 512, Direction::to_device, {}, 1).value();
    EXPECT_EQ(board.swiotlb->default_pool().contains(bounce, 1), version == KernelVersion::v6_10);
  }
}

// On an SME host the pages are decrypted for the pool and encrypted again afterwards.
TEST(SwiotlbGrowth, LeaksPagesThatCannotBeEncryptedAgain) {
  SwiotlbBoard board{{.platform = Platform::sme, .version = KernelVersion::v6_10, .dynamic = true}};
  fill(board);
  const std::uint64_t before = board.mm->page_allocator().free_pages();
  const auto bounce = board.map(grown_buffer, 4096);
  ASSERT_TRUE(bounce);
  EXPECT_EQ(board.device_sees(*bounce, 4096), board.seen(grown_buffer, 4096));
  board.mm->fail_conversion_after(1);
  board.unmap(*bounce, 4096);
  EXPECT_EQ(board.mm->page_allocator().free_pages(), before - 1);
}

TEST(SwiotlbGrowth, In66ReturnsPagesThatCouldNotBeDecrypted) {
  for (const KernelVersion version : growing_versions) {
    SwiotlbBoard board{{.platform = Platform::sme, .version = version, .dynamic = true}};
    fill(board);
    const std::uint64_t before = board.mm->page_allocator().free_pages();
    board.mm->fail_conversion_after(1);
    EXPECT_FALSE(board.map(grown_buffer, 4096));
    EXPECT_EQ(board.mm->page_allocator().free_pages(), before);
  }
}

// ---- restricted pools -----------------------------------------------------------------------------------

TEST(SwiotlbRestricted, ServesStreamingMappingsAndCoherentMemory) {
  SwiotlbBoard board;
  const auto pool = Swiotlb::create_restricted(*board.mm, board.cc, KernelVersion::v6_1, 1 << 20).value();
  EXPECT_TRUE(pool->force_bounce());
  EXPECT_TRUE(pool->for_alloc());
  EXPECT_FALSE(board.swiotlb->for_alloc());
  EXPECT_EQ(pool->usage().areas, 1u);
  EXPECT_THAT(board.messages().back(), HasSubstr("created restricted DMA pool at 0x0000000"));
  EXPECT_EQ(board.device_sees(pool->default_pool().first, 2048), Bytes(2048))
      << "cleared after its decryption";

  const auto page = pool->alloc(board.cpu(), board.dev, 8192);
  ASSERT_TRUE(page);
  EXPECT_TRUE(page->is_aligned(page_size));
  EXPECT_EQ(pool->usage().io_tlb_used, 4u);
  const auto bounce =
      pool->tbl_map_single(board.cpu(), board.dev, grown_buffer, 512, 512, 0, Direction::to_device, {});
  ASSERT_TRUE(bounce);
  EXPECT_FALSE(board.swiotlb->contains(board.dev, *bounce));
  EXPECT_TRUE(pool->free(board.cpu(), board.dev, *page, 8192));
  EXPECT_EQ(pool->usage().io_tlb_used, 1u);
}

TEST(SwiotlbRestricted, RefusesCoherentMemoryWithoutAMessage) {
  for (const KernelVersion version : versions) {
    SwiotlbBoard board{{.version = version}};
    const auto pool = Swiotlb::create_restricted(*board.mm, board.cc, version, 1 << 20).value();
    board.log.clear();
    for (const std::uint64_t bytes : {std::uint64_t{266240}, ~std::uint64_t{0} - 4095})
      EXPECT_EQ(pool->alloc(board.cpu(), board.dev, bytes), std::nullopt);
    EXPECT_THAT(board.log.all<SwiotlbFull>(), SizeIs(2));
    EXPECT_THAT(board.messages(), testing::IsEmpty());
  }
}

TEST(SwiotlbRestricted, CannotBeMadeFromNothing) {
  SwiotlbBoard board;
  for (const std::uint64_t bytes :
       {std::uint64_t{0}, std::uint64_t{2047}, std::uint64_t{1} << 40, ~std::uint64_t{0}}) {
    const auto refused = Swiotlb::create_restricted(*board.mm, board.cc, KernelVersion::v6_1, bytes);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().kind, FaultKind::no_memory);
  }
  EXPECT_TRUE(Swiotlb::create_restricted(*board.mm, board.cc, KernelVersion::v6_1, 2048));
}

// 6.1's stride starts the next run at slot 2; 6.6.35 and 6.10 want a page.
TEST(SwiotlbRestricted, CoherentMemoryOverlapsNoMapping) {
  for (const KernelVersion version : versions) {
    SwiotlbBoard board{{.version = version}};
    const auto pool = Swiotlb::create_restricted(*board.mm, board.cc, version, 1 << 20).value();
    const PhysAddr bounce =
        pool->tbl_map_single(board.cpu(), board.dev, grown_buffer, 512, 512, 0, Direction::to_device, {})
            .value();
    EXPECT_NE(pool->alloc(board.cpu(), board.dev, 4096).value(), bounce.page());
  }
}

// "swiotlb: Honour dma_alloc_coherent() alignment in swiotlb_alloc()" is in 6.6.y, too.
TEST(SwiotlbRestricted, From66OnCoherentMemoryIsAlignedToItsOrder) {
  for (const KernelVersion version : growing_versions) {
    SwiotlbBoard board{{.version = version}};
    const auto pool = Swiotlb::create_restricted(*board.mm, board.cc, version, 1 << 20).value();
    ASSERT_TRUE(pool->alloc(board.cpu(), board.dev, 4096));
    EXPECT_TRUE(pool->alloc(board.cpu(), board.dev, 12288)->is_aligned(16384));
  }
}

}  // namespace
}  // namespace cbit::kernel
