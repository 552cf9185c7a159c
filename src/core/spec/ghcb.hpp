// What an SNP guest and its hypervisor say to each other. GHCB specification (56421);
// arch/x86/include/asm/sev-common.h.
#pragma once

#include <cstdint>

namespace cbit::spec {

// Why a guest asks to be ended: reason set and reason (GHCB_TERM_PSC).
inline constexpr std::uint8_t sev_term_set_linux = 1;
inline constexpr std::uint8_t ghcb_term_psc = 1;

// SW_EXITINFO2 of a page-state change that the hypervisor refuses: VMGEXIT_PSC_ERROR_GENERIC.
inline constexpr std::uint64_t psc_error_generic = std::uint64_t{0x100} << 32;

}  // namespace cbit::spec
