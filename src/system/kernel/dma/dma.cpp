#include "kernel/dma/dma.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "kernel/dma/debug.hpp"
#include "kernel/dma/direct.hpp"

namespace cbit::kernel {
namespace {

constexpr std::string_view source_file = "kernel/dma/mapping.c";
constexpr std::uint64_t sg_length_max = bit_mask(32);

bool valid_dma_direction(DmaDirection direction) {
  return direction == DmaDirection::bidirectional || direction == DmaDirection::to_device ||
         direction == DmaDirection::from_device;
}

// VMALLOC_START .. VMALLOC_END, arch/x86/include/asm/pgtable_64_types.h.
bool is_vmalloc_addr(Mm& mm, VirtAddr at) {
  const bool five_levels = mm.machine().config().paging_levels == 5;
  const VirtAddr start = five_levels ? vmalloc_base_l5 : vmalloc_base;
  const std::uint64_t tebibytes = five_levels ? 12800 : 32;
  return at >= start && at - start < tebibytes << 40;
}

}  // namespace

struct Dma::Impl {
  Impl(Mm& mm, const CcPlatform& cc, const DmaConfig& config) : ctx{mm, cc, config} {
    if (config.debug) debug.emplace(ctx);
  }

  DmaContext ctx;
  std::optional<DmaDebug> debug;

  // get_dma_ops() == NULL
  static bool direct(const Device& dev) { return dev.iommu == nullptr; }

  // BUG_ON(!valid_dma_direction(dir)): reported, and the call has no effect.
  bool direction_ok(const paging::Mmu& cpu, const Device& dev, DmaDirection direction,
                    std::string_view function);
  // What map_page, map_sg and map_resource check first.
  bool mask_set(const DmaRequest& request, std::string_view function);
  bool attrs_known(const DmaRequest& request);
  bool is_page(const DmaRequest& request);
  bool can_share(const DmaRequest& request);
  // False, with the reason.
  template <class Text>
  bool refuse(const DmaRequest& request, Text&& text) {
    ctx.step(request.cpu, "kernel/dma/mapping.c: dma_map_phys", text);
    ctx.fail(request, DmaFailure::attribute);
    return false;
  }
  bool in_ram(const DmaRequest& request);

  DmaAddr map(const DmaRequest& request);
  DmaAddr map_page(const DmaRequest& request);
  DmaAddr map_resource(DmaRequest request);
  void unmap(paging::Mmu& cpu, Device& dev, DmaAddr dma, std::uint64_t bytes, DmaDirection direction,
             DmaAttrs attrs, DmaMappingKind kind);
  void sync_single(paging::Mmu& cpu, Device& dev, DmaAddr dma, std::uint64_t bytes, DmaDirection direction,
                   bool for_cpu);
  bool sync_entry(paging::Mmu& cpu, Device& dev, DmaAddr dma, std::uint64_t bytes, DmaDirection direction,
                  bool for_cpu);
  void sync_sg(paging::Mmu& cpu, Device& dev, std::span<ScatterEntry> sg, DmaDirection direction,
               bool for_cpu);
  Result<std::size_t, Errno> map_sg(paging::Mmu& cpu, Device& dev, std::span<ScatterEntry> sg,
                                    DmaDirection direction, DmaAttrs attrs);
  std::optional<PhysAddr> phys_of(paging::Mmu& cpu, VirtAddr at);

  [[nodiscard]] DmaReach reach(const Device& dev, DmaAddr dma, DmaAttrs attrs = {}) const;
  void report_mapped(const DmaRequest& request, DmaAddr dma);
  void report_unmapped(const paging::Mmu& cpu, const Device& dev, DmaMappingKind kind, DmaAddr dma,
                       std::uint64_t bytes, DmaDirection direction, bool copied_back);
  void report_synced(const paging::Mmu& cpu, const Device& dev, DmaAddr dma, std::uint64_t bytes,
                     DmaDirection direction, bool for_cpu, bool copied);
  void report_sg_mapped(paging::Mmu& cpu, Device& dev, std::span<const ScatterEntry> segments, bool merged,
                        DmaDirection direction);
  bool will_copy_back(const Device& dev, DmaAddr dma, DmaDirection direction, DmaAttrs attrs);
};

// ---- reports ---------------------------------------------------------------------------------------------

DmaReach Dma::Impl::reach(const Device& dev, DmaAddr dma, DmaAttrs attrs) const {
  if (!direct(dev)) {
    const PhysAddr phys = iommu_iova_to_phys(dev, dma).value_or(PhysAddr{});
    return {DmaPath::iommu, iommu_dma::leaf_selector(ctx, phys, attrs) != 0};
  }
  const bool bounced = is_swiotlb_buffer(ctx, dev, dma_to_phys(ctx, dma));
  return {bounced ? DmaPath::swiotlb : DmaPath::direct,
          dev.accepted || (dma.value() & ctx.encryption_mask) != 0};
}

void Dma::Impl::report_mapped(const DmaRequest& request, DmaAddr dma) {
  if (!ctx.tracer.enabled() || dma == dma_mapping_error) return;
  auto [path, encrypted] = reach(request.dev, dma, request.attrs);
  // Memory of a restricted pool that was allocated from it is nobody's copy.
  if (path == DmaPath::swiotlb && request.kind == DmaMappingKind::coherent) path = DmaPath::direct;
  ctx.tracer.emit(request.cpu.agent(), DmaMapped{.device = request.dev.name_id,
                                                 .kind = request.kind,
                                                 .dma = dma,
                                                 .phys = request.phys,
                                                 .bytes = request.bytes,
                                                 .direction = request.direction,
                                                 .path = path,
                                                 .encrypted = encrypted});
}

void Dma::Impl::report_unmapped(const paging::Mmu& cpu, const Device& dev, DmaMappingKind kind, DmaAddr dma,
                                std::uint64_t bytes, DmaDirection direction, bool copied_back) {
  if (!ctx.tracer.enabled() || dma == dma_mapping_error) return;
  ctx.tracer.emit(cpu.agent(), DmaUnmapped{.device = dev.name_id,
                                           .kind = kind,
                                           .dma = dma,
                                           .bytes = bytes,
                                           .direction = direction,
                                           .copied_back = copied_back});
}

void Dma::Impl::report_synced(const paging::Mmu& cpu, const Device& dev, DmaAddr dma, std::uint64_t bytes,
                              DmaDirection direction, bool for_cpu, bool copied) {
  if (!ctx.tracer.enabled()) return;
  ctx.tracer.emit(cpu.agent(), DmaSynced{.device = dev.name_id,
                                         .dma = dma,
                                         .bytes = bytes,
                                         .direction = direction,
                                         .for_cpu = for_cpu,
                                         .copied = copied});
}

// One event per DMA segment; where entries were merged, the IOMMU knows which memory a segment starts at.
void Dma::Impl::report_sg_mapped(paging::Mmu& cpu, Device& dev, std::span<const ScatterEntry> segments,
                                 bool merged, DmaDirection direction) {
  if (!ctx.tracer.enabled()) return;
  for (const ScatterEntry& segment : segments) {
    const auto phys = merged ? iommu_iova_to_phys(dev, segment.dma) : segment.phys;
    report_mapped(
        {cpu, dev, phys.value_or(segment.phys), segment.dma_length, direction, {}, DmaMappingKind::sg},
        segment.dma);
  }
}

// Whether unmapping a segment will copy: its slots are gone when the whole list is unmapped.
bool Dma::Impl::will_copy_back(const Device& dev, DmaAddr dma, DmaDirection direction, DmaAttrs attrs) {
  if (direction == DmaDirection::to_device || attrs.has(dma_attr::skip_cpu_sync)) return false;
  const std::optional<PhysAddr> phys = direct(dev) ? dma_to_phys(ctx, dma) : iommu_iova_to_phys(dev, dma);
  return phys && is_swiotlb_buffer(ctx, dev, *phys);
}

// ---- checks ----------------------------------------------------------------------------------------------

bool Dma::Impl::direction_ok(const paging::Mmu& cpu, const Device& dev, DmaDirection direction,
                             std::string_view function) {
  if (valid_dma_direction(direction)) [[likely]]
    return true;
  ctx.message(cpu, [] { return fmt::format("kernel BUG at {}!", source_file); });
  if (debug) debug->invalid_direction(cpu, dev, direction, function);
  return false;
}

bool Dma::Impl::mask_set(const DmaRequest& request, std::string_view function) {
  if (request.dev.dma_mask) [[likely]]
    return true;
  // Each function's WARN_ON_ONCE() is its own; since 6.18 that of dma_map_resource() is dma_map_phys()'s.
  Once which = Once::no_dma_mask;
  if (request.kind == DmaMappingKind::sg) which = Once::no_dma_mask_sg;
  if (request.kind == DmaMappingKind::resource && ctx.config.version < KernelVersion::v6_19)
    which = Once::no_dma_mask_resource;
  ctx.warning_once(which, request.cpu, source_file, function);
  ctx.fail(request, DmaFailure::mask_unset);
  return false;
}

bool Dma::Impl::attrs_known(const DmaRequest& request) {
  constexpr DmaAttrs later = dma_attr::mmio | dma_attr::require_coherent | dma_attr::cc_shared;
  if ((request.attrs & later) == (request.attrs & attrs_of(ctx.config.version))) [[likely]]
    return true;
  return refuse(request, [] {
    return std::string{
        "DMA_ATTR_MMIO does not exist before Linux 6.18, REQUIRE_COHERENT and CC_SHARED not before 7.1"};
  });
}

// [6.18] dma_map_page_attrs() is for pages. CONFIG_DMA_API_DEBUG knows those of a BAR, which belong into a
// scatterlist.
bool Dma::Impl::is_page(const DmaRequest& request) {
  if (ctx.config.version < KernelVersion::v6_19) return true;
  if (request.attrs.has(dma_attr::mmio))
    return refuse(request, [] { return std::string{"MMIO has no pages: DMA_MAPPING_ERROR"}; });
  if (!request.p2pdma || !ctx.config.debug) return true;
  ctx.warning_once(Once::zone_device_page, request.cpu, source_file, "dma_map_page_attrs");
  return refuse(request, [] { return std::string{"a ZONE_DEVICE page by itself: DMA_MAPPING_ERROR"}; });
}

// [7.1] There is no way to tell an IOMMU's entry that its page is shared. Scatterlists are not asked.
bool Dma::Impl::can_share(const DmaRequest& request) {
  if (!request.attrs.has(dma_attr::cc_shared) || direct(request.dev)) [[likely]]
    return true;
  return refuse(request, [] { return std::string{"DMA_ATTR_CC_SHARED behind an IOMMU: DMA_MAPPING_ERROR"}; });
}

// The kernel maps struct pages, and there are none for what is not RAM (or a P2PDMA range).
bool Dma::Impl::in_ram(const DmaRequest& request) {
  if (request.p2pdma || request.attrs.has(dma_attr::mmio) ||
      ctx.mm.machine().memory().contains(request.phys, 1)) [[likely]]
    return true;
  if (debug && request.kind == DmaMappingKind::single)
    debug->map_single_invalid(request.cpu, request.dev, ctx.mm.phys_to_virt(request.phys), request.bytes);
  ctx.fail(request, DmaFailure::invalid_memory);
  return false;
}

// ---- streaming -------------------------------------------------------------------------------------------

DmaAddr Dma::Impl::map(const DmaRequest& request) {
  const std::string_view function =
      ctx.config.version >= KernelVersion::v6_19 ? "dma_map_phys" : "dma_map_page_attrs";
  if (!direction_ok(request.cpu, request.dev, request.direction, function))
    return ctx.fail(request, DmaFailure::invalid_direction);
  if (!mask_set(request, function) || !attrs_known(request) || !can_share(request) || !in_ram(request))
    return dma_mapping_error;

  const DmaAddr dma =
      direct(request.dev) ? ctx.dma_direct_map(ctx, request) : iommu_dma_map_page(ctx, request);
  report_mapped(request, dma);
  if (debug) debug->map_page(request, dma);
  return dma;
}

// dma_map_page_attrs()
DmaAddr Dma::Impl::map_page(const DmaRequest& request) {
  return is_page(request) ? map(request) : dma_mapping_error;
}

void Dma::Impl::unmap(paging::Mmu& cpu, Device& dev, DmaAddr dma, std::uint64_t bytes, DmaDirection direction,
                      DmaAttrs attrs, DmaMappingKind kind) {
  // dma_unmap_page_attrs() since 6.18, and since 7.1 dma_unmap_phys() behind an IOMMU: they undo nothing.
  const bool mmio = attrs.has(dma_attr::mmio) && ctx.config.version >= KernelVersion::v6_19;
  const bool cc_shared = attrs.has(dma_attr::cc_shared) && ctx.config.version >= KernelVersion::v7_2;
  if (mmio) return;
  if (!direction_ok(cpu, dev, direction, "dma_unmap_page_attrs")) return;
  if (cc_shared && !direct(dev)) return;
  const bool copied = direct(dev) ? dma_direct_unmap_page(ctx, cpu, dev, dma, bytes, direction, attrs)
                                  : iommu_dma_unmap_page(ctx, cpu, dev, dma, bytes, direction, attrs);
  report_unmapped(cpu, dev, kind, dma, bytes, direction, copied);
  if (debug) debug->unmap_page(cpu, dev, dma, bytes, direction, attrs);
}

bool Dma::Impl::sync_entry(paging::Mmu& cpu, Device& dev, DmaAddr dma, std::uint64_t bytes,
                           DmaDirection direction, bool for_cpu) {
  bool copied = false;
  if (direct(dev))
    copied = for_cpu ? dma_direct_sync_single_for_cpu(ctx, cpu, dev, dma, bytes, direction)
                     : dma_direct_sync_single_for_device(ctx, cpu, dev, dma, bytes, direction);
  else
    copied = for_cpu ? iommu_dma_sync_single_for_cpu(ctx, cpu, dev, dma, bytes, direction)
                     : iommu_dma_sync_single_for_device(ctx, cpu, dev, dma, bytes, direction);
  report_synced(cpu, dev, dma, bytes, direction, for_cpu, copied);
  return copied;
}

void Dma::Impl::sync_single(paging::Mmu& cpu, Device& dev, DmaAddr dma, std::uint64_t bytes,
                            DmaDirection direction, bool for_cpu) {
  if (!direction_ok(cpu, dev, direction, for_cpu ? "dma_sync_single_for_cpu" : "dma_sync_single_for_device"))
    return;
  sync_entry(cpu, dev, dma, bytes, direction, for_cpu);
  if (debug) debug->sync_single(cpu, dev, dma, bytes, direction, for_cpu);
}

void Dma::Impl::sync_sg(paging::Mmu& cpu, Device& dev, std::span<ScatterEntry> sg, DmaDirection direction,
                        bool for_cpu) {
  if (!direction_ok(cpu, dev, direction, for_cpu ? "dma_sync_sg_for_cpu" : "dma_sync_sg_for_device")) return;
  for (const ScatterEntry& entry : sg)
    if (entry.dma_length != 0) sync_entry(cpu, dev, entry.dma, entry.length, direction, for_cpu);
  if (debug) debug->sync_sg(cpu, dev, sg, direction, for_cpu);
}

// __dma_map_sg_attrs
Result<std::size_t, Errno> Dma::Impl::map_sg(paging::Mmu& cpu, Device& dev, std::span<ScatterEntry> sg,
                                             DmaDirection direction, DmaAttrs attrs) {
  const auto request_for = [&](const ScatterEntry& entry) {
    return DmaRequest{cpu, dev, entry.phys, entry.length, direction, attrs, DmaMappingKind::sg, entry.p2pdma};
  };
  const ScatterEntry first = sg.empty() ? ScatterEntry{} : sg.front();
  if (!direction_ok(cpu, dev, direction, "__dma_map_sg_attrs")) {
    ctx.fail(request_for(first), DmaFailure::invalid_direction);
    return tl::unexpected{Errno::einval};
  }
  if (!mask_set(request_for(first), "__dma_map_sg_attrs")) return std::size_t{0};
  if (!attrs_known(request_for(first))) return tl::unexpected{Errno::einval};
  for (const ScatterEntry& entry : sg) {
    if (entry.length > sg_length_max) {
      ctx.fail(request_for(entry), DmaFailure::invalid_size);
      return tl::unexpected{Errno::einval};
    }
    if (!in_ram(request_for(entry))) return tl::unexpected{Errno::einval};
  }

  const auto segments = direct(dev) ? dma_direct_map_sg(ctx, cpu, dev, sg, direction, attrs)
                                    : iommu_dma_map_sg(ctx, cpu, dev, sg, direction, attrs);
  if (segments && *segments == 0) {
    ctx.warning_once(Once::sg_errno, cpu, source_file, "__dma_map_sg_attrs");
    return tl::unexpected{Errno::eio};
  }
  if (!segments) return segments;
  report_sg_mapped(cpu, dev, sg.first(*segments), *segments != sg.size(), direction);
  if (debug) debug->map_sg(cpu, dev, sg, *segments, direction, attrs);
  return segments;
}

DmaAddr Dma::Impl::map_resource(DmaRequest request) {
  if (ctx.config.version >= KernelVersion::v6_19) {
    request.attrs = request.attrs | dma_attr::mmio;
    return map(request);
  }
  if (!direction_ok(request.cpu, request.dev, request.direction, "dma_map_resource"))
    return ctx.fail(request, DmaFailure::invalid_direction);
  if (!mask_set(request, "dma_map_resource")) return dma_mapping_error;
  const DmaAddr dma =
      direct(request.dev) ? dma_direct_map_resource(ctx, request) : iommu_dma_map_resource(ctx, request);
  report_mapped(request, dma);
  if (debug) debug->map_page(request, dma);
  return dma;
}

// Where a kernel address leads, for dma-debug: the direct map, or vmalloc_to_pfn().
std::optional<PhysAddr> Dma::Impl::phys_of(paging::Mmu& cpu, VirtAddr at) {
  if (ctx.mm.in_direct_map(at)) return ctx.mm.virt_to_phys(at);
  if (!is_vmalloc_addr(ctx.mm, at)) return std::nullopt;
  const auto translation = cpu.translate(at, paging::Intent::read);
  return translation ? std::optional{translation->phys} : std::nullopt;
}

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

// ---- the two-step API ------------------------------------------------------------------------------------

bool Dma::iova_try_alloc(paging::Mmu& cpu, Device& dev, DmaIovaState& state, PhysAddr phys,
                         std::uint64_t bytes) {
  return iommu_dma::iova_try_alloc(impl_->ctx, cpu, dev, state, phys, bytes);
}

Result<void, Errno> Dma::iova_link(paging::Mmu& cpu, Device& dev, DmaIovaState& state, PhysAddr at,
                                   std::uint64_t offset, std::uint64_t bytes, DmaDirection direction,
                                   DmaAttrs attrs) {
  if (state.bytes == 0) return tl::unexpected{Errno::einval};
  const DmaRequest request{cpu, dev, at, bytes, direction, attrs, DmaMappingKind::page};
  const std::size_t before = state.links.size();
  if (const auto done = iommu_dma::iova_link(impl_->ctx, state, request, offset); !done) {
    state.links.resize(before);
    return done;
  }
  for (const DmaIovaState::Link& link : std::span{state.links}.subspan(before))
    impl_->report_mapped({cpu, dev, link.phys, link.bytes, direction, attrs, DmaMappingKind::page},
                         state.addr + link.offset);
  return {};
}

Result<void, Errno> Dma::iova_sync(paging::Mmu& cpu, Device&, const DmaIovaState& state, std::uint64_t offset,
                                   std::uint64_t bytes) {
  if (state.bytes == 0) return tl::unexpected{Errno::einval};
  impl_->ctx.step(cpu, "drivers/iommu/dma-iommu.c: dma_iova_sync", [&] {
    return fmt::format("the IOMMU knows the entries of {} bytes at {:#x}", bytes,
                       (state.addr + offset).value());
  });
  return {};
}

void Dma::iova_unlink(paging::Mmu& cpu, Device& dev, DmaIovaState& state, std::uint64_t offset,
                      std::uint64_t bytes, DmaDirection direction, DmaAttrs attrs) {
  if (state.bytes == 0 || bytes == 0 || offset > state.bytes || bytes > state.bytes - offset) return;
  const bool copied = iommu_dma::iova_unlink(impl_->ctx, cpu, dev, state, offset, bytes, direction, attrs);
  std::erase_if(state.links, [&](const DmaIovaState::Link& link) {
    if (link.offset < offset || link.offset - offset >= bytes) return false;
    impl_->report_unmapped(cpu, dev, DmaMappingKind::page, state.addr + link.offset, link.bytes,
                           link.direction, copied);
    return true;
  });
}

void Dma::iova_free(Device& dev, DmaIovaState& state) {
  if (state.bytes != 0) iommu_dma::iova_free(impl_->ctx, dev, state);
}

void Dma::iova_destroy(paging::Mmu& cpu, Device& dev, DmaIovaState& state, std::uint64_t mapped,
                       DmaDirection direction, DmaAttrs attrs) {
  DmaContext& ctx = impl_->ctx;
  // Until 7.3 a lazy domain's space went to the flush queue.
  const bool lazily = ctx.config.version < KernelVersion::v7_3 && state.bytes != 0 && mapped == state.bytes &&
                      dev.iommu->flush_queue;
  if (!lazily) {
    if (mapped != 0) iova_unlink(cpu, dev, state, 0, mapped, direction, attrs);
    return iova_free(dev, state);
  }
  iommu_dma::unmap(ctx, cpu, dev, state.addr, state.bytes);
  for (const DmaIovaState::Link& link : state.links)
    impl_->report_unmapped(cpu, dev, DmaMappingKind::page, state.addr + link.offset, link.bytes,
                           link.direction, false);
  state = {};
}

// ---- coherent memory -------------------------------------------------------------------------------------

namespace {

// __DMA_ATTR_ALLOC_CC_SHARED, which dma_alloc_attrs() of 7.3 adds; dma-debug prints it.
DmaAttrs alloc_attr(const DmaContext& ctx, const Device& dev) {
  const bool shared = ctx.config.version >= KernelVersion::v7_3 && ctx.cc.force_dma_unencrypted(dev);
  return shared ? DmaAttrs{1u << 14} : DmaAttrs{};
}

}  // namespace

std::optional<CoherentBuffer> Dma::alloc(paging::Mmu& cpu, Device& dev, std::uint64_t bytes, bool atomic,
                                         DmaAttrs attrs) {
  DmaContext& ctx = impl_->ctx;
  if (dev.coherent_dma_mask == 0)
    ctx.warning_once(Once::no_coherent_mask, cpu, source_file, "dma_alloc_attrs");
  if (attrs.has(dma_attr::cc_shared) && ctx.config.version >= KernelVersion::v7_3)
    return ctx.fail_empty(coherent_request(cpu, dev, bytes, attrs), DmaFailure::attribute);
  auto buffer = Impl::direct(dev) ? dma_direct_alloc(ctx, cpu, dev, bytes, atomic, attrs)
                                  : iommu_dma_alloc(ctx, cpu, dev, bytes, atomic, attrs);
  if (!buffer) return buffer;
  const CoherentAllocation& allocation = ctx.coherent.at(buffer->cpu);
  const PhysAddr phys = allocation.pages.front();
  impl_->report_mapped({cpu, dev, phys, bytes, DmaDirection::bidirectional, attrs, DmaMappingKind::coherent},
                       buffer->dma);
  if (impl_->debug && allocation.source != CoherentAllocation::Source::no_mapping)
    impl_->debug->alloc_coherent(cpu, dev, phys, bytes, buffer->dma, attrs | alloc_attr(ctx, dev));
  return buffer;
}

void Dma::free(paging::Mmu& cpu, Device& dev, const CoherentBuffer& buffer, DmaAttrs attrs) {
  if (buffer.cpu == VirtAddr{}) return;
  if (impl_->debug)
    if (const auto phys = impl_->phys_of(cpu, buffer.cpu))
      impl_->debug->free_coherent(cpu, dev, *phys, buffer.bytes, buffer.dma, attrs);

  DmaContext& ctx = impl_->ctx;
  const auto found = ctx.coherent.find(buffer.cpu);
  if (found == ctx.coherent.end())
    return ctx.step(cpu, "kernel/dma/mapping.c: dma_free_attrs", [&] {
      return fmt::format("no coherent buffer starts at {:#x}: nothing is freed", buffer.cpu.value());
    });
  const CoherentAllocation allocation = std::move(found->second);
  ctx.coherent.erase(found);
  if (Impl::direct(*allocation.dev))
    dma_direct_free(ctx, cpu, buffer.cpu, allocation);
  else
    iommu_dma_free(ctx, cpu, buffer.cpu, allocation);
  impl_->report_unmapped(cpu, dev, DmaMappingKind::coherent, buffer.dma, buffer.bytes,
                         DmaDirection::bidirectional, false);
}

std::optional<DmaPages> Dma::alloc_pages(paging::Mmu& cpu, Device& dev, std::uint64_t bytes,
                                         DmaDirection direction, bool atomic) {
  DmaContext& ctx = impl_->ctx;
  const DmaRequest request{
      cpu, dev, PhysAddr{}, align_up(bytes, page_size), direction, {}, DmaMappingKind::coherent};
  if (dev.coherent_dma_mask == 0) {
    ctx.warning_once(Once::no_coherent_mask, cpu, source_file, "__dma_alloc_pages");
    return ctx.fail_empty(request, DmaFailure::mask_unset);
  }
  if (request.bytes == 0) return ctx.fail_empty(request, DmaFailure::invalid_size);
  const auto pages = Impl::direct(dev) ? dma_direct_alloc_pages(ctx, cpu, dev, request.bytes, atomic)
                                       : dma_common_alloc_pages(ctx, cpu, dev, request.bytes, direction);
  if (!pages) return pages;
  const PhysAddr phys = ctx.pages.at(pages->page).pages.front();
  const VirtAddr struct_page = ctx.mm.phys_to_page(phys);
  impl_->report_mapped({cpu, dev, phys, request.bytes, direction, {}, DmaMappingKind::coherent}, pages->dma);
  ctx.tracer.emit_if_heard(cpu.agent(), [&] {
    return DmaPagesReturned{dev.name_id, phys, pages->page, struct_page, pages->dma, request.bytes};
  });
  if (impl_->debug) impl_->debug->alloc_pages(cpu, dev, phys, request.bytes, direction, pages->dma);
  return pages;
}

void Dma::free_pages(paging::Mmu& cpu, Device& dev, const DmaPages& pages, DmaDirection direction) {
  DmaContext& ctx = impl_->ctx;
  const auto found = ctx.pages.find(pages.page);
  if (found == ctx.pages.end())
    return ctx.step(cpu, "kernel/dma/mapping.c: dma_free_pages", [&] {
      return fmt::format("dma_alloc_pages() returned no {:#x}: nothing is freed", pages.page.value());
    });
  const CoherentAllocation allocation = std::move(found->second);
  ctx.pages.erase(found);
  if (impl_->debug)
    impl_->debug->free_pages(cpu, dev, allocation.pages.front(), pages.bytes, direction, pages.dma);
  if (Impl::direct(*allocation.dev))
    dma_direct_free_pages(ctx, cpu, pages.page, allocation);
  else
    dma_common_free_pages(ctx, cpu, allocation, direction);
  impl_->report_unmapped(cpu, dev, DmaMappingKind::coherent, pages.dma, pages.bytes, direction, false);
}

Result<VirtAddr, Errno> Dma::mmap(Device&, UserSpace& user, const CoherentBuffer& buffer, DmaAttrs) {
  DmaContext& ctx = impl_->ctx;
  const auto found = ctx.coherent.find(buffer.cpu);
  if (found == ctx.coherent.end() || buffer.bytes == 0 || buffer.bytes > found->second.bytes)
    return tl::unexpected{Errno::enxio};
  const std::uint64_t pages = align_up(buffer.bytes, page_size) / page_size;
  return Impl::direct(*found->second.dev) ? dma_direct_mmap(ctx, user, found->second, pages)
                                          : iommu_dma_mmap(ctx, user, found->second, pages);
}

Result<bool, Errno> Dma::mapping_encrypted(const CoherentBuffer& buffer) const {
  const auto found = impl_->ctx.coherent.find(buffer.cpu);
  if (found == impl_->ctx.coherent.end()) return tl::unexpected{Errno::enxio};
  const Device& dev = *found->second.dev;
  return Impl::direct(dev) ? dma_direct_mmap_encrypted(impl_->ctx, dev)
                           : iommu_dma_mmap_encrypted(impl_->ctx);
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
