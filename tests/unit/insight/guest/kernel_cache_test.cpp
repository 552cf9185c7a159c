#include "guest/kernel_cache.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

#include "support/linux/file_writer.hpp"
#include "support/linux/test_kernel.hpp"
#include "support/temporary_folder.hpp"

namespace cbit::guest {
namespace {

namespace fs = std::filesystem;
using linux::Kernel;
using test::Style;
using test::TestKernel;

class KernelCacheTest : public testing::Test {
 protected:
  [[nodiscard]] KernelCache cache(std::string build = "a build") const { return {cached_, std::move(build)}; }
  std::unique_ptr<Kernel> open(const Bytes& file, std::string build = "a build") const {
    auto kernel = cache(std::move(build)).open(file, "vmlinuz");
    EXPECT_TRUE(kernel) << kernel.error().message;
    return *std::move(kernel);
  }
  [[nodiscard]] std::vector<fs::path> kept() const {
    if (!fs::exists(cached_)) return {};
    return {fs::directory_iterator{cached_}, {}};
  }
  [[nodiscard]] fs::path only_one() const {
    EXPECT_EQ(kept().size(), 1u);
    return kept().front();
  }
  static std::string text_of(const fs::path& path) {
    std::ifstream file{path, std::ios::binary};
    return {std::istreambuf_iterator<char>{file}, {}};
  }
  static void write(const fs::path& path, const std::string& text) {
    std::ofstream{path, std::ios::binary} << text;
  }

  test::TemporaryFolder folder_;
  fs::path cached_ = folder_.file("cache/kernels");
  const TestKernel& made_ = TestKernel::of(Style::v6_1);
  const Bytes file_ = test::write_bzimage(made_.file());
};

void expect_same(const Kernel& one, const Kernel& other) {
  EXPECT_EQ(one.banner(), other.banner());
  EXPECT_EQ(one.banner_at(), other.banner_at());
  EXPECT_EQ(one.release(), other.release());
  EXPECT_EQ(one.alignment(), other.alignment());
  EXPECT_EQ(one.lacks(), other.lacks());
  ASSERT_EQ(one.symbols().size(), other.symbols().size());
  for (std::size_t i = 0; i < one.symbols().size(); ++i) {
    const linux::Symbol symbol = one.symbols().at(i);
    EXPECT_EQ(symbol, other.symbols().at(i));
    EXPECT_EQ(one.symbols().find(symbol.name), other.symbols().find(symbol.name));
    EXPECT_EQ(one.orc().find(symbol.at), other.orc().find(symbol.at));
    EXPECT_EQ(one.is_text(symbol.at), other.is_text(symbol.at));
    EXPECT_EQ(one.is_init_text(symbol.at), other.is_init_text(symbol.at));
  }
  EXPECT_EQ(one.orc().dialect(), other.orc().dialect());
  EXPECT_EQ(one.btf()->size_of("device"), other.btf()->size_of("device"));
  EXPECT_EQ(one.fields()[linux::Field::device_name]->offset(),
            other.fields()[linux::Field::device_name]->offset());
}

TEST_F(KernelCacheTest, TellsWhatTheFileTells) {
  for (const Style style : {Style::v6_1, Style::v6_12, Style::v7_3}) {
    const TestKernel& made = TestKernel::of(style);
    const Bytes file = test::write_bzimage(made.file());
    expect_same(*open(file), made.kernel());
    expect_same(*open(file), made.kernel());
  }
  EXPECT_EQ(kept().size(), 3u);
}

TEST_F(KernelCacheTest, DoesNotReadTheKernelAgain) {
  (void)open(file_);
  const fs::path first = only_one();
  const Bytes other = test::write_bzimage(TestKernel::of(Style::v7_3).file());
  (void)open(other);
  for (const fs::path& path : kept())
    if (path != first) fs::copy_file(first, path, fs::copy_options::overwrite_existing);
  expect_same(*open(other), made_.kernel());
}

TEST_F(KernelCacheTest, OfAnotherBuildIsWrittenAnew) {
  (void)open(file_, "another");
  const std::string there = text_of(only_one());
  expect_same(*open(file_), made_.kernel());
  EXPECT_NE(text_of(only_one()), there);
}

TEST_F(KernelCacheTest, DamagedIsWrittenAnew) {
  (void)open(file_);
  const std::string good = text_of(only_one());
  std::string changed = good;
  changed[good.size() / 2] ^= 1;
  for (const std::string& bad :
       {changed, good.substr(0, good.size() - 1), good.substr(0, 32), good + "x", std::string{}}) {
    write(only_one(), bad);
    expect_same(*open(file_), made_.kernel());
    EXPECT_EQ(text_of(only_one()), good);
  }
}

TEST_F(KernelCacheTest, IsDoneWithoutWhereNothingCanBeKept) {
  write(folder_.file("cache"), "a file");
  expect_same(*open(file_), made_.kernel());
  EXPECT_EQ(text_of(folder_.file("cache")), "a file");
  const auto kernel = KernelCache{{}, "a build"}.open(file_, "vmlinuz");
  ASSERT_TRUE(kernel);
  expect_same(**kernel, made_.kernel());
}

TEST_F(KernelCacheTest, KeepsNothingOfAVmlinuxNorForAProgramThatNothingTellsFromOthers) {
  expect_same(*open(made_.file()), made_.kernel());
  expect_same(*open(file_, ""), made_.kernel());
  EXPECT_TRUE(kept().empty());
}

TEST_F(KernelCacheTest, SaysWhatIsWrongWithAFileAndKeepsNothing) {
  const auto kernel = cache().open(Bytes(5000), "a picture");
  ASSERT_FALSE(kernel);
  EXPECT_NE(kernel.error().message.find("a picture"), std::string::npos);
  EXPECT_TRUE(kept().empty());
}

TEST_F(KernelCacheTest, KeepsThoseThatWereUsedLast) {
  const auto file = [&](unsigned number) {
    Bytes another = file_;
    another.push_back(static_cast<std::byte>(number));
    return another;
  };
  const auto hour = std::chrono::hours{1};
  (void)open(file(0));
  const fs::path first = only_one();
  for (unsigned i = 1; i < KernelCache::files_max; ++i) (void)open(file(i));
  for (const fs::path& path : kept()) fs::last_write_time(path, fs::file_time_type::clock::now() - hour);
  write(cached_ / "somebody's notes", "");
  (void)open(file(0));
  (void)open(file(100));
  EXPECT_EQ(kept().size(), KernelCache::files_max + 1);
  EXPECT_TRUE(fs::exists(first));
  EXPECT_TRUE(fs::exists(cached_ / "somebody's notes"));
}

// Not even where the digest fits.
TEST_F(KernelCacheTest, NoBytesLeadBeyondThem) {
  StateStream saved;
  const auto kernel = Kernel::open(file_, "vmlinuz");
  ASSERT_TRUE(kernel);
  (*kernel)->save(saved);
  std::minstd_rand random{1};
  unsigned loaded = 0;
  for (int i = 0; i < 3000; ++i) {
    Bytes bytes = saved.bytes();
    for (unsigned n = 0; n < 1 + random() % 4; ++n)
      bytes[random() % bytes.size()] = static_cast<std::byte>(random());
    StateStream s{bytes};
    const auto read = Kernel::load(s, {});
    if (!read) continue;
    ++loaded;
    for (std::size_t at = 0; at < read->symbols().size(); ++at)
      (void)read->symbols().count(read->symbols().at(at).name);
    (void)read->symbols().nearest(TestKernel::data);
    (void)read->orc().find(TestKernel::text + 100);
  }
  EXPECT_GT(loaded, 100u);
}

}  // namespace
}  // namespace cbit::guest
