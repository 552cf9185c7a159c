// Scatterlists: dma_map_sg_attrs(), dma_map_sgtable() and their kind; kernel/dma/mapping.c,
// include/linux/scatterlist.h.
#include <algorithm>

#include "linux/probes/dma_events.hpp"

namespace cbit::linux {
namespace {

constexpr std::size_t entries_max = 1 << 16;
constexpr std::uint64_t page_link_chain = 1;  // SG_CHAIN: the rest is another list's address
constexpr std::uint64_t page_link_end = 2;    // SG_END

struct Entry {
  PhysAddr phys;
  bool is_memory = false;
  std::uint64_t bytes = 0;
  DmaAddr dma;
  std::uint64_t dma_bytes = 0;
};

std::optional<Entry> read_entry(ProbeContext& ctx, const CallView& c, VirtAddr at, std::uint64_t link) {
  const Peek peek = ctx.peek(c);
  const auto offset = peek.value(at, Field::sg_offset), length = peek.value(at, Field::sg_length);
  const auto dma = peek.value(at, Field::sg_dma_address);
  if (!offset || !length || !dma) return std::nullopt;
  const auto page = ctx.phys_of_page(c, VirtAddr{link & ~(page_link_chain | page_link_end)});
  // Without CONFIG_NEED_SG_DMA_LENGTH there is one length for both.
  const std::uint64_t dma_bytes = peek.value(at, Field::sg_dma_length).value_or(*length);
  return Entry{page.value_or(PhysAddr{}) + *offset, page.has_value(), *length, DmaAddr{*dma}, dma_bytes};
}

// At most `count` entries, through the chains that long lists are made of.
std::vector<Entry> read_list(ProbeContext& ctx, const CallView& c, VirtAddr list, std::uint64_t count) {
  std::vector<Entry> entries;
  const auto stride = ctx.peek(c).fields()[Stride::scatterlist];
  if (!stride) return entries;
  unsigned chains = 0;
  for (VirtAddr at = list; entries.size() < std::min<std::uint64_t>(count, entries_max);) {
    const auto link = ctx.peek(c).value(at, Field::sg_page_link);
    if (!link) break;
    if ((*link & page_link_chain) != 0) {
      if (++chains > entries_max) break;
      at = VirtAddr{*link & ~(page_link_chain | page_link_end)};
      continue;
    }
    const auto entry = read_entry(ctx, c, at, *link);
    if (!entry) break;
    entries.push_back(*entry);
    if ((*link & page_link_end) != 0) break;
    at += *stride;
  }
  return entries;
}

// An IOMMU merges neighbours: its segments take the entries' bytes in turn, and a segment's memory begins
// where the first of its bytes are.
std::vector<Notes::Segment> segments_of(const std::vector<Entry>& entries, std::size_t count) {
  std::vector<Notes::Segment> segments;
  std::size_t source = 0;
  std::uint64_t consumed = 0;  // of entries[source]
  for (std::size_t i = 0; i < std::min(count, entries.size()) && entries[i].dma_bytes != 0; ++i) {
    while (source < entries.size() && consumed >= entries[source].bytes) {
      consumed -= entries[source].bytes;
      ++source;
    }
    const PhysAddr phys = source < entries.size() ? entries[source].phys + consumed : PhysAddr{};
    segments.push_back({entries[i].dma, phys, entries[i].dma_bytes});
    consumed += entries[i].dma_bytes;
  }
  return segments;
}

bool enter_map_sg(ProbeContext& ctx, CallView& c) {
  c.notes().site = ctx.caller_of_dma(c, c.pointer(0));
  return true;
}

struct SgCall {
  VirtAddr list;
  std::uint64_t entries = 0;
  DmaDirection direction{};
  DmaAttrs attrs;
};

void report_sg(ProbeContext& ctx, const CallView& c, const SgCall& call, std::int32_t segments) {
  const Device device = ctx.device(c, c.pointer(0));
  const std::vector<Entry> entries = read_list(ctx, c, call.list, call.entries);
  DmaAsk ask{.kind = DmaMappingKind::sg, .direction = call.direction, .attrs = call.attrs};
  if (segments <= 0) {
    const Entry first = entries.empty() ? Entry{} : entries.front();
    ask.phys = first.phys;
    ask.bytes = first.bytes;
    ask.is_memory = first.is_memory;
    return report_failure(ctx, c, device, ask);
  }
  for (const Notes::Segment& segment : segments_of(entries, static_cast<std::size_t>(segments))) {
    ask.phys = segment.phys;
    ask.bytes = segment.bytes;
    report_mapped(ctx, c, device, ask, segment.dma);
  }
}

// dev, sg, nents, dir, attrs; the number of segments, or an error
void map_sg(ProbeContext& ctx, CallView& c) {
  report_sg(ctx, c, {c.pointer(1), static_cast<std::uint32_t>(c.argument(2)), c.direction(3), c.attrs(4)},
            c.int_result());
}

// dev, sgt, dir, attrs; 0, or an error: the number of segments is in the table
void map_sgtable(ProbeContext& ctx, CallView& c) {
  const Peek peek = ctx.peek(c);
  const auto list = peek.pointer(c.pointer(1), Field::sg_table_list);
  const auto entries = peek.value(c.pointer(1), Field::sg_table_entries);
  const auto segments = peek.value(c.pointer(1), Field::sg_table_segments);
  if (!list || !entries || !segments) return;
  report_sg(ctx, c, {*list, *entries, c.direction(2), c.attrs(3)},
            c.int_result() == 0 ? static_cast<std::int32_t>(*segments) : c.int_result());
}

// dev, sg, nents, dir. The addresses are gone when the call returns.
bool enter_mapped_sg(ProbeContext& ctx, CallView& c) {
  const auto entries = read_list(ctx, c, c.pointer(1), static_cast<std::uint32_t>(c.argument(2)));
  c.notes().segments = segments_of(entries, entries.size());
  return true;
}

// Which bounce buffer was copied tells which segment it was; behind an IOMMU one stands for all.
bool was_copied(const std::vector<PhysAddr>& copied, const Notes::Segment& segment, bool iommu) {
  const auto inside = [&](PhysAddr at) {
    return at.value() >= segment.dma.value() && at.value() - segment.dma.value() < segment.bytes;
  };
  return iommu ? !copied.empty() : std::ranges::any_of(copied, inside);
}

void unmap_sg(ProbeContext& ctx, CallView& c) {
  const Device device = ctx.device(c, c.pointer(0));
  const NameId name = ctx.name_of(device.name);
  for (const Notes::Segment& segment : c.notes().segments)
    report_unmapped(ctx, c, name, DmaMappingKind::sg, segment, c.direction(3),
                    was_copied(c.notes().copied_back, segment, device.iommu));
}

void sync_sg(ProbeContext& ctx, const CallView& c, bool for_cpu) {
  const Device device = ctx.device(c, c.pointer(0));
  const auto& copied = for_cpu ? c.notes().copied_back : c.notes().copied_in;
  for (const Notes::Segment& segment : c.notes().segments)
    ctx.emit(c, DmaSynced{.device = ctx.name_of(device.name),
                          .dma = segment.dma,
                          .bytes = segment.bytes,
                          .direction = c.direction(3),
                          .for_cpu = for_cpu,
                          .copied = was_copied(copied, segment, device.iommu)});
}
void sync_sg_for_cpu(ProbeContext& ctx, CallView& c) { sync_sg(ctx, c, true); }
void sync_sg_for_device(ProbeContext& ctx, CallView& c) { sync_sg(ctx, c, false); }

constexpr std::string_view list_map = "dev sg nents dir attrs";
constexpr std::string_view list_sync = "dev sg nelems dir";

constexpr ProbeRow dma_sg_calls[] = {
    {"__dma_map_sg_attrs", list_map, "", enter_map_sg, map_sg},
    {"dma_map_sg_attrs", list_map, "__dma_map_sg_attrs", enter_map_sg, map_sg},
    {"dma_map_sgtable", "dev sgt dir attrs", "__dma_map_sg_attrs", enter_map_sg, map_sgtable},
    {"dma_unmap_sg_attrs", list_map, "", enter_mapped_sg, unmap_sg},
    {"dma_sync_sg_for_cpu", list_sync, "__dma_sync_sg_for_cpu", enter_mapped_sg, sync_sg_for_cpu},
    {"dma_sync_sg_for_device", list_sync, "__dma_sync_sg_for_device", enter_mapped_sg, sync_sg_for_device},
    {"__dma_sync_sg_for_cpu", list_sync, "", enter_mapped_sg, sync_sg_for_cpu},
    {"__dma_sync_sg_for_device", list_sync, "", enter_mapped_sg, sync_sg_for_device},
};

}  // namespace

std::span<const ProbeRow> dma_sg_rows() { return dma_sg_calls; }

}  // namespace cbit::linux
