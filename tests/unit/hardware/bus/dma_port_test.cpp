// The way of a device's access without IOMMU: address lines, key bits, decoding, events.
#include "bus/dma_port.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <tuple>

#include "base/cost.hpp"
#include "mem/snapshot.hpp"
#include "support/small_machine.hpp"

namespace cbit::bus {
namespace {

using test::Encryption;
using test::SmallMachine;

constexpr RequesterId requester = 0x20;
constexpr PhysAddr buffer{0x2'0000};
constexpr std::uint64_t c_bit = 1ull << test::SmallMachine::c_bit;

struct Board {
  explicit Board(test::Encryption encryption = test::Encryption::none, unsigned address_bits = 64,
                 mem::MemoryConfig config = {})
      : machine{encryption, config},
        bus{*machine.memory, machine.tracer, machine.device_view},
        port{bus, {.device = "dev", .requester = requester, .address_bits = address_bits}} {
    machine.log.clear();
  }

  [[nodiscard]] Bytes read(std::uint64_t at, std::size_t bytes) {
    Bytes data(bytes);
    EXPECT_TRUE(port.read(DmaAddr{at}, data));
    return data;
  }
  [[nodiscard]] Fault fault_of(std::uint64_t at, std::size_t bytes, bool write = false) {
    Bytes data(bytes);
    const auto result = write ? port.write(DmaAddr{at}, data) : port.read(DmaAddr{at}, data);
    return result ? Fault{} : result.error();
  }

  test::SmallMachine machine;
  SystemBus bus;
  DmaPort port;
};

TEST(DmaPort, ReadsAndWritesMemory) {
  Board b;
  const Bytes data = pattern_bytes(3 * page_size, 1);
  ASSERT_TRUE(b.port.write(DmaAddr{buffer.value() + 5}, data));
  EXPECT_EQ(b.machine.seen(buffer + 5, data.size(), no_key), data);
  EXPECT_EQ(b.read(buffer.value() + 5, data.size()), data);
  ASSERT_TRUE(b.port.store(DmaAddr{0x1000}, std::uint32_t{0x1234'5678}));
  EXPECT_EQ(b.port.load<std::uint32_t>(DmaAddr{0x1000}), 0x1234'5678u);
}

TEST(DmaPort, ASnapshotIsAReadWhoseBytesStayAsTheyWere) {
  for (const std::uint64_t c : {std::uint64_t{0}, c_bit}) {
    Board b{test::Encryption::sme};
    const Bytes data = pattern_bytes(2 * page_size, 1);
    b.machine.put(buffer, data, mem::host_key);
    const Bytes seen = b.read((buffer.value() + 100) | c, 6000);
    mem::SnapshotQueue read;
    ASSERT_TRUE(b.port.snapshot(DmaAddr{(buffer.value() + 100) | c}, 6000, read));
    const mem::Snapshot snapshot = read.take(6000);
    const auto told = b.machine.log.all<DeviceAccess>();
    ASSERT_EQ(told.size(), 2u) << "one of the read, one like it of the snapshot";
    EXPECT_EQ(std::tie(told[0].phys, told[0].bytes, told[0].key, told[0].write),
              std::tie(told[1].phys, told[1].bytes, told[1].key, told[1].write));
    b.machine.put(buffer + 1000, pattern_bytes(16, 2), no_key);
    b.machine.memory->rekey(mem::host_key, std::nullopt);
    EXPECT_TRUE(std::ranges::equal(snapshot.bytes(), seen));
  }
}

TEST(DmaPort, OnAnSmeHostTheCBitOfTheAddressDecrypts) {
  Board b{test::Encryption::sme};
  const Bytes data = pattern_bytes(100, 2);
  b.machine.put(buffer, data, mem::host_key);
  EXPECT_EQ(b.read(buffer.value() | c_bit, data.size()), data);
  const Bytes without = b.read(buffer.value(), data.size());
  EXPECT_NE(without, data);
  EXPECT_EQ(without, b.machine.raw(buffer, data.size())) << "without the bit a device reads what DRAM holds";
}

TEST(DmaPort, OnAnSmeHostTheCBitOfTheAddressEncrypts) {
  Board b{test::Encryption::sme};
  const Bytes data = pattern_bytes(256, 3);
  ASSERT_TRUE(b.port.write(DmaAddr{buffer.value() | c_bit}, data));
  EXPECT_EQ(b.machine.seen(buffer, data.size(), mem::host_key), data);
  EXPECT_NE(b.machine.raw(buffer, data.size()), data);
  ASSERT_TRUE(b.port.write(DmaAddr{buffer.value()}, data));
  EXPECT_EQ(b.machine.raw(buffer, data.size()), data);
  EXPECT_NE(b.machine.seen(buffer, data.size(), mem::host_key), data) << "the CPU's C=1 view is noise now";
}

TEST(DmaPort, ForAGuestsDeviceTheCBitIsAnAddressBitThatDecodesToNothing) {
  Board b{test::Encryption::sev};
  b.machine.put(buffer, pattern_bytes(64, 4), b.machine.key);
  EXPECT_EQ(b.fault_of(buffer.value() | c_bit, 64),
            (Fault{FaultKind::no_memory, buffer.value() | c_bit, false}));
  EXPECT_EQ(b.read(buffer.value(), 64), b.machine.raw(buffer, 64)) << "private pages are ciphertext to it";
}

TEST(DmaPort, RefusesAddressesThatItsLinesCannotCarry) {
  Board b{test::Encryption::none, 32};
  EXPECT_EQ(b.fault_of(1ull << 32, 4), (Fault{FaultKind::address_width, 1ull << 32, false}));
  EXPECT_EQ(b.fault_of(~0ull, 1, true), (Fault{FaultKind::address_width, ~0ull, true}));
  EXPECT_EQ(b.fault_of(0xffff'ffff, 1).kind, FaultKind::no_memory) << "that one it can, but nothing is there";
  ASSERT_EQ(b.machine.log.all<DeviceFault>().size(), 3u);
  const DeviceFault event = b.machine.log.all<DeviceFault>()[0];
  EXPECT_EQ(event.bus_address, DmaAddr{1ull << 32});
  EXPECT_EQ(event.requester, requester);
  EXPECT_EQ(b.machine.tracer.name(event.device), "dev");
}

TEST(DmaPort, A32BitDeviceCannotReachTheCBit) {
  Board b{test::Encryption::sme, 32};
  EXPECT_EQ(b.fault_of(buffer.value() | c_bit, 4).kind, FaultKind::address_width);
}

TEST(DmaPort, TransfersThePartBelowTheEndOfItsLinesAndThenFaults) {
  Board b{test::Encryption::none, 20};
  const Bytes data = pattern_bytes(32, 5);
  const auto result = b.port.write(DmaAddr{0x10'0000 - 16}, data);
  EXPECT_EQ(result.error(), (Fault{FaultKind::address_width, 0x10'0000, true}));
  EXPECT_EQ(b.machine.seen(PhysAddr{0x10'0000 - 16}, 16, no_key), Bytes(data.begin(), data.begin() + 16));
  EXPECT_EQ(b.machine.seen(PhysAddr{0x10'0000}, 16, no_key), Bytes(16));
}

TEST(DmaPort, WrapAroundFaultsInsteadOfContinuingAtZero) {
  Board b;
  RamBar top{page_size};
  b.bus.add_mmio({PhysAddr{~0ull << 12}, page_size}, top);
  const Bytes data = pattern_bytes(32, 6);
  EXPECT_EQ(b.port.write(DmaAddr{~0ull - 15}, data).error(), (Fault{FaultKind::address_width, 0, true}));
  EXPECT_TRUE(std::ranges::equal(top.data().last(16), ConstByteSpan{data}.first(16)));
  EXPECT_EQ(b.machine.seen(PhysAddr{0}, 16, no_key), Bytes(16));
}

TEST(DmaPort, EveryAddressMeetsADefiniteEnd) {
  Board b{test::Encryption::sme};
  for (unsigned bit = 0; bit < 64; ++bit)
    for (const std::uint64_t at : {1ull << bit, (1ull << bit) - 1, ~0ull << bit, ~(1ull << bit)}) {
      Bytes data(2 * page_size);
      const auto result = b.port.read(DmaAddr{at}, data);
      EXPECT_EQ(result.has_value(), b.machine.memory->contains(PhysAddr{at & ~c_bit}, data.size())) << at;
    }
}

TEST(DmaPort, MasterAbortsWhereNothingIs) {
  Board b;
  const std::uint64_t end = 64 << 20;
  EXPECT_EQ(b.fault_of(end, 1, true), (Fault{FaultKind::no_memory, end, true}));
  const Bytes data = pattern_bytes(page_size, 7);
  EXPECT_EQ(b.port.write(DmaAddr{end - 100}, data).error(), (Fault{FaultKind::no_memory, end, true}));
  EXPECT_EQ(b.machine.seen(PhysAddr{end - 100}, 100, no_key), Bytes(data.begin(), data.begin() + 100))
      << "the part before the fault has been transferred";
}

TEST(DmaPort, NothingAtAllIsAlwaysFine) {
  Board b;
  EXPECT_TRUE(b.port.read(DmaAddr{~0ull}, {}));
  EXPECT_TRUE(b.port.write(DmaAddr{~0ull}, {}));
  EXPECT_TRUE(b.machine.log.events().empty());
}

TEST(DmaPort, ReachesAnotherDevicesMemory) {
  Board b;
  RamBar bar{page_size};
  b.bus.add_mmio({PhysAddr{0xc000'0000}, page_size}, bar);
  const Bytes data = pattern_bytes(48, 8);
  ASSERT_TRUE(b.port.write(DmaAddr{0xc000'0100}, data));
  EXPECT_TRUE(std::ranges::equal(bar.data().subspan(0x100, 48), data));
  EXPECT_EQ(b.read(0xc000'0100, 48), data);
  const auto events = b.machine.log.all<DeviceAccess>();
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].phys, PhysAddr{0xc000'0100});
  EXPECT_EQ(events[0].key, no_key);
  EXPECT_EQ(events[0].page_key, no_key);
}

TEST(DmaPort, MmioWithTheEncryptionBitIsRefused) {
  Board b{test::Encryption::sme};
  RamBar bar{page_size};
  b.bus.add_mmio({PhysAddr{0xc000'0000}, page_size}, bar);
  EXPECT_EQ(b.fault_of(0xc000'0010 | c_bit, 4, true), (Fault{FaultKind::private_mmio, 0xc000'0010, true}));
  EXPECT_TRUE(b.port.store(DmaAddr{0xc000'0010}, 1u));
}

// Says no, at its own offset.
class Refusing final : public MmioRegion {
 public:
  Result<void> read(std::uint64_t offset, ByteSpan) override {
    return fault(FaultKind::device_protocol, offset);
  }
  Result<void> write(std::uint64_t offset, ConstByteSpan) override {
    return fault(FaultKind::device_protocol, offset, true);
  }
};

TEST(DmaPort, RegionsRefusalNamesThePhysicalAddress) {
  Board b;
  Refusing region;
  b.bus.add_mmio({PhysAddr{0xc000'0000}, page_size}, region);
  EXPECT_EQ(b.fault_of(0xc000'0010, 4), (Fault{FaultKind::device_protocol, 0xc000'0010, false}));
  EXPECT_EQ(b.fault_of(0xc000'0010, 4, true), (Fault{FaultKind::device_protocol, 0xc000'0010, true}));
  EXPECT_EQ(b.machine.log.all<DeviceFault>().size(), 2u);
  EXPECT_TRUE(b.machine.log.all<DeviceAccess>().empty());
  Bytes data(4);
  EXPECT_EQ(b.port.peek(DmaAddr{0xc000'0010}, data).error().kind, FaultKind::device_protocol);
}

TEST(DmaPort, OneEventPerContiguousPieceWithWhoWroteThePageLast) {
  Board b{test::Encryption::sme};
  b.machine.put(buffer, pattern_bytes(2 * page_size, 9), mem::host_key);
  b.machine.log.clear();
  static_cast<void>(b.read((buffer.value() + 16) | c_bit, 2 * page_size - 16));
  const auto events = b.machine.log.all<DeviceAccess>();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].bus_address, DmaAddr{(buffer.value() + 16) | c_bit});
  EXPECT_EQ(events[0].phys, buffer + 16);
  EXPECT_EQ(events[0].bytes, 2 * page_size - 16);
  EXPECT_EQ(events[0].key, mem::host_key);
  EXPECT_EQ(events[0].page_key, mem::host_key);
  EXPECT_FALSE(events[0].write);
  EXPECT_FALSE(events[0].through_iommu);
  const Event& event = b.machine.log.events().back();
  EXPECT_EQ(event.duration_ns, cost::device_transfer_ns(2 * page_size - 16));
  EXPECT_EQ(event.agent, (Agent{AgentKind::device, requester}));
}

TEST(DmaPort, PieceIsSplitWhereThePagesWereWrittenUnderDifferentKeys) {
  Board b{test::Encryption::sme};
  for (unsigned page = 0; page < 6; ++page)
    b.machine.put(buffer + page * page_size, pattern_bytes(page_size, page),
                  page / 2 == 1 ? mem::host_key : no_key);
  b.machine.log.clear();
  const Bytes data = pattern_bytes(6 * page_size - 200, 10);
  ASSERT_TRUE(b.port.write(DmaAddr{buffer.value() + 100}, data));
  const auto events = b.machine.log.all<DeviceAccess>();
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[0].bytes, 2 * page_size - 100);
  EXPECT_EQ(events[0].page_key, no_key);
  EXPECT_EQ(events[1].phys, buffer + 2 * page_size);
  EXPECT_EQ(events[1].bus_address, DmaAddr{buffer.value() + 2 * page_size});
  EXPECT_EQ(events[1].bytes, 2 * page_size);
  EXPECT_EQ(events[1].page_key, mem::host_key) << "as it was before this very access";
  EXPECT_EQ(events[2].bytes, 2 * page_size - 100);
  EXPECT_EQ(b.machine.seen(buffer + 100, data.size(), no_key), data) << "the bytes do not care";
}

TEST(DmaPort, EventsDoNotChangeWhatIsTransferred) {
  for (const bool traced : {true, false}) {
    Board b{test::Encryption::sme};
    if (!traced) b.machine.tracer.detach(b.machine.log);
    const Bytes data = pattern_bytes(5 * page_size, 11);
    b.machine.put(buffer + page_size, Bytes(page_size), mem::host_key);
    ASSERT_TRUE(b.port.write(DmaAddr{buffer.value() + 7}, data));
    EXPECT_EQ(b.machine.raw(buffer + 7, data.size()), data);
    EXPECT_EQ(b.read(buffer.value() + 7, data.size()), data);
  }
}

TEST(DmaPort, WriteIsRecordedAsTheDevices) {
  Board b{test::Encryption::sme};
  ASSERT_TRUE(b.port.write(DmaAddr{buffer.value()}, pattern_bytes(64, 12)));
  const mem::PageHistory history = b.machine.memory->history(buffer);
  EXPECT_EQ(history.writer, (Agent{AgentKind::device, requester}));
  EXPECT_EQ(history.writer_key, no_key);
  EXPECT_EQ(history.writer_site, b.port.name());
}

TEST(DmaPort, PeekReadsAlikeAndLeavesNoTrace) {
  Board b{test::Encryption::sme};
  RamBar bar{page_size};
  b.bus.add_mmio({PhysAddr{0xc000'0000}, page_size}, bar);
  bar.data()[0] = std::byte{0x5a};
  b.machine.put(buffer, pattern_bytes(64, 13), mem::host_key);
  b.machine.log.clear();
  Bytes data(64);
  ASSERT_TRUE(b.port.peek(DmaAddr{buffer.value() | c_bit}, data));
  EXPECT_EQ(data, pattern_bytes(64, 13));
  ASSERT_TRUE(b.port.peek(DmaAddr{buffer.value()}, data));
  EXPECT_EQ(data, b.machine.raw(buffer, 64));
  ASSERT_TRUE(b.port.peek(DmaAddr{0xc000'0000}, data));
  EXPECT_EQ(data[0], std::byte{0x5a});
  EXPECT_EQ(b.port.peek(DmaAddr{1ull << 50}, data).error().kind, FaultKind::no_memory);
  EXPECT_TRUE(b.machine.log.events().empty());
}

TEST(DmaPort, RmpRefusesAWriteToAGuestsPageAfterTheSharedOnesBeforeIt) {
  mem::MemoryConfig config;
  config.protection = mem::MemoryProtection::rmp;
  config.protected_key = mem::guest_key(1);
  Board b{test::Encryption::sev, 64, config};
  b.machine.memory->convert(buffer, 2, false, 0);
  b.machine.log.clear();
  const Bytes data = pattern_bytes(3 * page_size, 14);
  const std::uint64_t refused_at = buffer.value() + 2 * page_size;
  EXPECT_EQ(b.port.write(DmaAddr{buffer.value()}, data).error(),
            (Fault{FaultKind::rmp_violation, refused_at, true}));
  EXPECT_EQ(b.machine.seen(buffer, 2 * page_size, no_key), Bytes(data.begin(), data.begin() + 2 * page_size));
  EXPECT_EQ(b.machine.seen(buffer + 2 * page_size, page_size, no_key), Bytes(page_size));
  const auto accesses = b.machine.log.all<DeviceAccess>();
  ASSERT_EQ(accesses.size(), 1u);
  EXPECT_EQ(accesses[0].bytes, 2 * page_size);
  const auto faults = b.machine.log.all<DeviceFault>();
  ASSERT_EQ(faults.size(), 1u);
  EXPECT_EQ(faults[0].bus_address, DmaAddr{refused_at});
}

}  // namespace
}  // namespace cbit::bus
