// What the kernel's command line asks for and the system does not have.
#include <gmock/gmock.h>

#include "doctor/doctor.hpp"
#include "support/captured_tree.hpp"

namespace cbit::doctor {
namespace {

using ::testing::HasSubstr;

constexpr std::string_view no_log = "";

// An EPYC whose firmware and kernel give SEV guests, but leave SEV-ES no ASID (CPUID 8000001F EDX is 1).
struct Host : testing::CapturedTree {
  explicit Host(std::string_view command_line, std::string_view flags = "sme sev") {
    file("/proc/cpuinfo", "vendor_id : AuthenticAMD\nflags : " + std::string{flags} + "\n\n");
    file("/proc/sys/kernel/osrelease", "6.12.9\n").file("/proc/cmdline", std::string{command_line} + "\n");
    file("/proc/meminfo", "MemTotal: 16777216 kB\n").file("/sys/devices/system/cpu/possible", "0-7\n");
    file("/cbit/cpuid", "1 0 0 0 40000000 0\n8000001f 0 1b 173 1fd 1\n")
        .file("/cbit/msr", "c0010010 f40000\n");
    file("/cbit/devices", "/dev/kvm usable\n/dev/sev usable\n").file("/cbit/kernel.log", no_log);
    file("/sys/module/kvm_amd/parameters/sev", "Y\n").file("/sys/module/kvm_amd/parameters/sev_es", "N\n");
    file("/sys/module/kvm_amd/parameters/sev_snp", "N\n")
        .file("/sys/class/iommu/ivhd0/amd-iommu/cap", "40\n");
  }
  [[nodiscard]] Outcome outcome(std::string_view id) const {
    facts::HostTree tree = open();
    for (const CheckResult& check : diagnose(tree).checks)
      if (check.spec->id == id) return check.outcome;
    ADD_FAILURE() << "there is no check " << id;
    return {};
  }
  [[nodiscard]] CheckState state(std::string_view id) const { return outcome(id).state; }
};

TEST(AskedFor, WhatNobodyAskedForIsNoFailure) {
  const Host host{"ro"};
  for (const std::string_view id : {"sev-es-guests", "sev-snp-guests", "sme-active"})
    EXPECT_EQ(host.state(id), CheckState::skip) << id;
  EXPECT_EQ(host.state("sev-guests"), CheckState::pass);
}

TEST(AskedFor, GuestsThatCannotBeFailWithTheFirmwaresSetting) {
  const Host host{"ro kvm_amd.sev=1 kvm_amd.sev_es=1 kvm_amd.sev_snp=1"};
  EXPECT_EQ(host.state("sev-guests"), CheckState::pass);
  for (const std::string_view id : {"sev-es-guests", "sev-snp-guests"}) {
    const Outcome outcome = host.outcome(id);
    EXPECT_EQ(outcome.state, CheckState::fail) << id;
    EXPECT_THAT(outcome.says, HasSubstr("EDX is 1")) << id;
    EXPECT_THAT(outcome.remedy, HasSubstr("SEV-ES ASID Space Limit")) << id;
    EXPECT_THAT(outcome.evidence.back().text, HasSubstr("=1")) << id;
  }
}

TEST(AskedFor, TheLastWordAndBothSpellingsCount) {
  EXPECT_EQ(Host{"kvm-amd.sev_es=1"}.state("sev-es-guests"), CheckState::fail);
  EXPECT_EQ(Host{"kvm_amd.sev_es"}.state("sev-es-guests"), CheckState::fail);
  EXPECT_EQ(Host{"kvm_amd.sev_es=1 kvm_amd.sev_es=0"}.state("sev-es-guests"), CheckState::skip);
}

TEST(AskedFor, WhatThisUserMayNotKnowIsNoFailure) {
  Host host{"kvm_amd.sev=1 kvm_amd.sev_es=1"};
  host.file("/cbit/devices", "/dev/kvm denied\n/dev/sev denied\n");
  EXPECT_EQ(host.state("kvm"), CheckState::warn);
  EXPECT_EQ(host.state("sev-guests"), CheckState::skip);
}

TEST(AskedFor, AModuleThatIsNotLoadedFails) {
  Host host{"kvm_amd.sev=1"};
  std::filesystem::remove_all(host.root() / "sys/module");
  EXPECT_EQ(host.state("sev-guests"), CheckState::fail);
}

TEST(AskedFor, SmeThatTheFirmwareLeftOffFails) {
  Host host{"mem_encrypt=on", "sev"};
  host.file("/cbit/msr", "c0010010 0\n");
  const Outcome outcome = host.outcome("sme-firmware");
  EXPECT_EQ(outcome.state, CheckState::fail);
  EXPECT_THAT(outcome.remedy, HasSubstr("SMEE"));
  EXPECT_EQ(host.state("sme-active"), CheckState::fail);
}

TEST(AskedFor, SmeOfAProcessorWithoutItFails) {
  Host host{"mem_encrypt=on"};
  host.file("/proc/cpuinfo", "vendor_id : GenuineIntel\nflags : fpu\n\n")
      .file("/cbit/cpuid", "1 0 0 0 0 0\n");
  EXPECT_EQ(host.state("sme"), CheckState::fail);
}

TEST(AskedFor, TdxThatIsOffFails) {
  Host host{"kvm_intel.tdx=1"};
  host.file("/proc/cpuinfo", "vendor_id : GenuineIntel\nflags : fpu\n\n")
      .file("/cbit/cpuid", "1 0 0 0 0 0\n");
  EXPECT_EQ(host.state("tdx-guests"), CheckState::fail);
  host.file("/proc/cmdline", "ro\n");
  EXPECT_EQ(host.state("tdx-guests"), CheckState::skip);
}

TEST(AskedFor, AnIommuThatIsNotThereFails) {
  Host host{"intel_iommu=on,sm_on"};
  std::filesystem::remove_all(host.root() / "sys/class/iommu");
  EXPECT_EQ(host.state("iommu"), CheckState::fail);
  host.file("/proc/cmdline", "intel_iommu=off\n");
  EXPECT_EQ(host.state("iommu"), CheckState::skip);
}

TEST(AskedFor, APoolThatIsSmallerThanAskedForFails) {
  Host host{"swiotlb=262144"};
  host.file("/sys/kernel/debug/swiotlb/io_tlb_nslabs", "65536\n");
  EXPECT_EQ(host.state("pool-size"), CheckState::fail);
  host.file("/sys/kernel/debug/swiotlb/io_tlb_nslabs", "262144\n");
  EXPECT_EQ(host.state("pool-size"), CheckState::pass);
}

TEST(AskedFor, APoolThatIsNotThereFailsAndOneThatIsNotReadableDoesNot) {
  Host host{"swiotlb=262144"};
  EXPECT_EQ(host.state("pool"), CheckState::skip) << "neither debugfs nor the log tells";
  EXPECT_EQ(host.state("pool-size"), CheckState::skip);
  host.file("/sys/kernel/debug/swiotlb/io_tlb_nslabs", "0\n");
  EXPECT_EQ(host.state("pool"), CheckState::fail);
  EXPECT_EQ(host.state("pool-size"), CheckState::fail);
}

TEST(AskedFor, ThePoolThatTheKernelSaysThatItWantedIsTheOneToCompareWith) {
  Host host{"ro"};
  host.file("/sys/kernel/debug/swiotlb/io_tlb_nslabs", "262144\n");
  host.file("/cbit/kernel.log",
            "[    0.000000] Linux version 6.12.9\n"
            "[    0.000000] software IO TLB: SWIOTLB bounce buffer size adjusted to 512MB\n");
  EXPECT_EQ(host.state("pool-size"), CheckState::pass);
  host.file("/sys/kernel/debug/swiotlb/io_tlb_nslabs", "131072\n");
  EXPECT_EQ(host.state("pool-size"), CheckState::warn);
}

}  // namespace
}  // namespace cbit::doctor
