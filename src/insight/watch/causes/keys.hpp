// The catalogue's topic "Keys" (watch/cause_table.hpp).
#pragma once

#include "watch/causes.hpp"
#include "watch/causes/graphics.hpp"

namespace cbit::watch {

inline constexpr CauseInfo key_causes[] = {
    {.name = "raw-physical-address",
     .topic = "Keys",
     .title = "The driver gave the device an address that did not come from the DMA API.",
     .meaning =
         "In an encrypted guest every page is private until somebody shares it. An address that bypasses "
         "dma_map_* and dma_alloc_coherent leads the device to a private page (page-still-private).",
     .remedies = "Give the device the dma_addr_t that dma_map_single(), dma_map_sg() or dma_alloc_coherent() "
                 "returns; they bounce through, or allocate, shared memory.",
     .linux_says = "",
     .source = "Documentation/core-api/dma-api-howto.rst; kernel/dma/direct.h: dma_direct_map_page"},
    {.name = "page-still-private",
     .topic = "Keys",
     .title = "The device reached a page that is still encrypted with the guest's key.",
     .meaning =
         "The page was neither bounced nor decrypted, or it was encrypted again while the device still used "
         "it. Devices of a guest have no key: they read ciphertext (of a TD zeros), and each 16-byte block "
         "that they write becomes noise for the guest; SEV-SNP refuses such a write, TDX detects it.",
     .remedies =
         "Keep the page decrypted for as long as the device uses it (dma_alloc_coherent() does so until "
         "dma_free_coherent()), or map it for streaming so that SWIOTLB bounces it.",
     .linux_says = "",
     .source =
         "kernel/dma/direct.c: dma_direct_alloc; arch/x86/mm/pat/set_memory.c: __set_memory_enc_pgtable"},
    {.name = "missing-c-bit-in-dma-address",
     .topic = "Keys",
     .title = "The device used an address without the encryption bit for encrypted memory.",
     .meaning =
         "With SME and no IOMMU the bus address selects the key. Without the C-bit the device moves raw DRAM "
         "contents: it reads ciphertext, and what it writes the CPU later decrypts to noise.",
     .remedies =
         "Use the address that the DMA API returns, unchanged: it carries the C-bit where the device can "
         "drive it, and leads to unencrypted memory where it cannot.",
     .linux_says = "",
     .source = "include/linux/dma-direct.h: phys_to_dma; APM vol. 2, 7.10"},
    {.name = "encrypted-address-for-shared-page",
     .topic = "Keys",
     .title = "The device used an address with the encryption bit for memory that is not encrypted.",
     .meaning =
         "The page was decrypted for this device (its coherent mask does not reach the C-bit), but the "
         "address says that it is encrypted, so the memory controller decrypts plain bytes.",
     .remedies =
         "Do not add the C-bit to a DMA address: dma_alloc_coherent() returns it as the page needs it.",
     .linux_says = "",
     .source = "kernel/dma/direct.c: phys_to_dma_direct; arch/x86/mm/mem_encrypt.c: force_dma_unencrypted"},
    {.name = "c-bit-in-guest-dma-address",
     .topic = "Keys",
     .title = "The device of a guest was given an address with the encryption bit in it.",
     .meaning = "Guest-physical addresses never carry the C-bit on the bus: it exists in the guest's own "
                "page tables only. For a device it is one more address bit, and no memory answers there.",
     .remedies = "Strip the bit, or better: let the DMA API make the address.",
     .linux_says = "",
     .source = "include/linux/dma-direct.h: phys_to_dma; APM vol. 2, 15.34.6"},
    {.name = "contents-not-converted",
     .topic = "Keys",
     .title = "The page changed between private and shared, but its bytes did not.",
     .meaning =
         "set_memory_decrypted() and set_memory_encrypted() change the mapping, not the contents. What was "
         "written before is now read through the other view: ciphertext, or decrypted plain text.",
     .remedies = "Write the page again after the change (Linux clears it), or convert in place with "
                 "early_set_memory_decrypted() during boot.",
     .linux_says = "",
     .source = "arch/x86/mm/pat/set_memory.c: __set_memory_enc_pgtable"},
    {.name = "mapped-encrypted-but-shared",
     .topic = "Keys",
     .title = "The CPU reached a shared page through a mapping that has the encryption bit set.",
     .meaning =
         "All mappings of a page must agree with what the DMA layer did to it. Through a mapping with the "
         "default protection the CPU encrypts what the device expects plain, and decrypts what the device "
         "wrote plain. On SEV-SNP the access is refused: #VC with exit code 0x404.",
     .remedies = {for_driver("Map it with dma_mmap_coherent(), or apply pgprot_decrypted() to vm_page_prot "
                             "before remap_pfn_range(), vmap() or a fault handler inserts the page."),
                  ttm_of_guests, ttm_of_sme_hosts},
     .linux_says = "Unsupported exit-code 0x404",
     .source = "kernel/dma/direct.c: dma_direct_mmap; drivers/gpu/drm/ttm/ttm_bo_util.c: ttm_io_prot"},
    {.name = "mapped-shared-but-private",
     .topic = "Keys",
     .title = "The CPU reached a private page through a mapping without the encryption bit.",
     .meaning =
         "ioremap(), or a mapping made with pgprot_decrypted() although the DMA layer left the page "
         "encrypted: the CPU sees ciphertext there, and writes bytes that the other mappings decrypt to "
         "noise. On SEV-SNP the write is refused.",
     .remedies = "Use the protection that the DMA layer chose for the page; memremap(MEMREMAP_WB) instead of "
                 "ioremap() for RAM.",
     .linux_says = "",
     .source = "arch/x86/mm/ioremap.c: __ioremap_caller; arch/x86/mm/pat/set_memory.c: set_memory_decrypted"},
    {.name = "private-bytes-in-shared-memory",
     .topic = "Keys",
     .title = "Bytes of private memory stand in shared memory, where no DMA mapping gave them to a device.",
     .meaning =
         "Somebody copied them there by hand: beside or behind a mapping, or into a page that was shared "
         "with set_memory_decrypted(). Everybody who can read the machine's memory can read them, now and "
         "until the place is written again.",
     .remedies =
         "Let the DMA API copy, and no more than the device is to have; put nothing else of the kernel's "
         "into pages that are shared, and clear them before they are.",
     .linux_says = "",
     .source = "Documentation/core-api/dma-api.rst; arch/x86/mm/pat/set_memory.c: set_memory_decrypted"},
    {.name = "page-moved-between-frames",
     .topic = "Keys",
     .title = "Ciphertext was copied to another physical page.",
     .meaning =
         "The physical address is the tweak of the cipher, so ciphertext is worth something in its own frame "
         "only. Swapping, migrating or merging a guest's page without its key destroys it.",
     .remedies = {for_kernel("Pin the guest's memory, as KVM does; move pages only with the help of the "
                             "firmware that holds the key.")},
     .linux_says = "",
     .source = "arch/x86/kvm/svm/sev.c: sev_pin_memory"},
    {.name = "private-page-overwritten",
     .topic = "Keys",
     .title = "An encrypted page was written from outside, without its key.",
     .meaning =
         "SME, SEV and SEV-ES keep secrets but not integrity: such a write is not refused. The owner "
         "decrypts it to noise, 16 bytes at a time, or to older contents if old ciphertext of the same page "
         "was put back.",
     .remedies = {for_vmm("Exchange data with the guest through memory that it has shared."),
                  for_operator("Run the guest with SEV-SNP or TDX, which refuse or detect such writes.")},
     .linux_says = "",
     .source = "APM vol. 2, 15.34 and 15.36"},
    {.name = "cache-alias-not-flushed",
     .topic = "Keys",
     .title = "A cache line was dirty under one key while memory was accessed under another.",
     .meaning =
         "Without SME_COHERENT (CPUID 8000001F EAX[10]) the caches hold the C=0 and C=1 views of a line "
         "side by side. The reader may get stale bytes, and the late write-back destroys newer ones.",
     .remedies = {for_kernel("Flush (CLFLUSHOPT over the old mapping, or WBINVD) before the first use under "
                             "the new key, as set_memory_encrypted() and set_memory_decrypted() do.")},
     .linux_says = "",
     .source = "arch/x86/mm/pat/set_memory.c; arch/x86/mm/mem_encrypt_amd.c: amd_enc_cache_flush_required"},
    {.name = "rmp-entry-owned",
     .topic = "Keys",
     .title = "A page that the RMP assigns to the guest was written from outside.",
     .meaning =
         "Under SEV-SNP the reverse map table names the owner of each page. A write by the host or by a "
         "device, also through the IOMMU, to a page that belongs to a guest is refused.",
     .remedies = {for_driver("Let the guest share the page first (set_memory_decrypted(), which asks for "
                             "the page-state change), or bounce through SWIOTLB: map with the DMA API, and "
                             "stop the device before the page is given back."),
                  for_operator(
                      "A device that a guest has (vfio-pci): the guest's driver gave it a page that "
                      "is private; look for the cause inside of the guest. A device of the host: its "
                      "driver still uses a page that a guest was given; update it.")},
     .linux_says = "RMP_PAGE_FAULT|RMP_HW_ERROR| - RMP violation",
     .source = "APM vol. 2, 15.36.10; drivers/iommu/amd/iommu.c: amd_iommu_report_rmp_fault"},
    {.name = "td-private-access",
     .topic = "Keys",
     .title = "TD-private memory was written from outside the TD.",
     .meaning = "A write without the TD's key clears the TD owner bit of the cache line. The TD's next read "
                "of it is poison and ends in a machine check.",
     .remedies = {for_driver("Exchange data through shared memory only: bounce it, or convert the page with "
                             "MapGPA (set_memory_decrypted()).")},
     .linux_says = "",
     .source = "Intel TDX module base architecture specification: TD owner bit, logical integrity"},
    {.name = "encrypted-mmio",
     .topic = "Keys",
     .title = "Device memory was reached with the encryption bit set.",
     .meaning =
         "MMIO is not encrypted. A user mapping of a BAR that kept the default protection, or a peer-to-peer "
         "address with the C-bit, addresses nothing that could answer. Nor does the kernel's mapping of "
         "P2PDMA pages, through which Linux 7.1 and later copy a scatterlist's peer memory to the bounce "
         "pool in a guest.",
     .remedies = {for_driver("Map BARs with ioremap() or io_remap_pfn_range(), which clear the bit; use "
                             "dma_map_resource() for peers."),
                  for_operator("Switch peer-to-peer transfers off in an encrypted guest.").since(7, 1),
                  for_operator("Peers behind an IOMMU: Linux sets the C-bit in the IOMMU entries of MMIO too "
                               "(iommu_v1_map_pages). Keep peers that talk to each other out of translated "
                               "domains, or transfer through system memory.")
                      .before(7, 2)},
     .linux_says = "",
     .source = "arch/x86/mm/ioremap.c; kernel/dma/direct.c: dma_direct_map_resource, dma_direct_map_sg; "
               "mm/memremap.c: memremap_pages"},
};

}  // namespace cbit::watch
