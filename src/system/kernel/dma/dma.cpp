#include "kernel/dma/dma.hpp"

#include <algorithm>

#include "kernel/dma/dma_impl.hpp"

namespace cbit::kernel {

// ---- life ------------------------------------------------------------------------------------------------

Dma::Dma() = default;
Dma::~Dma() = default;

Result<std::unique_ptr<Dma>> Dma::create(Mm& mm, const CcPlatform& cc, const DmaConfig& config) {
  std::unique_ptr<Dma> dma{new Dma};
  dma->impl_ = std::make_unique<Impl>(mm, cc, config);
  CBIT_TRY(dma->impl_->ctx.boot());
  return dma;
}

void Dma::register_iommu(IommuOps* ops) { impl_->ctx.iommu_dma.set_ops(ops); }

Result<void> Dma::configure(Device& dev) {
  dev.name_id = impl_->ctx.tracer.intern(dev.name);
  return impl_->ctx.iommu_dma.configure(impl_->ctx, dev);
}

std::size_t Dma::release(Device& dev) {
  return impl_->debug ? impl_->debug->driver_unbound(impl_->ctx.mm.cpu(0), dev) : 0;
}

// ---- masks and limits ------------------------------------------------------------------------------------

namespace {

// dma_supported(): iommu-dma takes any mask.
bool dma_supported(const DmaContext& ctx, const Device& dev, std::uint64_t mask) {
  return dev.iommu != nullptr || dma_direct_supported(ctx, mask);
}

}  // namespace

Result<void, Errno> Dma::set_mask(Device& dev, std::uint64_t mask) {
  if (!dev.dma_mask || !dma_supported(impl_->ctx, dev, mask)) return tl::unexpected{Errno::eio};
  dev.dma_mask = mask;
  if (impl_->ctx.config.version >= KernelVersion::v6_10) dev.dma_skip_sync = true;  // dma_setup_need_sync()
  return {};
}

Result<void, Errno> Dma::set_coherent_mask(Device& dev, std::uint64_t mask) {
  if (!dma_supported(impl_->ctx, dev, mask)) return tl::unexpected{Errno::eio};
  dev.coherent_dma_mask = mask;
  return {};
}

std::uint64_t Dma::required_mask(const Device& dev) const {
  return Impl::direct(dev) ? dma_direct_get_required_mask(impl_->ctx, dev) : bit_mask(32);
}

bool Dma::addressing_limited(const Device& dev) const {
  return dev.limit(dev.streaming_mask()) < required_mask(dev);
}

DmaReach Dma::reach(const Device& dev, DmaAddr dma) const { return impl_->reach(dev, dma); }

std::uint64_t Dma::max_mapping_size(const Device& dev) const {
  const DmaContext& ctx = impl_->ctx;
  const bool v7_3 = ctx.config.version >= KernelVersion::v7_3;
  if (v7_3 && !dev.dma_mask) return 0;
  const bool limited =
      Impl::direct(dev)
          ? is_swiotlb_active(ctx, dev) && (addressing_limited(dev) || is_swiotlb_force_bounce(ctx, dev) ||
                                            (v7_3 && ctx.cc.force_dma_unencrypted(dev)))
          : dev.is_pci && dev.untrusted;
  return limited ? Swiotlb::max_mapping_size(dev) : bit_mask(64);
}

// iommu-dma's is what its caches of IOVAs hold: PAGE_SIZE << (IOVA_RANGE_CACHE_MAX_SIZE - 1).
std::uint64_t Dma::opt_mapping_size(const Device& dev) const {
  const bool cached = !Impl::direct(dev) && impl_->ctx.cc.x86();
  return std::min(max_mapping_size(dev), cached ? page_size << 5 : bit_mask(64));
}

bool Dma::need_sync(Device& dev, DmaAddr dma) const {
  const DmaContext& ctx = impl_->ctx;
  // CONFIG_DMA_API_DEBUG wants to see every sync.
  if (ctx.config.version >= KernelVersion::v6_10 && dev.dma_skip_sync && !ctx.config.debug) return false;
  return !Impl::direct(dev) || dma_direct_need_sync(ctx, dev, dma);
}

// ---- the calls -------------------------------------------------------------------------------------------

DmaAddr Dma::map_single(paging::Mmu& cpu, Device& dev, VirtAddr at, std::uint64_t bytes,
                        DmaDirection direction, DmaAttrs attrs) {
  DmaContext& ctx = impl_->ctx;
  DmaRequest request{cpu, dev, PhysAddr{}, bytes, direction, attrs, DmaMappingKind::single};
  if (!ctx.mm.in_direct_map(at)) [[unlikely]] {
    if (is_vmalloc_addr(ctx.mm, at))
      ctx.message_once(Once::vmalloc_map, cpu,
                       [] { return std::string{"rejecting DMA map of vmalloc memory"}; });
    else if (impl_->debug)
      impl_->debug->map_single_invalid(cpu, dev, at, bytes);
    return ctx.fail(request, DmaFailure::invalid_memory);
  }
  request.phys = ctx.mm.virt_to_phys(at);
  return impl_->map_page(request);
}

DmaAddr Dma::map_page(paging::Mmu& cpu, Device& dev, PhysAddr at, std::uint64_t bytes, DmaDirection direction,
                      DmaAttrs attrs, bool p2pdma) {
  return impl_->map_page({cpu, dev, at, bytes, direction, attrs, DmaMappingKind::page, p2pdma});
}

void Dma::unmap_single(paging::Mmu& cpu, Device& dev, DmaAddr dma, std::uint64_t bytes,
                       DmaDirection direction, DmaAttrs attrs) {
  impl_->unmap(cpu, dev, dma, bytes, direction, attrs, DmaMappingKind::single);
}

void Dma::unmap_page(paging::Mmu& cpu, Device& dev, DmaAddr dma, std::uint64_t bytes, DmaDirection direction,
                     DmaAttrs attrs) {
  impl_->unmap(cpu, dev, dma, bytes, direction, attrs, DmaMappingKind::page);
}

bool Dma::mapping_error(Device& dev, DmaAddr dma) {
  if (impl_->debug) impl_->debug->mapping_error(dev, dma);
  return dma == dma_mapping_error;
}

void Dma::sync_single_for_cpu(paging::Mmu& cpu, Device& dev, DmaAddr dma, std::uint64_t bytes,
                              DmaDirection direction) {
  impl_->sync_single(cpu, dev, dma, bytes, direction, true);
}

void Dma::sync_single_for_device(paging::Mmu& cpu, Device& dev, DmaAddr dma, std::uint64_t bytes,
                                 DmaDirection direction) {
  impl_->sync_single(cpu, dev, dma, bytes, direction, false);
}

std::size_t Dma::map_sg(paging::Mmu& cpu, Device& dev, std::span<ScatterEntry> sg, DmaDirection direction,
                        DmaAttrs attrs) {
  return impl_->map_sg(cpu, dev, sg, direction, attrs).value_or(0);
}

Result<std::size_t, Errno> Dma::map_sgtable(paging::Mmu& cpu, Device& dev, std::span<ScatterEntry> sg,
                                            DmaDirection direction, DmaAttrs attrs) {
  return impl_->map_sg(cpu, dev, sg, direction, attrs);
}

void Dma::unmap_sg(paging::Mmu& cpu, Device& dev, std::span<ScatterEntry> sg, DmaDirection direction,
                   DmaAttrs attrs) {
  DmaContext& ctx = impl_->ctx;
  if (!impl_->direction_ok(cpu, dev, direction, "dma_unmap_sg_attrs")) return;
  if (impl_->debug) impl_->debug->unmap_sg(cpu, dev, sg, direction, attrs);
  std::vector<bool> copies;
  if (ctx.tracer.enabled())
    for (const ScatterEntry& entry : sg)
      copies.push_back(impl_->will_copy_back(dev, entry.dma, direction, attrs));

  if (Impl::direct(dev))
    dma_direct_unmap_sg(ctx, cpu, dev, sg, direction, attrs);
  else
    iommu_dma_unmap_sg(ctx, cpu, dev, sg, direction, attrs);
  for (std::size_t i = 0; i < copies.size() && sg[i].dma_length != 0; ++i)
    impl_->report_unmapped(cpu, dev, DmaMappingKind::sg, sg[i].dma, sg[i].dma_length, direction, copies[i]);
}

void Dma::sync_sg_for_cpu(paging::Mmu& cpu, Device& dev, std::span<ScatterEntry> sg, DmaDirection direction) {
  impl_->sync_sg(cpu, dev, sg, direction, true);
}

void Dma::sync_sg_for_device(paging::Mmu& cpu, Device& dev, std::span<ScatterEntry> sg,
                             DmaDirection direction) {
  impl_->sync_sg(cpu, dev, sg, direction, false);
}

DmaAddr Dma::map_resource(paging::Mmu& cpu, Device& dev, PhysAddr at, std::uint64_t bytes,
                          DmaDirection direction, DmaAttrs attrs) {
  return impl_->map_resource({cpu, dev, at, bytes, direction, attrs, DmaMappingKind::resource});
}

void Dma::unmap_resource(paging::Mmu& cpu, Device& dev, DmaAddr dma, std::uint64_t bytes,
                         DmaDirection direction, DmaAttrs attrs) {
  if (!impl_->direction_ok(cpu, dev, direction, "dma_unmap_resource")) return;
  if (!Impl::direct(dev)) iommu_dma_unmap_resource(impl_->ctx, cpu, dev, dma, bytes);
  impl_->report_unmapped(cpu, dev, DmaMappingKind::resource, dma, bytes, direction, false);
  if (impl_->debug) impl_->debug->unmap_resource(cpu, dev, dma, bytes, direction, attrs | dma_attr::mmio);
}

// ---- the rest --------------------------------------------------------------------------------------------

bool Dma::run_workers(paging::Mmu& cpu) {
  const bool pools = impl_->ctx.atomic_pools.run_worker(impl_->ctx, cpu);
  const bool swiotlb = impl_->ctx.swiotlb != nullptr && impl_->ctx.swiotlb->run_worker(cpu);
  return pools || swiotlb;
}

AtomicPoolSizes Dma::atomic_pools() const { return impl_->ctx.atomic_pools.sizes(); }
Swiotlb* Dma::swiotlb() { return impl_->ctx.swiotlb.get(); }
Mm& Dma::mm() { return impl_->ctx.mm; }
const CcPlatform& Dma::cc() const { return impl_->ctx.cc; }
const DmaConfig& Dma::config() const { return impl_->ctx.config; }
IommuMode Dma::effective_iommu() const { return impl_->ctx.iommu; }

}  // namespace cbit::kernel
