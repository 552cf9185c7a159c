#include "doctor/doctor.hpp"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "doctor/pool_watch.hpp"
#include "support/captured_tree.hpp"

namespace cbit::doctor {
namespace {

using testing::CapturedTree;
using ::testing::HasSubstr;
using ::testing::Not;

// A guest of 8 GiB with the C-bit at 47 and Linux 6.1, and what it says of its features.
struct Guest : CapturedTree {
  explicit Guest(std::string_view features = "AMD SEV") {
    file("/proc/cpuinfo", "vendor_id : AuthenticAMD\nflags : hypervisor rdrand\n\n");
    file("/proc/sys/kernel/osrelease", "6.1.0-30-amd64\n").file("/proc/cmdline", "ro\n");
    file("/proc/meminfo", "MemTotal: 8388608 kB\n").file("/sys/devices/system/cpu/possible", "0-7\n");
    file("/cbit/cpuid", "1 0 0 0 c0000000 0\n8000001f 0 2 6f 0 0\n");
    log("Memory Encryption Features active: " + std::string{features});
  }
  Guest& log(const std::string& line) {
    text_ += "[    0.100000] " + line + "\n";
    file("/cbit/kernel.log", text_);
    return *this;
  }
  Guest& pci(const std::string& address, std::string_view class_code, std::string_view driver,
             unsigned mask = 64) {
    const std::string folder = "/sys/bus/pci/devices/" + address;
    file(folder + "/class", class_code).file(folder + "/dma_mask_bits", std::to_string(mask));
    file(folder + "/consistent_dma_mask_bits", std::to_string(mask));
    if (!driver.empty()) link(folder + "/driver", "../../bus/pci/drivers/" + std::string{driver});
    return *this;
  }
  Guest& virtio(const std::string& name, unsigned id, std::uint64_t features, std::string_view driver) {
    const std::string folder = "/sys/bus/virtio/devices/" + name;
    std::string bits(64, '0');
    for (unsigned n = 0; n < 64; ++n)
      if ((features >> n & 1) != 0) bits[n] = '1';
    std::ostringstream hex;
    hex << "0x" << std::hex << id;
    file(folder + "/features", bits + "\n").file(folder + "/device", hex.str());
    file(folder + "/status", driver.empty() ? "0x83" : "0xf");
    if (!driver.empty()) link(folder + "/driver", std::string{driver});
    return *this;
  }
  [[nodiscard]] Diagnosis diagnose() const {
    facts::HostTree tree = open();
    return doctor::diagnose(tree);
  }

 private:
  std::string text_ = "[    0.000000] Linux version 6.1.0-30-amd64\n";
};

const Outcome& outcome(const Diagnosis& diagnosis, std::string_view id) {
  static const Outcome none;
  for (const CheckResult& check : diagnosis.checks)
    if (check.spec->id == id) return check.outcome;
  ADD_FAILURE() << "there is no check " << id;
  return none;
}

std::vector<std::string_view> names(const std::vector<watch::Cause>& causes) {
  std::vector<std::string_view> found;
  for (const watch::Cause& cause : causes) found.push_back(cause.info->name);
  return found;
}

constexpr std::uint64_t modern = 1ull << 32, with_flag = 3ull << 32;

TEST(Doctor, FindsThePlatformByWhatTheKernelSays) {
  EXPECT_EQ(Guest{"AMD SEV"}.diagnose().system.platform, Platform::sev);
  EXPECT_EQ(Guest{"AMD SEV SEV-ES"}.diagnose().system.platform, Platform::sev_es);
  EXPECT_EQ(Guest{"AMD SEV SEV-ES SEV-SNP"}.diagnose().system.platform, Platform::sev_snp);
  EXPECT_EQ(Guest{"AMD SEV"}.diagnose().system.c_bit, 47u);
}

TEST(Doctor, FindsThePlatformWithoutALog) {
  Guest guest;
  guest.file("/cbit/kernel.log", "");
  EXPECT_EQ(guest.diagnose().system.platform, Platform::sev) << "CPUID alone";
  guest.file("/cbit/msr", "c0010131 7\n");
  EXPECT_EQ(guest.diagnose().system.platform, Platform::sev_snp) << "SEV_STATUS";
  guest.file("/cbit/msr", "c0010131 0\n")
      .file("/cbit/cpuid", "1 0 0 0 c0000000 0\n8000001f 0 1f 6f 100 10\n");
  EXPECT_EQ(guest.diagnose().system.platform, Platform::plain) << "a nested host's CPUID has ASIDs";
  guest.file("/cbit/cpuid", "1 0 0 0 c0000000 0\n21 0 0 65746e49 20202020 5844546c\n");
  EXPECT_EQ(guest.diagnose().system.platform, Platform::tdx);
}

TEST(Doctor, TakesMemEncryptForSmeOnBareMetalOnly) {
  Guest host;
  host.file("/cbit/kernel.log", "").file("/proc/cmdline", "mem_encrypt=on\n");
  host.file("/proc/cpuinfo", "vendor_id : AuthenticAMD\nflags : sme\n\n");
  host.file("/cbit/cpuid", "1 0 0 0 40000000 0\n8000001f 0 1 6f 0 0\n");
  EXPECT_EQ(host.diagnose().system.platform, Platform::sme);
  host.file("/proc/cmdline", "mem_encrypt=on mem_encrypt=off\n");
  EXPECT_EQ(host.diagnose().system.platform, Platform::plain);
  host.file("/proc/cmdline", "mem_encrypt=on\n").file("/cbit/msr", "c0010010 0\n");
  EXPECT_EQ(host.diagnose().system.platform, Platform::plain) << "the firmware left SYSCFG[23] at 0";
  host.file("/cbit/msr", "").file("/cbit/cpuid", "1 0 0 0 c0000000 0\n8000001f 0 1 6f 0 0\n");
  EXPECT_EQ(host.diagnose().system.platform, Platform::plain) << "under a hypervisor";
}

TEST(Doctor, SaysOfADeviceWhatExplainSays) {
  Guest guest;
  guest.pci("0000:00:04.0", "0x010802", "nvme").pci("0000:00:05.0", "0x020000", "e1000", 32);
  const Diagnosis diagnosis = guest.diagnose();
  ASSERT_EQ(diagnosis.devices.size(), 2u);
  explain::ExplainOptions options;
  options.bed.machine = {.platform = Platform::sev, .c_bit = 47, .memory_bytes = 8ull << 30, .cpus = 8};
  options.device.min_align_mask = 4095;
  const auto nvme = explain::explain(options);
  ASSERT_TRUE(nvme);
  EXPECT_EQ(diagnosis.devices[0].largest_mapping, nvme->max_mapping_size);
  EXPECT_EQ(diagnosis.devices[0].largest_mapping, 258048u);
  EXPECT_EQ(diagnosis.devices[0].uses[0].bounced, nvme->bounced);
  EXPECT_EQ(diagnosis.devices[1].largest_mapping, 262144u);
  for (const DeviceReport& device : diagnosis.devices) {
    EXPECT_EQ(device.state, CheckState::pass);
    EXPECT_EQ(way_of(device.uses[0]), "bounced");
    EXPECT_EQ(way_of(device.uses[1]), "shared memory");
    EXPECT_THAT(names(device.causes), ::testing::IsEmpty());
  }
  EXPECT_FALSE(diagnosis.failed());
}

TEST(Doctor, LeavesOutBridgesAndDoesNotJudgeWhatHasNoDriver) {
  Guest guest;
  guest.pci("0000:00:00.0", "0x060000", "")
      .pci("0000:00:01.0", "0x030000", "")
      .pci("0000:00:02.0", "0x020000", "vfio-pci");
  const Diagnosis diagnosis = guest.diagnose();
  ASSERT_EQ(diagnosis.devices.size(), 2u);
  for (const DeviceReport& device : diagnosis.devices) {
    EXPECT_EQ(device.state, CheckState::skip);
    EXPECT_TRUE(device.uses.empty());
    EXPECT_EQ(device.notes.size(), 1u);
  }
}

TEST(Doctor, FindsVirtioDevicesThatGoPastTheDmaApi) {
  Guest guest;
  guest.virtio("virtio0", 2, with_flag, "virtio_blk").virtio("virtio1", 1, modern, "virtio_net");
  guest.virtio("virtio2", 2, modern, "").virtio("virtio3", 5, modern, "").virtio("virtio4", 1, 0, "");
  const Diagnosis diagnosis = guest.diagnose();
  ASSERT_EQ(diagnosis.devices.size(), 5u);
  EXPECT_EQ(diagnosis.devices[0].state, CheckState::pass);
  EXPECT_EQ(diagnosis.devices[1].state, CheckState::fail);
  EXPECT_THAT(names(diagnosis.devices[1].causes), ::testing::Contains("flag-not-offered"));
  EXPECT_EQ(diagnosis.devices[1].uses[0].verdict, explain::Verdict::broken);
  EXPECT_THAT(names(diagnosis.devices[2].causes), ::testing::ElementsAre("flag-not-offered"));
  EXPECT_THAT(names(diagnosis.devices[3].causes), ::testing::ElementsAre("flag-not-acked")) << "the balloon";
  EXPECT_THAT(names(diagnosis.devices[4].causes), ::testing::ElementsAre("legacy-virtio"));
  EXPECT_TRUE(diagnosis.failed());
}

TEST(Doctor, HasNothingAgainstSuchDevicesInAPlainMachine) {
  Guest guest;
  guest.file("/cbit/kernel.log", "").file("/cbit/cpuid", "1 0 0 0 c0000000 0\n");
  guest.virtio("virtio0", 2, modern, "virtio_blk");
  const Diagnosis diagnosis = guest.diagnose();
  EXPECT_EQ(diagnosis.devices.at(0).state, CheckState::pass);
  EXPECT_EQ(way_of(diagnosis.devices[0].uses.at(0)), "physical addresses, past the DMA API");
  EXPECT_EQ(outcome(diagnosis, "guest").state, CheckState::skip);
  EXPECT_FALSE(diagnosis.failed());
}

TEST(Doctor, JudgesRdmaAndGraphicsWithTheirOwnMappings) {
  Guest guest;
  guest.pci("0000:01:00.0", "0x020700", "mlx5_core")
      .folder("/sys/bus/pci/devices/0000:01:00.0/infiniband/mlx5_0");
  guest.pci("0000:02:00.0", "0x030000", "amdgpu", 44);
  const Diagnosis old = guest.diagnose();
  EXPECT_THAT(names(old.devices.at(0).causes), ::testing::Contains("mr-on-private-memory"));
  EXPECT_EQ(old.devices[0].uses.at(2).verdict, explain::Verdict::broken);
  EXPECT_EQ(old.devices[0].uses[0].verdict, explain::Verdict::works) << "its driver's own mappings";
  EXPECT_THAT(names(old.devices.at(1).causes), ::testing::Contains("mapped-encrypted-but-shared"));
  guest.file("/proc/sys/kernel/osrelease", "6.8.0\n");
  const Diagnosis fixed = guest.diagnose();
  EXPECT_EQ(fixed.devices.at(1).state, CheckState::pass);
  EXPECT_EQ(fixed.devices.at(0).state, CheckState::fail);
}

TEST(Doctor, GivesALoggedRefusalToItsDevice) {
  Guest guest;
  guest.pci("0000:00:04.0", "0x010802", "nvme");
  guest.log(
      "nvme 0000:00:04.0: swiotlb buffer is full (sz: 524288 bytes), total 262144 (slots), used 564 (slots)");
  const Diagnosis diagnosis = guest.diagnose();
  const DeviceReport& device = diagnosis.devices.at(0);
  EXPECT_EQ(device.state, CheckState::fail);
  ASSERT_EQ(device.logged.size(), 1u);
  EXPECT_EQ(device.logged[0].causes.at(0)->name, "request-over-segment-limit");
  EXPECT_EQ(outcome(diagnosis, "log-pool-full").state, CheckState::fail);
}

TEST(Doctor, ComparesThePoolWithTheKernelsFormula) {
  Guest guest;
  guest.file("/sys/kernel/debug/swiotlb/io_tlb_nslabs", "262144\n")
      .file("/sys/kernel/debug/swiotlb/io_tlb_used", "0\n");
  EXPECT_EQ(outcome(guest.diagnose(), "pool-size").state, CheckState::pass);
  guest.file("/sys/kernel/debug/swiotlb/io_tlb_nslabs", "131072\n");
  const Diagnosis halved = guest.diagnose();
  EXPECT_EQ(outcome(halved, "pool-size").state, CheckState::warn);
  EXPECT_EQ(outcome(halved, "pool-size").causes.at(0)->name, "pool-not-allocated-low-memory");
  guest.file("/proc/cmdline", "swiotlb=131072\n");
  EXPECT_EQ(outcome(guest.diagnose(), "pool-size").state, CheckState::pass) << "it was asked for";
}

TEST(Doctor, SeesAPoolThatRunsFull) {
  Guest guest;
  guest.file("/sys/kernel/debug/swiotlb/io_tlb_nslabs", "262144\n");
  for (const auto& [used, state] :
       {std::pair{"1000", CheckState::pass}, {"200000", CheckState::warn}, {"262000", CheckState::fail}}) {
    guest.file("/sys/kernel/debug/swiotlb/io_tlb_used", used);
    EXPECT_EQ(outcome(guest.diagnose(), "pool-usage").state, state) << used;
  }
  guest.file("/sys/kernel/debug/swiotlb/io_tlb_used", "0")
      .file("/sys/kernel/debug/swiotlb/io_tlb_used_hiwater", "262144");
  EXPECT_EQ(outcome(guest.diagnose(), "pool-usage").state, CheckState::warn) << "it was full once";
}

TEST(Doctor, FailsWhatKvmWasAskedForAndSkipsWhatNobodyHas) {
  Guest host;
  host.file("/cbit/kernel.log", "").file("/proc/cpuinfo", "vendor_id : AuthenticAMD\nflags : sme sev\n\n");
  host.file("/cbit/cpuid", "1 0 0 0 40000000 0\n8000001f 0 1f 173 1fd 64\n");
  host.file("/cbit/devices", "/dev/kvm usable\n");
  EXPECT_EQ(outcome(host.diagnose(), "sev-guests").state, CheckState::skip) << "kvm_amd is not loaded";
  host.file("/sys/module/kvm_amd/parameters/sev", "Y\n");
  EXPECT_EQ(outcome(host.diagnose(), "sev-guests").state, CheckState::fail) << "sev=Y without /dev/sev";
  EXPECT_EQ(outcome(host.diagnose(), "sev-es-guests").state, CheckState::skip) << "its parent failed";
  host.file("/sys/module/kvm_amd/parameters/sev", "N\n");
  EXPECT_EQ(outcome(host.diagnose(), "sev-guests").state, CheckState::warn);
  host.file("/cbit/devices", "/dev/kvm usable\n/dev/sev usable\n");
  for (const auto* name : {"sev", "sev_es"})
    host.file(std::string{"/sys/module/kvm_amd/parameters/"} + name, "Y\n");
  host.file("/sys/module/kvm_amd/parameters/sev_snp", "N\n").file("/proc/cmdline", "iommu=pt\n");
  const Diagnosis diagnosis = host.diagnose();
  EXPECT_EQ(outcome(diagnosis, "sev-es-guests").state, CheckState::pass);
  EXPECT_EQ(outcome(diagnosis, "sev-snp-guests").state, CheckState::fail);
  EXPECT_EQ(outcome(diagnosis, "sev-snp-guests").causes.at(0)->name, "iommu-passthrough-forbids-snp");
}

TEST(Doctor, WarnsWhereTdxIsPreparedAndOffOnly) {
  Guest host;
  host.file("/proc/cpuinfo", "vendor_id : GenuineIntel\nflags : tdx_host_platform\n\n");
  host.file("/cbit/cpuid", "1 0 0 0 0 0\n").file("/cbit/devices", "/dev/kvm usable\n");
  host.file("/cbit/kernel.log", "[    0.0] Linux version 6.16.0\n");
  EXPECT_EQ(outcome(host.diagnose(), "tdx-guests").state, CheckState::skip);
  host.file("/sys/module/kvm_intel/parameters/tdx", "N\n");
  EXPECT_EQ(outcome(host.diagnose(), "tdx-guests").state, CheckState::skip);
  host.file(
      "/cbit/kernel.log",
      "[    0.0] Linux version 6.16.0\n[    0.5] virt/tdx: BIOS enabled: private KeyID range [32, 64)\n");
  EXPECT_EQ(outcome(host.diagnose(), "tdx-guests").state, CheckState::warn);
  host.file("/sys/module/kvm_intel/parameters/tdx", "Y\n");
  EXPECT_EQ(outcome(host.diagnose(), "tdx-guests").state, CheckState::pass);
}

TEST(Doctor, SamplesThePoolAndSaysWhatToDoWithoutCounters) {
  Guest guest;
  const auto none = sample_pool(guest.open());
  ASSERT_FALSE(none);
  EXPECT_THAT(none.error().message, HasSubstr("io_tlb_nslabs: absent"));
  EXPECT_THAT(none.error().hint, HasSubstr("mount debugfs"));
  guest.file("/cbit/unread", "/sys/kernel/debug/swiotlb/io_tlb_nslabs denied\n");
  EXPECT_EQ(sample_pool(guest.open()).error().hint, "run as root");
  guest.file("/sys/kernel/debug/swiotlb/io_tlb_nslabs", "512")
      .file("/sys/kernel/debug/swiotlb/io_tlb_used", "7\n");
  guest.file("/sys/kernel/tracing/events/swiotlb/swiotlb_bounced/enable", "0\n");
  guest.file("/sys/kernel/tracing/trace",
             "x: swiotlb_bounced: dev_name: a dma_mask=1 dev_addr=1 size=512 FORCE\n");
  guest.log(
      "nvme 0000:00:04.0: swiotlb buffer is full (sz: 4096 bytes), total 512 (slots), used 511 (slots)");
  const auto sample = sample_pool(guest.open());
  ASSERT_TRUE(sample);
  EXPECT_EQ(sample->slots, 512u);
  EXPECT_EQ(sample->used, 7u);
  EXPECT_TRUE(sample->bounces.empty()) << "the event is off: the trace is an old one";
  EXPECT_EQ(sample->full, 1u);
  EXPECT_EQ(sample->full_device, "0000:00:04.0");
  guest.file("/sys/kernel/tracing/events/swiotlb/swiotlb_bounced/enable", "1\n");
  EXPECT_EQ(sample_pool(guest.open())->bounces.at("a").bytes, 512u);
}

TEST(Doctor, PerformsOnceWhatDiffersByNameAlone) {
  Guest guest;
  guest.file("/proc/cmdline", "swiotlb=noforce\n");
  guest.pci("0000:00:04.0", "0x020000", "e1000").pci("0000:00:05.0", "0x020000", "e1000");
  const Diagnosis diagnosis = guest.diagnose();
  ASSERT_EQ(diagnosis.devices.size(), 2u);
  EXPECT_EQ(names(diagnosis.devices[0].causes), names(diagnosis.devices[1].causes));
  for (const DeviceReport& device : diagnosis.devices) {
    ASSERT_FALSE(device.causes.empty());
    EXPECT_EQ(device.causes[0].device, device.name);
  }
}

TEST(Doctor, FailsAGuestThatRunsWithoutItsPool) {
  Guest guest;
  guest.file("/proc/cmdline", "swiotlb=noforce\n");
  guest.pci("0000:00:04.0", "0x010802", "nvme");
  const Diagnosis diagnosis = guest.diagnose();
  EXPECT_EQ(outcome(diagnosis, "pool").causes.at(0)->name, "noforce-in-guest");
  EXPECT_EQ(outcome(diagnosis, "pool-size").state, CheckState::skip) << "its parent failed";
  EXPECT_THAT(names(diagnosis.devices.at(0).causes), ::testing::Contains("noforce-in-guest"));
}

TEST(Doctor, SaysWhatCouldNotBeReadWithoutRoot) {
  Guest guest;
  guest.file("/cbit/unread",
             "/sys/kernel/debug/swiotlb/io_tlb_used denied\n/dev/kmsg denied\n/dev/cpu/0/msr denied\n");
  std::filesystem::remove(guest.root() / "cbit/kernel.log");
  const Diagnosis diagnosis = guest.diagnose();
  EXPECT_THAT(diagnosis.denied,
              ::testing::ElementsAre("/dev/cpu/0/msr", "/dev/kmsg", "/sys/kernel/debug/swiotlb/io_tlb_used"));
  EXPECT_EQ(outcome(diagnosis, "log").state, CheckState::skip);
  EXPECT_EQ(diagnosis.system.platform, Platform::sev);
  EXPECT_THAT(to_text(diagnosis, {}), HasSubstr("Not readable without root: /dev/cpu/0/msr, /dev/kmsg, "));
}

TEST(Doctor, TakesAnEmptyTreeAndOneOfNonsense) {
  CapturedTree empty;
  facts::HostTree tree = empty.open();
  EXPECT_FALSE(diagnose(tree).failed());
  Guest guest;
  const std::string junk = std::string("\x1b[2J\xff\0", 6) + std::string(5000, '7');
  for (const auto* path :
       {"/proc/cpuinfo", "/proc/cmdline", "/proc/meminfo", "/proc/self/limits", "/proc/iomem",
        "/proc/sys/kernel/osrelease", "/sys/kernel/debug/swiotlb/io_tlb_nslabs",
        "/sys/kernel/debug/swiotlb/io_tlb_used", "/sys/devices/system/cpu/possible",
        "/sys/kernel/iommu_groups/0/type", "/sys/class/dmi/id/product_name",
        "/sys/bus/virtio/devices/virtio0/features", "/sys/bus/virtio/devices/virtio0/status",
        "/sys/bus/pci/devices/0000:00:01.0/class", "/sys/bus/pci/devices/0000:00:01.0/dma_mask_bits"})
    guest.file(path, junk);
  const Diagnosis diagnosis = guest.diagnose();
  EXPECT_THAT(to_text(diagnosis, {.verbose = true}), Not(HasSubstr("\x1b")));
  EXPECT_FALSE(nlohmann::json::parse(to_json(diagnosis), nullptr, false).is_discarded());
}

TEST(Doctor, JudgesNoDeviceOfAMachineThatCannotBe) {
  Guest guest;
  guest.file("/cbit/cpuid", "1 0 0 0 c0000000 0\n8000001f 0 2 60 0 0\n");
  guest.pci("0000:00:04.0", "0x010802", "nvme");
  const Diagnosis diagnosis = guest.diagnose();
  EXPECT_TRUE(diagnosis.devices.empty());
  ASSERT_EQ(diagnosis.notes.size(), 1u);
  EXPECT_THAT(diagnosis.notes[0], HasSubstr("C-bit position 32 lies inside RAM"));
}

TEST(Doctor, SurvivesMasksThatNoKernelAccepts) {
  for (const unsigned mask : {1u, 24u, 31u, 63u}) {
    Guest guest;
    guest.pci("0000:00:04.0", "0x040100", "snd", mask);
    EXPECT_EQ(guest.diagnose().devices.size(), 1u) << mask;
  }
}

TEST(Doctor, HoldsItsTableTogether) {
  std::vector<std::string_view> ids{""};
  for (const CheckSpec& spec : check_table()) {
    EXPECT_THAT(ids, ::testing::Contains(spec.parent)) << spec.id << " comes before its parent";
    EXPECT_THAT(ids, Not(::testing::Contains(spec.id))) << spec.id << " is there twice";
    ids.push_back(spec.id);
  }
}

TEST(Doctor, DiagnosesTheRunningSystem) {
  auto tree = facts::HostTree::open("/");
  ASSERT_TRUE(tree);
  const Diagnosis diagnosis = diagnose(*tree);
  EXPECT_EQ(outcome(diagnosis, "processor").state == CheckState::pass, diagnosis.host.cpu.info->x86);
  EXPECT_FALSE(to_text(diagnosis, {.verbose = true}).empty());
}

}  // namespace
}  // namespace cbit::doctor
