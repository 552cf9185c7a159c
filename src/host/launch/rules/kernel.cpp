#include <algorithm>

#include "base/format.hpp"
#include "launch/rules/case.hpp"
#include "launch/rules/rule_table.hpp"

namespace cbit::launch {
namespace {

void judge_hashes(Case& guest) {
  if (guest.object() == nullptr || guest.protection() == Protection::tdx ||
      guest.language() == GuestLanguage::kata)
    return;
  const QemuOption* const kernel = guest.last("kernel");
  const bool hashes = is_on(guest.object()->value("kernel-hashes"));
  if (hashes && kernel == nullptr) guest.find(rule("kernel-hashes-without-kernel"), guest.object());
  if (!hashes && kernel != nullptr)
    guest.find(rule("kernel-not-measured"), kernel, {},
               guest.in_language(Case::with(*guest.object(), {{"kernel-hashes", "on"}}),
                                 guest.protection() == Protection::sev_snp
                                     ? "<launchSecurity type='sev-snp' kernelHashes='yes'>"
                                     : "<launchSecurity type='sev' kernelHashes='yes'>"));
}

// arch/x86/mm/mem_encrypt_amd.c, sev_setup_arch(): 6 % of memory, in slots of 2 KiB.
std::uint64_t default_slots(std::uint64_t memory_bytes) {
  constexpr std::uint64_t slot = 2048, least = 64ull << 20, most = 1ull << 30;
  return std::clamp<std::uint64_t>(memory_bytes / 100 * 6, least, most) / slot;
}

void judge_swiotlb(Case& guest, const QemuOption& append, std::string_view value) {
  if (value.find("noforce") != std::string_view::npos) return guest.find(rule("noforce-in-guest"), &append);
  const auto slots = parse_qemu_number(value.substr(0, value.find(',')));
  const std::uint64_t usual = default_slots(guest.memory_bytes());
  if (slots && *slots != 0 && *slots < usual)
    guest.find(rule("pool-smaller-than-default"), &append,
               fmt::format("{} slots are {}; the guest would take {}", *slots, size_text(*slots << 11),
                           size_text(usual << 11)));
}

}  // namespace

void judge_kernel(Case& guest) {
  judge_hashes(guest);
  const QemuOption* const append = guest.last("append");
  for (const std::string_view word : guest.kernel_words()) {
    if (word == "mem_encrypt=off" || word == "mem_encrypt=on")
      guest.find(rule("mem-encrypt-off-has-no-effect"), append, std::string{word});
    if (word.starts_with("swiotlb=")) judge_swiotlb(guest, *append, word.substr(8));
  }
}

}  // namespace cbit::launch
