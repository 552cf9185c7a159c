// Where pools come from: at boot, from a device tree, and from growth [6.6].
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <tuple>
#include <utility>

#include "kernel/dma/swiotlb_state.hpp"

namespace cbit::kernel {
namespace {

// SLABS_PER_PAGE << MAX_ORDER: the largest block of the page allocator.
constexpr std::uint64_t block_slots_max = page_size / io_tlb_size << max_order_6_1;

constexpr std::uint64_t low_memory = bit_mask(32);  // ARCH_LOW_ADDRESS_LIMIT

std::uint64_t halved(std::uint64_t slots) { return align_up(slots >> 1, io_tlb_segsize); }

}  // namespace

Swiotlb::Impl::Impl(Mm& kernel_mm, const CcPlatform& platform, KernelVersion kernel_version)
    : mm{kernel_mm},
      cc{platform},
      version{kernel_version},
      encrypted{platform.has(CcAttr::mem_encrypt)},
      tracer{kernel_mm.machine().tracer()},
      bounce_site{tracer.intern("swiotlb_bounce")},
      init_site{tracer.intern(version == KernelVersion::v6_1 ? "swiotlb_init_io_tlb_mem"
                                                             : "swiotlb_init_io_tlb_pool")},
      cpu_counters(kernel_mm.cpu_count()) {
  switch (version) {
    case KernelVersion::v6_1: search_source = "kernel/dma/swiotlb.c: swiotlb_do_find_slots"; break;
    case KernelVersion::v6_6: search_source = "kernel/dma/swiotlb.c: swiotlb_area_find_slots"; break;
    case KernelVersion::v6_10:
    case KernelVersion::v6_12:
    case KernelVersion::v6_19:
    case KernelVersion::v7_2:
    case KernelVersion::v7_3:
    case KernelVersion::next: search_source = "kernel/dma/swiotlb.c: swiotlb_search_pool_area"; break;
  }
}

void Swiotlb::Impl::add_pool(mem::PhysRange memory, unsigned areas) {
  pools.push_back(std::make_unique<SwiotlbPool>(version, memory, areas));
  slots += pools.back()->slots();
}

Result<void> Swiotlb::Impl::clear(paging::Mmu& cpu, mem::PhysRange memory) {
  const paging::SiteScope site{cpu, init_site};
  return cpu.fill(mm.phys_to_virt(memory.first), memory.bytes, std::byte{0});
}

// ---- at boot --------------------------------------------------------------------------------------------

// The pool is cleared at once, through the encrypted direct map, and decrypted when the kernel can do that;
// nobody clears it again, so its first reader finds ciphertext of zeros. Up to 7.2 nobody looks at the
// decryption's result.
Result<std::unique_ptr<Swiotlb>> Swiotlb::create_default(Mm& mm, const CcPlatform& cc, KernelVersion version,
                                                         const SwiotlbSizing& sizing, bool dynamic) {
  auto swiotlb = std::unique_ptr<Swiotlb>{new Swiotlb{std::make_unique<Impl>(mm, cc, version)}};
  Impl& impl = *swiotlb->impl_;
  paging::Mmu& cpu = mm.cpu(0);
  for (const std::string& text : sizing.messages) impl.message(cpu, [&] { return text; });

  std::uint64_t slots = sizing.slots;
  std::optional<PhysAddr> first;
  while (!(first = mm.page_allocator().allocate(pages_for(slots * io_tlb_size), low_memory))) {
    impl.message(cpu, [&] {
      return fmt::format("software IO TLB: swiotlb_memblock_alloc: Failed to allocate {} bytes tlb structure",
                         slots * io_tlb_size);
    });
    if (slots <= spec::io_tlb_min_slabs) return nullptr;
    slots = halved(slots);
  }
  if (slots != sizing.slots)
    impl.message(cpu, [&] {
      return fmt::format("software IO TLB: SWIOTLB bounce buffer size adjusted {} -> {} slabs", sizing.slots,
                         slots);
    });

  impl.enabled = sizing.enabled;
  impl.force_bounce = sizing.force_bounce;
  impl.can_grow = dynamic && spec::has_dynamic_swiotlb(version);
  impl.track_hiwater = sizing.track_hiwater;
  impl.default_slots = slots;
  impl.default_areas = sizing.areas;
  impl.add_pool({*first, slots * io_tlb_size}, sizing.areas);
  CBIT_TRY(impl.clear(cpu, swiotlb->default_pool()));
  if (impl.encrypted) {
    const paging::SiteScope site{cpu, mm.machine().tracer().intern("swiotlb_update_mem_attributes")};
    const auto decrypted =
        mm.set_memory_decrypted(cpu, mm.phys_to_virt(*first), pages_for(slots * io_tlb_size));
    if (!decrypted && version >= KernelVersion::v7_3) {
      impl.message(cpu, [] {
        return std::string{"software IO TLB: Failed to decrypt default memory pool, disabling it"};
      });
      impl.pools.front()->mark_used();
    }
  }

  return swiotlb;
}

void Swiotlb::print_info(paging::Mmu& cpu) const {
  if (!impl_->enabled) return;
  const mem::PhysRange pool = default_pool();
  if (impl_->cc.x86())
    impl_->message(cpu,
                   [] { return std::string{"PCI-DMA: Using software bounce buffering for IO (SWIOTLB)"}; });
  impl_->message(cpu, [&] {
    return fmt::format("software IO TLB: mapped [mem {:#018x}-{:#018x}] ({}MB)", pool.first.value(),
                       pool.end().value(), pool.bytes >> 20);
  });
}

// rmem_swiotlb_setup and rmem_swiotlb_device_init: decrypted first, so cleared through the shared mapping.
Result<std::unique_ptr<Swiotlb>> Swiotlb::create_restricted(Mm& mm, const CcPlatform& cc,
                                                            KernelVersion version, std::uint64_t bytes) {
  const std::uint64_t pages = bytes / page_size + (bytes % page_size != 0);
  const auto first = bytes >= io_tlb_size ? mm.page_allocator().allocate(pages, low_memory) : std::nullopt;
  if (!first) return fault(FaultKind::no_memory, 0);

  auto swiotlb = std::unique_ptr<Swiotlb>{new Swiotlb{std::make_unique<Impl>(mm, cc, version)}};
  Impl& impl = *swiotlb->impl_;
  paging::Mmu& cpu = mm.cpu(0);
  impl.force_bounce = true;
  impl.for_alloc = true;
  impl.message(cpu, [&] {
    return fmt::format(
        "software IO TLB: Reserved memory: created restricted DMA pool at {:#018x}, size {} MiB",
        first->value(), bytes >> 20);
  });
  const auto decrypted = mm.set_memory_decrypted(cpu, mm.phys_to_virt(*first), pages);
  if (!decrypted && version >= KernelVersion::v7_3) {
    impl.message(cpu, [] { return std::string{"Failed to decrypt restricted DMA pool"}; });
    return tl::unexpected{decrypted.error()};
  }
  impl.add_pool({*first, bytes}, 1);
  CBIT_TRY(impl.clear(cpu, swiotlb->default_pool()));
  return swiotlb;
}

// ---- growth ---------------------------------------------------------------------------------------------

// alloc_dma_pages: a block of the page allocator, decrypted. Pages that could not be decrypted are encrypted
// again before they go back to the allocator, or else leaked.
std::optional<PhysAddr> Swiotlb::Impl::alloc_dma_pages(paging::Mmu& cpu, std::uint64_t bytes,
                                                       std::uint64_t limit) {
  const std::uint64_t block = std::bit_ceil(pages_for(bytes));
  const auto first = mm.page_allocator().allocate(block, limit, block);
  if (!first) return std::nullopt;
  const VirtAddr at = mm.phys_to_virt(*first);
  if (mm.set_memory_decrypted(cpu, at, pages_for(bytes))) return first;
  if (mm.set_memory_encrypted(cpu, at, pages_for(bytes))) mm.page_allocator().free(*first, block);
  return std::nullopt;
}

// swiotlb_free_tlb: pages that cannot be encrypted again are leaked on purpose. The atomic pools are asked by
// the page's direct-map address: where they know their pages by another (CONFIG_DMA_DIRECT_REMAP), they deny
// them, and what is theirs is encrypted and freed, in versions that have not kept the other address.
void Swiotlb::Impl::free_dma_pages(paging::Mmu& cpu, mem::PhysRange memory, Context context) {
  const std::uint64_t pages = pages_for(memory.bytes);
  const VirtAddr at = mm.phys_to_virt(memory.first);
  if (atomic_memory.free && atomic_memory.free(at, memory.bytes)) return;
  if (mm.set_memory_encrypted(cpu, at, pages, context))
    mm.page_allocator().free(memory.first, std::bit_ceil(pages));
}

// The second half of swiotlb_find_slots [6.6]: a pool just for this mapping, which must not sleep. Where the
// device needs decrypted memory it therefore has to come from the atomic pools.
void Swiotlb::Impl::allocate_transient(paging::Mmu& cpu, Device& dev, const SwiotlbPool::Request& request,
                                       Allocation& result) {
  growth_scheduled = true;
  result.growth_failed = true;
  const std::uint64_t bytes = std::min(request.bytes, block_slots_max * io_tlb_size);
  const std::uint64_t memory_bytes = align_up(bytes, io_tlb_size);
  // [7.3] By what the pool is, not by what the device needs.
  const bool atomic = version >= KernelVersion::v7_3 ? encrypted : cc.force_dma_unencrypted(dev);
  std::optional<PhysAddr> first;
  if (!atomic)
    first = alloc_dma_pages(cpu, memory_bytes, dev.limit(dev.streaming_mask()));
  else if (atomic_memory.alloc)
    first = atomic_memory.alloc(cpu, dev, memory_bytes);
  step(cpu, "kernel/dma/swiotlb.c: swiotlb_find_slots", [&] {
    return fmt::format(
        "no slots in any pool: a worker shall add one, and this mapping gets a transient pool of its "
        "own from {}: {}",
        atomic ? "the atomic pools" : "the page allocator", first ? "done" : "no memory");
  });
  if (!first) return;

  const mem::PhysRange memory{*first, memory_bytes};
  auto owned = std::make_unique<Transient>(&dev, SwiotlbPool{version, memory, 1});
  SwiotlbPool& pool = owned->pool;
  const SwiotlbPool::Plan plan = pool.plan(request);
  const bool cleared = clear(cpu, memory).has_value();
  const SwiotlbPool::Found found = cleared ? pool.allocate(0, plan) : SwiotlbPool::Found{};
  transient.push_back(std::move(owned));
  transient_slots += pool.slots();
  if (found.outcome != SwiotlbPool::Outcome::found) {
    delete_transient(cpu, dev, *first);
    return;
  }
  result.set(found, pool, 0, plan.slots);
  result.growth_failed = false;
}

bool Swiotlb::Impl::delete_transient(paging::Mmu& cpu, const Device& dev, PhysAddr at) {
  const auto found = std::ranges::find_if(
      transient, [&](const auto& own) { return own->dev == &dev && own->pool.contains(at); });
  if (found == transient.end()) return false;
  SwiotlbPool& pool = (*found)->pool;
  const mem::PhysRange memory = pool.memory();
  {
    // swiotlb_dyn_free is an RCU callback. [7.3] A work of its own has taken its place.
    const bool work = version >= KernelVersion::v7_3;
    const paging::SiteScope site{
        cpu, mm.machine().tracer().intern(work ? "swiotlb_dyn_free_work" : "swiotlb_dyn_free")};
    free_dma_pages(cpu, memory, work ? Context::process : Context::softirq);
  }
  transient_slots -= pool.slots();
  transient.erase(found);
  return true;
}

// swiotlb_dyn_alloc: a pool of the default size, or as near as one block of the page allocator comes to it.
bool Swiotlb::run_worker(paging::Mmu& cpu) {
  Impl& impl = *impl_;
  if (!std::exchange(impl.growth_scheduled, false)) return false;
  std::uint64_t slots = std::min(impl.default_slots, block_slots_max);
  std::optional<PhysAddr> first;
  while (!(first = impl.alloc_dma_pages(cpu, slots * io_tlb_size, low_memory))) {
    if (slots <= spec::io_tlb_min_slabs) {
      impl.message(cpu, [] { return std::string{"software IO TLB: Failed to allocate new pool"}; });
      return false;
    }
    slots = halved(slots);
  }
  const mem::PhysRange memory{*first, slots * io_tlb_size};
  if (!impl.clear(cpu, memory)) {
    impl.free_dma_pages(cpu, memory, Context::process);
    return false;
  }
  impl.add_pool(memory, impl.default_areas);
  impl.step(cpu, "kernel/dma/swiotlb.c: swiotlb_dyn_alloc",
            [&] { return fmt::format("the pool grew by {} slots at {:#x}", slots, first->value()); });
  return true;
}

}  // namespace cbit::kernel
