// The DMA API behind an IOMMU: where the C-bit lives, who bounces, and what an encrypted guest gets out of
// it.
#include <gmock/gmock.h>

#include "unit/system/kernel/dma_board.hpp"

namespace cbit::kernel {
namespace {

using Direction = DmaDirection;
using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr DmaConfig strictly_translated{.iommu = IommuMode::translated, .iommu_strict = true};
constexpr std::uint64_t odd_length = 1000;

DmaConfig translated_by(KernelVersion version) {
  return {.version = version, .iommu = IommuMode::translated};
}

bool leaf_encrypted(const Device& dev, DmaAddr dma) { return dev.iommu->domain->peek(dma, false)->encrypted; }

// ---- default domains -------------------------------------------------------------------------------------

TEST(DmaIommu, EncryptionTurnsTheConfiguredPassthroughIntoTranslation) {
  const DmaConfig by_default{.iommu = IommuMode::passthrough, .iommu_explicit = false};
  const DmaConfig by_command_line{.iommu = IommuMode::passthrough, .iommu_explicit = true};
  const auto mode = [](Platform platform, const DmaConfig& config) {
    return DmaBoard{platform, config}.dma().effective_iommu();
  };
  EXPECT_EQ(mode(Platform::sme, by_default), IommuMode::translated);
  EXPECT_EQ(mode(Platform::sev, by_default), IommuMode::translated);
  EXPECT_EQ(mode(Platform::plain, by_default), IommuMode::passthrough);
  EXPECT_EQ(mode(Platform::sme, by_command_line), IommuMode::passthrough);
  EXPECT_EQ(mode(Platform::sme, {}), IommuMode::none);
}

TEST(DmaIommu, PassthroughBouncesALimitedSmeDeviceAsWithoutIommu) {
  DmaBoard board{Platform::sme, {.iommu = IommuMode::passthrough}};
  Device& dev = board.add_device(32);
  ASSERT_EQ(dev.iommu, nullptr);
  bus::DmaPort port = board.port(dev, 32);
  const KernelBuffer b = board.buffer(odd_length, 1);
  const DmaAddr dma = board.dma().map_single(board.cpu(), dev, b.at, b.bytes, Direction::to_device);
  EXPECT_TRUE(board.bounced(dev, dma));
  EXPECT_EQ(board.read_by(port, dma, odd_length), board.seen(b));
  EXPECT_EQ(board.raw(board.target(dev, dma), odd_length), board.seen(b));
}

TEST(DmaIommu, PassthroughHandsTheCBitOnToMemory) {
  DmaBoard board{Platform::sme, {.iommu = IommuMode::passthrough}};
  Device& dev = board.add_device(64);
  bus::DmaPort port = board.port(dev);
  const KernelBuffer b = board.buffer(odd_length, 1);
  const DmaAddr dma = board.dma().map_single(board.cpu(), dev, b.at, b.bytes, Direction::to_device);
  EXPECT_EQ(dma.value(), b.phys.value() | c_bit_47);
  EXPECT_EQ(board.read_by(port, dma, odd_length), board.seen(b));
}

TEST(DmaIommu, TranslatesUntrustedDevicesEvenWithPassthrough) {
  DmaBoard board{Platform::plain, {.iommu = IommuMode::passthrough}};
  EXPECT_EQ(board.add_device(64).iommu, nullptr);
  EXPECT_NE(board.add_device(64, 64, true).iommu, nullptr);
}

TEST(DmaIommu, BlocksADeviceThatWasNeverConfigured) {
  DmaBoard board{Platform::plain, strictly_translated};
  Device stranger;
  stranger.requester = 0x1234;
  Bytes data(16);
  EXPECT_EQ(board.port(stranger).read(DmaAddr{0x100000}, data).error().kind, FaultKind::iommu_no_domain);
}

TEST(DmaIommu, LetsGoOfTheDeviceTableWithTheKernel) {
  DmaBoard board{Platform::plain, strictly_translated};
  Device& dev = board.add_device();
  const RequesterId requester = dev.requester;
  EXPECT_NE(board.machine->iommu()->domain_of(requester), nullptr);
  board.kernel.reset();
  EXPECT_EQ(board.machine->iommu()->domain_of(requester), nullptr);
}

// ---- trusted devices -------------------------------------------------------------------------------------

TEST(DmaIommu, ALimitedSmeDeviceReachesEncryptedMemoryWithoutBouncing) {
  DmaBoard board{Platform::sme, strictly_translated};
  Device& dev = board.add_device(32);
  bus::DmaPort port = board.port(dev, 32);
  const KernelBuffer b = board.buffer(pattern_bytes(odd_length, 2), PhysAddr{6 * gib});
  const DmaAddr dma = board.dma().map_single(board.cpu(), dev, b.at + 0x123, 500, Direction::to_device);
  ASSERT_NE(dma, dma_mapping_error);
  EXPECT_LT(dma.value(), 4 * gib);
  EXPECT_EQ(dma.page_offset(), 0x123u);
  EXPECT_TRUE(leaf_encrypted(dev, dma));
  EXPECT_EQ(board.target(dev, dma), b.phys + 0x123);
  EXPECT_EQ(board.slots_used(), 0u);
  EXPECT_EQ(board.read_by(port, dma, 500), board.seen(b.at + 0x123, 500));
  EXPECT_NE(board.raw(b.phys, odd_length), board.seen(b));
}

TEST(DmaIommu, GivesTheDeviceTheRightsOfTheDirectionAndInStrictModeOnlyWhileMapped) {
  DmaBoard board{Platform::plain, {.iommu = IommuMode::translated, .iommu_strict = true}};
  Device& dev = board.add_device();
  bus::DmaPort port = board.port(dev);
  const KernelBuffer b = board.buffer(odd_length, 3);
  Bytes data(16);
  const DmaAddr read_only = board.dma().map_single(board.cpu(), dev, b.at, odd_length, Direction::to_device);
  EXPECT_TRUE(port.read(read_only, data));
  EXPECT_EQ(port.write(read_only, data).error().kind, FaultKind::iommu_protection);
  const DmaAddr write_only =
      board.dma().map_single(board.cpu(), dev, b.at, odd_length, Direction::from_device);
  EXPECT_TRUE(port.write(write_only, data));
  EXPECT_EQ(port.read(write_only, data).error().kind, FaultKind::iommu_protection);
  board.dma().unmap_single(board.cpu(), dev, write_only, odd_length, Direction::from_device);
  EXPECT_EQ(port.write(write_only, data).error().kind, FaultKind::iommu_not_present);
}

// ---- lazy invalidation: queue_iova() and fq_flush_timeout() ----------------------------------------------

constexpr DmaConfig translated_by_default{.iommu = IommuMode::translated};

struct LazyBoard {
  explicit LazyBoard(Platform platform = Platform::plain, DmaConfig config = translated_by_default,
                     bool untrusted = false)
      : board{platform, config}, dev{board.add_device(64, 64, untrusted)}, port{board.port(dev)} {}

  DmaAddr map_and_unmap() {
    const DmaAddr dma =
        board.dma().map_single(board.cpu(), dev, buffer.at, page_size, Direction::from_device);
    board.dma().unmap_single(board.cpu(), dev, dma, page_size, Direction::from_device);
    return dma;
  }
  bool lands(DmaAddr dma) { return port.write(dma, pattern_bytes(page_size, 9)).has_value(); }

  DmaBoard board;
  Device& dev;
  bus::DmaPort port;
  KernelBuffer buffer = board.buffer(page_size, 1);
};

TEST(DmaIommuLazy, AnAccessAfterUnmapLandsUntilTheTimerFlushes) {
  LazyBoard lazy;
  const DmaAddr dma = lazy.map_and_unmap();
  EXPECT_TRUE(lazy.lands(dma));
  EXPECT_EQ(lazy.board.seen(lazy.buffer), pattern_bytes(page_size, 9));
  Bytes data(16);
  EXPECT_FALSE(lazy.port.read(dma, data)) << "the rights are those of the entry";
  EXPECT_EQ(lazy.board.dma().reach(lazy.dev, dma).path, DmaPath::iommu);
  lazy.board.machine->clock().advance(9'000'000);
  EXPECT_TRUE(lazy.lands(dma));
  lazy.board.machine->clock().advance(2'000'000);
  EXPECT_FALSE(lazy.lands(dma));
}

TEST(DmaIommuLazy, AnIovaIsNobodysUntilTheFlush) {
  LazyBoard lazy;
  const DmaAddr first = lazy.map_and_unmap();
  EXPECT_NE(lazy.map_and_unmap(), first);
  lazy.board.machine->clock().advance(iova_fq_timeout_ns);
  EXPECT_EQ(lazy.map_and_unmap(), first);
}

TEST(DmaIommuLazy, AFullQueueFlushesAtOnce) {
  LazyBoard lazy;
  const DmaAddr first = lazy.map_and_unmap();
  for (std::size_t i = 2; i < iova_fq_size; ++i) lazy.map_and_unmap();
  EXPECT_TRUE(lazy.lands(first));
  const DmaAddr last = lazy.map_and_unmap();
  EXPECT_FALSE(lazy.lands(first));
  EXPECT_FALSE(lazy.lands(last)) << "the flush is of the whole domain";
}

TEST(DmaIommuLazy, IsNotForUntrustedDevicesNorForEmulatedIommusNorWithIommuStrict) {
  LazyBoard untrusted{Platform::plain, translated_by_default, true};
  EXPECT_FALSE(untrusted.lands(untrusted.map_and_unmap()));
  LazyBoard guest{Platform::sev};
  EXPECT_FALSE(guest.lands(guest.map_and_unmap())) << "iommu_init_pci(): IOMMU_CAP_NPCACHE";
  LazyBoard strict{Platform::sme, {.iommu = IommuMode::translated, .iommu_strict = true}};
  EXPECT_FALSE(strict.lands(strict.map_and_unmap()));
}

TEST(DmaIommu, KeepsDevicesOutOfEachOthersDomains) {
  DmaBoard board{Platform::plain, strictly_translated};
  Device& dev = board.add_device();
  Device& other = board.add_device();
  const KernelBuffer b = board.buffer(odd_length, 4);
  const DmaAddr dma = board.dma().map_single(board.cpu(), dev, b.at, odd_length, Direction::bidirectional);
  Bytes data(16);
  EXPECT_EQ(board.port(other).read(dma, data).error().kind, FaultKind::iommu_not_present);
}

TEST(DmaIommu, NeverGivesAddressesOfMmioAsIovas) {
  DmaBoard board{Platform::plain, strictly_translated};
  Device& dev = board.add_device();
  const KernelBuffer b = board.buffer(odd_length, 4);
  std::vector<std::uint64_t> first;
  for (int i = 0; i < 6000; ++i) {
    const DmaAddr dma = board.dma().map_page(board.cpu(), dev, b.phys, 1, Direction::to_device);
    ASSERT_FALSE(dma >= DmaAddr{machine::pci_hole.value()} && dma < DmaAddr{0xfec0'0000}) << dma.value();
    ASSERT_FALSE(dma >= DmaAddr{0xfee0'0000} && dma < DmaAddr{0xfef0'0000}) << dma.value();
  }
}

TEST(DmaIommu, NeverDecryptsCoherentMemory) {
  DmaBoard board{Platform::sme, strictly_translated};
  Device& dev = board.add_device(32);
  bus::DmaPort port = board.port(dev, 32);
  for (const bool atomic : {false, true})
    for (const DmaAttrs attrs : {DmaAttrs{}, dma_attr::force_contiguous, dma_attr::alloc_single_pages}) {
      const auto buffer = board.dma().alloc(board.cpu(), dev, 5 * page_size, atomic, attrs).value();
      EXPECT_EQ(board.seen(buffer.cpu, buffer.bytes), Bytes(buffer.bytes));
      EXPECT_TRUE(leaf_encrypted(dev, buffer.dma));
      EXPECT_EQ(board.kernel->mm().in_direct_map(buffer.cpu), atomic || attrs == dma_attr::force_contiguous);
      const Bytes from_cpu = pattern_bytes(buffer.bytes, 5);
      ASSERT_TRUE(board.cpu().write(buffer.cpu, from_cpu));
      EXPECT_EQ(board.read_by(port, buffer.dma, buffer.bytes), from_cpu);
      EXPECT_NE(board.raw(board.target(dev, buffer.dma), page_size), board.seen(buffer.cpu, page_size));
      const Bytes from_device = pattern_bytes(buffer.bytes, 6);
      ASSERT_TRUE(port.write(buffer.dma, from_device));
      EXPECT_EQ(board.seen(buffer.cpu, buffer.bytes), from_device);

      auto user = board.kernel->mm().create_user_space().value();
      const VirtAddr at = board.dma().mmap(dev, *user, buffer).value();
      EXPECT_EQ(board.seen_by(user->mmu(), at, buffer.bytes), from_device);
      board.dma().free(board.cpu(), dev, buffer);
    }
  EXPECT_THAT(board.log.all<PageConversion>(), IsEmpty());
  EXPECT_THAT(board.complaints(), IsEmpty());
}

TEST(DmaIommu, GivesBackAllPagesAndIovasOfCoherentMemory) {
  DmaBoard board{Platform::sme, strictly_translated};
  Device& dev = board.add_device(32);
  const auto cycle = [&] {
    const auto buffer = board.dma().alloc(board.cpu(), dev, 100 * page_size).value();
    board.dma().free(board.cpu(), dev, buffer);
    return buffer.dma;
  };
  const DmaAddr first = cycle();
  const std::uint64_t free_pages = board.kernel->mm().page_allocator().free_pages();
  EXPECT_EQ(cycle(), first);
  EXPECT_EQ(board.kernel->mm().page_allocator().free_pages(), free_pages);
}

TEST(DmaIommu, MapsMmioWithTheCBitAsWell) {
  DmaBoard board{Platform::sme, strictly_translated};
  Device& dev = board.add_device();
  const mem::PhysRange bar = board.machine->add_bar(std::make_unique<bus::RamBar>(page_size), page_size);
  const DmaAddr dma =
      board.dma().map_resource(board.cpu(), dev, bar.first, page_size, Direction::bidirectional);
  EXPECT_TRUE(leaf_encrypted(dev, dma));
  board.dma().unmap_resource(board.cpu(), dev, dma, page_size, Direction::bidirectional);
  EXPECT_FALSE(dev.iommu->domain->peek(dma, false));
}

TEST(DmaIommu, ReachesMmioOfAnotherDeviceWithoutEncryption) {
  DmaBoard board{Platform::plain, strictly_translated};
  Device& dev = board.add_device();
  bus::DmaPort port = board.port(dev);
  const mem::PhysRange bar = board.machine->add_bar(std::make_unique<bus::RamBar>(page_size), page_size);
  const DmaAddr dma =
      board.dma().map_resource(board.cpu(), dev, bar.first, page_size, Direction::bidirectional);
  const Bytes data = pattern_bytes(64, 7);
  ASSERT_TRUE(port.write(dma, data));
  EXPECT_EQ(board.read_by(port, dma, 64), data);
}

// ---- encrypted guests behind a virtual IOMMU -------------------------------------------------------------

TEST(DmaIommu, AGuestHandsPrivatePagesToADeviceThatReadsCiphertext) {
  for (const Platform platform : {Platform::sev, Platform::sev_es}) {
    DmaBoard board{platform, strictly_translated};
    Device& dev = board.add_device();
    bus::DmaPort port = board.port(dev);
    const KernelBuffer b = board.buffer(odd_length, 8);
    const DmaAddr dma = board.dma().map_single(board.cpu(), dev, b.at, odd_length, Direction::bidirectional);
    ASSERT_NE(dma, dma_mapping_error);
    EXPECT_EQ(board.slots_used(), 0u);
    EXPECT_EQ(board.target(dev, dma), b.phys);
    EXPECT_EQ(board.read_by(port, dma, odd_length), board.raw(b.phys, odd_length));
    EXPECT_NE(board.read_by(port, dma, odd_length), board.seen(b));
    EXPECT_TRUE(board.decided("iommu_dma_map_page", {"SWIOTLB_FORCE is not consulted"}));

    const Bytes data = pattern_bytes(odd_length, 9);
    ASSERT_TRUE(port.write(dma, data));
    EXPECT_NE(board.seen(b), data);
  }
}

TEST(DmaIommu, AGuestsCoherentMemoryStaysPrivate) {
  DmaBoard board{Platform::sev, strictly_translated};
  Device& dev = board.add_device();
  bus::DmaPort port = board.port(dev);
  const auto buffer = board.dma().alloc(board.cpu(), dev, page_size).value();
  ASSERT_TRUE(board.cpu().write(buffer.cpu, pattern_bytes(page_size, 10)));
  EXPECT_NE(board.read_by(port, buffer.dma, page_size), board.seen(buffer.cpu, page_size));
  EXPECT_THAT(board.log.all<PageConversion>(), IsEmpty());
}

TEST(DmaIommu, AGuestWithPassthroughBouncesAsAlways) {
  DmaBoard board{Platform::sev, {.iommu = IommuMode::passthrough}};
  Device& dev = board.add_device();
  bus::DmaPort port = board.port(dev);
  const KernelBuffer b = board.buffer(odd_length, 11);
  const DmaAddr dma = board.dma().map_single(board.cpu(), dev, b.at, odd_length, Direction::to_device);
  EXPECT_TRUE(board.bounced(dev, dma));
  EXPECT_EQ(board.read_by(port, dma, odd_length), board.seen(b));
}

// ---- untrusted devices -----------------------------------------------------------------------------------

class DmaUntrusted : public testing::TestWithParam<KernelVersion> {};
INSTANTIATE_TEST_SUITE_P(Versions, DmaUntrusted,
                         testing::Values(KernelVersion::v6_1, KernelVersion::v6_6, KernelVersion::v6_10));

TEST_P(DmaUntrusted, SeesNothingButItsDataOfAPageItShares) {
  DmaBoard board{Platform::plain, translated_by(GetParam())};
  Device& dev = board.add_device(64, 64, true);
  bus::DmaPort port = board.port(dev);
  const KernelBuffer b = board.buffer(page_size, 12);
  // A neighbour's secret, left in the pool by an earlier mapping of a whole page.
  const DmaAddr before =
      board.dma().map_single(board.cpu(), dev, b.at + 1, page_size - 1, Direction::to_device);
  board.dma().unmap_single(board.cpu(), dev, before, page_size - 1, Direction::to_device);
  dev.iommu->iova = iommu::IovaAllocator{};

  const DmaAddr dma = board.dma().map_single(board.cpu(), dev, b.at + 256, 100, Direction::to_device);
  ASSERT_NE(dma, dma_mapping_error);
  EXPECT_TRUE(board.bounced(dev, dma));
  Bytes page = board.read_by(port, dma.page(), page_size);
  const std::uint64_t at = dma.page_offset();
  EXPECT_EQ(Bytes(page.begin() + static_cast<std::ptrdiff_t>(at),
                  page.begin() + static_cast<std::ptrdiff_t>(at) + 100),
            board.seen(b.at + 256, 100));
  std::fill_n(page.begin() + static_cast<std::ptrdiff_t>(at), 100, std::byte{0});
  EXPECT_EQ(page, Bytes(page_size)) << "padding must not hold anybody's data";
}

TEST_P(DmaUntrusted, LosesOrKeepsUnwrittenBytesAccordingToTheVersion) {
  DmaBoard board{Platform::plain, translated_by(GetParam())};
  Device& dev = board.add_device(64, 64, true);
  const KernelBuffer b = board.buffer(512, 13);
  Bytes expected = GetParam() == KernelVersion::v6_10 ? board.seen(b) : Bytes(512);
  const DmaAddr dma = board.dma().map_single(board.cpu(), dev, b.at, 512, Direction::from_device);
  const Bytes data = pattern_bytes(100, 14);
  ASSERT_TRUE(board.port(dev).write(dma, data));
  board.dma().unmap_single(board.cpu(), dev, dma, 512, Direction::from_device);
  std::ranges::copy(data, expected.begin());
  EXPECT_EQ(board.seen(b), expected);
  EXPECT_EQ(board.slots_used(), 0u);
}

TEST_P(DmaUntrusted, KeepsTheDeviceBitsOfTheAddressThatItAsksFor) {
  DmaBoard board{Platform::plain, translated_by(GetParam())};
  Device& dev = board.add_device(64, 64, true);
  dev.min_align_mask = 4095;
  bus::DmaPort port = board.port(dev);
  const KernelBuffer b = board.buffer(2 * page_size, 15);
  const DmaAddr dma = board.dma().map_single(board.cpu(), dev, b.at + 0x234, 5000, Direction::bidirectional);
  ASSERT_NE(dma, dma_mapping_error);
  EXPECT_EQ(dma.value() & 2047, 0x234u);
  EXPECT_EQ(board.read_by(port, dma, 5000), board.seen(b.at + 0x234, 5000));
  const Bytes data = pattern_bytes(5000, 16);
  ASSERT_TRUE(port.write(dma, data));
  board.dma().unmap_single(board.cpu(), dev, dma, 5000, Direction::bidirectional);
  EXPECT_EQ(board.seen(b.at + 0x234, 5000), data);
  EXPECT_EQ(board.slots_used(), 0u);
}

TEST(DmaUntrusted, DoesNotBounceWholePages) {
  DmaBoard board{Platform::plain, strictly_translated};
  Device& dev = board.add_device(64, 64, true);
  const KernelBuffer b = board.buffer(page_size, 17);
  const DmaAddr dma = board.dma().map_single(board.cpu(), dev, b.at, page_size, Direction::to_device);
  EXPECT_EQ(board.target(dev, dma), b.phys);
}

TEST(DmaUntrusted, SyncsItsBounces) {
  DmaBoard board{Platform::plain, strictly_translated};
  Device& dev = board.add_device(64, 64, true);
  bus::DmaPort port = board.port(dev);
  const KernelBuffer b = board.buffer(512, 18);
  const DmaAddr dma = board.dma().map_single(board.cpu(), dev, b.at, 512, Direction::bidirectional);
  const Bytes data = pattern_bytes(512, 19);
  ASSERT_TRUE(port.write(dma, data));
  board.dma().sync_single_for_cpu(board.cpu(), dev, dma, 512, Direction::bidirectional);
  EXPECT_EQ(board.seen(b), data);
  const Bytes reply = pattern_bytes(512, 20);
  ASSERT_TRUE(board.cpu().write(b.at, reply));
  board.dma().sync_single_for_device(board.cpu(), dev, dma, 512, Direction::bidirectional);
  EXPECT_EQ(board.read_by(port, dma, 512), reply);
}

TEST(DmaUntrusted, SeesCiphertextOnAnSmeHost) {
  // An erratum of the kernels that are modelled: the CPU writes the pool without C-bit, the IOMMU's entry has
  // it.
  DmaBoard board{Platform::sme, strictly_translated};
  Device& dev = board.add_device(64, 64, true);
  bus::DmaPort port = board.port(dev);
  const KernelBuffer b = board.buffer(512, 21);
  const DmaAddr dma = board.dma().map_single(board.cpu(), dev, b.at, 512, Direction::to_device);
  EXPECT_TRUE(board.bounced(dev, dma));
  EXPECT_TRUE(leaf_encrypted(dev, dma));
  EXPECT_EQ(board.raw(board.target(dev, dma), 512), board.seen(b));
  EXPECT_NE(board.read_by(port, dma, 512), board.seen(b));
}

TEST(DmaUntrusted, FailsToMapPartsOfPagesWithoutSwiotlb) {
  DmaBoard board{Platform::plain, {.swiotlb = {.no_force = true}, .iommu = IommuMode::translated}};
  Device& dev = board.add_device(64, 64, true);
  const KernelBuffer b = board.buffer(512, 22);
  EXPECT_EQ(board.dma().map_single(board.cpu(), dev, b.at, 512, Direction::to_device), dma_mapping_error);
  EXPECT_THAT(board.messages(),
              Contains("DMA bounce buffers are inactive, unable to map unaligned transaction."));
  EXPECT_THAT(board.failures(), ElementsAre(DmaFailure::no_pool));
}

TEST(DmaUntrusted, BouncesEachEntryOfAScatterlist) {
  DmaBoard board{Platform::plain, strictly_translated};
  Device& dev = board.add_device(64, 64, true);
  bus::DmaPort port = board.port(dev);
  const KernelBuffer b = board.buffer(2 * page_size, 23);
  std::vector<ScatterEntry> sg{{.phys = b.phys + 8, .length = page_size - 8},
                               {.phys = b.phys + page_size, .length = 100}};
  ASSERT_EQ(board.dma().map_sg(board.cpu(), dev, sg, Direction::to_device), 2u);
  EXPECT_TRUE(board.bounced(dev, sg[0].dma));
  EXPECT_TRUE(board.bounced(dev, sg[1].dma));
  EXPECT_EQ(board.read_by(port, sg[1].dma, 100), board.seen(b.at + page_size, 100));
  board.dma().unmap_sg(board.cpu(), dev, sg, Direction::to_device);
  EXPECT_EQ(board.slots_used(), 0u);
  EXPECT_THAT(board.complaints(), IsEmpty());

  sg[1].length = (300 << 10) + 1;
  EXPECT_EQ(board.dma().map_sgtable(board.cpu(), dev, sg, Direction::to_device).error(), Errno::eio);
  EXPECT_EQ(board.slots_used(), 0u);
}

TEST(DmaUntrusted, IsLimitedToTheLargestBounce) {
  DmaBoard board{Platform::plain, strictly_translated};
  EXPECT_EQ(board.dma().max_mapping_size(board.add_device(64, 64, true)), 262144u);
  EXPECT_EQ(board.dma().max_mapping_size(board.add_device(64)), ~0ull);
}

// iommu_dma_opt_mapping_size(): what the IOVA caches hold, 32 pages.
TEST(DmaIommu, OptimalMappingsAreThoseThatTheIovaCachesHold) {
  DmaBoard behind{Platform::plain, strictly_translated};
  EXPECT_EQ(behind.dma().opt_mapping_size(behind.add_device(64)), 128u << 10);
  DmaBoard direct{Platform::sev};
  Device& dev = direct.add_device(64);
  EXPECT_EQ(direct.dma().opt_mapping_size(dev), direct.dma().max_mapping_size(dev)) << "any that is possible";
}

}  // namespace
}  // namespace cbit::kernel
