// apt is played by two scripts; packages are made here as deb(5) describes them.
#include "boot/kernel_source/debian_kernel.hpp"

#include <archive.h>
#include <archive_entry.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/bytes.hpp"
#include "boot/files.hpp"
#include "boot/kernel_source/deb.hpp"
#include "crypt/sha256.hpp"

namespace cbit::boot {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

struct TarEntry {
  std::string path;
  std::string contents;
  std::string link;  // a symbolic link to there
};

void add_entry(archive* a, const TarEntry& entry) {
  archive_entry* const e = archive_entry_new();
  archive_entry_set_pathname(e, entry.path.c_str());
  archive_entry_set_perm(e, 0644);
  archive_entry_set_filetype(e, entry.link.empty() ? AE_IFREG : AE_IFLNK);
  if (!entry.link.empty()) archive_entry_set_symlink(e, entry.link.c_str());
  archive_entry_set_size(e, static_cast<la_int64_t>(entry.contents.size()));
  EXPECT_EQ(archive_write_header(a, e), ARCHIVE_OK);
  archive_write_data(a, entry.contents.data(), entry.contents.size());
  archive_entry_free(e);
}

std::string tar_xz(const std::vector<TarEntry>& entries) {
  std::string bytes(1 << 20, 0);
  std::size_t used = 0;
  archive* const a = archive_write_new();
  archive_write_set_format_ustar(a);
  archive_write_add_filter_xz(a);
  archive_write_open_memory(a, bytes.data(), bytes.size(), &used);
  for (const TarEntry& entry : entries) add_entry(a, entry);
  archive_write_close(a);
  archive_write_free(a);
  bytes.resize(used);
  return bytes;
}

void write_deb(const fs::path& path, const std::vector<TarEntry>& files) {
  archive* const a = archive_write_new();
  archive_write_set_format_ar_svr4(a);
  ASSERT_EQ(archive_write_open_filename(a, path.c_str()), ARCHIVE_OK);
  add_entry(a, {"debian-binary", "2.0\n", {}});
  add_entry(a, {"control.tar.xz", tar_xz({{"./control", "Package: x\n", {}}}), {}});
  add_entry(a, {"data.tar.xz", tar_xz(files), {}});
  archive_write_close(a);
  archive_write_free(a);
}

const std::vector<TarEntry> kernel_files{{"./boot/vmlinuz-6.1.0-13-cloud-amd64", "the kernel", {}},
                                         {"./boot/config-6.1.0-13-cloud-amd64", "CONFIG_X=y\n", {}},
                                         {"./lib/modules/6.1.0-13-cloud-amd64/kernel/a.ko", "a module", {}},
                                         {"./lib/modules/6.1.0-13-cloud-amd64/build", {}, "/usr/src/headers"},
                                         {"./usr/share/doc/x/copyright", "text", {}}};

std::string text_of(const fs::path& path) {
  std::ifstream file{path, std::ios::binary};
  return {std::istreambuf_iterator<char>{file}, {}};
}

class DebianKernelTest : public testing::Test {
 protected:
  DebianKernelTest()
      : folder{fs::path{testing::TempDir()} / "cbit kernels" /
               testing::UnitTest::GetInstance()->current_test_info()->name()} {
    fs::remove_all(folder);
    fs::create_directories(folder / "pool");
    options = {.cache = folder / "cache",
               .package = "linux-image-cloud-amd64",
               .apt_get = (folder / "apt-get").string(),
               .apt_cache = (folder / "apt-cache").string(),
               .timeout = std::chrono::seconds{60}};
    // `apt-get ... download NAME=VERSION` copies from the pool; `apt-cache show ... NAME` prints a stanza of
    // it.
    script("apt-get", "echo \"$*\" >> '" + (folder / "calls").string() + "'\nfor last; do :; done\ncp '" +
                          (folder / "pool").string() +
                          "'/\"${last%%=*}\"_*.deb . || { echo 'E: gone' >&2; exit 100; }\n");
    script("apt-cache", "for last; do :; done\ncat '" + (folder / "pool").string() + "'/\"$last\".stanza\n");
  }
  ~DebianKernelTest() override { fs::remove_all(folder); }

  void script(const std::string& name, const std::string& body) const {
    std::ofstream{folder / name} << "#!/bin/sh\n" << body;
    fs::permissions(folder / name, fs::perms::owner_all);
  }
  void package(const std::string& name, const std::vector<TarEntry>& files,
               const std::string& depends) const {
    const fs::path deb = folder / "pool" / (name + "_1_amd64.deb");
    write_deb(deb, files);
    const auto bytes = read_file(deb);
    ASSERT_TRUE(bytes);
    std::ofstream{folder / "pool" / (name + ".stanza")}
        << "Package: " << name << "\nVersion: 1\nDepends: " << depends
        << "\nDescription: words\n more: words\nSHA256: " << to_hex(crypt::sha256(*bytes))
        << "\n\nPackage: older\n";
  }
  void debian_12() const {
    package("linux-image-cloud-amd64", {{"./usr/share/doc/y", "y", {}}},
            "linux-image-6.1.0-13-cloud-amd64 (= 1)");
    package("linux-image-6.1.0-13-cloud-amd64", kernel_files, "kmod, initramfs-tools | linux-initramfs-tool");
  }

  fs::path folder;
  DebianKernelOptions options;
};

TEST_F(DebianKernelTest, FetchesTheKernelThatThePackageLeadsTo) {
  debian_12();
  std::vector<std::string> told;
  options.on_progress = [&](std::string_view what) { told.emplace_back(what); };
  const auto kernel = find_debian_kernel(options);
  ASSERT_TRUE(kernel) << kernel.error().message;
  EXPECT_THAT(told, testing::Contains("downloading linux-image-6.1.0-13-cloud-amd64"));
  EXPECT_TRUE(kernel->fetched);
  EXPECT_EQ(kernel->release, "6.1.0-13-cloud-amd64");
  EXPECT_EQ(text_of(kernel->image), "the kernel");
  EXPECT_EQ(text_of(kernel->modules / "kernel/a.ko"), "a module");
  EXPECT_THAT(kernel->origin, HasSubstr("linux-image-6.1.0-13-cloud-amd64 1"));
  EXPECT_FALSE(fs::exists(fs::symlink_status(kernel->modules / "build"))) << "a link out of the cache";
  EXPECT_FALSE(fs::exists(options.cache / "kernels/linux-image-cloud-amd64/usr"));
  EXPECT_FALSE(fs::exists(options.cache / "kernels/.fetch"));
  EXPECT_THAT(text_of(folder / "calls"), HasSubstr("download linux-image-6.1.0-13-cloud-amd64=1"));
}

TEST_F(DebianKernelTest, UsesTheCacheWithoutAnyApt) {
  debian_12();
  ASSERT_TRUE(find_debian_kernel(options));
  options.apt_get = options.apt_cache = "/nonexistent/apt";
  const auto kernel = find_debian_kernel(options);
  ASSERT_TRUE(kernel) << kernel.error().message;
  EXPECT_FALSE(kernel->fetched);
  EXPECT_EQ(kernel->release, "6.1.0-13-cloud-amd64");
  options.refresh = true;
  EXPECT_FALSE(find_debian_kernel(options));
  options.refresh = false;
  EXPECT_TRUE(find_debian_kernel(options)) << "what a refresh could not replace is still there";
}

TEST_F(DebianKernelTest, FetchesAgainWhatIsNoLongerAsItWas) {
  debian_12();
  const auto first = find_debian_kernel(options);
  ASSERT_TRUE(first);
  std::ofstream{first->image} << "changed";
  const auto again = find_debian_kernel(options);
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_TRUE(again->fetched);
  EXPECT_EQ(text_of(again->image), "the kernel");
}

TEST_F(DebianKernelTest, PutsAKernelOfSeveralPackagesTogether) {
  package("linux-image-cloud-amd64", {{"./usr/share/doc/y", "y", {}}}, "linux-image-7.3-cloud-amd64 (= 1)");
  package("linux-image-7.3-cloud-amd64", {{"./usr/share/doc/z", "z", {}}},
          "linux-binary-7.3-cloud-amd64 (= 1), linux-modules-7.3-cloud-amd64 (= 1), linux-base (>= 4)");
  package("linux-binary-7.3-cloud-amd64", {{"./usr/lib/modules/7.3-cloud-amd64/vmlinuz", "seven", {}}}, "");
  package("linux-modules-7.3-cloud-amd64", {{"./usr/lib/modules/7.3-cloud-amd64/kernel/b.ko", "b", {}}}, "");
  const auto kernel = find_debian_kernel(options);
  ASSERT_TRUE(kernel) << kernel.error().message;
  EXPECT_EQ(kernel->release, "7.3-cloud-amd64");
  EXPECT_EQ(text_of(kernel->image), "seven");
  EXPECT_EQ(text_of(kernel->modules / "kernel/b.ko"), "b");
}

TEST_F(DebianKernelTest, RefusesAPackageThatIsNotWhatAptPromised) {
  debian_12();
  write_deb(folder / "pool/linux-image-6.1.0-13-cloud-amd64_1_amd64.deb",
            {{"./boot/vmlinuz-6.1.0-13-cloud-amd64", "evil", {}}});
  const auto kernel = find_debian_kernel(options);
  ASSERT_FALSE(kernel);
  EXPECT_THAT(kernel.error().message, HasSubstr("is not what apt's lists promise: SHA-256"));
  EXPECT_FALSE(fs::exists(options.cache / "kernels/linux-image-cloud-amd64"));
  EXPECT_FALSE(fs::exists(options.cache / "kernels/.fetch"));
}

TEST_F(DebianKernelTest, SaysWhatToGiveInsteadWhenItCannotBeHad) {
  const auto failure = [&] {
    const auto kernel = find_debian_kernel(options);
    EXPECT_FALSE(kernel);
    if (kernel) return std::string{};
    EXPECT_THAT(kernel.error().hint, HasSubstr("give a kernel: cbit run"));
    return kernel.error().message;
  };
  EXPECT_THAT(failure(), HasSubstr("apt knows no package linux-image-cloud-amd64"));
  debian_12();
  fs::remove(folder / "pool/linux-image-6.1.0-13-cloud-amd64_1_amd64.deb");
  EXPECT_THAT(failure(), HasSubstr("E: gone"));
  options.apt_cache = "/nonexistent/apt-cache";
  EXPECT_THAT(failure(), HasSubstr("cannot start /nonexistent/apt-cache"));
  script("apt-cache", "sleep 60\n");
  options.apt_cache = (folder / "apt-cache").string();
  options.timeout = std::chrono::seconds{1};
  EXPECT_THAT(failure(), HasSubstr("had not ended after 1 s"));
  package("linux-image-cloud-amd64", {{"./boot/README", "no kernel", {}}}, "");
  script("apt-cache", "cat '" + (folder / "pool").string() + "'/linux-image-cloud-amd64.stanza\n");
  options.timeout = std::chrono::seconds{60};
  EXPECT_THAT(failure(), HasSubstr("hold no kernel with modules"));
  std::ofstream{folder / "file"} << "x";
  options.cache = folder / "file";
  EXPECT_THAT(failure(), HasSubstr("cannot be written"));
}

TEST_F(DebianKernelTest, LeavesNothingOfAnInterruptedFetch) {
  debian_12();
  fs::create_directories(options.cache / "kernels/.fetch/root/boot");
  std::ofstream{options.cache / "kernels/.fetch/root/boot/vmlinuz-old"} << "old";
  const auto kernel = find_debian_kernel(options);
  ASSERT_TRUE(kernel);
  EXPECT_EQ(text_of(kernel->image), "the kernel");
}

// ---- packages ----

TEST(Deb, GivesOnlyWhatIsWantedAndStaysInItsFolder) {
  const fs::path folder = fs::path{testing::TempDir()} / "cbit deb";
  fs::remove_all(folder);
  fs::create_directories(folder);
  write_deb(folder / "x.deb", {{"./boot/a", "a", {}},
                               {"../outside", "o", {}},
                               {"./boot/../../outside", "o", {}},
                               {"/boot/absolute", "o", {}},
                               {"./boot/link", {}, "/etc"},
                               {"./boot/link/file", "through the link", {}},
                               {"./etc/b", "b", {}}});
  const auto extracted = extract_deb(folder / "x.deb", folder / "to",
                                     [](std::string_view path) { return path.starts_with("boot/"); });
  ASSERT_TRUE(extracted) << extracted.error().message;
  std::vector<std::string> found;
  for (const auto& entry : fs::recursive_directory_iterator{folder})
    if (entry.is_regular_file()) found.push_back(fs::relative(entry.path(), folder).string());
  std::ranges::sort(found);
  EXPECT_THAT(found, ElementsAre("to/boot/a", "to/boot/link/file", "x.deb"));
  fs::remove_all(folder);
}

TEST(Deb, RefusesWhatIsDamaged) {
  const fs::path folder = fs::path{testing::TempDir()} / "cbit deb damaged";
  fs::remove_all(folder);
  fs::create_directories(folder);
  const auto all = [](std::string_view) { return true; };
  std::ofstream{folder / "text.deb"} << "no package";
  EXPECT_FALSE(extract_deb(folder / "text.deb", folder / "to", all));
  EXPECT_FALSE(extract_deb(folder / "absent.deb", folder / "to", all));
  write_deb(folder / "x.deb", {{"./boot/a", std::string(100000, 'x'), {}}});
  fs::resize_file(folder / "x.deb", fs::file_size(folder / "x.deb") - 40);
  const auto cut = extract_deb(folder / "x.deb", folder / "to", all);
  ASSERT_FALSE(cut);
  EXPECT_THAT(cut.error().message, HasSubstr("cannot unpack x.deb"));
  fs::remove_all(folder);
}

TEST(AptStanza, EndsAtTheBlankLine) {
  const auto stanza =
      parse_stanza("Package: a\nVersion: 1\n Version: 2\nDescription: d\n more\n\nVersion: 3\n");
  EXPECT_EQ(stanza.size(), 3u);
  EXPECT_EQ(stanza.at("Version"), "1");
  EXPECT_TRUE(parse_stanza("").empty());
  EXPECT_TRUE(parse_stanza("\nPackage: a\n").empty());
}

TEST(AptStanza, NamesThePartsOfAKernel) {
  EXPECT_THAT(kernel_parts("linux-image-6.1.0-13-amd64 (= 6.1), kmod, linux-modules-6.1:any | other"),
              ElementsAre("linux-image-6.1.0-13-amd64", "linux-modules-6.1"));
  EXPECT_TRUE(kernel_parts("").empty());
  EXPECT_TRUE(kernel_parts(" , ,").empty());
}

// ---- the cache, programs and files ----

TEST(UserCache, IsWhereXdgSays) {
  const auto with = [](const char* xdg, const char* home) {
    setenv("XDG_CACHE_HOME", xdg, 1);
    setenv("HOME", home, 1);
    const auto cache = user_cache();
    return cache ? cache->string() : "none";
  };
  const std::string xdg = std::getenv("XDG_CACHE_HOME") != nullptr ? std::getenv("XDG_CACHE_HOME") : "";
  const std::string home = std::getenv("HOME") != nullptr ? std::getenv("HOME") : "";
  EXPECT_EQ(with("/c", "/h"), "/c/cbit");
  EXPECT_EQ(with("", "/h"), "/h/.cache/cbit");
  EXPECT_EQ(with("relative", "/h"), "/h/.cache/cbit");
  EXPECT_EQ(with("", ""), "none");
  setenv("XDG_CACHE_HOME", xdg.c_str(), 1);
  setenv("HOME", home.c_str(), 1);
}

TEST(InputFile, IsARegularFileOfABoundedSize) {
  const fs::path path = fs::path{testing::TempDir()} / "cbit input file";
  std::ofstream{path} << "12345";
  const auto bytes = read_file(path);
  ASSERT_TRUE(bytes);
  EXPECT_EQ(bytes->size(), 5u);
  EXPECT_FALSE(read_file(path, 4));
  EXPECT_FALSE(read_file(testing::TempDir()));
  EXPECT_FALSE(read_file("/dev/null"));
  fs::remove(path);
  EXPECT_FALSE(read_file(path));
}

}  // namespace
}  // namespace cbit::boot
