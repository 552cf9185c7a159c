#include "os/interruption.hpp"

#include <gtest/gtest.h>

namespace cbit::os {
namespace {

constexpr int signals[] = {SIGUSR1, SIGUSR2};

TEST(Interruption, NotesItsSignalsAndGivesThemBack) {
  struct sigaction before{};
  ::sigaction(SIGUSR1, nullptr, &before);
  {
    const Interruption interruption{signals};
    EXPECT_FALSE(interruption.came());
    ::raise(SIGUSR1);
    EXPECT_TRUE(interruption.came());
  }
  struct sigaction after{};
  ::sigaction(SIGUSR1, nullptr, &after);
  EXPECT_EQ(after.sa_handler, before.sa_handler);
  EXPECT_FALSE(Interruption{signals}.came()) << "of the one before";
}

// As nohup and the background of a shell have it.
TEST(Interruption, LeavesWhatIsIgnoredIgnored) {
  ::signal(SIGUSR2, SIG_IGN);
  {
    const Interruption interruption{signals};
    ::raise(SIGUSR2);
    EXPECT_FALSE(interruption.came());
  }
  ::signal(SIGUSR2, SIG_DFL);
}

}  // namespace
}  // namespace cbit::os
