// The format: Documentation/driver-api/early-userspace/buffer-format.rst of Linux 6.1, read here field by
// field.
#include "boot/initramfs/archive.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>

namespace cbit::boot {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

struct CpioEntry {
  unsigned mode = 0, inode = 0, nlink = 0, uid = 0, gid = 0, mtime = 0, major = 0, minor = 0;
  std::string contents;
};

// What a kernel would unpack; in order of the archive.
std::vector<std::pair<std::string, CpioEntry>> unpacked(const Bytes& archive) {
  const std::string text{reinterpret_cast<const char*>(archive.data()), archive.size()};
  std::vector<std::pair<std::string, CpioEntry>> found;
  for (std::size_t at = 0; at + 110 <= text.size();) {
    EXPECT_EQ(text.substr(at, 6), "070701");
    const auto field = [&](std::size_t i) {
      return static_cast<unsigned>(std::strtoul(text.substr(at + 6 + i * 8, 8).c_str(), nullptr, 16));
    };
    const std::string name = text.substr(at + 110, field(11) - 1);
    if (name == "TRAILER!!!") return found;
    const std::size_t data = (at + 110 + field(11) + 3) / 4 * 4;
    found.push_back({name,
                     {.mode = field(1),
                      .inode = field(0),
                      .nlink = field(4),
                      .uid = field(2),
                      .gid = field(3),
                      .mtime = field(5),
                      .major = field(9),
                      .minor = field(10),
                      .contents = text.substr(data, field(6))}});
    at = (data + field(6) + 3) / 4 * 4;
  }
  ADD_FAILURE() << "the archive has no end";
  return found;
}

Bytes text_bytes(std::string_view text) {
  const auto bytes = std::as_bytes(std::span{text});
  return {bytes.begin(), bytes.end()};
}

TEST(InitramfsArchive, PacksEveryKindOfNodeWithItsMode) {
  InitramfsArchive archive;
  ASSERT_TRUE(archive.add_file("bin/sh", text_bytes("#!"), 0755));
  ASSERT_TRUE(archive.add_link("bin/ls", "sh"));
  ASSERT_TRUE(archive.add_folder("tmp", 01777));
  ASSERT_TRUE(archive.add_character_device("dev/null", 1, 3, 0666));
  const auto packed = archive.pack();
  ASSERT_TRUE(packed) << packed.error().message;
  std::map<std::string, CpioEntry> entries;
  for (auto& [name, entry] : unpacked(*packed)) entries[name] = entry;
  ASSERT_EQ(entries.size(), 6u);
  EXPECT_EQ(entries["bin"].mode, 0040755u);
  EXPECT_EQ(entries["bin/sh"].mode, 0100755u);
  EXPECT_EQ(entries["bin/sh"].contents, "#!");
  EXPECT_EQ(entries["bin/ls"].mode, 0120777u);
  EXPECT_EQ(entries["bin/ls"].contents, "sh");
  EXPECT_EQ(entries["tmp"].mode, 0041777u);
  EXPECT_EQ(entries["dev/null"].mode, 0020666u);
  EXPECT_EQ(entries["dev/null"].major, 1u);
  EXPECT_EQ(entries["dev/null"].minor, 3u);
}

TEST(InitramfsArchive, GivesTheSameBytesWhateverTheOrderAndTheHour) {
  const auto build = [](bool other_order) {
    InitramfsArchive archive;
    if (other_order) {
      EXPECT_TRUE(archive.add_folder("z"));
    }
    EXPECT_TRUE(archive.add_file("a/b", text_bytes("1")));
    EXPECT_TRUE(archive.add_file("a-b", text_bytes("2")));
    EXPECT_TRUE(archive.add_folder("z"));
    return *archive.pack();
  };
  const Bytes one = build(false);
  EXPECT_EQ(one, build(true));
  std::vector<std::string> names;
  for (const auto& [name, entry] : unpacked(one)) {
    names.push_back(name);
    EXPECT_EQ(entry.mtime, 0u);
    EXPECT_EQ(entry.uid, 0u);
    EXPECT_EQ(entry.gid, 0u);
    EXPECT_EQ(entry.nlink, 1u);
  }
  EXPECT_THAT(names, ElementsAre("a", "a-b", "a/b", "z"));
}

TEST(InitramfsArchive, RefusesPathsThatLeadElsewhere) {
  InitramfsArchive archive;
  for (const char* path : {"", "/init", "a//b", "a/", "../a", "a/../b", "./a", "a/."})
    EXPECT_FALSE(archive.add_file(path, {})) << path;
  EXPECT_FALSE(archive.add_file(std::string("a\0b", 3), {}));
  EXPECT_TRUE(unpacked(*archive.pack()).empty());
}

TEST(InitramfsArchive, RefusesTwoThingsAtOnePath) {
  InitramfsArchive archive;
  ASSERT_TRUE(archive.add_file("a", text_bytes("first")));
  const auto twice = archive.add_file("a", text_bytes("second"));
  ASSERT_FALSE(twice);
  EXPECT_THAT(twice.error().message, HasSubstr("a twice"));
  EXPECT_FALSE(archive.add_folder("a"));
  EXPECT_FALSE(archive.add_file("a/b", {})) << "below a file";
  ASSERT_TRUE(archive.add_folder("d"));
  EXPECT_TRUE(archive.add_folder("d"));
  EXPECT_FALSE(archive.add_link("d", "a"));
  EXPECT_EQ(unpacked(*archive.pack()).front().second.contents, "first");
}

}  // namespace
}  // namespace cbit::boot
