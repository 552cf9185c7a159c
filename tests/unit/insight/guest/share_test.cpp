#include "guest/share.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "support/host_folder.hpp"

namespace cbit::guest {
namespace {

using test::HostFolder;
using testing::AllOf;
using testing::Each;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::UnorderedElementsAre;

constexpr std::uint64_t memory_bytes = 192 << 20;

template <class Nodes>
std::vector<std::string> paths_of(const Nodes& nodes) {
  std::vector<std::string> paths;
  for (const auto& node : nodes) paths.push_back(node.path);
  return paths;
}

TEST(ShareCopy, HasFilesFoldersAndLinksAndSaysWhatItLeavesOut) {
  const HostFolder host;
  const auto copy = copy_share(*host.shared, memory_bytes);
  ASSERT_TRUE(copy) << copy.error().message;
  EXPECT_THAT(paths_of(copy->folders), UnorderedElementsAre("mnt/share", "mnt/share/empty",
                                                            "mnt/share/folder", "mnt/share/folder/deep"));
  EXPECT_THAT(paths_of(copy->files), UnorderedElementsAre("mnt/share/file", "mnt/share/folder/deep/leaf"));
  EXPECT_THAT(paths_of(copy->links),
              UnorderedElementsAre("mnt/share/absolute", "mnt/share/inside", "mnt/share/out"));
  EXPECT_THAT(copy->left_out,
              ElementsAre("fifo: it is no file, folder or link", "socket: it is no file, folder or link"));
  for (const boot::GuestFile& file : copy->files) {
    if (file.path != "mnt/share/file") continue;
    EXPECT_EQ(file.mode, 0640u);
    EXPECT_EQ((std::string{reinterpret_cast<const char*>(file.contents.data()), file.contents.size()}),
              HostFolder::words);
  }
}

TEST(ShareCopy, HasNothingOfWhatLinksLeadTo) {
  const HostFolder host;
  const auto copy = copy_share(*host.shared, memory_bytes);
  ASSERT_TRUE(copy);
  EXPECT_THAT(paths_of(copy->files), Each(testing::Not(HasSubstr("secret"))));
  const auto out = std::ranges::find(copy->links, "mnt/share/out", &boot::GuestLink::path);
  ASSERT_NE(out, copy->links.end());
  EXPECT_EQ(out->target, "../outside");
}

TEST(ShareCopy, TakesManyFoldersWithoutHoldingThemOpen) {
  const HostFolder host;
  constexpr int many = 1500;  // more than a process may hold open
  for (int n = 0; n < many; ++n) std::filesystem::create_directory(host.path(std::to_string(n)));
  const auto copy = copy_share(*host.shared, memory_bytes);
  ASSERT_TRUE(copy);
  EXPECT_EQ(copy->folders.size(), many + 4u);
}

TEST(ShareCopy, IsNoLargerThanTheGuestCanUnpack) {
  const HostFolder host;
  host.write("large", "");
  std::filesystem::resize_file(host.path("large"), 16 << 20);
  const auto copy = copy_share(*host.shared, memory_bytes);
  ASSERT_FALSE(copy);
  EXPECT_THAT(copy.error().message,
              EndsWith("is more than the 16 MiB that a guest of 192 MiB takes as a copy"));
  EXPECT_THAT(copy.error().hint, AllOf(HasSubstr("--memory"), HasSubstr("9pnet_virtio")));
  EXPECT_TRUE(copy_share(*host.shared, 2 * memory_bytes));
  EXPECT_FALSE(copy_share(*host.shared, 64 << 20));
}

TEST(Share, IsMountedByItsTagToBeReadOnly) {
  EXPECT_THAT(
      share_mount_script("share"),
      HasSubstr("mount -t 9p -o trans=virtio,version=9p2000.L,msize=131072,ro,nodev share /mnt/share"));
  EXPECT_THAT(share_copy_script(), HasSubstr("remount,bind,ro /mnt/share"));
}

}  // namespace
}  // namespace cbit::guest
