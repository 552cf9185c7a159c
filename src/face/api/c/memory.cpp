// Memory and confidential computing of cbit/linux.h, and scatterlists.
#include <cstdlib>
#include <limits>

#include "api/c/machine.hpp"
#include "kernel/dma/direct.hpp"
#include "kernel/mm/page_allocator.hpp"

using namespace cbit;
using api::Call;
using api::current_machine;

namespace {

constexpr std::uint64_t kmalloc_max_bytes = page_size << kernel::max_order_6_1;

std::uint64_t pages_of(std::uint64_t bytes) {
  return (std::max<std::uint64_t>(bytes, 1) + page_size - 1) / page_size;
}

std::uint64_t limit_of(gfp_t flags) {
  if ((flags & __GFP_DMA) != 0) return bit_mask(24);
  return (flags & __GFP_DMA32) != 0 ? bit_mask(32) : bit_mask(64);
}

int set_memory(unsigned long at, int pages, bool encrypted) {
  cbit_sandbox* const box = current_machine();
  if (box == nullptr) return -ENODEV;
  const Call call{*box};
  const auto address = box->address_of(reinterpret_cast<const void*>(at));
  if (!address || pages < 0) return -EFAULT;
  const auto count = static_cast<std::uint64_t>(pages);
  const auto done = encrypted ? box->mm().set_memory_encrypted(call.cpu(), address->page(), count)
                              : box->mm().set_memory_decrypted(call.cpu(), address->page(), count);
  if (done) return 0;
  switch (done.error().kind) {
    case FaultKind::conversion_refused: return -EIO;
    case FaultKind::no_memory: return -ENOMEM;
    default: return -EFAULT;
  }
}

}  // namespace

std::optional<VirtAddr> cbit_sandbox::address_of(const volatile void* pointer) const {
  const void* const plain = const_cast<const void*>(pointer);
  const auto* const block = pages.find(plain);
  if (block == nullptr) return std::nullopt;
  return block->at + static_cast<std::uint64_t>(static_cast<const std::byte*>(plain) - block->bytes);
}

VirtAddr cbit_sandbox::dma_address_of(const void* pointer) const {
  const bool five_levels = bed->machine().paging().levels == 5;
  return address_of(pointer).value_or(five_levels ? kernel::vmalloc_base_l5 : kernel::vmalloc_base);
}

void* cbit_sandbox::allocate(std::uint64_t bytes, gfp_t flags) {
  if (bytes > kmalloc_max_bytes) return nullptr;
  const Call call{*this};
  const std::uint64_t count = pages_of(bytes);
  const auto at = mm().alloc_pages(count, limit_of(flags));
  if (!at) return nullptr;
  if ((flags & __GFP_ZERO) != 0) static_cast<void>(cpu().fill(*at, count * page_size, std::byte{0}));
  return pages.add(*at, count).bytes;
}

void cbit_sandbox::free(const void* at, std::string_view function) {
  const Call call{*this};
  const auto* const block = pages.find(at);
  if (block == nullptr || block->bytes != at || !mm().in_direct_map(block->at))
    return log(std::string{function} + " of what is not allocated");
  mm().free_pages(block->at, block->pages);
  pages.remove(*block);
}

// ---- allocation -------------------------------------------------------------------------------------------

void* kmalloc(size_t size, gfp_t flags) {
  cbit_sandbox* const box = current_machine();
  return box != nullptr ? box->allocate(size, flags) : nullptr;
}
void* kmalloc_array(size_t n, size_t size, gfp_t flags) {
  std::size_t bytes = 0;
  return __builtin_mul_overflow(n, size, &bytes) ? nullptr : kmalloc(bytes, flags);
}
void kfree(const void* at) {
  cbit_sandbox* const box = current_machine();
  if (at != nullptr && box != nullptr) box->free(at, "kfree");
}
void* vmalloc(unsigned long size) { return std::malloc(size); }
void* vzalloc(unsigned long size) { return std::calloc(1, size); }
void vfree(const void* at) { std::free(const_cast<void*>(at)); }

void* devm_kmalloc(device* dev, size_t size, gfp_t flags) {
  void* const at = dev->cbit->box->allocate(size, flags);
  if (at != nullptr) dev->cbit->managed.emplace_back([=] { dev->cbit->box->free(at, "devm_kfree"); });
  return at;
}
void* devm_kcalloc(device* dev, size_t n, size_t size, gfp_t flags) {
  std::size_t bytes = 0;
  return __builtin_mul_overflow(n, size, &bytes) ? nullptr : devm_kmalloc(dev, bytes, flags | __GFP_ZERO);
}

// ---- pages ------------------------------------------------------------------------------------------------

unsigned long __get_free_pages(gfp_t flags, unsigned order) {
  if (order > kernel::max_order_6_1) return 0;
  return reinterpret_cast<unsigned long>(kmalloc(page_size << order, flags));
}
void free_pages(unsigned long at, unsigned) { kfree(reinterpret_cast<const void*>(at)); }
page* alloc_pages(gfp_t flags, unsigned order) {
  return virt_to_page(reinterpret_cast<const void*>(__get_free_pages(flags, order)));
}
void __free_pages(page* frame, unsigned) { kfree(page_address(frame)); }
int get_order(unsigned long size) { return static_cast<int>(kernel::get_order(size)); }

void* page_address(const page* frame) {
  cbit_sandbox* const box = current_machine();
  const auto* const block = box != nullptr ? box->pages.find(frame) : nullptr;
  return block != nullptr ? block->bytes + static_cast<std::size_t>(frame - block->frames()) * page_size
                          : nullptr;
}
phys_addr_t page_to_phys(const page* frame) { return virt_to_phys(page_address(frame)); }
page* virt_to_page(const void* at) {
  cbit_sandbox* const box = current_machine();
  const auto* const block = box != nullptr ? box->pages.find(at) : nullptr;
  if (block == nullptr) return nullptr;
  return block->frames() +
         static_cast<std::size_t>(static_cast<const std::byte*>(at) - block->bytes) / page_size;
}
phys_addr_t virt_to_phys(const volatile void* at) {
  cbit_sandbox* const box = current_machine();
  const auto address = box != nullptr ? box->address_of(at) : std::nullopt;
  if (!address || !box->mm().in_direct_map(*address)) return bit_mask(64);
  return box->mm().virt_to_phys(*address).value();
}
bool virt_addr_valid(const void* at) { return virt_to_phys(at) != bit_mask(64); }
void* phys_to_virt(phys_addr_t at) {
  cbit_sandbox* const box = current_machine();
  if (box == nullptr) return nullptr;
  const VirtAddr address = box->mm().phys_to_virt(PhysAddr{at});
  const auto* const block = box->pages.find(address);
  return block != nullptr ? block->bytes + (address - block->at) : nullptr;
}

// ---- confidential computing -------------------------------------------------------------------------------

int set_memory_encrypted(unsigned long at, int pages) { return set_memory(at, pages, true); }
int set_memory_decrypted(unsigned long at, int pages) { return set_memory(at, pages, false); }

static_assert(static_cast<int>(spec::CcAttr::mem_encrypt) == CC_ATTR_MEM_ENCRYPT &&
              static_cast<int>(spec::CcAttr::host_mem_encrypt) == CC_ATTR_HOST_MEM_ENCRYPT &&
              static_cast<int>(spec::CcAttr::guest_mem_encrypt) == CC_ATTR_GUEST_MEM_ENCRYPT &&
              static_cast<int>(spec::CcAttr::guest_state_encrypt) == CC_ATTR_GUEST_STATE_ENCRYPT &&
              static_cast<int>(spec::CcAttr::guest_unroll_string_io) == CC_ATTR_GUEST_UNROLL_STRING_IO &&
              static_cast<int>(spec::CcAttr::guest_sev_snp) == CC_ATTR_GUEST_SEV_SNP);

bool cc_platform_has(cc_attr attr) {
  cbit_sandbox* const box = current_machine();
  return box != nullptr && box->kernel().cc().has(static_cast<spec::CcAttr>(attr));
}

// ---- scatterlists -----------------------------------------------------------------------------------------

namespace {

constexpr unsigned long last_entry = 2;  // bit 1 of page_link

}  // namespace

void sg_init_table(scatterlist* sg, unsigned entries) {
  std::memset(sg, 0, entries * sizeof *sg);
  if (entries != 0) sg_mark_end(&sg[entries - 1]);
}
void sg_init_one(scatterlist* sg, const void* at, unsigned length) {
  sg_init_table(sg, 1);
  sg_set_buf(sg, at, length);
}
void sg_set_page(scatterlist* sg, page* frame, unsigned length, unsigned offset) {
  sg->page_link = reinterpret_cast<unsigned long>(frame) | (sg->page_link & last_entry);
  sg->offset = offset;
  sg->length = length;
}
void sg_set_buf(scatterlist* sg, const void* at, unsigned length) {
  sg_set_page(sg, virt_to_page(at), length,
              static_cast<unsigned>(reinterpret_cast<std::uintptr_t>(at) % page_size));
}
void sg_mark_end(scatterlist* sg) { sg->page_link |= last_entry; }
bool sg_is_last(scatterlist* sg) { return (sg->page_link & last_entry) != 0; }
page* sg_page(scatterlist* sg) { return reinterpret_cast<page*>(sg->page_link & ~3ul); }
void* sg_virt(scatterlist* sg) {
  auto* const first = static_cast<std::byte*>(page_address(sg_page(sg)));
  return first != nullptr ? first + sg->offset : nullptr;
}
phys_addr_t sg_phys(scatterlist* sg) { return page_to_phys(sg_page(sg)) + sg->offset; }
scatterlist* sg_next(scatterlist* sg) { return sg_is_last(sg) ? nullptr : sg + 1; }
int sg_nents(scatterlist* sg) {
  int entries = 0;
  for (; sg != nullptr; sg = sg_next(sg)) ++entries;
  return entries;
}
int sg_alloc_table(sg_table* table, unsigned entries, gfp_t) {
  *table = {};
  if (entries == 0) return -EINVAL;
  table->sgl = static_cast<scatterlist*>(std::calloc(entries, sizeof(scatterlist)));
  if (table->sgl == nullptr) return -ENOMEM;
  table->nents = table->orig_nents = entries;
  sg_init_table(table->sgl, entries);
  return 0;
}
void sg_free_table(sg_table* table) {
  std::free(table->sgl);
  *table = {};
}
