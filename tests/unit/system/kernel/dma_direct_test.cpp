// Streaming mappings of dma-direct, byte by byte: who sees what on which platform.
#include <gmock/gmock.h>

#include "kernel/dma/direct.hpp"
#include "unit/system/kernel/dma_board.hpp"

namespace cbit::kernel {
namespace {

using Direction = DmaDirection;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::uint64_t length = 1000;

bool has_c_bit(DmaAddr dma) { return (dma.value() & c_bit_47) != 0; }

// ---- no encryption ---------------------------------------------------------------------------------------

TEST(DmaDirect, MapsABufferAtItsAddressWithoutEncryption) {
  DmaBoard board{Platform::plain};
  Device& dev = board.add_device();
  const KernelBuffer b = board.buffer(length, 1);
  const DmaAddr dma = board.dma().map_single(board.cpu(), dev, b.at, b.bytes, Direction::to_device);
  EXPECT_EQ(dma.value(), b.phys.value());
  bus::DmaPort port = board.port(dev);
  EXPECT_EQ(board.read_by(port, dma, length), board.seen(b));
  EXPECT_EQ(board.raw(b.phys, length), board.seen(b));
}

TEST(DmaDirect, BouncesABufferAboveTheMaskWithoutEncryption) {
  DmaBoard board{Platform::plain};
  Device& dev = board.add_device(32);
  const KernelBuffer b = board.buffer(pattern_bytes(length, 2), PhysAddr{5 * gib});
  const DmaAddr dma = board.dma().map_single(board.cpu(), dev, b.at, b.bytes, Direction::to_device);
  ASSERT_NE(dma, dma_mapping_error);
  EXPECT_LT(dma.value() + length, 4 * gib);
  EXPECT_TRUE(board.bounced(dev, dma));
  bus::DmaPort port = board.port(dev, 32);
  EXPECT_EQ(board.read_by(port, dma, length), board.seen(b));
  EXPECT_EQ(board.raw(b.phys, length), board.seen(b));
  EXPECT_EQ(board.raw(board.target(dev, dma), length), board.seen(b));
}

TEST(DmaDirect, DoesNotBounceALowBufferOfA32BitDevice) {
  DmaBoard board{Platform::plain};
  Device& dev = board.add_device(32);
  const KernelBuffer b = board.buffer(pattern_bytes(length, 2), PhysAddr{1 * gib});
  const DmaAddr dma = board.dma().map_single(board.cpu(), dev, b.at, b.bytes, Direction::to_device);
  EXPECT_EQ(dma.value(), b.phys.value());
  EXPECT_EQ(board.slots_used(), 0u);
}

// ---- SME -------------------------------------------------------------------------------------------------

TEST(DmaDirect, GivesASmeDeviceThatReachesTheCBitAnAddressWithIt) {
  DmaBoard board{Platform::sme};
  Device& dev = board.add_device();
  const KernelBuffer b = board.buffer(length, 3);
  const DmaAddr dma = board.dma().map_single(board.cpu(), dev, b.at, b.bytes, Direction::to_device);
  EXPECT_EQ(dma.value(), b.phys.value() | c_bit_47);
  bus::DmaPort port = board.port(dev);
  EXPECT_EQ(board.read_by(port, dma, length), board.seen(b));
  EXPECT_NE(board.raw(b.phys, length), board.seen(b));
  EXPECT_EQ(board.slots_used(), 0u);
}

TEST(DmaDirect, EncryptsWhatASmeDeviceWritesThroughTheCBit) {
  DmaBoard board{Platform::sme};
  Device& dev = board.add_device();
  const KernelBuffer b = board.buffer(length, 3);
  const DmaAddr dma = board.dma().map_single(board.cpu(), dev, b.at, b.bytes, Direction::from_device);
  const Bytes data = pattern_bytes(length, 4);
  ASSERT_TRUE(board.port(dev).write(dma, data));
  board.dma().unmap_single(board.cpu(), dev, dma, b.bytes, Direction::from_device);
  EXPECT_EQ(board.seen(b), data);
  EXPECT_NE(board.raw(b.phys, length), data);
}

TEST(DmaDirect, BouncesUnderSmeWhenTheMaskEndsBelowTheCBit) {
  DmaBoard board{Platform::sme};
  Device& dev = board.add_device(47);
  const KernelBuffer b = board.buffer(length, 5);
  const DmaAddr dma = board.dma().map_single(board.cpu(), dev, b.at, b.bytes, Direction::to_device);
  EXPECT_FALSE(has_c_bit(dma));
  EXPECT_TRUE(board.bounced(dev, dma));
  bus::DmaPort port = board.port(dev, 47);
  EXPECT_EQ(board.read_by(port, dma, length), board.seen(b));
  EXPECT_NE(board.raw(b.phys, length), board.seen(b));
  EXPECT_EQ(board.raw(board.target(dev, dma), length), board.seen(b));
  EXPECT_TRUE(board.decided("dma_capable", {"needs 48 bits, the device has 47: false"}));
}

TEST(DmaDirect, DoesNotBounceUnderSmeWhenTheMaskJustReachesTheCBit) {
  DmaBoard board{Platform::sme};
  Device& dev = board.add_device(48);
  const KernelBuffer b = board.buffer(length, 5);
  const DmaAddr dma = board.dma().map_single(board.cpu(), dev, b.at, b.bytes, Direction::to_device);
  EXPECT_TRUE(has_c_bit(dma));
  EXPECT_EQ(board.slots_used(), 0u);
}

TEST(DmaDirect, CopiesBackWhatALimitedSmeDeviceWroteIntoThePool) {
  DmaBoard board{Platform::sme};
  Device& dev = board.add_device(32);
  const KernelBuffer b = board.buffer(length, 6);
  const DmaAddr dma = board.dma().map_single(board.cpu(), dev, b.at, b.bytes, Direction::from_device);
  const Bytes data = pattern_bytes(length, 7);
  const PhysAddr pool = board.target(dev, dma);
  ASSERT_TRUE(board.port(dev).write(dma, data));
  board.dma().unmap_single(board.cpu(), dev, dma, b.bytes, Direction::from_device);
  EXPECT_EQ(board.raw(pool, length), data);
  EXPECT_EQ(board.seen(b), data);
  EXPECT_NE(board.raw(b.phys, length), data);
}

TEST(DmaDirect, ADriverThatUsesRawPhysicalAddressesExchangesCiphertextUnderSme) {
  DmaBoard board{Platform::sme};
  Device& dev = board.add_device();
  bus::DmaPort port = board.port(dev);
  const KernelBuffer b = board.buffer(length, 8);
  const Bytes plain = board.seen(b);
  const DmaAddr raw_address{b.phys.value()};
  EXPECT_EQ(board.read_by(port, raw_address, length), board.raw(b.phys, length));
  EXPECT_NE(board.read_by(port, raw_address, length), plain);

  const Bytes data = pattern_bytes(length, 9);
  ASSERT_TRUE(port.write(raw_address, data));
  EXPECT_EQ(board.raw(b.phys, length), data);
  EXPECT_NE(board.seen(b), data);
}

TEST(DmaDirect, BouncesAccordingToTheBusLimitToo) {
  DmaBoard board{Platform::sme};
  Device& dev = board.add_device(64);
  dev.bus_dma_limit = bit_mask(40);
  const KernelBuffer b = board.buffer(length, 8);
  const DmaAddr dma = board.dma().map_single(board.cpu(), dev, b.at, b.bytes, Direction::to_device);
  EXPECT_TRUE(board.bounced(dev, dma));
}

// ---- encrypted guests ------------------------------------------------------------------------------------

class DmaGuest : public testing::TestWithParam<Platform> {};
INSTANTIATE_TEST_SUITE_P(Platforms, DmaGuest,
                         testing::Values(Platform::sev, Platform::sev_es, Platform::sev_snp, Platform::tdx),
                         [](const auto& platform) {
                           std::string name{to_string(platform.param)};
                           std::erase(name, '-');
                           return name;
                         });

TEST_P(DmaGuest, BouncesEveryMappingOfA64BitDevice) {
  DmaBoard board{GetParam()};
  Device& dev = board.add_device();
  const KernelBuffer b = board.buffer(length, 10);
  const DmaAddr dma = board.dma().map_single(board.cpu(), dev, b.at, b.bytes, Direction::to_device);
  ASSERT_NE(dma, dma_mapping_error);
  EXPECT_FALSE(has_c_bit(dma));
  EXPECT_TRUE(board.bounced(dev, dma));
  bus::DmaPort port = board.port(dev);
  EXPECT_EQ(board.read_by(port, dma, length), board.seen(b));
  EXPECT_NE(board.raw(b.phys, length), board.seen(b));
  EXPECT_EQ(board.raw(board.target(dev, dma), length), board.seen(b));
  EXPECT_TRUE(board.decided("pci_swiotlb_detect", {"SWIOTLB_FORCE"}));
}

TEST_P(DmaGuest, KeepsTheBytesThatTheDeviceDidNotWrite) {
  DmaBoard board{GetParam()};
  Device& dev = board.add_device();
  const KernelBuffer b = board.buffer(512, 11);
  Bytes expected = board.seen(b);
  const Bytes data = pattern_bytes(100, 12);
  const DmaAddr dma = board.dma().map_single(board.cpu(), dev, b.at, b.bytes, Direction::from_device);
  ASSERT_TRUE(board.port(dev).write(dma, data));
  board.dma().unmap_single(board.cpu(), dev, dma, b.bytes, Direction::from_device);
  std::ranges::copy(data, expected.begin());
  EXPECT_EQ(board.seen(b), expected);
}

TEST_P(DmaGuest, SeesNothingOfADeviceWriteBeforeTheSync) {
  DmaBoard board{GetParam()};
  Device& dev = board.add_device();
  const KernelBuffer b = board.buffer(512, 13);
  const Bytes old = board.seen(b);
  const Bytes data = pattern_bytes(512, 14);
  const DmaAddr dma = board.dma().map_single(board.cpu(), dev, b.at, b.bytes, Direction::from_device);
  ASSERT_TRUE(board.port(dev).write(dma, data));
  EXPECT_EQ(board.seen(b), old);
  EXPECT_EQ(board.raw(board.target(dev, dma), 512), data);

  board.dma().sync_single_for_cpu(board.cpu(), dev, dma + 64, 64, Direction::from_device);
  Bytes expected = old;
  std::copy(data.begin() + 64, data.begin() + 128, expected.begin() + 64);
  EXPECT_EQ(board.seen(b), expected);
  EXPECT_EQ(board.complaints(), std::vector<std::string>{});
}

TEST_P(DmaGuest, ADeviceReadsWhatTheBufferHeldWhenItWasMappedOrSynced) {
  DmaBoard board{GetParam()};
  Device& dev = board.add_device();
  bus::DmaPort port = board.port(dev);
  const KernelBuffer b = board.buffer(length, 15);
  const Bytes first = board.seen(b);
  const Bytes second = pattern_bytes(length, 16);
  const DmaAddr dma = board.dma().map_single(board.cpu(), dev, b.at, b.bytes, Direction::to_device);
  ASSERT_TRUE(board.cpu().write(b.at, second));
  EXPECT_EQ(board.seen(b), second);
  EXPECT_EQ(board.read_by(port, dma, length), first);
  board.dma().sync_single_for_device(board.cpu(), dev, dma, length, Direction::to_device);
  EXPECT_EQ(board.read_by(port, dma, length), second);
}

TEST_P(DmaGuest, CopiesBothWaysForABidirectionalMapping) {
  DmaBoard board{GetParam()};
  Device& dev = board.add_device();
  bus::DmaPort port = board.port(dev);
  const KernelBuffer b = board.buffer(length, 17);
  const DmaAddr dma = board.dma().map_single(board.cpu(), dev, b.at, b.bytes, Direction::bidirectional);
  EXPECT_EQ(board.read_by(port, dma, length), board.seen(b));
  const Bytes reply = pattern_bytes(length, 18);
  ASSERT_TRUE(port.write(dma, reply));
  board.dma().unmap_single(board.cpu(), dev, dma, b.bytes, Direction::bidirectional);
  EXPECT_EQ(board.seen(b), reply);
}

TEST_P(DmaGuest, SkipCpuSyncSuppressesTheCopyBackButNotTheCopyIn) {
  DmaBoard board{GetParam()};
  Device& dev = board.add_device();
  bus::DmaPort port = board.port(dev);
  const KernelBuffer b = board.buffer(length, 19);
  const Bytes old = board.seen(b);
  const DmaAddr dma = board.dma().map_single(board.cpu(), dev, b.at, b.bytes, Direction::from_device,
                                             dma_attr::skip_cpu_sync);
  EXPECT_EQ(board.read_by(port, dma, length), old);
  ASSERT_TRUE(port.write(dma, pattern_bytes(length, 20)));
  board.dma().unmap_single(board.cpu(), dev, dma, b.bytes, Direction::from_device, dma_attr::skip_cpu_sync);
  EXPECT_EQ(board.seen(b), old);
  EXPECT_EQ(board.slots_used(), 0u);
  EXPECT_FALSE(board.log.all<DmaUnmapped>().back().copied_back);
}

TEST_P(DmaGuest, BouncesA32BitDeviceAsWell) {
  DmaBoard board{GetParam()};
  Device& dev = board.add_device(32);
  const KernelBuffer b = board.buffer(pattern_bytes(length, 21), PhysAddr{6 * gib});
  const DmaAddr dma = board.dma().map_single(board.cpu(), dev, b.at, b.bytes, Direction::to_device);
  bus::DmaPort port = board.port(dev, 32);
  EXPECT_EQ(board.read_by(port, dma, length), board.seen(b));
}

TEST_P(DmaGuest, RefusesAMappingOverTheSegmentLimitInTheKernelsWords) {
  DmaBoard board{GetParam()};
  Device& dev = board.add_device();
  const KernelBuffer b = board.buffer(262145, 22);
  const DmaAddr fits = board.dma().map_single(board.cpu(), dev, b.at, 262144, Direction::to_device);
  EXPECT_NE(fits, dma_mapping_error);
  EXPECT_EQ(board.slots_used(), 128u);
  board.dma().unmap_single(board.cpu(), dev, fits, 262144, Direction::to_device);

  EXPECT_EQ(board.dma().map_single(board.cpu(), dev, b.at, 262145, Direction::to_device), dma_mapping_error);
  EXPECT_TRUE(contains(board.messages(), "swiotlb buffer is full (sz: 262145 bytes), total "));
  EXPECT_THAT(board.failures(), ElementsAre(DmaFailure::pool_full));
}

TEST_P(DmaGuest, RefusesToBounceAPageOfAnotherDevice) {
  DmaBoard board{GetParam()};
  Device& dev = board.add_device();
  const mem::PhysRange bar = board.machine->add_bar(std::make_unique<bus::RamBar>(page_size), page_size);
  EXPECT_EQ(board.dma().map_page(board.cpu(), dev, bar.first, page_size, Direction::to_device, {}, true),
            dma_mapping_error);
  EXPECT_THAT(board.failures(), ElementsAre(DmaFailure::p2pdma_bounce));
  EXPECT_TRUE(board.decided("dma_direct_map_page", {"P2PDMA"}));
  EXPECT_THAT(board.log.all<SwiotlbBounced>(), IsEmpty());
}

// ---- SWIOTLB switched by hand ----------------------------------------------------------------------------

TEST(DmaDirect, SwiotlbForceBouncesOnAPlainMachine) {
  DmaBoard board{Platform::plain, {.swiotlb = {.force = true}}};
  Device& dev = board.add_device();
  const KernelBuffer b = board.buffer(length, 23);
  const DmaAddr dma = board.dma().map_single(board.cpu(), dev, b.at, b.bytes, Direction::to_device);
  EXPECT_TRUE(board.bounced(dev, dma));
  EXPECT_TRUE(board.decided("setup_io_tlb_npages", {"swiotlb=force"}));
}

TEST(DmaDirect, NoforceInASevGuestHandsOutAddressesThatMeanNothing) {
  DmaBoard board{Platform::sev, {.swiotlb = {.no_force = true}}};
  ASSERT_EQ(board.dma().swiotlb(), nullptr);
  Device& dev = board.add_device();
  const KernelBuffer b = board.buffer(length, 24);
  const DmaAddr dma = board.dma().map_single(board.cpu(), dev, b.at, b.bytes, Direction::to_device);
  EXPECT_EQ(dma.value(), b.phys.value() | c_bit_47);
  Bytes data(length);
  EXPECT_FALSE(board.port(dev).read(dma, data));
}

TEST(DmaDirect, NoforceInASevGuestFailsFora32BitDevice) {
  DmaBoard board{Platform::sev, {.swiotlb = {.no_force = true}}};
  Device& dev = board.add_device(32);
  const KernelBuffer b = board.buffer(pattern_bytes(length, 25), PhysAddr{0x0800'0000});
  EXPECT_EQ(board.dma().map_single(board.cpu(), dev, b.at, 1000, Direction::to_device), dma_mapping_error);
  EXPECT_TRUE(
      contains(board.messages(), "DMA addr 0x0000800008000000+1000 overflow (mask ffffffff, bus limit 0)."));
  EXPECT_THAT(board.failures(), ElementsAre(DmaFailure::mask_overflow));
}

TEST(DmaDirect, WarnsOfAnOverflowOncePerBoot) {
  DmaBoard board{Platform::plain, {.swiotlb = {.no_force = true}}};
  Device& dev = board.add_device(32);
  const KernelBuffer b = board.buffer(pattern_bytes(length, 25), PhysAddr{5 * gib});
  for (int i = 0; i < 2; ++i)
    EXPECT_EQ(board.dma().map_single(board.cpu(), dev, b.at, length, Direction::to_device),
              dma_mapping_error);
  EXPECT_EQ(
      std::ranges::count_if(board.messages(), [](const auto& text) { return text.starts_with("DMA addr"); }),
      1);
  EXPECT_EQ(board.failures().size(), 2u);
}

TEST(DmaDirect, ReleasesABounceThatTheDeviceCannotReach) {
  DmaBoard board{Platform::sev};
  Device& dev = board.add_device(24);
  const KernelBuffer b = board.buffer(length, 26);
  const DmaAddr pool{board.dma().swiotlb()->default_pool().first.value()};
  ASSERT_GT(pool.value(), bit_mask(24)) << "the pool has to lie beyond the device's mask";
  EXPECT_EQ(board.dma().map_single(board.cpu(), dev, b.at, length, Direction::to_device), dma_mapping_error);
  EXPECT_THAT(board.failures(), ElementsAre(DmaFailure::pool_beyond_mask));
  EXPECT_TRUE(contains(board.messages(), "swiotlb addr "));
  EXPECT_TRUE(contains(board.messages(), "+1000 overflow (mask ffffff, bus limit 0)."));
  EXPECT_EQ(board.slots_used(), 0u);
}

TEST(DmaDirect, ARestrictedPoolBouncesItsDeviceOnly) {
  DmaBoard board{Platform::plain};
  Device& dev = board.add_device();
  Device& other = board.add_device();
  const auto pool =
      Swiotlb::create_restricted(board.kernel->mm(), board.kernel->cc(), KernelVersion::v6_1, 4 << 20)
          .value();
  dev.restricted_pool = pool.get();
  const KernelBuffer b = board.buffer(length, 27);
  const DmaAddr dma = board.dma().map_single(board.cpu(), dev, b.at, length, Direction::bidirectional);
  EXPECT_TRUE(pool->contains(dev, PhysAddr{dma.value()}));
  EXPECT_TRUE(board.decided("rmem_swiotlb_device_init", {"restricted-dma-pool"}));
  const DmaAddr direct = board.dma().map_single(board.cpu(), other, b.at, length, Direction::to_device);
  EXPECT_EQ(direct.value(), b.phys.value());

  const Bytes data = pattern_bytes(length, 28);
  ASSERT_TRUE(board.port(dev).write(dma, data));
  board.dma().unmap_single(board.cpu(), dev, dma, length, Direction::bidirectional);
  EXPECT_EQ(board.seen(b), data);
  EXPECT_EQ(pool->usage().io_tlb_used, 0u);
}

TEST(DmaDirect, AFullPoolOfAGuestBorrowsFromTheAtomicPools) {
  DmaBoard board{Platform::sev, {.version = KernelVersion::v6_6, .swiotlb = {.slots = 512, .dynamic = true}}};
  Device& dev = board.add_device();
  bus::DmaPort port = board.port(dev);
  const KernelBuffer b = board.buffer(256 << 10, 40);
  for (int i = 0; i < 4; ++i)
    ASSERT_NE(board.dma().map_single(board.cpu(), dev, b.at, 256 << 10, Direction::to_device),
              dma_mapping_error);
  const DmaAddr dma = board.dma().map_single(board.cpu(), dev, b.at, 5000, Direction::bidirectional);
  ASSERT_NE(dma, dma_mapping_error);
  EXPECT_EQ(board.dma().swiotlb()->usage().io_tlb_transient_nslabs, 3u);
  EXPECT_EQ(board.read_by(port, dma, 5000), board.seen(b.at, 5000));
  const Bytes data = pattern_bytes(5000, 41);
  ASSERT_TRUE(port.write(dma, data));
  board.dma().unmap_single(board.cpu(), dev, dma, 5000, Direction::bidirectional);
  EXPECT_EQ(board.seen(b.at, 5000), data);
  EXPECT_EQ(board.dma().swiotlb()->usage().io_tlb_transient_nslabs, 0u);
  EXPECT_TRUE(board.dma().run_workers(board.cpu())) << "and a worker adds a pool";
  EXPECT_GT(board.dma().swiotlb()->usage().io_tlb_nslabs, 512u);
}

// ---- resources -------------------------------------------------------------------------------------------

TEST(DmaDirect, MapsMmioWithoutTheCBitAndWithoutBouncing) {
  for (const Platform platform : {Platform::plain, Platform::sme, Platform::sev, Platform::tdx}) {
    DmaBoard board{platform};
    Device& dev = board.add_device();
    const mem::PhysRange bar = board.machine->add_bar(std::make_unique<bus::RamBar>(page_size), page_size);
    const DmaAddr dma =
        board.dma().map_resource(board.cpu(), dev, bar.first, page_size, Direction::bidirectional);
    EXPECT_EQ(dma.value(), bar.first.value());
    EXPECT_FALSE(board.dma().mapping_error(dev, dma));
    const Bytes data = pattern_bytes(64, 29);
    bus::DmaPort port = board.port(dev);
    ASSERT_TRUE(port.write(dma, data));
    EXPECT_EQ(board.read_by(port, dma, 64), data);
    board.dma().unmap_resource(board.cpu(), dev, dma, page_size, Direction::bidirectional);
    EXPECT_THAT(board.complaints(), IsEmpty());
  }
}

TEST(DmaDirect, RefusesMmioBeyondTheMask) {
  DmaBoard board{Platform::plain};
  Device& dev = board.add_device(30);
  EXPECT_EQ(board.dma().map_resource(board.cpu(), dev, machine::pci_hole, page_size, Direction::to_device),
            dma_mapping_error);
  EXPECT_THAT(board.failures(), ElementsAre(DmaFailure::resource_mask));
  EXPECT_TRUE(
      contains(board.messages(), "DMA addr 0x00000000c0000000+4096 overflow (mask 3fffffff, bus limit 0)."));
}

// ---- scatterlists ----------------------------------------------------------------------------------------

TEST(DmaDirect, MapsEachEntryOfAScatterlistByItself) {
  DmaBoard board{Platform::sme};
  Device& dev = board.add_device();
  const KernelBuffer b = board.buffer(3 * page_size, 30);
  std::vector<ScatterEntry> sg{{.phys = b.phys, .length = page_size},
                               {.phys = b.phys + page_size, .length = 100}};
  EXPECT_EQ(board.dma().map_sg(board.cpu(), dev, sg, Direction::to_device), 2u)
      << "adjacent entries are not merged";
  EXPECT_EQ(sg[0].dma.value(), b.phys.value() | c_bit_47);
  EXPECT_EQ(sg[1].dma_length, 100u);
  board.dma().unmap_sg(board.cpu(), dev, sg, Direction::to_device);
  EXPECT_THAT(board.complaints(), IsEmpty());
}

TEST(DmaDirect, SyncsAndUnmapsABouncedScatterlist) {
  DmaBoard board{Platform::sev};
  Device& dev = board.add_device();
  bus::DmaPort port = board.port(dev);
  const KernelBuffer b = board.buffer(2 * page_size, 31);
  std::vector<ScatterEntry> sg{{.phys = b.phys, .length = 500}, {.phys = b.phys + page_size, .length = 700}};
  ASSERT_EQ(board.dma().map_sg(board.cpu(), dev, sg, Direction::bidirectional), 2u);
  const Bytes first = pattern_bytes(500, 32);
  const Bytes second = pattern_bytes(700, 33);
  ASSERT_TRUE(port.write(sg[0].dma, first));
  board.dma().sync_sg_for_cpu(board.cpu(), dev, sg, Direction::bidirectional);
  EXPECT_EQ(board.seen(b.at, 500), first);
  ASSERT_TRUE(board.cpu().write(b.at + page_size, second));
  board.dma().sync_sg_for_device(board.cpu(), dev, sg, Direction::bidirectional);
  EXPECT_EQ(board.read_by(port, sg[1].dma, 700), second);
  board.dma().unmap_sg(board.cpu(), dev, sg, Direction::bidirectional);
  EXPECT_EQ(board.slots_used(), 0u);
  EXPECT_THAT(board.complaints(), IsEmpty());
}

TEST(DmaDirect, UnmapsTheFirstEntriesWhenALaterOneFails) {
  DmaBoard board{Platform::sev};
  Device& dev = board.add_device();
  const KernelBuffer b = board.buffer(600 << 10, 34);
  std::vector<ScatterEntry> sg{{.phys = b.phys, .length = 4096}, {.phys = b.phys, .length = 300 << 10}};
  const auto mapped = board.dma().map_sgtable(board.cpu(), dev, sg, Direction::from_device);
  ASSERT_FALSE(mapped);
  EXPECT_EQ(mapped.error(), Errno::eio);
  EXPECT_EQ(board.slots_used(), 0u);
  EXPECT_EQ(board.dma().map_sg(board.cpu(), dev, sg, Direction::from_device), 0u);
}

}  // namespace
}  // namespace cbit::kernel
