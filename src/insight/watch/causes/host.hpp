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
     .remedies = {for_vmm("Let the guest share the page (C=0, through SWIOTLB or dma_alloc_coherent()), "
                          "or use KVM_SEV_DBG_DECRYPT where the policy allows it."),
                  for_operator("Look from inside of the guest.")},
     .linux_says = "",
     .source = "APM vol. 2, 15.34; Documentation/virt/kvm/x86/amd-memory-encryption.rst"},
    {.name = "plain-page-read-as-private",
     .topic = "Hosts of encrypted guests",
     .title = "The guest read, under its key, a page that was written without it.",
     .meaning =
         "The VMM put data into guest memory after LAUNCH_UPDATE_DATA or beside it, or the guest shared "
         "the page and maps it private now. Under the guest's key plain bytes decrypt to noise.",
     .remedies = {for_vmm("Load what the guest must find at its start with KVM_SEV_LAUNCH_UPDATE_DATA; "
                          "hand over later data in pages that the guest has shared.")},
     .linux_says = "",
     .source = "arch/x86/kvm/svm/sev.c: sev_launch_update_data"},
    {.name = "guest-page-remapped",
     .topic = "Hosts of encrypted guests",
     .title = "The hypervisor mapped a guest's page to a frame that is another's, or another page's.",
     .meaning =
         "The nested page table is the hypervisor's. With SEV and SEV-ES the guest reads noise, or the "
         "contents of another of its pages; with SEV-SNP the RMP entry does not fit and the access is "
         "refused.",
     .remedies = {for_operator("Run the guest with SEV-SNP: the guest's address and the validated bit in the "
                               "RMP make remapping visible.")},
     .linux_says = "",
     .source = "APM vol. 2, 15.36.10"},
    {.name = "asid-exhausted",
     .topic = "Hosts of encrypted guests",
     .title = "There is no ASID left for another encrypted guest.",
     .meaning =
         "Each encrypted guest needs an ASID, and with it a key slot, of its own. CPUID 8000001F ECX says "
         "how many there are; EDX splits them between SEV-ES (below) and SEV. KVM_SEV_INIT returns EBUSY.",
     .remedies = {for_operator("Stop a guest of the same kind, or move the split (BIOS: SEV-ES ASID space "
                               "limit). ASIDs of guests that ended are reclaimed by KVM itself.")},
     .linux_says = "",
     .source = "arch/x86/kvm/svm/sev.c: sev_asid_new"},
    {.name = "df-flush-required",
     .topic = "Hosts of encrypted guests",
     .title = "An ASID was to be used again although caches may hold lines of its last guest.",
     .meaning =
         "After DEACTIVATE, and after INIT, an ASID is dirty: lines tagged with it may be written back "
         "under the new guest's key. The firmware refuses ACTIVATE with DFFLUSH_REQUIRED, and DF_FLUSH "
         "with WBINVD_REQUIRED until all CPUs have written back.",
     .remedies = {for_kernel(
         "Execute WBINVD on all CPUs, then DF_FLUSH, as KVM does when it recycles ASIDs.")},
     .linux_says = "SEV: DF_FLUSH failed",
     .source = "arch/x86/kvm/svm/sev.c: sev_flush_asids; SEV API, ACTIVATE"},
    {.name = "policy-forbids-debug",
     .topic = "Hosts of encrypted guests",
     .title = "The host asked to debug a guest whose policy does not allow it.",
     .meaning = "Policy bit 0 (NODBG) is part of what the guest's owner has signed for. DBG_DECRYPT and "
                "DBG_ENCRYPT return POLICY_FAILURE, the ioctl EIO.",
     .remedies = {for_operator(
         "For a guest that shall be debugged: policy=0x0 instead of QEMU's default 0x1, and a new launch.")},
     .linux_says = "",
     .source = "SEV API, DBG_DECRYPT; arch/x86/kvm/svm/sev.c: sev_dbg_crypt"},
    {.name = "transport-not-authentic",
     .topic = "Hosts of encrypted guests",
     .title = "A session or a packet for the firmware does not carry the MAC that it should.",
     .meaning =
         "The policy differs from the one that the session was made for, bytes were changed on the way, "
         "the packet is for another launch, or for another platform. The firmware returns "
         "BAD_MEASUREMENT and writes nothing.",
     .remedies = {for_operator("Make the session with this platform's PDH certificate and exactly the policy "
                               "of LAUNCH_START; make the secret for the measurement of this launch.")},
     .linux_says = "",
     .source = "SEV API, LAUNCH_START, LAUNCH_SECRET, RECEIVE_UPDATE_DATA"},
    {.name = "iommu-passthrough-forbids-snp",
     .topic = "Hosts of encrypted guests",
     .title = "The host cannot enable SEV-SNP because its IOMMU does not translate.",
     .meaning = "With SNP the IOMMU checks devices against the RMP, and device table entries without "
                "translation (mode 0) are prohibited. Linux leaves SNP off.",
     .remedies = {for_operator(
         "Enable the IOMMU in the BIOS and boot without iommu=pt, iommu=off and amd_iommu=off.")},
     .linux_says = "configured in passthrough mode, SNP cannot be supported|"
                   "IOMMU is either disabled or configured in passthrough mode",
     .source = "drivers/iommu/amd/init.c: amd_iommu_snp_enable (6.1), iommu_snp_enable (6.10)"},
    {.name = "sme-beside-tsme",
     .topic = "Hosts of encrypted guests",
     .title = "SME is in use although the firmware encrypts all memory with TSME.",
     .meaning =
         "TSME encrypts below everything that software sees: every address, without a C-bit, and devices "
         "notice nothing. SME on top adds the C-bit to DMA addresses, and devices that cannot drive it "
         "bounce, for no more secrecy.",
     .remedies = {for_operator("Boot without mem_encrypt=on, or switch TSME off in the firmware.")},
     .linux_says = "Both TSME and SME are active",
     .source = "drivers/crypto/ccp/psp-dev.c: psp_get_capability"},
    {.name = "rmp-not-reserved",
     .topic = "Hosts of encrypted guests",
     .title = "The firmware has set no memory aside for the RMP, or too little.",
     .meaning = "SEV-SNP keeps 16 bytes per page of the machine in a table that the firmware has to reserve; "
                "without it, or where it does not cover all memory, Linux leaves SNP off.",
     .remedies = {for_operator("Firmware: switch SNP on, and let the RMP cover all memory (\"SNP Memory (RMP "
                               "Table) Coverage\").")},
     .linux_says = "Memory for the RMP table has not been reserved by BIOS|"
                   "Memory reserved for the RMP table does not cover",
     .source = "arch/x86/virt/svm/sev.c: snp_probe_rmptable_info"},
    {.name = "memory-encryption-off-in-firmware",
     .topic = "Hosts of encrypted guests",
     .title = "The firmware has left memory encryption off.",
     .meaning =
         "SYSCFG[23] (MemEncryptionModEn) is 0, and software cannot set it any more: neither SME nor SEV "
         "can be used.",
     .remedies = {for_operator("Firmware: switch SMEE (\"Secure Memory Encryption\") on.")},
     .linux_says = "memory encryption not enabled by BIOS",
     .source = "drivers/crypto/ccp/sev-dev.c: sev_dev_init; arch/x86/kernel/cpu/amd.c: "
               "early_detect_mem_encrypt"},
    {.name = "secure-processor-failed",
     .topic = "Hosts of encrypted guests",
     .title = "The secure processor did not do what SEV needs of it.",
     .meaning =
         "Keys, launches and the RMP are the firmware's of the secure processor (PSP). When it does not "
         "answer, or refuses INIT, no guest can be encrypted.",
     .remedies = {for_operator(
         "Update the board's firmware and the SEV firmware (/lib/firmware/amd), and switch "
         "the machine off and on; then load ccp and kvm_amd again.")},
     .linux_says = "SEV: failed to INIT|SEV-SNP: failed to INIT|SEV: INIT failed|SEV: INIT_EX failed|"
                   "SEV-SNP: SNP_INIT|SEV: failed to get status|SEV: TMR allocation failed|"
                   "sev initialization failed|psp initialization failed|psp: unable to access the device|"
                   "timed out, disabling PSP",
     .source = "drivers/crypto/ccp/sev-dev.c, psp-dev.c"},
    {.name = "sme-hides-iommu",
     .topic = "Hosts of encrypted guests",
     .title = "This kernel leaves the IOMMU off because SME is active.",
     .meaning = "On processors of family 17h the IOMMU reads encrypted tables only with newer "
                "microcode; without it Linux does not use the IOMMU "
                "there; devices that cannot drive the C-bit bounce.",
     .remedies = {for_operator(
         "Update the board's firmware, and the microcode with it; else boot with mem_encrypt=off.")},
     .linux_says = "IOMMU not currently supported when SME is active",
     .source = "drivers/iommu/amd/init.c: amd_iommu_sme_check"},
    {.name = "tdx-module-failed",
     .topic = "Hosts of encrypted guests",
     .title = "The TDX module is not loaded, or could not be initialized.",
     .meaning = "The module that the firmware loads (P-SEAMLDR) runs the guests. Without it KVM has no TDX.",
     .remedies = {for_operator(
         "Firmware: switch TME-MT, TDX and SEAM on, and update it with its TDX module.")},
     .linux_says = "virt/tdx: module not loaded|virt/tdx: initialization failed|"
                   "virt/tdx: module initialization failed|virt/tdx: TDX-Module initialization failed",
     .source = "arch/x86/virt/vmx/tdx/tdx.c"},
    {.name = "discard-vs-pinned",
     .topic = "Hosts of encrypted guests",
     .title = "Memory was discarded while a device has it pinned.",
     .meaning =
         "A VMM that converts a page of its guest between private and shared may give the other copy back "
         "(QEMU: discard=both). VFIO has pinned it and mapped it in the IOMMU, so the device keeps the old "
         "page, while the next touch gives the guest a new one: each sees its own. The host gets no memory "
         "back either.",
     .remedies = {for_vmm("Do not discard what VFIO maps (discard=none), or unmap it from the IOMMU "
                          "before and map it again after (RamDiscardManager).")},
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
     .remedies = {for_operator("Raise the limit to the guest's memory or the regions' (ulimit -l, "
                               "LimitMEMLOCK=), or give the process CAP_IPC_LOCK.")},
     .linux_says = "locked pages exceed the lock limit|total pages would exceed the lock limit",
     .source = "arch/x86/kvm/svm/sev.c: sev_pin_memory; drivers/infiniband/core/umem.c: ib_umem_get"},
};

}  // namespace cbit::watch
