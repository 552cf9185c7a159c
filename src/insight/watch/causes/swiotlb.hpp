// The catalogue's topic "SWIOTLB" (watch/cause_table.hpp).
#pragma once

#include "watch/causes.hpp"

namespace cbit::watch {

inline constexpr CauseInfo swiotlb_causes[] = {
    {.name = "request-over-segment-limit",
     .topic = "SWIOTLB",
     .title = "One request is longer than the longest run of slots that the pool can ever give.",
     .meaning =
         "No allocation leaves a set of 128 slots of 2 KiB: 256 KiB, less what alignment costs. The kernel "
         "says that the pool is full even when it is empty, and a larger pool changes nothing.",
     .remedies = {for_driver("Limit segments to dma_max_mapping_size(), as virtio-blk and NVMe do: no "
                             "mapping can be longer, whatever the pool's size."),
                  for_operator("A larger pool does not help. Use a driver that asks dma_max_mapping_size(); "
                               "for a disk, lower /sys/block/DISK/queue/max_sectors_kb."),
                  for_operator(
                      "A larger pool does not help. In an encrypted guest an NVIDIA GPU works in its "
                      "confidential computing mode alone: a GPU that has one (H100 or newer), "
                      "switched to it by the host, and a driver release that supports it.")
                      .of_driver("nvidia")},
     .linux_says = "swiotlb buffer is full",
     .source = "kernel/dma/swiotlb.c: swiotlb_do_find_slots; include/linux/swiotlb.h: IO_TLB_SEGSIZE"},
    {.name = "pool-exhausted",
     .topic = "SWIOTLB",
     .title = "The bounce pool has fewer free slots than the request needs.",
     .meaning =
         "An encrypted guest gets 6 % of its memory, at least 64 MiB and at most 1 GiB, for all devices "
         "together.",
     .remedies = {for_operator("Boot with a larger pool (swiotlb=<slots>, of 2 KiB each: 524288 are 1 GiB), "
                               "limit queue depths, or find who holds the slots (cbit doctor --watch)."),
                  for_operator("Let it grow: CONFIG_SWIOTLB_DYNAMIC.").since(6, 6),
                  for_driver("Keep fewer mappings alive at once, and try again later when one fails.")},
     .linux_says = "swiotlb buffer is full",
     .source = "kernel/dma/swiotlb.c: swiotlb_tbl_map_single; arch/x86/mm/mem_encrypt_amd.c: sev_setup_arch"},
    {.name = "sleep-in-atomic-on-flip",
     .topic = "SWIOTLB",
     .title = "A page's attribute was changed where the kernel must not sleep.",
     .meaning =
         "set_memory_encrypted() and set_memory_decrypted() take mutexes. The pool of a single mapping is "
         "freed by an RCU callback; when its memory is not an atomic pool's, or the atomic pools do not "
         "recognize it, it is encrypted there. Without CONFIG_DEBUG_ATOMIC_SLEEP the kernel only says so "
         "when it comes to waiting: \"scheduling while atomic\", often as a panic.",
     .remedies =
         {for_kernel(
              "Free such pools from a work queue, or give transient pools memory that is decrypted already."),
          for_operator("Size the pool so that it need not grow (swiotlb=<slots>).")},
     .linux_says = "BUG: sleeping function called from invalid context",
     .source = "kernel/dma/swiotlb.c: swiotlb_dyn_free, swiotlb_free_tlb; mm/vmalloc.c: vm_unmap_aliases"},
    {.name = "alias-free-mismatch",
     .topic = "SWIOTLB",
     .title = "Memory of an atomic pool was freed by another address than the pool knows.",
     .meaning =
         "With CONFIG_DMA_DIRECT_REMAP the atomic pools know their pages by a vmap address. Who frees by the "
         "address of the struct page in the direct map is told that the memory is not the pool's; it is "
         "encrypted and given to the page allocator, while the pool counts it as in use and its mapping "
         "still is a shared one.",
     .remedies = {for_kernel(
                      "Free with the address that the pool returned (dma_alloc_from_pool's third argument)."),
                  for_operator("Use a kernel built without CONFIG_DMA_DIRECT_REMAP.")},
     .linux_says = "",
     .source = "kernel/dma/pool.c: atomic_pool_expand, dma_free_from_pool; kernel/dma/swiotlb.c: "
               "swiotlb_free_tlb; kernel/dma/direct.c: dma_direct_free_pages (until 7.3)"},
    {.name = "pool-address-as-struct-page",
     .topic = "SWIOTLB",
     .title = "dma_alloc_pages() returned the address of the memory in place of its struct page.",
     .meaning =
         "An allocation that must not sleep and has to be shared comes from an atomic pool. Linux before the "
         "fix returns the pool's CPU address as a struct page pointer. The DMA address is right, but "
         "page_address() of the pointer is no address at all: the driver's first use of it is a fault, and "
         "dma_free_pages() does not find the memory, which is lost to the pool.",
     .remedies = {for_driver(
                      "Allocate where the kernel may sleep (GFP_KERNEL), or with dma_alloc_coherent(), whose "
                      "atomic path returns the right address.")
                      .before(7, 3),
                  for_operator(
                      "Use a kernel with \"dma-direct: return struct page from dma_direct_alloc_from_pool\": "
                      "6.1.192, 6.12.111, 6.18.52, 7.2.6, 7.3, and later ones of each series.")},
     .linux_says = "",
     .source = "kernel/dma/direct.c: dma_direct_alloc_pages, dma_direct_alloc_from_pool"},
    {.name = "no-aligned-run",
     .topic = "SWIOTLB",
     .title = "Enough slots are free, but no run of them is long enough where the alignment allows one.",
     .meaning =
         "The pool is fragmented: free slots are spread over the sets of 128 and over the areas of the CPUs, "
         "and min_align_mask, the allocation's alignment and the segment boundary rule out more.",
     .remedies = {for_operator("Boot with fewer areas (swiotlb=<slots>,<areas>) or a larger pool."),
                  for_driver("Use smaller requests; do not ask for more alignment than the device needs.")},
     .linux_says = "swiotlb buffer is full",
     .source = "kernel/dma/swiotlb.c: swiotlb_do_find_slots"},
    {.name = "slot-search-never-ends",
     .topic = "SWIOTLB",
     .title = "Linux 6.1 searches for slots for ever.",
     .meaning =
         "With this alignment the search's stride steps over the position at which it would stop, so the CPU "
         "spins with the area's lock held. Linux 6.6 counts the slots that it has looked at.",
     .remedies = {for_driver("Ask for a weaker alignment (min_align_mask)."),
                  for_operator("Use Linux 6.6 or later.").before(6, 6)},
     .linux_says = "",
     .source = "kernel/dma/swiotlb.c: swiotlb_do_find_slots"},
    {.name = "growth-off",
     .topic = "SWIOTLB",
     .title = "The pool could grow in this kernel, but may not.",
     .meaning = "Since Linux 6.6 a pool can grow and serve single requests from transient pools, where "
                "CONFIG_SWIOTLB_DYNAMIC is set.",
     .remedies = {for_operator(
         "Set CONFIG_SWIOTLB_DYNAMIC=y, or size the pool for the peak (swiotlb=<slots>).")},
     .linux_says = "",
     .source = "kernel/dma/swiotlb.c: swiotlb_dyn_alloc, swiotlb_find_slots (6.6)"},
    {.name = "pool-not-allocated-low-memory",
     .topic = "SWIOTLB",
     .title = "The bounce pool that the kernel wanted did not fit below 4 GiB.",
     .meaning =
         "The pool is one contiguous piece of low memory. When that fails its size is halved, down to 512 "
         "slots, and then the guest runs on without a pool.",
     .remedies = {for_operator(
         "Ask for a smaller pool (swiotlb=), or give the guest more memory below 4 GiB.")},
     .linux_says = "Can not allocate SWIOTLB buffer earlier|bytes tlb structure|"
                   "software IO TLB: Cannot allocate buffer",
     .source = "kernel/dma/swiotlb.c: swiotlb_init_remap, swiotlb_memblock_alloc"},
    {.name = "no-bounce-pool",
     .topic = "SWIOTLB",
     .title = "The mapping has to be bounced, and there is no bounce pool.",
     .meaning = "The pool was switched off (swiotlb=noforce), or never made: without memory encryption Linux "
                "makes it only where memory above 4 GiB is possible. Untrusted devices need it behind an "
                "IOMMU too.",
     .remedies = {for_operator("Remove swiotlb=noforce, or ask for a pool with swiotlb=force.")},
     .linux_says = "DMA bounce buffers are inactive",
     .source =
         "arch/x86/kernel/pci-dma.c: pci_swiotlb_detect; drivers/iommu/dma-iommu.c: iommu_dma_map_page"},
    {.name = "noforce-in-guest",
     .topic = "SWIOTLB",
     .title = "An encrypted guest runs without its bounce pool (swiotlb=noforce).",
     .meaning =
         "Up to Linux 7.2 nothing forces mappings to bounce then, so dma-direct hands out the address of the "
         "private page itself, with the C-bit that means nothing to a guest's device; a device with a narrow "
         "mask gets an error. From 7.3 on every mapping fails.",
     .remedies = {for_operator("Remove swiotlb=noforce from the kernel's command line.")},
     .linux_says = "overflow (mask",
     .source = "kernel/dma/swiotlb.c: setup_io_tlb_npages; kernel/dma/direct.h: dma_direct_map_page"},
    {.name = "pool-asked-for-too-late",
     .topic = "SWIOTLB",
     .title = "A POWER secure guest asks for its bounce pool when it can no longer get one.",
     .meaning =
         "Since Linux 5.19 the pool is made in mem_init(), and the initcall that asks for it runs later: "
         "nothing bounces, and devices are given the addresses of secure pages.",
     .remedies = {for_operator("Boot with swiotlb=force.")},
     .linux_says = "software IO TLB: No low mem",
     .source = "arch/powerpc/platforms/pseries/svm.c: init_svm; arch/powerpc/mm/mem.c: mem_init"},
    {.name = "bounce-pool-not-private",
     .topic = "SWIOTLB",
     .title = "The guest trusts the device with private memory, and the only bounce pool is shared.",
     .meaning =
         "From Linux 7.3 on the pool has to be of the memory that the device reaches. What is posted for "
         "trusted devices gives them no private pool: a mapping that has to bounce fails without a message.",
     .remedies = {for_driver(
         "Map memory that the device reaches: set the widest mask that it has, allocate below it.")},
     .linux_says = "",
     .source = "kernel/dma/swiotlb.c: swiotlb_tbl_map_single"},
    {.name = "pool-out-of-mask",
     .topic = "SWIOTLB",
     .title = "The bounce buffer itself lies above what the device can address.",
     .meaning =
         "The pool is below 4 GiB at best; a device with a mask of fewer than 32 bits may not reach it.",
     .remedies = {for_operator("Give the device a restricted-dma-pool that it can reach."),
                  for_operator(
                      "Let the pool grow (CONFIG_SWIOTLB_DYNAMIC): transient pools respect the mask.")
                      .since(6, 6)},
     .linux_says = "swiotlb addr",
     .source = "kernel/dma/swiotlb.c: swiotlb_map"},
    {.name = "slot-leak",
     .topic = "SWIOTLB",
     .title = "A bounced mapping was never unmapped, and keeps its slots.",
     .meaning = "Slots come back with dma_unmap_*() only. A driver that forgets it on one path fills the "
                "pool for all devices over hours or days.",
     .remedies = {for_driver("Unmap on that path; io_tlb_used in debugfs shows the loss."),
                  for_operator("Update or unload the driver that asks for the slots: what it has lost comes "
                               "back with a reboot alone, and a larger pool only lasts longer. cbit doctor "
                               "--watch shows the loss.")},
     .linux_says = "",
     .source = "kernel/dma/swiotlb.c: swiotlb_release_slots"},
    {.name = "double-bounce",
     .topic = "SWIOTLB",
     .title = "A buffer that already lies in the bounce pool was bounced again.",
     .meaning = "Every byte is copied twice, and the pool holds it twice.",
     .remedies = "Map the original buffer, not memory that comes from another mapping.",
     .linux_says = "",
     .source = "kernel/dma/swiotlb.c: swiotlb_tbl_map_single"},
    {.name = "sync-dropped-negative-offset",
     .topic = "SWIOTLB",
     .title = "Linux 6.1 dropped a partial sync without copying.",
     .meaning = "With min_align_mask set, a sync that starts in the first bytes of a later slot looks as if "
                "it began before the mapping: the kernel warns once and copies nothing, then and every time.",
     .remedies = {for_driver("Sync from the start of the mapping."),
                  for_operator("Use Linux 6.10 or later, which allows the offset.").before(6, 10)},
     .linux_says = "Access before mapping start detected",
     .source = "kernel/dma/swiotlb.c: swiotlb_bounce"},
};

}  // namespace cbit::watch
