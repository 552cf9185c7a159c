// Releases as /proc and a kernel's banner give them.
#include "spec/linux_release.hpp"

#include <gtest/gtest.h>

namespace cbit::spec {
namespace {

TEST(KernelRelease, TakesTheNewestModelThatIsNotNewer) {
  EXPECT_EQ(parse_release("6.1.0-30-amd64\n"), (KernelRelease{6, 1}));
  EXPECT_EQ(parse_release("6.12.9+bpo-amd64"), (KernelRelease{6, 12}));
  EXPECT_EQ(nearest_version(KernelRelease{5, 10}), KernelVersion::v6_1);
  EXPECT_EQ(nearest_version(KernelRelease{6, 5}), KernelVersion::v6_1);
  EXPECT_EQ(nearest_version(KernelRelease{6, 6}), KernelVersion::v6_6);
  EXPECT_EQ(nearest_version(KernelRelease{6, 9}), KernelVersion::v6_6);
  EXPECT_EQ(nearest_version(KernelRelease{6, 18}), KernelVersion::v6_10);
  EXPECT_EQ(nearest_version(KernelRelease{10, 0}), KernelVersion::v6_10);
  EXPECT_EQ(nearest_version(std::nullopt), KernelVersion::v6_1);
}

}  // namespace
}  // namespace cbit::spec
