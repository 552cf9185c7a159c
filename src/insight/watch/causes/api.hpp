// The catalogue's topic "Use of the DMA API" (watch/cause_table.hpp).
#pragma once

#include "watch/causes.hpp"

namespace cbit::watch {

inline constexpr CauseInfo api_causes[] = {
    {.name = "use-after-unmap",
     .topic = "Use of the DMA API",
     .title = "The device used a DMA address after the driver had unmapped it.",
     .meaning =
         "From dma_unmap_*() on the memory belongs to others: bounce slots are given to the next mapping, "
         "IOVAs lead elsewhere, pages are reused.",
     .remedies = "Stop the device, or take the buffer back from its queue, before unmapping.",
     .linux_says = "",
     .source = "Documentation/core-api/dma-api.rst"},
    {.name = "freed-while-mapped",
     .topic = "Use of the DMA API",
     .title = "The driver freed memory that is still mapped for its device.",
     .meaning =
         "The memory is given to somebody else, and the device may still read and write it. With a bounce "
         "buffer in between, the unmap copies what the device wrote over what is there by then.",
     .remedies = "Unmap first, then free; in error and removal paths, too.",
     .linux_says = "",
     .source = "Documentation/core-api/dma-api-howto.rst"},
    {.name = "access-outside-mapping",
     .topic = "Use of the DMA API",
     .title = "The device went beyond what the driver mapped for it.",
     .meaning =
         "The access starts in or next to a mapping, or in the bounce pool, but no mapping covers all of it. "
         "A wrong length in a descriptor does that, and so does a hostile device.",
     .remedies =
         "Compare the length in the descriptor with the mapped one; behind an IOMMU give each device its own "
         "pages.",
     .linux_says = "",
     .source = "Documentation/core-api/dma-api.rst"},
    {.name = "wrong-direction",
     .topic = "Use of the DMA API",
     .title = "A mapping was used against its direction.",
     .meaning = "The direction decides which way bytes are copied and what the IOMMU permits. What a device "
                "writes to a to-device mapping never reaches the driver's buffer.",
     .remedies = "Map with the direction of the transfer as the device sees it, DMA_BIDIRECTIONAL for both, "
                 "and unmap and sync with the same one.",
     .linux_says = "DMA memory with different direction|device read-only DMA memory for cpu|"
                   "device write-only DMA memory to device",
     .source = "kernel/dma/debug.c: check_unmap, check_sync; kernel/dma/swiotlb.c"},
    {.name = "missing-sync",
     .topic = "Use of the DMA API",
     .title = "The device wrote to a bounced mapping, and nobody copied the bytes back.",
     .meaning = "The device writes to a slot of the pool. Only dma_sync_*_for_cpu() or dma_unmap_*() without "
                "DMA_ATTR_SKIP_CPU_SYNC bring the bytes to the driver's buffer. Without bouncing the same "
                "code works.",
     .remedies =
         "Call dma_sync_single_for_cpu() before reading a live mapping; do not skip the sync of the unmap.",
     .linux_says = "",
     .source = "kernel/dma/swiotlb.c: swiotlb_sync_single_for_cpu, swiotlb_tbl_unmap_single"},
    {.name = "mapping-leak",
     .topic = "Use of the DMA API",
     .title = "The driver let the device go with mappings still active.",
     .meaning =
         "Each dma_map_*() needs its dma_unmap_*(). A leaked mapping keeps an IOVA, and lets the device "
         "reach memory that is used for something else by now.",
     .remedies = "Unmap in the error and removal paths too; the evidence names the mapping.",
     .linux_says = "device driver has pending DMA allocations while released from device",
     .source = "kernel/dma/debug.c: dma_debug_device_change"},
    {.name = "double-unmap",
     .topic = "Use of the DMA API",
     .title = "The driver unmapped memory that was not mapped, or not any more.",
     .meaning = "The second unmap of a bounced mapping frees slots that may belong to somebody else by now.",
     .remedies = "Unmap once; reset the stored address afterwards.",
     .linux_says = "device driver tries to free DMA memory it has not allocated",
     .source = "kernel/dma/debug.c: check_unmap"},
    {.name = "unmap-of-mapping-error",
     .topic = "Use of the DMA API",
     .title = "The driver unmapped DMA_MAPPING_ERROR.",
     .meaning = "The mapping had failed, and the driver went on as if it had an address.",
     .remedies = "Check each mapping with dma_mapping_error() and give up on failure.",
     .linux_says = "device driver tries to free an invalid DMA memory address",
     .source = "kernel/dma/debug.c: check_unmap"},
    {.name = "wrong-unmap-size",
     .topic = "Use of the DMA API",
     .title = "The driver unmapped with another size than it had mapped with.",
     .meaning = "SWIOTLB copies back the size of the unmap but frees the whole allocation; the IOMMU leaves "
                "the rest mapped.",
     .remedies = "Keep the size beside the DMA address; DEFINE_DMA_UNMAP_LEN() does so.",
     .linux_says = "device driver frees DMA memory with different size",
     .source = "kernel/dma/debug.c: check_unmap"},
    {.name = "wrong-unmap-function",
     .topic = "Use of the DMA API",
     .title = "The driver unmapped with the function of another kind of mapping.",
     .meaning =
         "dma_map_single() pairs with dma_unmap_single(), dma_map_sg() with dma_unmap_sg(), and so on; "
         "each pair keeps its own books.",
     .remedies = "Use the function that belongs to the one that mapped.",
     .linux_says = "device driver frees DMA memory with wrong function",
     .source = "kernel/dma/debug.c: check_unmap"},
    {.name = "wrong-unmap-attributes",
     .topic = "Use of the DMA API",
     .title = "The driver unmapped with other attributes than it had mapped with.",
     .meaning =
         "DMA_ATTR_MMIO, CC_SHARED, REQUIRE_COHERENT, PRIVILEGED, NO_KERNEL_MAPPING and FORCE_CONTIGUOUS "
         "decide what there is to undo. An unmap without DMA_ATTR_MMIO looks for a bounce that was "
         "never made; one with it leaves the bounce of a buffer in the pool.",
     .remedies = "Keep the attributes beside the DMA address, and pass the same ones to dma_unmap_*().",
     .linux_says = "device driver frees DMA memory with different attributes",
     .source = "kernel/dma/debug.c: check_unmap (since 7.1)"},
    {.name = "wrong-cpu-address",
     .topic = "Use of the DMA API",
     .title = "Coherent memory was freed with a CPU address that does not belong to its DMA address.",
     .meaning = "The kernel encrypts and frees the pages behind the CPU address, which are not those that "
                "the device was using.",
     .remedies = "Pass dma_free_coherent() both addresses as dma_alloc_coherent() gave them.",
     .linux_says = "device driver frees DMA memory with different CPU address",
     .source = "kernel/dma/debug.c: check_unmap"},
    {.name = "wrong-sg-count",
     .topic = "Use of the DMA API",
     .title = "A scatterlist was unmapped or synced with another number of entries than it was mapped with.",
     .meaning =
         "dma_map_sg() may return fewer segments than it was given. Unmap and sync take the original count.",
     .remedies = "Pass the nents that was passed to dma_map_sg(), not its result.",
     .linux_says = "DMA sg list with different entry count",
     .source = "kernel/dma/debug.c: check_unmap, check_sync"},
    {.name = "unchecked-mapping-error",
     .topic = "Use of the DMA API",
     .title = "The driver used a mapping without asking whether it had succeeded.",
     .meaning =
         "A full bounce pool makes mappings fail that never failed without encryption. The driver then gives "
         "the device the address ~0.",
     .remedies = "Call dma_mapping_error() after each dma_map_single() and dma_map_page().",
     .linux_says = "device driver failed to check map error",
     .source = "kernel/dma/debug.c: check_unmap"},
    {.name = "unmappable-memory",
     .topic = "Use of the DMA API",
     .title = "The driver mapped memory that the DMA API cannot map.",
     .meaning = "dma_map_single() takes addresses of the direct map. Stack, vmalloc, user and MMIO addresses "
                "have no physical address that it could compute.",
     .remedies = "Use kmalloc() memory, dma_map_page() with the right page, or dma_map_resource() for MMIO.",
     .linux_says = "device driver maps memory from|rejecting DMA map of vmalloc memory",
     .source = "kernel/dma/debug.c: check_for_stack, check_for_illegal_area; include/linux/dma-mapping.h: "
               "dma_map_single_attrs"},
    {.name = "overlapping-mappings",
     .topic = "Use of the DMA API",
     .title = "Cache lines of one buffer were mapped twice at the same time.",
     .meaning = "With bouncing each mapping has its own copy; the one that is copied back last wins.",
     .remedies = "Align buffers to dma_get_cache_alignment() and map each once.",
     .linux_says = "cacheline tracking EEXIST, overlapping mappings aren't supported",
     .source = "kernel/dma/debug.c: active_cacheline_insert"},
    {.name = "sync-of-unmapped",
     .topic = "Use of the DMA API",
     .title = "The driver synced memory that was not mapped.",
     .meaning = "There is nothing to copy from or to: the call does nothing, or copies somebody else's slot.",
     .remedies = "Sync between map and unmap, with the address that the mapping returned.",
     .linux_says = "device driver tries to sync DMA memory it has not allocated",
     .source = "kernel/dma/debug.c: check_sync"},
    {.name = "sync-outside-mapping",
     .topic = "Use of the DMA API",
     .title = "The driver synced beyond the end of a mapping.",
     .meaning =
         "SWIOTLB warns and copies no more than the allocation has; where the start lies outside, nothing.",
     .remedies = "Keep offset + size within the mapped size.",
     .linux_says = "DMA memory outside allocated range|Buffer overflow detected. Allocation size",
     .source = "kernel/dma/debug.c: check_sync; kernel/dma/swiotlb.c: swiotlb_bounce"},
    {.name = "sg-segment-too-long",
     .topic = "Use of the DMA API",
     .title = "A scatterlist entry is longer than the device says that it can handle.",
     .meaning = "The limit is 64 KiB unless the driver sets another.",
     .remedies = "Split the entry, or call dma_set_max_seg_size() if the device can do more.",
     .linux_says = "mapping sg segment longer than device claims to support",
     .source = "kernel/dma/debug.c: check_sg_segment"},
    {.name = "sg-segment-crosses-boundary",
     .topic = "Use of the DMA API",
     .title = "A scatterlist entry crosses an address boundary that the device cannot cross.",
     .meaning = "The device's segment boundary mask is narrower than the buffer's position allows.",
     .remedies = "Split the entry at the boundary, or correct dma_set_seg_boundary().",
     .linux_says = "mapping sg segment across boundary",
     .source = "kernel/dma/debug.c: check_sg_segment"},
    {.name = "invalid-direction",
     .topic = "Use of the DMA API",
     .title = "The driver passed a direction that is none.",
     .meaning = "DMA_NONE and undefined values stop the kernel at a BUG_ON.",
     .remedies = "Use DMA_TO_DEVICE, DMA_FROM_DEVICE or DMA_BIDIRECTIONAL.",
     .linux_says = "kernel BUG at kernel/dma/|kernel BUG at include/linux/dma-mapping.h",
     .source = "kernel/dma/mapping.c: dma_map_page_attrs"},
    {.name = "invalid-mapping-size",
     .topic = "Use of the DMA API",
     .title = "The driver mapped or allocated a size that cannot be.",
     .meaning = "The size is 0, or reaches beyond the address space.",
     .remedies = "Check the length before mapping.",
     .linux_says = "",
     .source = "kernel/dma/mapping.c; kernel/dma/swiotlb.c"},
    {.name = "attribute-conflict",
     .topic = "Use of the DMA API",
     .title = "An attribute of the request forbids what the platform has to do.",
     .meaning = "The platform must decrypt, remap or bounce, and the attribute rules that out.",
     .remedies = "Drop the attribute, or use memory that is shared already.",
     .linux_says = "",
     .source = "kernel/dma/direct.c: dma_direct_alloc; include/linux/dma-mapping.h"},
    {.name = "not-bus-master",
     .topic = "Use of the DMA API",
     .title = "The device is no bus master: its driver has not let it reach memory.",
     .meaning = "Without the bus master bit in its command register a PCI function does no DMA and sends no "
                "MSI. It is clear after a reset of the function.",
     .remedies = "Call pci_set_master() in probe, before the device is given an address, and again after a "
                 "reset.",
     .linux_says = "",
     .source = "drivers/pci/pci.c: pci_set_master; PCI Local Bus 3.0, 6.2.2"},
};

}  // namespace cbit::watch
