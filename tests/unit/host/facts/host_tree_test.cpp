#include "facts/host_tree.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "support/captured_tree.hpp"

namespace cbit::facts {
namespace {

using testing::CapturedTree;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(HostTree, ReadsBytesAsTheyAre) {
  CapturedTree files;
  const std::string binary{"a\0b\xff\n", 5};
  files.file("/sys/x", binary).file("/sys/empty", "");
  const HostTree tree = files.open();
  EXPECT_FALSE(tree.live());
  EXPECT_EQ(tree.read("/sys/x"), binary);
  EXPECT_EQ(tree.read("/sys/empty"), "");
}

TEST(HostTree, SaysWhyAFileWasNotRead) {
  CapturedTree files;
  files.file("/sys/file", "x").file("/cbit/unread", "# what the host refused\n/proc/kcore denied\n");
  const HostTree tree = files.open();
  EXPECT_EQ(tree.read("/sys/none").error(), Unread::absent);
  EXPECT_EQ(tree.read("/sys/file/below").error(), Unread::absent);
  EXPECT_EQ(tree.read("/sys").error(), Unread::not_a_file);
  EXPECT_EQ(tree.read("/").error(), Unread::not_a_file);
  EXPECT_EQ(tree.read("/proc/kcore").error(), Unread::denied);
  EXPECT_EQ(tree.read(std::string_view{"/sys/f\0ile", 10}).error(), Unread::absent);
  EXPECT_EQ(tree.list("/sys/file").error(), Unread::not_a_file);
  EXPECT_EQ(tree.link("/sys/file").error(), Unread::not_a_file);
  EXPECT_EQ(tree.link("/sys/none").error(), Unread::absent);
}

TEST(HostTree, RefusesWhatExceedsTheBound) {
  CapturedTree files;
  files.file("/sys/x", "12345678").file("/sys/huge", "");
  std::filesystem::resize_file(files.place("/sys/huge"), std::uintmax_t{1} << 40);
  const HostTree tree = files.open();
  EXPECT_EQ(tree.read("/sys/x", 8), "12345678");
  EXPECT_EQ(tree.read("/sys/x", 7).error(), Unread::too_large);
  EXPECT_EQ(tree.read("/sys/huge").error(), Unread::too_large);
}

TEST(HostTree, DoesNotWaitForAFifoOrASocket) {
  CapturedTree files;
  ASSERT_EQ(::mkfifo(files.place("/sys/fifo").c_str(), 0600), 0);
  files.link("/sys/to-fifo", "fifo");
  const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un name{.sun_family = AF_UNIX};
  // The whole path may be longer than a socket's name can be.
  const int folder = ::open(files.place("/sys/socket").parent_path().c_str(), O_RDONLY | O_DIRECTORY);
  ("/proc/self/fd/" + std::to_string(folder) + "/socket").copy(name.sun_path, sizeof name.sun_path - 1);
  ASSERT_EQ(::bind(fd, reinterpret_cast<const sockaddr*>(&name), sizeof name), 0);
  const HostTree tree = files.open();
  EXPECT_EQ(tree.read("/sys/fifo").error(), Unread::not_a_file);
  EXPECT_EQ(tree.read("/sys/to-fifo").error(), Unread::not_a_file);
  EXPECT_EQ(tree.read("/sys/socket").error(), Unread::not_a_file);
  EXPECT_EQ(tree.list("/sys/fifo").error(), Unread::not_a_file);
  ::close(fd);
  ::close(folder);
}

TEST(HostTree, FollowsLinksInsideTheRootOnly) {
  CapturedTree outside, files;
  outside.file("/secret", "outside");
  files.file("/sys/devices/a/class", "inside")
      .file("/secret", "the tree's own")
      .link("/sys/bus/a", "../devices/a")
      .link("/absolute", "/sys/devices/a/class")
      .link("/escape-absolute", outside.root().string() + "/secret")
      .link("/escape-up", "../../../../../../../../../../../../secret")
      .link("/folder-up", "../../../../../../../..");
  const HostTree tree = files.open();
  EXPECT_EQ(tree.read("/sys/bus/a/class"), "inside");
  EXPECT_EQ(tree.read("/absolute"), "inside");
  EXPECT_EQ(tree.read("/escape-absolute").error(), Unread::absent);
  EXPECT_EQ(tree.read("/escape-up"), "the tree's own");
  EXPECT_EQ(tree.read("/../../../secret"), "the tree's own");
  EXPECT_EQ(tree.list("/folder-up").value(), tree.list("/").value());
}

TEST(HostTree, GivesUpOnLinksThatLeadInCircles) {
  CapturedTree files;
  files.link("/a", "b").link("/b", "a").link("/deeper", "deeper/deeper");
  const HostTree tree = files.open();
  EXPECT_EQ(tree.read("/a").error(), Unread::io_error);
  EXPECT_EQ(tree.read("/deeper").error(), Unread::io_error);
}

TEST(HostTree, NamesWhatALinkPointsTo) {
  CapturedTree files;
  files.link("/sys/d/driver", "../../../bus/pci/drivers/nvme")
      .link("/sys/d/group", "7")
      .link("/sys/d/up", "/");
  const HostTree tree = files.open();
  EXPECT_EQ(tree.link("/sys/d/driver"), "nvme");
  EXPECT_EQ(tree.link("/sys/d/group"), "7");
  EXPECT_EQ(tree.link("/sys/d/up"), "");
}

TEST(HostTree, ListsNamesInOrderAndHidesDots) {
  CapturedTree files;
  files.file("/sys/b", "").file("/sys/a", "").folder("/sys/c").file("/sys/.keep", "");
  EXPECT_THAT(files.open().list("/sys").value(), ElementsAre("a", "b", "c"));
}

TEST(HostTree, AnswersForProcessorAndDevicesFromTheCapture) {
  CapturedTree files;
  files.file("/cbit/cpuid", "# leaf subleaf eax ebx ecx edx\n8000001f 0 f 0x4173 1fd 1\n")
      .file("/cbit/devices", "/dev/kvm usable\n/dev/sev denied # no rights\n")
      .file("/cbit/kernel.log", "[    0.000000] Linux version 6.1\n");
  const HostTree tree = files.open();
  EXPECT_EQ(tree.cpuid(0x8000001f), (CpuidRegs{0xf, 0x4173, 0x1fd, 1}));
  EXPECT_EQ(tree.cpuid(0x8000001f, 1), std::nullopt);
  EXPECT_EQ(tree.cpuid(0), std::nullopt);
  EXPECT_EQ(tree.device("/dev/kvm"), DeviceState::usable);
  EXPECT_EQ(tree.device("/dev/sev"), DeviceState::denied);
  EXPECT_EQ(tree.device("/dev/null"), DeviceState::absent);
  EXPECT_EQ(tree.kernel_log(), "[    0.000000] Linux version 6.1\n");
}

TEST(HostTree, SaysThatTheCapturedHostRefusedItsLog) {
  CapturedTree files;
  EXPECT_EQ(files.open().kernel_log().error(), Unread::absent);
  files.file("/cbit/unread", "/dev/kmsg denied\n");
  EXPECT_EQ(files.open().kernel_log().error(), Unread::denied);
}

TEST(HostTree, RefusesAFolderThatIsNoCapture) {
  CapturedTree files;
  std::filesystem::remove(files.root() / "cbit/capture.json");
  const auto tree = HostTree::open(files.root().string());
  ASSERT_FALSE(tree);
  EXPECT_EQ(tree.error().code, ExitCode::bad_input);
  EXPECT_THAT(tree.error().message, HasSubstr("is no captured tree"));
  EXPECT_FALSE(HostTree::open((files.root() / "none").string()));
  for (const auto* text : {"", "[]", "{", "{\"version\": \"1\"}", "{\"version\": 2}", "\xff\xfe"}) {
    files.file("/cbit/capture.json", text);
    EXPECT_FALSE(HostTree::open(files.root().string())) << text;
  }
}

TEST(HostTree, NamesTheLineThatIsNotOfTheFormat) {
  for (const auto& [file, text] : {std::pair{"/cbit/cpuid", "0 0 1 2 3 4\n1 0 x 0 0 0\n"},
                                   std::pair{"/cbit/cpuid", "\n1 0 0 0 0 0 123456789\n"},
                                   std::pair{"/cbit/cpuid", "\n1 0 123456789 0 0 0\n"},
                                   std::pair{"/cbit/devices", "/dev/a usable\n/dev/b perhaps\n"},
                                   std::pair{"/cbit/unread", "/a denied\n/b\n"}}) {
    CapturedTree files;
    files.file(file, text);
    const auto tree = HostTree::open(files.root().string());
    ASSERT_FALSE(tree) << text;
    EXPECT_THAT(tree.error().message, HasSubstr(std::string{file} + ":2: ")) << text;
  }
}

TEST(HostTree, RecordsWhatWasAskedAndNothingElse) {
  CapturedTree files;
  files.file("/sys/a", "1")
      .file("/sys/b", "2")
      .link("/sys/l", "../x/y")
      .file("/cbit/unread", "/sys/c denied");
  HostTree tree = files.open();
  (void)tree.read("/sys/b");
  EXPECT_TRUE(tree.record().files.empty());
  tree.start_recording();
  (void)tree.read("/sys/a");
  (void)tree.read("/sys/c");
  (void)tree.list("/sys");
  (void)tree.link("/sys/l");
  (void)tree.device("/dev/sev");
  (void)tree.cpuid(1);
  EXPECT_EQ(tree.record().files.size(), 2u);
  EXPECT_EQ(tree.record().files.at("/sys/a"), "1");
  EXPECT_EQ(tree.record().files.at("/sys/c").error(), Unread::denied);
  EXPECT_THAT(tree.record().folders.at("/sys").value(), ElementsAre("a", "b", "l"));
  EXPECT_EQ(tree.record().links.at("/sys/l"), "../x/y");
  EXPECT_EQ(tree.record().devices.at("/dev/sev"), DeviceState::absent);
  EXPECT_EQ(tree.record().cpuid.at({1, 0}), std::nullopt);
  EXPECT_FALSE(tree.record().kernel_log.has_value());
}

TEST(HostTree, ReadsTheRunningSystem) {
  const auto tree = HostTree::open("/");
  ASSERT_TRUE(tree);
  EXPECT_TRUE(tree->live());
  EXPECT_THAT(tree->read("/proc/version").value(), HasSubstr("Linux version"));
  EXPECT_EQ(tree->read("/proc/self/limits").value().substr(0, 5), "Limit");
  EXPECT_EQ(tree->read("/dev/zero").error(), Unread::not_a_file);
  EXPECT_EQ(tree->device("/dev/null"), DeviceState::usable);
  EXPECT_EQ(tree->device("/dev/no-such-device"), DeviceState::absent);
  EXPECT_EQ(tree->device("/etc/passwd"), DeviceState::absent) << "a file is no device";
#if defined(__x86_64__)
  const auto vendor = tree->cpuid(0);
  ASSERT_TRUE(vendor);
  EXPECT_EQ(tree->cpuid(vendor->eax + 1), std::nullopt) << "beyond the last leaf";
#endif
}

}  // namespace
}  // namespace cbit::facts
