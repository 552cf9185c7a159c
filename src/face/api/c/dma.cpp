// The DMA API of cbit/linux.h: kernel::Dma for pointers.
#include "api/c/machine.hpp"
#include "kernel/mm/page_allocator.hpp"

using namespace cbit;
using api::Call;
using api::driver_of;

namespace {

DmaDirection direction_of(dma_data_direction direction) { return static_cast<DmaDirection>(direction); }
DmaAttrs attrs_of(unsigned long attrs) { return {attrs}; }
int errno_of(const Result<void, kernel::Errno>& done) { return done ? 0 : -static_cast<int>(done.error()); }

// No RAM: the DMA layer refuses it.
constexpr PhysAddr no_memory{bit_mask(52) & ~(page_size - 1)};

PhysAddr phys_of(const page* frame, std::uint64_t offset) {
  const phys_addr_t at = frame != nullptr ? page_to_phys(frame) : ~std::uint64_t{0};
  return at == ~std::uint64_t{0} ? no_memory : PhysAddr{at} + offset;
}

std::vector<kernel::ScatterEntry> entries_of(scatterlist* sg, int count) {
  std::vector<kernel::ScatterEntry> entries;
  for (int i = 0; i < count; ++i)
    entries.push_back({.phys = phys_of(sg_page(&sg[i]), sg[i].offset),
                       .length = sg[i].length,
                       .dma = DmaAddr{sg[i].dma_address},
                       .dma_length = sg[i].dma_length});
  return entries;
}

// As many as can be mapped, or -errno.
long map_list(device* dev, scatterlist* sg, int count, dma_data_direction direction, unsigned long attrs) {
  const Call call{dev};
  auto entries = entries_of(sg, count);
  const auto mapped =
      call->dma().map_sgtable(call.cpu(), driver_of(dev), entries, direction_of(direction), attrs_of(attrs));
  for (int i = 0; i < count; ++i) {
    sg[i].dma_address = entries[static_cast<std::size_t>(i)].dma.value();
    sg[i].dma_length = static_cast<unsigned>(entries[static_cast<std::size_t>(i)].dma_length);
  }
  return mapped ? static_cast<long>(*mapped) : -static_cast<int>(mapped.error());
}

}  // namespace

// ---- masks and limits -------------------------------------------------------------------------------------

int dma_set_mask(device* dev, u64 mask) {
  const Call call{dev};
  return errno_of(call->dma().set_mask(driver_of(dev), mask));
}
int dma_set_coherent_mask(device* dev, u64 mask) {
  const Call call{dev};
  return errno_of(call->dma().set_coherent_mask(driver_of(dev), mask));
}
int dma_set_mask_and_coherent(device* dev, u64 mask) {
  const int error = dma_set_mask(dev, mask);
  return error != 0 ? error : dma_set_coherent_mask(dev, mask);
}
u64 dma_get_mask(device* dev) { return driver_of(dev).streaming_mask(); }
u64 dma_get_required_mask(device* dev) { return dev->cbit->box->dma().required_mask(driver_of(dev)); }
bool dma_addressing_limited(device* dev) { return dev->cbit->box->dma().addressing_limited(driver_of(dev)); }
size_t dma_max_mapping_size(device* dev) { return dev->cbit->box->dma().max_mapping_size(driver_of(dev)); }
size_t dma_opt_mapping_size(device* dev) { return dev->cbit->box->dma().opt_mapping_size(driver_of(dev)); }
bool dma_need_sync(device* dev, dma_addr_t dma) {
  return dev->cbit->box->dma().need_sync(driver_of(dev), DmaAddr{dma});
}
int dma_set_max_seg_size(device* dev, unsigned size) {
  driver_of(dev).max_segment_size = size;
  return 0;
}
unsigned dma_get_max_seg_size(device* dev) { return driver_of(dev).max_segment_size; }
int dma_set_seg_boundary(device* dev, unsigned long mask) {
  driver_of(dev).seg_boundary_mask = mask;
  return 0;
}
int dma_set_min_align_mask(device* dev, unsigned mask) {
  driver_of(dev).min_align_mask = mask;
  return 0;
}

// ---- streaming --------------------------------------------------------------------------------------------

dma_addr_t dma_map_single_attrs(device* dev, void* at, size_t size, dma_data_direction direction,
                                unsigned long attrs) {
  const Call call{dev};
  return call->dma()
      .map_single(call.cpu(), driver_of(dev), call->dma_address_of(at), size, direction_of(direction),
                  attrs_of(attrs))
      .value();
}
void dma_unmap_single_attrs(device* dev, dma_addr_t dma, size_t size, dma_data_direction direction,
                            unsigned long attrs) {
  const Call call{dev};
  call->dma().unmap_single(call.cpu(), driver_of(dev), DmaAddr{dma}, size, direction_of(direction),
                           attrs_of(attrs));
}
dma_addr_t dma_map_page_attrs(device* dev, page* frame, size_t offset, size_t size,
                              dma_data_direction direction, unsigned long attrs) {
  const Call call{dev};
  return call->dma()
      .map_page(call.cpu(), driver_of(dev), phys_of(frame, offset), size, direction_of(direction),
                attrs_of(attrs))
      .value();
}
void dma_unmap_page_attrs(device* dev, dma_addr_t dma, size_t size, dma_data_direction direction,
                          unsigned long attrs) {
  const Call call{dev};
  call->dma().unmap_page(call.cpu(), driver_of(dev), DmaAddr{dma}, size, direction_of(direction),
                         attrs_of(attrs));
}
int dma_mapping_error(device* dev, dma_addr_t dma) {
  return dev->cbit->box->dma().mapping_error(driver_of(dev), DmaAddr{dma}) ? -ENOMEM : 0;
}
void dma_sync_single_for_cpu(device* dev, dma_addr_t dma, size_t size, dma_data_direction direction) {
  const Call call{dev};
  call->dma().sync_single_for_cpu(call.cpu(), driver_of(dev), DmaAddr{dma}, size, direction_of(direction));
}
void dma_sync_single_for_device(device* dev, dma_addr_t dma, size_t size, dma_data_direction direction) {
  const Call call{dev};
  call->dma().sync_single_for_device(call.cpu(), driver_of(dev), DmaAddr{dma}, size, direction_of(direction));
}

// ---- lists ------------------------------------------------------------------------------------------------

unsigned dma_map_sg_attrs(device* dev, scatterlist* sg, int entries, dma_data_direction direction,
                          unsigned long attrs) {
  return static_cast<unsigned>(std::max(0l, map_list(dev, sg, entries, direction, attrs)));
}
void dma_unmap_sg_attrs(device* dev, scatterlist* sg, int entries, dma_data_direction direction,
                        unsigned long attrs) {
  const Call call{dev};
  auto list = entries_of(sg, entries);
  call->dma().unmap_sg(call.cpu(), driver_of(dev), list, direction_of(direction), attrs_of(attrs));
}
void dma_sync_sg_for_cpu(device* dev, scatterlist* sg, int entries, dma_data_direction direction) {
  const Call call{dev};
  auto list = entries_of(sg, entries);
  call->dma().sync_sg_for_cpu(call.cpu(), driver_of(dev), list, direction_of(direction));
}
void dma_sync_sg_for_device(device* dev, scatterlist* sg, int entries, dma_data_direction direction) {
  const Call call{dev};
  auto list = entries_of(sg, entries);
  call->dma().sync_sg_for_device(call.cpu(), driver_of(dev), list, direction_of(direction));
}
int dma_map_sgtable(device* dev, sg_table* table, dma_data_direction direction, unsigned long attrs) {
  const long mapped = map_list(dev, table->sgl, static_cast<int>(table->orig_nents), direction, attrs);
  if (mapped < 0) return static_cast<int>(mapped);
  table->nents = static_cast<unsigned>(mapped);
  return 0;
}
void dma_unmap_sgtable(device* dev, sg_table* table, dma_data_direction direction, unsigned long attrs) {
  dma_unmap_sg_attrs(dev, table->sgl, static_cast<int>(table->orig_nents), direction, attrs);
}

// ---- coherent ---------------------------------------------------------------------------------------------

void* dma_alloc_attrs(device* dev, size_t size, dma_addr_t* dma, gfp_t flags, unsigned long attrs) {
  const Call call{dev};
  const auto made = call->dma().alloc(call.cpu(), driver_of(dev), size, (flags & __GFP_ATOMIC) != 0,
                                      attrs_of(attrs | ((flags & __GFP_NOWARN) != 0 ? DMA_ATTR_NO_WARN : 0)));
  if (!made) return nullptr;
  *dma = made->dma.value();
  return call->pages.add(made->cpu, align_up(size, page_size) / page_size).bytes;
}
void dma_free_attrs(device* dev, size_t size, void* at, dma_addr_t dma, unsigned long attrs) {
  const Call call{dev};
  const auto* const block = call->pages.find(at);
  // A wrong address is the DMA layer's to judge; the block goes with what it frees.
  call->dma().free(call.cpu(), driver_of(dev), {call->dma_address_of(at), DmaAddr{dma}, size},
                   attrs_of(attrs));
  if (block != nullptr && block->bytes == at) call->pages.remove(*block);
}
void* dmam_alloc_coherent(device* dev, size_t size, dma_addr_t* dma, gfp_t flags) {
  void* const at = dma_alloc_attrs(dev, size, dma, flags, 0);
  if (at == nullptr) return nullptr;
  dev->cbit->managed.emplace_back([=, bus = *dma] { dma_free_attrs(dev, size, at, bus, 0); });
  return at;
}
