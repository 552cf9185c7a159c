#include "kernel/mm/mm.hpp"

#include <fmt/format.h>

#include "base/assert.hpp"
#include "kernel/mm/mm_impl.hpp"

namespace cbit::kernel {
namespace {

constexpr std::uint64_t tib = 1ull << 40;
constexpr std::uint64_t direct_map_unit = level_bytes(paging::PageLevel::size_1g);
constexpr paging::PageFlags page_kernel{.global = true};

bool five_levels(const machine::Machine& machine) { return machine.paging().levels == 5; }
VirtAddr direct_map_of(const machine::Machine& machine) {
  return five_levels(machine) ? page_offset_base_l5 : page_offset_base;
}

}  // namespace

Mm::Impl::Impl(machine::Machine& board, const CcPlatform& platform, KernelVersion kernel_version)
    : machine{board},
      cc{platform},
      version{kernel_version},
      tracer{board.tracer()},
      memory{board.memory()},
      default_selector{static_cast<mem::KeySelector>(cc.has(CcAttr::mem_encrypt) ? 1 : 0)},
      direct_map{direct_map_of(board)},
      direct_map_end{direct_map + board.end_of_ram().value()},
      key_id_count{board.paging().view.selector_is_key ? std::uint64_t{1} << board.paging().view.layout.bits()
                                                       : 1},
      direct_map_stride{align_up(board.end_of_ram().value(), direct_map_unit)},
      pages{board.memory().ram()},
      cpus{board.mmus()} {
  if (five_levels(board))
    vmalloc.add(vmalloc_base_l5.page_number(), 12800 * tib / page_size);
  else
    vmalloc.add(vmalloc_base.page_number(), 32 * tib / page_size);
}

Result<paging::PageTable> Mm::Impl::create_table() {
  paging::PageTable::Source source{.allocate = [this]() -> Result<PhysAddr> {
                                     if (const auto page = pages.allocate(1)) return *page;
                                     return fault(FaultKind::no_memory, 0);
                                   },
                                   .release = [this](PhysAddr page) { pages.free(page, 1); }};
  return paging::PageTable::create(memory, machine.paging(), default_selector, std::move(source),
                                   {.agent = {AgentKind::cpu, 0}, .site = tracer.intern("page_table")});
}

// init_mem_mapping(), and on MKTME sync_direct_mapping() for the other KeyIDs.
Result<void> Mm::Impl::create_kernel_table() {
  table.emplace(CBIT_TRY(create_table()));
  for (std::uint64_t key = 0; key < key_id_count; ++key)
    for (const mem::PhysRange& range : memory.ram())
      CBIT_TRY(
          table->map({.at = phys_to_virt(range.first, static_cast<mem::KeySelector>(key)),
                      .phys = range.first,
                      .bytes = range.bytes,
                      .flags = page_kernel,
                      .selector = key_id_count > 1 ? static_cast<mem::KeySelector>(key) : default_selector}));
  for (paging::Mmu& cpu : cpus) {
    cpu.load_cr3(table->cr3());
    cpu.flush_all();
  }
  return {};
}

Mm::Mm() = default;
Mm::~Mm() = default;

Result<std::unique_ptr<Mm>> Mm::create(machine::Machine& machine, const CcPlatform& cc,
                                       KernelVersion version) {
  std::unique_ptr<Mm> mm{new Mm};
  mm->impl_ = std::make_unique<Impl>(machine, cc, version);
  CBIT_TRY(mm->impl_->create_kernel_table());
  mm->impl_->user_pages.emplace(*mm, machine.paging().view.selector_is_key);
  return mm;
}

machine::Machine& Mm::machine() { return impl_->machine; }
PageAllocator& Mm::page_allocator() { return impl_->pages; }
paging::Mmu& Mm::cpu(unsigned n) {
  CBIT_ASSERT(n < impl_->cpus.size());
  return impl_->cpus[n];
}
unsigned Mm::cpu_count() const { return static_cast<unsigned>(impl_->cpus.size()); }
paging::PageTable& Mm::kernel_table() { return *impl_->table; }
UserPages& Mm::user_pages() { return *impl_->user_pages; }
mem::KeySelector Mm::page_key_id(PhysAddr page) const {
  return impl_->key_id_count > 1 ? impl_->user_pages->key(page) : mem::KeySelector{0};
}
mem::KeySelector Mm::default_selector() const { return impl_->default_selector; }
VirtAddr Mm::phys_to_virt(PhysAddr at) const { return impl_->phys_to_virt(at); }
VirtAddr Mm::phys_to_virt(PhysAddr at, mem::KeySelector key) const { return impl_->phys_to_virt(at, key); }
PhysAddr Mm::virt_to_phys(VirtAddr at) const {
  const std::uint64_t offset = at - impl_->direct_map;
  const bool other_key = offset / impl_->direct_map_stride < impl_->key_id_count;
  return PhysAddr{other_key ? offset % impl_->direct_map_stride : offset};
}
bool Mm::in_direct_map(VirtAddr at) const { return impl_->in_direct_map(at); }

VirtAddr Mm::phys_to_page(PhysAddr at) const {
  return impl_->vmemmap() + at.page_number() * struct_page_bytes;
}
// The difference of pointers is signed, and divided as such.
VirtAddr Mm::page_address(VirtAddr page) const {
  const std::int64_t pfn =
      static_cast<std::int64_t>(page - impl_->vmemmap()) / static_cast<std::int64_t>(struct_page_bytes);
  return phys_to_virt(PhysAddr{static_cast<std::uint64_t>(pfn) * page_size});
}
Result<void> Mm::set_pages_array(paging::Mmu& cpu, std::span<const PhysAddr> pages,
                                 paging::PageCaching caching) {
  return impl_->set_pages_array(cpu, pages, caching);
}
const ConversionCost& Mm::conversion_cost() const { return impl_->cost; }
void Mm::fail_conversion_after(std::uint64_t calls) { impl_->fail_after = calls; }

std::optional<VirtAddr> Mm::alloc_pages(std::uint64_t pages, std::uint64_t limit) {
  const auto first = impl_->pages.allocate(pages, limit);
  return first ? std::optional{phys_to_virt(*first)} : std::nullopt;
}

void Mm::free_pages(VirtAddr at, std::uint64_t pages) { impl_->pages.free(virt_to_phys(at), pages); }

Result<void> Mm::set_memory_encrypted(paging::Mmu& cpu, VirtAddr at, std::uint64_t pages, Context context) {
  return impl_->set_memory_enc_pgtable(cpu, at, pages, true, context);
}
Result<void> Mm::set_memory_decrypted(paging::Mmu& cpu, VirtAddr at, std::uint64_t pages, Context context) {
  return impl_->set_memory_enc_pgtable(cpu, at, pages, false, context);
}
Result<void> Mm::early_set_memory_encrypted(paging::Mmu& cpu, VirtAddr at, std::uint64_t bytes) {
  return impl_->early_set_memory_enc_dec(cpu, at, bytes, true);
}
Result<void> Mm::early_set_memory_decrypted(paging::Mmu& cpu, VirtAddr at, std::uint64_t bytes) {
  return impl_->early_set_memory_enc_dec(cpu, at, bytes, false);
}

// ---- vmap and ioremap -----------------------------------------------------------------------------------

Result<VirtAddr> Mm::Impl::reserve_vmalloc(std::uint64_t count) {
  const auto first = vmalloc.take(count + 1, ~std::uint64_t{0});
  if (!first) return fault(FaultKind::no_memory, 0);
  return VirtAddr{*first * page_size};
}

void Mm::Impl::release_vmalloc(VirtAddr at, std::uint64_t count) { vmalloc.add(at.page_number(), count + 1); }

Result<VirtAddr> Mm::vmap(const std::vector<PhysAddr>& pages, mem::KeySelector selector,
                          paging::PageCaching caching) {
  const VirtAddr at = CBIT_TRY(impl_->reserve_vmalloc(pages.size()));
  for (std::size_t first = 0, end = 0; first < pages.size(); first = end) {
    for (end = first + 1; end < pages.size() && pages[end] == pages[end - 1] + page_size;) ++end;
    const auto mapped = impl_->table->map({.at = at + first * page_size,
                                           .phys = pages[first],
                                           .bytes = (end - first) * page_size,
                                           .flags = page_kernel,
                                           .selector = selector,
                                           .largest = paging::PageLevel::size_4k,
                                           .caching = caching});
    if (mapped) continue;
    vunmap(at, pages.size());
    return tl::unexpected{mapped.error()};
  }
  report_mapped(cpu(0), "vmap", at, pages, selector, "vmap");
  return at;
}

void Mm::vunmap(VirtAddr at, std::uint64_t pages) {
  report_unmapped(cpu(0), *impl_->table, at, pages);
  const auto unmapped = impl_->table->unmap(at, pages * page_size);
  impl_->flush_tlb(cpu(0), at, pages);
  // Of tables that somebody overwrote nobody can say what they still map.
  if (unmapped) impl_->release_vmalloc(at, pages);
}

Result<VirtAddr> Mm::ioremap(PhysAddr at, std::uint64_t bytes, paging::PageCaching caching) {
  const PhysAddr last = at + (bytes - 1);
  if (bytes == 0 || last < at) return fault(FaultKind::no_memory, at.value());
  for (const mem::PhysRange& ram : impl_->memory.ram()) {
    if (last < ram.first || at >= ram.end()) continue;
    impl_->message(cpu(0), [&] {
      return fmt::format("ioremap on RAM at {:#018x} - {:#018x}", at.value(), last.value());
    });
    return fault(FaultKind::protection, at.value());
  }
  const std::uint64_t count = last.page_number() - at.page_number() + 1;
  const VirtAddr to = CBIT_TRY(impl_->reserve_vmalloc(count));
  const auto mapped = impl_->table->map({.at = to,
                                         .phys = at.page(),
                                         .bytes = count * page_size,
                                         .flags = page_kernel,
                                         .largest = paging::PageLevel::size_4k,
                                         .caching = caching});
  if (!mapped) {
    vunmap(to, count);
    return tl::unexpected{mapped.error()};
  }
  std::vector<PhysAddr> pages;
  for (std::uint64_t i = 0; i < count; ++i) pages.push_back(at.page() + i * page_size);
  report_mapped(cpu(0), "ioremap", to, pages, 0, "ioremap");
  return to + at.page_offset();
}

void Mm::iounmap(VirtAddr at, std::uint64_t bytes) {
  vunmap(at.page(), (at + (bytes - 1)).page_number() - at.page_number() + 1);
}

Result<void> Mm::memremap_pages(PhysAddr at, std::uint64_t bytes) {
  CBIT_TRY(impl_->table->map({.at = phys_to_virt(at.page()),
                              .phys = at.page(),
                              .bytes = align_up(at.page_offset() + bytes, page_size),
                              .flags = page_kernel,
                              .selector = default_selector(),
                              .largest = paging::PageLevel::size_4k,
                              .caching = paging::PageCaching::uncached}));
  return {};
}

// ---- reports --------------------------------------------------------------------------------------------

void Mm::report_mapped(const paging::Mmu& cpu, std::string_view kind, VirtAddr at,
                       std::span<const PhysAddr> pages, mem::KeySelector selector,
                       std::string_view function) {
  Tracer& tracer = impl_->tracer;
  if (!tracer.enabled()) return;
  const bool encrypted = selector != 0 && impl_->default_selector != 0;
  const SiteId site = cpu.site() != 0 ? cpu.site() : tracer.intern(function);
  for (std::size_t first = 0, end = 0; first < pages.size(); first = end) {
    for (end = first + 1; end < pages.size() && pages[end] == pages[end - 1] + page_size;) ++end;
    tracer.emit(cpu.agent(),
                MappingAdded{kind, at + first * page_size, pages[first], end - first, encrypted, site});
  }
}

void Mm::report_unmapped(const paging::Mmu& cpu, const paging::PageTable& table, VirtAddr at,
                         std::uint64_t pages) {
  Tracer& tracer = impl_->tracer;
  if (!tracer.enabled()) return;
  std::optional<MappingRemoved> run;
  // A table that somebody overwrote says no more; what it said before is reported.
  (void)table.for_each_leaf(
      at, pages * page_size, [&](VirtAddr leaf, paging::PageLevel level, paging::Pte entry) {
        const PhysAddr phys = impl_->machine.paging().view.layout.split(entry.page(level)).first;
        if (run && leaf == run->at + run->pages * page_size && phys == run->first + run->pages * page_size) {
          ++run->pages;
          return;
        }
        if (run) tracer.emit(cpu.agent(), *run);
        run = MappingRemoved{leaf, phys, 1};
      });
  if (run) tracer.emit(cpu.agent(), *run);
}

// ---- processes ------------------------------------------------------------------------------------------

Result<std::unique_ptr<UserSpace>> Mm::create_user_space() {
  return std::make_unique<UserSpace>(*this, CBIT_TRY(impl_->create_table()), std::uint16_t{0});
}

}  // namespace cbit::kernel
