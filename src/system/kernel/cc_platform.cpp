#include "kernel/cc_platform.hpp"

namespace cbit::kernel {

std::uint64_t CcPlatform::me_mask() const {
  return traits().key_selection == machine::KeySelection::c_bit ? layout_.mask() : 0;
}

std::uint64_t CcPlatform::key_id_mask() const {
  return traits().key_selection == machine::KeySelection::key_id ? layout_.mask() : 0;
}

// [7.3] POWER's secure guests answer GUEST_MEM_ENCRYPT too (arch/powerpc/platforms/pseries/cc_platform.c).
bool CcPlatform::has(CcAttr attr) const {
  if (attr == CcAttr::guest_mem_encrypt && platform_ == Platform::pef && version_ >= KernelVersion::v7_3)
    return true;
  return traits().cc.has(attr);
}

bool CcPlatform::force_dma_unencrypted(const Device& dev) const {
  if (shares_all_dma()) return !dev.accepted;
  // [RFC v2, "x86/mm: Use common code for DMA memory encryption"] all KeyID bits must fit, not only the
  // lowest.
  if (const std::uint64_t key_id = key_id_mask(); key_id != 0)
    return dev.limit(dev.coherent_dma_mask) < (key_id | bit_mask(layout_.lowest_bit()));
  if (!has(CcAttr::host_mem_encrypt)) return false;
  if (version_ >= KernelVersion::v7_3 && dev.iommu != nullptr) return false;
  const std::uint64_t dma_enc_mask = bit_mask(layout_.lowest_bit());
  return dev.limit(dev.coherent_dma_mask) <= dma_enc_mask;
}

}  // namespace cbit::kernel
