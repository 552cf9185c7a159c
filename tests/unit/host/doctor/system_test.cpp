// What a system is, where little tells it: other architectures, paravisors, a bare log.
#include "doctor/system.hpp"

#include <gmock/gmock.h>

#include "doctor/doctor.hpp"
#include "support/captured_tree.hpp"

namespace cbit::doctor {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

struct Tree : testing::CapturedTree {
  explicit Tree(std::string_view cpuinfo) {
    file("/proc/cpuinfo", cpuinfo)
        .file("/proc/sys/kernel/osrelease", "6.8.0\n")
        .file("/proc/cmdline", "ro\n");
    file("/proc/meminfo", "MemTotal: 8388608 kB\n").file("/sys/devices/system/cpu/possible", "0-3\n");
  }
  Tree& log(std::string_view lines) {
    file("/cbit/kernel.log", "Linux version 6.8.0\n" + std::string{lines});
    return *this;
  }
  [[nodiscard]] Diagnosis diagnose() const {
    facts::HostTree tree = open();
    return doctor::diagnose(tree);
  }
  [[nodiscard]] System system() const { return diagnose().system; }
};

constexpr std::string_view s390 =
    "vendor_id       : IBM/S390\n# processors    : 2\nfacilities      : 0 1 158 161\n"
    "processor 0: version = FF,  identification = 010203,  machine = 8561\n";
constexpr std::string_view arm64 = "processor : 0\nCPU implementer : 0x41\n\n";
constexpr std::string_view azure =
    "vendor_id : AuthenticAMD\nflags : hypervisor rdrand\naddress sizes : 48 bits physical\n\n";
constexpr std::string_view azure_intel =
    "vendor_id : GenuineIntel\nflags : hypervisor\naddress sizes : 46 bits physical\n\n";
constexpr std::string_view hyperv = "Hypervisor detected: Microsoft Hyper-V\n";

TEST(OtherArchitectures, SecureExecutionIsNamedAndNotJudged) {
  Tree tree{s390};
  tree.file("/sys/firmware/uv/prot_virt_guest", "1\n");
  const Diagnosis diagnosis = tree.diagnose();
  EXPECT_THAT(describe(diagnosis.system), AllOf(HasSubstr("Secure Execution"), Not(HasSubstr("bare metal"))));
  EXPECT_FALSE(diagnosis.failed());
  EXPECT_TRUE(diagnosis.devices.empty());
  tree.file("/sys/firmware/uv/prot_virt_guest", "0\n").file("/sys/firmware/uv/prot_virt_host", "1\n");
  EXPECT_THAT(describe(tree.system()), HasSubstr("Secure Execution, of this host's guests"));
}

TEST(OtherArchitectures, NothingIsClaimedOfOneThatIsNotKnown) {
  for (const std::string_view cpuinfo :
       {s390, arm64, std::string_view{"processor : 0\nhart : 0\nisa : rv64imac\n"}})
    EXPECT_THAT(describe(Tree{cpuinfo}.system()), Not(HasSubstr("bare metal"))) << cpuinfo;
}

TEST(OtherArchitectures, ArmsRealmIsNamedAndNotJudged) {
  EXPECT_THAT(describe(Tree{arm64}.log("RME: Using RSI version 1.0\n").system()), HasSubstr("Arm CCA"));
  Tree tree{arm64};
  tree.file("/sys/devices/platform/arm-cca-dev/uevent", "");
  EXPECT_THAT(describe(tree.system()), HasSubstr("Arm CCA"));
}

TEST(Paravisor, IsFoundInCpuidWithWhereSharedMemoryBegins) {
  Tree tree{azure};
  // "Microsoft Hv"; isolation: a paravisor, SNP, shared from bit 46 on.
  tree.file("/cbit/cpuid",
            "1 0 0 0 80000000 0\n40000000 0 4000000c 7263694d 666f736f 76482074\n4000000c 0 1 ba2 0 0\n");
  const System system = tree.system();
  EXPECT_EQ(system.platform, Platform::sev_snp);
  EXPECT_TRUE(system.paravisor);
  EXPECT_EQ(system.vtom, 46u);
  EXPECT_EQ(system.c_bit, 0u);
  EXPECT_EQ(system.hypervisor, "Hyper-V");
}

TEST(Paravisor, IsFoundInTheLogWithoutCpuid) {
  Tree snp{azure};
  snp.log(std::string{hyperv} + "Hyper-V: Isolation Config: Group A 0x1, Group B 0xba2\n");
  EXPECT_EQ(snp.system().platform, Platform::sev_snp);
  EXPECT_EQ(snp.system().vtom, 46u);
  Tree tdx{azure_intel};
  tdx.log(std::string{hyperv} + "Hyper-V: Isolation Config: Group A 0x1, Group B 0xbe3\n");
  EXPECT_EQ(tdx.system().platform, Platform::tdx) << "neither CPUID 21 nor /dev/tdx_guest";
  EXPECT_TRUE(tdx.system().paravisor);
}

// arch/x86/coco/core.c: with vTOM Linux shows the attributes of SEV alone.
TEST(Paravisor, IsBehindWhatLinuxCallsSevOnHyperv) {
  Tree tree{azure};
  tree.log(std::string{hyperv} + "Memory Encryption Features active: AMD SEV\n");
  EXPECT_EQ(tree.system().platform, Platform::sev_snp);
  EXPECT_TRUE(tree.system().paravisor);
  tree.log("Hypervisor detected: KVM\nMemory Encryption Features active: AMD SEV\n");
  EXPECT_EQ(tree.system().platform, Platform::sev);
  EXPECT_FALSE(tree.system().paravisor);
}

TEST(Paravisor, VbsIsNamedAndNotJudged) {
  Tree tree{azure};
  tree.log(std::string{hyperv} + "Hyper-V: Isolation Config: Group A 0x1, Group B 0x1\n");
  EXPECT_THAT(describe(tree.system()), HasSubstr("VBS"));
}

TEST(BareLog, IsJudgedByWhatItSays) {
  facts::HostTree tree = facts::HostTree::of_log(
      "[    0.000000] Linux version 6.8.0-49-generic\n"
      "[    0.000000] Command line: ro swiotlb=noforce\n"
      "[    0.301220] Memory Encryption Features active: Intel TDX\n"
      "[   51.1] virtio_blk virtio0: swiotlb buffer is full (sz: 524288 bytes), "
      "total 32768 (slots), used 0 (slots)\n");
  const Diagnosis diagnosis = diagnose(tree);
  EXPECT_EQ(diagnosis.system.platform, Platform::tdx);
  EXPECT_TRUE(diagnosis.failed());
  EXPECT_TRUE(diagnosis.devices.empty());
  EXPECT_THAT(to_text(diagnosis, {}),
              AllOf(HasSubstr("noforce-in-guest"), HasSubstr("request-over-segment-limit"),
                    Not(HasSubstr("/proc/cpuinfo"))));
}

TEST(BareLog, ClaimsNoMissingPoolOfAGuestWhoseLogHasLostItsBeginning) {
  constexpr std::string_view full_pool =
      "tdx: Guest detected\n"
      "nvme 0000:00:04.0: swiotlb buffer is full (sz: 4096 bytes), total 32768 (slots), used 32768 (slots)\n";
  for (const std::string_view text :
       {std::string_view{"Memory Encryption Features active: AMD SEV\n"}, full_pool}) {
    facts::HostTree tree = facts::HostTree::of_log(std::string{text});
    for (const CheckResult& check : diagnose(tree).checks) {
      if (check.spec->id == "pool") {
        EXPECT_NE(check.outcome.state, CheckState::fail) << text;
      }
    }
  }
}

TEST(BareLog, OfWhichNothingIsKnownClaimsNothing) {
  for (const std::string_view text : {"", "usb 1-1: new device\n", "\xff\xfe\n"}) {
    facts::HostTree tree = facts::HostTree::of_log(std::string{text});
    const Diagnosis diagnosis = diagnose(tree);
    EXPECT_FALSE(diagnosis.failed());
    EXPECT_THAT(describe(diagnosis.system), HasSubstr("nothing tells"));
  }
}

TEST(Tsme, IsSeenInTheSecureProcessorsStatus) {
  Tree host{"vendor_id : AuthenticAMD\nflags : sme\n\n"};
  const std::string folder = "/sys/bus/pci/devices/0000:45:00.1";
  host.file(folder + "/class", "0x108000\n").link(folder + "/driver", "../../../bus/pci/drivers/ccp");
  host.file(folder + "/tsme_status", "1\n");
  const std::string text = to_text(host.diagnose(), {});
  EXPECT_THAT(text, HasSubstr("[ PASS ] - Transparent SME (TSME): on"));
}

}  // namespace
}  // namespace cbit::doctor
