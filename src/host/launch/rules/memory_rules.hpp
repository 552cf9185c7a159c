// The table's topic "Memory" (host/launch/rules/rule_table.hpp).
#pragma once

#include "launch/rules/rule_of_cause.hpp"

namespace cbit::launch {

inline constexpr RuleInfo memory_rules[] = {
    rule_of_cause(
        "memlock-exceeded", Severity::error, "Memory",
        "<memtune><hard_limit unit='KiB'>...</hard_limit></memtune>: guest memory and some for QEMU."),
    {.name = "memory-more-than-the-host-has",
     .severity = Severity::error,
     .topic = "Memory",
     .title = "The guest's memory is more than the host's.",
     .why = "The pages of an encrypted guest are pinned or private to it: there is no overcommit and no "
            "swap, since the host has no key and the address is part of the cipher.",
     .remedy = "A smaller -m",
     .libvirt_remedy = "A smaller <memory>",
     .source =
         "arch/x86/kvm/svm/sev.c: sev_pin_memory; Documentation/virt/kvm/x86/amd-memory-encryption.rst"},
    {.name = "memory-small",
     .severity = Severity::warning,
     .topic = "Memory",
     .title = "The bounce pool takes a large part of the guest's memory.",
     .why = "An encrypted Linux guest sets at least 64 MiB below 4 GiB aside for SWIOTLB, and OVMF needs "
            "memory as well. QEMU's default is 128 MiB.",
     .remedy = "-m 1G or more",
     .libvirt_remedy = "<memory unit='GiB'>1</memory> or more",
     .source = "arch/x86/mm/mem_encrypt_amd.c: sev_setup_arch"},
    {.name = "nvdimm",
     .severity = Severity::error,
     .topic = "Memory",
     .title = "Persistent memory does not work in an encrypted guest.",
     .why = "The guest would use the host's file in place (DAX), but private memory is ciphertext, so every "
            "byte has to be copied; and the host cannot pin pages of a DAX file for long. virtio-pmem and "
            "CXL memory are the same.",
     .remedy = "Give the image as a virtio-blk disk, or boot from an initrd.",
     .libvirt_remedy = "A <disk> instead of <memory model='nvdimm'> or 'virtio-pmem'",
     .source = "arch/x86/kvm/svm/sev.c: sev_pin_memory; Kata: configuration-qemu.toml, confidential_guest"},
    {.name = "nvdimm-enabled",
     .severity = Severity::note,
     .topic = "Memory",
     .title = "The machine offers NVDIMM, which an encrypted guest cannot use.",
     .why = "nvdimm=on alone adds ACPI tables only, but it invites a device that will not work.",
     .remedy = "nvdimm=off, the default",
     .libvirt_remedy = "",
     .source = "hw/acpi/nvdimm.c"},
    {.name = "memory-hotplug",
     .severity = Severity::warning,
     .topic = "Memory",
     .title = "Memory that comes later is not part of the launch.",
     .why = "slots= and maxmem= prepare for it. What is added was not measured, and must be registered and "
            "pinned while the guest runs; with SNP and TDX the guest has to accept it. Kata switches it off.",
     .remedy = "-m SIZE without slots= and maxmem=",
     .libvirt_remedy = "No <maxMemory>",
     .source = "target/i386/sev.c: sev_ram_block_added; Kata: configuration-qemu.toml, confidential_guest"},
    {.name = "memory-backend-missing",
     .severity = Severity::error,
     .topic = "Memory",
     .title = "The memory backend that is named does not exist.",
     .why =
         "memory-backend= of -machine and memdev= of -numa are ids of -object memory-backend-...: QEMU ends "
         "with \"Memory backend 'ID' not found\".",
     .remedy = "-object memory-backend-memfd,id=ID,size=SIZE",
     .libvirt_remedy = "",
     .source = "system/vl.c: qemu_resolve_machine_memdev"},
    {.name = "memory-size-differs",
     .severity = Severity::error,
     .topic = "Memory",
     .title = "The size of the guest's memory is said twice, differently.",
     .why = "-m and the memory backend, or the backends of all NUMA nodes, must agree: \"Machine memory size "
            "does not match the size of the memory backend\". Without -m the backend's size is the guest's.",
     .remedy = "The same size in both, or no -m.",
     .libvirt_remedy = "",
     .source = "hw/core/machine.c: machine_run_board_init; system/vl.c: qemu_resolve_machine_memdev"},
    {.name = "memory-discard",
     .severity = Severity::error,
     .topic = "Memory",
     .title = "The device takes guest memory away page by page, which an encrypted guest does not allow.",
     .why = "virtio-mem has to discard RAM. QEMU disables that for SEV and SEV-ES, whose pages are pinned "
            "(\"Discarding RAM is disabled\"); with SNP and TDX the discards belong to private memory "
            "(\"Failed to set RamDiscardManager\", QEMU 10.1).",
     .remedy = "Leave virtio-mem out.",
     .libvirt_remedy = "No <memory model='virtio-mem'>",
     .kata_remedy = "enable_virtio_mem = false",
     .source = "target/i386/sev.c: sev_kvm_init (ram_block_discard_disable); hw/virtio/virtio-mem.c: "
               "virtio_mem_device_realize"},
    {.name = "memory-merge",
     .severity = Severity::warning,
     .topic = "Memory",
     .title = "Encrypted pages cannot be merged.",
     .why = "Equal pages of two guests, or of two places, have different ciphertext. QEMU switches merging "
            "off for encrypted guests; mem-merge=on switches it on again, for nothing.",
     .remedy = "mem-merge=off",
     .libvirt_remedy = "<memoryBacking><nosharepages/></memoryBacking>",
     .source = "hw/core/machine.c: machine_run_board_init"},
    {.name = "memory-in-a-shared-file",
     .severity = Severity::warning,
     .topic = "Memory",
     .title = "Guest memory is a shared mapping of a file on a disk.",
     .why = "Its pages are pinned for as long as the guest runs, and what the kernel writes back to the "
            "file is ciphertext that nobody can read again. A DAX file cannot be pinned at all.",
     .remedy = "memory-backend-memfd, or mem-path= on hugetlbfs or /dev/shm",
     .libvirt_remedy = "<memoryBacking><source type='memfd'/></memoryBacking>",
     .source = "arch/x86/kvm/svm/sev.c: sev_pin_memory; mm/gup.c"},
    {.name = "prealloc-doubles-memory",
     .severity = Severity::warning,
     .topic = "Memory",
     .title = "Preallocation fills memory that the guest will not use.",
     .why = "Private memory of SNP and TDX guests comes from guest_memfd; the backend holds shared pages "
            "only. Preallocated, both have the guest's full size.",
     .remedy = "Leave prealloc=on and -mem-prealloc out.",
     .libvirt_remedy = "No <allocation mode='immediate'/>",
     .source = "system/physmem.c: ram_block_add (RAM_GUEST_MEMFD)"},
    {.name = "loaded-after-launch",
     .severity = Severity::error,
     .topic = "Memory",
     .title = "The data is put into guest memory in clear, and the guest reads noise.",
     .why = "-device loader and guest-loader copy into RAM without LAUNCH_UPDATE_DATA. Under the guest's "
            "key plain bytes decrypt to noise (plain-page-read-as-private).",
     .remedy = "-kernel, -initrd and -fw_cfg, which the firmware copies through shared pages.",
     .libvirt_remedy = "",
     .source = "hw/core/generic-loader.c; arch/x86/kvm/svm/sev.c: sev_launch_update_data"},
};

}  // namespace cbit::launch
