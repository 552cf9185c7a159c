#include "guest/host_root.hpp"

#include <gtest/gtest.h>

namespace cbit::guest {
namespace {

TEST(HostRoot, BeginsInTheFolderThatIsBelowIt) {
  EXPECT_EQ(folder_below_root("/", "/home/me/linux"), "/home/me/linux");
  EXPECT_EQ(folder_below_root("/srv/root", "/srv/root/tmp"), "/tmp");
  EXPECT_EQ(folder_below_root("/srv/root", "/srv/root"), "/");
  EXPECT_EQ(folder_below_root("/srv/root", "/home"), "/");
  EXPECT_EQ(folder_below_root("/srv/root", "/srv/rooted"), "/");
}

TEST(HostRoot, QuotesTheFolderForTheShellThatGoesThere) {
  EXPECT_NE(host_root_enter("/a b/$(poweroff)").find("'/a b/$(poweroff)' \"$@\""), std::string::npos);
}

}  // namespace
}  // namespace cbit::guest
