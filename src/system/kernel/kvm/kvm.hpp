// KVM's part of SEV: what a host's kernel does for all encrypted guests. arch/x86/kvm/svm/sev.c and
// drivers/crypto/ccp/sev-dev.c of Linux 6.1.
//
// ASIDs are handed out from two ranges (SEV-ES: 1 .. min - 1, SEV: min .. max). A freed one waits in the
// reclaim bitmap; when the range is empty, WBINVD on all CPUs and one DF_FLUSH make all that wait usable
// again.
//
// Errors are errno values, positive. Threading: one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernel/kernel.hpp"
#include "machine/sev/sev_firmware.hpp"

namespace cbit::kernel {

// What a KVM_MEMORY_ENCRYPT_OP returns: the errno of the call and kvm_sev_cmd.error, the firmware's status.
struct SevError {
  int error = 0;
  spec::SevStatusCode firmware = spec::SevStatusCode::success;

  friend bool operator==(const SevError&, const SevError&) = default;
};
template <class T>
using SevResult = Result<T, SevError>;

[[nodiscard]] inline tl::unexpected<SevError> sev_error(int error) {
  return tl::unexpected{SevError{error, spec::SevStatusCode::success}};
}
// sev_issue_cmd(): EIO when the firmware refuses.
[[nodiscard]] SevResult<void> issued(spec::SevStatusCode status);

class Kvm {
 public:
  // sev_hardware_setup(). A machine without SEV is none for encrypted guests: every sev_asid_new() is ENOTTY.
  explicit Kvm(Kernel& kernel);
  // kvm_exit: a last flush, when all guests are gone.
  ~Kvm();
  Kvm(const Kvm&) = delete;
  Kvm& operator=(const Kvm&) = delete;

  [[nodiscard]] Kernel& kernel() { return *kernel_; }
  // Only for guests, which there are only with a firmware.
  [[nodiscard]] machine::SevFirmware& firmware() { return *kernel_->machine().sev_firmware(); }

  // EBUSY when no ASID of the range is left, ENOTTY when the range has none.
  Result<unsigned, int> sev_asid_new(bool es);
  void sev_asid_free(unsigned asid);
  // sev_platform_init(): INIT, with SEV-ES' trusted memory if there are ASIDs for it, and the flush that
  // makes fresh ASIDs usable. EIO: the firmware refused.
  SevResult<void> sev_platform_init();
  void wbinvd_on_all_cpus();
  // CLFLUSH of whole pages, unless the caches keep aliases coherent.
  void sev_clflush_pages(std::span<const PhysAddr> pages);

  // amd_iommu_snp_enable(): EINVAL without an IOMMU that translates (DTE[Mode] = 0 is prohibited), or
  // without a reverse map table.
  Result<void, int> snp_enable();

  void message(std::string text);

 private:
  // -EBUSY: nothing waits in this range.
  int sev_flush_asids(unsigned min_asid, unsigned max_asid);
  bool sev_recycle_asids(unsigned min_asid, unsigned max_asid);

  Kernel* kernel_;
  machine::SevCapability capability_;
  std::vector<bool> asids_;    // sev_asid_bitmap
  std::vector<bool> reclaim_;  // sev_reclaim_asid_bitmap
  std::optional<PhysAddr> tmr_;
};

}  // namespace cbit::kernel
