#include "machine/slots.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "support/pci_board.hpp"

namespace cbit::machine {
namespace {

using ::testing::HasSubstr;

TEST(Slots, EachKindHasANameOfItsOwnAndAnIdentity) {
  std::set<std::string_view> names;
  for (const DeviceKind& kind : device_kinds()) {
    EXPECT_TRUE(names.insert(kind.name).second) << kind.name;
    EXPECT_NE(kind.identity.vendor, 0) << kind.name;
    EXPECT_NE(kind.identity.device, 0) << kind.name;
    EXPECT_FALSE(kind.what.empty());
    std::set<std::string_view> options;
    for (const DeviceOption& option : kind.options) EXPECT_TRUE(options.insert(option.name).second);
  }
  EXPECT_EQ(names, (std::set<std::string_view>{"bochs-display", "e1000", "nvme", "test-dma", "virtio-9p",
                                               "virtio-blk", "virtio-console", "virtio-iommu", "virtio-net",
                                               "virtio-rng", "virtio-scsi", "virtio-vsock"}));
}

TEST(Slots, PlugsEveryKindIntoPciWithTheIdentityOfTheTable) {
  test::PciBoard board;
  dev::MemoryDisk disk{Bytes(4096)};
  const auto folder = dev::SharedFolder::open(".");
  ASSERT_TRUE(folder) << folder.error().message;
  unsigned slot = 1;
  std::vector<std::unique_ptr<bus::PciFunction>> functions;
  for (const DeviceKind& kind : device_kinds()) {
    auto request = parse_device(kind.name);
    ASSERT_TRUE(request) << request.error().message;
    if (dev::BlockBackend** const backend = backend_of(request->options)) *backend = &disk;
    if (auto* const options = std::get_if<ShareOptions>(&request->options)) options->folder = folder->get();
    auto function = plug_pci(board.pci, board.bus, board.clock, *request,
                             {.name = std::string{kind.name}, .requester = spec::pci_requester(0, slot, 0)});
    ASSERT_TRUE(function) << function.error().message;
    functions.push_back(std::move(*function));
    EXPECT_EQ(board.config<std::uint16_t>(slot, 0), kind.identity.vendor) << kind.name;
    EXPECT_EQ(board.config<std::uint16_t>(slot, 2), kind.identity.device) << kind.name;
    ++slot;
  }
  board.assign_resources();
  for (unsigned n = 1; n < slot; ++n) EXPECT_NE(board.config<std::uint16_t>(n, 4) & 2, 0) << n;
}

TEST(Slots, PlugsADeviceForADirectDriver) {
  test::PciBoard board;
  auto rng = plug<dev::VirtioRng>(board.bus, "virtio-rng", {.name = "rng", .requester = 8},
                                  dev::VirtioRngOptions{.queue_size = 4});
  ASSERT_TRUE(rng);
  EXPECT_EQ((*rng)->queue_size_max(0), 4);
  auto test_dma = plug<dev::TestDma>(board.bus, "test-dma", {.name = "t", .requester = 16},
                                     TestDmaOptions{.address_bits = 40});
  ASSERT_TRUE(test_dma);
  EXPECT_EQ((*test_dma)->port().config().address_bits, 40u);
}

TEST(Slots, ReadsOptionsFromText) {
  const auto request = parse_device("virtio-blk,transitional=on,access-platform=off,serial=abc");
  ASSERT_TRUE(request) << request.error().message;
  const auto& options = std::get<DiskOptions>(request->options);
  EXPECT_TRUE(options.device.virtio.transitional);
  EXPECT_FALSE(options.device.virtio.iommu_platform);
  EXPECT_EQ(options.device.serial, "abc");
  const auto console = parse_device("virtio-console,port=a,port=b");
  ASSERT_TRUE(console);
  EXPECT_EQ(std::get<dev::VirtioConsoleOptions>(console->options).ports.size(), 2u);
  EXPECT_EQ(std::get<TestDmaOptions>(parse_device("test-dma,address-bits=47")->options).address_bits, 47u);
  EXPECT_EQ(std::get<ShareOptions>(parse_device("virtio-9p,tag=src")->options).device.tag, "src");
}

TEST(Slots, SaysWhatThereIsInsteadOfWhatIsNot) {
  const auto refusal = [](std::string_view text) {
    const auto request = parse_device(text);
    EXPECT_FALSE(request) << text;
    return request ? std::string{} : request.error().message + "; " + request.error().hint;
  };
  EXPECT_THAT(refusal("virtio-gpu"), HasSubstr("virtio-rng"));
  EXPECT_THAT(refusal(""), HasSubstr("virtio-rng"));
  EXPECT_THAT(refusal("test-dma,bits=3"), HasSubstr("address-bits"));
  EXPECT_THAT(refusal("test-dma,address-bits=65"), HasSubstr("1..64"));
  EXPECT_THAT(refusal("test-dma,address-bits="), HasSubstr("1..64"));
  EXPECT_THAT(refusal("virtio-rng,packed=yes"), HasSubstr("on|off"));
}

TEST(Slots, RefusesATakenSlotADiskWithoutImageAndAShareWithoutFolder) {
  test::PciBoard board;
  const DevicePlace place{.name = "x", .requester = 8};
  const auto first = plug_pci(board.pci, board.bus, board.clock, *parse_device("virtio-rng"), place);
  ASSERT_TRUE(first);
  EXPECT_FALSE(plug_pci(board.pci, board.bus, board.clock, *parse_device("virtio-rng"), place));
  EXPECT_FALSE(plug_pci(board.pci, board.bus, board.clock, *parse_device("virtio-rng"), {"x", 9}));
  EXPECT_FALSE(plug_pci(board.pci, board.bus, board.clock, *parse_device("virtio-blk"), {"x", 16}));
  EXPECT_FALSE(plug_pci(board.pci, board.bus, board.clock, *parse_device("virtio-9p"), {"x", 16}));
  EXPECT_FALSE(plug_pci(board.pci, board.bus, board.clock, *parse_device("virtio-rng,legacy=on"), {"x", 24}))
      << "a legacy device has no ACCESS_PLATFORM";
}

}  // namespace
}  // namespace cbit::machine
