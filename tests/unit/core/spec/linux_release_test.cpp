// Releases as /proc and a kernel's banner give them.
#include "spec/linux_release.hpp"

#include <gtest/gtest.h>

namespace cbit::spec {
namespace {

TEST(KernelRelease, IsReadOffTheFrontOfARelease) {
  EXPECT_EQ(parse_release("6.1.0-30-amd64\n"), (KernelRelease{6, 1}));
  EXPECT_EQ(parse_release("6.12.9+bpo-amd64"), (KernelRelease{6, 12}));
}

TEST(KernelRelease, TakesTheModelWhoseRulesItHas) {
  EXPECT_EQ(nearest_version(KernelRelease{5, 10}), KernelVersion::v6_1);
  EXPECT_EQ(nearest_version(KernelRelease{6, 5}), KernelVersion::v6_1);
  EXPECT_EQ(nearest_version(KernelRelease{6, 6}), KernelVersion::v6_6);
  EXPECT_EQ(nearest_version(KernelRelease{6, 9}), KernelVersion::v6_6);
  EXPECT_EQ(nearest_version(KernelRelease{6, 12}), KernelVersion::v6_12);
  EXPECT_EQ(nearest_version(KernelRelease{6, 17}), KernelVersion::v6_12);
  EXPECT_EQ(nearest_version(KernelRelease{6, 18}), KernelVersion::v6_19) << "dma_map_phys() came with it";
  EXPECT_EQ(nearest_version(KernelRelease{7, 0}), KernelVersion::v6_19);
  EXPECT_EQ(nearest_version(KernelRelease{7, 1}), KernelVersion::v7_2) << "so did DMA_ATTR_CC_SHARED";
  EXPECT_EQ(nearest_version(KernelRelease{7, 2}), KernelVersion::v7_2);
  EXPECT_EQ(nearest_version(KernelRelease{7, 3}), KernelVersion::v7_3);
  EXPECT_EQ(nearest_version(KernelRelease{10, 0}), KernelVersion::v7_3) << "what is only posted is nobody's";
  EXPECT_EQ(nearest_version(std::nullopt), KernelVersion::v6_1);
}

}  // namespace
}  // namespace cbit::spec
