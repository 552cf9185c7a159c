// What the kernel believes about its platform: cc_platform_has() and force_dma_unencrypted().
// arch/x86/coco/core.c, arch/x86/mm/mem_encrypt.c; POWER: arch/powerpc/platforms/pseries/{cc_platform,svm}.c.
#pragma once

#include <cstdint>

#include "kernel/device.hpp"
#include "machine/platform_traits.hpp"
#include "mem/key_layout.hpp"

namespace cbit::kernel {

using spec::CcAttr;

class CcPlatform {
 public:
  CcPlatform(Platform platform, mem::KeyLayout layout) : platform_{platform}, layout_{layout} {}

  [[nodiscard]] const machine::PlatformTraits& traits() const { return machine::traits_of(platform_); }
  [[nodiscard]] bool x86() const { return traits().architecture == machine::Architecture::x86; }
  [[nodiscard]] bool has(CcAttr attr) const { return traits().cc.has(attr); }
  [[nodiscard]] const mem::KeyLayout& layout() const { return layout_; }

  // The platform sets SWIOTLB_FORCE.
  [[nodiscard]] bool bounces_always() const { return !traits().swiotlb_forced_by.empty(); }

  // sme_me_mask: the C-bit on SME and SEV, 0 elsewhere (TDX and POWER included).
  [[nodiscard]] std::uint64_t me_mask() const;

  // mktme_keyid_mask(): the KeyID's bits in an address on MKTME, 0 elsewhere.
  [[nodiscard]] std::uint64_t key_id_mask() const;
  // Bits of a bus address that say how its page is encrypted; at most one of the masks above is not 0.
  [[nodiscard]] std::uint64_t dma_encryption_mask() const { return me_mask() | key_id_mask(); }

  // True when memory of coherent allocations for this device must be decrypted. Looks at the coherent mask
  // only.
  [[nodiscard]] bool force_dma_unencrypted(const Device& dev) const;

 private:
  Platform platform_;
  mem::KeyLayout layout_;
};

}  // namespace cbit::kernel
