// What this host can give to an encrypted guest: which technology is usable, or what stands in the way.
//
// Facts only, read from a HostTree; the choice among them is the planner's (host/launch/plan.hpp).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "facts/cpu.hpp"
#include "facts/iommu.hpp"
#include "facts/kernel.hpp"
#include "facts/limits.hpp"
#include "facts/misc_cgroup.hpp"

namespace cbit::facts {

// One technology on this host.
struct Support {
  bool usable = false;
  std::string why_not;  // empty if usable
  std::string remedy;   // empty if usable, or where none is known
  bool denied = false;  // not usable by this user; whether it is there is not to be known
};

struct GuestSupportFacts {
  const CpuFacts& cpu;
  const KernelFacts& kernel;
  const IommuFacts& iommu;
  const MiscCgroup& misc;
  DeviceState kvm = DeviceState::absent;  // /dev/kvm
  DeviceState sev = DeviceState::absent;  // /dev/sev
  std::optional<std::uint64_t> memory_bytes;
  Read<MemlockLimit> memlock = tl::unexpected{Unread::absent};
};

struct GuestSupport {
  Support kvm;      // /dev/kvm can be opened
  Support sev;      // kvm_amd's sev=, /dev/sev, the processor
  Support sev_es;   // the same with sev_es=
  Support sev_snp;  // the same with sev_snp=, and an IOMMU that translates
  Support tdx;      // kvm_intel's tdx=
  // CPUID 8000001F; nullopt where the leaf is absent or could not be read.
  std::optional<unsigned> c_bit;              // EBX[5:0]
  std::optional<unsigned> reduced_phys_bits;  // EBX[11:6]
  std::optional<unsigned> asids;              // ECX: encrypted guests at once, all kinds
  std::optional<unsigned> first_sev_asid;     // EDX: SEV-ES and SNP guests use 1 .. EDX - 1
  // The misc controller of cgroup v2 (sev, sev_es), where it tells.
  std::optional<unsigned> sev_asids_free;
  std::optional<unsigned> sev_es_asids_free;
  std::uint64_t memory_bytes = 0;              // MemTotal
  std::optional<std::uint64_t> memlock_bytes;  // RLIMIT_MEMLOCK, soft; nullopt: unlimited, or CAP_IPC_LOCK
  std::optional<spec::KernelRelease> kernel;   // the running one
};

// In each technology the first thing that stands in the way, in the order in which it has to be put right.
[[nodiscard]] GuestSupport read_guest_support(const HostTree& tree);
// The same from facts that were read already.
[[nodiscard]] GuestSupport guest_support(const GuestSupportFacts& facts);

}  // namespace cbit::facts
