// Scatterlists behind an IOMMU: drivers/iommu/dma-iommu.c, from __finalise_sg to iommu_dma_unmap_sg.
#include <fmt/format.h>

#include "kernel/dma/direct.hpp"

namespace cbit::kernel {
namespace {

constexpr std::string_view source_map_sg = "drivers/iommu/dma-iommu.c: iommu_dma_map_sg";

bool iommu_dma_unmap_sg_swiotlb(DmaContext& ctx, paging::Mmu& cpu, Device& dev, std::span<ScatterEntry> sg,
                                DmaDirection direction, DmaAttrs attrs) {
  bool copied = false;
  for (const ScatterEntry& entry : sg)
    copied |= iommu_dma_unmap_page(ctx, cpu, dev, entry.dma, entry.dma_length, direction, attrs);
  return copied;
}

Result<std::size_t, Errno> iommu_dma_map_sg_swiotlb(DmaContext& ctx, paging::Mmu& cpu, Device& dev,
                                                    std::span<ScatterEntry> sg, DmaDirection direction,
                                                    DmaAttrs attrs) {
  for (std::size_t i = 0; i < sg.size(); ++i) {
    ScatterEntry& entry = sg[i];
    entry.dma = iommu_dma_map_page(
        ctx, {cpu, dev, entry.phys, entry.length, direction, attrs, DmaMappingKind::sg, entry.p2pdma});
    if (entry.dma == dma_mapping_error) {
      iommu_dma_unmap_sg_swiotlb(ctx, cpu, dev, sg.first(i), direction, attrs | dma_attr::skip_cpu_sync);
      return tl::unexpected{Errno::eio};
    }
    entry.dma_length = entry.length;
  }
  return sg.size();
}

// What the IOMMU maps for each entry: whole granules, and behind an entry as many more as keep the next one
// from crossing a segment boundary. The range starts on a boundary or lies within one, since IOVAs are
// aligned to their size.
std::vector<mem::PhysRange> lay_out(std::span<const ScatterEntry> sg, std::uint64_t boundary_mask) {
  std::vector<mem::PhysRange> pieces;
  pieces.reserve(sg.size());
  std::uint64_t iova_len = 0;
  for (const ScatterEntry& entry : sg) {
    const std::uint64_t bytes = iommu_dma::align(entry.length + entry.phys.page_offset());
    const std::uint64_t pad_len = (boundary_mask - iova_len + 1) & boundary_mask;
    if (pad_len != 0 && pad_len < bytes - 1 && !pieces.empty()) {
      pieces.back().bytes += pad_len;
      iova_len += pad_len;
    }
    pieces.push_back({entry.phys.page(), bytes});
    iova_len += bytes;
  }
  return pieces;
}

// __finalise_sg: the DMA segments, merged where the device allows it. Lengths are 32 bits wide in a
// scatterlist, and an entry longer than max_segment_size makes the difference wrap around.
std::size_t finalise_sg(const Device& dev, std::span<ScatterEntry> sg, std::span<const mem::PhysRange> pieces,
                        DmaAddr iova) {
  std::size_t count = 0;
  std::uint32_t cur_len = 0;
  for (std::size_t i = 0; i < sg.size(); ++i) {
    const std::uint64_t offset = sg[i].phys.page_offset();
    const auto length = static_cast<std::uint32_t>(sg[i].length);
    sg[i].dma = dma_mapping_error;
    sg[i].dma_length = 0;

    const bool appends = cur_len != 0 && offset == 0 && (iova.value() & dev.seg_boundary()) != 0 &&
                         dev.max_segment_size - cur_len >= length;
    if (appends) {
      cur_len += length;
    } else {
      cur_len = length;
      sg[count++].dma = iova + offset;
    }
    sg[count - 1].dma_length = cur_len;
    iova += pieces[i].bytes;
    if (length + offset < pieces[i].bytes) cur_len = 0;
  }
  return count;
}

// __invalidate_sg
tl::unexpected<Errno> invalidate_sg(std::span<ScatterEntry> sg, Errno error) {
  for (ScatterEntry& entry : sg) {
    entry.dma = dma_mapping_error;
    entry.dma_length = 0;
  }
  return tl::unexpected{error};
}

// In front of an entry without bytes Linux pads by up to a whole boundary. An entry's length is an unsigned
// int, also when it has been rounded up to granules: one that wraps to 0 is mapped short, which is an error,
// and since 6.12.117 and 7.3 it is refused (-EOVERFLOW, which comes out as -EINVAL).
bool is_mappable(DmaContext& ctx, const DmaRequest& entry) {
  const auto refuse = [&](DmaFailure reason) {
    ctx.fail(entry, reason);
    return false;
  };
  const std::uint64_t in_granules = iommu_dma::align(entry.bytes + entry.phys.page_offset());
  if (entry.bytes == 0 || in_granules > bit_mask(32)) return refuse(DmaFailure::invalid_size);
  if (!iommu_dma::exists(ctx, entry, entry.phys, entry.bytes)) return refuse(DmaFailure::invalid_memory);
  return true;
}

void step_sg(DmaContext& ctx, paging::Mmu& cpu, const Device& dev, std::size_t entries,
             std::uint64_t iova_len, DmaAddr iova, std::size_t segments) {
  ctx.step(cpu, source_map_sg, [&] {
    return fmt::format(
        "{} entries share one IOVA range, {:#x} + {}: {} segments of at most {} bytes, none across {:#x}",
        entries, iova.value(), iova_len, segments, dev.max_segment_size, dev.seg_boundary());
  });
}

}  // namespace

Result<std::size_t, Errno> iommu_dma_map_sg(DmaContext& ctx, paging::Mmu& cpu, Device& dev,
                                            std::span<ScatterEntry> sg, DmaDirection direction,
                                            DmaAttrs attrs) {
  if (iommu_dma::dev_use_swiotlb(dev)) return iommu_dma_map_sg_swiotlb(ctx, cpu, dev, sg, direction, attrs);
  if (sg.empty()) return std::size_t{0};
  for (const ScatterEntry& entry : sg) {
    const DmaRequest part{cpu,       dev,   entry.phys,         entry.length,
                          direction, attrs, DmaMappingKind::sg, entry.p2pdma};
    if (!is_mappable(ctx, part)) return invalidate_sg(sg, Errno::einval);
  }

  const std::vector<mem::PhysRange> pieces = lay_out(sg, dev.seg_boundary());
  std::uint64_t iova_len = 0;
  for (const mem::PhysRange& piece : pieces) iova_len += piece.bytes;
  const DmaRequest request{cpu, dev, sg.front().phys, iova_len, direction, attrs, DmaMappingKind::sg};

  const std::scoped_lock hold{ctx.iommu_dma.lock};
  const auto iova = iommu_dma::alloc_iova(ctx, request, iova_len, dev.streaming_mask());
  if (!iova) {
    ctx.fail(request, DmaFailure::iova_exhausted, dev.limit(dev.streaming_mask()));
    return invalidate_sg(sg, Errno::enomem);
  }
  if (!iommu_dma::map_pieces(ctx, dev, *iova, pieces, iommu_dma::rights_of(direction))) {
    dev.iommu->iova.release(*iova, iova_len / page_size);
    ctx.fail(request, DmaFailure::iommu_map, dev.limit(dev.streaming_mask()), *iova);
    return invalidate_sg(sg, Errno::einval);
  }
  const std::size_t segments = finalise_sg(dev, sg, pieces, *iova);
  step_sg(ctx, cpu, dev, sg.size(), iova_len, *iova, segments);
  return segments;
}

bool iommu_dma_unmap_sg(DmaContext& ctx, paging::Mmu& cpu, Device& dev, std::span<ScatterEntry> sg,
                        DmaDirection direction, DmaAttrs attrs) {
  if (iommu_dma::dev_use_swiotlb(dev)) return iommu_dma_unmap_sg_swiotlb(ctx, cpu, dev, sg, direction, attrs);

  // One IOVA range: from the first segment's start to the last one's end.
  DmaAddr end{0};
  for (const ScatterEntry& segment : sg) {
    if (segment.dma_length == 0) break;
    end = segment.dma + segment.dma_length;
  }
  if (end > DmaAddr{0} && end > sg.front().dma)
    iommu_dma::unmap(ctx, cpu, dev, sg.front().dma, end - sg.front().dma);
  return false;
}

}  // namespace cbit::kernel
