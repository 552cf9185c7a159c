// The table's topic "virtio" (host/launch/rules/rule_table.hpp).
#pragma once

#include "launch/rules/rule_of_cause.hpp"

namespace cbit::launch {

inline constexpr RuleInfo virtio_rules[] = {
    rule_of_cause("flag-not-offered", Severity::error, "virtio",
                  "<driver iommu='on'/> in the device, or leave iommu= out with QEMU 6.0 and later."),
    rule_of_cause("legacy-virtio", Severity::error, "virtio",
                  "model='virtio' or 'virtio-non-transitional', and machine='q35'."),
    rule_of_cause("flag-not-acked", Severity::warning, "virtio", "<memballoon model='none'/>"),
    {.name = "host-provided-entropy",
     .severity = Severity::note,
     .topic = "virtio",
     .title = "The host chooses the bytes that virtio-rng delivers.",
     .why = "They are no secret from it. Linux seeds itself from RDRAND in an encrypted guest, and gives "
            "virtio-rng no credit unless it is told to (rng_core.default_quality).",
     .remedy = "Leave virtio-rng out, or give it no credit.",
     .libvirt_remedy = "No <rng>, or rng_core.default_quality=0 in the guest",
     .source = "arch/x86/coco/core.c: cc_random_init; drivers/char/hw_random/virtio-rng.c"},
    {.name = "vhost-user-without-shared-memory",
     .severity = Severity::error,
     .topic = "virtio",
     .title = "A vhost-user back end cannot map the guest's memory.",
     .why = "The back end is another process: it sees only memory that is a shared mapping of a file "
            "descriptor. Encryption changes nothing about that.",
     .remedy = "-object memory-backend-memfd,id=mem,size=SIZE,share=on -machine memory-backend=mem",
     .libvirt_remedy = "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>",
     .source = "docs/interop/vhost-user.rst; hw/virtio/vhost-user.c: vhost_user_fill_set_mem_table_msg"},
    {.name = "vhost-user-back-end-must-know-the-flag",
     .severity = Severity::warning,
     .topic = "virtio",
     .title = "The vhost-user back end has to accept VIRTIO_F_ACCESS_PLATFORM.",
     .why = "QEMU offers the guest what the back end offers. One that does not know the flag leaves the "
            "guest without its device, or ends (virtiofsd does, with iommu_platform=on).",
     .remedy = "Use a back end that knows it, such as QEMU's own virtio-blk or virtio-net, or SPDK.",
     .libvirt_remedy = "Use a device that QEMU itself serves.",
     .source = "hw/virtio/virtio-bus.c: virtio_bus_device_plugged; docs/interop/vhost-user.rst"},
    {.name = "virtiofs",
     .severity = Severity::error,
     .topic = "virtio",
     .title = "virtiofs does not work in an SNP or TDX guest, nor its DAX window in any encrypted one.",
     .why =
         "virtiofsd does not know VIRTIO_F_ACCESS_PLATFORM, so iommu_platform=on is no remedy; it maps the "
         "guest's memory, of which it could read the shared pages only. Pages of the DAX window are the "
         "host's page cache: plain memory that the guest maps as its own.",
     .remedy = "virtio-9p-pci, a virtio-blk disk or a network file system; no cache-size=",
     .libvirt_remedy = "<filesystem> with <driver type='path'/> (9p), or a <disk>",
     .kata_remedy = "shared_fs = \"none\": images are pulled inside the guest",
     .source = "hw/virtio/vhost-user-fs.c: vuf_get_features; https://github.com/AMDESE/AMDSEV/issues/269"},
    {.name = "vhost-sees-shared-pages-only",
     .severity = Severity::note,
     .topic = "virtio",
     .title = "The host kernel serves this device, from the pages that the guest shares.",
     .why = "vhost reads rings and buffers through QEMU's mapping: it works because the guest bounces. It "
            "does not go through a virtual IOMMU without device IOTLB.",
     .remedy = "Nothing to do; give the guest no virtual IOMMU.",
     .libvirt_remedy = "",
     .source = "hw/virtio/vhost.c: vhost_dev_has_iommu; drivers/vhost"},
};

}  // namespace cbit::launch
