#include "os/cleanup.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include <fstream>

#include "os/descriptor.hpp"
#include "os/output_file.hpp"
#include "os/program.hpp"
#include "os/temporary_folder.hpp"
#include "scratch.hpp"

namespace cbit::os {
namespace {

class CleanupTest : public Scratch {
 protected:
  // A process that does `work`, says so and waits; how it ended after the signal.
  template <class Work>
  static int end_by(int number, Work work) {
    int ready[2];
    EXPECT_EQ(::pipe2(ready, O_CLOEXEC), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      clean_up_on_signals();
      const auto kept = work();
      static_cast<void>(kept);
      static_cast<void>(::write(ready[1], "x", 1));
      for (;;) ::pause();
    }
    char c = 0;
    EXPECT_EQ(::read(ready[0], &c, 1), 1);
    ::kill(child, number);
    int status = 0;
    ::waitpid(child, &status, 0);
    ::close(ready[0]);
    ::close(ready[1]);
    return status;
  }
};

TEST_F(CleanupTest, ASignalLeavesNothingBehindAndEndsTheProgram) {
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGUSR1}) {
    const int status = end_by(number, [&] {
      auto file = NewFile::create(at("new"), false);
      EXPECT_TRUE(file);
      return file;
    });
    EXPECT_TRUE(WIFSIGNALED(status));
    EXPECT_EQ(WTERMSIG(status), number);
    EXPECT_EQ(files(), 0u);
  }
}

TEST_F(CleanupTest, ASignalRemovesAFolderWithAllInIt) {
  ::setenv("TMPDIR", folder_.c_str(), 1);
  put("keep", "");
  end_by(SIGTERM, [&] {
    auto folder = TemporaryFolder::create("cbit-test");
    EXPECT_TRUE(folder);
    std::filesystem::create_directories(folder->path() + "/a/b/c");
    for (int i = 0; i < 300; ++i) std::ofstream{folder->path() + "/a/" + std::to_string(i)} << i;
    std::filesystem::create_symlink(at("keep"), folder->path() + "/link");
    return folder;
  });
  ::unsetenv("TMPDIR");
  EXPECT_EQ(files(), 1u) << "what a link leads to stays";
}

TEST_F(CleanupTest, WhatWasRemovedOrForgottenIsNotTouched) {
  put("kept", "x");
  end_by(SIGTERM, [&] {
    const Descriptor folder{::open(folder_.c_str(), O_PATH)};
    Cleanup cleanup = Cleanup::file(folder.fd(), "kept");
    cleanup.forget();
    return 0;
  });
  EXPECT_EQ(text_of(at("kept")), "x");
}

TEST_F(CleanupTest, AnIgnoredSignalStaysIgnored) {
  const auto before = ::signal(SIGHUP, SIG_IGN);
  int ready[2];
  ASSERT_EQ(::pipe2(ready, O_CLOEXEC), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    clean_up_on_signals();
    ::raise(SIGHUP);
    ::_exit(42);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ::signal(SIGHUP, before);
  ::close(ready[0]);
  ::close(ready[1]);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 42);
}

TEST_F(CleanupTest, ATemporaryFolderIsPrivateAndGoneAtTheEnd) {
  ::setenv("TMPDIR", folder_.c_str(), 1);
  std::string path;
  {
    const auto folder = TemporaryFolder::create("cbit-test");
    ASSERT_TRUE(folder) << folder.error().message;
    path = folder->path();
    EXPECT_EQ(stat_of(path).st_mode & 0777, 0700u);
    std::ofstream{path + "/file"} << "x";
  }
  ::setenv("TMPDIR", at("missing").c_str(), 1);
  const auto nowhere = TemporaryFolder::create("cbit-test");
  ::unsetenv("TMPDIR");
  EXPECT_FALSE(std::filesystem::exists(path));
  ASSERT_FALSE(nowhere);
  EXPECT_NE(nowhere.error().hint.find("TMPDIR"), std::string::npos);
}

}  // namespace
}  // namespace cbit::os
