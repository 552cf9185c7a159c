#include "facts/capture.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "facts/capture_archive.hpp"
#include "facts/masking.hpp"

namespace cbit::facts {
namespace {

// A file that is gone with the test.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& content)
      : path_{testing::TempDir() + "cbit-capture-test-" + std::to_string(::getpid()) + ".tar.zst"} {
    std::ofstream{path_, std::ios::binary} << content;
  }
  ~TemporaryFile() { std::filesystem::remove(path_); }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

HostRecord small_record() {
  HostRecord record;
  record.files["/proc/cmdline"] = "root=/dev/vda1 swiotlb=force\n";
  record.files["/sys/bus/pci/devices/0000:00:04.0/class"] = "0x010802\n";
  record.files["/proc/iomem"] = tl::unexpected{Unread::denied};
  record.files["/proc/nothing"] = tl::unexpected{Unread::absent};
  record.links["/sys/bus/pci/devices/0000:00:04.0/driver"] = "../../../bus/pci/drivers/nvme";
  record.links["/sys/bus/pci/devices/0000:00:04.0/iommu_group"] =
      "../../../../../../../kernel/iommu_groups/12";
  record.folders["/sys/bus/pci/devices"] = std::vector<std::string>{"0000:00:04.0", "0000:00:05.0"};
  record.folders["/sys/class/drm"] = std::vector<std::string>{};
  record.devices["/dev/kvm"] = DeviceState::denied;
  record.cpuid[{0x8000'001f, 0}] = CpuidRegs{2, 0x6f, 0, 0};
  record.cpuid[{0x21, 0}] = std::nullopt;
  record.msrs[0xc001'0131] = tl::unexpected{Unread::denied};
  record.kernel_log = "[    2.000000] Memory Encryption Features active: AMD SEV\n";
  return record;
}

// Everything that was asked of `record`'s host, asked again of `tree`.
void expect_same_answers(const HostRecord& record, const HostTree& tree) {
  for (const auto& [path, text] : record.files) {
    const auto again = tree.read(path);
    EXPECT_EQ(again.has_value(), text.has_value()) << path;
    if (text && again) {
      EXPECT_EQ(*again, mask_file(path, *text).text) << path;
    }
    if (!text && !again) {
      EXPECT_EQ(again.error(), text.error()) << path;
    }
  }
  for (const auto& [path, names] : record.folders) EXPECT_EQ(tree.list(path), names) << path;
  for (const auto& [path, target] : record.links) {
    const auto again = tree.link(path);
    EXPECT_EQ(again.has_value(), target.has_value()) << path;
    if (target && again) {
      EXPECT_EQ(*again, target->substr(target->rfind('/') + 1)) << path;
    }
  }
  for (const auto& [path, state] : record.devices) EXPECT_EQ(tree.device(path), state) << path;
  for (const auto& [leaf, regs] : record.cpuid) EXPECT_EQ(tree.cpuid(leaf.first, leaf.second), regs);
  for (const auto& [index, value] : record.msrs) EXPECT_EQ(tree.msr(index), value);
}

UnpackedCapture unpacked(const Capture& capture) {
  const auto bytes = pack_capture(capture);
  EXPECT_TRUE(bytes.has_value());
  const TemporaryFile file{*bytes};
  auto opened = UnpackedCapture::open(file.path());
  EXPECT_TRUE(opened.has_value()) << opened.error().message;
  return std::move(*opened);
}

TEST(Capture, AnswersAsTheHostDid) {
  const HostRecord record = small_record();
  const UnpackedCapture capture = unpacked(make_capture(record, "cbit test"));
  const auto tree = HostTree::open(capture.root());
  ASSERT_TRUE(tree.has_value()) << tree.error().message;
  expect_same_answers(record, *tree);
  EXPECT_EQ(tree->kernel_log(), *record.kernel_log);
  EXPECT_FALSE(tree->live());
}

TEST(Capture, AnswersAsTheLiveHostDid) {
  auto live = HostTree::open("/");
  ASSERT_TRUE(live.has_value());
  live->start_recording();
  for (const char* const path :
       {"/proc/cmdline", "/proc/cpuinfo", "/proc/iomem", "/proc/self/limits", "/proc/self/status",
        "/proc/sys/kernel/osrelease", "/sys/class/dmi/id/product_serial", "/proc/1/mem"})
    (void)live->read(path);
  for (const char* const folder : {"/sys/bus/pci/devices", "/sys/bus/virtio/devices"})
    for (const std::string& name : live->list(folder).value_or(std::vector<std::string>{})) {
      const std::string path = std::string{folder} + "/" + name;
      for (const char* const file : {"/class", "/features", "/device", "/address"})
        (void)live->read(path + file);
      for (const char* const link : {"/driver", "/iommu_group", "/subsystem"}) (void)live->link(path + link);
      (void)live->link(path);
    }
  (void)live->device("/dev/kvm");
  (void)live->cpuid(0);
  (void)live->cpuid(0x8000'001f);
  (void)live->kernel_log();
  const HostRecord record = live->record();
  const UnpackedCapture capture = unpacked(make_capture(record, "cbit test"));
  const auto tree = HostTree::open(capture.root());
  ASSERT_TRUE(tree.has_value()) << tree.error().message;
  expect_same_answers(record, *tree);
}

TEST(Capture, RepeatsFilesThatWereReadThroughALink) {
  HostRecord record;
  record.links["/sys/class/infiniband/mlx5_0/device"] = "../../../0000:41:00.0";
  record.links["/sys/class/infiniband/mlx5_0/device/driver"] = "../../bus/pci/drivers/mlx5_core";
  record.files["/sys/class/infiniband/mlx5_0/device/class"] = "0x020700\n";
  record.files["/sys/class/infiniband/mlx5_0/device/driver/module/version"] = "1\n";
  record.folders["/sys/class/infiniband/mlx5_0/device/"] = std::vector<std::string>{"class", "driver"};
  const UnpackedCapture capture = unpacked(make_capture(record, "cbit test"));
  const auto tree = HostTree::open(capture.root());
  ASSERT_TRUE(tree.has_value()) << tree.error().message;
  expect_same_answers(record, *tree);
}

TEST(Capture, HoldsNoSecrets) {
  HostRecord record = small_record();
  record.files["/proc/cmdline"] = "root=UUID=1b4e28ba-2fa1-11d2-883f-0016d3cca427 token=hunter2 -- hunter3\n";
  record.files["/sys/class/net/eth0/address"] = "52:54:00:ab:cd:ef\n";
  record.files["/sys/class/dmi/id/product_serial"] = "SN-hunter4\n";
  record.kernel_log =
      "Nov 26 19:02:41 hunter5 kernel: Memory Encryption Features active: AMD SEV\n"
      "[    1.0] Kernel command line: token=hunter6\n"
      "[    1.0] e1000 0000:00:03.0 eth0: 52:54:00:ab:cd:ef\n";
  std::string all;
  for (const auto& [path, entry] : make_capture(record, "cbit test"))
    all += path + '\n' + entry.content + '\n';
  for (const char* const secret : {"hunter", "1b4e28ba", "52:54"})
    EXPECT_EQ(all.find(secret), std::string::npos) << secret;
  EXPECT_NE(all.find("root=<masked>"), std::string::npos);
}

// What must not be in a capture, each in a place where hosts have such: the whole text, and the part to
// search for.
struct Planted {
  std::string_view where;  // "cmdline", "log", "name" of an interface, or a file
  std::string_view text;
  std::string_view secret;
};
constexpr Planted planted[] = {
    {"cmdline", "password Tr0ub4dor", "Tr0ub4dor"},
    {"cmdline", "api.token=glpat-xYzzy0001", "xYzzy"},
    {"cmdline", "systemd.set_credential=\"tls.key:kEyMaterial one two\"", "kEyMaterial"},
    {"cmdline", "systemd.set_credential_binary=k:aHVudGVyMg==", "aHVudGVy"},
    {"cmdline", "systemd.set_credential=k:'single quoted sEcret3'", "sEcret3"},
    {"cmdline", "\"passphrase=Correct Horse\" ro", "Horse"},
    {"cmdline", "luks.options=header=/keys/%68%75nter", "%68%75"},
    {"cmdline", "rd.luks.uuid=luks-7c1d2e3f-1111-2222-3333-444455556666", "7c1d2e3f"},
    {"cmdline", "root=UUID=1b4e28ba-2fa1-11d2-883f-0016d3cca427", "1b4e28ba"},
    {"cmdline", "root=LABEL=alice-laptop-root", "alice"},
    {"cmdline", "root=/dev/disk/by-id/wwn-0x5002538e40b1c2d3", "5002538e"},
    {"cmdline", "ip=10.11.12.13::10.11.12.1:255.255.255.0:buildhost7:eth0", "buildhost7"},
    {"cmdline", "ip=10.21.22.23", "10.21.22"},
    {"cmdline", "nfsroot=[2001:db8:77::1]:/exports/bob", "2001:db8"},
    {"cmdline", "ifname=net0:52:54:00:a1:b2:c3", "a1:b2"},
    {"cmdline", "52:54:00:d1:e2:f3", "d1:e2"},
    {"cmdline", "BOOTIF=01-52-54-00-99-88-77", "99-88"},
    {"cmdline", "525400aa77bb", "525400aa"},
    {"cmdline", "url=https://carol:pa55w0rd@mirror.example/ks.cfg", "pa55w0rd"},
    {"cmdline", "inst.ks=https://deploy.internal.example/ks?key=K3Y", "deploy.internal"},
    {"cmdline", "dyndbg=\"file a.c +p; esc\\\"aped quote s3cr3tq\"", "s3cr3tq"},
    {"cmdline", "console=ttyS0,115200n8,h1dden", "h1dden"},
    {"cmdline", "iommu=pt,sn3aky", "sn3aky"},
    {"cmdline", "kvm_amd.sev=1;dave", "dave"},
    {"cmdline", "mem=4G@52:54:00:11:77:33", "11:77"},
    {"cmdline", "swiotlb=force -- --token argv0secret", "argv0secret"},
    {"cmdline", "hunter2", "hunter2"},
    {"log", "Linux version 6.1.0-30-amd64 (erin@workstation9) (gcc 12, built in /home/erin) #1",
     "workstation9"},
    {"log", "Linux version 6.1.0-frankslaptop", "franks"},
    {"log",
     "nvme 0000:00:04.0: swiotlb buffer is full (sz: 4096 bytes), total 512 (slots), used 9 (slots) S/N "
     "S4X7NF0M",
     "S4X7"},
    {"log", "nvme 0000:00:04.0: swiotlb buffer is full (sz: 4096 bytes) serial 31415926", "31415926"},
    {"log", "acme_secret_fpga 0000:00:05.0: swiotlb buffer is full (sz: 4096 bytes)", "acme"},
    {"log",
     "ib0: link 80:00:00:48:fe:80:00:00:00:00:00:00:00:02:c9:03:00:0a:b1:c2 DMA addr 0x1000+4096 overflow "
     "(mask ffff, bus limit 0)",
     "0a:b1"},
    {"log", "virtio_net virtio1: device must provide VIRTIO_F_ACCESS_PLATFORM (grace@example.org)", "grace"},
    {"log", "I/O error, dev sda, sector 8 SHA256:uNiQuEfInGeRpRiNt", "uNiQuE"},
    {"log", "Nov 26 19:02:41 heidi-host kernel: Memory Encryption Features active: AMD SEV", "heidi"},
    {"log", "SEV: failed to INIT for guest 12345678-90ab-4def-8123-456789abcdef", "12345678-90ab"},
    {"log", "psp: unable to access the device at 192.168.77.66", "168.77"},
    {"log", "virt/tdx: initialization failed: fe80::5054:ff:fe12:3456", "5054:ff"},
    {"name", "wlx0c42a1030405", "0c42a1"},
    {"name", "ivan-uplink", "ivan"},
    {"/sys/class/dmi/id/product_serial", "judy-serial\n", "judy"},
    {"/sys/class/dmi/id/product_name", "Rack Server S/N J7K8L9M0\n", "J7K8L9"},
    {"/sys/class/dmi/id/sys_vendor", "Contoso 4c4c4544-0035-1044-8005-b2c04f384d32\n", "4c4c4544"},
    {"/sys/class/net/eth0/address", "52:54:00:ab:cd:ef\n", "52:54:00:ab"},
    {"/sys/class/infiniband/mlx5_0/node_guid", "ec0d:9a03:00ca:2f60\n", "ec0d"},
    {"/sys/block/sda/device/wwid", "naa.5002538e40ffeedd\n", "40ffeedd"},
    {"/sys/bus/virtio/devices/virtio0/features", "mallory\n", "mallory"},
    {"/proc/self/status", "Name:\tcbit\nUid:\t1000\nCapEff:\t0000003fffffffff\nGroups:\t31337\n", "31337"},
    {"/proc/cpuinfo", "processor\t: 0\nSerial\t\t: 00000000deadc0de\n", "deadc0de"},
    {"/proc/iomem", "fd000000-fdffffff : niaj-device\n  01000000-022090c7 : Kernel code\n", "niaj"},
    {"/boot/config-6.1.0", "CONFIG_DEFAULT_HOSTNAME=\"olivia-7\"\n# built by peggy\n", "peggy"},
    {"/proc/sys/kernel/osrelease", "6.1.0-rupertbox\n", "rupert"},
    {"/proc/unheard-of", "sybil\n", "sybil"}};
static_assert(std::size(planted) >= 40);

std::string in_hex(std::string_view text) {
  std::string hex;
  for (const char c : text) hex += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return hex;
}

// Without what depends on the text before and behind it.
std::string in_base64(std::string_view text) {
  constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string base64;
  for (std::size_t i = 0; i + 3 <= text.size(); i += 3) {
    std::uint32_t bits = 0;
    for (std::size_t k = 0; k < 3; ++k) bits = bits << 8 | static_cast<unsigned char>(text[i + k]);
    for (int shift = 18; shift >= 0; shift -= 6) base64 += digits[bits >> shift & 63];
  }
  return base64;
}

std::string everything_in(const Capture& capture) {
  std::string all;
  for (const auto& [path, entry] : capture) all += path + '\n' + entry.content + '\n';
  return all;
}

void expect_none_of(const std::string& all, std::string_view secret) {
  std::string lower, small{secret};
  const auto to_lower = [](char c) { return static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c); };
  std::ranges::transform(all, std::back_inserter(lower), to_lower);
  std::ranges::transform(secret, small.begin(), to_lower);
  EXPECT_EQ(lower.find(small), std::string::npos) << secret;
  EXPECT_EQ(lower.find(in_hex(secret)), std::string::npos) << secret;
  // In a longer text its bytes may begin at any place of a group of three; too little is left of a short one.
  for (std::size_t skip = 0; skip < 3; ++skip) {
    const std::string base64 = in_base64(secret.substr(std::min(skip, secret.size())));
    EXPECT_TRUE(base64.empty() || all.find(base64) == std::string::npos) << secret;
  }
}

void plant(HostRecord& record, const Planted& one) {
  const std::string device = "/sys/bus/pci/devices/0000:00:04.0";
  if (one.where == "cmdline") {
    record.files["/proc/cmdline"] = std::string{"quiet "} + std::string{one.text} + "\n";
  } else if (one.where == "log") {
    record.kernel_log =
        std::string{one.text} + "\n[    2.000000] Memory Encryption Features active: AMD SEV\n";
  } else if (one.where == "name") {
    record.folders[device] = std::vector<std::string>{"class", "net"};
    record.folders[device + "/net"] = std::vector<std::string>{std::string{one.text}};
    record.files[device + "/net/" + std::string{one.text} + "/address"] = tl::unexpected{Unread::denied};
    record.links[device + "/peer"] = "../net/" + std::string{one.text};
  } else {
    record.files[std::string{one.where}] = std::string{one.text};
  }
}

TEST(Capture, HoldsNothingOfFortyKindsOfSecretsAndIdentifiers) {
  for (const Planted& one : planted) {
    HostRecord record = small_record();
    plant(record, one);
    const Capture capture = make_capture(record, "cbit test");
    expect_none_of(everything_in(capture), one.secret);
    expect_none_of(describe(capture), one.secret);
  }
}

TEST(Capture, HoldsNoneOfThemTogetherEither) {
  HostRecord record = small_record();
  std::string line{"ro"}, log;
  for (const Planted& one : planted) {
    plant(record, one);
    if (one.where == "cmdline" && one.text.find(" -- ") == std::string_view::npos)
      line += ' ' + std::string{one.text};
    if (one.where == "log") log += std::string{one.text} + '\n';
  }
  record.files["/proc/cmdline"] = line + "\n";
  record.kernel_log = log;
  const Capture capture = make_capture(record, "cbit test");
  for (const Planted& one : planted) expect_none_of(everything_in(capture), one.secret);
  EXPECT_NE(everything_in(capture).find("swiotlb buffer is full (sz: 4096 bytes)"), std::string::npos)
      << "what the doctor reads is still there";
}

TEST(Capture, KeepsOfAReleaseWhatDistributionsCallTheirKernels) {
  for (const char* const release :
       {"6.1.0-30-amd64", "6.12.9+bpo-amd64", "6.8.0-45-generic", "5.14.0-427.el9.x86_64", "6.1.0-30-arm64",
        "6.16.3+deb13-cloud-amd64", "6.11.5-300.fc41.aarch64", "6.10.0-rc3-snp-guest"})
    EXPECT_EQ(mask_release(release), (Masked{release, 0}));
  EXPECT_EQ(mask_release("6.1.0-alices-laptop"), (Masked{"6.1.0-masked-masked", 2}));
}

TEST(Capture, GivesNamesThatSomebodyChoseAnother) {
  HostRecord record = small_record();
  plant(record, {"name", "wlx0c42a1030405", ""});
  const Capture capture = make_capture(record, "cbit test");
  EXPECT_TRUE(capture.contains("sys/bus/pci/devices/0000:00:04.0/net/masked-1"));
  EXPECT_NE(capture.at("cbit/unread").content.find("/net/masked-1/address denied"), std::string::npos);
}

TEST(Capture, SaysWhatIsInIt) {
  const std::string text = describe(make_capture(small_record(), "cbit test"));
  EXPECT_NE(text.find("proc/cmdline"), std::string::npos);
  EXPECT_NE(text.find("1 value masked"), std::string::npos);
  EXPECT_NE(text.find("sys/bus/pci/devices/"), std::string::npos);
  EXPECT_NE(text.find("in 3 files"), std::string::npos);
}

TEST(Capture, IsTheSameForTheSameRecord) {
  const auto first = pack_capture(make_capture(small_record(), "cbit test"));
  const auto second = pack_capture(make_capture(small_record(), "cbit test"));
  ASSERT_TRUE(first && second);
  EXPECT_EQ(*first, *second);
  EXPECT_EQ(read_archive(*first, "x").value().size(), make_capture(small_record(), "cbit test").size());
}

TEST(Capture, IsUnpackedForTheOwnerAloneAndRemovedAtTheEnd) {
  std::string root;
  {
    const UnpackedCapture capture = unpacked(make_capture(small_record(), "cbit test"));
    root = capture.root();
    struct stat info{};
    ASSERT_EQ(::stat(root.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0700u);
  }
  EXPECT_FALSE(std::filesystem::exists(root));
}

TEST(Capture, IsFoundInAFolderOfTheArchive) {
  Capture wrapped;
  for (const auto& [path, entry] : make_capture(small_record(), "cbit test"))
    wrapped["host-7/" + path] = entry;
  const UnpackedCapture capture = unpacked(wrapped);
  EXPECT_TRUE(HostTree::open(capture.root()).has_value());
}

// What is wrong with the archive of one entry, or of one and another.
std::string refusal(const Capture& capture, const UnpackLimits& limits = {}) {
  const auto bytes = pack_capture(capture);
  EXPECT_TRUE(bytes.has_value());
  const auto read = read_archive(*bytes, "evil.tar.zst", limits);
  if (read) return "";
  EXPECT_FALSE(read.error().hint.empty());
  EXPECT_EQ(read.error().code, ExitCode::bad_input);
  return read.error().message;
}

TEST(CaptureArchive, RefusesWhatLeadsOut) {
  const CaptureEntry file{CaptureKind::file, "x", 0};
  EXPECT_NE(refusal({{"../evil", file}}).find("leads out"), std::string::npos);
  EXPECT_NE(refusal({{"a/../../evil", file}}).find("leads out"), std::string::npos);
  EXPECT_NE(refusal({{"/etc/evil", file}}).find("absolute"), std::string::npos);
  EXPECT_NE(refusal({{"a", {CaptureKind::link, "/etc", 0}}}).find("link that leads out"), std::string::npos);
  EXPECT_NE(refusal({{"a/b", {CaptureKind::link, "../../etc", 0}}}).find("link that leads out"),
            std::string::npos);
  EXPECT_NE(refusal({{"a/b", {CaptureKind::link, "x/../../../etc", 0}}}).find("link that leads out"),
            std::string::npos);
  EXPECT_EQ(refusal({{"a/b", {CaptureKind::link, "../etc", 0}}}), "");
}

TEST(CaptureArchive, RefusesEntriesBelowALink) {
  EXPECT_NE(refusal({{"a", {CaptureKind::link, "b", 0}}, {"a/evil", {CaptureKind::file, "x", 0}}})
                .find("below what is no folder"),
            std::string::npos);
  EXPECT_NE(refusal({{"a", {CaptureKind::file, "x", 0}}, {"a/b/c", {CaptureKind::file, "x", 0}}})
                .find("below what is no folder"),
            std::string::npos);
}

// One entry of a ustar archive, with a body.
std::string tar_entry(const std::string& name, char type, const std::string& target = "",
                      const std::string& body = "") {
  std::string header(512, '\0');
  const auto put = [&](std::size_t at, std::string_view text) { header.replace(at, text.size(), text); };
  const auto octal = [](std::size_t value) {
    char digits[12];
    std::snprintf(digits, sizeof digits, "%011zo", value);
    return std::string{digits};
  };
  put(0, name);
  put(100, "0000644");
  put(108, "0000000");
  put(116, "0000000");
  put(124, octal(body.size()));
  put(136, octal(0));
  put(148, "        ");
  put(156, std::string(1, type));
  put(157, target);
  put(257, std::string_view{"ustar\0"
                            "00",
                            8});
  unsigned sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  char digits[8];
  std::snprintf(digits, sizeof digits, "%06o", sum);
  put(148, std::string_view{digits, 7});
  std::string padded = body;
  padded.resize((body.size() + 511) / 512 * 512, '\0');
  return header + padded;
}

std::string refusal_of_tar(const std::string& entries) {
  const auto read = read_archive(entries + std::string(1024, '\0'), "evil.tar");
  return read ? "" : read.error().message;
}

TEST(CaptureArchive, RefusesDevicesFifosAndHardLinks) {
  EXPECT_EQ(refusal_of_tar(tar_entry("a", '0', "", "text")), "");
  EXPECT_NE(refusal_of_tar(tar_entry("a", '1', "b")).find("hard link"), std::string::npos);
  for (const char type : {'3', '4', '6'})
    EXPECT_NE(refusal_of_tar(tar_entry("a", type)).find("neither a file"), std::string::npos) << type;
}

TEST(CaptureArchive, RefusesAnEntryThatComesTwice) {
  EXPECT_NE(refusal_of_tar(tar_entry("a", '0', "", "1") + tar_entry("./a", '0', "", "2")).find("comes twice"),
            std::string::npos);
  EXPECT_NE(refusal_of_tar(tar_entry("a", '5') + tar_entry("a", '2', "b")).find("comes twice"),
            std::string::npos);
  EXPECT_EQ(refusal_of_tar(tar_entry("./", '5') + tar_entry("a", '5') + tar_entry("a/", '5')), "");
}

TEST(CaptureArchive, RefusesMoreThanACaptureHolds) {
  const Capture capture{{"a", {CaptureKind::file, std::string(5000, 'x'), 0}},
                        {"b", {CaptureKind::file, std::string(5000, 'x'), 0}}};
  EXPECT_EQ(refusal(capture), "");
  EXPECT_NE(refusal(capture, {.entries = 1}).find("too many entries"), std::string::npos);
  EXPECT_NE(refusal(capture, {.file_bytes = 4999}).find("more bytes"), std::string::npos);
  EXPECT_NE(refusal(capture, {.total_bytes = 9999}).find("more bytes"), std::string::npos);
}

TEST(CaptureArchive, RefusesABombWithoutUnpackingIt) {
  const Capture bomb{{"zeros", {CaptureKind::file, std::string(64 << 20, '\0'), 0}}};
  const auto bytes = pack_capture(bomb);
  ASSERT_TRUE(bytes.has_value());
  EXPECT_LT(bytes->size(), 1u << 20);
  EXPECT_NE(refusal(bomb).find("more bytes"), std::string::npos);
}

TEST(CaptureArchive, RefusesWhatIsNoArchiveAndOneThatIsCutShort) {
  EXPECT_FALSE(read_archive("", "x").has_value());
  EXPECT_FALSE(read_archive("this is no archive, and long enough to look at", "x").has_value());
  const auto bytes = pack_capture(make_capture(small_record(), "cbit test"));
  ASSERT_TRUE(bytes.has_value());
  for (const std::size_t size : {bytes->size() / 2, bytes->size() - 20})
    EXPECT_FALSE(read_archive(std::string_view{*bytes}.substr(0, size), "x").has_value()) << size;
}

TEST(CaptureArchive, NamesTheFileThatCannotBeRead) {
  const auto missing = UnpackedCapture::open("/nonexistent/x.tar.zst");
  ASSERT_FALSE(missing.has_value());
  EXPECT_NE(missing.error().message.find("/nonexistent/x.tar.zst"), std::string::npos);
  const auto folder = UnpackedCapture::open("/proc");
  ASSERT_FALSE(folder.has_value());
  EXPECT_NE(folder.error().message.find("it is a folder"), std::string::npos);
}

TEST(CaptureArchive, RefusesAnArchiveThatIsNoCapture) {
  const auto bytes = pack_capture({{"readme", {CaptureKind::file, "x", 0}}});
  ASSERT_TRUE(bytes.has_value());
  const TemporaryFile file{*bytes};
  const auto opened = UnpackedCapture::open(file.path());
  ASSERT_FALSE(opened.has_value());
  EXPECT_NE(opened.error().message.find("no cbit/capture.json"), std::string::npos);
}

TEST(CaptureArchive, TellsAnArchiveFromAFolder) {
  const TemporaryFile file{"x"};
  EXPECT_TRUE(is_archive(file.path()));
  EXPECT_FALSE(is_archive("/"));
  EXPECT_FALSE(is_archive("/nonexistent"));
}

}  // namespace
}  // namespace cbit::facts
