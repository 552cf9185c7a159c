#include "kernel/cc_platform.hpp"

namespace cbit::kernel {

std::uint64_t CcPlatform::me_mask() const {
  return traits().key_selection == machine::KeySelection::c_bit ? layout_.mask() : 0;
}

std::uint64_t CcPlatform::key_id_mask() const {
  return traits().key_selection == machine::KeySelection::key_id ? layout_.mask() : 0;
}

bool CcPlatform::force_dma_unencrypted(const Device& dev) const {
  if (is_guest(platform_)) return true;
  // [RFC v2, "x86/mm: Use common code for DMA memory encryption"] all KeyID bits must fit, not only the
  // lowest.
  if (const std::uint64_t key_id = key_id_mask(); key_id != 0)
    return dev.limit(dev.coherent_dma_mask) < (key_id | bit_mask(layout_.lowest_bit()));
  if (!has(CcAttr::host_mem_encrypt)) return false;
  const std::uint64_t dma_enc_mask = bit_mask(layout_.lowest_bit());
  return dev.limit(dev.coherent_dma_mask) <= dma_enc_mask;
}

}  // namespace cbit::kernel
