// The catalogue's topic "virtio" (watch/cause_table.hpp).
#pragma once

#include "watch/causes.hpp"

namespace cbit::watch {

inline constexpr CauseInfo virtio_causes[] = {
    {.name = "flag-not-offered",
     .topic = "virtio",
     .title = "The device does not offer VIRTIO_F_ACCESS_PLATFORM.",
     .meaning = "Without the flag a virtio driver bypasses the DMA API and gives the device guest-physical "
                "addresses of private pages. Linux refuses such a device in a SEV guest, and its probe "
                "fails.",
     .remedies = {for_operator(
                      "QEMU: iommu_platform=on,disable-legacy=on for each virtio device, or -machine "
                      "confidential-guest-support=, which makes both the default."),
                  for_operator("virtiofsd cannot offer it: share the folder over 9p (virtio-9p-pci), or put "
                               "it on a disk (virtio-blk).")
                      .of_driver("virtiofs"),
                  for_vmm("Offer VIRTIO_F_ACCESS_PLATFORM, and have vhost-user backends offer it.")},
     .linux_says = "device must provide VIRTIO_F_ACCESS_PLATFORM",
     .source = "drivers/virtio/virtio.c: virtio_features_ok; virtio 1.2, 6.1"},
    {.name = "flag-not-acked",
     .topic = "virtio",
     .title = "The device offers VIRTIO_F_ACCESS_PLATFORM, but the driver does not accept it.",
     .meaning =
         "A device that offers the flag may refuse a driver without it (FEATURES_OK does not stay set), and "
         "an encrypted guest needs it. virtio-balloon clears it on purpose; old and legacy drivers do not "
         "know it.",
     .remedies = {for_driver("Accept the flag, and give the device addresses of the DMA API."),
                  for_operator(
                      "Do not give the device to encrypted guests, or use a driver that accepts the flag.")},
     .linux_says = "virtio: device refuses features|device must provide VIRTIO_F_ACCESS_PLATFORM",
     .source = "drivers/virtio/virtio_balloon.c: virtballoon_validate; virtio 1.2, 6.2"},
    {.name = "legacy-virtio",
     .topic = "virtio",
     .title = "The device is a legacy one: it does not offer VIRTIO_F_VERSION_1.",
     .meaning = "Legacy virtio knows no ACCESS_PLATFORM and places its rings by page number, so it cannot "
                "use shared memory. Linux refuses it in a SEV guest.",
     .remedies = {for_operator("QEMU: disable-legacy=on, and a machine with PCI Express (q35).")},
     .linux_says = "device must provide VIRTIO_F_VERSION_1",
     .source = "drivers/virtio/virtio.c: virtio_features_ok"},
    {.name = "device-refuses-features",
     .topic = "virtio",
     .title = "The device does not accept the driver's choice of features.",
     .meaning =
         "FEATURES_OK does not stay set: the driver accepted a feature that was not offered, or left out one "
         "that the device requires.",
     .remedies = {for_driver("Compare the accepted features with the offered ones.")},
     .linux_says = "virtio: device refuses features",
     .source = "drivers/virtio/virtio.c: virtio_features_ok; virtio 1.2, 3.1.1"},
    {.name = "malformed-descriptor",
     .topic = "virtio",
     .title = "The device found something in a ring that virtio forbids, and stopped.",
     .meaning =
         "The driver wrote a bad ring, or the device does not see what the driver wrote: a ring in private "
         "memory looks random to it.",
     .remedies = "Allocate rings with dma_alloc_coherent() and negotiate VIRTIO_F_ACCESS_PLATFORM.",
     .linux_says = "",
     .source = "virtio 1.2, 2.7 and 2.1.2"},
    {.name = "forged-descriptor",
     .topic = "virtio",
     .title = "The device returned a descriptor that the driver had not given it.",
     .meaning = "The used ring, or the descriptors of a packed one, are memory that the host can write. An "
                "identifier taken from it without a check would "
                "free or reuse a buffer of the attacker's choice; Linux checks, and stops using the queue.",
     .remedies = {for_driver("Keep the driver's own copy of descriptors, and check what the device returns."),
                  for_operator("Treat the device and its host as hostile or broken.")},
     .linux_says = "id # is not a head!|id # out of range",
     .source = "drivers/virtio/virtio_ring.c: virtqueue_get_buf_ctx_split, virtqueue_get_buf_ctx_packed; "
               "virtio 1.2, 2.7.8, 2.8"},
};

}  // namespace cbit::watch
