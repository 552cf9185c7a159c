// drivers/gpu/drm/ttm/ttm_bo_util.c
#include "base/format.hpp"
#include "kernel/drm/ttm_device.hpp"

namespace cbit::kernel {
namespace {

constexpr std::string_view source_prot = "drivers/gpu/drm/ttm/ttm_bo_util.c: ttm_io_prot";

mem::KeySelector selector_of(const PageProtection& prot) { return prot.encrypted ? 1 : 0; }

}  // namespace

// ---- ttm_io_prot ------------------------------------------------------------------------------------------

PageProtection TtmDevice::io_prot(const TtmBo& bo) const {
  const bool encrypted = kernel_->cc().has(CcAttr::mem_encrypt);
  if (bo.placement == TtmPlacement::vram) return {encrypted, paging::PageCaching::write_combined};
  switch (config_.policy) {
    case TtmPolicy::before_fix: return {encrypted, bo.tt.caching};
    case TtmPolicy::fixed: return {encrypted && !bo.tt.decrypted, bo.tt.caching};
    case TtmPolicy::always_decrypted: return {false, bo.tt.caching};
    case TtmPolicy::ask_dma: break;
  }
  if (bo.tt.blocks.empty() || !bo.tt.blocks.front().coherent) return {encrypted, bo.tt.caching};
  return {kernel_->dma().mapping_encrypted(*bo.tt.blocks.front().coherent).value_or(encrypted),
          bo.tt.caching};
}

void TtmDevice::step_prot(const paging::Mmu& cpu, const TtmBo& bo, const PageProtection& prot) {
  Tracer& tracer = kernel_->machine().tracer();
  if (!tracer.enabled()) return;
  tracer.emit(
      cpu.agent(),
      StepTaken{fmt::format("{} placement, policy {}{}: mapped {}, {}", to_string(bo.placement),
                            to_string(config_.policy), bo.tt.decrypted ? ", TTM_TT_FLAG_DECRYPTED" : "",
                            prot.encrypted ? "encrypted" : "decrypted", ttm_caching_name(prot.caching)),
                source_prot});
}

// ---- vmap and kmap ----------------------------------------------------------------------------------------

Result<VirtAddr, Errno> TtmDevice::map_pages(paging::Mmu& cpu, const TtmBo& bo, std::uint64_t first,
                                             std::uint64_t count) {
  const PageProtection prot = io_prot(bo);
  step_prot(cpu, bo, prot);
  const auto pages = bo.tt.pages.begin() + static_cast<std::ptrdiff_t>(first);
  const auto at = kernel_->mm().vmap({pages, pages + static_cast<std::ptrdiff_t>(count)}, selector_of(prot),
                                     prot.caching);
  if (!at) return tl::unexpected{Errno::enomem};
  return *at;
}

Result<VirtAddr, Errno> TtmDevice::vmap(paging::Mmu& cpu, TtmBo& bo) {
  const paging::SiteScope site{cpu, sites_.vmap};
  VirtAddr at;
  if (bo.placement == TtmPlacement::vram) {
    const auto mapped = kernel_->mm().ioremap(vram_address(bo.vram_page), bo.pages * page_size,
                                              paging::PageCaching::write_combined);
    if (!mapped) return tl::unexpected{Errno::enomem};
    at = *mapped;
  } else {
    CBIT_TRY(tt_populate(cpu, bo));
    at = CBIT_TRY(map_pages(cpu, bo, 0, bo.pages));
  }
  ++bo.pin_count;
  return at;
}

void TtmDevice::vunmap(TtmBo& bo, VirtAddr at) {
  kernel_->mm().vunmap(at, bo.pages);
  --bo.pin_count;
}

Result<TtmKmap, Errno> TtmDevice::kmap(paging::Mmu& cpu, TtmBo& bo, std::uint64_t first,
                                       std::uint64_t count) {
  if (count == 0 || count > bo.pages || first > bo.pages - count) return tl::unexpected{Errno::einval};
  const paging::SiteScope site{cpu, sites_.kmap};
  TtmKmap map{TtmKmap::Kind::iomap, {}, count};
  if (bo.placement == TtmPlacement::vram) {
    const auto mapped = kernel_->mm().ioremap(vram_address(bo.vram_page + first), count * page_size,
                                              paging::PageCaching::write_combined);
    if (!mapped) return tl::unexpected{Errno::enomem};
    map.at = *mapped;
  } else {
    CBIT_TRY(tt_populate(cpu, bo));
    const bool direct = count == 1 && bo.tt.caching == paging::PageCaching::write_back && !bo.tt.decrypted;
    map.kind = direct ? TtmKmap::Kind::kmap : TtmKmap::Kind::vmap;
    map.at =
        direct ? kernel_->mm().phys_to_virt(bo.tt.pages[first]) : CBIT_TRY(map_pages(cpu, bo, first, count));
  }
  ++bo.pin_count;
  return map;
}

void TtmDevice::kunmap(TtmBo& bo, const TtmKmap& map) {
  if (map.kind != TtmKmap::Kind::kmap) kernel_->mm().vunmap(map.at, map.pages);
  --bo.pin_count;
}

// ---- ttm_bo_move_memcpy -----------------------------------------------------------------------------------

Result<void, Errno> TtmDevice::move_memcpy(paging::Mmu& cpu, const TtmBo& bo, bool to_vram,
                                           std::uint64_t vram_page) {
  const paging::SiteScope site{cpu, sites_.move};
  Mm& mm = kernel_->mm();
  const auto io =
      mm.ioremap(vram_address(vram_page), bo.pages * page_size, paging::PageCaching::write_combined);
  if (!io) return tl::unexpected{Errno::enomem};
  bool good = true;
  for (std::uint64_t i = 0; i < bo.pages && good; ++i) {
    const VirtAddr page = mm.phys_to_virt(bo.tt.pages[i]);
    const VirtAddr vram = *io + i * page_size;
    good = cpu.copy(to_vram ? vram : page, to_vram ? page : vram, page_size).has_value();
  }
  mm.iounmap(*io, bo.pages * page_size);
  if (!good) return tl::unexpected{Errno::eio};
  return {};
}

Result<void, Errno> TtmDevice::clear_vram(paging::Mmu& cpu, const TtmBo& bo, std::uint64_t vram_page) {
  const paging::SiteScope site{cpu, sites_.move};
  Mm& mm = kernel_->mm();
  const auto io =
      mm.ioremap(vram_address(vram_page), bo.pages * page_size, paging::PageCaching::write_combined);
  if (!io) return tl::unexpected{Errno::enomem};
  const bool good = cpu.fill(*io, bo.pages * page_size, std::byte{0}).has_value();
  mm.iounmap(*io, bo.pages * page_size);
  if (!good) return tl::unexpected{Errno::eio};
  return {};
}

}  // namespace cbit::kernel
