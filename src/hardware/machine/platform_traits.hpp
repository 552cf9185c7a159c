// What the platforms are: one table, one row per platform. Rules elsewhere ask for a trait by its meaning and
// do not name platforms, so that a new one needs its row here and nothing but new mechanisms elsewhere.
//
// A row that is missing, or lacks a trait, does not compile; a value of a trait that a rule forgot does not
// either, because the rules switch over all of them.
//
// Sources: Linux 6.1, as the traits say; APM vol. 2, 7.10 and 15.34 to 15.36; TDX module specification
// (344425); Linux, Documentation/powerpc/ultravisor.rst.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/enumerators.hpp"
#include "cbit/platform.hpp"
#include "mem/memory.hpp"
#include "spec/linux_cc.hpp"

namespace cbit::machine {

// What tells a CPU of the machine under which key memory is meant.
enum class KeySelection : std::uint8_t {
  none,
  c_bit,       // a bit of the address: set for encrypted
  shared_bit,  // a bit of the address: set for shared
  key_id,      // a field of the address
  page_state,  // nothing of the address: the ultravisor's table has the state of each page (ADR 6)
};

// "C-bit"; empty where it is not one bit of an address.
[[nodiscard]] constexpr std::string_view key_bit_name(KeySelection selection) {
  switch (selection) {
    case KeySelection::c_bit: return "C-bit";
    case KeySelection::shared_bit: return "shared bit";
    case KeySelection::none:
    case KeySelection::key_id:
    case KeySelection::page_state: break;
  }
  return "";
}

// How a guest's kernel tells what stands below it that pages become shared or private.
enum class PageStateCall : std::uint8_t {
  none,      // there is nothing to tell
  kvm,       // KVM_HC_MAP_GPA_RANGE, afterwards
  psc,       // SNP: page-state change and PVALIDATE; pages are shared before the mapping, private after it
  map_gpa,   // TDX: MapGPA and ACCEPT; private before the mapping, shared after it
  uv_share,  // POWER: UV_SHARE_PAGE and UV_UNSHARE_PAGE; no mapping changes
};

// As what a host of SEV guests runs a machine.
enum class GuestKind : std::uint8_t { plain, sev, sev_es, sev_snp };

// Whose code in arch/ decides.
enum class Architecture : std::uint8_t { x86, power };

// sPAPR: translation entries are the hypervisor's, written by H_PUT_TCE.
enum class IommuKind : std::uint8_t { none, amd, spapr, virtio };

// How a loader may put an image into the machine's memory.
enum class ImageLoad : std::uint8_t { none, plain, encrypted };

struct PlatformTraits {
  Platform platform;
  std::string_view vendor, technology;  // "AMD", "SEV-ES"; empty: it has no such name

  // The hardware.
  KeySelection key_selection;
  mem::MemoryProtection protection;
  IommuKind iommu;              // where it has one
  bool may_be_virtual_machine;  // otherwise it is a host's
  bool hosts_sev_guests;        // if its processor has SEV
  bool launched_by_firmware;    // SEV's firmware can launch the whole machine as a guest
  std::optional<GuestKind> hosted_as;
  bool attacks_modelled;  // what its host can do to it, `cbit table attacks` tries

  // Conversions of pages.
  PageStateCall page_state_call;
  bool state_below_guest;  // RMP, TDX module or ultravisor have each page's state, not the guest's tables
  bool conversion_zeroes;  // what is below the guest zeroes a page that becomes shared or private
  bool flushes_before_sharing_alone;  // x86_platform.guest.enc_{tlb,cache}_flush_required: of the old mapping

  // Linux.
  Architecture architecture;
  spec::CcAttrs cc;
  std::string_view features_active;    // print_mem_encrypt_feature_info(); empty: it prints nothing
  std::string_view swiotlb_forced_by;  // the function that sets SWIOTLB_FORCE in time; empty: none does
  ImageLoad image_load;
};

// A row that lacks a trait is an error in every build.
#pragma GCC diagnostic push
#pragma GCC diagnostic error "-Wmissing-field-initializers"
inline constexpr PlatformTraits platform_traits[] = {
    {.platform = Platform::plain,
     .vendor = "",
     .technology = "",
     .key_selection = KeySelection::none,
     .protection = mem::MemoryProtection::none,
     .iommu = IommuKind::amd,
     .may_be_virtual_machine = true,
     .hosts_sev_guests = true,
     .launched_by_firmware = false,
     .hosted_as = GuestKind::plain,
     .attacks_modelled = true,
     .page_state_call = PageStateCall::none,
     .state_below_guest = false,
     .conversion_zeroes = false,
     .flushes_before_sharing_alone = false,
     .architecture = Architecture::x86,
     .cc = {},
     .features_active = "",
     .swiotlb_forced_by = "",
     .image_load = ImageLoad::plain},
    {.platform = Platform::sme,
     .vendor = "AMD",
     .technology = "SME",
     .key_selection = KeySelection::c_bit,
     .protection = mem::MemoryProtection::none,
     .iommu = IommuKind::amd,
     .may_be_virtual_machine = false,
     .hosts_sev_guests = true,
     .launched_by_firmware = false,
     .hosted_as = std::nullopt,
     .attacks_modelled = true,
     .page_state_call = PageStateCall::none,
     .state_below_guest = false,
     .conversion_zeroes = false,
     .flushes_before_sharing_alone = false,
     .architecture = Architecture::x86,
     .cc = {spec::CcAttr::mem_encrypt, spec::CcAttr::host_mem_encrypt},
     .features_active = "AMD SME",
     .swiotlb_forced_by = "",
     .image_load = ImageLoad::plain},
    {.platform = Platform::sev,
     .vendor = "AMD",
     .technology = "SEV",
     .key_selection = KeySelection::c_bit,
     .protection = mem::MemoryProtection::none,
     .iommu = IommuKind::amd,
     .may_be_virtual_machine = true,
     .hosts_sev_guests = false,
     .launched_by_firmware = true,
     .hosted_as = GuestKind::sev,
     .attacks_modelled = true,
     .page_state_call = PageStateCall::kvm,
     .state_below_guest = false,
     .conversion_zeroes = false,
     .flushes_before_sharing_alone = false,
     .architecture = Architecture::x86,
     .cc = {spec::CcAttr::mem_encrypt, spec::CcAttr::guest_mem_encrypt, spec::CcAttr::guest_unroll_string_io},
     .features_active = "AMD SEV",
     .swiotlb_forced_by = "arch/x86/kernel/pci-dma.c: pci_swiotlb_detect",
     .image_load = ImageLoad::encrypted},
    // SEV-ES' firmware needs memory of the host's, which a machine that is the guest has none of; SNP's has
    // commands of its own.
    {.platform = Platform::sev_es,
     .vendor = "AMD",
     .technology = "SEV-ES",
     .key_selection = KeySelection::c_bit,
     .protection = mem::MemoryProtection::none,
     .iommu = IommuKind::amd,
     .may_be_virtual_machine = true,
     .hosts_sev_guests = false,
     .launched_by_firmware = false,
     .hosted_as = GuestKind::sev_es,
     .attacks_modelled = true,
     .page_state_call = PageStateCall::kvm,
     .state_below_guest = false,
     .conversion_zeroes = false,
     .flushes_before_sharing_alone = false,
     .architecture = Architecture::x86,
     .cc = {spec::CcAttr::mem_encrypt, spec::CcAttr::guest_mem_encrypt, spec::CcAttr::guest_state_encrypt},
     .features_active = "AMD SEV SEV-ES",
     .swiotlb_forced_by = "arch/x86/kernel/pci-dma.c: pci_swiotlb_detect",
     .image_load = ImageLoad::encrypted},
    {.platform = Platform::sev_snp,
     .vendor = "AMD",
     .technology = "SEV-SNP",
     .key_selection = KeySelection::c_bit,
     .protection = mem::MemoryProtection::rmp,
     .iommu = IommuKind::amd,
     .may_be_virtual_machine = true,
     .hosts_sev_guests = false,
     .launched_by_firmware = false,
     .hosted_as = GuestKind::sev_snp,
     .attacks_modelled = true,
     .page_state_call = PageStateCall::psc,
     .state_below_guest = true,
     .conversion_zeroes = false,
     .flushes_before_sharing_alone = false,
     .architecture = Architecture::x86,
     .cc = {spec::CcAttr::mem_encrypt, spec::CcAttr::guest_mem_encrypt, spec::CcAttr::guest_state_encrypt,
            spec::CcAttr::guest_sev_snp},
     .features_active = "AMD SEV SEV-ES SEV-SNP",
     .swiotlb_forced_by = "arch/x86/kernel/pci-dma.c: pci_swiotlb_detect",
     .image_load = ImageLoad::encrypted},
    {.platform = Platform::tdx,
     .vendor = "Intel",
     .technology = "TDX",
     .key_selection = KeySelection::shared_bit,
     .protection = mem::MemoryProtection::td,
     .iommu = IommuKind::amd,
     .may_be_virtual_machine = true,
     .hosts_sev_guests = false,
     .launched_by_firmware = false,
     .hosted_as = std::nullopt,
     .attacks_modelled = true,
     .page_state_call = PageStateCall::map_gpa,
     .state_below_guest = true,
     .conversion_zeroes = false,
     .flushes_before_sharing_alone = true,
     .architecture = Architecture::x86,
     .cc = {spec::CcAttr::mem_encrypt, spec::CcAttr::guest_mem_encrypt, spec::CcAttr::guest_unroll_string_io},
     .features_active = "Intel TDX",
     .swiotlb_forced_by = "arch/x86/kernel/pci-dma.c: pci_swiotlb_detect",
     .image_load = ImageLoad::none},
    {.platform = Platform::mktme,
     .vendor = "Intel",
     .technology = "MKTME",
     .key_selection = KeySelection::key_id,
     .protection = mem::MemoryProtection::none,
     .iommu = IommuKind::amd,
     .may_be_virtual_machine = false,
     .hosts_sev_guests = false,
     .launched_by_firmware = false,
     .hosted_as = std::nullopt,
     .attacks_modelled = false,
     .page_state_call = PageStateCall::none,
     .state_below_guest = false,
     .conversion_zeroes = false,
     .flushes_before_sharing_alone = false,
     .architecture = Architecture::x86,
     .cc = {},
     .features_active = "",
     .swiotlb_forced_by = "",
     .image_load = ImageLoad::none},
    // arch/powerpc/platforms/pseries/cc_platform.c: a secure guest has this one attribute, not
    // GUEST_MEM_ENCRYPT. svm.c: init_svm() is an early_initcall, and asks for SWIOTLB_FORCE after mem_init()
    // has called swiotlb_init(): since 5.19, which made that flag an argument, the guest has neither a pool
    // nor bounces, unless swiotlb=force is given.
    {.platform = Platform::pef,
     .vendor = "",
     .technology = "POWER secure",
     .key_selection = KeySelection::page_state,
     .protection = mem::MemoryProtection::none,
     .iommu = IommuKind::spapr,
     .may_be_virtual_machine = true,
     .hosts_sev_guests = false,
     .launched_by_firmware = false,
     .hosted_as = std::nullopt,
     .attacks_modelled = false,
     .page_state_call = PageStateCall::uv_share,
     .state_below_guest = true,
     .conversion_zeroes = true,
     .flushes_before_sharing_alone = false,
     .architecture = Architecture::power,
     .cc = {spec::CcAttr::mem_encrypt},
     .features_active = "",
     .swiotlb_forced_by = "",
     .image_load = ImageLoad::none},
};
#pragma GCC diagnostic pop
static_assert(has_row_each<&PlatformTraits::platform>(platform_traits));

[[nodiscard]] constexpr const PlatformTraits& traits_of(Platform platform) {
  return platform_traits[static_cast<std::size_t>(platform)];
}

}  // namespace cbit::machine
