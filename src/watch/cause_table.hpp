// The rows of the catalogue (watch/causes.hpp). For the detectors, which name their causes at compile time.
#pragma once

#include <string_view>

#include "watch/causes.hpp"

namespace cbit {

inline constexpr CauseInfo cause_table[] = {
    // ---- keys -------------------------------------------------------------------------------------------
    {.name = "raw-physical-address",
     .topic = "Keys",
     .title = "The driver gave the device an address that did not come from the DMA API.",
     .meaning =
         "In an encrypted guest every page is private until somebody shares it. An address that bypasses "
         "dma_map_* and dma_alloc_coherent leads the device to a private page (page-still-private).",
     .remedy = "Give the device the dma_addr_t that dma_map_single(), dma_map_sg() or dma_alloc_coherent() "
               "returns; "
               "they bounce through, or allocate, shared memory.",
     .linux_says = "",
     .source = "Documentation/core-api/dma-api-howto.rst; kernel/dma/direct.h: dma_direct_map_page"},
    {.name = "page-still-private",
     .topic = "Keys",
     .title = "The device reached a page that is still encrypted with the guest's key.",
     .meaning =
         "The page was neither bounced nor decrypted, or it was encrypted again while the device still used "
         "it. Devices of a guest have no key: they read ciphertext, and each 16-byte block that they write "
         "becomes noise for the guest.",
     .remedy =
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
     .remedy =
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
     .remedy = "Do not add the C-bit to a DMA address: dma_alloc_coherent() returns it as the page needs it.",
     .linux_says = "",
     .source = "kernel/dma/direct.c: phys_to_dma_direct; arch/x86/mm/mem_encrypt.c: force_dma_unencrypted"},
    {.name = "c-bit-in-guest-dma-address",
     .topic = "Keys",
     .title = "The device of a guest was given an address with the encryption bit in it.",
     .meaning = "Guest-physical addresses never carry the C-bit on the bus: it exists in the guest's own "
                "page tables "
                "only. For a device it is one more address bit, and no memory answers there.",
     .remedy = "Strip the bit, or better: let the DMA API make the address.",
     .linux_says = "",
     .source = "include/linux/dma-direct.h: phys_to_dma; APM vol. 2, 15.34.6"},
    {.name = "contents-not-converted",
     .topic = "Keys",
     .title = "The page changed between private and shared, but its bytes did not.",
     .meaning =
         "set_memory_decrypted() and set_memory_encrypted() change the mapping, not the contents. What was "
         "written before is now read through the other view: ciphertext, or decrypted plain text.",
     .remedy = "Write the page again after the change (Linux clears it), or convert in place with "
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
     .remedy = "Map it with dma_mmap_coherent(), or apply pgprot_decrypted() to vm_page_prot before "
               "remap_pfn_range(), vmap() or a fault handler inserts the page.",
     .linux_says = "",
     .source = "kernel/dma/direct.c: dma_direct_mmap; drivers/gpu/drm/ttm/ttm_bo_util.c: ttm_io_prot"},
    {.name = "mapped-shared-but-private",
     .topic = "Keys",
     .title = "The CPU reached a private page through a mapping without the encryption bit.",
     .meaning =
         "ioremap(), or a mapping made with pgprot_decrypted() although the DMA layer left the page "
         "encrypted: the CPU sees ciphertext there, and writes bytes that the other mappings decrypt to "
         "noise. On SEV-SNP the write is refused.",
     .remedy = "Use the protection that the DMA layer chose for the page; memremap(MEMREMAP_WB) instead of "
               "ioremap() "
               "for RAM.",
     .linux_says = "",
     .source = "arch/x86/mm/ioremap.c: __ioremap_caller; arch/x86/mm/pat/set_memory.c: set_memory_decrypted"},
    {.name = "page-moved-between-frames",
     .topic = "Keys",
     .title = "Ciphertext was copied to another physical page.",
     .meaning =
         "The physical address is the tweak of the cipher, so ciphertext is worth something in its own frame "
         "only. Swapping, migrating or merging a guest's page without its key destroys it.",
     .remedy = "Pin the guest's memory, as KVM does; move pages only with the help of the firmware that "
               "holds the key.",
     .linux_says = "",
     .source = "arch/x86/kvm/svm/sev.c: sev_pin_memory"},
    {.name = "private-page-overwritten",
     .topic = "Keys",
     .title = "An encrypted page was written from outside, without its key.",
     .meaning =
         "SME, SEV and SEV-ES keep secrets but not integrity: such a write is not refused. The owner "
         "decrypts it to noise, 16 bytes at a time, or to older contents if old ciphertext of the same page "
         "was put back.",
     .remedy = "Exchange data through shared memory. SEV-SNP and TDX refuse or detect such writes.",
     .linux_says = "",
     .source = "APM vol. 2, 15.34 and 15.36"},
    {.name = "cache-alias-not-flushed",
     .topic = "Keys",
     .title = "A cache line was dirty under one key while memory was accessed under another.",
     .meaning =
         "Without SME_COHERENT (CPUID 8000001F EAX[10]) the caches hold the C=0 and C=1 views of a line "
         "side by side. The reader may get stale bytes, and the late write-back destroys newer ones.",
     .remedy =
         "Flush (CLFLUSHOPT over the old mapping, or WBINVD) before the first use under the new key, as "
         "set_memory_encrypted() and set_memory_decrypted() do.",
     .linux_says = "",
     .source = "arch/x86/mm/pat/set_memory.c; arch/x86/mm/mem_encrypt_amd.c: amd_enc_cache_flush_required"},
    {.name = "rmp-entry-owned",
     .topic = "Keys",
     .title = "A page that the RMP assigns to the guest was written from outside.",
     .meaning =
         "Under SEV-SNP the reverse map table names the owner of each page. A write by the host or by a "
         "device, also through the IOMMU, to a page that belongs to a guest is refused.",
     .remedy =
         "Let the guest share the page first (set_memory_decrypted(), which asks for the page-state change), "
         "or bounce through SWIOTLB.",
     .linux_says = "RMP_PAGE_FAULT",
     .source = "APM vol. 2, 15.36.10; drivers/iommu/amd/iommu.c: amd_iommu_report_rmp_fault"},
    {.name = "td-private-access",
     .topic = "Keys",
     .title = "TD-private memory was written from outside the TD.",
     .meaning = "A write without the TD's key clears the TD owner bit of the cache line. The TD's next read "
                "of it is "
                "poison and ends in a machine check.",
     .remedy = "Exchange data through shared memory only: bounce it, or convert the page with MapGPA "
               "(set_memory_decrypted()).",
     .linux_says = "",
     .source = "Intel TDX module base architecture specification: TD owner bit, logical integrity"},
    {.name = "encrypted-mmio",
     .topic = "Keys",
     .title = "Device memory was reached with the encryption bit set.",
     .meaning =
         "MMIO is not encrypted. A user mapping of a BAR that kept the default protection, or a peer-to-peer "
         "address with the C-bit, addresses nothing that could answer.",
     .remedy =
         "Map BARs with ioremap() or io_remap_pfn_range(), which clear the bit; use dma_map_resource() for "
         "peers.",
     .linux_says = "",
     .source = "arch/x86/mm/ioremap.c; kernel/dma/direct.c: dma_direct_map_resource"},

    // ---- use of the DMA API -----------------------------------------------------------------------------
    {.name = "use-after-unmap",
     .topic = "Use of the DMA API",
     .title = "The device used a DMA address after the driver had unmapped it.",
     .meaning =
         "From dma_unmap_*() on the memory belongs to others: bounce slots are given to the next mapping, "
         "IOVAs lead elsewhere, pages are reused.",
     .remedy = "Stop the device, or take the buffer back from its queue, before unmapping.",
     .linux_says = "",
     .source = "Documentation/core-api/dma-api.rst"},
    {.name = "access-outside-mapping",
     .topic = "Use of the DMA API",
     .title = "The device went beyond what the driver mapped for it.",
     .meaning =
         "The access starts in or next to a mapping, or in the bounce pool, but no mapping covers all of it. "
         "A wrong length in a descriptor does that, and so does a hostile device.",
     .remedy =
         "Compare the length in the descriptor with the mapped one; behind an IOMMU give each device its own "
         "pages.",
     .linux_says = "",
     .source = "Documentation/core-api/dma-api.rst"},
    {.name = "wrong-direction",
     .topic = "Use of the DMA API",
     .title = "A mapping was used against its direction.",
     .meaning = "The direction decides which way bytes are copied and what the IOMMU permits. What a device "
                "writes to "
                "a to-device mapping never reaches the driver's buffer.",
     .remedy = "Map with the direction of the transfer as the device sees it, DMA_BIDIRECTIONAL for both, "
               "and unmap "
               "and sync with the same one.",
     .linux_says = "DMA memory with different direction|device read-only DMA memory for cpu|"
                   "device write-only DMA memory to device",
     .source = "kernel/dma/debug.c: check_unmap, check_sync; kernel/dma/swiotlb.c"},
    {.name = "missing-sync",
     .topic = "Use of the DMA API",
     .title = "The device wrote to a bounced mapping, and nobody copied the bytes back.",
     .meaning = "The device writes to a slot of the pool. Only dma_sync_*_for_cpu() or dma_unmap_*() without "
                "DMA_ATTR_SKIP_CPU_SYNC bring the bytes to the driver's buffer. Without bouncing the same "
                "code works.",
     .remedy =
         "Call dma_sync_single_for_cpu() before reading a live mapping; do not skip the sync of the unmap.",
     .linux_says = "",
     .source = "kernel/dma/swiotlb.c: swiotlb_sync_single_for_cpu, swiotlb_tbl_unmap_single"},
    {.name = "mapping-leak",
     .topic = "Use of the DMA API",
     .title = "The driver let the device go with mappings still active.",
     .meaning =
         "Each dma_map_*() needs its dma_unmap_*(). A leaked mapping keeps an IOVA, and lets the device "
         "reach memory that is used for something else by now.",
     .remedy = "Unmap in the error and removal paths too; the evidence names the mapping.",
     .linux_says = "device driver has pending DMA allocations while released from device",
     .source = "kernel/dma/debug.c: dma_debug_device_change"},
    {.name = "double-unmap",
     .topic = "Use of the DMA API",
     .title = "The driver unmapped memory that was not mapped, or not any more.",
     .meaning = "The second unmap of a bounced mapping frees slots that may belong to somebody else by now.",
     .remedy = "Unmap once; reset the stored address afterwards.",
     .linux_says = "device driver tries to free DMA memory it has not allocated",
     .source = "kernel/dma/debug.c: check_unmap"},
    {.name = "unmap-of-mapping-error",
     .topic = "Use of the DMA API",
     .title = "The driver unmapped DMA_MAPPING_ERROR.",
     .meaning = "The mapping had failed, and the driver went on as if it had an address.",
     .remedy = "Check each mapping with dma_mapping_error() and give up on failure.",
     .linux_says = "device driver tries to free an invalid DMA memory address",
     .source = "kernel/dma/debug.c: check_unmap"},
    {.name = "wrong-unmap-size",
     .topic = "Use of the DMA API",
     .title = "The driver unmapped with another size than it had mapped with.",
     .meaning = "SWIOTLB copies back the size of the unmap but frees the whole allocation; the IOMMU leaves "
                "the rest "
                "mapped.",
     .remedy = "Keep the size beside the DMA address; DEFINE_DMA_UNMAP_LEN() does so.",
     .linux_says = "device driver frees DMA memory with different size",
     .source = "kernel/dma/debug.c: check_unmap"},
    {.name = "wrong-unmap-function",
     .topic = "Use of the DMA API",
     .title = "The driver unmapped with the function of another kind of mapping.",
     .meaning =
         "dma_map_single() pairs with dma_unmap_single(), dma_map_sg() with dma_unmap_sg(), and so on; "
         "each pair keeps its own books.",
     .remedy = "Use the function that belongs to the one that mapped.",
     .linux_says = "device driver frees DMA memory with wrong function",
     .source = "kernel/dma/debug.c: check_unmap"},
    {.name = "wrong-cpu-address",
     .topic = "Use of the DMA API",
     .title = "Coherent memory was freed with a CPU address that does not belong to its DMA address.",
     .meaning = "The kernel encrypts and frees the pages behind the CPU address, which are not those that "
                "the device "
                "was using.",
     .remedy = "Pass dma_free_coherent() both addresses as dma_alloc_coherent() gave them.",
     .linux_says = "device driver frees DMA memory with different CPU address",
     .source = "kernel/dma/debug.c: check_unmap"},
    {.name = "wrong-sg-count",
     .topic = "Use of the DMA API",
     .title = "A scatterlist was unmapped or synced with another number of entries than it was mapped with.",
     .meaning =
         "dma_map_sg() may return fewer segments than it was given. Unmap and sync take the original count.",
     .remedy = "Pass the nents that was passed to dma_map_sg(), not its result.",
     .linux_says = "DMA sg list with different entry count",
     .source = "kernel/dma/debug.c: check_unmap, check_sync"},
    {.name = "unchecked-mapping-error",
     .topic = "Use of the DMA API",
     .title = "The driver used a mapping without asking whether it had succeeded.",
     .meaning =
         "A full bounce pool makes mappings fail that never failed without encryption. The driver then gives "
         "the device the address ~0.",
     .remedy = "Call dma_mapping_error() after each dma_map_single() and dma_map_page().",
     .linux_says = "device driver failed to check map error",
     .source = "kernel/dma/debug.c: check_unmap"},
    {.name = "unmappable-memory",
     .topic = "Use of the DMA API",
     .title = "The driver mapped memory that the DMA API cannot map.",
     .meaning = "dma_map_single() takes addresses of the direct map. Stack, vmalloc, user and MMIO addresses "
                "have no "
                "physical address that it could compute.",
     .remedy = "Use kmalloc() memory, dma_map_page() with the right page, or dma_map_resource() for MMIO.",
     .linux_says = "device driver maps memory from",
     .source = "kernel/dma/debug.c: check_for_stack, check_for_illegal_area; include/linux/dma-mapping.h: "
               "dma_map_single_attrs"},
    {.name = "overlapping-mappings",
     .topic = "Use of the DMA API",
     .title = "Cache lines of one buffer were mapped twice at the same time.",
     .meaning = "With bouncing each mapping has its own copy; the one that is copied back last wins.",
     .remedy = "Align buffers to dma_get_cache_alignment() and map each once.",
     .linux_says = "cacheline tracking EEXIST, overlapping mappings aren't supported",
     .source = "kernel/dma/debug.c: active_cacheline_insert"},
    {.name = "sync-of-unmapped",
     .topic = "Use of the DMA API",
     .title = "The driver synced memory that was not mapped.",
     .meaning = "There is nothing to copy from or to: the call does nothing, or copies somebody else's slot.",
     .remedy = "Sync between map and unmap, with the address that the mapping returned.",
     .linux_says = "device driver tries to sync DMA memory it has not allocated",
     .source = "kernel/dma/debug.c: check_sync"},
    {.name = "sync-outside-mapping",
     .topic = "Use of the DMA API",
     .title = "The driver synced beyond the end of a mapping.",
     .meaning =
         "SWIOTLB warns and copies no more than the allocation has; where the start lies outside, nothing.",
     .remedy = "Keep offset + size within the mapped size.",
     .linux_says = "DMA memory outside allocated range|Buffer overflow detected",
     .source = "kernel/dma/debug.c: check_sync; kernel/dma/swiotlb.c: swiotlb_bounce"},
    {.name = "sg-segment-too-long",
     .topic = "Use of the DMA API",
     .title = "A scatterlist entry is longer than the device says that it can handle.",
     .meaning = "The limit is 64 KiB unless the driver sets another.",
     .remedy = "Split the entry, or call dma_set_max_seg_size() if the device can do more.",
     .linux_says = "mapping sg segment longer than device claims to support",
     .source = "kernel/dma/debug.c: check_sg_segment"},
    {.name = "sg-segment-crosses-boundary",
     .topic = "Use of the DMA API",
     .title = "A scatterlist entry crosses an address boundary that the device cannot cross.",
     .meaning = "The device's segment boundary mask is narrower than the buffer's position allows.",
     .remedy = "Split the entry at the boundary, or correct dma_set_seg_boundary().",
     .linux_says = "mapping sg segment across boundary",
     .source = "kernel/dma/debug.c: check_sg_segment"},
    {.name = "invalid-direction",
     .topic = "Use of the DMA API",
     .title = "The driver passed a direction that is none.",
     .meaning = "DMA_NONE and undefined values stop the kernel at a BUG_ON.",
     .remedy = "Use DMA_TO_DEVICE, DMA_FROM_DEVICE or DMA_BIDIRECTIONAL.",
     .linux_says = "kernel BUG at",
     .source = "kernel/dma/mapping.c: dma_map_page_attrs"},
    {.name = "invalid-mapping-size",
     .topic = "Use of the DMA API",
     .title = "The driver mapped or allocated a size that cannot be.",
     .meaning = "The size is 0, or reaches beyond the address space.",
     .remedy = "Check the length before mapping.",
     .linux_says = "",
     .source = "kernel/dma/mapping.c; kernel/dma/swiotlb.c"},
    {.name = "attribute-conflict",
     .topic = "Use of the DMA API",
     .title = "An attribute of the request forbids what the platform has to do.",
     .meaning = "The platform must decrypt, remap or bounce, and the attribute rules that out.",
     .remedy = "Drop the attribute, or use memory that is shared already.",
     .linux_says = "",
     .source = "kernel/dma/direct.c: dma_direct_alloc; include/linux/dma-mapping.h"},

    // ---- address widths and masks -----------------------------------------------------------------------
    {.name = "mask-unset",
     .topic = "Masks",
     .title = "The device has no DMA mask.",
     .meaning = "dev->dma_mask is not set: the bus code did not give the device one. Every mapping fails.",
     .remedy = "Call dma_set_mask_and_coherent() in probe, on the device that performs the DMA.",
     .linux_says = "",
     .source = "kernel/dma/mapping.c: dma_map_page_attrs"},
    {.name = "dma-mask-below-c-bit",
     .topic = "Masks",
     .title = "The device's mask does not reach the encryption bit, and there is no pool to bounce through.",
     .meaning =
         "With SME a DMA address carries the C-bit. A device with a narrower mask can use no encrypted page "
         "directly, wherever the page lies.",
     .remedy = "Let the pool be created (drop swiotlb=noforce), use the IOMMU (its entries carry the bit), "
               "or switch "
               "SME off with mem_encrypt=off.",
     .linux_says = "overflow (mask",
     .source = "include/linux/dma-direct.h: phys_to_dma, dma_capable"},
    {.name = "buffer-beyond-mask",
     .topic = "Masks",
     .title = "The buffer lies above what the device can address, and there is no pool to bounce through.",
     .meaning =
         "The mask or the bus limit is below the buffer's address. Usually SWIOTLB hides this; here it does "
         "not exist.",
     .remedy =
         "Allocate with GFP_DMA32, raise the mask if the device can do more, or let the pool be created.",
     .linux_says = "overflow (mask",
     .source = "kernel/dma/direct.h: dma_direct_map_page"},
    {.name = "coherent-mask-too-small",
     .topic = "Masks",
     .title = "There is no free memory below the device's coherent mask.",
     .meaning =
         "Coherent memory is never bounced: the pages themselves must lie within the mask. The C-bit counts "
         "only where the memory stays encrypted.",
     .remedy = "Raise dma_set_coherent_mask(), or reserve low memory.",
     .linux_says = "",
     .source = "kernel/dma/direct.c: dma_coherent_ok, __dma_direct_alloc_pages"},
    {.name = "resource-beyond-mask",
     .topic = "Masks",
     .title = "The MMIO range of a peer lies above what the device can address.",
     .meaning = "MMIO cannot be bounced.",
     .remedy = "Place the BAR lower, raise the mask, or use the IOMMU.",
     .linux_says = "overflow (mask",
     .source = "kernel/dma/direct.c: dma_direct_map_resource"},
    {.name = "p2pdma-needs-bounce",
     .topic = "Masks",
     .title = "Peer-to-peer memory would have to be bounced, which cannot be.",
     .meaning = "Where every mapping is bounced (encrypted guests, swiotlb=force) or the address does not "
                "fit the mask, "
                "a page of another device's BAR cannot be mapped.",
     .remedy = "Transfer through system memory.",
     .linux_says = "",
     .source = "kernel/dma/direct.h: dma_direct_map_page"},
    {.name = "dma-address-beyond-device",
     .topic = "Masks",
     .title = "The DMA address has more bits than the device has address lines.",
     .meaning = "The driver declared a wider mask than the hardware has. The C-bit is the first to be lost, "
                "since it "
                "is the highest bit of all.",
     .remedy = "Set the mask that the hardware has; the DMA API then bounces or maps lower.",
     .linux_says = "",
     .source = "Documentation/core-api/dma-api-howto.rst: DMA addressing capabilities"},
    {.name = "no-memory-at-address",
     .topic = "Masks",
     .title = "The device addressed something that is neither memory nor MMIO.",
     .meaning = "The address was never made by the DMA API, or was damaged on its way.",
     .remedy = "Look for an unchecked DMA_MAPPING_ERROR, a truncated or byte-swapped address.",
     .linux_says = "",
     .source = "Documentation/core-api/dma-api-howto.rst"},
    {.name = "allocation-failed",
     .topic = "Masks",
     .title = "The page allocator had no memory for a coherent allocation.",
     .meaning = "Coherent memory is contiguous; there is no run of pages of that size.",
     .remedy = "Allocate less, earlier, or in pieces.",
     .linux_says = "",
     .source = "kernel/dma/direct.c: __dma_direct_alloc_pages"},
    {.name = "atomic-pool-empty",
     .topic = "Masks",
     .title = "The atomic pool has nothing left for an allocation that may not sleep.",
     .meaning = "Changing a page's encryption can sleep, so GFP_ATOMIC allocations come from pools that were "
                "decrypted in advance, 128 KiB per GiB of memory.",
     .remedy = "Allocate with GFP_KERNEL, or enlarge the pools with coherent_pool=.",
     .linux_says = "DMA pool exhausted for|Failed to get suitable pool for",
     .source = "kernel/dma/pool.c: dma_alloc_from_pool"},
    {.name = "conversion-failed-page-leaked",
     .topic = "Masks",
     .title = "The hypervisor refused to change a page's state, and the kernel leaked the page on purpose.",
     .meaning =
         "A page of unknown state must not return to the allocator: it might be used for secrets while it is "
         "shared.",
     .remedy = "Look for the hypervisor's reason; the guest's memory shrinks with each occurrence.",
     .linux_says = "leaking DMA memory that can't be re-encrypted",
     .source = "kernel/dma/direct.c: dma_set_decrypted, dma_set_encrypted"},

    // ---- IOMMU ------------------------------------------------------------------------------------------
    {.name = "iopte-without-c-bit",
     .topic = "IOMMU",
     .title = "The IOMMU's page-table entry lacks the encryption bit.",
     .meaning =
         "Behind a translating IOMMU the leaf entry selects the key. Without the C-bit the device reads the "
         "ciphertext of encrypted memory, whatever its address.",
     .remedy =
         "Map through the DMA API: amd_iommu sets the bit in every leaf. Code that fills IOMMU tables itself "
         "must add sme_me_mask.",
     .linux_says = "",
     .source = "drivers/iommu/amd/io_pgtable.c: iommu_v1_map_pages"},
    {.name = "untrusted-bounce-encrypted-iopte",
     .topic = "IOMMU",
     .title = "An untrusted device's bounce buffer is plain for the CPU and encrypted for the device.",
     .meaning =
         "On an SME host iommu-dma bounces unaligned buffers of untrusted devices through the pool, which is "
         "decrypted, but the IOMMU entry that leads there carries the C-bit: the two see different bytes. An "
         "erratum of the kernel.",
     .remedy = "Map page-aligned buffers of whole pages for untrusted devices.",
     .linux_says = "",
     .source = "drivers/iommu/dma-iommu.c: iommu_dma_map_page"},
    {.name = "guest-iommu-skips-bounce",
     .topic = "IOMMU",
     .title = "An encrypted guest has an IOMMU, and so its private pages were mapped instead of bounced.",
     .meaning = "With an IOMMU the device's dma_ops are iommu-dma's, which do not ask whether bouncing is "
                "forced. The "
                "device is led to private pages, for which it has no key.",
     .remedy =
         "Give an encrypted guest no virtual IOMMU, or run its devices with iommu=pt, so that dma-direct "
         "bounces.",
     .linux_says = "",
     .source = "drivers/iommu/dma-iommu.c: iommu_dma_map_page; kernel/dma/mapping.c: dma_map_direct"},
    {.name = "raw-gpa-behind-iommu",
     .topic = "IOMMU",
     .title = "The device used a physical address where the IOMMU expects one of its own.",
     .meaning = "The driver does not use the DMA API for this device (a virtio driver without "
                "VIRTIO_F_ACCESS_PLATFORM never does), but the device's accesses are translated.",
     .remedy =
         "Offer VIRTIO_F_ACCESS_PLATFORM (QEMU: iommu_platform=on, disable-legacy=on); elsewhere use the DMA "
         "API.",
     .linux_says = "IO_PAGE_FAULT",
     .source = "drivers/virtio/virtio_ring.c: vring_use_dma_api; virtio 1.2, 6.1"},
    {.name = "no-translation",
     .topic = "IOMMU",
     .title = "The IOMMU has no entry for the address.",
     .meaning = "Nobody mapped it, or it is no longer mapped.",
     .remedy = "Compare the address with those that the DMA API returned for this device.",
     .linux_says = "IO_PAGE_FAULT",
     .source = "AMD I/O Virtualization Technology specification, 2.5.3"},
    {.name = "malformed-iopte",
     .topic = "IOMMU",
     .title = "The IOMMU found an entry that makes no sense.",
     .meaning =
         "Its tables are encrypted but read without the key, or the other way round: the entries are noise. "
         "Or something overwrote them.",
     .remedy = "Device table base and directory entries must carry the C-bit when the tables are encrypted "
               "(iommu_virt_to_phys).",
     .linux_says = "IO_PAGE_FAULT",
     .source = "drivers/iommu/amd/amd_iommu.h: iommu_virt_to_phys"},
    {.name = "dma-before-viommu-ready",
     .topic = "IOMMU",
     .title = "The device performed DMA before the IOMMU had a domain for it.",
     .meaning =
         "An enabled IOMMU blocks requesters that are attached to nothing. Firmware that leaves a device "
         "running, or a driver that starts it before its IOMMU driver, meets that.",
     .remedy = "Attach the device first; for the time before, offer a bypass (virtio-iommu: config.bypass).",
     .linux_says = "IO_PAGE_FAULT",
     .source = "AMD I/O Virtualization Technology specification, 2.2.2; virtio 1.2, 5.13"},
    {.name = "iova-exhausted",
     .topic = "IOMMU",
     .title = "No I/O virtual addresses are left below the device's mask.",
     .meaning = "Every live mapping keeps a range of IOVA, and a narrow mask leaves few of them.",
     .remedy = "Look for leaked mappings; raise the mask.",
     .linux_says = "",
     .source = "drivers/iommu/dma-iommu.c: iommu_dma_alloc_iova"},
    {.name = "iommu-map-refused",
     .topic = "IOMMU",
     .title = "The IOMMU driver refused the mapping.",
     .meaning = "The range is mapped already, or there was no memory for a table.",
     .remedy = "Look for code that maps the same IOVA by hand.",
     .linux_says = "",
     .source = "drivers/iommu/iommu.c: iommu_map; drivers/iommu/amd/io_pgtable.c"},

    // ---- SWIOTLB ----------------------------------------------------------------------------------------
    {.name = "request-over-segment-limit",
     .topic = "SWIOTLB",
     .title = "One request is longer than the longest run of slots that the pool can ever give.",
     .meaning =
         "No allocation leaves a set of 128 slots of 2 KiB: 256 KiB, less what alignment costs. The kernel "
         "says that the pool is full even when it is empty, and a larger pool changes nothing.",
     .remedy = "Limit segments to dma_max_mapping_size(), as virtio-blk and NVMe do.",
     .linux_says = "swiotlb buffer is full",
     .source = "kernel/dma/swiotlb.c: swiotlb_do_find_slots; include/linux/swiotlb.h: IO_TLB_SEGSIZE"},
    {.name = "pool-exhausted",
     .topic = "SWIOTLB",
     .title = "The bounce pool has fewer free slots than the request needs.",
     .meaning =
         "An encrypted guest gets 6 % of its memory, at least 64 MiB and at most 1 GiB, for all devices "
         "together.",
     .remedy =
         "Boot with a larger pool (swiotlb=<slots>), let it grow (CONFIG_SWIOTLB_DYNAMIC, Linux 6.6), limit "
         "queue depths, or find who holds the slots.",
     .linux_says = "swiotlb buffer is full",
     .source = "kernel/dma/swiotlb.c: swiotlb_tbl_map_single; arch/x86/mm/mem_encrypt_amd.c: sev_setup_arch"},
    {.name = "no-aligned-run",
     .topic = "SWIOTLB",
     .title = "Enough slots are free, but no run of them is long enough where the alignment allows one.",
     .meaning =
         "The pool is fragmented: free slots are spread over the sets of 128 and over the areas of the CPUs, "
         "and min_align_mask, the allocation's alignment and the segment boundary rule out more.",
     .remedy =
         "Use smaller requests, fewer areas (swiotlb=<slots>,<areas>) or a larger pool; do not ask for more "
         "alignment than the device needs.",
     .linux_says = "swiotlb buffer is full",
     .source = "kernel/dma/swiotlb.c: swiotlb_do_find_slots"},
    {.name = "slot-search-never-ends",
     .topic = "SWIOTLB",
     .title = "Linux 6.1 searches for slots for ever.",
     .meaning =
         "With this alignment the search's stride steps over the position at which it would stop, so the CPU "
         "spins with the area's lock held. Linux 6.6 counts the slots that it has looked at.",
     .remedy = "Use a newer kernel, or a weaker alignment (min_align_mask).",
     .linux_says = "",
     .source = "kernel/dma/swiotlb.c: swiotlb_do_find_slots"},
    {.name = "growth-off",
     .topic = "SWIOTLB",
     .title = "The pool could grow in this kernel, but may not.",
     .meaning = "Since Linux 6.6 a pool can grow and serve single requests from transient pools, where "
                "CONFIG_SWIOTLB_DYNAMIC is set.",
     .remedy = "Set CONFIG_SWIOTLB_DYNAMIC=y, or size the pool for the peak.",
     .linux_says = "",
     .source = "kernel/dma/swiotlb.c: swiotlb_dyn_alloc, swiotlb_find_slots (6.6)"},
    {.name = "pool-not-allocated-low-memory",
     .topic = "SWIOTLB",
     .title = "There is no bounce pool: not even its smallest size could be had below 4 GiB.",
     .meaning =
         "The pool is one contiguous piece of low memory. When that fails its size is halved, down to 512 "
         "slots, and then the guest runs on without a pool.",
     .remedy = "Ask for a smaller pool (swiotlb=), or give the guest more memory below 4 GiB.",
     .linux_says = "Can not allocate SWIOTLB buffer earlier|bytes tlb structure",
     .source = "kernel/dma/swiotlb.c: swiotlb_init_remap, swiotlb_memblock_alloc"},
    {.name = "no-bounce-pool",
     .topic = "SWIOTLB",
     .title = "The mapping has to be bounced, and there is no bounce pool.",
     .meaning = "The pool was switched off (swiotlb=noforce), or never made: without memory encryption Linux "
                "makes it "
                "only where memory above 4 GiB is possible. Untrusted devices need it behind an IOMMU too.",
     .remedy = "Remove swiotlb=noforce, or ask for a pool with swiotlb=force.",
     .linux_says = "DMA bounce buffers are inactive",
     .source =
         "arch/x86/kernel/pci-dma.c: pci_swiotlb_detect; drivers/iommu/dma-iommu.c: iommu_dma_map_page"},
    {.name = "noforce-in-guest",
     .topic = "SWIOTLB",
     .title = "An encrypted guest runs without its bounce pool (swiotlb=noforce).",
     .meaning =
         "Nothing forces mappings to bounce, so dma-direct hands out the address of the private page itself, "
         "with the C-bit that means nothing to a guest's device; a device with a narrow mask gets an error.",
     .remedy = "Remove swiotlb=noforce from the kernel's command line.",
     .linux_says = "overflow (mask",
     .source = "kernel/dma/swiotlb.c: setup_io_tlb_npages; kernel/dma/direct.h: dma_direct_map_page"},
    {.name = "pool-out-of-mask",
     .topic = "SWIOTLB",
     .title = "The bounce buffer itself lies above what the device can address.",
     .meaning =
         "The pool is below 4 GiB at best; a device with a mask of fewer than 32 bits may not reach it.",
     .remedy =
         "Give the device a restricted-dma-pool that it can reach, or let the pool grow (transient pools "
         "respect the mask).",
     .linux_says = "swiotlb addr",
     .source = "kernel/dma/swiotlb.c: swiotlb_map"},
    {.name = "slot-leak",
     .topic = "SWIOTLB",
     .title = "A bounced mapping was never unmapped, and keeps its slots.",
     .meaning = "Slots come back with dma_unmap_*() only. A driver that forgets it on one path fills the "
                "pool for all "
                "devices over hours or days.",
     .remedy = "Unmap on that path; io_tlb_used in debugfs shows the loss.",
     .linux_says = "",
     .source = "kernel/dma/swiotlb.c: swiotlb_release_slots"},
    {.name = "double-bounce",
     .topic = "SWIOTLB",
     .title = "A buffer that already lies in the bounce pool was bounced again.",
     .meaning = "Every byte is copied twice, and the pool holds it twice.",
     .remedy = "Map the original buffer, not memory that comes from another mapping.",
     .linux_says = "",
     .source = "kernel/dma/swiotlb.c: swiotlb_tbl_map_single"},
    {.name = "sync-dropped-negative-offset",
     .topic = "SWIOTLB",
     .title = "Linux 6.1 dropped a partial sync without copying.",
     .meaning = "With min_align_mask set, a sync that starts in the first bytes of a later slot looks as if "
                "it began "
                "before the mapping: the kernel warns once and copies nothing, then and every time.",
     .remedy = "Sync from the start of the mapping, or use Linux 6.10, which allows the offset.",
     .linux_says = "Access before mapping start detected",
     .source = "kernel/dma/swiotlb.c: swiotlb_bounce"},

    // ---- virtio -----------------------------------------------------------------------------------------
    {.name = "flag-not-offered",
     .topic = "virtio",
     .title = "The device does not offer VIRTIO_F_ACCESS_PLATFORM.",
     .meaning = "Without the flag a virtio driver bypasses the DMA API and gives the device guest-physical "
                "addresses "
                "of private pages. Linux refuses such a device in a SEV guest, and its probe fails.",
     .remedy = "QEMU: iommu_platform=on,disable-legacy=on for each virtio device, or "
               "-machine confidential-guest-support=, which makes both the default.",
     .linux_says = "device must provide VIRTIO_F_ACCESS_PLATFORM",
     .source = "drivers/virtio/virtio.c: virtio_features_ok; virtio 1.2, 6.1"},
    {.name = "flag-not-acked",
     .topic = "virtio",
     .title = "The device offers VIRTIO_F_ACCESS_PLATFORM, but the driver does not accept it.",
     .meaning =
         "A device that offers the flag may refuse a driver without it (FEATURES_OK does not stay set), and "
         "an "
         "encrypted guest needs it. virtio-balloon clears it on purpose; old and legacy drivers do not know "
         "it.",
     .remedy = "Use a driver that accepts the flag; do not offer it to guests that cannot.",
     .linux_says = "virtio: device refuses features|device must provide VIRTIO_F_ACCESS_PLATFORM",
     .source = "drivers/virtio/virtio_balloon.c: virtballoon_validate; virtio 1.2, 6.2"},
    {.name = "legacy-virtio",
     .topic = "virtio",
     .title = "The device is a legacy one: it does not offer VIRTIO_F_VERSION_1.",
     .meaning = "Legacy virtio knows no ACCESS_PLATFORM and places its rings by page number, so it cannot "
                "use shared "
                "memory. Linux refuses it in a SEV guest.",
     .remedy = "QEMU: disable-legacy=on, and a machine with PCI Express (q35).",
     .linux_says = "device must provide VIRTIO_F_VERSION_1",
     .source = "drivers/virtio/virtio.c: virtio_features_ok"},
    {.name = "device-refuses-features",
     .topic = "virtio",
     .title = "The device does not accept the driver's choice of features.",
     .meaning =
         "FEATURES_OK does not stay set: the driver accepted a feature that was not offered, or left out one "
         "that the device requires.",
     .remedy = "Compare the accepted features with the offered ones.",
     .linux_says = "virtio: device refuses features",
     .source = "drivers/virtio/virtio.c: virtio_features_ok; virtio 1.2, 3.1.1"},
    {.name = "malformed-descriptor",
     .topic = "virtio",
     .title = "The device found something in a ring that virtio forbids, and stopped.",
     .meaning =
         "The driver wrote a bad ring, or the device does not see what the driver wrote: a ring in private "
         "memory looks random to it.",
     .remedy = "Allocate rings with dma_alloc_coherent() and negotiate VIRTIO_F_ACCESS_PLATFORM.",
     .linux_says = "",
     .source = "virtio 1.2, 2.7 and 2.1.2"},
    {.name = "forged-descriptor",
     .topic = "virtio",
     .title = "The device returned a descriptor that the driver had not given it.",
     .meaning =
         "The used ring is memory that the host can write. An identifier taken from it without a check would "
         "free or reuse a buffer of the attacker's choice; Linux checks, and stops using the queue.",
     .remedy = "Treat the device as hostile or broken; keep the driver's own copy of descriptors.",
     .linux_says = "is not a head!|out of range",
     .source = "drivers/virtio/virtio_ring.c: virtqueue_get_buf_ctx_split; virtio 1.2, 2.7.8"},
};

// A row of the table. A name that is not there does not compile.
[[nodiscard]] consteval const CauseInfo& cause(std::string_view name) {
  const CauseInfo* found = nullptr;
  for (const CauseInfo& info : cause_table)
    if (info.name == name) found = &info;
  return *found;
}

}  // namespace cbit
