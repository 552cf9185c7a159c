// mprotect() and what RFC-62 makes of it: do_mprotect_ext(), with a KeyID.
#include <cerrno>

#include "kernel/mm/process.hpp"

namespace cbit {

Result<void, int> Process::mprotect(VirtAddr at, std::uint64_t bytes, Prot prot) {
  return mprotect_ext(at, bytes, prot, std::nullopt);
}

Result<void, int> Process::mprotect_ext(VirtAddr at, std::uint64_t bytes, Prot prot,
                                        std::optional<KeySelector> key) {
  if (!at.is_aligned(page_size)) return tl::unexpected{EINVAL};
  if (bytes == 0) return {};
  const VirtAddr end = CBIT_TRY(end_of_range(at, bytes));
  if (areas_.find(at) == nullptr) return tl::unexpected{ENOMEM};
  // mem_supports_encryption(): all areas of the range, before any is changed.
  if (key && !encryptable(at, end)) return tl::unexpected{EINVAL};
  VirtAddr reached = at;
  areas_.split(at, end);
  areas_.for_each(at, end, [&](Vma& area) {
    if (area.first != reached) return;
    reached = area.end;
    if (key) encrypt_area(area, *key);
    protect_area(area, prot);
  });
  areas_.merge(at, end);
  if (reached != end) return tl::unexpected{ENOMEM};
  return {};
}

bool Process::encryptable(VirtAddr at, VirtAddr end) {
  bool all = true;
  areas_.for_each(at, end, [&](const Vma& area) { all &= area.anonymous(); });
  return all;
}

// mprotect_set_encrypt(): contents are lost, also where the KeyID stays.
void Process::encrypt_area(Vma& area, KeySelector key) {
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

}  // namespace cbit
