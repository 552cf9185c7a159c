// A virtual machine under KVM: its memory in the process of its VMM, and the SEV commands of
// KVM_MEMORY_ENCRYPT_OP. struct kvm with kvm_sev_info; arch/x86/kvm/svm/sev.c of Linux 6.1, in its order of
// checks.
//
// The methods carry the names of the kernel's functions, without the prefix "sev_". A uaddr is an address of
// the VMM's. Blobs (certificates, sessions, packet headers and data) are what the kernel copies from the VMM:
// EINVAL when one is empty or longer than 16 KiB. Errors: ENOTTY before init(), EIO with the firmware's
// status when that refuses, ENOMEM over RLIMIT_MEMLOCK, EFAULT for bad addresses.
//
// Pinning counts against RLIMIT_MEMLOCK per VM (sev->pages_locked), as in 6.1, not per process.
//
// The VM does not outlive its Kvm or its VMM. Threading: one thread.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernel/kvm/kvm.hpp"
#include "kernel/mm/process.hpp"
#include "machine/nested_memory.hpp"
#include "paging/page_table.hpp"

namespace cbit::kernel {

// The save area of a CPU after reset, which LAUNCH_UPDATE_VMSA measures: whoever verifies the measurement of
// a SEV-ES guest has to know it.
[[nodiscard]] Bytes reset_save_area();
// The launch digest of a guest whose image was measured first, and then so many CPUs.
[[nodiscard]] crypt::Sha256Digest launch_digest(ConstByteSpan image, std::size_t cpus);

class SevVm {
 public:
  struct UserAddr {
    VirtAddr at;
    std::uint32_t len = 0;
  };

  // KVM_CREATE_VM. ENOMEM: no page for the nested page table. `name` stands in page history.
  static Result<std::unique_ptr<SevVm>, int> create(Kvm& kvm, Process& vmm, std::string_view name = "guest");
  // sev_vm_destroy(): WBINVD, unpins what is registered, DEACTIVATE, DECOMMISSION.
  ~SevVm();
  SevVm(const SevVm&) = delete;
  SevVm& operator=(const SevVm&) = delete;

  // KVM_SET_USER_MEMORY_REGION: EINVAL unless all is page-aligned and the range is new.
  Result<void, int> set_user_memory_region(machine::GuestPhysAddr gpa, std::uint64_t bytes, VirtAddr uaddr);
  // KVM_CREATE_VCPU. A SEV-ES guest's has a save area (VMSA).
  Result<void, int> create_vcpu();

  // ---- KVM_SEV_INIT, KVM_SEV_ES_INIT: EINVAL after the first vCPU, EBUSY twice or when no ASID is left ----
  SevResult<void> guest_init(bool es);

  // ---- KVM_MEMORY_ENCRYPT_REG_REGION, UNREG_REGION ----
  Result<void, int> mem_enc_register_region(VirtAddr uaddr, std::uint64_t size);
  Result<void, int> mem_enc_unregister_region(VirtAddr uaddr, std::uint64_t size);
  [[nodiscard]] std::uint64_t pages_locked() const { return pages_locked_; }

  // ---- launch ----
  struct LaunchStart {
    std::uint32_t handle = 0;
    spec::SevPolicy policy;
    std::optional<ConstByteSpan> dh_cert;
    std::optional<ConstByteSpan> session;
  };
  // Returns the handle; the guest is bound to its ASID.
  SevResult<std::uint32_t> launch_start(const LaunchStart& params);
  SevResult<void> launch_update_data(UserAddr range);
  SevResult<void> launch_update_vmsa();  // ENOTTY unless it is SEV-ES
  // `len` 0 asks for the length.
  SevResult<spec::SevMeasurement> launch_measure(std::uint32_t& len);
  // EINVAL unless the range is physically contiguous.
  SevResult<void> launch_secret(ConstByteSpan header, UserAddr guest, ConstByteSpan data);
  SevResult<void> launch_finish();
  SevResult<machine::SevFirmware::GuestStatus> guest_status();

  // ---- debugging: any alignment, through a page of the kernel where needed ----
  SevResult<void> dbg_decrypt(VirtAddr source, VirtAddr target, std::uint32_t len);
  SevResult<void> dbg_encrypt(VirtAddr source, VirtAddr target, std::uint32_t len);

  // ---- migration ----
  struct Sent {
    spec::SevPolicy policy;
    spec::SevSession session;
  };
  SevResult<Sent> send_start(ConstByteSpan pdh_cert);
  // Within one page.
  SevResult<machine::SevPacket> send_update_data(UserAddr guest);
  SevResult<void> send_finish();
  SevResult<void> send_cancel();
  SevResult<std::uint32_t> receive_start(spec::SevPolicy policy, ConstByteSpan pdh_cert,
                                         ConstByteSpan session);
  SevResult<void> receive_update_data(ConstByteSpan header, UserAddr guest, ConstByteSpan data);
  SevResult<void> receive_finish();

  // ---- the guest runs ----
  // Its CPU's accesses. Nested page faults are resolved from the VMM's memory; a Fault is what the guest or
  // the VMM cannot go on after.
  Result<void> read(machine::GuestPhysAddr from, ByteSpan to, bool encrypted);
  Result<void> write(machine::GuestPhysAddr to, ConstByteSpan from, bool encrypted);
  // The frame behind a guest-physical page; faults as read().
  Result<PhysAddr> frame(machine::GuestPhysAddr page);
  // What only a hostile hypervisor does: maps the guest's page to another frame.
  Result<void> remap(machine::GuestPhysAddr page, PhysAddr frame);

  [[nodiscard]] unsigned asid() const { return asid_; }
  [[nodiscard]] std::uint32_t handle() const { return handle_; }
  [[nodiscard]] bool is_sev() const { return active_; }
  [[nodiscard]] bool is_sev_es() const { return es_active_; }
  [[nodiscard]] PtePhys ncr3() const { return npt_.cr3(); }
  [[nodiscard]] Process& vmm() { return *vmm_; }
  // The save areas of its vCPUs.
  [[nodiscard]] std::span<const PhysAddr> vmsas() const { return vmsas_; }

 private:
  struct Region {  // enc_region
    VirtAddr uaddr;
    std::uint64_t size = 0;
    std::vector<PhysAddr> pages;
  };
  struct Slot {
    machine::GuestPhysAddr gpa;
    std::uint64_t bytes = 0;
    VirtAddr uaddr;
  };

  SevVm(Kvm& kvm, Process& vmm, paging::PageTable npt, SiteId site);
  [[nodiscard]] machine::SevFirmware& firmware() { return kvm_->firmware(); }
  [[nodiscard]] machine::NestedMemory nested_memory();

  // sev_pin_memory(): EINVAL for no or wrapping ranges, ENOMEM over the limit and for pages that are not
  // there. Unpinned by unpin().
  Result<std::vector<PhysAddr>, int> pin_memory(VirtAddr uaddr, std::uint64_t len, bool write);
  void unpin_memory(std::span<const PhysAddr> pages);
  void report(const Region& region, bool registered, int error);
  void unbind_asid();
  // __sme_page_pa() of a page that the host maps.
  [[nodiscard]] PtePhys page_pa(PhysAddr page) const;
  SevResult<void> dbg_crypt(VirtAddr source, VirtAddr target, std::uint32_t len, bool decrypt);
  SevResult<void> dbg_decrypt_user(PhysAddr source, VirtAddr target, PhysAddr target_phys, std::uint32_t len);
  SevResult<void> dbg_encrypt_user(VirtAddr source, PhysAddr source_phys, PhysAddr target, std::uint32_t len);
  SevResult<void> issue_dbg_decrypt(PhysAddr source, PhysAddr target, std::uint32_t len);

  [[nodiscard]] const Slot* slot_of(machine::GuestPhysAddr at) const;
  Result<void> resolve(machine::GuestPhysAddr page);

  Kvm* kvm_;
  Process* vmm_;
  paging::PageTable npt_;
  SiteId site_;
  std::vector<Slot> slots_;
  std::vector<PhysAddr> vmsas_;
  unsigned vcpus_ = 0;

  bool active_ = false;
  bool es_active_ = false;
  unsigned asid_ = 0;
  std::uint32_t handle_ = 0;
  std::uint64_t pages_locked_ = 0;
  std::list<Region> regions_;
};

}  // namespace cbit::kernel
