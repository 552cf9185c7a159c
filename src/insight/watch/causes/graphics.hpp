// The catalogue's topic "Mappings and graphics buffers" (watch/cause_table.hpp).
#pragma once

#include "watch/causes.hpp"

namespace cbit::watch {

inline constexpr Remedy ttm_of_guests =
    for_operator(
        "Graphics drivers of an encrypted guest: use Linux 6.8 or later, whose TTM maps decrypted "
        "pages as such.")
        .before(6, 8);
inline constexpr Remedy ttm_of_sme_hosts = for_operator(
    "A GPU of an SME host that does not reach the C-bit: no TTM up to Linux 7.3 maps its pages "
    "right. Let the IOMMU translate for it, or encrypt memory with TSME (firmware) in place of "
    "SME (mem_encrypt=on).");

inline constexpr CauseInfo graphics_causes[] = {
    {.name = "conflicting-encryption-alias",
     .topic = "Mappings and graphics buffers",
     .title = "Two mappings of one page disagree about the encryption bit.",
     .meaning =
         "The kernel's direct map and every vmap, user mapping or fault handler's page-table entry must "
         "carry the same encryption bit, the one that the DMA layer chose for the page. Through the odd one "
         "a CPU reads ciphertext or noise, writes what nobody else can read, and leaves cache lines of the "
         "other view behind. Nothing need have been accessed yet.",
     .remedies = {for_driver("Take the attribute from the DMA layer (dma_mmap_attrs(), dma_pgprot()), or "
                             "apply pgprot_decrypted() exactly where the direct map is decrypted; take "
                             "mappings down before the page is converted."),
                  ttm_of_guests, ttm_of_sme_hosts},
     .linux_says = "",
     .source = "drivers/gpu/drm/ttm/ttm_bo_util.c: ttm_io_prot; kernel/dma/direct.c: dma_direct_mmap; "
               "APM vol. 2, 7.10.6 and 15.34.5"},
    {.name = "tt-pages-bounced",
     .topic = "Mappings and graphics buffers",
     .title = "The pages of a graphics buffer are mapped for streaming and bounced, and nobody syncs them.",
     .meaning =
         "A GPU and the CPU share a buffer for as long as it lives. Pages from alloc_pages() that are mapped "
         "once, bidirectionally, work while the device reaches them; bounced, each side sees its own copy, "
         "and the copies fill the pool. TTM never calls dma_sync_*.",
     .remedies = "Let TTM take its pages from the DMA API: ttm_device_init() with use_dma_alloc where "
                 "drm_need_swiotlb() says so.",
     .linux_says = "",
     .source = "drivers/gpu/drm/ttm/ttm_pool.c: ttm_pool_map; drivers/gpu/drm/drm_cache.c: drm_need_swiotlb"},
};

}  // namespace cbit::watch
