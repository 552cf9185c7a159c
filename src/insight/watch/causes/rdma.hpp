// The catalogue's topic "RDMA" (watch/cause_table.hpp).
#pragma once

#include "watch/causes.hpp"

namespace cbit::watch {

inline constexpr CauseInfo rdma_causes[] = {
    {.name = "mr-on-private-memory",
     .topic = "RDMA",
     .title = "A memory region lies in memory that the NIC cannot reach, so it was bounced for as long as it "
              "lives.",
     .meaning = "ib_umem_get() maps the application's pages once, and nothing syncs them until "
                "ibv_dereg_mr(). Both sides work on a copy of their own: what the application writes never "
                "reaches the NIC, what the NIC writes never reaches the application, and deregistration "
                "overwrites the application's buffer with the NIC's copy.",
     .remedies = {for_application("Encrypted guest: register memory of the dma-buf heap system_cc_shared "
                                  "(CONFIG_DMABUF_HEAPS_SYSTEM_CC_SHARED), or copy through a registered ring "
                                  "of such memory.")
                      .since(7, 1),
                  for_operator("Encrypted guest: use software RDMA (rxe, siw), or TCP. SME host: a NIC that "
                               "reaches the C-bit, or an IOMMU that translates.")},
     .linux_says = "",
     .source = "drivers/infiniband/core/umem.c: ib_umem_get, ib_umem_release"},
    {.name = "mr-refused-cc-dma-bounce",
     .topic = "RDMA",
     .title = "The kernel refused the memory region, because it would have to be bounced.",
     .meaning = "Newer kernels know that streaming DMA of user memory cannot work in an encrypted guest: "
                "ibv_reg_mr() returns EOPNOTSUPP, and ibv_query_device_ex() reports IBV_DEVICE_CC_DMA_BOUNCE "
                "(bit 41).",
     .remedies = {for_application(
                      "Allocate with ibv_alloc_buf() from a parent domain that allows CC-unprotected "
                      "memory, or register a dma-buf of the heap system_cc_shared; both need a kernel with "
                      "CONFIG_DMABUF_HEAPS_SYSTEM_CC_SHARED."),
                  for_operator("Use software RDMA (rxe, siw), or TCP, for programs that cannot.")},
     .linux_says = "",
     .source = "drivers/infiniband/core/umem.c: __ib_umem_get_va; drivers/infiniband/core/device.c: "
               "ib_register_device"},
    {.name = "mr-segment-over-swiotlb-limit",
     .topic = "RDMA",
     .title = "One entry of the memory region's scatterlist is longer than the bounce pool can ever serve.",
     .meaning = "Contiguous pages are merged up to the NIC's longest segment, often 2 GiB, and each entry "
                "has to bounce in one piece of at most 256 KiB. Whether a region can be registered so "
                "depends on how its pages happen to lie.",
     .remedies =
         {for_application(
              "Do not let regions bounce at all (see mr-on-private-memory); smaller ones only fail later."),
          for_operator("A larger pool changes nothing; see mr-on-private-memory.")},
     .linux_says = "swiotlb buffer is full",
     .source = "drivers/infiniband/core/umem.c: ib_umem_get; kernel/dma/swiotlb.c: swiotlb_do_find_slots"},
    {.name = "forged-rkey",
     .topic = "RDMA",
     .title = "A peer named a remote key that is not one of this protection domain's regions.",
     .meaning = "The key was guessed, is of another protection domain, or its region is gone. The NIC "
                "answers with a remote access error, the queue pair ends, and nothing is read or written.",
     .remedies = {for_application(
         "Exchange keys anew after each registration; deregister what a peer need not reach any more.")},
     .linux_says = "",
     .source = "InfiniBand Architecture 1, 9.7.4.1.5 and 10.6.3"},
    {.name = "mr-out-of-bounds",
     .topic = "RDMA",
     .title = "An RDMA access leaves its memory region.",
     .meaning = "The whole range of a message is checked before its first byte moves.",
     .remedies = {for_application("Check the length that the peer uses, and the address that it was told.")},
     .linux_says = "",
     .source = "InfiniBand Architecture 1, 10.6.3.1"},
    {.name = "rdma-access-denied",
     .topic = "RDMA",
     .title = "The memory region does not allow this kind of access.",
     .meaning = "A region allows exactly what its IBV_ACCESS_* flags say; local reads are always allowed.",
     .remedies = {for_application("Register with the right that is missing, or keep the peer from asking.")},
     .linux_says = "",
     .source = "InfiniBand Architecture 1, 10.6.3.1"},
    {.name = "invalid-lkey",
     .topic = "RDMA",
     .title = "A work request names a local key that is not one of its protection domain's regions.",
     .meaning = "The request ends with a local protection error, and the queue pair with it.",
     .remedies = {for_application(
         "Keep regions registered while work requests use them, and in the queue pair's domain.")},
     .linux_says = "",
     .source = "InfiniBand Architecture 1, 10.6.3.1"},
    {.name = "malformed-rdma-packet",
     .topic = "RDMA",
     .title = "A peer sent what is no packet, or none that may come now.",
     .meaning = "The NIC drops what it cannot parse, and answers what breaks the protocol with an invalid "
                "request error.",
     .remedies = {for_application("Look for another protocol on the port, or a peer with a bug.")},
     .linux_says = "",
     .source = "InfiniBand Architecture 1, 9.7.4.1"},
    {.name = "cq-overrun",
     .topic = "RDMA",
     .title = "A completion queue was full when a completion came.",
     .meaning = "The completion is lost, the queue ends in an error, and so do its queue pairs.",
     .remedies = {for_application(
         "Create it with room for all work requests that can be outstanding, and poll.")},
     .linux_says = "",
     .source = "InfiniBand Architecture 1, 10.10.2.3; IBV_EVENT_CQ_ERR"},
};

}  // namespace cbit::watch
