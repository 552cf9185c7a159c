// The catalogue's topic "IOMMU" (watch/cause_table.hpp).
#pragma once

#include "watch/causes.hpp"

namespace cbit::watch {

inline constexpr CauseInfo iommu_causes[] = {
    {.name = "iopte-without-c-bit",
     .topic = "IOMMU",
     .title = "The IOMMU's page-table entry lacks the encryption bit.",
     .meaning =
         "Behind a translating IOMMU the leaf entry selects the key. Without the C-bit the device reads the "
         "ciphertext of encrypted memory, whatever its address.",
     .remedies = {for_driver("Map through the DMA API: amd_iommu sets the bit in every leaf."),
                  for_kernel("Code that fills IOMMU tables itself must add sme_me_mask.")},
     .linux_says = "",
     .source = "drivers/iommu/amd/io_pgtable.c: iommu_v1_map_pages"},
    {.name = "untrusted-bounce-encrypted-iopte",
     .topic = "IOMMU",
     .title = "An untrusted device's bounce buffer is plain for the CPU and encrypted for the device.",
     .meaning =
         "On an SME host iommu-dma bounces unaligned buffers of untrusted devices through the pool, which is "
         "decrypted, but the IOMMU entry that leads there carries the C-bit: the two see different bytes. An "
         "erratum of the kernel.",
     .remedies =
         {for_driver("Map page-aligned buffers of whole pages for untrusted devices."),
          for_operator(
              "Encrypt memory with TSME (firmware) in place of SME (mem_encrypt=on): no device sees it.")},
     .linux_says = "",
     .source = "drivers/iommu/dma-iommu.c: iommu_dma_map_page"},
    {.name = "guest-iommu-skips-bounce",
     .topic = "IOMMU",
     .title = "An encrypted guest has an IOMMU, and so its private pages were mapped instead of bounced.",
     .meaning = "With an IOMMU the device's dma_ops are iommu-dma's, which do not ask whether bouncing is "
                "forced. The device is led to private pages, for which it has no key.",
     .remedies = {for_operator("Give an encrypted guest no virtual IOMMU. An emulated amd-iommu or "
                               "intel-iommu cannot work there, with iommu=pt or without: its tables lie in "
                               "the guest's private memory.")},
     .linux_says = "",
     .source = "drivers/iommu/dma-iommu.c: iommu_dma_map_page; kernel/dma/mapping.c: dma_map_direct"},
    {.name = "guest-iommu-cannot-share",
     .topic = "IOMMU",
     .title = "An encrypted guest has an IOMMU, and so gets no coherent memory.",
     .meaning =
         "Coherent memory of a guest has to be shared. From Linux 7.3 on iommu-dma says that it cannot "
         "do that, and dma_alloc_coherent() returns NULL; before, it gave private memory, which the "
         "device reads as ciphertext. Drivers fail to probe with ENOMEM.",
     .remedies = {for_operator(
         "Give an encrypted guest no virtual IOMMU: dma-direct shares what it allocates.")},
     .linux_says = "",
     .source = "drivers/iommu/dma-iommu.c: iommu_dma_alloc"},
    {.name = "raw-gpa-behind-iommu",
     .topic = "IOMMU",
     .title = "The device used a physical address where the IOMMU expects one of its own.",
     .meaning = "The driver does not use the DMA API for this device (a virtio driver without "
                "VIRTIO_F_ACCESS_PLATFORM never does), but the device's accesses are translated.",
     .remedies = {for_driver("Use the DMA API."),
                  for_operator("A virtio device: offer VIRTIO_F_ACCESS_PLATFORM (QEMU: "
                               "iommu_platform=on,disable-legacy=on).")},
     .linux_says = "IO_PAGE_FAULT",
     .source = "drivers/virtio/virtio_ring.c: vring_use_dma_api; virtio 1.2, 6.1"},
    {.name = "no-translation",
     .topic = "IOMMU",
     .title = "The IOMMU has no entry for the address.",
     .meaning = "Nobody mapped it, or it is no longer mapped.",
     .remedies = {for_driver("Compare the address with those that the DMA API returned for this device, and "
                             "with those that it has unmapped."),
                  for_operator("Update the device's driver. Faults of a device that has none yet are of "
                               "firmware that left it running.")},
     .linux_says = "IO_PAGE_FAULT|PTE Read access is not set|PTE Write access is not set",
     .source = "AMD I/O Virtualization Technology specification, 2.5.3"},
    {.name = "malformed-iopte",
     .topic = "IOMMU",
     .title = "The IOMMU found an entry that makes no sense.",
     .meaning =
         "Its tables are encrypted but read without the key, or the other way round: the entries are noise. "
         "Or something overwrote them.",
     .remedies = {for_kernel("Device table base and directory entries must carry the C-bit when the tables "
                             "are encrypted (iommu_virt_to_phys).")},
     .linux_says = "IO_PAGE_FAULT|ILLEGAL_DEV_TABLE_ENTRY|PAGE_TAB_HARDWARE_ERROR|"
                   "non-zero reserved fields in PTE",
     .source = "drivers/iommu/amd/amd_iommu.h: iommu_virt_to_phys"},
    {.name = "untrusted-mmio-unaligned",
     .topic = "IOMMU",
     .title = "A register cannot be mapped for an untrusted device, because it shares its page.",
     .meaning =
         "Behind an IOMMU an untrusted device gets a bounce for what shares a page with something else, and "
         "MMIO cannot bounce. From Linux 6.18 on dma_map_resource() of a doorbell, a FIFO or an MSI register "
         "therefore fails without a message; since the fix the page around it is mapped. dma_iova_link() "
         "gives -EPERM in all versions.",
     .remedies =
         {for_driver(
              "Map the whole page (4 KiB) around the register, and add the offset to the DMA address."),
          for_operator("Use a kernel with \"iommu/dma: skip swiotlb bounce for DMA_ATTR_MMIO in "
                       "iommu_dma_map_phys\" (057e5e07420c): 7.2.11 or 7.3.")
              .since(6, 18)
              .before(7, 3)},
     .linux_says = "",
     .source = "drivers/iommu/dma-iommu.c: iommu_dma_map_phys (fixed by 057e5e07420c), dma_iova_link"},
    {.name = "untrusted-bounce-zeroed",
     .topic = "IOMMU",
     .title = "The untrusted device wrote a part of its buffer, and the rest came back as zeros.",
     .meaning =
         "A buffer that shares its pages is bounced for an untrusted device. Linux 6.1 copies the original "
         "in and, for DMA from the device, then zeroes the whole bounce buffer; at the unmap the zeros "
         "replace what the driver had there.",
     .remedies = {for_driver("Do not rely on bytes that the device does not write; or give untrusted "
                             "devices whole pages, which are not bounced."),
                  for_operator("Use Linux 6.10 or later, which clears the padding alone.").before(6, 10)},
     .linux_says = "",
     .source = "drivers/iommu/dma-iommu.c: iommu_dma_map_page"},
    {.name = "dma-before-viommu-ready",
     .topic = "IOMMU",
     .title = "The device performed DMA before the IOMMU had a domain for it.",
     .meaning =
         "An enabled IOMMU blocks requesters that are attached to nothing. Firmware that leaves a device "
         "running, or a driver that starts it before its IOMMU driver, meets that.",
     .remedies = {for_driver("Attach the device first."),
                  for_operator("For the time before its driver, virtio-iommu can let it pass (QEMU: "
                               "boot-bypass=on); firmware should stop the device.")},
     .linux_says = "IO_PAGE_FAULT|Present bit in context entry is clear|"
                   "Present bit in root entry is clear",
     .source = "AMD I/O Virtualization Technology specification, 2.2.2; virtio 1.2, 5.13"},
    {.name = "endpoint-in-no-domain",
     .topic = "IOMMU",
     .title = "The device is in no domain of the virtio-iommu, which does not let such devices pass.",
     .meaning = "The endpoint was detached, or its domain is gone, and config.bypass is 0: each access is a "
                "fault of reason DOMAIN.",
     .remedies = {for_kernel("Attach it to a domain. To let devices without domain reach memory: "
                             "BYPASS_CONFIG and config.bypass = 1; Linux does not negotiate the older "
                             "BYPASS."),
                  for_operator("QEMU: boot-bypass=on lets devices without domain reach memory.")},
     .linux_says = "domain fault from EP",
     .source = "virtio 1.2, 5.13.6; drivers/iommu/virtio-iommu.c: viommu_fault_handler"},
    {.name = "iommu-bypassed",
     .topic = "IOMMU",
     .title = "The device is not behind the IOMMU although there is one.",
     .meaning =
         "A virtio device that does not offer VIRTIO_F_ACCESS_PLATFORM addresses memory directly, whatever "
         "the platform says. By physical addresses that works, and the IOMMU protects nothing from it; an "
         "address of the IOMMU's leads it nowhere.",
     .remedies = {for_operator("QEMU: iommu_platform=on for the device, where the driver knows the flag.")},
     .linux_says = "",
     .source = "virtio 1.2, 6.1; hw/virtio/virtio-bus.c: virtio_bus_device_plugged"},
    {.name = "iova-exhausted",
     .topic = "IOMMU",
     .title = "No I/O virtual addresses are left below the device's mask.",
     .meaning = "Every live mapping keeps a range of IOVA, and a narrow mask leaves few of them.",
     .remedies = "Look for leaked mappings; raise the mask.",
     .linux_says = "",
     .source = "drivers/iommu/dma-iommu.c: iommu_dma_alloc_iova"},
    {.name = "iommu-map-refused",
     .topic = "IOMMU",
     .title = "The IOMMU driver refused the mapping.",
     .meaning = "The range is mapped already, or there was no memory for a table.",
     .remedies = "Look for code that maps the same IOVA by hand.",
     .linux_says = "",
     .source = "drivers/iommu/iommu.c: iommu_map; drivers/iommu/amd/io_pgtable.c"},
};

}  // namespace cbit::watch
