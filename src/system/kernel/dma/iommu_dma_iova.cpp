// The two-step API: drivers/iommu/dma-iommu.c, dma_iova_try_alloc to dma_iova_destroy (6.16 and later). A
// driver takes IOVA space first, and then fills it piece by piece. Encryption and DMA_ATTR_CC_SHARED play no
// part in it.
//
// Entries are in the IOMMU's table when they are linked; dma_iova_sync() only waits for an IOMMU that has to
// be told.
#include <fmt/format.h>

#include <algorithm>

#include "kernel/dma/direct.hpp"

namespace cbit::kernel {
namespace {

constexpr std::string_view file_of_iova = "drivers/iommu/dma-iommu.c";
constexpr std::string_view source_try_alloc = "drivers/iommu/dma-iommu.c: dma_iova_try_alloc";
constexpr std::string_view source_link = "drivers/iommu/dma-iommu.c: dma_iova_link";
constexpr std::string_view source_link_swiotlb = "drivers/iommu/dma-iommu.c: iommu_dma_iova_link_swiotlb";

// iova_offset()
std::uint64_t offset_in_granule(std::uint64_t at) { return at % page_size; }

// One range that is being linked.
struct Linking {
  DmaContext& ctx;
  DmaIovaState& state;
  const DmaRequest& request;
  std::uint64_t offset = 0;  // where it goes

  // The same for a piece of it.
  [[nodiscard]] DmaRequest piece(std::uint64_t at, std::uint64_t bytes) const {
    DmaRequest part = request;
    part.phys = request.phys + at;
    part.bytes = bytes;
    return part;
  }
};

// iommu_map_nosync: what is not aligned is refused by the generic page tables with another errno than by the
// drivers that have tables of their own.
Result<void, Errno> iommu_map_nosync(const Linking& link, DmaAddr iova, PhysAddr phys, std::uint64_t bytes) {
  DmaContext& ctx = link.ctx;
  const DmaRequest& request = link.request;
  IommuDmaDomain& domain = *request.dev.iommu;
  if (offset_in_granule(iova.value() | phys.value() | bytes) != 0) {
    const bool generic = domain.domain != nullptr && ctx.config.version >= KernelVersion::v7_2;
    if (!generic)
      ctx.message(request.cpu, [&] {
        return fmt::format("iommu: unaligned: iova {:#x} pa {:#018x} size {:#x} min_pagesz {:#x}",
                           iova.value(), phys.value(), bytes, page_size);
      });
    ctx.fail(request, DmaFailure::iommu_map, 0, iova);
    return tl::unexpected{generic ? Errno::enxio : Errno::einval};
  }
  if (!iommu_dma::exists(ctx, request, phys, bytes)) {
    ctx.fail(request, DmaFailure::invalid_memory);
    return tl::unexpected{Errno::einval};
  }
  const std::scoped_lock hold{ctx.iommu_dma.lock};
  const mem::KeySelector selector = iommu_dma::leaf_selector(ctx, phys, request.attrs);
  if (domain.mappings->map(iova, phys, bytes, iommu_dma::rights_of(request.direction), selector)) return {};
  ctx.fail(request, DmaFailure::iommu_map, 0, iova);
  return tl::unexpected{Errno::eaddrinuse};
}

void note_link(const Linking& link, std::uint64_t at, std::uint64_t bytes) {
  link.state.links.push_back({link.offset + at, bytes, link.request.phys + at, link.request.direction});
}

// iommu_dma_iova_bounce_and_link: `at` of the range, and how much of its page is before it. The bounce has to
// have the same place in its page, as it has for devices with a min_align_mask of a page.
Result<void, Errno> bounce_and_link(const Linking& link, std::uint64_t at, std::uint64_t bytes,
                                    std::uint64_t start_pad) {
  const DmaRequest part = link.piece(at, bytes);
  const auto bounced = iommu_dma::bounce(link.ctx, part);
  if (!bounced) return tl::unexpected{Errno::enomem};
  const DmaAddr addr = link.state.addr + link.offset + at;
  const auto done = iommu_map_nosync(link, addr - start_pad, PhysAddr{bounced->value() - start_pad},
                                     iommu_dma::align(bytes));
  if (done) {
    note_link(link, at, bytes);
    return {};
  }
  link.ctx.pool(part.dev)->tbl_unmap_single(part.cpu, part.dev, *bounced, bytes, part.direction, part.attrs);
  return done;
}

// iommu_dma_iova_link_swiotlb: the partial pages at both ends bounce, what is between them does not.
Result<void, Errno> link_swiotlb(const Linking& link) {
  DmaContext& ctx = link.ctx;
  const PhysAddr phys = link.request.phys;
  std::uint64_t left = link.request.bytes;
  std::uint64_t mapped = 0;
  const std::uint64_t start_pad = offset_in_granule(phys.value());
  const std::uint64_t end_pad = offset_in_granule(phys.value() + left);
  ctx.step(link.request.cpu, source_link_swiotlb, [&] {
    return fmt::format("untrusted device, and {:#x} + {} shares its pages: the partial pages bounce",
                       phys.value(), left);
  });
  if (start_pad != 0) {
    const std::uint64_t head = std::min(left, page_size - start_pad);
    CBIT_TRY(bounce_and_link(link, 0, head, start_pad));
    link.state.swiotlb = true;
    mapped = head;
    left -= head;
    if (left == 0) return {};
  }
  // Up to 6.19 the way back begins at the start of the IOVA space instead of this range's
  // ("iommu/dma: Do not try to iommu_map a 0 length region in swiotlb", 7.2 and 7.0.y).
  const std::uint64_t unwind_from = ctx.config.version >= KernelVersion::v7_2 ? link.offset : 0;
  const auto give_up = [&](Errno error) -> Result<void, Errno> {
    if (mapped != 0)
      iommu_dma::iova_unlink(ctx, link.request.cpu, link.request.dev, link.state, unwind_from, mapped,
                             link.request.direction, link.request.attrs);
    return tl::unexpected{error};
  };
  left -= end_pad;
  if (left != 0) {
    const auto middle = iommu_map_nosync(link, link.state.addr + link.offset + mapped, phys + mapped, left);
    if (!middle) return give_up(middle.error());
    note_link(link, mapped, left);
    mapped += left;
  }
  if (end_pad != 0) {
    const auto tail = bounce_and_link(link, mapped, end_pad, 0);
    if (!tail) return give_up(tail.error());
    link.state.swiotlb = true;
  }
  return {};
}

Result<void, Errno> refuse(const Linking& link, Errno error, DmaFailure reason, std::string_view why) {
  link.ctx.step(link.request.cpu, source_link, [&] { return fmt::format("{}: {}", why, errno_name(error)); });
  link.ctx.fail(link.request, reason);
  return tl::unexpected{error};
}

// iommu_dma_iova_unlink_range_slow: what was bounced is copied back, granule by granule.
bool unlink_bounces(DmaContext& ctx, paging::Mmu& cpu, Device& dev, DmaAddr addr, std::uint64_t bytes,
                    DmaDirection direction, DmaAttrs attrs) {
  bool copied = false;
  for (const DmaAddr end = addr + bytes; addr < end;) {
    const auto phys = iommu_iova_to_phys(dev, addr);
    if (!phys) {
      ctx.warning(cpu, file_of_iova, "iommu_dma_iova_unlink_range_slow");
      return copied;
    }
    const std::uint64_t part = std::min(end - addr, page_size - addr.page_offset());
    if (is_swiotlb_buffer(ctx, dev, *phys))
      copied |= ctx.pool(dev)->tbl_unmap_single(cpu, dev, *phys, part, direction, attrs);
    addr = addr + part;
  }
  return copied;
}

}  // namespace

namespace iommu_dma {

bool iova_try_alloc(DmaContext& ctx, paging::Mmu& cpu, Device& dev, DmaIovaState& state, PhysAddr phys,
                    std::uint64_t bytes) {
  state = {};
  const auto refuse = [&](std::string_view why) {
    ctx.step(cpu, source_try_alloc, [&] { return fmt::format("{}: false, map range by range", why); });
    return false;
  };
  if (ctx.config.version < KernelVersion::v6_19) return refuse("dma_iova_* does not exist before Linux 6.16");
  if (dev.iommu == nullptr) return refuse("the device is not behind iommu-dma");
  if (bytes == 0 || bytes >> 63 != 0) {
    ctx.warning(cpu, file_of_iova, "dma_iova_try_alloc");
    return refuse("no such size");
  }
  const DmaRequest request{cpu, dev, phys, bytes, DmaDirection::bidirectional, {}, DmaMappingKind::page};
  const std::uint64_t iova_off = offset_in_granule(phys.value());
  const std::uint64_t size = align(bytes + iova_off);
  const std::scoped_lock hold{ctx.iommu_dma.lock};
  const auto iova = size != 0 ? alloc_iova(ctx, request, size, dev.streaming_mask()) : std::nullopt;
  if (!iova) {
    ctx.fail(request, DmaFailure::iova_exhausted, dev.limit(dev.streaming_mask()));
    return refuse("no IOVA is left");
  }
  state.addr = *iova + iova_off;
  state.bytes = bytes;
  ctx.step(cpu, source_try_alloc,
           [&] { return fmt::format("IOVA space of {} bytes at {:#x}", bytes, state.addr.value()); });
  return true;
}

Result<void, Errno> iova_link(DmaContext& ctx, DmaIovaState& state, const DmaRequest& request,
                              std::uint64_t offset) {
  const Linking link{ctx, state, request, offset};
  const std::uint64_t start_pad = offset_in_granule(request.phys.value());
  const DmaAttrs known = request.attrs & attrs_of(ctx.config.version);
  if (start_pad != 0 && offset > 0) {
    ctx.warning(request.cpu, file_of_iova, "dma_iova_link");
    return refuse(link, Errno::eio, DmaFailure::invalid_size, "only the first range may start within a page");
  }
  if (request.bytes == 0 || offset > state.bytes || request.bytes > state.bytes - offset)
    return refuse(link, Errno::einval, DmaFailure::invalid_size, "the range is not within the IOVA space");
  if (state.swiotlb && known.has(dma_attr::require_coherent)) {
    ctx.warning(request.cpu, file_of_iova, "dma_iova_link");
    return refuse(link, Errno::eopnotsupp, DmaFailure::attribute,
                  "a range before it has bounced, and this one must not");
  }
  if (shares_pages(request.dev, request.phys, request.bytes)) {
    if (!known.has(dma_attr::mmio | dma_attr::require_coherent)) return link_swiotlb(link);
    return refuse(link, Errno::eperm, why_no_bounce(request),
                  "untrusted device, unaligned, and an attribute forbids a bounce");
  }
  CBIT_TRY(iommu_map_nosync(link, state.addr + offset - start_pad, request.phys.page(),
                            align(request.bytes + start_pad)));
  note_link(link, 0, request.bytes);
  return {};
}

bool iova_unlink(DmaContext& ctx, paging::Mmu& cpu, Device& dev, DmaIovaState& state, std::uint64_t offset,
                 std::uint64_t bytes, DmaDirection direction, DmaAttrs attrs) {
  const DmaAddr addr = state.addr + offset;
  const bool copied = state.swiotlb && unlink_bounces(ctx, cpu, dev, addr, bytes, direction, attrs);
  const std::uint64_t start_pad = addr.page_offset();
  const std::uint64_t size = align(bytes + start_pad);
  const std::scoped_lock hold{ctx.iommu_dma.lock};
  if (dev.iommu->mappings->unmap(addr - start_pad, size) != size)
    ctx.warning(cpu, file_of_iova, "dma_iova_unlink");
  return copied;
}

void iova_free(DmaContext& ctx, Device& dev, DmaIovaState& state) {
  const std::uint64_t start_pad = state.addr.page_offset();
  const std::scoped_lock hold{ctx.iommu_dma.lock};
  dev.iommu->iova.release(state.addr - start_pad, align(state.bytes + start_pad) / page_size);
  state = {};
}

}  // namespace iommu_dma
}  // namespace cbit::kernel
