#include <algorithm>

#include "launch/qemu_program.hpp"

namespace cbit::launch {
namespace {

// QEMU's own words, 7.2 to 10; more special ones first.
constexpr QemuFailure failure_table[] = {
    {"Failed to open /dev/sev 'No such file or directory'",
     "this host has no /dev/sev: its kernel offers no SEV",
     "load ccp and kvm_amd with sev=1 on a host that has SEV, or leave encryption out with --no-encryption"},
    {"Failed to open /dev/sev 'Permission denied'", "QEMU may not open /dev/sev",
     "run it as root, or give its user access with a udev rule for /dev/sev"},
    {"Failed to open /dev/sev 'Device or resource busy'", "somebody else holds /dev/sev",
     "end the other program that uses the firmware"},
    {"cbitpos check failed", "the host's C-bit is at another position than cbitpos= says",
     "give --cbitpos as this host's CPUID 8000001F EBX[5:0] has it; where QEMU says '0', the processor has "
     "no SEV, and --no-encryption starts the guest in clear"},
    {"Invalid value for 'reduced-phys-bits'", "reduced-phys-bits= does not fit the processor",
     "give --reduced-phys-bits 1: a guest loses the C-bit alone"},
    {"guest policy requires SEV-ES", "the policy demands SEV-ES, which this host does not have",
     "load kvm_amd with sev_es=1, or use --protection sev"},
    {"SEV-ES guests require in-kernel irqchip", "KVM's interrupt controller is switched off",
     "leave kernel-irqchip=off out"},
    {"guest firmware has no hashes table GUID", "the firmware has no room for the hashes of the kernel",
     "use OVMF's AmdSev build with --firmware"},
    {"guest firmware hashes table area is invalid", "the firmware has no room for the hashes of the kernel",
     "use OVMF's AmdSev build with --firmware"},
    {"failed to initialize ret=-16",
     "no ASID is free: as many encrypted guests run as the processor has keys",
     "end an encrypted guest, or divide the ASIDs anew in the firmware's setup (SEV-ES ASID space limit)"},
    {"failed to initialize ret=-22", "KVM refuses this kind of encrypted guest",
     "see sev, sev_es and sev_snp in /sys/module/kvm_amd/parameters"},
    {"failed to register region", "the guest's memory cannot be pinned",
     "raise RLIMIT_MEMLOCK (ulimit -l) above the guest's memory plus 256 MiB, or run QEMU with CAP_IPC_LOCK"},
    {"LAUNCH_START ret=1 fw_error=7", "the firmware refuses the policy", "give another --policy"},
    {"does not accept value 'sev-snp-guest'", "this QEMU has no SEV-SNP; it came with QEMU 9.1",
     "install QEMU 9.1 or later, or name one with --qemu"},
    {"does not accept value 'tdx-guest'", "this QEMU has no TDX; it came with QEMU 10.1",
     "install QEMU 10.1 or later, or name one with --qemu"},
    {"does not accept value 'sev-guest'", "this QEMU was built without SEV", "name another QEMU with --qemu"},
    {"Could not access KVM kernel module: No such file or directory", "this host has no /dev/kvm",
     "load kvm_amd or kvm_intel, or emulate the processor with --accel tcg --no-encryption"},
    {"Could not access KVM kernel module: Permission denied", "QEMU may not open /dev/kvm",
     "add its user to the group kvm, or run it as root"},
    {"vhost-vsock: failed to open vhost device", "the host has no /dev/vhost-vsock", "load vhost_vsock"},
    {"cannot set up guest memory", "the host has too little free memory for the guest",
     "use less --memory; an encrypted guest's is taken in full"},
    {"could not configure /dev/net/tun", "QEMU may not create or open the tap interface",
     "create it beforehand for QEMU's user (ip tuntap add), or use --net user"},
};

}  // namespace

std::span<const QemuFailure> qemu_failures() { return failure_table; }

const QemuFailure* find_qemu_failure(std::string_view lines) {
  const auto* const found = std::ranges::find_if(
      failure_table, [&](const QemuFailure& failure) { return lines.find(failure.message) != lines.npos; });
  return found == std::end(failure_table) ? nullptr : found;
}

}  // namespace cbit::launch
