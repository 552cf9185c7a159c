#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernel/virtio/virtio.hpp"
#include "unit/system/kernel/virtio_board.hpp"

namespace cbit::kernel {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using namespace spec::virtio_status;

constexpr std::uint8_t running = acknowledge | driver | features_ok | driver_ok;
constexpr std::uint8_t given_up = acknowledge | driver | failed;
static_assert(given_up == 0x83);

dev::VirtioBlkOptions without_access_platform() { return {.virtio = {.iommu_platform = false}}; }
dev::VirtioBlkOptions legacy() { return {.virtio = {.iommu_platform = false, .legacy = true}}; }

class VirtioNegotiationOn : public ::testing::TestWithParam<Platform> {};
INSTANTIATE_TEST_SUITE_P(Platforms, VirtioNegotiationOn, ::testing::ValuesIn(platforms));

TEST_P(VirtioNegotiationOn, TakesAModernDeviceThatOffersAccessPlatform) {
  VirtioDisk board{GetParam()};
  EXPECT_EQ(board.probe(), running);
  EXPECT_FALSE(board.error);
  EXPECT_THAT(board.messages(), IsEmpty());
  const auto negotiated = board.log.all<VirtioNegotiated>();
  ASSERT_EQ(negotiated.size(), 2u) << "FEATURES_OK and DRIVER_OK";
  EXPECT_EQ(negotiated[0].status, acknowledge | driver | features_ok);
  EXPECT_EQ(negotiated[1].status, running);
  EXPECT_NE(negotiated[1].accepted & spec::virtio_feature::access_platform, 0u);
  EXPECT_TRUE(board.decided("vring_use_dma_api", {"ACCESS_PLATFORM was negotiated"}));
}

class VirtioNegotiationInGuest : public ::testing::TestWithParam<Platform> {};
INSTANTIATE_TEST_SUITE_P(Platforms, VirtioNegotiationInGuest,
                         ::testing::Values(Platform::sev, Platform::sev_es, Platform::sev_snp,
                                           Platform::tdx));

// Outcome 29.
TEST_P(VirtioNegotiationInGuest, RefusesADeviceThatDoesNotOfferAccessPlatform) {
  VirtioDisk board{GetParam(), without_access_platform()};
  EXPECT_EQ(board.probe(), given_up);
  EXPECT_EQ(board.error, Errno::enodev);
  EXPECT_THAT(board.messages(), ElementsAre("device must provide VIRTIO_F_ACCESS_PLATFORM"));
  EXPECT_FALSE(board.hardware->queue_enabled(0));
  const auto negotiated = board.log.all<VirtioNegotiated>();
  ASSERT_EQ(negotiated.size(), 1u);
  EXPECT_EQ(negotiated[0].status, 0x83);
  EXPECT_TRUE(board.decided("virtio_features_ok", {"memory is encrypted", "ACCESS_PLATFORM"}));
}

TEST_P(VirtioNegotiationInGuest, RefusesALegacyDevice) {
  VirtioDisk board{GetParam(), legacy()};
  EXPECT_EQ(board.probe(), given_up);
  EXPECT_EQ(board.error, Errno::enodev);
  EXPECT_THAT(board.messages(), ElementsAre("device must provide VIRTIO_F_VERSION_1"));
}

TEST_P(VirtioNegotiationInGuest, OfAnOlderKernelTakesAnyDevice) {
  VirtioDisk board{GetParam(), without_access_platform()};
  EXPECT_EQ(board.probe({.restricted_access_check = false}), running);
  EXPECT_TRUE(board.decided("vring_use_dma_api", {"no ACCESS_PLATFORM", "guest-physical"}));
}

class VirtioNegotiationOnHost : public ::testing::TestWithParam<Platform> {};
INSTANTIATE_TEST_SUITE_P(Platforms, VirtioNegotiationOnHost,
                         ::testing::Values(Platform::plain, Platform::sme));

TEST_P(VirtioNegotiationOnHost, DemandsNothingOfADevice) {
  VirtioDisk modern{GetParam(), without_access_platform()};
  EXPECT_EQ(modern.probe(), running);
  VirtioDisk old{GetParam(), legacy()};
  EXPECT_EQ(old.probe(), acknowledge | driver | driver_ok) << "a legacy device knows no FEATURES_OK";
}

// Outcome 31.
TEST(VirtioNegotiation, FailsWhenTheDeviceRefusesFeaturesOk) {
  VirtioDisk board{Platform::plain};
  EXPECT_EQ(board.probe({.refused_features = spec::virtio_feature::access_platform}), given_up);
  EXPECT_EQ(board.error, Errno::enodev);
  EXPECT_THAT(board.messages(), ElementsAre("virtio: device refuses features: 3"));
  const auto negotiated = board.log.all<VirtioNegotiated>();
  ASSERT_EQ(negotiated.size(), 2u);
  EXPECT_EQ(negotiated[0].status, acknowledge | driver) << "FEATURES_OK was not latched";
  EXPECT_EQ(negotiated[0].accepted & spec::virtio_feature::access_platform, 0u);
  EXPECT_EQ(negotiated[1].status, given_up);
}

// Like virtio-balloon, whose validate() clears the bit.
TEST(VirtioNegotiation, ADriverThatClearsAccessPlatformNeverProbesInASevGuest) {
  VirtioDisk board{Platform::sev};
  EXPECT_EQ(board.probe({.refused_features = spec::virtio_feature::access_platform}), given_up);
  EXPECT_THAT(board.messages(), ElementsAre("device must provide VIRTIO_F_ACCESS_PLATFORM"));
}

TEST(VirtioNegotiation, TheTransportSetsTheMasksOfThePciFunction) {
  VirtioDisk modern{Platform::plain};
  modern.probe();
  EXPECT_EQ(modern.parent.dma_mask, bit_mask(64));
  EXPECT_EQ(modern.parent.coherent_dma_mask, bit_mask(64));
  VirtioDisk old{Platform::plain, legacy()};
  old.probe();
  EXPECT_EQ(old.parent.dma_mask, bit_mask(64));
  EXPECT_EQ(old.parent.coherent_dma_mask, bit_mask(44));
}

TEST(VirtioNegotiation, AcceptsOnlyWhatDriverAndRingUnderstand) {
  VirtioDisk board{Platform::plain};
  board.probe();
  EXPECT_EQ(board.hardware->driver_features() & ~board.hardware->device_features(), 0u);
  EXPECT_NE(board.hardware->driver_features() & spec::virtio_feature::indirect_desc, 0u);
}

TEST(VirtioNegotiation, RemovalResetsTheDevice) {
  VirtioDisk board{Platform::sev};
  board.probe();
  board.driver.reset();
  EXPECT_EQ(board.hardware->status(), 0);
  EXPECT_FALSE(board.hardware->queue_enabled(0));
  EXPECT_EQ(board.dma().release(board.parent), 0u) << "nothing stays mapped";
  EXPECT_EQ(board.probe(), running) << "and can be taken again";
}

TEST(VirtioNegotiation, ASecondDriverFindsTheQueueInUse) {
  VirtioDisk board{Platform::plain};
  board.probe();
  VirtioBinding binding{*board.kernel, *board.hardware, board.parent, {}};
  ASSERT_TRUE(binding.negotiate(0));
  auto first = Vring::create(board.cpu(), binding, 0, "first");
  ASSERT_TRUE(first);
  const auto second = Vring::create(board.cpu(), binding, 0, "second");
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error(), Errno::enoent);
  EXPECT_EQ(Vring::create(board.cpu(), binding, 1, "none").error(), Errno::enoent) << "there is no queue 1";
  binding.reset();
}

}  // namespace
}  // namespace cbit::kernel
