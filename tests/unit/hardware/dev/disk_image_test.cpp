#include "dev/disk_image.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <vector>

namespace {

// What the file began with at each fdatasync(), which is ours in this program.
std::vector<unsigned char> synced;

}  // namespace

extern "C" int fdatasync(int fd) {
  unsigned char first = 0;
  if (::pread(fd, &first, 1, 0) != 1) return -1;
  synced.push_back(first);
  return 0;
}

namespace cbit::dev {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class DiskImageTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "cbit-disk-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder = name;
  }
  void TearDown() override {
    fs::permissions(folder, fs::perms::owner_all);
    fs::remove_all(folder);
  }

  std::string make_file(const std::string& name, const Bytes& contents) {
    const auto path = (folder / name).string();
    std::ofstream{path, std::ios::binary}.write(reinterpret_cast<const char*>(contents.data()),
                                                static_cast<std::streamsize>(contents.size()));
    return path;
  }
  static Bytes contents_of(const std::string& path) {
    Bytes bytes(fs::file_size(path));
    std::ifstream{path, std::ios::binary}.read(reinterpret_cast<char*>(bytes.data()),
                                               static_cast<std::streamsize>(bytes.size()));
    return bytes;
  }
  std::size_t files() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator{folder}, fs::directory_iterator{}));
  }

  fs::path folder;
};

TEST_F(DiskImageTest, IsOnStableStorageAfterAFlushAndNotBefore) {
  auto image = DiskImage::open(make_file("a.img", Bytes(4096)), DiskImage::Mode::read_write);
  ASSERT_TRUE(image) << image.error().message;
  synced.clear();
  ASSERT_TRUE((*image)->write(0, Bytes(512, std::byte{1})));
  ASSERT_TRUE((*image)->write(0, Bytes(512, std::byte{2})));
  EXPECT_TRUE(synced.empty()) << "writes are the page cache's until then";
  ASSERT_TRUE((*image)->flush());
  ASSERT_TRUE((*image)->write(0, Bytes(512, std::byte{3})));
  ASSERT_TRUE((*image)->flush());
  EXPECT_EQ(synced, (std::vector<unsigned char>{2, 3}));
}

TEST_F(DiskImageTest, ThatBecameShorterIsNotMadeLongerByAWrite) {
  const auto path = make_file("a.img", Bytes(8192));
  auto image = DiskImage::open(path, DiskImage::Mode::read_write);
  ASSERT_TRUE(image) << image.error().message;
  fs::resize_file(path, 4096);

  Bytes sector(512);
  EXPECT_TRUE((*image)->write(3584, sector)) << "what is still there";
  EXPECT_FALSE((*image)->read(8192, sector));
  EXPECT_FALSE((*image)->failure()) << "a range that the disk does not have";
  for (const std::uint64_t offset : {3840u, 4096u, 7680u}) {
    const auto written = (*image)->write(offset, sector);
    ASSERT_FALSE(written) << offset;
    EXPECT_THAT(written.error().message, HasSubstr("ends at 4096 of 8192 bytes"));
    EXPECT_EQ(written.error().code, ExitCode::bad_input);
  }
  ASSERT_TRUE((*image)->failure()) << "the first is remembered";
  EXPECT_THAT((*image)->failure()->message, HasSubstr("ends at 4096 of 8192 bytes"));
  EXPECT_FALSE((*image)->zero(4096, 4096, false));
  const auto read = (*image)->read(7680, sector);
  ASSERT_FALSE(read);
  EXPECT_THAT(read.error().message, HasSubstr("ends at 4096 of 8192 bytes"));
  EXPECT_EQ(fs::file_size(path), 4096u);
}

TEST_F(DiskImageTest, ReadsAndWritesAnExistingImage) {
  const Bytes before = pattern_bytes(4096, 1);
  const auto path = make_file("a.img", before);
  auto image = DiskImage::open(path, DiskImage::Mode::read_write);
  ASSERT_TRUE(image) << image.error().message;
  EXPECT_EQ((*image)->bytes(), 4096u);
  EXPECT_FALSE((*image)->read_only());

  Bytes read(1024);
  ASSERT_TRUE((*image)->read(512, read));
  EXPECT_EQ(read, Bytes(before.begin() + 512, before.begin() + 1536));

  const Bytes data = pattern_bytes(512, 2);
  ASSERT_TRUE((*image)->write(3584, data));
  ASSERT_TRUE((*image)->flush());
  const Bytes after = contents_of(path);
  EXPECT_EQ(Bytes(after.begin() + 3584, after.end()), data);
  EXPECT_EQ(Bytes(after.begin(), after.begin() + 3584), Bytes(before.begin(), before.begin() + 3584));
}

TEST_F(DiskImageTest, ARefusedRangeTouchesNothing) {
  const auto path = make_file("a.img", Bytes(1024));
  auto image = DiskImage::open(path, DiskImage::Mode::read_write);
  Bytes bytes(512, std::byte{1});
  EXPECT_FALSE((*image)->write(1024, bytes));
  EXPECT_FALSE((*image)->write(~std::uint64_t{0}, bytes));
  EXPECT_FALSE((*image)->read(600, bytes));
  EXPECT_FALSE((*image)->zero(512, ~std::uint64_t{0}, true));
  EXPECT_EQ(contents_of(path), Bytes(1024));
}

TEST_F(DiskImageTest, AReadOnlyImageRefusesWrites) {
  const auto path = make_file("a.img", Bytes(1024));
  auto image = DiskImage::open(path, DiskImage::Mode::read_only);
  ASSERT_TRUE(image);
  EXPECT_TRUE((*image)->read_only());
  EXPECT_FALSE((*image)->write(0, Bytes(512, std::byte{1})));
  EXPECT_FALSE((*image)->zero(0, 512, true));
  EXPECT_TRUE((*image)->flush());
  EXPECT_EQ(contents_of(path), Bytes(1024));
}

TEST_F(DiskImageTest, OneWritesOrSeveralRead) {
  using Mode = DiskImage::Mode;
  const auto path = make_file("a.img", Bytes(1024));
  auto writer = DiskImage::open(path, Mode::read_write);
  ASSERT_TRUE(writer);
  for (const Mode mode : {Mode::read_only, Mode::read_write}) {
    const auto second = DiskImage::open(path, mode);
    ASSERT_FALSE(second);
    EXPECT_THAT(second.error().message, HasSubstr("another process uses it"));
  }
  writer->reset();
  const auto reader = DiskImage::open(path, Mode::read_only);
  EXPECT_TRUE(reader);
  EXPECT_TRUE(DiskImage::open(path, Mode::read_only));
  EXPECT_FALSE(DiskImage::open(path, Mode::read_write));
}

TEST_F(DiskImageTest, ZeroesWithAndWithoutUnmapping) {
  const Bytes before = pattern_bytes(1 << 20, 3);
  const auto path = make_file("a.img", before);
  auto image = DiskImage::open(path, DiskImage::Mode::read_write);
  ASSERT_TRUE((*image)->zero(4096, 200 * 1024, true));
  ASSERT_TRUE((*image)->zero(512 * 1024, 100 * 1024 + 512, false));
  ASSERT_TRUE((*image)->zero(0, 0, true));
  Bytes expected = before;
  std::fill_n(expected.begin() + 4096, 200 * 1024, std::byte{0});
  std::fill_n(expected.begin() + 512 * 1024, 100 * 1024 + 512, std::byte{0});
  EXPECT_EQ(contents_of(path), expected);
}

TEST_F(DiskImageTest, NamesWhatIsWrongWithAFile) {
  const auto message = [](const std::string& path) {
    auto image = DiskImage::open(path, DiskImage::Mode::read_only);
    return image ? "" : image.error().message + " | " + image.error().hint;
  };
  EXPECT_THAT(message((folder / "missing.img").string()), HasSubstr("No such file"));
  EXPECT_THAT(message(folder.string()), HasSubstr("is a directory"));
  EXPECT_THAT(message(make_file("odd.img", Bytes(1000))), HasSubstr("1000 bytes are not a whole number"));
  EXPECT_THAT(message(make_file("empty.img", {})), HasSubstr("truncate -s 64M"));
  const auto fifo = (folder / "fifo").string();
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_THAT(message(fifo), HasSubstr("not a regular file"));
  EXPECT_THAT(message("/dev/null"), HasSubstr("not a regular file"));
}

TEST_F(DiskImageTest, ReportsAnImageThatIsCutShortWhileInUse) {
  const auto path = make_file("a.img", Bytes(4096));
  auto image = DiskImage::open(path, DiskImage::Mode::read_only);
  ASSERT_EQ(::truncate(path.c_str(), 1024), 0);
  Bytes bytes(2048);
  const auto read = (*image)->read(0, bytes);
  ASSERT_FALSE(read);
  EXPECT_THAT(read.error().message, HasSubstr("ends at 1024 of 4096"));
}

TEST_F(DiskImageTest, ReportsAWriteThatTheSystemRefuses) {
  const auto path = make_file("a.img", Bytes(8192));
  auto image = DiskImage::open(path, DiskImage::Mode::read_write);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit tight{4096, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &tight), 0);
  const auto written = (*image)->write(0, Bytes(8192, std::byte{1}));
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, handler);
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, ExitCode::output_failed);
  EXPECT_THAT(written.error().message, HasSubstr("File too large"));
}

TEST_F(DiskImageTest, ACreatedImageHasItsNameOnlyAfterCommit) {
  const auto path = (folder / "new.img").string();
  auto image = DiskImage::create(path, 4096);
  ASSERT_TRUE(image) << image.error().message;
  const Bytes data = pattern_bytes(512, 5);
  ASSERT_TRUE((*image)->write(512, data));
  EXPECT_FALSE(fs::exists(path));
  EXPECT_LE(files(), 1u) << "at most a temporary lies beside it";
  ASSERT_TRUE((*image)->commit());
  EXPECT_FALSE((*image)->commit()) << "once";
  image->reset();
  Bytes expected(4096);
  std::ranges::copy(data, expected.begin() + 512);
  EXPECT_EQ(contents_of(path), expected);
  EXPECT_EQ(files(), 1u);
}

TEST_F(DiskImageTest, AnImageThatIsNotCommittedLeavesNothing) {
  const auto path = (folder / "new.img").string();
  {
    ASSERT_TRUE(DiskImage::create(path, 4096));
  }
  EXPECT_EQ(files(), 0u);
}

TEST_F(DiskImageTest, AnImageThatIsNotCommittedLeavesTheOldFileAlone) {
  const Bytes old = pattern_bytes(1024, 6);
  const auto path = make_file("a.img", old);
  {
    auto image = DiskImage::create(path, 4096);
    ASSERT_TRUE((*image)->write(0, Bytes(512, std::byte{7})));
  }
  EXPECT_EQ(contents_of(path), old);
  auto image = DiskImage::create(path, 4096);
  ASSERT_TRUE((*image)->commit());
  EXPECT_EQ(contents_of(path), Bytes(4096)) << "commit replaces it";
}

TEST_F(DiskImageTest, RefusesToCreateWhatCannotBe) {
  EXPECT_FALSE(DiskImage::create((folder / "a.img").string(), 1000));
  EXPECT_FALSE(DiskImage::create((folder / "a.img").string(), 0));
  EXPECT_FALSE(DiskImage::create(folder.string(), 4096));
  EXPECT_FALSE(DiskImage::create(folder.string() + "/", 4096));
  const auto missing = DiskImage::create((folder / "no" / "a.img").string(), 4096);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ExitCode::output_failed);
  EXPECT_EQ(files(), 0u);
}

TEST(MemoryDisk, RoundsUpToSectorsAndChecksRanges) {
  MemoryDisk disk{Bytes(1000, std::byte{9})};
  EXPECT_EQ(disk.bytes(), 1024u);
  EXPECT_EQ(disk.contents()[999], std::byte{9});
  EXPECT_EQ(disk.contents()[1000], std::byte{0});
  Bytes bytes(512, std::byte{1});
  EXPECT_FALSE(disk.read(1024, bytes));
  EXPECT_TRUE(disk.write(512, bytes));
  EXPECT_EQ(disk.contents()[512], std::byte{1});
  EXPECT_TRUE(disk.zero(512, 512, false));
  EXPECT_EQ(disk.contents()[512], std::byte{0});
  EXPECT_FALSE((MemoryDisk{Bytes(512), true}.write(0, bytes)));
}

}  // namespace
}  // namespace cbit::dev
