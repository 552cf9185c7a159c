#include "machine/platform_traits.hpp"

#include <gtest/gtest.h>

namespace cbit::machine {
namespace {

using spec::CcAttr;

TEST(PlatformTraits, BelongToThePlatformThatIsAskedFor) {
  for (const Platform platform : platforms) EXPECT_EQ(traits_of(platform).platform, platform);
}

// A row may contradict itself, or the two questions that the public header answers.
TEST(PlatformTraits, AgreeOnWhatIsEncrypted) {
  for (const PlatformTraits& traits : platform_traits) {
    SCOPED_TRACE(to_string(traits.platform));
    EXPECT_EQ(traits.cc.has(CcAttr::mem_encrypt), is_encrypted(traits.platform));
    EXPECT_EQ(traits.cc.has(CcAttr::host_mem_encrypt),
              is_encrypted(traits.platform) && !is_guest(traits.platform));
    EXPECT_LE(traits.cc.has(CcAttr::guest_mem_encrypt), is_guest(traits.platform));
    EXPECT_LE(is_encrypted(traits.platform), traits.key_selection != KeySelection::none);
    EXPECT_LE(traits.image_load == ImageLoad::encrypted, is_guest(traits.platform));
  }
}

TEST(PlatformTraits, LetEveryEncryptedGuestOnX86BounceAndNoHost) {
  for (const PlatformTraits& traits : platform_traits)
    EXPECT_EQ(!traits.swiotlb_forced_by.empty(),
              is_guest(traits.platform) && traits.architecture == Architecture::x86)
        << to_string(traits.platform);
}

TEST(PlatformTraits, HaveACallForEveryGuestsConversionsAndNoneForHosts) {
  for (const PlatformTraits& traits : platform_traits)
    EXPECT_EQ(traits.page_state_call != PageStateCall::none, is_guest(traits.platform))
        << to_string(traits.platform);
}

// [6.1] arch/x86/mm/mem_encrypt.c: print_mem_encrypt_feature_info()
TEST(PlatformTraits, NameWhatLinuxSaysIsActive) {
  EXPECT_EQ(traits_of(Platform::sme).features_active, "AMD SME");
  EXPECT_EQ(traits_of(Platform::sev_snp).features_active, "AMD SEV SEV-ES SEV-SNP");
  EXPECT_EQ(traits_of(Platform::tdx).features_active, "Intel TDX");
  EXPECT_EQ(traits_of(Platform::plain).features_active, "");
  EXPECT_EQ(traits_of(Platform::pef).features_active, "");
}

}  // namespace
}  // namespace cbit::machine
