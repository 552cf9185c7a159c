// mprotect() and its two extensions: pkey_mprotect(), and what RFC-62 makes of it for encrypt_mprotect().
#include <cerrno>

#include "kernel/mm/process.hpp"

namespace cbit::kernel {

Result<void, int> Process::mprotect(VirtAddr at, std::uint64_t bytes, Prot prot) {
  return mprotect_ext(at, bytes, prot, {});
}

Result<void, int> Process::mprotect_ext(VirtAddr at, std::uint64_t bytes, Prot prot,
                                        const MprotectKeys& keys) {
  if (keys.pkey && keys.key_id) return tl::unexpected{EINVAL};
  if (!at.is_aligned(page_size)) return tl::unexpected{EINVAL};
  if (bytes == 0) return {};
  const VirtAddr end = CBIT_TRY(end_of_range(at, bytes));
  if (keys.pkey && !pkey_is_allocated(*keys.pkey)) return tl::unexpected{EINVAL};
  if (areas_.find(at) == nullptr) return tl::unexpected{ENOMEM};
  // mem_supports_encryption(): all areas of the range, before any is changed.
  if (keys.key_id && !encryptable(at, end)) return tl::unexpected{EINVAL};
  VirtAddr reached = at;
  areas_.split(at, end);
  areas_.for_each(at, end, [&](Vma& area) {
    if (area.first != reached) return;
    reached = area.end;
    if (keys.key_id) encrypt_area(area, *keys.key_id);
    // arch_override_mprotect_pkey(): other calls leave the protection key of the area as it is.
    if (keys.pkey) area.pkey = *keys.pkey;
    protect_area(area, prot);
  });
  areas_.merge(at, end);
  if (reached != end) return tl::unexpected{ENOMEM};
  return {};
}

// ---- protection keys ------------------------------------------------------------------------------------

bool Process::pkey_is_allocated(ProtectionKey pkey) const {
  return pkey < pkru_.size() && (pkeys_allocated_ >> pkey & 1) != 0;
}

Result<ProtectionKey, int> Process::pkey_alloc(PkeyRights rights) {
  for (ProtectionKey pkey = 1; pkey < pkru_.size(); ++pkey) {
    if (pkey_is_allocated(pkey)) continue;
    pkeys_allocated_ = static_cast<std::uint16_t>(pkeys_allocated_ | 1u << pkey);
    write_pkru(pkey, rights);
    return pkey;
  }
  return tl::unexpected{ENOSPC};
}

Result<void, int> Process::pkey_free(ProtectionKey pkey) {
  if (!pkey_is_allocated(pkey)) return tl::unexpected{EINVAL};
  pkeys_allocated_ = static_cast<std::uint16_t>(pkeys_allocated_ & ~(1u << pkey));
  return {};
}

void Process::write_pkru(ProtectionKey pkey, PkeyRights rights) { pkru_[pkey % pkru_.size()] = rights; }

// PKRU is about data: instruction fetches are not asked.
bool Process::pkru_allows(const Vma& area, paging::Intent intent) const {
  const PkeyRights rights = pkru_[area.pkey];
  if (intent == paging::Intent::execute) return true;
  return !rights.no_access && (intent == paging::Intent::read || !rights.no_write);
}

// ---- encryption -----------------------------------------------------------------------------------------

bool Process::encryptable(VirtAddr at, VirtAddr end) {
  bool all = true;
  areas_.for_each(at, end, [&](const Vma& area) { all &= area.anonymous(); });
  return all;
}

// mprotect_set_encrypt(): contents are lost, also where the KeyID stays.
void Process::encrypt_area(Vma& area, mem::KeySelector key) {
  const std::uint64_t zapped = zap(area.first, area.end);
  kernel_->machine().tracer().emit(
      space_->mmu().agent(), VmaKeyChanged{area.first, area.end - area.first, area.key.id(), key, zapped});
  area.key = kernel_->mm().user_pages().key_ref(key);
}

void Process::protect_area(Vma& area, Prot prot) {
  area.prot = prot;
  for (auto it = entries_.lower_bound(area.first); it != entries_.end() && it->first < area.end; ++it)
    // The page's tables are there already, so that this cannot fail for want of memory.
    if (it->second.swap == nullptr) static_cast<void>(update_table(it->first, area, it->second));
}

}  // namespace cbit::kernel
