#include "dev/p9/shared_folder.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/host_folder.hpp"

namespace cbit::dev {
namespace {

using test::HostFolder;
using testing::ElementsAre;
using testing::HasSubstr;

int refusal_of(const OrErrno<SharedNode>& node) { return node ? 0 : node.error().value; }

class SharedFolderTest : public ::testing::Test {
 protected:
  [[nodiscard]] SharedNode at(std::string_view path) const {
    auto node = host.shared->find(path);
    EXPECT_TRUE(node) << path;
    return std::move(*node);
  }
  [[nodiscard]] static std::string text_of(SharedNode node) {
    EXPECT_TRUE(node.open());
    Bytes bytes(64);
    const auto read = node.read(0, bytes);
    EXPECT_TRUE(read);
    return {reinterpret_cast<const char*>(bytes.data()), read ? *read : 0};
  }

  HostFolder host;
};

TEST_F(SharedFolderTest, ShowsWhatIsInIt) {
  EXPECT_EQ(text_of(at("file")), HostFolder::words);
  EXPECT_EQ(text_of(at("folder/deep/leaf")), "leaf");
  const auto status = at("file").status();
  ASSERT_TRUE(status);
  EXPECT_EQ(status->st_mode, S_IFREG | 0640u);
  EXPECT_EQ(status->st_size, 11);
  EXPECT_EQ(at("folder/deep").path(), "folder/deep");
}

TEST_F(SharedFolderTest, ListsAFolderInOrderOfNames) {
  const auto entries = host.shared->list(at(""), 100);
  ASSERT_TRUE(entries);
  std::vector<std::string> names;
  for (const SharedEntry& entry : *entries) names.push_back(entry.name);
  EXPECT_THAT(names, ElementsAre(".", "..", "absolute", "empty", "fifo", "file", "folder", "inside", "out",
                                 "socket"));
  EXPECT_EQ(host.shared->list(at(""), 3).error(), Errno{EOVERFLOW});
  EXPECT_EQ(host.shared->list(at("file"), 3).error(), Errno{ENOTDIR});
}

TEST_F(SharedFolderTest, TheFolderAboveItIsItself) {
  const auto entries = host.shared->list(at(""), 100);
  ASSERT_TRUE(entries);
  EXPECT_EQ((*entries)[0].status.st_ino, (*entries)[1].status.st_ino);
  const auto up = host.shared->step(at(""), "..");
  ASSERT_TRUE(up);
  EXPECT_EQ(up->status()->st_ino, at("").status()->st_ino);
  const auto back = host.shared->step(at("folder/deep"), "..");
  ASSERT_TRUE(back);
  EXPECT_EQ(back->path(), "folder");
  EXPECT_EQ(back->status()->st_ino, at("folder").status()->st_ino);
}

TEST_F(SharedFolderTest, FollowsNoLinks) {
  for (const char* const link : {"out", "absolute", "inside"}) {
    SharedNode node = at(link);
    EXPECT_TRUE(S_ISLNK(node.status()->st_mode)) << link;
    EXPECT_EQ(node.open().error(), Errno{ELOOP}) << link;
    EXPECT_EQ(refusal_of(host.shared->step(node, "secret")), ENOTDIR) << link;
    EXPECT_EQ(refusal_of(host.shared->step(node, "..")), ENOTDIR) << link;
  }
  EXPECT_EQ(at("out").target(), "../outside") << "where it leads to may be told";
  EXPECT_EQ(at("file").target().error(), Errno{EINVAL});
}

TEST_F(SharedFolderTest, TakesOneNameAtATime) {
  for (const char* const name : {"", ".", "folder/deep", "../outside", "/etc", "folder/"})
    EXPECT_EQ(refusal_of(host.shared->step(at(""), name)), ENOENT) << name;
  EXPECT_EQ(refusal_of(host.shared->step(at(""), std::string_view{"file\0x", 6})), ENOENT);
  EXPECT_EQ(refusal_of(host.shared->step(at(""), std::string(300, 'x'))), ENAMETOOLONG);
  EXPECT_EQ(refusal_of(host.shared->step(at("file"), "x")), ENOTDIR);
  EXPECT_EQ(refusal_of(host.shared->step(at("file"), "..")), ENOTDIR);
}

TEST_F(SharedFolderTest, StaysInsideWhenAFolderIsMovedOutMeanwhile) {
  const SharedNode deep = at("folder/deep");
  std::filesystem::rename(host.path("folder"), host.temporary.file("outside/folder"));
  EXPECT_EQ(refusal_of(host.shared->step(deep, "..")), ENOENT);
  std::filesystem::create_directory_symlink(host.temporary.file("outside"), host.path("folder"));
  EXPECT_EQ(refusal_of(host.shared->find("folder/secret")), ENOTDIR);
}

TEST_F(SharedFolderTest, StaysWithTheFileThatItLookedAt) {
  SharedNode node = at("file");
  std::filesystem::remove(host.path("file"));
  std::filesystem::create_symlink(host.temporary.file("outside/secret"), host.path("file"));
  EXPECT_EQ(text_of(std::move(node)), HostFolder::words);
}

TEST_F(SharedFolderTest, OpensNeitherFifosNorSockets) {
  for (const char* const name : {"fifo", "socket"}) {
    SharedNode node = at(name);
    EXPECT_TRUE(node.status()) << name;
    EXPECT_EQ(node.open().error(), Errno{EACCES}) << name;
  }
}

TEST_F(SharedFolderTest, RefusesAnOffsetThatNoFileHas) {
  SharedNode node = at("file");
  ASSERT_TRUE(node.open());
  Bytes bytes(4);
  EXPECT_EQ(node.read(~std::uint64_t{0}, bytes).error(), Errno{EINVAL});
  EXPECT_EQ(node.read(1 << 20, bytes), 0u);
}

TEST(SharedFolder, RefusesWhatIsNoFolder) {
  const HostFolder host;
  const auto words = [](const std::string& path) {
    const auto folder = SharedFolder::open(path);
    EXPECT_FALSE(folder) << path;
    return folder ? std::string{} : folder.error().message + "; " + folder.error().hint;
  };
  EXPECT_THAT(words(host.path("file")), HasSubstr("it is no folder; share the folder that it is in"));
  EXPECT_THAT(words(host.path("nothing")), HasSubstr("No such file or directory; name a folder"));
  EXPECT_THAT(words(host.path("fifo")), HasSubstr("it is no folder"));
  EXPECT_THAT(words("/proc"), HasSubstr("the kernel's own"));
}

TEST(SharedFolder, RefusesAFolderThatMayNotBeRead) {
  if (geteuid() == 0) GTEST_SKIP() << "root may read everything";
  const HostFolder host;
  ASSERT_EQ(chmod(host.path("empty").c_str(), 0111), 0);
  EXPECT_FALSE(SharedFolder::open(host.path("empty")));
  ASSERT_EQ(chmod(host.path("empty").c_str(), 0444), 0);
  const auto closed = SharedFolder::open(host.path("empty"));
  ASSERT_FALSE(closed);
  EXPECT_THAT(closed.error().hint, HasSubstr("check its rights"));
}

}  // namespace
}  // namespace cbit::dev
