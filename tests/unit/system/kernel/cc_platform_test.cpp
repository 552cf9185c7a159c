#include "kernel/cc_platform.hpp"

#include <gtest/gtest.h>

namespace cbit::kernel {
namespace {

CcPlatform platform_of(Platform platform, unsigned c_bit = 47) {
  mem::KeyLayout layout = mem::KeyLayout::none();
  if (platform == Platform::tdx)
    layout = mem::KeyLayout::tdx(c_bit);
  else if (platform != Platform::plain)
    layout = mem::KeyLayout::amd(c_bit);
  return {platform, layout};
}

struct Row {
  Platform platform;
  bool mem, host, guest, state, unroll, snp;
};

// arch/x86/coco/core.c: amd_cc_platform_has, intel_cc_platform_has.
constexpr Row rows[] = {
    {Platform::plain, false, false, false, false, false, false},
    {Platform::sme, true, true, false, false, false, false},
    {Platform::sev, true, false, true, false, true, false},
    {Platform::sev_es, true, false, true, true, false, false},
    {Platform::sev_snp, true, false, true, true, false, true},
    {Platform::tdx, true, false, true, false, true, false},
};

TEST(CcPlatform, AnswersAsTheKernelDoes) {
  for (const Row& row : rows) {
    const CcPlatform cc = platform_of(row.platform);
    SCOPED_TRACE(to_string(row.platform));
    EXPECT_EQ(cc.has(CcAttr::mem_encrypt), row.mem);
    EXPECT_EQ(cc.has(CcAttr::host_mem_encrypt), row.host);
    EXPECT_EQ(cc.has(CcAttr::guest_mem_encrypt), row.guest);
    EXPECT_EQ(cc.has(CcAttr::guest_state_encrypt), row.state);
    EXPECT_EQ(cc.has(CcAttr::guest_unroll_string_io), row.unroll);
    EXPECT_EQ(cc.has(CcAttr::guest_sev_snp), row.snp);
  }
}

TEST(CcPlatform, HasAnEncryptionMaskOnAmdOnly) {
  EXPECT_EQ(platform_of(Platform::plain).me_mask(), 0u);
  EXPECT_EQ(platform_of(Platform::tdx, 51).me_mask(), 0u) << "TDX has cc_mask, but no sme_me_mask";
  EXPECT_EQ(platform_of(Platform::sme, 51).me_mask(), 1ull << 51);
  EXPECT_EQ(platform_of(Platform::sev, 47).me_mask(), 1ull << 47);
}

bool forced(Platform platform, std::uint64_t coherent_mask, std::uint64_t bus_limit = 0,
            unsigned c_bit = 47) {
  Device dev;
  dev.dma_mask = bit_mask(64);
  dev.coherent_dma_mask = coherent_mask;
  dev.bus_dma_limit = bus_limit;
  return platform_of(platform, c_bit).force_dma_unencrypted(dev);
}

TEST(CcPlatform, ForcesDmaUnencryptedWhereTheCoherentMaskEndsBelowTheCBit) {
  EXPECT_TRUE(forced(Platform::sme, bit_mask(47)));
  EXPECT_FALSE(forced(Platform::sme, bit_mask(48)));
  EXPECT_TRUE(forced(Platform::sme, bit_mask(51), 0, 51));
  EXPECT_FALSE(forced(Platform::sme, bit_mask(52), 0, 51));
  EXPECT_TRUE(forced(Platform::sme, bit_mask(64), bit_mask(47))) << "the bus counts too";
  EXPECT_FALSE(forced(Platform::sme, 0, bit_mask(48))) << "min_not_zero";
}

TEST(CcPlatform, ForcesDmaUnencryptedForAllDevicesOfAGuest) {
  for (const Platform platform : {Platform::sev, Platform::sev_es, Platform::sev_snp, Platform::tdx})
    EXPECT_TRUE(forced(platform, bit_mask(64))) << to_string(platform);
  EXPECT_FALSE(forced(Platform::plain, bit_mask(32)));
}

}  // namespace
}  // namespace cbit::kernel
