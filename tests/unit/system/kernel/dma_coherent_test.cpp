// Coherent memory: which attribute it gets, where it comes from, and what happens when that fails.
#include <gmock/gmock.h>

#include "kernel/dma/direct.hpp"
#include "unit/system/kernel/dma_board.hpp"

namespace cbit::kernel {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::uint64_t two_pages = 8192;

Bytes zeros(std::uint64_t bytes) { return Bytes(bytes); }

// Writes through the CPU and the device, and expects each to see what the other wrote.
void expect_consistent(DmaBoard& board, bus::DmaPort& port, const CoherentBuffer& buffer) {
  const Bytes from_cpu = pattern_bytes(buffer.bytes, 101);
  ASSERT_TRUE(board.cpu().write(buffer.cpu, from_cpu));
  EXPECT_EQ(board.read_by(port, buffer.dma, buffer.bytes), from_cpu);
  const Bytes from_device = pattern_bytes(buffer.bytes, 102);
  ASSERT_TRUE(port.write(buffer.dma, from_device));
  EXPECT_EQ(board.seen(buffer.cpu, buffer.bytes), from_device);
}

PhysAddr phys_of(DmaBoard& board, const CoherentBuffer& buffer) {
  return board.kernel->mm().virt_to_phys(buffer.cpu);
}

// ---- the attribute ---------------------------------------------------------------------------------------

TEST(DmaCoherent, StaysEncryptedForASmeDeviceThatReachesTheCBit) {
  DmaBoard board{Platform::sme};
  Device& dev = board.add_device();
  bus::DmaPort port = board.port(dev);
  const auto buffer = board.dma().alloc(board.cpu(), dev, two_pages).value();
  EXPECT_EQ(buffer.dma.value(), phys_of(board, buffer).value() | c_bit_47);
  EXPECT_EQ(board.seen(buffer.cpu, two_pages), zeros(two_pages));
  expect_consistent(board, port, buffer);
  EXPECT_NE(board.raw(phys_of(board, buffer), two_pages), board.seen(buffer.cpu, two_pages));
  EXPECT_THAT(board.log.all<PageConversion>(), IsEmpty());
}

TEST(DmaCoherent, IsDecryptedForASmeDeviceWithASmallMask) {
  for (const unsigned bits : {32u, 47u}) {
    DmaBoard board{Platform::sme};
    Device& dev = board.add_device(bits);
    bus::DmaPort port = board.port(dev, bits);
    const auto buffer = board.dma().alloc(board.cpu(), dev, two_pages).value();
    EXPECT_EQ(buffer.dma.value(), phys_of(board, buffer).value());
    EXPECT_EQ(board.raw(phys_of(board, buffer), two_pages), zeros(two_pages));
    expect_consistent(board, port, buffer);
    EXPECT_EQ(board.raw(phys_of(board, buffer), two_pages), board.seen(buffer.cpu, two_pages));
    EXPECT_TRUE(board.decided("force_dma_unencrypted", {"does not reach the C-bit (47)", "decrypted"}));
  }
}

TEST(DmaCoherent, DependsOnTheCoherentMaskAndStreamingOnTheOther) {
  // Legacy virtio-pci: 64 bits for streaming, 44 for coherent memory.
  DmaBoard board{Platform::sme};
  Device& dev = board.add_device(64, 44);
  bus::DmaPort port = board.port(dev);
  const auto ring = board.dma().alloc(board.cpu(), dev, page_size).value();
  EXPECT_EQ(ring.dma.value() & c_bit_47, 0u);
  expect_consistent(board, port, ring);
  EXPECT_EQ(board.raw(phys_of(board, ring), page_size), board.seen(ring.cpu, page_size));

  const KernelBuffer b = board.buffer(1000, 1);
  const DmaAddr dma = board.dma().map_single(board.cpu(), dev, b.at, b.bytes, DmaDirection::to_device);
  EXPECT_NE(dma.value() & c_bit_47, 0u);
  EXPECT_EQ(board.read_by(port, dma, 1000), board.seen(b));
  EXPECT_NE(board.raw(b.phys, 1000), board.seen(b));
}

class CoherentGuest : public testing::TestWithParam<Platform> {};
INSTANTIATE_TEST_SUITE_P(Platforms, CoherentGuest,
                         testing::Values(Platform::sev, Platform::sev_es, Platform::sev_snp, Platform::tdx));

TEST_P(CoherentGuest, IsSharedAndZeroedThroughTheSharedView) {
  DmaBoard board{GetParam()};
  Device& dev = board.add_device();
  bus::DmaPort port = board.port(dev);
  const auto buffer = board.dma().alloc(board.cpu(), dev, two_pages).value();
  EXPECT_EQ(buffer.dma.value(), phys_of(board, buffer).value());
  EXPECT_EQ(board.seen(buffer.cpu, two_pages), zeros(two_pages));
  EXPECT_EQ(board.raw(phys_of(board, buffer), two_pages), zeros(two_pages));
  expect_consistent(board, port, buffer);
  EXPECT_EQ(board.raw(phys_of(board, buffer), two_pages), board.seen(buffer.cpu, two_pages));
}

TEST_P(CoherentGuest, IsEncryptedAgainWhenItIsFreed) {
  DmaBoard board{GetParam()};
  Device& dev = board.add_device();
  const std::uint64_t free_before = board.kernel->mm().page_allocator().free_pages();
  const auto warm_up = board.dma().alloc(board.cpu(), dev, two_pages).value();
  board.dma().free(board.cpu(), dev, warm_up);
  const std::uint64_t free_after_split = board.kernel->mm().page_allocator().free_pages();
  EXPECT_LE(free_before - free_after_split, 2u)
      << "only the split of a large page of the direct map may stay";

  const auto buffer = board.dma().alloc(board.cpu(), dev, two_pages).value();
  const PhysAddr phys = phys_of(board, buffer);
  board.dma().free(board.cpu(), dev, buffer);
  EXPECT_EQ(board.kernel->mm().page_allocator().free_pages(), free_after_split);
  const Bytes data = pattern_bytes(64, 103);
  ASSERT_TRUE(board.cpu().write(buffer.cpu, data));
  EXPECT_NE(board.raw(phys, 64), data);
  EXPECT_THAT(board.complaints(), IsEmpty());
}

TEST_P(CoherentGuest, MapsIntoAProcessWithTheKernelsAttribute) {
  DmaBoard board{GetParam()};
  Device& dev = board.add_device();
  const auto buffer = board.dma().alloc(board.cpu(), dev, two_pages).value();
  auto user = board.kernel->mm().create_user_space().value();
  const VirtAddr right = board.dma().mmap(dev, *user, buffer).value();
  const Bytes data = pattern_bytes(two_pages, 104);
  ASSERT_TRUE(board.port(dev).write(buffer.dma, data));
  EXPECT_EQ(board.seen_by(user->mmu(), right, two_pages), data);
}

TEST(DmaCoherent, MapsIntoAProcessEncryptedWhereItIsEncrypted) {
  DmaBoard board{Platform::sme};
  for (const unsigned bits : {64u, 32u}) {
    Device& dev = board.add_device(bits);
    const auto buffer = board.dma().alloc(board.cpu(), dev, two_pages).value();
    auto user = board.kernel->mm().create_user_space().value();
    const VirtAddr at = board.dma().mmap(dev, *user, buffer).value();
    const Bytes data = pattern_bytes(two_pages, 104);
    ASSERT_TRUE(board.port(dev).write(buffer.dma, data));
    EXPECT_EQ(board.seen_by(user->mmu(), at, two_pages), data) << bits;
  }
}

TEST(DmaCoherent, LooksLikeNoiseToAProcessWithTheDefaultProtection) {
  DmaBoard board{Platform::sev};
  Device& dev = board.add_device();
  const auto buffer = board.dma().alloc(board.cpu(), dev, two_pages).value();
  auto user = board.kernel->mm().create_user_space().value();
  const VirtAddr wrong = user->remap_pfn_range(phys_of(board, buffer), 2, 1).value();
  const Bytes data = pattern_bytes(two_pages, 105);
  ASSERT_TRUE(board.port(dev).write(buffer.dma, data));
  EXPECT_NE(board.seen_by(user->mmu(), wrong, two_pages), data);
  EXPECT_EQ(board.seen_by(user->mmu(), wrong, two_pages), board.plain(phys_of(board, buffer), two_pages));
}

TEST(DmaCoherent, RefusesToMapWhatIsNoCoherentBuffer) {
  DmaBoard board{Platform::plain};
  Device& dev = board.add_device();
  auto user = board.kernel->mm().create_user_space().value();
  CoherentBuffer buffer = board.dma().alloc(board.cpu(), dev, two_pages).value();
  buffer.bytes = two_pages + 1;
  EXPECT_EQ(board.dma().mmap(dev, *user, buffer).error(), Errno::enxio);
  buffer.bytes = 0;
  EXPECT_EQ(board.dma().mmap(dev, *user, buffer).error(), Errno::enxio);
  buffer = {.cpu = buffer.cpu + page_size, .dma = buffer.dma, .bytes = 1};
  EXPECT_EQ(board.dma().mmap(dev, *user, buffer).error(), Errno::enxio);
}

// ---- where the pages come from ---------------------------------------------------------------------------

TEST(DmaCoherent, ComesFromTheZoneThatTheCoherentMaskReaches) {
  DmaBoard board{Platform::plain};
  const auto top = [&](unsigned bits) {
    return board.dma().alloc(board.cpu(), board.add_device(bits), page_size).value().dma.value() + page_size;
  };
  EXPECT_GT(top(64), 4 * gib);
  EXPECT_LE(top(32), 4 * gib);
  EXPECT_LE(top(24), 16u << 20);
}

TEST(DmaCoherent, FallsBackToLowerZonesWhenTheMaskLiesInsideOne) {
  DmaBoard board{Platform::plain};
  // Occupy ZONE_DMA32 below 1 GiB, so that its first free page is beyond a 28-bit mask.
  PageAllocator& pages = board.kernel->mm().page_allocator();
  while (const auto page = pages.allocate(1, bit_mask(28)))
    if (*page < PhysAddr{16 << 20}) {
      pages.free(*page, 1);
      break;
    }
  Device& dev = board.add_device(28);
  const auto buffer = board.dma().alloc(board.cpu(), dev, page_size).value();
  EXPECT_LT(buffer.dma.value(), 16u << 20);
  EXPECT_TRUE(board.decided("dma_coherent_ok", {"false"}));
}

TEST(DmaCoherent, FailsWhenNoZoneIsBelowTheCoherentMask) {
  DmaBoard board{Platform::plain};
  Device& dev = board.add_device(16);
  EXPECT_EQ(board.dma().alloc(board.cpu(), dev, page_size), std::nullopt);
  EXPECT_THAT(board.failures(), ElementsAre(DmaFailure::coherent_mask));
}

TEST(DmaCoherent, IsAtMostOneBlockOfThePageAllocator) {
  DmaBoard board{Platform::sev};
  Device& dev = board.add_device();
  EXPECT_TRUE(board.dma().alloc(board.cpu(), dev, 4 << 20));
  EXPECT_EQ(board.dma().alloc(board.cpu(), dev, (4 << 20) + 1), std::nullopt);
  EXPECT_THAT(board.failures(), ElementsAre(DmaFailure::no_memory));
}

TEST(DmaCoherent, GivesACookieInsteadOfAMappingWhenAskedTo) {
  DmaBoard board{Platform::sme};
  Device& dev = board.add_device();
  const auto buffer =
      board.dma().alloc(board.cpu(), dev, two_pages, false, dma_attr::no_kernel_mapping).value();
  EXPECT_FALSE(board.kernel->mm().in_direct_map(buffer.cpu));
  EXPECT_FALSE(board.cpu().load<std::uint64_t>(buffer.cpu));
  const std::uint64_t free_pages = board.kernel->mm().page_allocator().free_pages();
  board.dma().free(board.cpu(), dev, buffer, dma_attr::no_kernel_mapping);
  EXPECT_EQ(board.kernel->mm().page_allocator().free_pages(), free_pages + 2);
  EXPECT_THAT(board.complaints(), IsEmpty());
}

TEST(DmaCoherent, IgnoresNoKernelMappingWhereMemoryHasToBeDecrypted) {
  DmaBoard board{Platform::sev};
  Device& dev = board.add_device();
  const auto buffer =
      board.dma().alloc(board.cpu(), dev, two_pages, false, dma_attr::no_kernel_mapping).value();
  EXPECT_EQ(board.seen(buffer.cpu, two_pages), zeros(two_pages));
}

// ---- failures --------------------------------------------------------------------------------------------

TEST(DmaCoherent, LeaksPagesThatCouldNotBeDecrypted) {
  DmaBoard board{Platform::sev};
  Device& dev = board.add_device();
  const std::uint64_t free_pages = board.kernel->mm().page_allocator().free_pages();
  board.kernel->mm().fail_conversion_after(1);
  EXPECT_EQ(board.dma().alloc(board.cpu(), dev, two_pages), std::nullopt);
  EXPECT_LE(board.kernel->mm().page_allocator().free_pages(), free_pages - 2);
  EXPECT_THAT(board.failures(), ElementsAre(DmaFailure::conversion_failed));
}

TEST(DmaCoherent, LeaksPagesThatCouldNotBeEncryptedAgain) {
  DmaBoard board{Platform::sev};
  Device& dev = board.add_device();
  const auto buffer = board.dma().alloc(board.cpu(), dev, two_pages).value();
  const std::uint64_t free_pages = board.kernel->mm().page_allocator().free_pages();
  board.kernel->mm().fail_conversion_after(1);
  board.dma().free(board.cpu(), dev, buffer);
  EXPECT_EQ(board.kernel->mm().page_allocator().free_pages(), free_pages);
  EXPECT_THAT(board.messages(), Contains("leaking DMA memory that can't be re-encrypted"));
}

TEST(DmaCoherent, FreesNothingForAnAddressThatItDidNotGive) {
  DmaBoard board{Platform::sev};
  Device& dev = board.add_device();
  const auto buffer = board.dma().alloc(board.cpu(), dev, two_pages).value();
  const std::uint64_t free_pages = board.kernel->mm().page_allocator().free_pages();
  board.dma().free(board.cpu(), dev, {buffer.cpu + page_size, buffer.dma + page_size, page_size});
  board.dma().free(board.cpu(), dev, {VirtAddr{0x1234}, DmaAddr{0x1234}, 1});
  board.dma().free(board.cpu(), dev, {});
  EXPECT_EQ(board.kernel->mm().page_allocator().free_pages(), free_pages);
  board.dma().free(board.cpu(), dev, buffer);
  board.dma().free(board.cpu(), dev, buffer);
  EXPECT_EQ(board.kernel->mm().page_allocator().free_pages(), free_pages + 2);
}

TEST(DmaCoherent, RefusesSizesThatDoNotExist) {
  DmaBoard board{Platform::sev};
  Device& dev = board.add_device();
  for (const std::uint64_t bytes : {0ull, ~0ull, ~0ull - 4094, ~0ull - 4095, 1ull << 63})
    EXPECT_EQ(board.dma().alloc(board.cpu(), dev, bytes), std::nullopt) << bytes;
}

TEST(DmaCoherent, WarnsOfAMissingCoherentMask) {
  DmaBoard board{Platform::plain};
  Device& dev = board.add_device();
  dev.coherent_dma_mask = 0;
  EXPECT_EQ(board.dma().alloc(board.cpu(), dev, page_size), std::nullopt);
  EXPECT_TRUE(contains(board.messages(), "kernel/dma/mapping.c dma_alloc_attrs"));
}

// ---- atomic pools ----------------------------------------------------------------------------------------

TEST(DmaAtomicPool, Has128KibForEachGibOfFreeMemoryRoundedToABlock) {
  const auto kernel_pool = [](std::uint64_t memory, Platform platform = Platform::plain) {
    DmaBoard board{platform, {}, {.memory_bytes = memory}};
    return board.dma().atomic_pools().kernel;
  };
  EXPECT_EQ(kernel_pool(512ull << 20), 128u << 10);
  EXPECT_EQ(kernel_pool(8 * gib), 1u << 20);
  EXPECT_EQ(kernel_pool(16 * gib), 2u << 20);
  EXPECT_EQ(kernel_pool(256 * gib), 4u << 20) << "no more than a block of the page allocator";
}

TEST(DmaAtomicPool, FollowsCoherentPoolOnTheCommandLine) {
  DmaBoard board{Platform::sev, {.coherent_pool_bytes = 300 << 10}};
  EXPECT_EQ(board.dma().atomic_pools().kernel, 512u << 10);
  EXPECT_EQ(board.dma().atomic_pools().dma, 512u << 10);
  EXPECT_EQ(board.dma().atomic_pools().dma32, 512u << 10);
}

TEST(DmaAtomicPool, ServesCallersThatMayNotSleepWithoutConvertingPages) {
  DmaBoard board{Platform::sev};
  Device& dev = board.add_device();
  bus::DmaPort port = board.port(dev);
  const auto buffer = board.dma().alloc(board.cpu(), dev, two_pages, true).value();
  EXPECT_THAT(board.log.all<PageConversion>(), IsEmpty());
  EXPECT_EQ(board.raw(phys_of(board, buffer), two_pages), zeros(two_pages));
  expect_consistent(board, port, buffer);
  EXPECT_TRUE(board.decided("dma_direct_alloc", {"atomic pool"}));
}

TEST(DmaAtomicPool, IsDecryptedOnSmeHostsAndOnlyUsedForLimitedDevices) {
  DmaBoard board{Platform::sme};
  Device& limited = board.add_device(32);
  bus::DmaPort port = board.port(limited, 32);
  const auto pooled = board.dma().alloc(board.cpu(), limited, two_pages, true).value();
  EXPECT_LT(pooled.dma.value(), 4 * gib);
  expect_consistent(board, port, pooled);
  EXPECT_EQ(board.raw(phys_of(board, pooled), two_pages), board.seen(pooled.cpu, two_pages));

  const auto own = board.dma().alloc(board.cpu(), board.add_device(64), two_pages, true).value();
  EXPECT_NE(own.dma.value() & c_bit_47, 0u) << "nothing to decrypt, so nothing to wait for";
}

TEST(DmaAtomicPool, ZeroesReusedMemory) {
  DmaBoard board{Platform::sev};
  Device& dev = board.add_device();
  const auto first = board.dma().alloc(board.cpu(), dev, two_pages, true).value();
  ASSERT_TRUE(board.port(dev).write(first.dma, pattern_bytes(two_pages, 106)));
  board.dma().free(board.cpu(), dev, first);
  const auto second = board.dma().alloc(board.cpu(), dev, two_pages, true).value();
  EXPECT_EQ(second.cpu, first.cpu);
  EXPECT_EQ(board.seen(second.cpu, two_pages), zeros(two_pages));
  EXPECT_THAT(board.complaints(), IsEmpty());
}

TEST(DmaAtomicPool, TakesFromLowerPoolsAndThenSaysItIsExhausted) {
  DmaBoard board{Platform::sev, {.coherent_pool_bytes = 128 << 10}};
  Device& dev = board.add_device();
  std::vector<CoherentBuffer> buffers;
  for (int i = 0; i < 3; ++i) buffers.push_back(board.dma().alloc(board.cpu(), dev, 128 << 10, true).value());
  EXPECT_GT(buffers[0].dma.value(), 4 * gib);
  EXPECT_LT(buffers[1].dma.value(), 4 * gib);
  EXPECT_LT(buffers[2].dma.value(), 16u << 20);

  EXPECT_EQ(board.dma().alloc(board.cpu(), dev, 1, true, dma_attr::no_warn), std::nullopt);
  EXPECT_THAT(board.messages(), IsEmpty());
  EXPECT_EQ(board.dma().alloc(board.cpu(), dev, 1, true), std::nullopt);
  EXPECT_THAT(board.messages(), ElementsAre("DMA pool exhausted for " + dev.name));
  EXPECT_THAT(board.failures(), ElementsAre(DmaFailure::atomic_pool_empty, DmaFailure::atomic_pool_empty));

  EXPECT_TRUE(board.dma().run_workers(board.cpu()));
  EXPECT_EQ(board.dma().atomic_pools().kernel, 256u << 10);
  EXPECT_TRUE(board.dma().alloc(board.cpu(), dev, 128 << 10, true));
}

// 6.6.87 and 6.10.0 do not tell a pool that is used up from none, and ask nobody whether to warn.
TEST(DmaAtomicPool, In66And610SaysAlwaysThatThereIsNoSuitablePool) {
  for (const KernelVersion version : {KernelVersion::v6_6, KernelVersion::v6_10}) {
    DmaBoard board{Platform::sev, {.version = version, .coherent_pool_bytes = 128 << 10}};
    Device& dev = board.add_device();
    EXPECT_EQ(board.dma().alloc(board.cpu(), dev, 256 << 10, true, dma_attr::no_warn), std::nullopt);
    EXPECT_THAT(board.messages(), ElementsAre("Failed to get suitable pool for " + dev.name));
  }
}

// atomic_pool_expand(): pgprot_decrypted() came to the mapping in September 2025.
TEST(DmaAtomicPool, In66And610TheRemappedPoolIsMappedEncrypted) {
  for (const KernelVersion version :
       {KernelVersion::v6_1, KernelVersion::v6_6, KernelVersion::v6_10, KernelVersion::next}) {
    DmaBoard board{Platform::sev, {.version = version, .direct_remap = true}};
    Device& dev = board.add_device();
    const auto buffer = board.dma().alloc(board.cpu(), dev, page_size, true).value();
    ASSERT_TRUE(board.cpu().write(buffer.cpu, pattern_bytes(page_size, 3)));
    bus::DmaPort port = board.port(dev);
    const bool fixed = version == KernelVersion::v6_1 || version == KernelVersion::next;
    EXPECT_EQ(board.read_by(port, buffer.dma, page_size) == pattern_bytes(page_size, 3), fixed)
        << to_string(version);
  }
}

// has_managed_zone(): all RAM below 4 GiB is ZONE_DMA's and ZONE_DMA32's.
TEST(DmaAtomicPool, InNextThereIsNoneForAZoneWithoutMemory) {
  for (const KernelVersion version : {KernelVersion::v6_10, KernelVersion::next}) {
    DmaBoard small{Platform::sev, {.version = version}, {.memory_bytes = 2 * gib}};
    EXPECT_EQ(small.dma().atomic_pools().kernel == 0, version == KernelVersion::next);
    EXPECT_NE(small.dma().atomic_pools().dma32, 0u);
    Device& dev = small.add_device();
    EXPECT_TRUE(small.dma().alloc(small.cpu(), dev, page_size, true)) << "from another zone's pool";
    DmaBoard large{Platform::sev, {.version = version}};
    EXPECT_NE(large.dma().atomic_pools().kernel, 0u);
  }
}

TEST(DmaAtomicPool, AlignsToTheSizeRoundedUpToAPowerOfTwo) {
  DmaBoard board{Platform::sev, {.coherent_pool_bytes = 128 << 10}};
  Device& dev = board.add_device();
  const auto one = board.dma().alloc(board.cpu(), dev, 4096, true).value();
  const auto three = board.dma().alloc(board.cpu(), dev, 3 * 4096, true).value();
  const auto next = board.dma().alloc(board.cpu(), dev, 4096, true).value();
  EXPECT_EQ(three.dma - one.dma, 4 * page_size);
  EXPECT_EQ(next.dma - one.dma, 1 * page_size);
}

TEST(DmaAtomicPool, IsLeftOutWhereItCannotBeDecrypted) {
  GenPool pool;
  const VirtAddr at{0xffff'8880'0001'0000};
  pool.add(PhysAddr{0x10000}, 4, at);
  EXPECT_FALSE(pool.free(at + 4 * page_size, 1));
  EXPECT_FALSE(pool.allocate(5));
  const auto got = pool.allocate(4);
  ASSERT_TRUE(got);
  EXPECT_EQ(got->page, PhysAddr{0x10000});
  EXPECT_EQ(got->at, at);
  EXPECT_EQ(pool.available_bytes(), 0u);
  EXPECT_FALSE(pool.allocate(1));
  EXPECT_TRUE(pool.free(at, 4));
  EXPECT_EQ(pool.available_bytes(), 4 * page_size);
}

TEST(DmaCoherent, FromARemappedAtomicPoolHasAnAddressOfVmallocAndIsFreedByIt) {
  DmaBoard board{Platform::sev, {.direct_remap = true}};
  Device& dev = board.add_device();
  const auto sizes = board.dma().atomic_pools();
  const auto buffer = board.dma().alloc(board.cpu(), dev, two_pages, true).value();
  EXPECT_FALSE(board.kernel->mm().in_direct_map(buffer.cpu));
  ASSERT_TRUE(board.cpu().write(buffer.cpu, pattern_bytes(two_pages, 3)));
  bus::DmaPort port = board.port(dev);
  EXPECT_EQ(DmaBoard::read_by(port, buffer.dma, two_pages), pattern_bytes(two_pages, 3));
  board.dma().free(board.cpu(), dev, buffer);
  EXPECT_EQ(board.dma().alloc(board.cpu(), dev, two_pages, true)->cpu, buffer.cpu);
  EXPECT_EQ(board.dma().atomic_pools().kernel, sizes.kernel);
}

// ---- restricted pools ------------------------------------------------------------------------------------

TEST(DmaCoherent, ComesFromTheRestrictedPoolOfItsDevice) {
  DmaBoard board{Platform::sev};
  Device& dev = board.add_device();
  const auto pool =
      Swiotlb::create_restricted(board.kernel->mm(), board.kernel->cc(), KernelVersion::v6_1, 4 << 20)
          .value();
  dev.restricted_pool = pool.get();
  bus::DmaPort port = board.port(dev);
  for (const bool atomic : {false, true}) {
    const auto buffer = board.dma().alloc(board.cpu(), dev, two_pages, atomic).value();
    EXPECT_TRUE(pool->contains(dev, phys_of(board, buffer)));
    expect_consistent(board, port, buffer);
  }
}

TEST(DmaCoherent, FreeingRestrictedMemoryEncryptsSlotsThatThePoolGoesOnUsing) {
  // An erratum of the kernels that are modelled: dma_direct_free() encrypts what stays part of a shared pool.
  DmaBoard board{Platform::sev};
  Device& dev = board.add_device();
  const auto pool =
      Swiotlb::create_restricted(board.kernel->mm(), board.kernel->cc(), KernelVersion::v6_1, 256 << 10)
          .value();
  dev.restricted_pool = pool.get();
  bus::DmaPort port = board.port(dev);
  const auto buffer = board.dma().alloc(board.cpu(), dev, 256 << 10).value();
  board.dma().free(board.cpu(), dev, buffer);
  EXPECT_EQ(pool->usage().io_tlb_used, 0u);

  const KernelBuffer b = board.buffer(1000, 107);
  const DmaAddr dma = board.dma().map_single(board.cpu(), dev, b.at, b.bytes, DmaDirection::to_device);
  EXPECT_NE(board.read_by(port, dma, 1000), board.seen(b));
}

}  // namespace
}  // namespace cbit::kernel
