#include "dev/test_dma.hpp"

#include <gtest/gtest.h>

#include "dev/crc32c.hpp"
#include "support/small_machine.hpp"

namespace cbit::dev {
namespace {

using Reg64 = TestDma::Reg64;
using Command = TestDma::Command;
using Status = TestDma::Status;

constexpr PhysAddr bar{0xc000'0000};
constexpr PhysAddr buffer{0x2'0000};

// The device on a board, and a driver that knows nothing but its registers.
struct TestDmaBoard : testing::Test {
  test::SmallMachine machine{test::Encryption::sme};
  bus::SystemBus bus{*machine.memory, machine.tracer, machine.device_view};
  TestDma device{bus, {.device = "testdma", .requester = 0x28}};
  TestDma other{bus, {.device = "other", .requester = 0x30}};
  static constexpr std::uint64_t c_bit = 1ull << test::SmallMachine::c_bit;

  TestDmaBoard() {
    bus.add_mmio({bar, TestDma::region_bytes}, device);
    bus.add_mmio({bar + TestDma::region_bytes, TestDma::region_bytes}, other);
  }
  void set(Reg64 reg, std::uint64_t value) {
    ASSERT_TRUE(device.write(static_cast<std::uint64_t>(reg), bytes_of(value)));
  }
  std::uint64_t get(Reg64 reg) {
    std::array<std::byte, 8> raw{};
    EXPECT_TRUE(device.read(static_cast<std::uint64_t>(reg), raw));
    return load<std::uint64_t>(raw);
  }
  Status run(Command command, std::uint64_t source, std::uint64_t destination, std::uint64_t count) {
    set(Reg64::source, source);
    set(Reg64::destination, destination);
    set(Reg64::count, count);
    set(Reg64::command, static_cast<std::uint64_t>(command));
    return Status{{get(Reg64::status)}};
  }
};

TEST_F(TestDmaBoard, NamesItself) {
  EXPECT_EQ(get(Reg64::id), 0x41'4d44'7469'6263u);
  EXPECT_EQ(get(Reg64::status), 0u);
}

TEST_F(TestDmaBoard, ReadsMemoryIntoItsLocalMemory) {
  const Bytes data = pattern_bytes(1000, 1);
  machine.put(buffer, data, mem::host_key);
  EXPECT_EQ(run(Command::read, buffer.value() | c_bit, 64, data.size()).raw, 1u);
  Bytes back(data.size());
  ASSERT_TRUE(device.read(TestDma::local_offset + 64, back));
  EXPECT_EQ(back, data);
}

TEST_F(TestDmaBoard, WritesItsLocalMemoryToMemory) {
  const Bytes data = pattern_bytes(1000, 2);
  ASSERT_TRUE(device.write(TestDma::local_offset + 8, data));
  EXPECT_EQ(run(Command::write, 8, buffer.value() | c_bit, data.size()).raw, 1u);
  EXPECT_EQ(machine.seen(buffer, data.size(), mem::host_key), data);
}

TEST_F(TestDmaBoard, CopiesBetweenKeysAsItsTwoAddressesSay) {
  const Bytes data = pattern_bytes(page_size, 3);
  machine.put(buffer, data, mem::host_key);
  const std::uint64_t target = buffer.value() + page_size;
  EXPECT_EQ(run(Command::copy, buffer.value() | c_bit, target, data.size()).raw, 1u);
  EXPECT_EQ(machine.raw(PhysAddr{target}, data.size()), data);
}

TEST_F(TestDmaBoard, FillsWithThePatternRepeated) {
  set(Reg64::pattern, 0x8877'6655'4433'2211);
  EXPECT_EQ(run(Command::fill, 0, buffer.value(), 11).raw, 1u);
  EXPECT_EQ(to_hex(machine.raw(buffer, 12)), "112233445566778811223300");
}

TEST_F(TestDmaBoard, ChecksumIsCrc32cOfWhatTheDeviceReads) {
  const Bytes data = pattern_bytes(300, 4);
  machine.put(buffer, data, mem::host_key);
  EXPECT_EQ(run(Command::checksum, buffer.value() | c_bit, 0, 300).raw, 1u);
  EXPECT_EQ(get(Reg64::result), crc32c(data));
  run(Command::checksum, buffer.value(), 0, 300);
  EXPECT_EQ(get(Reg64::result), crc32c(machine.raw(buffer, 300))) << "without the C-bit: of ciphertext";
}

TEST_F(TestDmaBoard, StatusTellsTheFaultUntilTheNextCommand) {
  const Status status = run(Command::write, 0, 1ull << 40, 64);
  EXPECT_TRUE(status.get<Status::Done>());
  EXPECT_TRUE(status.get<Status::Error>());
  EXPECT_TRUE(status.get<Status::Write>());
  EXPECT_EQ(status.get<Status::Kind>(), FaultKind::no_memory);
  EXPECT_EQ(get(Reg64::fault_address), 1ull << 40);
  EXPECT_EQ(device.last_fault(), (Fault{FaultKind::no_memory, 1ull << 40, true}));
  EXPECT_EQ(run(Command::read, buffer.value(), 0, 64).raw, 1u);
  EXPECT_EQ(get(Reg64::fault_address), 0u);
  EXPECT_EQ(device.last_fault(), std::nullopt);
}

TEST_F(TestDmaBoard, RefusesCountsAndOffsetsBeyondItsLocalMemory) {
  constexpr auto protocol = FaultKind::device_protocol;
  const auto kind = [&](Command command, std::uint64_t source, std::uint64_t destination,
                        std::uint64_t count) {
    return run(command, source, destination, count).get<Status::Kind>();
  };
  EXPECT_EQ(kind(Command::read, 0, 1, TestDma::local_bytes), protocol);
  EXPECT_EQ(kind(Command::read, 0, TestDma::local_bytes + 1, 0), protocol);
  EXPECT_EQ(kind(Command::write, ~0ull, 0, 1), protocol);
  EXPECT_EQ(kind(Command::fill, 0, 0, TestDma::local_bytes + 1), protocol);
  EXPECT_EQ(kind(Command::copy, 0, 0, ~0ull), protocol);
  EXPECT_EQ(run(Command::read, 0, 0, TestDma::local_bytes).raw, 1u);
  EXPECT_EQ(run(Command::read, 0, TestDma::local_bytes, 0).raw, 1u);
}

TEST_F(TestDmaBoard, UnknownCommandIsAnError) {
  set(Reg64::command, 77);
  EXPECT_EQ(Status{{get(Reg64::status)}}.get<Status::Kind>(), FaultKind::device_protocol);
  set(Reg64::command, 0);
  EXPECT_TRUE(Status{{get(Reg64::status)}}.get<Status::Error>());
}

TEST_F(TestDmaBoard, RegistersTakeAlignedQuadwordsOnly) {
  std::array<std::byte, 16> raw{};
  for (const std::size_t size : {1u, 2u, 4u, 16u})
    EXPECT_EQ(device.read(0, ByteSpan{raw}.first(std::min<std::size_t>(size, 16))).error().kind,
              FaultKind::device_protocol);
  EXPECT_FALSE(device.write(4, ConstByteSpan{raw}.first(8)));
  EXPECT_FALSE(device.read(TestDma::local_offset - 8, raw)) << "across the border";
  EXPECT_FALSE(device.read(TestDma::region_bytes - 8, raw)) << "beyond the end";
}

TEST_F(TestDmaBoard, RegistersThatAreNotThereReadAsOnesAndReadOnlyOnesStay) {
  EXPECT_EQ(get(Reg64{0x1000}), ~0ull);
  set(Reg64{0x1000}, 1);
  set(Reg64::id, 1);
  set(Reg64::status, ~0ull);
  EXPECT_EQ(get(Reg64::id), TestDma::id_value);
  EXPECT_EQ(get(Reg64::status), 0u);
}

TEST_F(TestDmaBoard, ResetClearsRegistersAndLocalMemory) {
  device.local()[5] = std::byte{9};
  run(Command::write, 0, 1ull << 40, 64);
  set(Reg64::command, static_cast<std::uint64_t>(Command::reset));
  for (const Reg64 reg :
       {Reg64::source, Reg64::destination, Reg64::count, Reg64::status, Reg64::fault_address})
    EXPECT_EQ(get(reg), 0u);
  EXPECT_EQ(device.local()[5], std::byte{0});
}

TEST_F(TestDmaBoard, DmaToItsOwnRegistersFailsInsteadOfRecursing) {
  // Local memory holds the command that the device is then told to write into its command register.
  store(device.local(), 0, static_cast<std::uint64_t>(Command::write));
  const std::uint64_t command = bar.value() + static_cast<std::uint64_t>(Reg64::command);
  const Status status = run(Command::write, 0, command, 8);
  EXPECT_EQ(status.get<Status::Kind>(), FaultKind::device_protocol);
  EXPECT_EQ(get(Reg64::fault_address), command);
}

TEST_F(TestDmaBoard, TwoDevicesThatStartEachOtherComeToAnEnd) {
  const std::uint64_t reg_command = static_cast<std::uint64_t>(Reg64::command);
  const std::uint64_t others = bar.value() + TestDma::region_bytes;
  store(device.local(), 0, static_cast<std::uint64_t>(Command::write));
  store(other.local(), 0, static_cast<std::uint64_t>(Command::write));
  const std::uint64_t back = bar.value() + reg_command;
  const std::uint64_t eight = 8;
  ASSERT_TRUE(other.write(static_cast<std::uint64_t>(Reg64::destination), bytes_of(back)));
  ASSERT_TRUE(other.write(static_cast<std::uint64_t>(Reg64::count), bytes_of(eight)));
  EXPECT_EQ(run(Command::write, 0, others + reg_command, 8).raw, 1u);
  EXPECT_EQ(other.status().get<Status::Kind>(), FaultKind::device_protocol) << "the first one was busy";
}

TEST_F(TestDmaBoard, DirectUseNeedsNoRegisters) {
  const Bytes data = pattern_bytes(5000, 5);
  ASSERT_TRUE(device.write(DmaAddr{buffer.value() | c_bit}, data));
  EXPECT_EQ(device.read(DmaAddr{buffer.value() | c_bit}, 5000), data);
  EXPECT_EQ(device.read(DmaAddr{buffer.value()}, 5000), machine.raw(buffer, 5000));
  EXPECT_EQ(device.read(DmaAddr{1ull << 40}, 1).error().kind, FaultKind::no_memory);
  EXPECT_EQ(device.read(DmaAddr{0}, ~0ull).error().kind, FaultKind::device_protocol);
}

TEST_F(TestDmaBoard, AccessesAreTheDevicesInTheTrace) {
  machine.log.clear();
  run(Command::fill, 0, buffer.value(), 64);
  const auto events = machine.log.all<DeviceAccess>();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(machine.tracer.name(events[0].device), "testdma");
  EXPECT_EQ(events[0].requester, 0x28);
}

TEST(Crc32c, AgreesWithItsPublishedCheckValues) {
  const std::string_view digits = "123456789";
  EXPECT_EQ(crc32c(std::as_bytes(std::span{digits})), 0xe306'9283u);
  EXPECT_EQ(crc32c({}), 0u);
  EXPECT_EQ(crc32c(Bytes(32)), 0x8a91'36aau);                   // RFC 3720, B.4
  EXPECT_EQ(crc32c(Bytes(32, std::byte{0xff})), 0x62a8'ab43u);  // RFC 3720, B.4
}

}  // namespace
}  // namespace cbit::dev
