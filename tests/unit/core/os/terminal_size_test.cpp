#include "os/terminal_size.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "os/descriptor.hpp"

namespace cbit::os {
namespace {

class TerminalSizeTest : public testing::Test {
 protected:
  void SetUp() override { ::unsetenv("COLUMNS"); }
  void TearDown() override { ::unsetenv("COLUMNS"); }
};

TEST_F(TerminalSizeTest, IsTheUsersOwnWishBeforeAnythingElse) {
  const Descriptor null{::open("/dev/null", O_RDWR | O_CLOEXEC)};
  EXPECT_EQ(columns_of(null.fd()), std::nullopt);
  ::setenv("COLUMNS", "72", 1);
  EXPECT_EQ(columns_of(null.fd()), 72u);
}

TEST_F(TerminalSizeTest, IsNotWhatIsNoNumberOfColumns) {
  const Descriptor null{::open("/dev/null", O_RDWR | O_CLOEXEC)};
  for (const char* const text : {"", "0", "-1", "wide", "80 ", "99999999999999999999"}) {
    ::setenv("COLUMNS", text, 1);
    EXPECT_EQ(columns_of(null.fd()), std::nullopt) << text;
  }
}

TEST_F(TerminalSizeTest, IsThatOfTheTerminalWhereItHasOne) {
  const Descriptor terminal{::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)};
  if (!terminal.is_open()) GTEST_SKIP() << "there are no pseudo terminals";
  EXPECT_EQ(columns_of(terminal.fd()), std::nullopt) << "a new one has no size";
  const winsize size{.ws_row = 24, .ws_col = 97, .ws_xpixel = 0, .ws_ypixel = 0};
  ASSERT_EQ(::ioctl(terminal.fd(), TIOCSWINSZ, &size), 0);
  EXPECT_EQ(columns_of(terminal.fd()), 97u);
  ::setenv("COLUMNS", "40", 1);
  EXPECT_EQ(columns_of(terminal.fd()), 40u);
}

}  // namespace
}  // namespace cbit::os
