#include "os/output_file.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

#include <csignal>
#include <cstring>
#include <thread>

#include "scratch.hpp"

namespace cbit::os {
namespace {

class OutputFileTest : public Scratch {
 protected:
  static OrError<void> write(const std::string& path, const std::string& text) {
    auto file = OutputFile::create(path);
    if (!file) return tl::unexpected{file.error()};
    file->stream() << text;
    return file->commit();
  }
  static std::string refusal(const std::string& path) {
    const auto done = write(path, "new");
    if (done) return "";
    EXPECT_EQ(done.error().code, ExitCode::output_failed);
    EXPECT_NE(done.error().message.find(path), std::string::npos);
    EXPECT_FALSE(done.error().hint.empty());
    const auto checked = check_output(path);
    EXPECT_FALSE(checked) << "known before the work";
    return done.error().message;
  }
};

TEST_F(OutputFileTest, HasItsNameOnlyWhenItIsComplete) {
  {
    auto file = OutputFile::create(at("new"));
    ASSERT_TRUE(file) << file.error().message;
    file->stream() << "half";
    EXPECT_FALSE(std::filesystem::exists(at("new")));
  }
  EXPECT_EQ(files(), 0u) << "what is not committed is gone";
  ASSERT_TRUE(write(at("new"), "whole"));
  EXPECT_EQ(text_of(at("new")), "whole");
  EXPECT_EQ(files(), 1u);
}

TEST_F(OutputFileTest, ANewFileHasTheModeOfTheUmask) {
  const mode_t before = ::umask(027);
  EXPECT_TRUE(write(at("new"), "x"));
  ::umask(before);
  EXPECT_EQ(stat_of(at("new")).st_mode & 07777, 0640u);
}

TEST_F(OutputFileTest, AnOldFileKeepsItsMode) {
  for (const mode_t mode : {0600u, 0640u, 0666u, 0755u}) {
    put("old", "old", mode);
    ASSERT_TRUE(write(at("old"), "new"));
    EXPECT_EQ(stat_of(at("old")).st_mode & 07777, mode);
    EXPECT_EQ(text_of(at("old")), "new");
  }
}

TEST_F(OutputFileTest, AnOldFileStaysWhereTheNewOneIsNotCommitted) {
  put("old", "old");
  {
    auto file = OutputFile::create(at("old"));
    file->stream() << "half" << std::flush;
  }
  EXPECT_EQ(text_of(at("old")), "old");
  EXPECT_EQ(files(), 1u);
}

TEST_F(OutputFileTest, ALinkStaysAndLeadsToTheNewFile) {
  std::filesystem::create_directory(at("far"));
  put("far/target", "old", 0600);
  std::filesystem::create_symlink("far/target", at("link"));
  std::filesystem::create_symlink("link", at("link to link"));
  ASSERT_TRUE(write(at("link to link"), "new"));
  EXPECT_TRUE(S_ISLNK(stat_of(at("link")).st_mode));
  EXPECT_TRUE(S_ISLNK(stat_of(at("link to link")).st_mode));
  EXPECT_EQ(text_of(at("far/target")), "new");
  EXPECT_EQ(stat_of(at("far/target")).st_mode & 07777, 0600u);
}

TEST_F(OutputFileTest, ALinkThatLeadsNowhereMakesItsTarget) {
  std::filesystem::create_symlink("target", at("link"));
  ASSERT_TRUE(write(at("link"), "new"));
  EXPECT_TRUE(S_ISLNK(stat_of(at("link")).st_mode));
  EXPECT_EQ(text_of(at("target")), "new");
}

TEST_F(OutputFileTest, ALoopOfLinksIsRefused) {
  std::filesystem::create_symlink("b", at("a"));
  std::filesystem::create_symlink("a", at("b"));
  EXPECT_NE(refusal(at("a")).find("symbolic links"), std::string::npos);
}

TEST_F(OutputFileTest, AFifoIsWrittenIntoAndStays) {
  ASSERT_EQ(::mkfifo(at("fifo").c_str(), 0600), 0);
  ASSERT_TRUE(check_output(at("fifo")));
  std::string got;
  std::thread reader{[&] { got = text_of(at("fifo")); }};
  EXPECT_TRUE(write(at("fifo"), "through"));
  reader.join();
  EXPECT_EQ(got, "through");
  EXPECT_TRUE(S_ISFIFO(stat_of(at("fifo")).st_mode));
}

TEST_F(OutputFileTest, ADeviceIsWrittenIntoAndStays) {
  constexpr unsigned major_of_memory = 1, null = 3;
  if (::mknod(at("null").c_str(), S_IFCHR | 0600, makedev(major_of_memory, null)) != 0 ||
      ::access(at("null").c_str(), W_OK) != 0)
    GTEST_SKIP() << "no device node can be made here";
  const Descriptor probe{::open(at("null").c_str(), O_WRONLY)};
  if (!probe.is_open()) GTEST_SKIP() << "device nodes do not work here";
  std::filesystem::create_symlink("null", at("link"));
  ASSERT_TRUE(write(at("null"), "x"));
  ASSERT_TRUE(write(at("link"), "x"));
  EXPECT_TRUE(S_ISCHR(stat_of(at("null")).st_mode));
  EXPECT_EQ(stat_of(at("null")).st_mode & 07777, 0600u);
  EXPECT_EQ(files(), 2u);
}

TEST_F(OutputFileTest, ABlockDeviceIsNotOverwritten) {
  constexpr unsigned major_of_loop = 7;
  if (::mknod(at("disk").c_str(), S_IFBLK | 0600, makedev(major_of_loop, 250)) != 0)
    GTEST_SKIP() << "no device node can be made here";
  EXPECT_NE(refusal(at("disk")).find("block device"), std::string::npos);
  EXPECT_TRUE(S_ISBLK(stat_of(at("disk")).st_mode));
}

TEST_F(OutputFileTest, ASocketIsRefused) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  std::strncpy(address.sun_path, at("socket").c_str(), sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  EXPECT_NE(refusal(at("socket")).find("socket"), std::string::npos);
  EXPECT_TRUE(S_ISSOCK(stat_of(at("socket")).st_mode));
  ::close(fd);
}

TEST_F(OutputFileTest, WhatIsNoPlaceForAFileIsRefusedBeforeTheWork) {
  EXPECT_NE(refusal(folder_).find("folder"), std::string::npos);
  EXPECT_NE(refusal(folder_ + "/").find("folder"), std::string::npos);
  EXPECT_NE(refusal(at("no/such")).find("No such file"), std::string::npos);
  EXPECT_NE(refusal(put("file", "") + "/below").find("Not a directory"), std::string::npos);
  EXPECT_NE(refusal(at(std::string(300, 'x'))).find("too long"), std::string::npos);
}

TEST_F(OutputFileTest, AFileWithoutRightsIsNotReplaced) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may write everything";
  put("old", "old", 0400);
  EXPECT_NE(refusal(at("old")).find("Permission denied"), std::string::npos);
  EXPECT_EQ(text_of(at("old")), "old");
}

TEST_F(OutputFileTest, AFullDiskLosesNothing) {
  put("old", "old");
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit tight{4096, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &tight), 0);
  const auto done = write(at("old"), std::string(1 << 20, 'x'));
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, handler);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, ExitCode::output_failed);
  EXPECT_NE(done.error().message.find("File too large"), std::string::npos);
  EXPECT_EQ(text_of(at("old")), "old");
  EXPECT_EQ(files(), 1u);
}

TEST_F(OutputFileTest, WhereNoFileIsAnonymousItsNameIsHiddenUnpredictableAndGone) {
  put("old", "old", 0600);
  std::string first;
  for (int i = 0; i < 2; ++i) {
    auto file = NewFile::create(at("old"), false);
    ASSERT_TRUE(file) << file.error().message;
    std::string name;
    for (const auto& entry : std::filesystem::directory_iterator{folder_})
      if (entry.path().filename() != "old") name = entry.path().filename();
    EXPECT_TRUE(name.starts_with(".cbit-")) << name;
    EXPECT_NE(name, first);
    EXPECT_EQ(stat_of(at(name)).st_mode & 077, 0u) << "nobody reads what becomes of a private file";
    first = name;
    ASSERT_EQ(::write(file->fd(), "new", 3), 3);
    if (i == 1) {
      ASSERT_TRUE(file->commit());
    }
  }
  EXPECT_EQ(files(), 1u);
  EXPECT_EQ(text_of(at("old")), "new");
  EXPECT_EQ(stat_of(at("old")).st_mode & 07777, 0600u);
}

TEST_F(OutputFileTest, WhatTookTheNameMeanwhileIsNotReplaced) {
  {
    auto file = OutputFile::create(at("name"));
    ASSERT_EQ(::mkfifo(at("name").c_str(), 0600), 0);
    EXPECT_FALSE(file->commit());
  }
  EXPECT_TRUE(S_ISFIFO(stat_of(at("name")).st_mode));
  EXPECT_EQ(files(), 1u);
}

TEST_F(OutputFileTest, TheStreamsOfTheProcessAreKnownByAllTheirNames) {
  EXPECT_EQ(descriptor_of("/dev/stdout"), 1);
  EXPECT_EQ(descriptor_of("/dev/fd/7"), 7);
  EXPECT_EQ(descriptor_of("/proc/self/fd/0"), 0);
  EXPECT_FALSE(descriptor_of("/dev/fd/"));
  EXPECT_FALSE(descriptor_of("/dev/fd/7x"));
  EXPECT_FALSE(descriptor_of("stdout"));
  std::filesystem::create_symlink("/dev/stdout", at("link"));
  EXPECT_TRUE(is_standard_output(at("link")));
  EXPECT_TRUE(is_standard_output("-"));
  EXPECT_FALSE(is_standard_output(at("other")));
}

TEST_F(OutputFileTest, OnePlaceHasOneIdByWhateverPath) {
  const auto id = [&](const std::string& path) { return id_of(*resolve_output(path)); };
  put("file", "x");
  std::filesystem::create_symlink("file", at("link"));
  EXPECT_EQ(id(at("file")), id(at("link")));
  EXPECT_EQ(id(at("file")), id(at("./file")));
  EXPECT_EQ(id(at("file")), id_of_input(at("link")));
  EXPECT_NE(id(at("file")), id(at("new")));
  EXPECT_EQ(id(at("new")), id(at("./new"))) << "where there is no file yet, too";
  std::filesystem::create_symlink("new", at("link to new"));
  EXPECT_EQ(id(at("new")), id(at("link to new")));
  EXPECT_NE(id(at("new")), id(at("newer")));
}

}  // namespace
}  // namespace cbit::os
