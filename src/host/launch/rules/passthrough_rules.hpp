// The table's topic "Passed-through devices" (host/launch/rules/rule_table.hpp).
#pragma once

#include "launch/rules.hpp"

namespace cbit::launch {

inline constexpr RuleInfo passthrough_rules[] = {
    {.name = "passed-through-device",
     .severity = Severity::note,
     .topic = "Passed-through devices",
     .title = "The passed-through device reaches shared pages only.",
     .why = "It has no key: Linux bounces its streaming DMA and shares its coherent memory. User-space "
            "drivers (RDMA, DPDK, CUDA) that give it private pages get ciphertext, peer-to-peer DMA is "
            "refused (p2pdma-needs-bounce), and the whole guest is pinned for it. A GPU in its confidential "
            "mode encrypts what goes through the bounce buffers by itself.",
     .remedy =
         "Use kernel drivers that go through the DMA API; RDMA, from Linux 7.1 on in the guest: buffers "
         "of the system_cc_shared heap.",
     .libvirt_remedy = "",
     .source = "drivers/vfio/vfio_iommu_type1.c; kernel/dma/direct.h: dma_direct_map_page"},
    {.name = "vfio-discard",
     .severity = Severity::error,
     .topic = "Passed-through devices",
     .title = "This QEMU has no passed-through devices in SNP and TDX guests.",
     .why =
         "Private memory demands that QEMU may discard RAM, and VFIO forbids it, as what is pinned would be "
         "lost: \"cannot set up private guest memory: discard currently blocked\". QEMU 10.1 coordinates the "
         "two; 9.1 to 10.0 cannot, with iommufd= neither.",
     .remedy = "QEMU 10.1 or later, with iommufd=",
     .libvirt_remedy = "QEMU 10.1 or later",
     .source =
         "system/physmem.c: ram_block_add (10.0: ram_block_discard_require, 10.1: "
         "ram_block_coordinated_discard_require); hw/vfio/iommufd.c: iommufd_cdev_ram_block_discard_disable"},
    {.name = "vfio-without-iommufd",
     .severity = Severity::error,
     .topic = "Passed-through devices",
     .title = "A passed-through device of an SNP or TDX guest needs iommufd.",
     .why =
         "What the guest shares is mapped page by page of 4 KiB, so that each can be unmapped again. VFIO's "
         "own container has 65535 mappings (dma_entry_limit), 256 MiB, and maps fail after them; iommufd has "
         "no such limit.",
     .remedy = "-object iommufd,id=iommufd0, and iommufd=iommufd0 at each vfio-pci",
     .libvirt_remedy = "<driver iommufd='yes'/> in each <hostdev> (libvirt 12.1)",
     .source = "hw/vfio/listener.c: vfio_ram_discard_notify_populate; drivers/vfio/vfio_iommu_type1.c: "
               "dma_entry_limit"},
    {.name = "iommufd-missing",
     .severity = Severity::error,
     .topic = "Passed-through devices",
     .title = "iommufd= names an object that no -object defines.",
     .why = "It is the id of an -object iommufd (/dev/iommu). QEMU ends with \"Device 'ID' not found\".",
     .remedy = "-object iommufd,id=ID",
     .libvirt_remedy = "",
     .source = "hw/vfio/pci.c: vfio_pci_class_init (iommufd); backends/iommufd.c (QEMU 9.0)"},
    {.name = "several-iommufds",
     .severity = Severity::warning,
     .topic = "Passed-through devices",
     .title = "Passed-through devices have different iommufd objects.",
     .why =
         "Each object maps the guest's shared memory on its own: what the guest shares is mapped as often as "
         "there are objects, and the devices have separate address spaces.",
     .remedy = "One -object iommufd for all GPUs and network cards of the guest.",
     .libvirt_remedy = "",
     .source = "backends/iommufd.c: iommufd_backend_connect; hw/vfio/iommufd.c: iommufd_cdev_attach"},
    {.name = "vhost-vdpa-discard",
     .severity = Severity::error,
     .topic = "Passed-through devices",
     .title = "SNP and TDX guests have no vDPA devices.",
     .why =
         "Private memory demands that QEMU may discard RAM, and vhost-vdpa forbids all of it (9.1 to 10.2).",
     .remedy = "virtio-net with a tap, or vfio-pci with iommufd=",
     .libvirt_remedy = "<interface type='network'> instead of type='vdpa'",
     .source = "hw/virtio/vhost-vdpa.c: vhost_vdpa_init (ram_block_discard_disable); system/physmem.c: "
               "ram_block_add"},
};

}  // namespace cbit::launch
