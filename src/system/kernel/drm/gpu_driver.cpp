#include "kernel/drm/gpu_driver.hpp"

#include <algorithm>

#include "kernel/drm/drm_cache.hpp"

namespace cbit::kernel {

GpuDriver::GpuDriver(Kernel& kernel, Device& dev, const machine::GpuCard& card,
                     const GpuDriverOptions& options)
    : kernel_{&kernel}, dev_{&dev}, card_{card}, options_{options} {}

GpuDriver::~GpuDriver() {
  ttm_.reset();
  if (vram_ != VirtAddr{}) kernel_->mm().iounmap(vram_, card_.memory.bytes);
  if (registers_ != VirtAddr{}) kernel_->mm().iounmap(registers_, card_.registers.bytes);
}

// ---- probe ------------------------------------------------------------------------------------------------

Result<std::unique_ptr<GpuDriver>, Errno> GpuDriver::probe(Kernel& kernel, Device& dev,
                                                           const machine::GpuCard& card,
                                                           const GpuDriverOptions& options) {
  paging::Mmu& cpu = kernel.cpu(0);
  CBIT_TRY(kernel.dma().set_mask(dev, bit_mask(options.mask_bits)));
  CBIT_TRY(kernel.dma().set_coherent_mask(dev, bit_mask(options.mask_bits)));
  std::unique_ptr<GpuDriver> driver{new GpuDriver{kernel, dev, card, options}};
  CBIT_TRY(driver->set_up(cpu));
  const TtmDeviceConfig config = driver->select(cpu);
  TtmDeviceFuncs& funcs = *driver;
  driver->ttm_ = std::make_unique<TtmDevice>(kernel, dev, funcs, config);
  return driver;
}

Result<void, Errno> GpuDriver::set_up(paging::Mmu& cpu) {
  Mm& mm = kernel_->mm();
  const auto registers = mm.ioremap(card_.registers.first, card_.registers.bytes);
  if (!registers) return tl::unexpected{Errno::enomem};
  registers_ = *registers;
  const auto vram = mm.ioremap(card_.memory.first, card_.memory.bytes, paging::PageCaching::write_combined);
  if (!vram) return tl::unexpected{Errno::enomem};
  vram_ = *vram;
  const auto id = get(cpu, dev::Gpu::Reg64::id);
  const auto bytes = get(cpu, dev::Gpu::Reg64::vram_bytes);
  if (!id || *id != dev::Gpu::id_value || !bytes || *bytes < gpu_vram_bytes_min)
    return tl::unexpected{Errno::enodev};
  gart_base_ = *bytes - gart_entries_max * sizeof(dev::GartEntry);
  gart_.add(0, gart_entries_max);
  if (!set(cpu, dev::Gpu::Reg64::gart_base, gart_base_) ||
      !set(cpu, dev::Gpu::Reg64::gart_entries, gart_entries_max))
    return tl::unexpected{Errno::eio};
  return {};
}

TtmDeviceConfig GpuDriver::select(paging::Mmu& cpu) {
  TtmDeviceConfig config{.policy = options_.policy, .vram = {card_.memory.first, gart_base_}};
  switch (options_.kind) {
    case GpuDriverKind::amdgpu:
      config.use_dma_alloc = options_.use_dma_alloc.value_or(drm_need_swiotlb(*kernel_, options_.mask_bits));
      config.use_dma32 = kernel_->dma().addressing_limited(*dev_);
      break;
    case GpuDriverKind::vmwgfx:
      map_mode_ = vmw_dma_select_mode(cpu);
      config.use_dma_alloc = map_mode_ == VmwMapMode::alloc_coherent;
      config.dma_mapped = config.use_dma_alloc;
      break;
    case GpuDriverKind::shadow:
      config.dma_mapped = false;
      shadow_.add(0, gart_base_ / page_size);
      config.vram = {};  // all of it holds resources
      break;
  }
  return config;
}

VmwMapMode GpuDriver::vmw_dma_select_mode(paging::Mmu& cpu) const {
  VmwMapMode mode = options_.map_mode;
  if (mode == VmwMapMode::select)
    mode = kernel_->cc().has(CcAttr::mem_encrypt) ? VmwMapMode::alloc_coherent : VmwMapMode::map_populate;
  const char* const text = mode == VmwMapMode::alloc_coherent ? "DMA map mode: Using coherent TTM pages."
                           : mode == VmwMapMode::map_populate ? "DMA map mode: Caching DMA mappings."
                                                              : "DMA map mode: Giving up DMA mappings early.";
  kernel_->machine().tracer().emit(cpu.agent(), KernelMessage{text});
  return mode;
}

// ---- pages ------------------------------------------------------------------------------------------------

// drm_gem_get_pages: shmem pages, one by one and cleared.
Result<void, Errno> GpuDriver::tt_populate(paging::Mmu& cpu, TtmPool& pool, TtmTt& tt) {
  if (options_.kind != GpuDriverKind::shadow) return pool.alloc(cpu, tt);
  Mm& mm = kernel_->mm();
  for (std::uint64_t i = 0; i < tt.num_pages; ++i) {
    const auto page = mm.page_allocator().allocate(1);
    if (page) tt.pages.push_back(*page);
    if (page && cpu.fill(mm.phys_to_virt(*page), page_size, std::byte{0})) continue;
    GpuDriver::tt_unpopulate(cpu, pool, tt);
    return tl::unexpected{Errno::enomem};
  }
  return {};
}

void GpuDriver::tt_unpopulate(paging::Mmu& cpu, TtmPool& pool, TtmTt& tt) {
  unmap_dma(cpu, tt);
  if (options_.kind != GpuDriverKind::shadow) return pool.free(cpu, tt);
  for (const PhysAddr page : tt.pages) kernel_->mm().page_allocator().free(page, 1);
  tt.pages.clear();
}

// sg_alloc_table_from_pages_segment and dma_map_sgtable(DMA_BIDIRECTIONAL).
Result<std::vector<dev::GartEntry>, Errno> GpuDriver::map_dma(paging::Mmu& cpu, const TtmTt& tt) {
  std::vector<dev::GartEntry> entries;
  for (const DmaAddr page : tt.dma_address) entries.push_back(dev::GartEntry::of(page));
  if (tt.dma_mapped) return entries;
  if (!mapped_.contains(&tt)) {
    std::vector<ScatterEntry> sg;
    for (const PhysAddr page : tt.pages) {
      const bool joins = !sg.empty() && sg.back().phys + sg.back().length == page &&
                         sg.back().length + page_size <= dev_->max_segment_size;
      if (joins)
        sg.back().length += page_size;
      else
        sg.push_back({.phys = page, .length = page_size});
    }
    CBIT_TRY(kernel_->dma().map_sgtable(cpu, *dev_, sg, DmaDirection::bidirectional));
    mapped_[&tt] = std::move(sg);
  }
  for (const ScatterEntry& segment : mapped_[&tt])
    for (std::uint64_t done = 0; done < segment.dma_length && entries.size() < tt.num_pages;
         done += page_size)
      entries.push_back(dev::GartEntry::of(segment.dma + done));
  return entries;
}

void GpuDriver::unmap_dma(paging::Mmu& cpu, const TtmTt& tt) {
  const auto found = mapped_.find(&tt);
  if (found == mapped_.end()) return;
  kernel_->dma().unmap_sg(cpu, *dev_, found->second, DmaDirection::bidirectional);
  mapped_.erase(found);
}

// ---- binding ----------------------------------------------------------------------------------------------

Result<void, Errno> GpuDriver::bind(paging::Mmu& cpu, TtmBo& bo) {
  const std::vector<dev::GartEntry> entries = CBIT_TRY(map_dma(cpu, bo.tt));
  const auto entry = gart_.take(bo.pages, ~std::uint64_t{0});
  if (!entry) return tl::unexpected{Errno::enospc};
  Binding binding{*entry, 0};
  if (options_.kind == GpuDriverKind::shadow) {
    const auto resource = shadow_.take(bo.pages, ~std::uint64_t{0});
    if (!resource) {
      gart_.add(*entry, bo.pages);
      return tl::unexpected{Errno::enospc};
    }
    binding.shadow_page = *resource;
  }
  bindings_[&bo] = binding;
  const auto written = write_gart(cpu, *entry, entries);
  if (!written) unbind(cpu, bo);
  return written;
}

void GpuDriver::unbind(paging::Mmu& cpu, TtmBo& bo) {
  const auto found = bindings_.find(&bo);
  if (found == bindings_.end()) return;
  const Binding binding = found->second;
  // Only a broken mapping of the BAR could refuse that; then nobody reaches the entry either.
  (void)write_gart(cpu, binding.entry, std::vector<dev::GartEntry>(bo.pages));
  if (map_mode_ == VmwMapMode::map_bind) unmap_dma(cpu, bo.tt);
  gart_.add(binding.entry, bo.pages);
  if (options_.kind == GpuDriverKind::shadow) shadow_.add(binding.shadow_page, bo.pages);
  bindings_.erase(found);
}

Result<void, Errno> GpuDriver::write_gart(paging::Mmu& cpu, std::uint64_t first,
                                          const std::vector<dev::GartEntry>& entries) {
  for (std::size_t i = 0; i < entries.size(); ++i)
    if (!cpu.store(vram_ + gart_base_ + (first + i) * sizeof(dev::GartEntry), entries[i]))
      return tl::unexpected{Errno::eio};
  return {};
}

std::optional<dev::GpuAddr> GpuDriver::address(const TtmBo& bo) const {
  if (bo.placement == TtmPlacement::vram) return dev::GpuAddr{bo.vram_page * page_size};
  const auto found = bindings_.find(&bo);
  if (found == bindings_.end()) return std::nullopt;
  if (options_.kind == GpuDriverKind::shadow) return dev::GpuAddr{found->second.shadow_page * page_size};
  return gart_address(found->second);
}

std::optional<DmaAddr> GpuDriver::bus_address(const TtmBo& bo, std::uint64_t page) const {
  const auto found = bindings_.find(&bo);
  if (found == bindings_.end() || page >= bo.pages) return std::nullopt;
  const std::uint64_t at = gart_base_ + (found->second.entry + page) * sizeof(dev::GartEntry);
  return load<dev::GartEntry>(ConstByteSpan{card_.vram.data()}.subspan(at, sizeof(dev::GartEntry))).page();
}

// ---- the engine -------------------------------------------------------------------------------------------

Result<void> GpuDriver::set(paging::Mmu& cpu, dev::Gpu::Reg64 reg, std::uint64_t value) {
  return cpu.store(registers_ + static_cast<std::uint64_t>(reg), value);
}

Result<std::uint64_t> GpuDriver::get(paging::Mmu& cpu, dev::Gpu::Reg64 reg) {
  return cpu.load<std::uint64_t>(registers_ + static_cast<std::uint64_t>(reg));
}

Result<void> GpuDriver::command(paging::Mmu& cpu, dev::Gpu::Command command, dev::GpuAddr from,
                                dev::GpuAddr to, std::uint64_t bytes) {
  CBIT_TRY(set(cpu, dev::Gpu::Reg64::source, from.value()));
  CBIT_TRY(set(cpu, dev::Gpu::Reg64::destination, to.value()));
  CBIT_TRY(set(cpu, dev::Gpu::Reg64::count, bytes));
  CBIT_TRY(set(cpu, dev::Gpu::Reg64::command, static_cast<std::uint64_t>(command)));
  const dev::Gpu::Status status{CBIT_TRY(get(cpu, dev::Gpu::Reg64::status))};
  if (!status.get<dev::Gpu::Status::Error>()) return {};
  return fault(status.get<dev::Gpu::Status::Kind>(), CBIT_TRY(get(cpu, dev::Gpu::Reg64::fault_address)),
               status.get<dev::Gpu::Status::Write>());
}

bool GpuDriver::copy(paging::Mmu& cpu, const TtmBo& bo, bool to_vram, std::uint64_t vram_page) {
  const auto found = bindings_.find(&bo);
  if (options_.kind != GpuDriverKind::amdgpu || found == bindings_.end()) return false;
  const dev::GpuAddr tt = gart_address(found->second);
  const dev::GpuAddr vram{vram_page * page_size};
  return command(cpu, dev::Gpu::Command::copy, to_vram ? tt : vram, to_vram ? vram : tt, bo.pages * page_size)
      .has_value();
}

Result<std::uint32_t> GpuDriver::scanout(paging::Mmu& cpu, const TtmBo& bo) {
  const auto at = address(bo);
  if (!at) return fault(FaultKind::device_protocol, 0);
  CBIT_TRY(command(cpu, dev::Gpu::Command::scanout, *at, dev::GpuAddr{}, bo.bytes));
  return static_cast<std::uint32_t>(CBIT_TRY(get(cpu, dev::Gpu::Reg64::result)));
}

Result<void, Errno> GpuDriver::transfer_to_host(paging::Mmu& cpu, TtmBo& bo) {
  const auto found = bindings_.find(&bo);
  if (options_.kind != GpuDriverKind::shadow || found == bindings_.end())
    return tl::unexpected{Errno::einval};
  kernel_->dma().sync_sg_for_device(cpu, *dev_, mapped_[&bo.tt], DmaDirection::to_device);
  const dev::GpuAddr resource{found->second.shadow_page * page_size};
  if (!command(cpu, dev::Gpu::Command::copy, gart_address(found->second), resource, bo.bytes))
    return tl::unexpected{Errno::eio};
  return {};
}

Result<void, Errno> GpuDriver::transfer_from_host(paging::Mmu& cpu, TtmBo& bo) {
  const auto found = bindings_.find(&bo);
  if (options_.kind != GpuDriverKind::shadow || found == bindings_.end())
    return tl::unexpected{Errno::einval};
  const dev::GpuAddr resource{found->second.shadow_page * page_size};
  if (!command(cpu, dev::Gpu::Command::copy, resource, gart_address(found->second), bo.bytes))
    return tl::unexpected{Errno::eio};
  kernel_->dma().sync_sg_for_cpu(cpu, *dev_, mapped_[&bo.tt], DmaDirection::from_device);
  return {};
}

}  // namespace cbit::kernel
