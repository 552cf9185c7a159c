// Device accesses through the IOMMU: outcomes 12, 13 and 15, and what goes wrong without the C-bit.
#include <gtest/gtest.h>

#include "bus/dma_port.hpp"
#include "support/small_machine.hpp"

namespace cbit::bus {
namespace {

using test::Encryption;

constexpr RequesterId requester = 0x18;
constexpr PhysAddr buffer{0x20'0000};
constexpr DmaAddr iova{0xfff0'0000};
constexpr std::uint64_t c_bit = 1ull << test::SmallMachine::c_bit;

// A 32-bit device, so no C-bit can ever be in its addresses, behind the IOMMU.
struct Board {
  explicit Board(test::Encryption encryption = test::Encryption::sme,
                 iommu::IommuDomain::Type type = iommu::IommuDomain::Type::translated)
      : machine{encryption} {
    iommu::IommuDomain::Config config{.type = type, .view = machine.cpu_view, .table_key = machine.key};
    if (encryption == test::Encryption::sev) config.view.encrypted_key = no_key;
    domain = iommu::IommuDomain::create(config, *machine.memory, machine.tracer,
                                        pool.source<iommu::IommuPageSource>())
                 .value();
    iommu.attach(requester, *domain);
    bus.set_iommu(&iommu);
    machine.log.clear();
  }
  void map(DmaAddr at, PhysAddr phys, std::uint64_t bytes, iommu::IommuAccess rights = {true, true},
           bool encrypted = true) {
    ASSERT_TRUE(domain->map(at, phys, bytes, rights, encrypted));
    machine.log.clear();
  }
  [[nodiscard]] Bytes read(DmaAddr at, std::size_t bytes) {
    Bytes data(bytes);
    EXPECT_TRUE(port.read(at, data));
    return data;
  }

  test::SmallMachine machine;
  test::PagePool pool{PhysAddr{0x10'0000}};
  std::unique_ptr<iommu::IommuDomain> domain;
  iommu::Iommu iommu{machine.device_view};
  SystemBus bus{*machine.memory, machine.tracer, machine.device_view};
  DmaPort port{bus, {.device = "nic", .requester = requester, .address_bits = 32}};
};

TEST(DmaThroughIommu, CBitInTheLeafLetsA32BitDeviceUseEncryptedMemory) {
  Board b;
  const Bytes data = pattern_bytes(page_size, 1);
  b.machine.put(buffer, data, mem::host_key);
  b.map(iova, buffer, page_size);
  EXPECT_EQ(b.read(iova, page_size), data);
  EXPECT_NE(b.machine.raw(buffer, page_size), data) << "while DRAM holds ciphertext";

  const Bytes answer = pattern_bytes(page_size, 2);
  ASSERT_TRUE(b.port.write(iova, answer));
  EXPECT_EQ(b.machine.seen(buffer, page_size, mem::host_key), answer);
  EXPECT_NE(b.machine.raw(buffer, page_size), answer);
}

TEST(DmaThroughIommu, WithoutTheCBitTheDeviceReadsCiphertext) {
  Board b;
  b.machine.put(buffer, pattern_bytes(page_size, 1), mem::host_key);
  b.map(iova, buffer, page_size, {true, true}, false);
  EXPECT_EQ(b.read(iova, page_size), b.machine.raw(buffer, page_size));
  ASSERT_TRUE(b.domain->set_encrypted(iova, page_size, true));
  EXPECT_EQ(b.read(iova, page_size), pattern_bytes(page_size, 1)) << "one bit is all that was missing";
}

TEST(DmaThroughIommu, InAGuestTheBitIsStrippedAndNoKeyComesOfIt) {
  Board b{test::Encryption::sev};
  b.machine.put(buffer, pattern_bytes(page_size, 1), b.machine.key);
  b.map(iova, buffer, page_size);
  EXPECT_EQ(b.read(iova, page_size), b.machine.raw(buffer, page_size));
}

TEST(DmaThroughIommu, UnmappedAddressFaultsAndNothingIsTransferred) {
  Board b;
  Bytes data(64, std::byte{0xee});
  EXPECT_EQ(b.port.read(iova, data).error(), (Fault{FaultKind::iommu_not_present, iova.value(), false}));
  EXPECT_EQ(data, Bytes(64, std::byte{0xee}));
  const auto faults = b.machine.log.all<DeviceFault>();
  ASSERT_EQ(faults.size(), 1u);
  EXPECT_EQ(faults[0].bus_address, iova);
  EXPECT_EQ(faults[0].requester, requester);
  EXPECT_TRUE(b.machine.log.all<DeviceAccess>().empty());
}

TEST(DmaThroughIommu, ReadOnlyPageRefusesAWriteAndStaysAsItIs) {
  Board b;
  const Bytes data = pattern_bytes(page_size, 1);
  b.machine.put(buffer, data, mem::host_key);
  b.map(iova, buffer, page_size, {true, false});
  EXPECT_EQ(b.port.write(iova + 8, Bytes(16)).error(),
            (Fault{FaultKind::iommu_protection, iova.value() + 8, true}));
  EXPECT_EQ(b.machine.seen(buffer, page_size, mem::host_key), data);
  EXPECT_EQ(b.read(iova, page_size), data);
}

TEST(DmaThroughIommu, UnmapTakesEffectAtOnce) {
  Board b;
  b.map(iova, buffer, page_size);
  EXPECT_TRUE(b.port.store(iova, 1u));
  EXPECT_EQ(b.domain->unmap(iova, page_size), page_size);
  EXPECT_FALSE(b.port.store(iova, 2u));
  EXPECT_EQ(b.machine.value<unsigned>(buffer, mem::host_key), 1u);
}

TEST(DmaThroughIommu, ScatteredPagesAreOneEventPerRunOfPhysicalMemory) {
  Board b;
  // IOVA order: pages 0, 1 contiguous; 8 alone; 9 right after it but mapped without C-bit.
  b.map(iova, buffer, page_size);
  b.map(iova + page_size, buffer + page_size, page_size);
  b.map(iova + 2 * page_size, buffer + 8 * page_size, page_size);
  b.map(iova + 3 * page_size, buffer + 9 * page_size, page_size, {true, true}, false);
  const Bytes data = pattern_bytes(4 * page_size - 10, 3);
  ASSERT_TRUE(b.port.write(iova + 10, data));
  const auto events = b.machine.log.all<DeviceAccess>();
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[0].phys, buffer + 10);
  EXPECT_EQ(events[0].bytes, 2 * page_size - 10);
  EXPECT_EQ(events[1].phys, buffer + 8 * page_size);
  EXPECT_EQ(events[1].bus_address, iova + 2 * page_size);
  EXPECT_EQ(events[1].key, mem::host_key);
  EXPECT_EQ(events[2].key, no_key);
  for (const DeviceAccess& event : events) EXPECT_TRUE(event.through_iommu);
  EXPECT_EQ(b.machine.seen(buffer + 8 * page_size, page_size, mem::host_key),
            Bytes(data.begin() + 2 * page_size - 10, data.begin() + 3 * page_size - 10));
}

TEST(DmaThroughIommu, PartBeforeAHoleIsTransferred) {
  Board b;
  b.map(iova, buffer, page_size);
  const Bytes data = pattern_bytes(2 * page_size, 4);
  EXPECT_EQ(b.port.write(iova, data).error(),
            (Fault{FaultKind::iommu_not_present, iova.value() + page_size, true}));
  EXPECT_EQ(b.machine.seen(buffer, page_size, mem::host_key), Bytes(data.begin(), data.begin() + page_size));
  EXPECT_EQ(b.machine.log.all<DeviceAccess>().size(), 1u);
  EXPECT_EQ(b.machine.log.all<DeviceFault>().size(), 1u);
}

TEST(DmaThroughIommu, AddressLinesAreCheckedBeforeTranslation) {
  Board b;
  ASSERT_TRUE(b.domain->map(DmaAddr{1ull << 32}, buffer, page_size, {true, true}, true));
  EXPECT_EQ(b.port.store(DmaAddr{1ull << 32}, 1u).error().kind, FaultKind::address_width);
}

TEST(DmaThroughIommu, RequesterWithoutDomainIsRefused) {
  Board b;
  b.map(iova, buffer, page_size);
  b.iommu.detach(requester);
  EXPECT_EQ(b.port.store(iova, 1u).error().kind, FaultKind::iommu_no_domain);
  DmaPort stranger{b.bus, {.device = "stranger", .requester = 0x99}};
  EXPECT_EQ(stranger.store(iova, 1u).error(), (Fault{FaultKind::iommu_no_domain, iova.value(), true}));
  b.bus.set_iommu(nullptr);
  EXPECT_TRUE(b.port.store(DmaAddr{buffer.value()}, 1u)) << "without IOMMU everybody reaches memory";
}

TEST(DmaThroughIommu, IdentityDomainIsLikeNoIommu) {
  Board b{test::Encryption::sme, iommu::IommuDomain::Type::identity};
  DmaPort wide{b.bus, {.device = "wide", .requester = requester}};
  b.machine.put(buffer, pattern_bytes(64, 5), mem::host_key);
  Bytes data(64);
  ASSERT_TRUE(wide.read(DmaAddr{buffer.value() | c_bit}, data));
  EXPECT_EQ(data, pattern_bytes(64, 5));
  ASSERT_TRUE(wide.read(DmaAddr{buffer.value()}, data));
  EXPECT_EQ(data, b.machine.raw(buffer, 64));
  EXPECT_FALSE(b.machine.log.all<DeviceAccess>().back().through_iommu);
}

TEST(DmaThroughIommu, DeviceThatBypassesItReachesMemoryUntranslated) {
  Board b;
  DmaPort legacy{b.bus, {.device = "virtio", .requester = 0x99, .bypass_iommu = true}};
  ASSERT_TRUE(legacy.store(DmaAddr{buffer.value()}, 7u));
  EXPECT_EQ(load<unsigned>(b.machine.raw(buffer, 4)), 7u);
}

TEST(DmaThroughIommu, BarMappedWithTheCBitIsRefusedAndWithoutItWorks) {
  Board b;
  RamBar bar{page_size};
  b.bus.add_mmio({PhysAddr{0xc000'0000}, page_size}, bar);
  b.map(iova, PhysAddr{0xc000'0000}, page_size);
  EXPECT_EQ(b.port.store(iova, 1u).error(), (Fault{FaultKind::private_mmio, 0xc000'0000, true}));
  ASSERT_TRUE(b.domain->set_encrypted(iova, page_size, false));
  EXPECT_TRUE(b.port.store(iova, 0x1234u));
  EXPECT_EQ(load<unsigned>(bar.data()), 0x1234u);
}

TEST(DmaThroughIommu, PiecesWithAndWithoutTheBitAreKeptApartWhereBothMeanNoKey) {
  Board b{test::Encryption::sev};
  RamBar bar{2 * page_size};
  b.bus.add_mmio({PhysAddr{0xc000'0000}, 2 * page_size}, bar);
  b.map(iova, PhysAddr{0xc000'0000}, page_size, {true, true}, false);
  b.map(iova + page_size, PhysAddr{0xc000'1000}, page_size, {true, true}, true);
  const Bytes data = pattern_bytes(2 * page_size, 8);
  EXPECT_EQ(b.port.write(iova, data).error(), (Fault{FaultKind::private_mmio, 0xc000'1000, true}));
  EXPECT_TRUE(std::ranges::equal(bar.data().first(page_size), ConstByteSpan{data}.first(page_size)));
}

TEST(DmaThroughIommu, LeafThatPointsNowhereIsAMasterAbort) {
  Board b;
  b.map(iova, PhysAddr{1ull << 40}, page_size);
  EXPECT_EQ(b.port.store(iova, 1u).error(), (Fault{FaultKind::no_memory, 1ull << 40, true}));
}

TEST(DmaThroughIommu, DeviceThatWritesItsOwnTablesGetsWhatItWrote) {
  Board b;
  b.map(iova, buffer, page_size);
  // All pages of the pool, tables included, at another IOVA: a device that was given too much.
  b.map(iova + 0x10'0000, PhysAddr{0x10'0000}, 0x10'0000);
  const Bytes noise = pattern_bytes(0x10'0000, 6);
  static_cast<void>(b.port.write(iova + 0x10'0000, noise));
  Bytes data(64);
  static_cast<void>(b.port.read(iova, data));
  EXPECT_FALSE(b.machine.log.all<DeviceAccess>().empty());
}

TEST(DmaThroughIommu, PeekSeesThroughTheTablesWithoutATrace) {
  Board b;
  b.machine.put(buffer, pattern_bytes(64, 7), mem::host_key);
  b.map(iova, buffer, page_size);
  Bytes data(64);
  ASSERT_TRUE(b.port.peek(iova, data));
  EXPECT_EQ(data, pattern_bytes(64, 7));
  EXPECT_EQ(b.port.peek(iova + page_size, data).error().kind, FaultKind::iommu_not_present);
  EXPECT_TRUE(b.machine.log.events().empty());
}

}  // namespace
}  // namespace cbit::bus
