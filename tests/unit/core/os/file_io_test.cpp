#include "os/file_io.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "os/descriptor.hpp"
#include "scratch.hpp"

namespace cbit::os {
namespace {

class FileIo : public Scratch {
 protected:
  Descriptor open_file(int flags) { return Descriptor{::open(at("file").c_str(), flags | O_CREAT, 0600)}; }
};

TEST_F(FileIo, WhatIsWrittenAtAPlaceIsReadThere) {
  const Descriptor file = open_file(O_RDWR);
  const Bytes bytes = pattern_bytes(100'000, 1);
  ASSERT_TRUE(write_at(file.fd(), 5'000, bytes));
  Bytes seen(bytes.size());
  ASSERT_TRUE(read_at(file.fd(), 5'000, seen));
  EXPECT_EQ(seen, bytes);
  ASSERT_TRUE(read_at(file.fd(), 0, std::span{seen}.first(5'000)));
  EXPECT_TRUE(all_zero(std::span{seen}.first(5'000)));
}

TEST_F(FileIo, MoreThanTheFileHasIsNotRead) {
  const Descriptor file = open_file(O_RDWR);
  ASSERT_TRUE(write_at(file.fd(), 0, pattern_bytes(100, 1)));
  Bytes seen(101);
  EXPECT_FALSE(read_at(file.fd(), 0, seen));
  EXPECT_TRUE(read_at(file.fd(), 100, {}));
}

TEST_F(FileIo, AFileThatMayNotBeWrittenSaysSo) {
  const Descriptor file = open_file(O_RDONLY);
  EXPECT_FALSE(write_at(file.fd(), 0, pattern_bytes(1, 1)));
  EXPECT_EQ(errno, EBADF);
}

TEST_F(FileIo, AFullDeviceSaysSo) {
  const Descriptor full{::open("/dev/full", O_WRONLY)};
  if (!full.is_open()) GTEST_SKIP() << "this machine has no /dev/full";
  EXPECT_FALSE(write_at(full.fd(), 0, pattern_bytes(1, 1)));
  EXPECT_EQ(errno, ENOSPC);
}

}  // namespace
}  // namespace cbit::os
