#include "kernel/dma/debug.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/assert.hpp"

namespace cbit::kernel {
namespace {

constexpr std::uint64_t hash_size = 16384;
constexpr unsigned hash_fn_shift = 13;
constexpr unsigned max_overlap = 7;  // (1 << RADIX_TREE_MAX_TAGS) - 1

constexpr std::uint64_t bucket_index(DmaAddr dma) { return (dma.value() >> hash_fn_shift) % hash_size; }

std::string_view name_of(DmaDirection direction) {
  switch (direction) {
    case DmaDirection::bidirectional: return "DMA_BIDIRECTIONAL";
    case DmaDirection::to_device: return "DMA_TO_DEVICE";
    case DmaDirection::from_device: return "DMA_FROM_DEVICE";
    case DmaDirection::none: return "DMA_NONE";
  }
  return "?";
}

// dev_driver_string()
std::string_view driver_of(const Device& dev) {
  if (!dev.driver.empty()) return dev.driver;
  return dev.is_pci ? "pci" : "platform";
}

}  // namespace

// err_printk; show_num_errors is 1.
template <class Text>
void DmaDebug::report(const paging::Mmu& cpu, const Device& dev, DmaDebugKind kind, DmaAddr dma,
                      std::uint64_t bytes, Text&& text) {
  if (!ctx_->tracer.enabled()) return;
  const bool first = !std::exchange(printed_, true);
  ctx_->tracer.emit(cpu.agent(), DmaDebugReport{.device = dev.name_id,
                                                .kind = kind,
                                                .dma = dma,
                                                .bytes = bytes,
                                                .text = fmt::format("DMA-API: {} {}: {}", driver_of(dev),
                                                                    dev.name, std::forward<Text>(text)()),
                                                .printed = first || ctx_->config.debug_all_errors});
}

// type2name; 6.7 corrected the spelling.
std::string_view DmaDebug::name_of(Type type) const {
  switch (type) {
    case Type::single: return ctx_->config.version >= KernelVersion::v6_19 ? "phy" : "single";
    case Type::sg: return ctx_->config.version >= KernelVersion::v6_10 ? "scatter-gather" : "scather-gather";
    case Type::coherent: return "coherent";
    case Type::noncoherent: return "noncoherent";
    case Type::resource: return "resource";
  }
  return "?";
}

// One type of physical memory with all other mappings since 6.18.
DmaDebug::Type DmaDebug::resource_type() const {
  return ctx_->config.version >= KernelVersion::v6_19 ? Type::single : Type::resource;
}

// ---- the hash --------------------------------------------------------------------------------------------

// __hash_bucket_find: a perfect fit wins, a single match does, several imperfect ones count as none.
template <class Match>
DmaDebug::Entry* DmaDebug::bucket_find(Bucket& bucket, const Entry& ref, Match match) {
  Entry* found = nullptr;
  unsigned matches = 0;
  for (Entry& entry : bucket) {
    if (entry.dev != ref.dev || !match(entry)) continue;
    if (entry.bytes == ref.bytes && entry.type == ref.type && entry.direction == ref.direction &&
        entry.sg_call_ents == ref.sg_call_ents)
      return &entry;
    ++matches;
    found = &entry;
  }
  return matches == 1 ? found : nullptr;
}

DmaDebug::Entry* DmaDebug::find_exact(const Entry& ref) {
  const auto bucket = buckets_.find(bucket_index(ref.dma));
  if (bucket == buckets_.end()) return nullptr;
  return bucket_find(bucket->second, ref, [&](const Entry& entry) { return entry.dma == ref.dma; });
}

// bucket_find_contain: looks from the address's bucket back through all of them, around the end of the table
// for addresses above its reach.
DmaDebug::Entry* DmaDebug::find_contain(const Entry& ref) {
  const auto contains = [&](const Entry& entry) {
    return entry.dma <= ref.dma && entry.dma + entry.bytes >= ref.dma + ref.bytes;
  };
  const std::uint64_t first = bucket_index(ref.dma);
  for (auto bucket = buckets_.upper_bound(first); bucket != buckets_.begin();)
    if (Entry* const found = bucket_find((--bucket)->second, ref, contains)) return found;
  if (ref.dma.value() >> hash_fn_shift < hash_size) return nullptr;
  for (auto bucket = buckets_.end(); bucket != buckets_.upper_bound(first);)
    if (Entry* const found = bucket_find((--bucket)->second, ref, contains)) return found;
  return nullptr;
}

// get_nr_mapped_entries
std::size_t DmaDebug::mapped_entries(const Entry& ref) {
  const Entry* const entry = find_exact(ref);
  return entry != nullptr ? entry->sg_mapped_ents : 0;
}

// Since 7.1 an overlap is an error where dma_get_cache_alignment() is a cache line: on none of the platforms
// here.
void DmaDebug::add(const paging::Mmu& cpu, const Entry& entry) {
  buckets_[bucket_index(entry.dma)].push_back(entry);
  if (insert_cacheline(cpu, entry) || entry.attrs.has(dma_attr::skip_cpu_sync) ||
      ctx_->config.version >= KernelVersion::v7_2)
    return;
  report(cpu, *entry.dev, DmaDebugKind::overlap, entry.dma, entry.bytes,
         [] { return "cacheline tracking EEXIST, overlapping mappings aren't supported"; });
}

void DmaDebug::remove(Entry& entry) {
  remove_cacheline(entry);
  const auto bucket = buckets_.find(bucket_index(entry.dma));
  CBIT_ASSERT(bucket != buckets_.end());
  bucket->second.erase(bucket->second.begin() + (&entry - bucket->second.data()));
  if (bucket->second.empty()) buckets_.erase(bucket);
}

// active_cacheline_insert; false for -EEXIST. A device that only reads does not matter.
bool DmaDebug::insert_cacheline(const paging::Mmu& cpu, const Entry& entry) {
  if (entry.direction == DmaDirection::to_device) return true;
  const std::uint64_t line = entry.phys.value() / cache_line_size;
  const auto [at, inserted] = cachelines_.try_emplace(line, 0);
  if (inserted) return true;
  if (at->second < max_overlap) {
    ++at->second;
  } else {
    ctx_->message_once(Once::cacheline_overlaps, cpu, [&] {
      return fmt::format("DMA-API: exceeded {} overlapping mappings of cacheline {:#018x}", max_overlap,
                         line);
    });
  }
  return false;
}

void DmaDebug::remove_cacheline(const Entry& entry) {
  if (entry.direction == DmaDirection::to_device) return;
  const auto at = cachelines_.find(entry.phys.value() / cache_line_size);
  if (at == cachelines_.end()) return;
  if (at->second == 0)
    cachelines_.erase(at);
  else
    --at->second;
}

// ---- checks ----------------------------------------------------------------------------------------------

void DmaDebug::check_unmap(const paging::Mmu& cpu, const Entry& ref) {
  Entry* const entry = find_exact(ref);
  if (entry == nullptr) {
    if (ref.dma == dma_mapping_error)
      return report(cpu, *ref.dev, DmaDebugKind::invalid_free, ref.dma, ref.bytes,
                    [] { return "device driver tries to free an invalid DMA memory address"; });
    return report(cpu, *ref.dev, DmaDebugKind::double_unmap, ref.dma, ref.bytes, [&] {
      return fmt::format(
          "device driver tries to free DMA memory it has not allocated [device address={:#018x}] [size={} "
          "bytes]",
          ref.dma.value(), ref.bytes);
    });
  }
  check_unmap_entry(cpu, ref, *entry);
  remove(*entry);
}

void DmaDebug::check_unmap_entry(const paging::Mmu& cpu, const Entry& ref, const Entry& entry) {
  const auto complain = [&](DmaDebugKind kind, auto&& text) {
    report(cpu, *ref.dev, kind, ref.dma, ref.bytes, text);
  };
  const std::uint64_t dma = ref.dma.value();
  if (ref.bytes != entry.bytes)
    complain(DmaDebugKind::wrong_size, [&] {
      return fmt::format(
          "device driver frees DMA memory with different size [device address={:#018x}] "
          "[map size={} bytes] [unmap size={} bytes]",
          dma, entry.bytes, ref.bytes);
    });
  if (ref.type != entry.type)
    complain(DmaDebugKind::wrong_function, [&] {
      return fmt::format(
          "device driver frees DMA memory with wrong function [device address={:#018x}] "
          "[size={} bytes] [mapped as {}] [unmapped as {}]",
          dma, ref.bytes, name_of(entry.type), name_of(ref.type));
    });
  else if ((entry.type == Type::coherent || entry.type == Type::noncoherent) && ref.phys != entry.phys)
    complain(DmaDebugKind::wrong_cpu_address, [&] {
      // "0x%pa": %pa writes the prefix as well.
      const std::string_view prefix = ctx_->config.version >= KernelVersion::v6_12 ? "0x" : "";
      return fmt::format(
          "device driver frees DMA memory with different CPU address [device address={:#018x}] "
          "[size={} bytes] [cpu alloc address={}{:#018x}] [cpu free address={}{:#018x}]",
          dma, ref.bytes, prefix, entry.phys.value(), prefix, ref.phys.value());
    });
  if (ref.sg_call_ents != 0 && ref.type == Type::sg && ref.sg_call_ents != entry.sg_call_ents)
    complain(DmaDebugKind::wrong_sg_count, [&] {
      return fmt::format(
          "device driver frees DMA sg list with different entry count [map count={}] "
          "[unmap count={}]",
          entry.sg_call_ents, ref.sg_call_ents);
    });
  if (ref.direction != entry.direction)
    complain(DmaDebugKind::wrong_direction, [&] {
      return fmt::format(
          "device driver frees DMA memory with different direction [device address={:#018x}] "
          "[size={} bytes] [mapped with {}] [unmapped with {}]",
          dma, ref.bytes, kernel::name_of(entry.direction), kernel::name_of(ref.direction));
    });
  if (entry.map_error == MapError::not_checked)
    complain(DmaDebugKind::unchecked_error, [&] {
      return fmt::format(
          "device driver failed to check map error[device address={:#018x}] [size={} bytes] "
          "[mapped as {}]",
          dma, ref.bytes, name_of(entry.type));
    });
  check_unmap_attrs(cpu, ref, entry);
}

// [7.1] DMA_ATTR_UNMAP_VALID: what has to be the same.
void DmaDebug::check_unmap_attrs(const paging::Mmu& cpu, const Entry& ref, const Entry& entry) {
  constexpr DmaAttrs compared = dma_attr::no_kernel_mapping | dma_attr::force_contiguous | dma_attr::mmio |
                                dma_attr::require_coherent | dma_attr::privileged | dma_attr::cc_shared;
  if (ctx_->config.version < KernelVersion::v7_2 || (ref.attrs & compared) == (entry.attrs & compared))
    return;
  report(cpu, *ref.dev, DmaDebugKind::wrong_attributes, ref.dma, ref.bytes, [&] {
    return fmt::format(
        "device driver frees DMA memory with different attributes [device address={:#018x}] "
        "[size={} bytes] [mapped with {:#x}] [unmapped with {:#x}]",
        ref.dma.value(), ref.bytes, entry.attrs.bits, ref.attrs.bits);
  });
}

void DmaDebug::check_sync(const paging::Mmu& cpu, const Entry& ref, bool for_cpu) {
  const auto complain = [&](DmaDebugKind kind, auto&& text) {
    report(cpu, *ref.dev, kind, ref.dma, ref.bytes, text);
  };
  const Entry* const entry = find_contain(ref);
  if (entry == nullptr)
    return complain(DmaDebugKind::sync_unmapped, [&] {
      return fmt::format(
          "device driver tries to sync DMA memory it has not allocated "
          "[device address={:#018x}] [size={} bytes]",
          ref.dma.value(), ref.bytes);
    });
  if (ref.bytes > entry->bytes)
    complain(DmaDebugKind::sync_range, [&] {
      return fmt::format(
          "device driver syncs DMA memory outside allocated range [device address={:#018x}] "
          "[allocation size={} bytes] [sync offset+size={}]",
          entry->dma.value(), entry->bytes, ref.bytes);
    });
  if (entry->direction == DmaDirection::bidirectional) return;

  const auto directions = [&](std::string_view what) {
    return [&ref, entry, what] {
      return fmt::format(
          "device driver syncs {} [device address={:#018x}] [size={} bytes] [mapped with {}] "
          "[synced with {}]",
          what, ref.dma.value(), entry->bytes, kernel::name_of(entry->direction),
          kernel::name_of(ref.direction));
    };
  };
  if (ref.direction != entry->direction)
    complain(DmaDebugKind::sync_direction, directions("DMA memory with different direction"));
  if (for_cpu && entry->direction != DmaDirection::from_device && ref.direction != DmaDirection::to_device)
    complain(DmaDebugKind::sync_direction, directions("device read-only DMA memory for cpu"));
  if (!for_cpu && entry->direction != DmaDirection::to_device && ref.direction != DmaDirection::from_device)
    complain(DmaDebugKind::sync_direction, directions("device write-only DMA memory to device"));
  if (ref.sg_call_ents != 0 && ref.type == Type::sg && ref.sg_call_ents != entry->sg_call_ents)
    complain(DmaDebugKind::wrong_sg_count, [&] {
      return fmt::format(
          "device driver syncs DMA sg list with different entry count [map count={}] "
          "[sync count={}]",
          entry->sg_call_ents, ref.sg_call_ents);
    });
}

// CONFIG_DMA_API_DEBUG_SG
void DmaDebug::check_sg_segment(const paging::Mmu& cpu, const Device& dev, const ScatterEntry& segment) {
  if (segment.length > dev.max_segment_size)
    report(cpu, dev, DmaDebugKind::segment_size, segment.dma, segment.length, [&] {
      return fmt::format("mapping sg segment longer than device claims to support [len={}] [max={}]",
                         segment.length, dev.max_segment_size);
    });
  const std::uint64_t start = segment.dma.value();
  const std::uint64_t end = start + segment.dma_length - 1;
  if (((start ^ end) & ~dev.seg_boundary()) != 0)
    report(cpu, dev, DmaDebugKind::segment_boundary, segment.dma, segment.dma_length, [&] {
      return fmt::format(
          "mapping sg segment across boundary [start={:#018x}] [end={:#018x}] [boundary={:#018x}]", start,
          end, dev.seg_boundary());
    });
}

// ---- the API's hooks -------------------------------------------------------------------------------------

void DmaDebug::map_single_invalid(const paging::Mmu& cpu, const Device& dev, VirtAddr at,
                                  std::uint64_t bytes) {
  report(cpu, dev, DmaDebugKind::bad_memory, dma_mapping_error, bytes, [&] {
    return fmt::format("device driver maps memory from invalid area [addr={:016x}] [len={}]", at.value(),
                       bytes);
  });
}

void DmaDebug::invalid_direction(const paging::Mmu& cpu, const Device& dev, DmaDirection direction,
                                 std::string_view function) {
  report(cpu, dev, DmaDebugKind::invalid_direction, dma_mapping_error, 0, [&] {
    return fmt::format("kernel BUG in {}: !valid_dma_direction(dir), dir is {}", function,
                       static_cast<unsigned>(direction));
  });
}

void DmaDebug::map_page(const DmaRequest& request, DmaAddr dma) {
  if (dma == dma_mapping_error) return;
  add(request.cpu, {.dev = &request.dev,
                    .dma = dma,
                    .bytes = request.bytes,
                    .type = request.kind == DmaMappingKind::resource ? resource_type() : Type::single,
                    .direction = request.direction,
                    .phys = request.phys,
                    .map_error = MapError::not_checked,
                    .attrs = request.attrs});
}

void DmaDebug::mapping_error(const Device& dev, DmaAddr dma) {
  const auto bucket = buckets_.find(bucket_index(dma));
  if (bucket == buckets_.end()) return;
  const auto unchecked = std::find_if(bucket->second.begin(), bucket->second.end(), [&](const Entry& entry) {
    return entry.dma == dma && entry.dev == &dev && entry.map_error == MapError::not_checked;
  });
  if (unchecked != bucket->second.end()) unchecked->map_error = MapError::checked;
}

void DmaDebug::unmap_page(const paging::Mmu& cpu, const Device& dev, DmaAddr dma, std::uint64_t bytes,
                          DmaDirection direction, DmaAttrs attrs) {
  check_unmap(cpu, {.dev = &dev,
                    .dma = dma,
                    .bytes = bytes,
                    .type = Type::single,
                    .direction = direction,
                    .attrs = attrs});
}

void DmaDebug::map_sg(const paging::Mmu& cpu, const Device& dev, std::span<const ScatterEntry> sg,
                      std::size_t mapped, DmaDirection direction, DmaAttrs attrs) {
  for (const ScatterEntry& segment : sg.first(mapped)) {
    check_sg_segment(cpu, dev, segment);
    Entry entry = sg_reference(dev, segment, direction, sg.size(), attrs);
    entry.sg_mapped_ents = mapped;
    add(cpu, entry);
  }
}

DmaDebug::Entry DmaDebug::sg_reference(const Device& dev, const ScatterEntry& entry, DmaDirection direction,
                                       std::size_t entries, DmaAttrs attrs) {
  return {.dev = &dev,
          .dma = entry.dma,
          .bytes = entry.dma_length,
          .type = Type::sg,
          .direction = direction,
          .sg_call_ents = entries,
          .phys = entry.phys,
          .attrs = attrs};
}

void DmaDebug::unmap_sg(const paging::Mmu& cpu, const Device& dev, std::span<const ScatterEntry> sg,
                        DmaDirection direction, DmaAttrs attrs) {
  std::size_t mapped = 0;
  for (std::size_t i = 0; i < sg.size(); ++i) {
    const Entry ref = sg_reference(dev, sg[i], direction, sg.size(), attrs);
    if (mapped != 0 && i >= mapped) break;
    if (i == 0) mapped = mapped_entries(ref);
    check_unmap(cpu, ref);
  }
}

void DmaDebug::alloc_coherent(const paging::Mmu& cpu, const Device& dev, PhysAddr phys, std::uint64_t bytes,
                              DmaAddr dma, DmaAttrs attrs) {
  add(cpu, {.dev = &dev, .dma = dma, .bytes = bytes, .type = Type::coherent, .phys = phys, .attrs = attrs});
}

void DmaDebug::free_coherent(const paging::Mmu& cpu, const Device& dev, PhysAddr phys, std::uint64_t bytes,
                             DmaAddr dma, DmaAttrs attrs) {
  check_unmap(
      cpu, {.dev = &dev, .dma = dma, .bytes = bytes, .type = Type::coherent, .phys = phys, .attrs = attrs});
}

// debug_dma_alloc_pages() came with 6.12.y; before, the pages are a mapping like others.
DmaDebug::Entry DmaDebug::pages_reference(const Device& dev, PhysAddr phys, std::uint64_t bytes,
                                          DmaDirection direction, DmaAddr dma) const {
  const bool own_type = ctx_->config.version >= KernelVersion::v6_12;
  return {.dev = &dev,
          .dma = dma,
          .bytes = bytes,
          .type = own_type ? Type::noncoherent : Type::single,
          .direction = direction,
          .phys = phys,
          .map_error = own_type ? MapError::not_applicable : MapError::not_checked};
}

void DmaDebug::alloc_pages(const paging::Mmu& cpu, const Device& dev, PhysAddr phys, std::uint64_t bytes,
                           DmaDirection direction, DmaAddr dma) {
  add(cpu, pages_reference(dev, phys, bytes, direction, dma));
}

void DmaDebug::free_pages(const paging::Mmu& cpu, const Device& dev, PhysAddr phys, std::uint64_t bytes,
                          DmaDirection direction, DmaAddr dma) {
  check_unmap(cpu, pages_reference(dev, phys, bytes, direction, dma));
}

void DmaDebug::unmap_resource(const paging::Mmu& cpu, const Device& dev, DmaAddr dma, std::uint64_t bytes,
                              DmaDirection direction, DmaAttrs attrs) {
  check_unmap(cpu, {.dev = &dev,
                    .dma = dma,
                    .bytes = bytes,
                    .type = resource_type(),
                    .direction = direction,
                    .attrs = attrs});
}

void DmaDebug::sync_single(const paging::Mmu& cpu, const Device& dev, DmaAddr dma, std::uint64_t bytes,
                           DmaDirection direction, bool for_cpu) {
  check_sync(cpu, {.dev = &dev, .dma = dma, .bytes = bytes, .type = Type::single, .direction = direction},
             for_cpu);
}

void DmaDebug::sync_sg(const paging::Mmu& cpu, const Device& dev, std::span<const ScatterEntry> sg,
                       DmaDirection direction, bool for_cpu) {
  std::size_t mapped = 0;
  for (std::size_t i = 0; i < sg.size(); ++i) {
    const Entry ref = sg_reference(dev, sg[i], direction, sg.size());
    if (i == 0) mapped = mapped_entries(ref);
    if (i >= mapped) break;
    check_sync(cpu, ref, for_cpu);
  }
}

std::size_t DmaDebug::driver_unbound(const paging::Mmu& cpu, const Device& dev) {
  std::size_t count = 0;
  const Entry* last = nullptr;
  for (const auto& [index, bucket] : buckets_)
    for (const Entry& entry : bucket)
      if (entry.dev == &dev) {
        ++count;
        last = &entry;
      }
  if (count != 0)
    report(cpu, dev, DmaDebugKind::leak, last->dma, last->bytes, [&] {
      return fmt::format(
          "device driver has pending DMA allocations while released from device [count={}]\n"
          "One of leaked entries details: [device address={:#018x}] [size={} bytes] "
          "[mapped with {}] [mapped as {}]",
          count, last->dma.value(), last->bytes, kernel::name_of(last->direction), name_of(last->type));
    });
  return count;
}

}  // namespace cbit::kernel
