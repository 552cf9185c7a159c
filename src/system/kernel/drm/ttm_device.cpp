#include "kernel/drm/ttm_device.hpp"

#include "base/assert.hpp"

namespace cbit::kernel {

TtmDevice::TtmDevice(Kernel& kernel, Device& dev, TtmDeviceFuncs& funcs, const TtmDeviceConfig& config)
    : kernel_{&kernel},
      dev_{&dev},
      funcs_{&funcs},
      config_{config},
      pool_{kernel, dev, config.use_dma_alloc, config.use_dma32} {
  Tracer& tracer = kernel.machine().tracer();
  sites_ = {tracer.intern("ttm_bo_vmap"), tracer.intern("ttm_bo_kmap"), tracer.intern("ttm_bo_vm_fault"),
            tracer.intern("ttm_move_memcpy"), tracer.intern("ttm_tt_swapout")};
  vram_.add(0, config.vram.bytes / page_size);
}

TtmDevice::~TtmDevice() {
  while (!bos_.empty()) bo_put(kernel_->cpu(0), bos_.back());
}

// ---- buffer objects ---------------------------------------------------------------------------------------

// ttm_tt_create
void TtmDevice::tt_create(const paging::Mmu& cpu, TtmBo& bo, const BoRequest& request) {
  bo.tt.num_pages = bo.pages;
  bo.tt.caching = request.caching;
  bo.tt.zero_alloc = request.zero_alloc;
  bo.tt.dma_mapped = config_.dma_mapped;
  if (config_.policy != TtmPolicy::fixed || !config_.use_dma_alloc ||
      !kernel_->cc().has(CcAttr::guest_mem_encrypt))
    return;
  bo.tt.decrypted = true;
  if (said_decrypting_) return;
  said_decrypting_ = true;
  kernel_->machine().tracer().emit(cpu.agent(), KernelMessage{"TT memory decryption enabled."});
}

Result<TtmBo*, Errno> TtmDevice::bo_init(paging::Mmu& cpu, const BoRequest& request) {
  const std::uint64_t pages = request.bytes / page_size + (request.bytes % page_size != 0);
  if (pages == 0) return tl::unexpected{Errno::einval};
  if (pages > kernel_->mm().page_allocator().total_pages()) return tl::unexpected{Errno::enomem};
  TtmBo& bo = bos_.emplace_back();
  bo.bytes = request.bytes;
  bo.pages = pages;
  tt_create(cpu, bo, request);
  if (const auto placed = place(cpu, bo, request.placement); !placed) {
    bos_.pop_back();
    return tl::unexpected{placed.error()};
  }
  return &bo;
}

// The first placement, where there are no contents to move.
Result<void, Errno> TtmDevice::place(paging::Mmu& cpu, TtmBo& bo, TtmPlacement to) {
  switch (to) {
    case TtmPlacement::system: return {};
    case TtmPlacement::tt: return move_within_tt(cpu, bo, to);
    case TtmPlacement::vram:
      bo.vram_page = CBIT_TRY(take_vram(bo.pages));
      bo.placement = to;
      return bo.tt.zero_alloc ? clear_vram(cpu, bo, bo.vram_page) : Result<void, Errno>{};
  }
  return tl::unexpected{Errno::einval};
}

void TtmDevice::bo_put(paging::Mmu& cpu, TtmBo& bo) {
  unmap_virtual(bo);
  if (bo.placement == TtmPlacement::tt) funcs_->unbind(cpu, bo);
  if (bo.placement == TtmPlacement::vram) vram_.add(bo.vram_page, bo.pages);
  tt_unpopulate(cpu, bo.tt);
  for (const PhysAddr page : bo.tt.swap_storage) kernel_->mm().page_allocator().free(page, 1);
  bos_.remove_if([&](const TtmBo& each) { return &each == &bo; });
}

Result<std::uint64_t, Errno> TtmDevice::take_vram(std::uint64_t pages) {
  if (const auto first = vram_.take(pages, ~std::uint64_t{0})) return *first;
  return tl::unexpected{Errno::enospc};
}

PhysAddr TtmDevice::page_address(const TtmBo& bo, std::uint64_t page) const {
  CBIT_ASSERT(page < bo.pages);
  return bo.placement == TtmPlacement::vram ? vram_address(bo.vram_page + page) : bo.tt.pages.at(page);
}

// ---- pages ------------------------------------------------------------------------------------------------

Result<void, Errno> TtmDevice::tt_populate(paging::Mmu& cpu, TtmBo& bo) {
  if (bo.tt.populated) return {};
  CBIT_TRY(funcs_->tt_populate(cpu, pool_, bo.tt));
  bo.tt.populated = true;
  if (!bo.tt.swapped()) return {};
  if (const auto back = tt_swapin(cpu, bo.tt); !back) {
    tt_unpopulate(cpu, bo.tt);
    return back;
  }
  return {};
}

void TtmDevice::tt_unpopulate(paging::Mmu& cpu, TtmTt& tt) {
  if (!tt.populated) return;
  funcs_->tt_unpopulate(cpu, pool_, tt);
  tt.populated = false;
}

// copy_highpage() goes through the direct map on both sides, so each page is read and written with the
// attribute that the DMA layer gave it.
Result<std::uint64_t, Errno> TtmDevice::swapout(paging::Mmu& cpu, TtmBo& bo) {
  if (bo.pin_count != 0 || !bo.tt.populated || bo.tt.swapped()) return tl::unexpected{Errno::ebusy};
  CBIT_TRY(validate(cpu, bo, TtmPlacement::system, false));
  unmap_virtual(bo);
  Mm& mm = kernel_->mm();
  const paging::SiteScope site{cpu, sites_.swap};
  std::vector<PhysAddr> storage;
  for (const PhysAddr page : bo.tt.pages) {
    const auto to = mm.page_allocator().allocate(1);
    if (to) storage.push_back(*to);
    if (to && cpu.copy(mm.phys_to_virt(*to), mm.phys_to_virt(page), page_size)) continue;
    for (const PhysAddr each : storage) mm.page_allocator().free(each, 1);
    return tl::unexpected{Errno::enomem};
  }
  tt_unpopulate(cpu, bo.tt);
  bo.tt.swap_storage = std::move(storage);
  return bo.pages;
}

Result<void, Errno> TtmDevice::tt_swapin(paging::Mmu& cpu, TtmTt& tt) {
  Mm& mm = kernel_->mm();
  const paging::SiteScope site{cpu, sites_.swap};
  for (std::size_t i = 0; i < tt.swap_storage.size(); ++i)
    if (!cpu.copy(mm.phys_to_virt(tt.pages[i]), mm.phys_to_virt(tt.swap_storage[i]), page_size))
      return tl::unexpected{Errno::eio};
  for (const PhysAddr page : tt.swap_storage) mm.page_allocator().free(page, 1);
  tt.swap_storage.clear();
  return {};
}

// ---- moves ------------------------------------------------------------------------------------------------

void TtmDevice::report_move(const paging::Mmu& cpu, const TtmBo& bo, TtmPlacement from) {
  kernel_->machine().tracer().emit(
      cpu.agent(), BoMoved{dev_->name_id, bo.bytes, to_string(from), to_string(bo.placement)});
}

Result<void, Errno> TtmDevice::validate(paging::Mmu& cpu, TtmBo& bo, TtmPlacement to, bool accelerated) {
  const TtmPlacement from = bo.placement;
  if (from == to) return {};
  if (bo.pin_count != 0) return tl::unexpected{Errno::ebusy};
  unmap_virtual(bo);
  if (to == TtmPlacement::vram)
    CBIT_TRY(move_to_vram(cpu, bo, accelerated));
  else if (from == TtmPlacement::vram)
    CBIT_TRY(move_from_vram(cpu, bo, to, accelerated));
  else
    CBIT_TRY(move_within_tt(cpu, bo, to));
  report_move(cpu, bo, from);
  return {};
}

Result<void, Errno> TtmDevice::move_within_tt(paging::Mmu& cpu, TtmBo& bo, TtmPlacement to) {
  if (to == TtmPlacement::tt) {
    CBIT_TRY(tt_populate(cpu, bo));
    CBIT_TRY(funcs_->bind(cpu, bo));
  } else {
    funcs_->unbind(cpu, bo);
  }
  bo.placement = to;
  return {};
}

// From SYSTEM the GPU copies by way of TT, the only place where it sees the pages (-EMULTIHOP).
Result<void, Errno> TtmDevice::move_to_vram(paging::Mmu& cpu, TtmBo& bo, bool accelerated) {
  if (bo.tt.swapped()) CBIT_TRY(tt_populate(cpu, bo));
  const std::uint64_t target = CBIT_TRY(take_vram(bo.pages));
  const auto copy = [&]() -> Result<void, Errno> {
    if (!bo.tt.populated) return bo.tt.zero_alloc ? clear_vram(cpu, bo, target) : Result<void, Errno>{};
    if (accelerated && bo.placement == TtmPlacement::system)
      CBIT_TRY(move_within_tt(cpu, bo, TtmPlacement::tt));
    if (accelerated && funcs_->copy(cpu, bo, true, target)) return {};
    return move_memcpy(cpu, bo, true, target);
  };
  if (const auto copied = copy(); !copied) {
    vram_.add(target, bo.pages);
    return copied;
  }
  if (bo.placement == TtmPlacement::tt) funcs_->unbind(cpu, bo);
  tt_unpopulate(cpu, bo.tt);
  bo.placement = TtmPlacement::vram;
  bo.vram_page = target;
  return {};
}

Result<void, Errno> TtmDevice::move_from_vram(paging::Mmu& cpu, TtmBo& bo, TtmPlacement to,
                                              bool accelerated) {
  CBIT_TRY(tt_populate(cpu, bo));
  const bool through_tt = accelerated || to == TtmPlacement::tt;
  if (through_tt) {
    if (const auto bound = funcs_->bind(cpu, bo); !bound) {
      tt_unpopulate(cpu, bo.tt);
      return bound;
    }
  }
  const bool copied = (accelerated && funcs_->copy(cpu, bo, false, bo.vram_page)) ||
                      move_memcpy(cpu, bo, false, bo.vram_page).has_value();
  if (through_tt && (to != TtmPlacement::tt || !copied)) funcs_->unbind(cpu, bo);
  if (!copied) {
    tt_unpopulate(cpu, bo.tt);
    return tl::unexpected{Errno::eio};
  }
  vram_.add(bo.vram_page, bo.pages);
  bo.placement = to;
  return {};
}

}  // namespace cbit::kernel
