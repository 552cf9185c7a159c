// The catalogue's topic "Hosts of encrypted guests" (watch/cause_table.hpp).
#pragma once

#include "watch/causes.hpp"

namespace cbit::watch {

inline constexpr CauseInfo host_causes[] = {
    {.name = "guest-memory-is-encrypted",
     .topic = "Hosts of encrypted guests",
     .title = "The host read memory that a guest wrote under its own key.",
     .meaning =
         "Nothing is broken: this is what SEV is for. The hypervisor, QEMU and whoever reads "
         "/proc/PID/mem of it get ciphertext; only the VMM's own memory and pages that the guest shares "
         "are plain.",
     .remedy = "Let the guest share the page (C=0, through SWIOTLB or dma_alloc_coherent()), or use "
               "KVM_SEV_DBG_DECRYPT where the policy allows it.",
     .linux_says = "",
     .source = "APM vol. 2, 15.34; Documentation/virt/kvm/x86/amd-memory-encryption.rst"},
    {.name = "plain-page-read-as-private",
     .topic = "Hosts of encrypted guests",
     .title = "The guest read, under its key, a page that was written without it.",
     .meaning =
         "The VMM put data into guest memory after LAUNCH_UPDATE_DATA or beside it, or the guest shared "
         "the page and maps it private now. Under the guest's key plain bytes decrypt to noise.",
     .remedy =
         "Load what the guest must find at its start with KVM_SEV_LAUNCH_UPDATE_DATA; hand over later data "
         "in pages that the guest has shared.",
     .linux_says = "",
     .source = "arch/x86/kvm/svm/sev.c: sev_launch_update_data"},
    {.name = "guest-page-remapped",
     .topic = "Hosts of encrypted guests",
     .title = "The hypervisor mapped a guest's page to a frame that is another's, or another page's.",
     .meaning =
         "The nested page table is the hypervisor's. With SEV and SEV-ES the guest reads noise, or the "
         "contents of another of its pages; with SEV-SNP the RMP entry does not fit and the access is "
         "refused.",
     .remedy = "SEV-SNP: the guest's address and the validated bit in the RMP make remapping visible.",
     .linux_says = "",
     .source = "APM vol. 2, 15.36.10"},
    {.name = "asid-exhausted",
     .topic = "Hosts of encrypted guests",
     .title = "There is no ASID left for another encrypted guest.",
     .meaning =
         "Each encrypted guest needs an ASID, and with it a key slot, of its own. CPUID 8000001F ECX says "
         "how many there are; EDX splits them between SEV-ES (below) and SEV. KVM_SEV_INIT returns EBUSY.",
     .remedy = "Stop a guest of the same kind, or move the split (BIOS: SEV-ES ASID space limit). ASIDs of "
               "guests that ended are reclaimed by KVM itself.",
     .linux_says = "",
     .source = "arch/x86/kvm/svm/sev.c: sev_asid_new"},
    {.name = "df-flush-required",
     .topic = "Hosts of encrypted guests",
     .title = "An ASID was to be used again although caches may hold lines of its last guest.",
     .meaning =
         "After DEACTIVATE, and after INIT, an ASID is dirty: lines tagged with it may be written back "
         "under the new guest's key. The firmware refuses ACTIVATE with DFFLUSH_REQUIRED, and DF_FLUSH "
         "with WBINVD_REQUIRED until all CPUs have written back.",
     .remedy = "Execute WBINVD on all CPUs, then DF_FLUSH, as KVM does when it recycles ASIDs.",
     .linux_says = "SEV: DF_FLUSH failed",
     .source = "arch/x86/kvm/svm/sev.c: sev_flush_asids; SEV API, ACTIVATE"},
    {.name = "policy-forbids-debug",
     .topic = "Hosts of encrypted guests",
     .title = "The host asked to debug a guest whose policy does not allow it.",
     .meaning = "Policy bit 0 (NODBG) is part of what the guest's owner has signed for. DBG_DECRYPT and "
                "DBG_ENCRYPT return POLICY_FAILURE, the ioctl EIO.",
     .remedy =
         "For a guest that shall be debugged: policy=0x0 instead of QEMU's default 0x1, and a new launch.",
     .linux_says = "",
     .source = "SEV API, DBG_DECRYPT; arch/x86/kvm/svm/sev.c: sev_dbg_crypt"},
    {.name = "transport-not-authentic",
     .topic = "Hosts of encrypted guests",
     .title = "A session or a packet for the firmware does not carry the MAC that it should.",
     .meaning =
         "The policy differs from the one that the session was made for, bytes were changed on the way, "
         "the packet is for another launch, or for another platform. The firmware returns "
         "BAD_MEASUREMENT and writes nothing.",
     .remedy =
         "Make the session with this platform's PDH certificate and exactly the policy of LAUNCH_START; "
         "make the secret for the measurement of this launch.",
     .linux_says = "",
     .source = "SEV API, LAUNCH_START, LAUNCH_SECRET, RECEIVE_UPDATE_DATA"},
    {.name = "iommu-passthrough-forbids-snp",
     .topic = "Hosts of encrypted guests",
     .title = "The host cannot enable SEV-SNP because its IOMMU does not translate.",
     .meaning = "With SNP the IOMMU checks devices against the RMP, and device table entries without "
                "translation (mode 0) are prohibited. Linux leaves SNP off.",
     .remedy = "Enable the IOMMU in the BIOS and boot without iommu=pt.",
     .linux_says = "configured in passthrough mode, SNP cannot be supported",
     .source = "drivers/iommu/amd/init.c: amd_iommu_snp_enable (6.1), iommu_snp_enable (6.10)"},
    {.name = "discard-vs-pinned",
     .topic = "Hosts of encrypted guests",
     .title = "Memory was discarded while a device has it pinned.",
     .meaning =
         "A VMM that converts a page of its guest between private and shared may give the other copy back "
         "(QEMU: discard=both). VFIO has pinned it and mapped it in the IOMMU, so the device keeps the old "
         "page, while the next touch gives the guest a new one: each sees its own. The host gets no memory "
         "back either.",
     .remedy = "Do not discard what VFIO maps (discard=none), or unmap it from the IOMMU before and map it "
               "again after (RamDiscardManager).",
     .linux_says = "",
     .source = "mm/madvise.c: madvise_dontneed_free; drivers/vfio/vfio_iommu_type1.c: vfio_pin_pages_remote"},
    {.name = "memlock-exceeded",
     .topic = "Hosts of encrypted guests",
     .title = "The process may not lock as much memory as a driver has to pin for it.",
     .meaning =
         "Pages of an encrypted guest, and of RDMA regions, are pinned for as long as they are "
         "registered, and count against RLIMIT_MEMLOCK: the host can neither swap nor migrate them. "
         "KVM_MEMORY_ENCRYPT_REG_REGION and ibv_reg_mr() return ENOMEM (ibv_reg_mr() EPERM where the limit "
         "is 0); QEMU exits.",
     .remedy =
         "Raise the limit to the guest's memory or the regions' (ulimit -l, LimitMEMLOCK=), or give the "
         "process CAP_IPC_LOCK.",
     .linux_says = "locked pages exceed the lock limit",
     .source = "arch/x86/kvm/svm/sev.c: sev_pin_memory; drivers/infiniband/core/umem.c: ib_umem_get"},
};

}  // namespace cbit::watch
