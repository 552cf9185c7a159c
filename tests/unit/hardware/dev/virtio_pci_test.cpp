#include "dev/virtio/virtio_pci.hpp"

#include <gtest/gtest.h>

#include "dev/virtio/virtio_blk.hpp"
#include "dev/virtio/virtio_rng.hpp"
#include "virtio_transports.hpp"

namespace cbit::dev {
namespace {

using namespace spec::virtio_status;

constexpr unsigned slot = 1;
constexpr std::uint64_t buffer_at = 0x50000;

struct VirtioPciTest : testing::Test {
  std::unique_ptr<VirtioDevice> make_rng(const VirtioOptions& options = {}) {
    return std::move(*VirtioRng::create(board.bus, {.device = "rng", .requester = slot << 3},
                                        {.virtio = options, .queue_size = 8}));
  }
  std::unique_ptr<VirtioDevice> make_disk(const VirtioOptions& options = {}) {
    return std::move(
        *VirtioBlk::create(board.bus, {.device = "vda", .requester = slot << 3}, disk, {.virtio = options}));
  }
  void start(DriverEnd& end) {
    end.set_status(0);
    end.set_status(acknowledge | driver);
    end.set_driver_features(end.device_features());
    end.set_status(acknowledge | driver | features_ok);
    end.enable_queue(0, ring.config());
    end.set_status(acknowledge | driver | features_ok | driver_ok);
  }
  void ask() {
    ring.desc(0, {buffer_at, 64, spec::vring_flag::write, 0});
    ring.offer(0);
    ring.publish();
  }
  void disable_msix() { board.set_config(slot, board.capability(slot, 0x11) + 2, std::uint16_t{0}); }

  VirtioBoard board;
  RawRing ring{board, 8};
  MemoryDisk disk{Bytes(4096)};
};

// include/uapi/linux/virtio_ids.h; VIRTIO 1.2, 4.1.2.
TEST_F(VirtioPciTest, NamesModernAndTransitionalDevices) {
  {
    VirtioPci function{make_disk()};
    board.pci.plug(slot, function);
    EXPECT_EQ(board.config<std::uint32_t>(slot, 0), 0x1042'1af4u);
    EXPECT_EQ(board.config<std::uint32_t>(slot, 8), 0x0100'0001u) << "mass storage, revision 1";
    EXPECT_GE(board.config<std::uint16_t>(slot, 0x2e), 0x40u);
    EXPECT_EQ(board.config<std::uint32_t>(slot, 0x10), 0u) << "no legacy interface";
  }
  VirtioPci function{make_disk({.iommu_platform = false, .transitional = true})};
  board.pci.plug(slot, function);
  EXPECT_EQ(board.config<std::uint32_t>(slot, 0), 0x1001'1af4u);
  EXPECT_EQ(board.config<std::uint8_t>(slot, 8), 0u);
  EXPECT_EQ(board.config<std::uint16_t>(slot, 0x2e), 2u) << "the type";
  EXPECT_EQ(board.config<std::uint32_t>(slot, 0x10), 1u) << "ports";
}

TEST_F(VirtioPciTest, ATransitionalDeviceServesDriversOfBothInterfaces) {
  const VirtioOptions options{.iommu_platform = false, .transitional = true};
  {
    ModernEnd end{board, make_rng(options)};
    start(end);
    ask();
    end.notify(0);
    EXPECT_EQ(ring.used_index(), 1);
    EXPECT_TRUE(end.has(spec::virtio_feature::version_1));
  }
  board.put(ring.used() + 2, std::uint16_t{0});
  ring = RawRing{board, 8};
  LegacyEnd end{board, make_rng(options)};
  EXPECT_EQ(end.device_features() >> 32, 0u);
  start(end);
  ask();
  end.notify(0);
  EXPECT_EQ(ring.used_index(), 1);
  EXPECT_FALSE(end.has(spec::virtio_feature::version_1));
  end.disable_queue(0);
  EXPECT_FALSE(end.queue_enabled(0));
}

TEST_F(VirtioPciTest, ALegacyDeviceHasNoModernStructures) {
  VirtioPci function{make_rng({.iommu_platform = false, .legacy = true})};
  board.pci.plug(slot, function);
  EXPECT_EQ(board.config<std::uint32_t>(slot, 0), 0x1005'1af4u);
  EXPECT_EQ(board.capability(slot, 9), 0u);
}

TEST_F(VirtioPciTest, WithoutMsixTheIsrTellsAndReadingItEndsTheInterrupt) {
  ModernEnd end{board, make_rng()};
  disable_msix();
  start(end);
  ask();
  end.notify(0);
  EXPECT_TRUE(board.messages.seen.empty());
  EXPECT_TRUE(board.lines[slot].asserted());
  EXPECT_EQ(board.read<std::uint8_t>(end.isr_at()), 1u);
  EXPECT_FALSE(board.lines[slot].asserted());
  EXPECT_EQ(board.read<std::uint8_t>(end.isr_at()), 0u);

  ring.publish(100);
  end.notify(0);
  EXPECT_TRUE(board.lines[slot].asserted());
  EXPECT_EQ(board.read<std::uint8_t>(end.isr_at()), 2u) << "the configuration changed: NEEDS_RESET";
}

TEST_F(VirtioPciTest, ALegacyDriverReadsTheIsrFromItsPort) {
  LegacyEnd end{board, make_rng({.iommu_platform = false, .legacy = true})};
  disable_msix();
  start(end);
  ask();
  end.notify(0);
  const auto isr = static_cast<std::uint16_t>(board.bar(slot, 0) + 19);
  EXPECT_TRUE(board.lines[slot].asserted());
  EXPECT_EQ(board.ports.read(isr, 1), 1u);
  EXPECT_EQ(board.ports.read(isr, 1), 0u);
  EXPECT_FALSE(board.lines[slot].asserted());
}

TEST_F(VirtioPciTest, DeviceConfigurationOfALegacyDeviceMovesWithMsix) {
  LegacyEnd end{board, make_disk({.iommu_platform = false, .legacy = true})};
  const auto ports = static_cast<std::uint16_t>(board.bar(slot, 0));
  EXPECT_EQ(board.ports.read(static_cast<std::uint16_t>(ports + 24), 4), 8u) << "eight sectors";
  disable_msix();
  EXPECT_EQ(board.ports.read(static_cast<std::uint16_t>(ports + 20), 4), 8u);
}

TEST_F(VirtioPciTest, AVectorThatIsNotThereReadsBackAsNone) {
  ModernEnd end{board, make_rng()};
  const std::uint64_t at = end.common_at();
  board.write(at + 16, std::uint16_t{1});
  EXPECT_EQ(board.read<std::uint16_t>(at + 16), 1u);
  board.write(at + 16, std::uint16_t{2});
  EXPECT_EQ(board.read<std::uint16_t>(at + 16), 0xffffu);
  board.write(at + 26, std::uint16_t{7});
  EXPECT_EQ(board.read<std::uint16_t>(at + 26), 0xffffu);
}

TEST_F(VirtioPciTest, AnEnabledQueueKeepsItsSizeAndAreas) {
  ModernEnd end{board, make_rng()};
  start(end);
  const std::uint64_t at = end.common_at();
  board.write(at + 24, std::uint16_t{4});
  board.write(at + 32, 0x1234'5000u);
  EXPECT_EQ(board.read<std::uint16_t>(at + 24), 8u);
  EXPECT_EQ(board.read<std::uint64_t>(at + 32), ring.config().descriptors.value());
  board.write(at + 28, std::uint16_t{0});
  EXPECT_EQ(board.read<std::uint16_t>(at + 28), 1u) << "a driver cannot disable it";
}

TEST_F(VirtioPciTest, QueuesThatAreNotThereHaveNoSizeAndTakeNothing) {
  ModernEnd end{board, make_rng()};
  const std::uint64_t at = end.common_at();
  EXPECT_EQ(board.read<std::uint16_t>(at + 18), 1u) << "one queue";
  board.write(at + 22, std::uint16_t{1});
  board.write(at + 24, std::uint16_t{4});
  board.write(at + 28, std::uint16_t{1});
  for (const std::uint64_t field : {24, 28, 30})
    EXPECT_EQ(board.read<std::uint16_t>(at + field), 0u) << field;
  EXPECT_FALSE(end.broken());
}

TEST_F(VirtioPciTest, RegistersTakeAccessesOfAnyWidth) {
  ModernEnd end{board, make_rng()};
  const std::uint64_t at = end.common_at();
  board.write(at + 32, std::uint64_t{0x1'2345'6000});
  EXPECT_EQ(board.read<std::uint32_t>(at + 36), 1u);
  board.write(at + 33, std::uint8_t{0x70});
  EXPECT_EQ(board.read<std::uint64_t>(at + 32), 0x1'2345'7000u);
  EXPECT_EQ(board.read<std::uint32_t>(at + 20), 0u) << "status, generation and selected queue at once";
  board.write(at + 16, std::uint8_t{0});
}

// VIRTIO 1.2, 4.1.4.9.
TEST_F(VirtioPciTest, ConfigurationSpaceIsAWindowToTheStructures) {
  ModernEnd end{board, make_rng()};
  const std::uint32_t window = end.capability(5);
  const auto point = [&](std::uint32_t offset, std::uint32_t length) {
    board.set_config(slot, window + 4, std::uint8_t{4});
    board.set_config(slot, window + 8, offset);
    board.set_config(slot, window + 12, length);
  };
  point(20, 1);
  board.set_config(slot, window + 16, std::uint32_t{acknowledge});
  EXPECT_EQ(end.status(), acknowledge);
  EXPECT_EQ(board.config<std::uint8_t>(slot, window + 16), acknowledge);
  point(18, 2);
  EXPECT_EQ(board.config<std::uint16_t>(slot, window + 16), 1u) << "one queue";
  point(20, 3);
  board.set_config(slot, window + 16, std::uint32_t{0});
  EXPECT_EQ(end.status(), acknowledge) << "three bytes are no access";
}

TEST_F(VirtioPciTest, ResettingTheFunctionResetsTheDevice) {
  ModernEnd end{board, make_rng()};
  start(end);
  const std::uint32_t express = board.capability(slot, 0x10);
  board.set_config(slot, express + 8, std::uint16_t{0x8000});
  EXPECT_EQ(end.hardware().status(), 0);
  EXPECT_FALSE(end.hardware().queue_enabled(0));
  EXPECT_EQ(board.config<std::uint16_t>(slot, 4), 0u);
}

TEST_F(VirtioPciTest, ADriverThatForgetsBusMasteringIsTold) {
  ModernEnd end{board, make_rng()};
  start(end);
  board.set_command(slot, 2);
  ask();
  end.notify(0);
  EXPECT_TRUE(end.broken());
  const auto faults = board.log.all<DeviceFault>();
  ASSERT_FALSE(faults.empty());
  EXPECT_EQ(faults[0].fault.kind, FaultKind::bus_master_off);
  EXPECT_EQ(ring.used_index(), 0);
}

// The buffer is the device's own status register: what the device writes there must not reset it at work.
TEST_F(VirtioPciTest, ADeviceDoesNotReachItsOwnRegisters) {
  ModernEnd end{board, make_rng()};
  start(end);
  ring.desc(0, {end.common_at() + 20, 1, spec::vring_flag::write, 0});
  ring.offer(0);
  ring.publish();
  end.notify(0);
  EXPECT_TRUE(end.broken());
  EXPECT_NE(end.hardware().status() & driver_ok, 0);
}

}  // namespace
}  // namespace cbit::dev
