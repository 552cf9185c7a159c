// The catalogue's topic "Masks" (watch/cause_table.hpp).
#pragma once

#include "watch/causes.hpp"

namespace cbit::watch {

inline constexpr CauseInfo mask_causes[] = {
    {.name = "mask-unset",
     .topic = "Masks",
     .title = "The device has no DMA mask.",
     .meaning = "dev->dma_mask is not set: the bus code did not give the device one. Every mapping fails.",
     .remedies = "Call dma_set_mask_and_coherent() in probe, on the device that performs the DMA.",
     .linux_says = "",
     .source = "kernel/dma/mapping.c: dma_map_page_attrs"},
    {.name = "dma-mask-below-c-bit",
     .topic = "Masks",
     .title = "The device's mask does not reach the encryption bit, and there is no pool to bounce through.",
     .meaning =
         "With SME a DMA address carries the C-bit. A device with a narrower mask can use no encrypted page "
         "directly, wherever the page lies.",
     .remedies = {for_operator("Let the pool be created (drop swiotlb=noforce), use the IOMMU (its entries "
                               "carry the bit), or switch SME off with mem_encrypt=off.")},
     .linux_says = "overflow (mask",
     .source = "include/linux/dma-direct.h: phys_to_dma, dma_capable"},
    {.name = "buffer-beyond-mask",
     .topic = "Masks",
     .title = "The buffer lies above what the device can address, and there is no pool to bounce through.",
     .meaning =
         "The mask or the bus limit is below the buffer's address. Usually SWIOTLB hides this; here it does "
         "not exist.",
     .remedies = {for_driver("Allocate with GFP_DMA32, or raise the mask if the device can do more."),
                  for_operator("Let the pool be created: drop swiotlb=noforce, or boot with swiotlb=force.")},
     .linux_says = "overflow (mask",
     .source = "kernel/dma/direct.h: dma_direct_map_page"},
    {.name = "coherent-mask-too-small",
     .topic = "Masks",
     .title = "There is no free memory below the device's coherent mask.",
     .meaning =
         "Coherent memory is never bounced: the pages themselves must lie within the mask. The C-bit counts "
         "only where the memory stays encrypted.",
     .remedies = "Raise dma_set_coherent_mask(), or reserve low memory.",
     .linux_says = "",
     .source = "kernel/dma/direct.c: dma_coherent_ok, __dma_direct_alloc_pages"},
    {.name = "resource-beyond-mask",
     .topic = "Masks",
     .title = "The MMIO range of a peer lies above what the device can address.",
     .meaning = "MMIO cannot be bounced.",
     .remedies = {for_driver("Raise the mask if the device can do more."),
                  for_operator("Place the BAR lower (firmware: no decoding above 4 GiB), or use the IOMMU.")},
     .linux_says = "overflow (mask",
     .source = "kernel/dma/direct.c: dma_direct_map_resource"},
    {.name = "p2pdma-needs-bounce",
     .topic = "Masks",
     .title = "Peer-to-peer memory would have to be bounced, which cannot be.",
     .meaning = "Where every mapping is bounced (encrypted guests, swiotlb=force) or the address does not "
                "fit the mask, a page of another device's BAR cannot be mapped; from Linux 6.18 on "
                "dma_map_resource() fails there too.",
     .remedies =
         {for_driver("Transfer through system memory where the mapping of the peer's memory fails."),
          for_driver("A BAR that the guest reaches as shared memory: DMA_ATTR_CC_SHARED beside DMA_ATTR_MMIO "
                     "maps it in place.")
              .since(7, 1),
          for_operator(
              "Switch peer-to-peer transfers of this device off, so that they go through system memory.")},
     .linux_says = "",
     .source = "kernel/dma/direct.h: dma_direct_map_page, dma_direct_map_phys"},
    {.name = "dma-address-beyond-device",
     .topic = "Masks",
     .title = "The DMA address has more bits than the device has address lines.",
     .meaning = "The driver declared a wider mask than the hardware has. The C-bit is the first to be lost, "
                "since it is the highest bit of all.",
     .remedies = "Set the mask that the hardware has; the DMA API then bounces or maps lower.",
     .linux_says = "",
     .source = "Documentation/core-api/dma-api-howto.rst: DMA addressing capabilities"},
    {.name = "no-memory-at-address",
     .topic = "Masks",
     .title = "The device addressed something that is neither memory nor MMIO.",
     .meaning = "The address was never made by the DMA API, or was damaged on its way.",
     .remedies = "Look for an unchecked DMA_MAPPING_ERROR, a truncated or byte-swapped address.",
     .linux_says = "",
     .source = "Documentation/core-api/dma-api-howto.rst"},
    {.name = "allocation-failed",
     .topic = "Masks",
     .title = "The page allocator had no memory for a coherent allocation.",
     .meaning = "Coherent memory is contiguous; there is no run of pages of that size.",
     .remedies = "Allocate less, earlier, or in pieces.",
     .linux_says = "",
     .source = "kernel/dma/direct.c: __dma_direct_alloc_pages"},
    {.name = "atomic-pool-empty",
     .topic = "Masks",
     .title = "The atomic pool has nothing left for an allocation that may not sleep.",
     .meaning = "Changing a page's encryption can sleep, so GFP_ATOMIC allocations come from pools that were "
                "decrypted in advance, 128 KiB per GiB of memory.",
     .remedies = {for_driver("Allocate with GFP_KERNEL."),
                  for_operator("Enlarge the pools with coherent_pool=.")},
     .linux_says = "DMA pool exhausted for|Failed to get suitable pool for",
     .source = "kernel/dma/pool.c: dma_alloc_from_pool"},
    {.name = "conversion-failed-page-leaked",
     .topic = "Masks",
     .title = "The hypervisor refused to change a page's state, and the kernel leaked the page on purpose.",
     .meaning =
         "A page of unknown state must not return to the allocator: it might be used for secrets while it is "
         "shared.",
     .remedies = {for_operator("Look for the hypervisor's reason in the host's log; the guest's memory "
                               "shrinks with each occurrence."),
                  for_vmm(
                      "Answer the guest's request to change a page's state; tell why where it has to fail.")},
     .linux_says = "leaking DMA memory that can't be re-encrypted",
     .source = "kernel/dma/direct.c: dma_set_decrypted, dma_set_encrypted"},
};

}  // namespace cbit::watch
