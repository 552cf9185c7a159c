#include "kernel/cc_platform.hpp"

namespace cbit::kernel {
namespace {

bool intel_cc_platform_has(CcAttr attr) {
  return attr == CcAttr::guest_unroll_string_io || attr == CcAttr::guest_mem_encrypt ||
         attr == CcAttr::mem_encrypt;
}

// arch/powerpc/platforms/pseries/cc_platform.c: a secure guest has this one attribute, not GUEST_MEM_ENCRYPT.
bool pseries_cc_platform_has(CcAttr attr) { return attr == CcAttr::mem_encrypt; }

bool amd_cc_platform_has(Platform platform, CcAttr attr) {
  const bool sev_es = platform == Platform::sev_es || platform == Platform::sev_snp;
  switch (attr) {
    case CcAttr::mem_encrypt: return is_encrypted(platform);
    case CcAttr::host_mem_encrypt: return platform == Platform::sme;
    case CcAttr::guest_mem_encrypt: return is_guest(platform);
    case CcAttr::guest_state_encrypt: return sev_es;
    case CcAttr::guest_unroll_string_io: return is_guest(platform) && !sev_es;
    case CcAttr::guest_sev_snp: return platform == Platform::sev_snp;
  }
  return false;
}

}  // namespace

bool CcPlatform::has(CcAttr attr) const {
  if (platform_ == Platform::tdx) return intel_cc_platform_has(attr);
  if (platform_ == Platform::pef) return pseries_cc_platform_has(attr);
  return amd_cc_platform_has(platform_, attr);
}

bool CcPlatform::bounces_always() const {
  return has(CcAttr::guest_mem_encrypt) || platform_ == Platform::pef;
}

std::uint64_t CcPlatform::me_mask() const {
  const bool amd = is_encrypted(platform_) && platform_ != Platform::tdx && platform_ != Platform::pef;
  return amd ? layout_.mask() : 0;
}

std::uint64_t CcPlatform::key_id_mask() const { return platform_ == Platform::mktme ? layout_.mask() : 0; }

bool CcPlatform::force_dma_unencrypted(const Device& dev) const {
  if (bounces_always()) return true;
  // [RFC v2, "x86/mm: Use common code for DMA memory encryption"] all KeyID bits must fit, not only the
  // lowest.
  if (const std::uint64_t key_id = key_id_mask(); key_id != 0)
    return dev.limit(dev.coherent_dma_mask) < (key_id | bit_mask(layout_.lowest_bit()));
  if (!has(CcAttr::host_mem_encrypt)) return false;
  const std::uint64_t dma_enc_mask = bit_mask(layout_.lowest_bit());
  return dev.limit(dev.coherent_dma_mask) <= dma_enc_mask;
}

}  // namespace cbit::kernel
