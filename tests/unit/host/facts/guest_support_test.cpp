#include "facts/guest_support.hpp"

#include <gmock/gmock.h>

#include "support/captured_tree.hpp"

namespace cbit::facts {
namespace {

using testing::CapturedTree;
using ::testing::HasSubstr;

// An EPYC host on which everything works; the tests take things away.
struct EpycHost : CapturedTree {
  EpycHost() {
    file("/proc/cpuinfo",
         "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel name\t: AMD EPYC\n"
         "flags\t\t: sme sev sev_es sev_snp\naddress sizes\t: 52 bits physical, 57 bits virtual\n\n");
    cpuid(0x1f, 0x1fd, 100);
    file("/proc/cmdline", "BOOT_IMAGE=/vmlinuz ro\n").file("/proc/meminfo", "MemTotal: 1048576 kB\n");
    file("/sys/module/kvm_amd/parameters/sev", "Y\n").file("/sys/module/kvm_amd/parameters/sev_es", "Y\n");
    file("/sys/module/kvm_amd/parameters/sev_snp", "Y\n").folder("/sys/class/iommu/ivhd0");
    file("/cbit/devices", "/dev/kvm usable\n/dev/sev usable\n");
    file("/sys/fs/cgroup/misc.capacity", "sev 410\nsev_es 99\n");
    file("/sys/fs/cgroup/misc.current", "sev 409\nsev_es 99\n");
    file("/proc/self/limits",
         "Limit    Soft Limit  Hard Limit  Units\nMax locked memory   8388608   unlimited   bytes\n");
    file("/proc/self/status", "Name:\tcbit\nCapEff:\t0000000000000000\n");
  }
  void cpuid(unsigned eax, unsigned ecx, unsigned edx) {
    std::ostringstream text;
    text << std::hex << "1 0 a20f11 0 40000000 0\n8000001f 0 " << eax << " 173 " << ecx << ' ' << edx << '\n';
    file("/cbit/cpuid", text.str());
  }
  [[nodiscard]] GuestSupport read() const { return read_guest_support(open()); }
};

TEST(GuestSupport, OffersAllThatAnEpycHostHas) {
  const GuestSupport host = EpycHost{}.read();
  EXPECT_TRUE(host.kvm.usable && host.sev.usable && host.sev_es.usable && host.sev_snp.usable);
  EXPECT_EQ(host.sev_snp.why_not, "");
  EXPECT_FALSE(host.tdx.usable);
  EXPECT_EQ(host.c_bit, 51u);
  EXPECT_EQ(host.reduced_phys_bits, 5u);
  EXPECT_EQ(host.asids, 509u);
  EXPECT_EQ(host.first_sev_asid, 100u);
  EXPECT_EQ(host.sev_asids_free, 1u);
  EXPECT_EQ(host.sev_es_asids_free, 0u);
  EXPECT_EQ(host.memory_bytes, 1u << 30);
  EXPECT_EQ(host.memlock_bytes, 8388608u);
}

TEST(GuestSupport, CountsNoLimitForAProcessThatMayLockAnything) {
  EpycHost files;
  files.file("/proc/self/status", "CapEff:\t0000000000004000\n");
  EXPECT_EQ(files.read().memlock_bytes, std::nullopt);
}

TEST(GuestSupport, FailsAllWithoutSevOfTheProcessor) {
  EpycHost files;
  files.cpuid(0x1, 0, 0);
  const GuestSupport host = files.read();
  EXPECT_TRUE(host.kvm.usable);
  for (const Support& support : {host.sev, host.sev_es, host.sev_snp}) {
    EXPECT_FALSE(support.usable);
    EXPECT_THAT(support.why_not, HasSubstr("no SEV (CPUID 8000001F EAX[1])"));
    EXPECT_THAT(support.remedy, HasSubstr("firmware"));
  }
  EXPECT_EQ(host.c_bit, std::nullopt);
}

TEST(GuestSupport, NamesIommuPassthroughWhereSnpIsOffForIt) {
  EpycHost files;
  files.file("/sys/module/kvm_amd/parameters/sev_snp", "N\n")
      .file("/proc/cmdline", "ro amd_iommu=on iommu=pt\n");
  const GuestSupport host = files.read();
  EXPECT_TRUE(host.sev_es.usable);
  EXPECT_FALSE(host.sev_snp.usable);
  EXPECT_EQ(host.sev_snp.why_not, "iommu=pt forbids SNP");
  files.file("/proc/cmdline", "ro iommu.passthrough=0\n");
  EXPECT_EQ(files.read().sev_snp.why_not, "kvm_amd sev_snp=N");
}

TEST(GuestSupport, TellsAnOldKernelFromASwitchThatIsOff) {
  EpycHost files;
  std::filesystem::remove(files.root() / "sys/module/kvm_amd/parameters/sev_snp");
  EXPECT_THAT(files.read().sev_snp.why_not, HasSubstr("kernel's kvm_amd has no SNP"));
  files.file("/sys/module/kvm_amd/parameters/sev", "N\n");
  EXPECT_EQ(files.read().sev.why_not, "kvm_amd sev=N");
  std::filesystem::remove_all(files.root() / "sys/module/kvm_amd");
  EXPECT_THAT(files.read().sev.why_not, HasSubstr("kvm_amd is not loaded"));
}

TEST(GuestSupport, LeavesNoRoomForSevEsWhereTheFirmwareDoes) {
  EpycHost files;
  files.cpuid(0x1f, 0x1fd, 1);
  const GuestSupport host = files.read();
  EXPECT_TRUE(host.sev.usable);
  EXPECT_THAT(host.sev_es.why_not, HasSubstr("no ASID to SEV-ES"));
}

TEST(GuestSupport, NamesTheDeviceThatCannotBeOpened) {
  EpycHost files;
  files.file("/cbit/devices", "/dev/kvm denied\n/dev/sev usable\n");
  EXPECT_EQ(files.read().sev.why_not, "no right to open /dev/kvm");
  files.file("/cbit/devices", "/dev/kvm usable\n");
  EXPECT_EQ(files.read().sev.why_not, "there is no /dev/sev");
  EXPECT_TRUE(files.read().kvm.usable);
}

TEST(GuestSupport, KnowsThatAnEncryptedGuestHasNone) {
  EpycHost files;
  files.file("/cbit/cpuid", "1 0 0 0 c0000000 0\n8000001f 0 2 73 0 0\n");
  EXPECT_THAT(files.read().sev.why_not, HasSubstr("ECX is 0"));
}

TEST(GuestSupport, OffersTdxWhereKvmIntelDoes) {
  EpycHost files;
  files.file("/proc/cpuinfo", "vendor_id : GenuineIntel\nflags : vmx tme tdx_host_platform\n\n")
      .file("/cbit/cpuid", "");
  EXPECT_THAT(files.read().tdx.why_not, HasSubstr("no parameter tdx"));
  files.file("/sys/module/kvm_intel/parameters/tdx", "N\n");
  EXPECT_EQ(files.read().tdx.why_not, "kvm_intel tdx=N");
  files.file("/sys/module/kvm_intel/parameters/tdx", "Y\n");
  EXPECT_TRUE(files.read().tdx.usable);
  EXPECT_FALSE(files.read().sev.usable);
}

TEST(GuestSupport, OffersNothingOnAnotherArchitectureOrWithoutFiles) {
  EpycHost files;
  files.file("/proc/cpuinfo", "processor : 0\nCPU implementer : 0x41\n").file("/cbit/cpuid", "");
  EXPECT_EQ(files.read().sev.why_not, "this is no x86 processor");
  EXPECT_EQ(files.read().tdx.why_not, "this is no x86 processor");
  const GuestSupport nothing = read_guest_support(CapturedTree{}.open());
  EXPECT_FALSE(nothing.kvm.usable || nothing.sev.usable || nothing.sev_snp.usable || nothing.tdx.usable);
  EXPECT_EQ(nothing.memory_bytes, 0u);
}

}  // namespace
}  // namespace cbit::facts
