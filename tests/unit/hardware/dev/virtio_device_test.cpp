#include "dev/virtio/virtio_device.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "virtio_transports.hpp"

namespace cbit::dev {
namespace {

using namespace spec::virtio_status;

constexpr std::uint64_t own_feature = 1ull << 3;

// Counts what it is asked to do.
class EchoDevice final : public VirtioDevice {
 public:
  EchoDevice(bus::SystemBus& bus, const VirtioOptions& options)
      : VirtioDevice{bus, {.device = "echo", .requester = 8}, options, own_feature, {8, 4}} {}

  [[nodiscard]] std::uint16_t device_id() const override { return 63; }
  int served = 0;
  int resets = 0;

 protected:
  OrTrouble<void> kicked(std::uint16_t queue) override {
    return serve(queue, [&](const VirtChain&) -> OrTrouble<std::uint32_t> {
      ++served;
      return 0u;
    });
  }
  [[nodiscard]] ConstByteSpan config_space() const override { return config_; }
  void on_reset() override { ++resets; }

 private:
  std::array<std::byte, 4> config_{std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}};
};

// A driver's end of it, and what it counts.
struct Echo {
  std::unique_ptr<DriverEnd> end;
  DriverEnd* operator->() const { return end.get(); }
  DriverEnd& operator*() const { return *end; }
  [[nodiscard]] const EchoDevice& counts() const { return static_cast<const EchoDevice&>(end->hardware()); }
};

class VirtioDeviceTest : public ::testing::TestWithParam<Transport> {
 protected:
  // One at a time.
  Echo make(const VirtioOptions& options = {}) {
    return {connect(board, GetParam(), std::make_unique<EchoDevice>(board.bus, options))};
  }
  static void start(DriverEnd& device, std::uint64_t features) {
    device.set_status(acknowledge);
    device.set_status(acknowledge | driver);
    device.set_driver_features(features);
    device.set_status(acknowledge | driver | features_ok);
  }
  void run(DriverEnd& device) {
    start(device, device.device_features());
    device.enable_queue(0, ring.config());
    device.set_status(device.status() | driver_ok);
  }
  void offer() {
    ring.desc(0, {0x50000, 4, 0, 0});
    ring.offer(0);
    ring.publish();
  }

  VirtioBoard board;
  RawRing ring{board, 8};
};
INSTANTIATE_TEST_SUITE_P(Over, VirtioDeviceTest, testing::Values(Transport::direct, Transport::pci),
                         transport_name);

TEST_P(VirtioDeviceTest, OffersRingAndTransportFeaturesByItsOptions) {
  using namespace spec::virtio_feature;
  EXPECT_EQ(make()->device_features(), own_feature | indirect_desc | event_idx | version_1 | access_platform);
  EXPECT_EQ(make({.iommu_platform = false})->device_features(),
            own_feature | indirect_desc | event_idx | version_1);
  EXPECT_EQ(make({.iommu_platform = false, .legacy = true, .indirect_desc = false, .event_idx = false})
                ->device_features(),
            own_feature);
}

TEST_P(VirtioDeviceTest, LatchesFeaturesOkForASubsetOfWhatIsOffered) {
  const auto device = make();
  start(*device, spec::virtio_feature::version_1 | spec::virtio_feature::access_platform);
  EXPECT_EQ(device->status(), acknowledge | driver | features_ok);
  EXPECT_TRUE(device->has(spec::virtio_feature::version_1));
  EXPECT_FALSE(device->has(spec::virtio_feature::event_idx));
}

TEST_P(VirtioDeviceTest, DoesNotLatchFeaturesOkWhenAnOfferedAccessPlatformIsRefused) {
  const auto device = make();
  start(*device, spec::virtio_feature::version_1);
  EXPECT_EQ(device->status(), acknowledge | driver);
  const auto negotiated = board.log.all<VirtioNegotiated>();
  ASSERT_EQ(negotiated.size(), 1u);
  EXPECT_EQ(negotiated[0].offered, device->device_features());
  EXPECT_EQ(negotiated[0].accepted, spec::virtio_feature::version_1);
  EXPECT_EQ(negotiated[0].status, acknowledge | driver);
}

TEST_P(VirtioDeviceTest, ChecksAccessPlatformOnlyForDriversOfVersionOne) {
  const auto device = make();
  start(*device, own_feature);
  EXPECT_EQ(device->status(), acknowledge | driver | features_ok);
}

TEST_P(VirtioDeviceTest, DoesNotLatchFeaturesOkForBitsThatWereNotOffered) {
  const auto device = make();
  start(*device, device->device_features() | spec::virtio_feature::ring_packed);
  EXPECT_EQ(device->status(), acknowledge | driver);
  EXPECT_FALSE(device->has(spec::virtio_feature::ring_packed));
}

TEST_P(VirtioDeviceTest, KeepsFeaturesOnceTheyAreAgreedUntilAReset) {
  const auto device = make();
  start(*device, device->device_features());
  device->set_driver_features(0);
  EXPECT_EQ(device->hardware().driver_features(), device->device_features());
  device->set_status(0);
  EXPECT_EQ(device->hardware().driver_features(), 0u);
  EXPECT_EQ(device->status(), 0);
  EXPECT_EQ(device.counts().resets, 1);
}

TEST_P(VirtioDeviceTest, ServesAModernDriverOnlyAfterDriverOk) {
  const auto device = make();
  start(*device, device->device_features());
  device->enable_queue(0, ring.config());
  offer();
  device->notify(0);
  EXPECT_EQ(device.counts().served, 0);
  device->set_status(device->status() | driver_ok);
  device->notify(0);
  EXPECT_EQ(device.counts().served, 1);
  EXPECT_EQ(ring.used_index(), 1);
}

TEST_P(VirtioDeviceTest, DoesNotServeADriverThatSkippedFeaturesOk) {
  const auto device = make();
  device->set_driver_features(device->device_features());
  device->enable_queue(0, ring.config());
  device->set_status(acknowledge | driver | driver_ok);
  offer();
  device->notify(0);
  EXPECT_EQ(device.counts().served, 0);
}

TEST_P(VirtioDeviceTest, ServesALegacyDriverBeforeDriverOk) {
  const auto device = make({.iommu_platform = false, .legacy = true});
  device->set_status(acknowledge | driver);
  device->enable_queue(0, ring.config());
  offer();
  device->notify(0);
  EXPECT_EQ(device.counts().served, 1);
}

TEST_P(VirtioDeviceTest, ServesNothingAfterFailed) {
  const auto device = make();
  run(*device);
  device->set_status(device->status() | failed);
  offer();
  device->notify(0);
  EXPECT_EQ(device.counts().served, 0);
}

TEST_P(VirtioDeviceTest, IgnoresQueuesThatItDoesNotHave) {
  const auto device = make();
  run(*device);
  EXPECT_EQ(device->hardware().queue_count(), 2);
  EXPECT_EQ(device->queue_size_max(1), 4);
  EXPECT_EQ(device->queue_size_max(2), 0);
  device->enable_queue(2, ring.config());
  device->notify(1);
  device->notify(2);
  device->hardware().disable_queue(2);
  EXPECT_FALSE(device->queue_enabled(2));
  EXPECT_FALSE(device->broken());
}

TEST_P(VirtioDeviceTest, StopsAndAsksForAResetWhenTheDriverBreaksTheRing) {
  const auto device = make();
  run(*device);
  ring.publish(100);
  device->notify(0);
  EXPECT_TRUE(device->broken());
  EXPECT_EQ(device->status(), acknowledge | driver | features_ok | driver_ok | needs_reset);
  const auto broken = board.log.all<VirtioBroken>();
  ASSERT_EQ(broken.size(), 1u);
  EXPECT_EQ(broken[0].queue, 0);
  ASSERT_EQ(device->interrupts().size(), 1u);
  EXPECT_EQ(device->interrupts()[0].kind, VirtioInterrupt::Kind::config);

  ring.publish(0);
  offer();
  device->notify(0);
  EXPECT_EQ(device.counts().served, 0) << "a stopped device serves nothing";
  device->set_status(static_cast<std::uint8_t>(device->status() & ~needs_reset));
  EXPECT_NE(device->status() & needs_reset, 0) << "only a reset clears it";

  device->set_status(0);
  EXPECT_FALSE(device->broken());
  run(*device);
  device->notify(0);
  EXPECT_EQ(device.counts().served, 1);
}

TEST_P(VirtioDeviceTest, TellsALegacyDriverNothingOfAStop) {
  const auto device = make({.iommu_platform = false, .legacy = true});
  device->set_status(acknowledge | driver);
  device->enable_queue(0, ring.config());
  ring.publish(100);
  device->notify(0);
  EXPECT_TRUE(device->broken());
  EXPECT_EQ(device->status(), acknowledge | driver);
  EXPECT_TRUE(device->interrupts().empty());
}

TEST_P(VirtioDeviceTest, StopsOnAnIllegalQueueConfiguration) {
  const auto device = make();
  start(*device, device->device_features());
  auto config = ring.config();
  config.size = 6;
  device->enable_queue(0, config);
  EXPECT_TRUE(device->broken());
  EXPECT_FALSE(device->queue_enabled(0));
  EXPECT_EQ(device->status(), acknowledge | driver | features_ok | needs_reset);
}

TEST_P(VirtioDeviceTest, TheDriverCannotSetNeedsReset) {
  const auto device = make();
  device->set_status(acknowledge | needs_reset);
  EXPECT_EQ(device->status(), acknowledge);
}

TEST_P(VirtioDeviceTest, InterruptsOncePerNotification) {
  const auto device = make();
  run(*device);
  offer();
  offer();
  device->notify(0);
  EXPECT_EQ(device.counts().served, 2);
  ASSERT_EQ(device->interrupts().size(), 1u);
  EXPECT_EQ(device->interrupts()[0].kind, VirtioInterrupt::Kind::queue);
}

// The used ring lies over the available ring, so that the device's own writes make new requests available.
TEST_P(VirtioDeviceTest, ServesAtMostAQueueFullPerNotification) {
  const auto device = make();
  start(*device, device->device_features());
  auto config = ring.config();
  config.used = DmaAddr{(ring.avail() - 4) & ~std::uint64_t{3}};
  device->enable_queue(0, config);
  device->set_status(device->status() | driver_ok);
  ring.desc(0, {0x50000, 4, 0, 0});
  ring.publish(8);
  device->notify(0);
  EXPECT_LE(device.counts().served, 8);
}

// A requester without a domain is blocked by the IOMMU, if its accesses come past it.
TEST_P(VirtioDeviceTest, GoesThroughTheIommuIfAndOnlyIfItOffersAccessPlatform) {
  iommu::Iommu iommu{mem::KeyView{}};
  board.bus.set_iommu(&iommu);
  auto behind = make({.iommu_platform = true});
  run(*behind);
  offer();
  behind->notify(0);
  EXPECT_EQ(behind.counts().served, 0);
  EXPECT_TRUE(behind->broken());
  const auto faults = board.log.all<DeviceFault>();
  ASSERT_EQ(faults.size(), 1u);
  EXPECT_EQ(faults[0].fault.kind, FaultKind::iommu_no_domain);

  behind.end.reset();
  const auto beside = make({.iommu_platform = false});
  run(*beside);
  beside->notify(0);
  EXPECT_EQ(beside.counts().served, 1);
}

TEST_P(VirtioDeviceTest, ConfigurationSpaceReadsAsZerosBeyondItsEnd) {
  const auto device = make();
  std::array<std::byte, 4> bytes{};
  device->read_config(2, bytes);
  EXPECT_EQ(bytes, (std::array{std::byte{3}, std::byte{4}, std::byte{0}, std::byte{0}}));
  bytes.fill(std::byte{0xff});
  device->read_config(0xffc, bytes);
  EXPECT_EQ(bytes, (std::array<std::byte, 4>{}));
  device->write_config(0, bytes);
}

}  // namespace
}  // namespace cbit::dev
