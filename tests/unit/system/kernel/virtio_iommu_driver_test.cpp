#include "kernel/virtio/virtio_iommu_driver.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dev/virtio/virtio_iommu.hpp"
#include "unit/system/kernel/virtio_board.hpp"

namespace cbit::kernel {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class Board : public DmaBoard {
 public:
  explicit Board(IommuMode mode, const dev::VirtioIommuOptions& options = {},
                 Platform platform = Platform::plain)
      : DmaBoard{platform,
                 {.swiotlb = {.slots = 4096}, .iommu = mode},
                 {.memory_bytes = 256ull << 20, .virtio_iommu = true, .virtual_machine = true}},
        parent{kernel->add_device({.name = "viommu"})} {
    hardware = std::move(*dev::VirtioIommu::create(
        machine->bus(), {.device = "viommu", .requester = parent.requester}, options));
  }
  std::uint8_t probe(const VirtioDriverOptions& options = {}) {
    auto probed = VirtioIommuDriver::probe(*kernel, *hardware, parent, options);
    if (probed) driver = std::move(*probed);
    error = probed ? std::optional<Errno>{} : probed.error();
    return hardware->status();
  }
  // A device as the firmware leaves it: on the bus, and known to the kernel.
  Device& nic() {
    const auto requester = static_cast<RequesterId>(0x80);
    nic_port.emplace(machine->bus(), bus::DmaPortConfig{.device = "nic", .requester = requester});
    Device device;
    device.name = "nic";
    device.requester = requester;
    device.dma_mask = device.coherent_dma_mask = bit_mask(64);
    return kernel->add_device(device);
  }
  std::vector<std::string> requests() const {
    std::vector<std::string> types;
    for (const auto& request : log.all<VirtioIommuRequest>()) types.emplace_back(request.type);
    return types;
  }
  std::size_t exits() const { return log.all<GuestExit>().size(); }

  Device& parent;
  std::unique_ptr<dev::VirtioIommu> hardware;
  std::unique_ptr<VirtioIommuDriver> driver;
  std::optional<bus::DmaPort> nic_port;
  std::optional<Errno> error;
};

TEST(VirtioIommuDriver, MapsThroughRequestsOneExitEach) {
  for (const bool packed : {false, true}) {
    dev::VirtioIommuOptions options;
    options.virtio.packed = packed;
    Board board{IommuMode::translated, options};
    ASSERT_EQ(board.probe(), 0x0f);
    Device& nic = board.nic();
    EXPECT_EQ(board.requests(), (std::vector<std::string>{"probe", "attach"}));
    const auto buffer = board.buffer(3 * page_size, 1);
    board.log.clear();

    const DmaAddr at =
        board.dma().map_single(board.cpu(), nic, buffer.at, buffer.bytes, DmaDirection::to_device);
    ASSERT_FALSE(board.dma().mapping_error(nic, at));
    EXPECT_EQ(board.requests(), std::vector<std::string>{"map"});
    EXPECT_EQ(board.exits(), 1u);
    EXPECT_NE(at.value(), buffer.phys.value());
    EXPECT_EQ(board.read_by(*board.nic_port, at, buffer.bytes), board.seen(buffer));
    EXPECT_FALSE(board.nic_port->write(at, pattern_bytes(16, 3))) << "mapped to be read";
    Bytes byte(1);
    EXPECT_FALSE(board.nic_port->read(DmaAddr{buffer.phys.value()}, byte)) << "not by physical address";

    board.log.clear();
    board.dma().unmap_single(board.cpu(), nic, at, buffer.bytes, DmaDirection::to_device);
    EXPECT_EQ(board.requests(), std::vector<std::string>{"unmap"});
    EXPECT_EQ(board.exits(), 1u);
    EXPECT_FALSE(board.nic_port->read(at, byte));
    EXPECT_THAT(board.messages(), Contains(HasSubstr("page fault from EP 128 at ")));
  }
}

TEST(VirtioIommuDriver, IdentityDomainIsOneAttachWithTheBypassFlag) {
  Board board{IommuMode::passthrough};
  ASSERT_EQ(board.probe(), 0x0f);
  Device& nic = board.nic();
  EXPECT_EQ(nic.iommu, nullptr) << "dma-direct";
  EXPECT_EQ(board.requests(), (std::vector<std::string>{"probe", "attach"}));
  const auto buffer = board.buffer(page_size, 1);
  board.log.clear();
  const DmaAddr at = board.dma().map_single(board.cpu(), nic, buffer.at, page_size, DmaDirection::to_device);
  EXPECT_EQ(at.value(), buffer.phys.value());
  EXPECT_EQ(board.read_by(*board.nic_port, at, page_size), board.seen(buffer));
  EXPECT_EQ(board.exits(), 0u);
  board.dma().unmap_single(board.cpu(), nic, at, page_size, DmaDirection::to_device);
}

TEST(VirtioIommuDriver, IdentityDomainWithoutBypassConfigMapsAroundReservedRegions) {
  dev::VirtioIommuOptions options;
  options.bypass_config = false;
  options.domains.reserved = {{iommu::ViommuReservedType::msi, {DmaAddr{0xfee0'0000}, DmaAddr{0xfeef'ffff}}},
                              {iommu::ViommuReservedType::reserved, {DmaAddr{0}, DmaAddr{0xfff}}}};
  Board board{IommuMode::passthrough, options};
  ASSERT_EQ(board.probe(), 0x0f);
  (void)board.nic();
  std::vector<std::pair<std::uint64_t, std::uint64_t>> maps;
  for (const auto& request : board.log.all<VirtioIommuRequest>())
    if (request.type == "map") maps.emplace_back(request.first.value(), request.last.value());
  EXPECT_EQ(maps, (std::vector<std::pair<std::uint64_t, std::uint64_t>>{{0x1000, 0xfedf'ffff},
                                                                        {0xfef0'0000, ~std::uint64_t{0}}}));
  const auto buffer = board.buffer(page_size, 1);
  EXPECT_EQ(board.read_by(*board.nic_port, DmaAddr{buffer.phys.value()}, page_size), board.seen(buffer));
}

TEST(VirtioIommuDriver, LinuxNegotiatesAllButTheOldBypass) {
  dev::VirtioIommuOptions options;
  options.bypass_feature = true;
  Board board{IommuMode::translated, options};
  ASSERT_EQ(board.probe(), 0x0f);
  EXPECT_EQ(board.hardware->driver_features() & bit_mask(28), 0b1110111u);
}

TEST(VirtioIommuDriver, EndpointInNoDomainPassesWhereConfigBypassIsSet) {
  for (const bool bypass : {true, false}) {
    dev::VirtioIommuOptions options;
    options.boot_bypass = bypass;
    Board board{IommuMode::translated, options};
    const auto buffer = board.buffer(page_size, 1);
    bus::DmaPort port{board.machine->bus(), {.device = "nic", .requester = 0x80}};
    Bytes seen(page_size);
    EXPECT_EQ(port.read(DmaAddr{buffer.phys.value()}, seen).has_value(), bypass)
        << "before a driver is there";
    ASSERT_EQ(board.probe(), 0x0f);
    ASSERT_TRUE(board.driver->send_attach(7, 0x80, 0));
    EXPECT_FALSE(port.read(DmaAddr{buffer.phys.value()}, seen));
    ASSERT_TRUE(board.driver->send_detach(7, 0x80));
    board.log.clear();
    EXPECT_EQ(port.read(DmaAddr{buffer.phys.value()}, seen).has_value(), bypass);
    const auto faults = board.log.all<VirtioIommuFault>();
    ASSERT_EQ(faults.size(), bypass ? 0u : 1u);
    if (!bypass) {
      EXPECT_EQ(faults[0].reason, 1);
      EXPECT_THAT(board.messages(), Contains(HasSubstr("domain fault from EP 128 at ")));
    }
  }
}

TEST(VirtioIommuDriver, StatusesComeBackAsErrno) {
  Board board{IommuMode::translated};
  ASSERT_EQ(board.probe(), 0x0f);
  VirtioIommuDriver& driver = *board.driver;
  bus::DmaPort port{board.machine->bus(), {.device = "nic", .requester = 0x80}};
  const iommu::ViommuRange page{DmaAddr{0x1000}, DmaAddr{0x1fff}};
  EXPECT_EQ(driver.send_attach(1, 0x999, 0).error(), Errno::enoent);
  EXPECT_EQ(driver.send_attach(1, 0x80, 2).error(), Errno::einval);
  EXPECT_EQ(driver.send_map(9, page, PhysAddr{0}, 3).error(), Errno::enoent);
  ASSERT_TRUE(driver.send_attach(1, 0x80, 0));
  EXPECT_EQ(driver.send_map(1, {DmaAddr{0x1000}, DmaAddr{0x1ffe}}, PhysAddr{0}, 3).error(), Errno::erange);
  ASSERT_TRUE(driver.send_map(1, {DmaAddr{0x1000}, DmaAddr{0x2fff}}, PhysAddr{0}, 3));
  EXPECT_EQ(driver.send_map(1, page, PhysAddr{0}, 3).error(), Errno::einval);
  EXPECT_EQ(driver.send_unmap(1, page).error(), Errno::erange);
}

// A virtio-iommu is a virtio device like any other: an encrypted guest wants the flag of it.
TEST(VirtioIommuDriver, ItselfNeedsAccessPlatformInAnEncryptedGuest) {
  dev::VirtioIommuOptions options;
  options.virtio.iommu_platform = false;
  Board refused{IommuMode::translated, options, Platform::sev};
  EXPECT_EQ(refused.probe(), 0x83);
  EXPECT_EQ(refused.error, Errno::enodev);
  Board board{IommuMode::passthrough, {}, Platform::sev};
  EXPECT_EQ(board.probe(), 0x0f);
  Device& nic = board.nic();
  const auto buffer = board.buffer(page_size, 1);
  const DmaAddr at = board.dma().map_single(board.cpu(), nic, buffer.at, page_size, DmaDirection::to_device);
  ASSERT_FALSE(board.dma().mapping_error(nic, at));
  EXPECT_TRUE(board.bounced(nic, at));
  EXPECT_EQ(board.read_by(*board.nic_port, at, page_size), board.seen(buffer));
  board.dma().unmap_single(board.cpu(), nic, at, page_size, DmaDirection::to_device);
  EXPECT_THAT(board.complaints(), IsEmpty());
}

TEST(VirtioIommuDriver, ADeviceWithoutMapUnmapOrPageSizesIsRefused) {
  dev::VirtioIommuOptions options;
  options.virtio.iommu_platform = false;
  options.virtio.legacy = true;
  Board board{IommuMode::translated, options};
  EXPECT_EQ(board.probe() & spec::virtio_status::failed, spec::virtio_status::failed);
  EXPECT_EQ(board.error, Errno::enodev) << "no VERSION_1";
}

}  // namespace
}  // namespace cbit::kernel
