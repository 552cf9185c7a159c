#include "os/raw_terminal.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>

#include "os/descriptor.hpp"

namespace cbit::os {
namespace {

// A pseudo terminal that is nobody's controlling one.
class RawTerminalTest : public testing::Test {
 protected:
  void SetUp() override {
    master_ = Descriptor{::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)};
    if (!master_.is_open()) GTEST_SKIP() << "there are no pseudo terminals";
    EXPECT_EQ(::grantpt(master_.fd()), 0);
    EXPECT_EQ(::unlockpt(master_.fd()), 0);
    std::array<char, 128> name{};
    EXPECT_EQ(::ptsname_r(master_.fd(), name.data(), name.size()), 0);
    slave_ = Descriptor{::open(name.data(), O_RDWR | O_NOCTTY | O_CLOEXEC)};
    EXPECT_GE(slave_.fd(), 0);
  }
  [[nodiscard]] termios settings() const {
    termios now{};
    EXPECT_EQ(::tcgetattr(slave_.fd(), &now), 0);
    return now;
  }
  [[nodiscard]] bool is_raw() const { return (settings().c_lflag & (ICANON | ECHO | ISIG)) == 0; }

  // A process that takes the terminal, says so and does `then`; how it ended.
  template <class Then>
  int in_child(Then then) {
    const pid_t child = ::fork();
    if (child == 0) {
      clean_up_on_signals();
      const auto raw = RawTerminal::take(slave_.fd());
      if (!raw || !is_raw()) ::_exit(1);
      then();
      ::_exit(2);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return status;
  }

  Descriptor master_, slave_;
};

TEST_F(RawTerminalTest, HandsOverKeysAndGivesTheTerminalBack) {
  const termios before = settings();
  {
    const auto raw = RawTerminal::take(slave_.fd());
    ASSERT_TRUE(raw);
    const termios during = settings();
    EXPECT_TRUE(is_raw());
    EXPECT_EQ(during.c_iflag & (ICRNL | IXON | INLCR | IGNCR), 0u);
    EXPECT_NE(during.c_oflag & OPOST, 0u) << "a line feed still begins a line";
    EXPECT_EQ(during.c_cc[VMIN], 1);
  }
  const termios after = settings();
  EXPECT_EQ(after.c_lflag, before.c_lflag);
  EXPECT_EQ(after.c_iflag, before.c_iflag);
  EXPECT_EQ(after.c_oflag, before.c_oflag);
}

TEST_F(RawTerminalTest, TakesOnlyATerminal) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const Descriptor from{ends[0]}, to{ends[1]};
  EXPECT_FALSE(RawTerminal::take(from.fd()));
}

TEST_F(RawTerminalTest, IsGivenBackWhenASignalEndsTheProgram) {
  for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGQUIT}) {
    const int status = in_child([&] { ::raise(number); });
    ASSERT_TRUE(WIFSIGNALED(status)) << status;
    EXPECT_EQ(WTERMSIG(status), number);
    EXPECT_FALSE(is_raw());
  }
}

TEST_F(RawTerminalTest, IsGivenBackByACrash) {
  const int status = in_child([] {
    constexpr rlimit none{0, 0};
    ::setrlimit(RLIMIT_CORE, &none);
    ::abort();
  });
  ASSERT_TRUE(WIFSIGNALED(status)) << status;
  EXPECT_EQ(WTERMSIG(status), SIGABRT);
  EXPECT_FALSE(is_raw());
}

TEST_F(RawTerminalTest, IsGivenBackWhileTheProgramIsStopped) {
  const pid_t child = ::fork();
  if (child == 0) {
    clean_up_on_signals();
    const auto raw = RawTerminal::take(slave_.fd());
    ::raise(SIGTSTP);
    ::_exit(raw && is_raw() ? 42 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, WUNTRACED), child);
  if (WIFSTOPPED(status)) {  // an orphaned process group is not stopped
    EXPECT_FALSE(is_raw());
    ::kill(child, SIGCONT);
    ASSERT_EQ(::waitpid(child, &status, 0), child);
  }
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 42);
}

}  // namespace
}  // namespace cbit::os
