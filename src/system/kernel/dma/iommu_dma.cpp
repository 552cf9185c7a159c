#include "kernel/dma/iommu_dma.hpp"

#include <fmt/format.h>

#include <bit>
#include <utility>

#include "kernel/dma/direct.hpp"

namespace cbit::kernel {
namespace {

// Its name since 6.18, and before.
std::string_view source_iommu_map(const DmaContext& ctx) {
  return ctx.config.version >= KernelVersion::v6_19 ? "drivers/iommu/dma-iommu.c: iommu_dma_map_phys"
                                                    : "drivers/iommu/dma-iommu.c: iommu_dma_map_page";
}

constexpr std::uint64_t granule = page_size;
constexpr std::uint64_t iova_mask = granule - 1;

// What iova_reserve_iommu_regions() takes out: the host bridge's window, and from
// amd_iommu_get_resv_regions() the MSI and HyperTransport ranges.
constexpr iommu::ViommuRange host_bridge_window{DmaAddr{machine::pci_hole.value()}, DmaAddr{0xfebf'ffff}};
constexpr iommu::ViommuRange reserved_regions[] = {
    host_bridge_window,
    {DmaAddr{0xfee0'0000}, DmaAddr{0xfeef'ffff}},
    {DmaAddr{0xfd'0000'0000}, DmaAddr{0xff'ffff'ffff}},
};

// 6.1 zeroes everything that the copy is not needed for, and so loses the copy for FROM_DEVICE.
bool clear_padding_6_1(DmaContext& ctx, const DmaRequest& request, PhysAddr bounce) {
  const bool keeps_data =
      !request.attrs.has(dma_attr::skip_cpu_sync) && request.direction != DmaDirection::from_device;
  const std::uint64_t keep = keeps_data ? request.bytes : 0;
  ctx.step(request.cpu, source_iommu_map(ctx), [&] {
    return keeps_data ? std::string{"the padding behind the data is zeroed"}
                      : std::string{"the whole bounce buffer is zeroed, the copy of the original included"};
  });
  if (!keeps_data)
    ctx.mm.machine().tracer().emit(
        request.cpu.agent(),
        SwiotlbCleared{request.dev.name_id, request.phys, bounce, iommu_dma::align(request.bytes)});
  const VirtAddr at = ctx.mm.phys_to_virt(bounce);
  return request.cpu.fill(at + keep, iommu_dma::align(request.bytes) - keep, std::byte{0}).has_value();
}

bool clear_padding_6_10(DmaContext& ctx, const DmaRequest& request, PhysAddr bounce) {
  ctx.step(request.cpu, source_iommu_map(ctx),
           [] { return std::string{"the padding before and behind the data is zeroed, the data stays"}; });
  const VirtAddr at = ctx.mm.phys_to_virt(bounce);
  const VirtAddr end = at + request.bytes;
  return request.cpu.fill(at.page(), at.page_offset(), std::byte{0}) &&
         request.cpu.fill(end, align_up(end.value(), granule) - end.value(), std::byte{0});
}

void step_iova(DmaContext& ctx, const DmaRequest& request, PhysAddr phys, DmaAddr iova) {
  ctx.step(request.cpu, "drivers/iommu/dma-iommu.c: __iommu_dma_map", [&] {
    std::string_view bit = "without an encryption bit";
    if (request.attrs.has(dma_attr::mmio)) bit = "for MMIO";
    if (iommu_dma::leaf_selector(ctx, phys, request.attrs) != 0)
      bit = ctx.me_mask != 0 ? "with the C-bit, which the IOVA never has"
                             : "with the page's KeyID, which the IOVA never has";
    return fmt::format("IOVA {:#x} for {:#x}; the IOMMU's entry is written {}", iova.value(), phys.value(),
                       bit);
  });
}

// From 6.18 on MMIO comes here too: it cannot bounce and was refused until "iommu/dma: skip swiotlb bounce
// for DMA_ATTR_MMIO in iommu_dma_map_phys" (7.3-rc7, 7.2.11).
bool needs_bounce(const DmaContext& ctx, const DmaRequest& request) {
  if (request.attrs.has(dma_attr::mmio) && ctx.config.version >= KernelVersion::v7_2) return false;
  return iommu_dma::shares_pages(request.dev, request.phys, request.bytes);
}

}  // namespace

// ---- drivers/iommu/iommu.c -------------------------------------------------------------------------------

IommuMode IommuDma::default_domain_type(const CcPlatform& cc, const DmaConfig& config) {
  if (config.iommu == IommuMode::passthrough && !config.iommu_explicit && cc.has(CcAttr::mem_encrypt))
    return IommuMode::translated;
  return config.iommu;
}

bool IommuDma::strict(const CcPlatform& cc, const DmaConfig& config) {
  return config.iommu_strict.value_or(!cc.x86());
}

Result<std::unique_ptr<iommu::IommuDomain>> IommuDma::create_domain(DmaContext& ctx,
                                                                    iommu::IommuDomain::Type type,
                                                                    std::uint16_t id) {
  machine::Machine& machine = ctx.mm.machine();
  mem::KeyView view = machine.bus().device_view();
  if (ctx.encryption_mask != 0) view.layout = ctx.cc.layout();
  PageAllocator& pages = ctx.mm.page_allocator();
  return iommu::IommuDomain::create(
      {.id = id, .type = type, .view = view, .table_key = machine.paging().view.encrypted_key},
      machine.memory(), ctx.tracer,
      {.allocate = [&pages]() -> Result<PhysAddr> {
         if (const auto page = pages.allocate(1)) return *page;
         return fault(FaultKind::no_memory, 0);
       },
       .release = [&pages](PhysAddr page) { pages.free(page, 1); }});
}

IommuDma::~IommuDma() {
  for (const RequesterId requester : attached_) iommu_->detach(requester);
}

Result<void> IommuDma::configure(DmaContext& ctx, Device& dev) {
  machine::Machine& machine = ctx.mm.machine();
  iommu_ = machine.iommu();
  dev.iommu = nullptr;
  if (ctx.iommu == IommuMode::none) return {};
  // iommu_get_def_domain_type: an untrusted device is always translated.
  const bool identity = ctx.iommu == IommuMode::passthrough && !iommu_dma::dev_use_swiotlb(dev);
  if (ops_ != nullptr) return configure_by_ops(ctx, dev, identity);
  if (iommu_ == nullptr) return {};
  attached_.push_back(dev.requester);
  if (identity) {
    if (machine.iommu_kind() == machine::IommuKind::spapr && !std::exchange(has_direct_window_, true))
      map_direct_window(machine);
    if (identity_ == nullptr) identity_ = CBIT_TRY(create_domain(ctx, iommu::IommuDomain::Type::identity, 1));
    iommu_->attach(dev.requester, *identity_);
    return {};
  }
  const auto id = static_cast<std::uint16_t>(2 + domains_.size());
  auto table = CBIT_TRY(create_domain(ctx, iommu::IommuDomain::Type::translated, id));
  iommu_->attach(dev.requester, *table);
  auto mappings = table_mappings(machine, *table);
  own(ctx, dev, std::make_unique<IommuDmaDomain>(std::move(mappings), std::move(table)), reserved_regions);
  return {};
}

Result<void> IommuDma::configure_by_ops(DmaContext& ctx, Device& dev, bool identity) {
  auto mappings = ops_->attach(dev, identity);
  if (!mappings) {
    ctx.message(ctx.mm.cpu(0), [&] {
      return fmt::format("{}: Failed to attach to a default domain: {}", dev.name,
                         -static_cast<int>(mappings.error()));
    });
    return fault(FaultKind::iommu_no_domain, dev.requester);
  }
  if (*mappings == nullptr) return {};
  auto reserved = ops_->reserved(dev);
  reserved.push_back(host_bridge_window);
  own(ctx, dev, std::make_unique<IommuDmaDomain>(std::move(*mappings), nullptr), reserved);
  return {};
}

// A domain for an untrusted device is strict (iommu_get_default_domain_type), and so are all where the IOMMU
// is emulated and caches what is not there (iommu_init_pci).
void IommuDma::own(DmaContext& ctx, Device& dev, std::unique_ptr<IommuDmaDomain> domain,
                   std::span<const iommu::ViommuRange> reserved) {
  machine::Machine& machine = ctx.mm.machine();
  if (!strict(ctx.cc, ctx.config) && domain->mappings->can_defer() && !machine.is_guest() &&
      !iommu_dma::dev_use_swiotlb(dev))
    domain->flush_queue.emplace(machine.clock(), lock, ctx.mm.cpu_count(), *domain->mappings, domain->iova);
  for (const auto& [first, last] : reserved) domain->iova.reserve(first, (last - first) / granule + 1);
  dev.iommu = domains_.emplace_back(std::move(domain)).get();
}

// ---- drivers/iommu/dma-iommu.c ---------------------------------------------------------------------------

namespace iommu_dma {

bool dev_use_swiotlb(const Device& dev) { return dev.is_pci && dev.untrusted; }

bool shares_pages(const Device& dev, PhysAddr phys, std::uint64_t bytes) {
  return dev_use_swiotlb(dev) && ((phys.value() | bytes) & iova_mask) != 0;
}

DmaFailure why_no_bounce(const DmaRequest& request) {
  return request.attrs.has(dma_attr::mmio) ? DmaFailure::mmio_unaligned : DmaFailure::attribute;
}

iommu::IommuAccess rights_of(DmaDirection direction) {
  return {.read = direction != DmaDirection::from_device, .write = direction != DmaDirection::to_device};
}

std::uint64_t align(std::uint64_t bytes) { return align_up(bytes, granule); }

mem::KeySelector leaf_selector(const DmaContext& ctx, PhysAddr phys, DmaAttrs attrs) {
  if (attrs.has(dma_attr::mmio) && ctx.config.version >= KernelVersion::v7_2) return 0;
  if (ctx.cc.key_id_mask() != 0) return ctx.mm.page_key_id(phys);
  return ctx.me_mask != 0 ? 1 : 0;
}

bool exists(DmaContext& ctx, const DmaRequest& request, PhysAddr phys, std::uint64_t bytes) {
  if (bytes == 0 || ctx.mm.machine().memory().contains(phys, bytes)) return true;
  const bool mmio =
      request.kind == DmaMappingKind::resource || request.attrs.has(dma_attr::mmio) || request.p2pdma;
  return mmio && phys < machine::high_ram && bytes <= machine::high_ram - phys;
}

std::optional<DmaAddr> alloc_iova(DmaContext& ctx, const DmaRequest& request, std::uint64_t bytes,
                                  std::uint64_t mask) {
  IommuDmaDomain& domain = *request.dev.iommu;
  const std::uint64_t dma_limit = request.dev.limit(mask);
  const std::uint64_t pages = bytes / granule;
  if (dma_limit > bit_mask(32) && request.dev.is_pci && domain.pci_32bit_workaround) {
    if (const auto iova = domain.iova.allocate(pages, bit_mask(32))) return iova;
    if (ctx.config.version != KernelVersion::v6_1) {
      domain.pci_32bit_workaround = false;
      ctx.message(request.cpu,
                  [&] { return fmt::format("Using {}-bit DMA addresses", std::bit_width(dma_limit)); });
    }
  }
  return domain.iova.allocate(pages, dma_limit);
}

bool map_pieces(DmaContext& ctx, Device& dev, DmaAddr iova, std::span<const mem::PhysRange> pieces,
                iommu::IommuAccess rights) {
  IommuMappings& domain = *dev.iommu->mappings;
  std::uint64_t mapped = 0;
  for (std::size_t i = 0; i < pieces.size();) {
    mem::PhysRange run = pieces[i];
    const mem::KeySelector selector = leaf_selector(ctx, run.first);
    for (++i;
         i < pieces.size() && pieces[i].first == run.end() && leaf_selector(ctx, pieces[i].first) == selector;
         ++i)
      run.bytes += pieces[i].bytes;
    if (run.bytes != 0 && !domain.map(iova + mapped, run.first, run.bytes, rights, selector)) {
      domain.unmap(iova, mapped);
      return false;
    }
    mapped += run.bytes;
  }
  return true;
}

DmaAddr map(DmaContext& ctx, const DmaRequest& request, PhysAddr phys, std::uint64_t bytes,
            iommu::IommuAccess rights, std::uint64_t mask) {
  const std::uint64_t offset = phys.page_offset();
  if (!exists(ctx, request, phys, bytes)) return ctx.fail(request, DmaFailure::invalid_memory);
  const std::uint64_t size = align(bytes + offset);
  if (size == 0) return ctx.fail(request, DmaFailure::invalid_size);

  const std::scoped_lock hold{ctx.iommu_dma.lock};
  const auto iova = alloc_iova(ctx, request, size, mask);
  if (!iova) return ctx.fail(request, DmaFailure::iova_exhausted, request.dev.limit(mask));
  const mem::KeySelector selector = leaf_selector(ctx, phys, request.attrs);
  if (!request.dev.iommu->mappings->map(*iova, phys - offset, size, rights, selector)) {
    request.dev.iommu->iova.release(*iova, size / granule);
    return ctx.fail(request, DmaFailure::iommu_map, request.dev.limit(mask), *iova);
  }
  step_iova(ctx, request, phys, *iova + offset);
  return *iova + offset;
}

std::optional<PhysAddr> bounce(DmaContext& ctx, const DmaRequest& request) {
  ctx.step(request.cpu, source_iommu_map(ctx), [&] {
    return fmt::format("untrusted device, and {:#x} + {} shares its pages: it bounces", request.phys.value(),
                       request.bytes);
  });
  if (!is_swiotlb_active(ctx, request.dev)) {
    ctx.message_once(Once::bounce_inactive, request.cpu, [] {
      return std::string{"DMA bounce buffers are inactive, unable to map unaligned transaction."};
    });
    return ctx.fail_empty(request, DmaFailure::no_pool);
  }
  const bool v6_10 = ctx.config.version >= KernelVersion::v6_10;
  const std::uint64_t alloc_size = iommu_dma::align(request.bytes);
  const auto at = swiotlb_tbl_map_single(ctx, request, alloc_size, iova_mask);
  if (!at) return std::nullopt;

  const paging::SiteScope site{request.cpu, ctx.sites.padding};
  if (v6_10 ? clear_padding_6_10(ctx, request, *at) : clear_padding_6_1(ctx, request, *at)) return at;
  ctx.pool(request.dev)
      ->tbl_unmap_single(request.cpu, request.dev, *at, request.bytes, request.direction,
                         request.attrs | dma_attr::skip_cpu_sync);
  return ctx.fail_empty(request, DmaFailure::invalid_memory);
}

void unmap(DmaContext& ctx, paging::Mmu& cpu, Device& dev, DmaAddr dma, std::uint64_t bytes) {
  const std::uint64_t offset = dma.page_offset();
  const std::uint64_t size = align(bytes + offset);
  const std::scoped_lock hold{ctx.iommu_dma.lock};
  IommuDmaDomain& domain = *dev.iommu;
  IommuMappings& mappings = *domain.mappings;
  const bool lazy = domain.flush_queue.has_value();
  if ((lazy ? mappings.unmap_lazily(dma - offset, size) : mappings.unmap(dma - offset, size)) != size)
    ctx.warning(cpu, "drivers/iommu/dma-iommu.c", "__iommu_dma_unmap");
  if (!lazy) {
    domain.iova.release(dma - offset, size / granule);
    return;
  }
  ctx.step(cpu, "drivers/iommu/dma-iommu.c: queue_iova", [&] {
    return fmt::format("lazy mode: {:#x} is gone from the table, and the IOTLB may hold it for up to 10 ms",
                       (dma - offset).value());
  });
  domain.flush_queue->queue(cpu.agent().index, dma - offset, size / granule);
}

}  // namespace iommu_dma

std::optional<PhysAddr> iommu_iova_to_phys(const Device& dev, DmaAddr dma) {
  return dev.iommu->mappings->iova_to_phys(dma);
}

DmaAddr iommu_dma_map_page(DmaContext& ctx, const DmaRequest& request) {
  PhysAddr phys = request.phys;
  if (needs_bounce(ctx, request)) {
    if (request.attrs.has(dma_attr::mmio | dma_attr::require_coherent)) {
      ctx.step(request.cpu, source_iommu_map(ctx), [] {
        return std::string{
            "untrusted device, unaligned, and an attribute forbids a bounce: DMA_MAPPING_ERROR"};
      });
      return ctx.fail(request, iommu_dma::why_no_bounce(request));
    }
    const auto bounced = iommu_dma::bounce(ctx, request);
    if (!bounced) return dma_mapping_error;
    phys = *bounced;
  } else {
    ctx.step(request.cpu, source_iommu_map(ctx), [&] {
      if (ctx.cc.forces_swiotlb())
        return "dma_ops are iommu-dma: SWIOTLB_FORCE is not consulted, private pages are mapped";
      return ctx.cc.shares_all_dma()
                 ? "dma_ops are iommu-dma: dma_capable() is not asked, private pages are mapped"
                 : "dma_ops are iommu-dma: nothing bounces, whatever the device's mask";
    });
  }
  const DmaAddr dma = iommu_dma::map(ctx, request, phys, request.bytes,
                                     iommu_dma::rights_of(request.direction), request.dev.streaming_mask());
  if (dma == dma_mapping_error && is_swiotlb_buffer(ctx, request.dev, phys))
    ctx.pool(request.dev)
        ->tbl_unmap_single(request.cpu, request.dev, phys, request.bytes, request.direction, request.attrs);
  return dma;
}

bool iommu_dma_unmap_page(DmaContext& ctx, paging::Mmu& cpu, Device& dev, DmaAddr dma, std::uint64_t bytes,
                          DmaDirection direction, DmaAttrs attrs) {
  const auto phys = iommu_iova_to_phys(dev, dma);
  if (!phys) {
    ctx.warning(cpu, "drivers/iommu/dma-iommu.c",
                ctx.config.version >= KernelVersion::v6_19 ? "iommu_dma_unmap_phys" : "iommu_dma_unmap_page");
    return false;
  }
  iommu_dma::unmap(ctx, cpu, dev, dma, bytes);
  return is_swiotlb_buffer(ctx, dev, *phys) &&
         ctx.pool(dev)->tbl_unmap_single(cpu, dev, *phys, bytes, direction, attrs);
}

bool iommu_dma_sync_single_for_cpu(DmaContext& ctx, paging::Mmu& cpu, Device& dev, DmaAddr dma,
                                   std::uint64_t bytes, DmaDirection direction) {
  if (!iommu_dma::dev_use_swiotlb(dev)) return false;
  const auto phys = iommu_iova_to_phys(dev, dma);
  return phys && is_swiotlb_buffer(ctx, dev, *phys) &&
         ctx.pool(dev)->sync_single_for_cpu(cpu, dev, *phys, bytes, direction);
}

bool iommu_dma_sync_single_for_device(DmaContext& ctx, paging::Mmu& cpu, Device& dev, DmaAddr dma,
                                      std::uint64_t bytes, DmaDirection direction) {
  if (!iommu_dma::dev_use_swiotlb(dev)) return false;
  const auto phys = iommu_iova_to_phys(dev, dma);
  return phys && is_swiotlb_buffer(ctx, dev, *phys) &&
         ctx.pool(dev)->sync_single_for_device(cpu, dev, *phys, bytes, direction);
}

DmaAddr iommu_dma_map_resource(DmaContext& ctx, const DmaRequest& request) {
  return iommu_dma::map(ctx, request, request.phys, request.bytes, iommu_dma::rights_of(request.direction),
                        request.dev.streaming_mask());
}

void iommu_dma_unmap_resource(DmaContext& ctx, paging::Mmu& cpu, Device& dev, DmaAddr dma,
                              std::uint64_t bytes) {
  iommu_dma::unmap(ctx, cpu, dev, dma, bytes);
}

}  // namespace cbit::kernel
