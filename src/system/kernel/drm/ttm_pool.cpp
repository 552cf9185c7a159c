#include "kernel/drm/ttm_pool.hpp"

#include <algorithm>
#include <bit>

namespace cbit::kernel {
namespace {

constexpr DmaAttrs attrs_of(unsigned order) {
  return order > 0 ? dma_attr::force_contiguous | dma_attr::no_warn : dma_attr::force_contiguous;
}

// __fls, but not beyond the largest order.
unsigned order_for(std::uint64_t pages) {
  return std::min(ttm_order_max, static_cast<unsigned>(std::bit_width(pages)) - 1);
}

}  // namespace

TtmPool::TtmPool(Kernel& kernel, Device& dev, bool use_dma_alloc, bool use_dma32)
    : kernel_{&kernel},
      dev_{&dev},
      use_dma_alloc_{use_dma_alloc},
      use_dma32_{use_dma32},
      give_site_{kernel.machine().tracer().intern("ttm_pool_type_give")},
      page_pool_size_{kernel.mm().page_allocator().total_pages() / 2} {}

TtmPool::~TtmPool() {
  while (shrink(kernel_->cpu(0))) continue;
}

// ---- blocks -----------------------------------------------------------------------------------------------

TtmPool::Shelf* TtmPool::select(paging::PageCaching caching, unsigned order) {
  if (!use_dma_alloc_ && caching == paging::PageCaching::write_back) return nullptr;
  return &shelves_[static_cast<std::size_t>(caching)][order];
}

std::optional<TtmBlock> TtmPool::alloc_block(paging::Mmu& cpu, unsigned order, bool zero) {
  const std::uint64_t bytes = page_size << order;
  Mm& mm = kernel_->mm();
  if (use_dma_alloc_) {
    const auto made = kernel_->dma().alloc(cpu, *dev_, bytes, false, attrs_of(order));
    if (!made) return std::nullopt;
    const auto where = cpu.translate(made->cpu, paging::Intent::read);
    if (!where) {
      kernel_->dma().free(cpu, *dev_, *made, attrs_of(order));
      return std::nullopt;
    }
    return TtmBlock{where->phys, order, *made};
  }
  const std::uint64_t pages = std::uint64_t{1} << order;
  const auto first = mm.page_allocator().allocate(pages, use_dma32_ ? bit_mask(32) : bit_mask(64), pages);
  if (!first) return std::nullopt;
  if (zero && !cpu.fill(mm.phys_to_virt(*first), bytes, std::byte{0})) {
    mm.page_allocator().free(*first, pages);
    return std::nullopt;
  }
  return TtmBlock{*first, order, std::nullopt};
}

void TtmPool::free_block(paging::Mmu& cpu, paging::PageCaching caching, const TtmBlock& block) {
  Mm& mm = kernel_->mm();
  if (caching != paging::PageCaching::write_back) {
    std::vector<PhysAddr> pages;
    for (std::uint64_t i = 0; i < block.pages(); ++i) pages.push_back(block.first + i * page_size);
    (void)mm.set_pages_array(cpu, pages,
                             paging::PageCaching::write_back);  // set_pages_wb: nobody looks at its result
  }
  if (block.coherent)
    kernel_->dma().free(cpu, *dev_, *block.coherent, attrs_of(block.order));
  else
    mm.page_allocator().free(block.first, block.pages());
}

// ttm_pool_type_take
std::optional<TtmBlock> TtmPool::take(Shelf& shelf) {
  if (shelf.empty()) return std::nullopt;
  const TtmBlock block = shelf.back();
  shelf.pop_back();
  on_shelves_ -= block.pages();
  return block;
}

// ttm_pool_type_give: cleared with the direct map's encryption attribute, whatever the tt's mappings had.
void TtmPool::give(paging::Mmu& cpu, Shelf& shelf, const TtmBlock& block) {
  const paging::SiteScope site{cpu, give_site_};
  // A page that cannot be cleared is lost to everybody.
  if (!cpu.fill(kernel_->mm().phys_to_virt(block.first), block.pages() * page_size, std::byte{0})) return;
  shelf.push_back(block);
  on_shelves_ += block.pages();
}

bool TtmPool::shrink(paging::Mmu& cpu) {
  for (std::size_t caching = 0; caching < shelves_.size(); ++caching)
    for (Shelf& shelf : shelves_[caching])
      if (const auto block = take(shelf)) {
        free_block(cpu, static_cast<paging::PageCaching>(caching), *block);
        return true;
      }
  return false;
}

// ---- ttm_pool_alloc ---------------------------------------------------------------------------------------

Result<void, Errno> TtmPool::alloc(paging::Mmu& cpu, TtmTt& tt) {
  Filling filling{cpu, tt, tt.num_pages};
  const auto fill = [&]() -> Result<void, Errno> {
    unsigned order = order_for(filling.left);
    while (filling.left != 0) {
      order = std::min(order, order_for(filling.left));
      CBIT_TRY(take_blocks(filling, order));
      CBIT_TRY(alloc_blocks(filling, order));
      const bool out_of_blocks = filling.left >> order != 0;
      if (out_of_blocks && order == 0) return tl::unexpected{Errno::enomem};
      if (out_of_blocks) --order;
    }
    return apply_caching(filling);
  };
  auto filled = fill();
  if (filled) {
    kernel_->machine().tracer().emit(
        cpu.agent(),
        TtPopulated{dev_->name_id, tt.num_pages, ttm_caching_name(tt.caching), use_dma_alloc_, tt.decrypted});
    return filled;
  }
  free_range(cpu, tt, tt.caching, 0, filling.blocks_finished);
  free_range(cpu, tt, paging::PageCaching::write_back, filling.blocks_finished, tt.blocks.size());
  tt.blocks.clear();
  tt.pages.clear();
  tt.dma_address.clear();
  return filled;
}

// What lies on a shelf has the tt's caching already.
Result<void, Errno> TtmPool::take_blocks(Filling& filling, unsigned order) {
  Shelf* const shelf = select(filling.tt.caching, order);
  if (shelf == nullptr || shelf->empty()) return {};
  CBIT_TRY(apply_caching(filling));
  while (filling.left >> order != 0) {
    const auto block = take(*shelf);
    if (!block) break;
    CBIT_TRY(add(filling, *block, filling.tt.caching));
    ++reused_;
    filling.blocks_finished = filling.tt.blocks.size();
  }
  return {};
}

Result<void, Errno> TtmPool::alloc_blocks(Filling& filling, unsigned order) {
  while (filling.left >> order != 0) {
    const auto block = alloc_block(filling.cpu, order, filling.tt.zero_alloc);
    if (!block) break;
    CBIT_TRY(add(filling, *block, paging::PageCaching::write_back));
  }
  return {};
}

// ttm_pool_page_allocated and ttm_pool_map
Result<void, Errno> TtmPool::add(Filling& filling, const TtmBlock& block, paging::PageCaching caching) {
  TtmTt& tt = filling.tt;
  DmaAddr dma = block.coherent ? block.coherent->dma : DmaAddr{};
  if (tt.dma_mapped && !block.coherent) {
    dma = kernel_->dma().map_page(filling.cpu, *dev_, block.first, block.pages() * page_size,
                                  DmaDirection::bidirectional);
    if (kernel_->dma().mapping_error(*dev_, dma)) {
      free_block(filling.cpu, caching, block);
      return tl::unexpected{Errno::efault};
    }
  }
  tt.blocks.push_back(block);
  for (std::uint64_t i = 0; i < block.pages(); ++i) {
    tt.pages.push_back(block.first + i * page_size);
    if (tt.dma_mapped) tt.dma_address.push_back(dma + i * page_size);
  }
  filling.left -= block.pages();
  return {};
}

Result<void, Errno> TtmPool::apply_caching(Filling& filling) {
  const TtmTt& tt = filling.tt;
  std::uint64_t first = 0;
  for (std::size_t i = 0; i < filling.blocks_finished; ++i) first += tt.blocks[i].pages();
  const auto pages = std::span{tt.pages}.subspan(first);
  if (tt.caching != paging::PageCaching::write_back &&
      !kernel_->mm().set_pages_array(filling.cpu, pages, tt.caching))
    return tl::unexpected{Errno::enomem};
  filling.blocks_finished = tt.blocks.size();
  return {};
}

// ---- ttm_pool_free ----------------------------------------------------------------------------------------

void TtmPool::free(paging::Mmu& cpu, TtmTt& tt) {
  free_range(cpu, tt, tt.caching, 0, tt.blocks.size());
  tt.blocks.clear();
  tt.pages.clear();
  tt.dma_address.clear();
  while (on_shelves_ > page_pool_size_) shrink(cpu);
}

void TtmPool::free_range(paging::Mmu& cpu, TtmTt& tt, paging::PageCaching caching, std::size_t first,
                         std::size_t end) {
  std::uint64_t page = 0;
  for (std::size_t i = 0; i < end; page += tt.blocks[i++].pages()) {
    if (i < first) continue;
    const TtmBlock& block = tt.blocks[i];
    if (tt.dma_mapped && !block.coherent)
      kernel_->dma().unmap_page(cpu, *dev_, tt.dma_address[page], block.pages() * page_size,
                                DmaDirection::bidirectional);
    if (Shelf* const shelf = select(caching, block.order))
      give(cpu, *shelf, block);
    else
      free_block(cpu, caching, block);
  }
}

}  // namespace cbit::kernel
