#include "guest/console.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cbit::guest {
namespace {

using ::testing::HasSubstr;

TEST(LinuxWords, NameTheModulesThatTheKernelRefused) {
  LinuxWords words;
  words.read("[    1.220674] cbit: module virtio_blk was not loaded: Key was rejected by service");
  words.read("[    1.230000] cbit: module mine was not loaded: invalid module format");
  ASSERT_EQ(words.refused_modules().size(), 2u);
  EXPECT_EQ(words.refused_modules()[0].name, "virtio_blk");
  EXPECT_EQ(words.refused_modules()[0].why, "Key was rejected by service");
  EXPECT_THAT(words.refused_modules()[0].remedy, HasSubstr("sign"));
  EXPECT_EQ(words.refused_modules()[1].name, "mine");
  EXPECT_THAT(words.refused_modules()[1].remedy, HasSubstr("linux-headers"));
}

// lib/test_*.c of Linux end with -EAGAIN, so that they need not be unloaded.
TEST(LinuxWords, DoNotCountAModuleThatGaveUpItself) {
  LinuxWords words;
  words.read("cbit: module test_hash was not loaded: Resource temporarily unavailable");
  words.read("cbit: module mine was not loaded");
  words.read(" was not loaded: invalid module format, cbit: module mine");
  words.read("cbit: module was not loaded: invalid module format");
  EXPECT_TRUE(words.refused_modules().empty());
}

TEST(LinuxWords, OfAHostileGuestAreBoundedAndFitForATerminal) {
  LinuxWords words;
  for (int i = 0; i < 1000; ++i) words.read("cbit: module \x1b[31mred was not loaded: invalid module format");
  EXPECT_EQ(words.refused_modules().size(), 16u);
  EXPECT_EQ(words.refused_modules().front().name, "\\x1b[31mred");
}

TEST(LinuxWords, TellOfTheFirstPanicAndTheLastStatus) {
  LinuxWords words;
  words.read("[    1.0] Kernel panic - not syncing: Attempted to kill init!");
  words.read("[    1.1] Kernel panic - not syncing: another");
  words.read("[    1.2] cbit: command ended with status 3");
  EXPECT_EQ(words.panic(), "Kernel panic - not syncing: Attempted to kill init!");
  EXPECT_EQ(words.command_status(), 3);
}

}  // namespace
}  // namespace cbit::guest
