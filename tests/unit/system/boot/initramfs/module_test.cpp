// Modules: .modinfo as include/linux/moduleparam.h writes it, vermagic as include/linux/vermagic.h and
// same_magic() of kernel/module/version.c compare it (Linux 6.1).
#include <archive.h>
#include <archive_entry.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "boot/initramfs/initramfs.hpp"
#include "boot/initramfs/module_info.hpp"
#include "boot/initramfs/module_tree.hpp"
#include "support/boot_images.hpp"

namespace cbit::boot {
namespace {

namespace fs = std::filesystem;
using test::fake_module;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* cloud_magic = "6.1.0-13-cloud-amd64 SMP preempt mod_unload modversions ";

std::string magic(std::string_view value) { return "vermagic=" + std::string{value}; }

// Packs with one of libarchive's filters.
Bytes packed(const Bytes& bytes, int (*filter)(archive*)) {
  Bytes to(bytes.size() + 4096);
  std::size_t used = 0;
  archive* const a = archive_write_new();
  archive_write_set_format_raw(a);
  filter(a);
  archive_write_open_memory(a, to.data(), to.size(), &used);
  archive_entry* const e = archive_entry_new();
  archive_entry_set_filetype(e, AE_IFREG);
  archive_write_header(a, e);
  archive_write_data(a, bytes.data(), bytes.size());
  archive_write_close(a);
  archive_entry_free(e);
  archive_write_free(a);
  to.resize(used);
  return to;
}

// ---- what a module says ----

TEST(ModuleInfo, IsReadFromModinfo) {
  const Bytes module = fake_module(
      {"license=GPL", "depends=virtio,virtio-ring", "name=virtio_blk", magic(cloud_magic), "intree=Y"});
  const auto info = read_module_info(module, "drivers/virtio-blk.ko");
  ASSERT_TRUE(info) << info.error().message;
  EXPECT_EQ(info->name, "virtio_blk");
  EXPECT_EQ(info->vermagic, cloud_magic);
  EXPECT_EQ(info->release(), "6.1.0-13-cloud-amd64");
  EXPECT_THAT(info->depends, ElementsAre("virtio", "virtio_ring"));
  EXPECT_TRUE(info->has_crcs);
  EXPECT_FALSE(info->is_signed);
}

TEST(ModuleInfo, TakesTheNameOfTheFileWhereThereIsNone) {
  const Bytes module = fake_module({"depends=", magic("6.1 SMP ")}, false);
  const auto info = read_module_info(module, "/tmp/my-driver.ko");
  ASSERT_TRUE(info);
  EXPECT_EQ(info->name, "my_driver");
  EXPECT_THAT(info->depends, IsEmpty());
  EXPECT_FALSE(info->has_crcs);
}

TEST(ModuleInfo, SeesASignature) {
  Bytes module = fake_module({magic("6.1 SMP ")});
  const std::string_view mark = "~Module signature appended~\n";
  module.resize(module.size() + 100);
  const auto bytes = std::as_bytes(std::span{mark});
  module.insert(module.end(), bytes.begin(), bytes.end());
  const auto info = read_module_info(module, "m.ko");
  ASSERT_TRUE(info);
  EXPECT_TRUE(info->is_signed);
}

TEST(ModuleInfo, RefusesWhatIsNoModule) {
  const auto refusal = [](const Bytes& file) {
    const auto info = read_module_info(file, "m.ko");
    return info ? std::string{} : info.error().message;
  };
  EXPECT_THAT(refusal({}), HasSubstr("no ELF file"));
  EXPECT_THAT(refusal(test::FakeElf{}.file()), HasSubstr("no 64-bit object file"));
  EXPECT_THAT(refusal(test::FakeElf{.type = 1}.file()), HasSubstr(".modinfo"));
  EXPECT_THAT(refusal(fake_module({"license=GPL"})), HasSubstr("vermagic"));
  EXPECT_THAT(refusal(test::FakeElf{.type = 1, .machine = 183}.file()), HasSubstr("another processor"));
}

TEST(ModuleInfo, SurvivesAFileThatIsCutOffAnywhere) {
  const Bytes module = fake_module({magic("6.1 SMP "), "depends=a"});
  for (std::size_t bytes = 0; bytes < module.size(); ++bytes)
    EXPECT_FALSE(read_module_info(ConstByteSpan{module}.first(bytes), "m.ko")) << bytes;
}

TEST(ModuleFile, IsUnpackedFromWhatDistributionsPackItWith) {
  const Bytes module = fake_module({magic("6.1 SMP ")});
  for (const auto filter :
       {archive_write_add_filter_xz, archive_write_add_filter_gzip, archive_write_add_filter_zstd}) {
    const auto unpacked = unpack_module(packed(module, filter), "m.ko");
    ASSERT_TRUE(unpacked) << unpacked.error().message;
    EXPECT_EQ(*unpacked, module);
  }
  EXPECT_EQ(*unpack_module(module, "m.ko"), module);
  Bytes cut = packed(module, archive_write_add_filter_xz);
  cut.resize(cut.size() / 2);
  EXPECT_FALSE(unpack_module(cut, "m.ko"));
}

// ---- which kernel takes it ----

TEST(Vermagic, IsComparedWholeWithoutCrcsAndWithoutTheReleaseWithThem) {
  const auto module = [](const char* value, bool has_crcs) {
    return ModuleInfo{.name = "m", .vermagic = value, .has_crcs = has_crcs};
  };
  EXPECT_TRUE(check_vermagic(module(cloud_magic, false), cloud_magic));
  EXPECT_FALSE(
      check_vermagic(module("6.1.0-12-cloud-amd64 SMP preempt mod_unload modversions ", false), cloud_magic));
  EXPECT_TRUE(
      check_vermagic(module("6.1.0-12-cloud-amd64 SMP preempt mod_unload modversions ", true), cloud_magic));
  EXPECT_FALSE(check_vermagic(module("6.1.0-13-cloud-amd64 SMP mod_unload modversions ", true), cloud_magic));
}

TEST(Vermagic, SaysBothSidesWhenTheyDiffer) {
  const ModuleInfo module{.name = "mine", .vermagic = "6.12.9-amd64 SMP ", .has_crcs = true};
  const auto fits = check_release(module, "6.1.0-13-amd64");
  ASSERT_FALSE(fits);
  EXPECT_THAT(fits.error().message, HasSubstr("module mine is for another kernel"));
  EXPECT_THAT(fits.error().message, HasSubstr("'6.12.9-amd64 SMP '"));
  EXPECT_THAT(fits.error().message, HasSubstr("'6.1.0-13-amd64'"));
  EXPECT_TRUE(check_release(module, "6.12.9-amd64"));
}

// ---- a kernel's modules ----

class ModuleTreeTest : public testing::Test {
 protected:
  ModuleTreeTest() : folder{fs::path{testing::TempDir()} / "cbit module tree" / test_name()} {
    fs::remove_all(folder);
    fs::create_directories(folder / "kernel/drivers");
  }
  ~ModuleTreeTest() override { fs::remove_all(folder); }
  static std::string test_name() { return testing::UnitTest::GetInstance()->current_test_info()->name(); }

  void write(const std::string& path, const Bytes& bytes) const {
    std::ofstream file{folder / path, std::ios::binary};
    file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  }
  void write_text(const std::string& path, std::string_view text) const {
    std::ofstream{folder / path} << text;
  }
  void write_module(const std::string& name, const std::string& depends) const {
    write("kernel/drivers/" + name + ".ko",
          fake_module({"depends=" + depends, "name=" + name, magic(cloud_magic)}));
  }
  [[nodiscard]] std::vector<std::string> order(std::vector<std::string> names,
                                               std::span<const ModuleFile> added = {}) const {
    const auto tree = ModuleTree::open(folder);
    EXPECT_TRUE(tree) << tree.error().message;
    const auto files = tree->in_order(names, added);
    if (!files) return {files.error().message};
    std::vector<std::string> found;
    for (const ModuleFile& file : *files) found.push_back(file.name);
    return found;
  }

  fs::path folder;
};

TEST_F(ModuleTreeTest, OrdersByWhatModulesSayWithoutModulesDep) {
  write_module("virtio", "");
  write_module("virtio_ring", "virtio");
  write_module("virtio_pci", "virtio_ring,virtio");
  write_module("virtio_blk", "virtio_ring,virtio");
  EXPECT_THAT(order({"virtio-blk", "virtio_pci"}),
              ElementsAre("virtio", "virtio_ring", "virtio_blk", "virtio_pci"));
  EXPECT_THAT(order({}), IsEmpty());
}

TEST_F(ModuleTreeTest, OrdersByModulesDepWhereThereIsOne) {
  write_module("a", "");
  write_module("b", "");
  write("kernel/drivers/c.ko.xz",
        packed(fake_module({"depends=", magic(cloud_magic)}), archive_write_add_filter_xz));
  write_text("modules.dep",
             "kernel/drivers/a.ko:\nkernel/drivers/b.ko: kernel/drivers/a.ko\n"
             "kernel/drivers/c.ko.xz: kernel/drivers/b.ko kernel/drivers/a.ko\n");
  EXPECT_THAT(order({"c"}), ElementsAre("a", "b", "c"));
}

TEST_F(ModuleTreeTest, LeavesOutWhatIsBuiltIn) {
  write_module("net", "failover");
  write_module("blk", "core");
  write_text("modules.builtin", "kernel/drivers/core.ko\nkernel/drivers/virtio-pci.ko\n");
  EXPECT_THAT(order({"blk", "virtio_pci"}), ElementsAre("blk"));
  EXPECT_THAT(order({"net"}), ElementsAre(HasSubstr("has no module failover")));
}

TEST_F(ModuleTreeTest, TakesWhatIsNoModuleForBuiltInWhereNoListSaysWhatIs) {
  write_module("blk", "core");
  EXPECT_THAT(order({"blk", "virtio_pci"}), ElementsAre("blk"));
}

TEST_F(ModuleTreeTest, TellsWhatTheKernelIsKnownToHave) {
  write_module("9pnet-virtio", "");
  const auto has = [this](std::string_view name) {
    const auto tree = ModuleTree::open(folder);
    EXPECT_TRUE(tree);
    return tree->provides(name);
  };
  EXPECT_TRUE(has("9pnet_virtio"));
  EXPECT_FALSE(has("9p")) << "it may be built in, and nothing says so";
  write_text("modules.builtin", "kernel/fs/9p/9p.ko\n");
  EXPECT_TRUE(has("9p"));
  EXPECT_FALSE(has("virtiofs"));
}

TEST_F(ModuleTreeTest, EndsWhereModulesNeedEachOther) {
  write_module("a", "b");
  write_module("b", "a");
  EXPECT_THAT(order({"a"}), ElementsAre("b", "a"));
}

TEST_F(ModuleTreeTest, PutsTheUsersModulesBehindWhatTheyNeed) {
  write_module("virtio", "");
  const std::vector<ModuleFile> mine{
      {"top-driver.ko", fake_module({"depends=helper,virtio", magic(cloud_magic)})},
      {"helper.ko", fake_module({"depends=", magic(cloud_magic)})}};
  EXPECT_THAT(order({}, mine), ElementsAre("helper", "virtio", "top_driver"));
}

TEST_F(ModuleTreeTest, RefusesAModuleOfTheUsersForAnotherKernel) {
  write_module("virtio", "");
  const std::vector<ModuleFile> other{
      {"mine.ko", fake_module({"depends=", magic("5.10.0 SMP mod_unload ")}, false)}};
  EXPECT_THAT(order({}, other), ElementsAre(HasSubstr("module mine is for another kernel")));
  const std::vector<ModuleFile> none{{"mine.ko", Bytes(10)}};
  EXPECT_THAT(order({}, none), ElementsAre(HasSubstr("mine.ko is no ELF file")));
}

TEST_F(ModuleTreeTest, RefusesAFolderWithoutModules) {
  EXPECT_FALSE(ModuleTree::open(folder));
  const auto absent = ModuleTree::open(folder / "absent");
  ASSERT_FALSE(absent);
  EXPECT_FALSE(absent.error().hint.empty());
}

// modules.order as Linux 6.1 and 6.12 write it: scripts/Makefile.build, cmd_modules_order and cmd_gen_order.
TEST_F(ModuleTreeTest, OfATreeHasWhatItsListNamesAndNothingElseThatLiesThere) {
  fs::create_directories(folder / "arch/x86/boot");
  write_text("arch/x86/boot/bzImage", "");
  write_module("virtio", "");
  write_module("virtio_ring", "virtio");
  write_module("stale", "");
  write_text("modules.order", "kernel/drivers/virtio.o\nkernel/drivers/virtio_ring.ko\nkernel/gone.o\n");
  write_text("modules.builtin", "kernel/drivers/virtio_pci.ko\n");
  EXPECT_THAT(order({"virtio_ring", "virtio_pci"}), ElementsAre("virtio", "virtio_ring"));
  EXPECT_THAT(order({"stale"}), ElementsAre(HasSubstr("has no module stale")));
  EXPECT_THAT(order({"gone"}), ElementsAre(HasSubstr("has no module gone")));
}

TEST_F(ModuleTreeTest, OfATreeMayBeEmptyAndTakesTheUsersModulesThen) {
  fs::create_directories(folder / "arch/x86/boot");
  write_text("arch/x86/boot/bzImage", "");
  write_text("modules.builtin", "kernel/drivers/virtio.ko\n");
  const std::vector<ModuleFile> mine{{"mine.ko", fake_module({"depends=virtio", magic(cloud_magic)})}};
  EXPECT_THAT(order({"virtio"}, mine), ElementsAre("mine"));
}

TEST(ModulesDep, ListsWhatIsNeededLastFirst) {
  const auto parsed = parse_modules_dep(
      "kernel/a/x-y.ko.zst: kernel/b/m.ko.zst kernel/b/n.ko.zst\nkernel/n.ko.zst:\nbad line\n");
  ASSERT_EQ(parsed.size(), 2u);
  EXPECT_THAT(parsed.at("x_y"), ElementsAre("n", "m"));
  EXPECT_THAT(parsed.at("n"), IsEmpty());
}

// ---- all together ----

Bytes fake_busybox() { return test::FakeElf{.segments = {{.paddr = 0x40'0000, .bytes = Bytes(64)}}}.file(); }

TEST(Initramfs, HoldsInitBusyboxModulesAndFiles) {
  const InitramfsContents contents{.busybox = fake_busybox(),
                                   .modules = {{"virtio", Bytes(3)}, {"virtio_blk", Bytes(4)}},
                                   .files = {{"root/data", Bytes(5), 0600}},
                                   .command = "dmesg"};
  const auto packed_bytes = build_initramfs(contents);
  ASSERT_TRUE(packed_bytes) << packed_bytes.error().message;
  const std::string text{reinterpret_cast<const char*>(packed_bytes->data()), packed_bytes->size()};
  for (const char* name : {"bin/busybox", "bin/sh", "cbit/modules/virtio.ko", "cbit/modules/virtio_blk.ko",
                           "cbit/modules.order", "cbit/command", "dev/console", "init", "root/data"})
    EXPECT_THAT(text, HasSubstr(std::string(name) + '\0')) << name;
  EXPECT_THAT(text, HasSubstr("virtio\nvirtio_blk\n"));
  EXPECT_THAT(text, HasSubstr(default_init()));
  EXPECT_EQ(*build_initramfs(contents), *packed_bytes);
}

TEST(Initramfs, HoldsFoldersLinksAndScripts) {
  const auto packed_bytes = build_initramfs({.busybox = fake_busybox(),
                                             .folders = {{"mnt/share/empty", 0700}},
                                             .files = {{"mnt/share/empty/file", Bytes(1)}},
                                             .links = {{"mnt/share/link", "../../etc"}},
                                             .setup = "mount this",
                                             .enter = "go there",
                                             .finish = "bring that"});
  ASSERT_TRUE(packed_bytes) << packed_bytes.error().message;
  const std::string text{reinterpret_cast<const char*>(packed_bytes->data()), packed_bytes->size()};
  const auto mode_of = [&text](std::string_view name) {
    constexpr std::size_t header = 110, mode_at = 14;  // newc: six bytes of magic, fields of eight
    const std::size_t at = text.find(std::string{name} + '\0');
    return at == std::string::npos ? std::string{} : text.substr(at - header + mode_at, 8);
  };
  EXPECT_EQ(mode_of("mnt/share/empty"), "000041c0") << "S_IFDIR and 0700";
  EXPECT_EQ(mode_of("mnt/share/link"), "0000a1ff") << "S_IFLNK";
  EXPECT_THAT(text, HasSubstr("../../etc"));
  for (const char* script : {"mount this", "go there", "bring that"}) EXPECT_THAT(text, HasSubstr(script));
}

TEST(Initramfs, TakesTheUsersInitInstead) {
  const auto packed_bytes = build_initramfs({.busybox = fake_busybox(), .init = "#!/bin/mine\n"});
  ASSERT_TRUE(packed_bytes);
  const std::string text{reinterpret_cast<const char*>(packed_bytes->data()), packed_bytes->size()};
  EXPECT_THAT(text, HasSubstr("#!/bin/mine\n"));
  EXPECT_THAT(text, testing::Not(HasSubstr("busybox --install")));
}

TEST(Initramfs, RefusesABusyboxThatTheGuestCannotRun) {
  test::FakeElf dynamic{.segments = {{.type = 3, .bytes = Bytes(16)}}};
  for (const Bytes& busybox : {Bytes{}, Bytes(100), dynamic.file(), test::FakeElf{.type = 1}.file()}) {
    const auto built = build_initramfs({.busybox = busybox});
    ASSERT_FALSE(built);
    EXPECT_THAT(built.error().hint, HasSubstr("apt-get install busybox-static"));
  }
}

TEST(Initramfs, RefusesAFileOfTheUsersAtAPathOfItsOwn) {
  EXPECT_FALSE(build_initramfs({.busybox = fake_busybox(), .files = {{"init", Bytes(1)}}}));
  EXPECT_FALSE(build_initramfs({.busybox = fake_busybox(), .files = {{"../x", Bytes(1)}}}));
}

TEST(Busybox, IsFoundInThePathIfItIsStatic) {
  const fs::path folder = fs::path{testing::TempDir()} / "cbit busybox";
  fs::remove_all(folder);
  fs::create_directories(folder / "a");
  fs::create_directories(folder / "b");
  const auto write = [](const fs::path& path, const Bytes& bytes) {
    std::ofstream file{path, std::ios::binary};
    file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  };
  const std::string search = (folder / "a").string() + "::" + (folder / "b").string();
  auto found = find_busybox(search);
  ASSERT_FALSE(found);
  EXPECT_THAT(found.error().hint, HasSubstr("busybox-static"));
  write(folder / "a/busybox", test::FakeElf{.segments = {{.type = 3, .bytes = Bytes(16)}}}.file());
  found = find_busybox(search);
  ASSERT_FALSE(found);
  EXPECT_THAT(found.error().message, HasSubstr("a/busybox is not static"));
  write(folder / "b/busybox", fake_busybox());
  found = find_busybox(search);
  ASSERT_TRUE(found);
  EXPECT_EQ(*found, folder / "b/busybox");
  fs::remove_all(folder);
}

}  // namespace
}  // namespace cbit::boot
