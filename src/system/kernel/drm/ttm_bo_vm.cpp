// drivers/gpu/drm/ttm/ttm_bo_vm.c
#include <algorithm>

#include "kernel/drm/ttm_device.hpp"

namespace cbit::kernel {
namespace {

constexpr std::uint64_t ttm_bo_vm_num_prefault = 16;

}  // namespace

Result<VirtAddr, Errno> TtmDevice::mmap(UserSpace& user, TtmBo& bo) {
  const auto at = user.reserve(bo.pages);
  if (!at) return tl::unexpected{Errno::enomem};
  bo.vmas.push_back({&user, *at, std::vector<bool>(bo.pages)});
  return *at;
}

void TtmDevice::munmap(TtmBo& bo, VirtAddr at) {
  const auto vma = std::ranges::find(bo.vmas, at, &TtmVma::at);
  if (vma == bo.vmas.end()) return;
  vma->user->unmap(vma->at, bo.pages);
  bo.vmas.erase(vma);
}

// ttm_bo_unmap_virtual: the next touch finds the object where it is then, with the protection it has there.
void TtmDevice::unmap_virtual(TtmBo& bo) {
  for (TtmVma& vma : bo.vmas) {
    vma.user->unmap(vma.at, bo.pages);
    vma.inserted.assign(bo.pages, false);
  }
}

Result<void> TtmDevice::vm_fault(UserSpace& user, const Fault& fault) {
  const VirtAddr address = VirtAddr{fault.address}.page();
  for (TtmBo& bo : bos_)
    for (TtmVma& vma : bo.vmas)
      if (vma.user == &user && address >= vma.at && address - vma.at < bo.pages * page_size)
        return vm_fault_reserved(bo, vma, fault);
  return tl::unexpected{fault};
}

// ttm_bo_vm_fault_reserved. Only the first page's failure counts.
Result<void> TtmDevice::vm_fault_reserved(TtmBo& bo, TtmVma& vma, const Fault& fault) {
  const paging::SiteScope site{vma.user->mmu(), sites_.fault};
  const bool iomem = bo.placement == TtmPlacement::vram;
  if (!iomem && !tt_populate(kernel_->cpu(0), bo)) return tl::unexpected{fault};
  PageProtection prot = io_prot(bo);
  if (iomem) prot.encrypted = false;  // iomem should not be marked encrypted
  step_prot(vma.user->mmu(), bo, prot);
  const std::uint64_t first = (VirtAddr{fault.address} - vma.at) / page_size;
  for (std::uint64_t page = first; page < std::min(first + ttm_bo_vm_num_prefault, bo.pages); ++page) {
    if (vma.inserted[page]) continue;
    const auto done = vma.user->map_page(vma.at + page * page_size, page_address(bo, page), {.user = true},
                                         prot.encrypted ? 1 : 0, prot.caching);
    if (!done) return page == first ? done : Result<void>{};
    vma.inserted[page] = true;
  }
  return {};
}

namespace {

// Page by page: an access faults at most once per page, and what it did before is not repeated.
template <class Access>
Result<void> with_faults(TtmDevice& ttm, UserSpace& user, VirtAddr at, std::uint64_t bytes, Access&& access) {
  for (std::uint64_t done = 0; done < bytes;) {
    const std::uint64_t part = std::min(bytes - done, page_size - (at + done).page_offset());
    auto result = access(at + done, done, part);
    if (!result && result.error().kind == FaultKind::not_present) {
      CBIT_TRY(ttm.vm_fault(user, result.error()));
      result = access(at + done, done, part);
    }
    CBIT_TRY(std::move(result));
    done += part;
  }
  return {};
}

}  // namespace

Result<void> TtmDevice::user_read(UserSpace& user, VirtAddr from, ByteSpan to) {
  return with_faults(*this, user, from, to.size(), [&](VirtAddr at, std::uint64_t done, std::uint64_t bytes) {
    return user.mmu().read(at, to.subspan(done, bytes));
  });
}

Result<void> TtmDevice::user_write(UserSpace& user, VirtAddr to, ConstByteSpan from) {
  return with_faults(*this, user, to, from.size(), [&](VirtAddr at, std::uint64_t done, std::uint64_t bytes) {
    return user.mmu().write(at, from.subspan(done, bytes));
  });
}

}  // namespace cbit::kernel
