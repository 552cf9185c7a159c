// What the kernel believes about its platform: cc_platform_has() and force_dma_unencrypted().
// arch/x86/coco/core.c, arch/x86/mm/mem_encrypt.c; POWER: arch/powerpc/platforms/pseries/{cc_platform,svm}.c.
#pragma once

#include <cstdint>

#include "cbit/kernel_config.hpp"
#include "kernel/device.hpp"
#include "machine/platform_traits.hpp"
#include "mem/key_layout.hpp"

namespace cbit::kernel {

using spec::CcAttr;

class CcPlatform {
 public:
  CcPlatform(Platform platform, mem::KeyLayout layout, KernelVersion version = KernelVersion::v6_1)
      : platform_{platform}, layout_{layout}, version_{version} {}

  [[nodiscard]] const machine::PlatformTraits& traits() const { return machine::traits_of(platform_); }
  [[nodiscard]] bool x86() const { return traits().architecture == machine::Architecture::x86; }
  // cc_platform_has()
  [[nodiscard]] bool has(CcAttr attr) const;
  // A guest in the eyes of x86's early setup, which sizes the bounce pool and watches over virtio devices.
  [[nodiscard]] bool is_x86_guest() const { return traits().cc.has(CcAttr::guest_mem_encrypt); }
  [[nodiscard]] const mem::KeyLayout& layout() const { return layout_; }

  // An encrypted guest: its devices reach shared memory alone, so all memory for DMA has to be shared.
  [[nodiscard]] bool shares_all_dma() const { return is_guest(platform_); }
  // On x86 such a guest sets SWIOTLB_FORCE, which 7.3 does not have any more.
  [[nodiscard]] bool forces_swiotlb() const {
    return !traits().swiotlb_forced_by.empty() && version_ < KernelVersion::v7_3;
  }

  // sme_me_mask: the C-bit on SME and SEV, 0 elsewhere (TDX and POWER included).
  [[nodiscard]] std::uint64_t me_mask() const;

  // mktme_keyid_mask(): the KeyID's bits in an address on MKTME, 0 elsewhere.
  [[nodiscard]] std::uint64_t key_id_mask() const;
  // Bits of a bus address that say how its page is encrypted; at most one of the masks above is not 0.
  [[nodiscard]] std::uint64_t dma_encryption_mask() const { return me_mask() | key_id_mask(); }

  // True when memory for this device must be decrypted: coherent allocations, [7.3] streaming mappings too.
  // On SME the coherent mask alone decides; [7.3] not behind an IOMMU, whose entries have the C-bit.
  // [posted] A device that the guest has accepted reaches encrypted memory.
  [[nodiscard]] bool force_dma_unencrypted(const Device& dev) const;

 private:
  Platform platform_;
  mem::KeyLayout layout_;
  KernelVersion version_;
};

}  // namespace cbit::kernel
