// The table's topic "Other devices" (host/launch/rules/rule_table.hpp).
#pragma once

#include "launch/rules/rule_of_cause.hpp"

namespace cbit::launch {

inline constexpr RuleInfo device_rules[] = {
    {.name = "bounced-device",
     .severity = Severity::note,
     .topic = "Other devices",
     .title = "The device works, through the bounce pool.",
     .why = "Each of its DMA buffers is copied through SWIOTLB, at most 256 KiB at once; NVMe limits its "
            "requests to 252 KiB by itself.",
     .remedy = "Nothing to do; virtio devices cost less exits.",
     .libvirt_remedy = "",
     .source = "kernel/dma/direct.h: dma_direct_map_page; kernel/dma/swiotlb.c: swiotlb_max_mapping_size"},
    {.name = "emulated-iommu",
     .severity = Severity::error,
     .topic = "Other devices",
     .title = "An emulated IOMMU does not work in an encrypted guest.",
     .why = "The guest keeps its device table, its page tables and the rings of its commands and events in "
            "private memory. QEMU, which walks them, reads ciphertext: commands never complete, translations "
            "fault. iommu=pt changes nothing about the tables and rings.",
     .remedy = "Leave it out: dma-direct bounces without an IOMMU.",
     .libvirt_remedy = "No <iommu>",
     .kata_remedy = "enable_iommu = false",
     .source =
         "hw/i386/amd_iommu.c: amdvi_cmdbuf_run, amdvi_get_dte; hw/i386/intel_iommu.c: vtd_process_inv_desc"},
    rule_of_cause("guest-iommu-skips-bounce", Severity::error, "Other devices", "No <iommu>."),
    {.name = "ivshmem",
     .severity = Severity::error,
     .topic = "Other devices",
     .title = "The guest maps ivshmem's memory as its own, encrypted memory.",
     .why = "The shared memory is a BAR that drivers map write-back as if it were RAM "
            "(devm_memremap_pages), with the C-bit: each side reads the other's ciphertext "
            "(mapped-encrypted-but-shared).",
     .remedy =
         "Leave it out, or use a guest driver that clears the C-bit; vsock or virtio-net move data as well.",
     .libvirt_remedy = "No <shmem>",
     .source = "https://github.com/gnif/LookingGlass/issues/1077; kernel/iomem.c: memremap"},
    {.name = "option-rom-before-encryption",
     .severity = Severity::note,
     .topic = "Other devices",
     .title = "The network card's boot ROM does not know memory encryption.",
     .why = "iPXE gives the card addresses of private pages, so booting over the network from the ROM "
            "fails; OVMF's own drivers bounce.",
     .remedy = "romfile= (empty) for the network card",
     .libvirt_remedy = "<rom enabled='no'/> in the <interface>",
     .source = "libvirt: docs/kbase/launch_security_sev.rst"},
};

}  // namespace cbit::launch
