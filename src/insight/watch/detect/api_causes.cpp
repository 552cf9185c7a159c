#include <optional>

#include "base/format.hpp"
#include "watch/cause_table.hpp"
#include "watch/describe.hpp"
#include "watch/detect/beyond_mask.hpp"
#include "watch/detect/detectors.hpp"
#include "watch/event_names.hpp"

namespace cbit::watch {
namespace {

// nullptr: SwiotlbFull says why, with the facts.
const CauseInfo* reason_of(DmaFailure failure) {
  switch (failure) {
    case DmaFailure::mask_overflow: return &cause("buffer-beyond-mask");
    case DmaFailure::no_pool: return &cause("no-bounce-pool");
    case DmaFailure::pool_full: return nullptr;
    case DmaFailure::pool_beyond_mask: return &cause("pool-out-of-mask");
    case DmaFailure::p2pdma_bounce: return &cause("p2pdma-needs-bounce");
    case DmaFailure::resource_mask: return &cause("resource-beyond-mask");
    case DmaFailure::iova_exhausted: return &cause("iova-exhausted");
    case DmaFailure::iommu_map: return &cause("iommu-map-refused");
    case DmaFailure::mask_unset: return &cause("mask-unset");
    case DmaFailure::no_memory: return &cause("allocation-failed");
    case DmaFailure::coherent_mask: return &cause("coherent-mask-too-small");
    case DmaFailure::atomic_pool_empty: return &cause("atomic-pool-empty");
    case DmaFailure::conversion_failed: return &cause("conversion-failed-page-leaked");
    case DmaFailure::attribute: return &cause("attribute-conflict");
    case DmaFailure::invalid_direction: return &cause("invalid-direction");
    case DmaFailure::invalid_size: return &cause("invalid-mapping-size");
    case DmaFailure::invalid_memory: return &cause("unmappable-memory");
    case DmaFailure::iommu_cannot_share: return &cause("guest-iommu-cannot-share");
    case DmaFailure::pool_not_private: return &cause("bounce-pool-not-private");
    case DmaFailure::mmio_unaligned: return &cause("untrusted-mmio-unaligned");
    case DmaFailure::not_told: return nullptr;
  }
  return nullptr;
}

// `mapping` is the one that the report's address lies in, active or not; nullptr: none.
const CauseInfo& reason_of(const DmaDebugReport& report, const Mapping* mapping) {
  switch (report.kind) {
    case DmaDebugKind::leak:
      return mapping != nullptr && mapping->bounced ? cause("slot-leak") : cause("mapping-leak");
    case DmaDebugKind::double_unmap: return cause("double-unmap");
    case DmaDebugKind::wrong_size: return cause("wrong-unmap-size");
    case DmaDebugKind::wrong_function: return cause("wrong-unmap-function");
    case DmaDebugKind::wrong_direction:
    case DmaDebugKind::sync_direction: return cause("wrong-direction");
    case DmaDebugKind::wrong_cpu_address: return cause("wrong-cpu-address");
    case DmaDebugKind::wrong_attributes: return cause("wrong-unmap-attributes");
    case DmaDebugKind::wrong_sg_count: return cause("wrong-sg-count");
    case DmaDebugKind::unchecked_error: return cause("unchecked-mapping-error");
    case DmaDebugKind::bad_memory: return cause("unmappable-memory");
    case DmaDebugKind::overlap: return cause("overlapping-mappings");
    case DmaDebugKind::sync_unmapped:
      // dma-debug looks for an entry that contains the whole range, so it does not find one that is overrun.
      return mapping != nullptr && mapping->released_ns == 0 ? cause("sync-outside-mapping")
                                                             : cause("sync-of-unmapped");
    case DmaDebugKind::sync_range: return cause("sync-outside-mapping");
    case DmaDebugKind::segment_size: return cause("sg-segment-too-long");
    case DmaDebugKind::segment_boundary: return cause("sg-segment-crosses-boundary");
    case DmaDebugKind::use_after_unmap: return cause("use-after-unmap");
    case DmaDebugKind::missing_sync: return cause("missing-sync");
    case DmaDebugKind::invalid_free: return cause("unmap-of-mapping-error");
    case DmaDebugKind::invalid_direction: break;
  }
  return cause("invalid-direction");
}

// The range under which the explainer itself files the same misuse.
CauseRange where_of(const DmaDebugReport& report, const Mapping* mapping) {
  if (report.dma == dma_mapping_error) return {};
  const bool of_mapping = mapping != nullptr && mapping->released_ns == 0;
  const bool of_unmap = mapping != nullptr && (report.kind != DmaDebugKind::double_unmap &&
                                               report.kind != DmaDebugKind::sync_unmapped);
  return of_mapping || of_unmap ? range_of(*mapping) : bus_range(report.dma, report.bytes);
}

// dma_map_single() is dma_map_page() with another spelling; dma-debug keeps them as one type too.
bool is_same_function(DmaMappingKind a, DmaMappingKind b) {
  const auto normal = [](DmaMappingKind kind) {
    return kind == DmaMappingKind::page ? DmaMappingKind::single : kind;
  };
  return normal(a) == normal(b);
}

struct ApiCauses {
  const Scene& scene;

  void operator()(const DmaMapped& mapped) const {
    const bool streaming = mapped.kind != DmaMappingKind::coherent && mapped.kind != DmaMappingKind::resource;
    if (!scene.facts.context().is_guest || !streaming || mapped.path != DmaPath::direct) return;
    if (scene.facts.is_shared(mapped.phys)) return;  // DMA_ATTR_CC_SHARED
    // Nothing in the address makes the access one of encrypted memory: the device is trusted with it.
    if (mapped.encrypted && mapped.dma.value() == mapped.phys.value()) return;
    explain_missing_pool(scene, mapped.device, bus_range(mapped.dma, mapped.bytes),
                         {"mapping", fmt::format("{} bytes of {} mapped directly at {}", mapped.bytes,
                                                 mapped.phys, mapped.dma)});
  }

  void operator()(const DmaMapFailed& failed) const {
    if (failed.reason == DmaFailure::mask_overflow) return mask_overflow(failed);
    if (failed.reason == DmaFailure::no_pool)
      return explain_missing_pool(scene, failed.device, pages_of(failed.phys, failed.bytes),
                                  {"request", describe(failed)});
    const CauseInfo* const reason = reason_of(failed.reason);
    if (reason == nullptr) return;
    const bool debug_reports_it =
        failed.reason == DmaFailure::invalid_memory || failed.reason == DmaFailure::invalid_direction;
    fill(debug_reports_it ? scene.book.open_misuse(*reason, failed.device, {}, scene.event.time_ns)
                          : scene.book.open(*reason, failed.device, scene.event.time_ns),
         failed);
  }

  // dma_map_single_attrs() is inlined into the driver: all that shows of its refusal is what it says.
  void operator()(const KernelMessage& message) const {
    if (message.text.find("rejecting DMA map of vmalloc memory") == std::string::npos) return;
    Cause* const found = scene.book.open(cause("unmappable-memory"), 0, scene.event.time_ns);
    if (found != nullptr) found->evidence = {{"Linux", message.text}};
  }

  void operator()(const DmaUnmapped& unmapped) const {
    const Mapping* const mapping = scene.facts.mappings().find_to_unmap(unmapped);
    if (mapping == nullptr) {
      misuse(cause("double-unmap"), unmapped.device, bus_range(unmapped.dma, unmapped.bytes),
             describe(unmapped));
      return;
    }
    compare(unmapped, *mapping);
    if (!unmapped.copied_back) lost_write(*mapping, describe(unmapped));
    if (unmapped.copied_back && mapping->cleared) zeroed_bytes(*mapping);
  }

  void operator()(const DmaSynced& synced) const {
    const Mapping* const mapping = scene.facts.mappings().find(synced.device, synced.dma);
    const std::string call = fmt::format("{} {} bytes at {}, {}", synced.for_cpu ? "for_cpu" : "for_device",
                                         synced.bytes, synced.dma, to_string(synced.direction));
    if (mapping == nullptr) {
      misuse(cause("sync-of-unmapped"), synced.device, bus_range(synced.dma, synced.bytes), call);
      return;
    }
    const DmaDirection mapped = mapping->call.direction;
    if (mapped != DmaDirection::bidirectional && mapped != synced.direction)
      misuse(cause("wrong-direction"), synced.device, range_of(*mapping), call, mapping);
    if (synced.bytes > mapping->end() - synced.dma)
      misuse(cause("sync-outside-mapping"), synced.device, range_of(*mapping), call, mapping);
  }

  void operator()(const MappedMemoryFreed& freed) const {
    const Mapping* const mapping = scene.facts.mappings().find(freed.device, freed.dma);
    if (mapping == nullptr) return;
    misuse(cause("freed-while-mapped"), freed.device, range_of(*mapping),
           fmt::format("memory at {} was freed", freed.freed), mapping);
  }

  void operator()(const DmaPagesReturned& returned) const {
    if (returned.page == returned.struct_page) return;
    Cause* const found = scene.book.open(cause("pool-address-as-struct-page"), returned.device,
                                         pages_of(returned.phys, returned.bytes), scene.event.time_ns);
    if (found == nullptr) return;
    found->evidence = {{"memory", fmt::format("{} bytes at {}", returned.bytes, returned.phys)},
                       {"returned", fmt::format("{}", returned.page)},
                       {"its struct page", fmt::format("{}", returned.struct_page)}};
  }

  void operator()(const DmaDebugReport& report) const {
    const MappingTable& mappings = scene.facts.mappings();
    const Mapping* mapping = mappings.find(report.device, report.dma);
    if (mapping == nullptr) mapping = mappings.find_released(report.device, report.dma);
    Cause* const found =
        scene.book.open_misuse(reason_of(report, mapping), report.device, where_of(report, mapping),
                               scene.event.time_ns, report.printed ? report.text : std::string{});
    if (found != nullptr && mapping != nullptr)
      found->evidence = {{"mapping", describe(scene.facts, *mapping)}};
  }

  void operator()(const auto&) const {}

  [[nodiscard]] static std::string describe(const DmaUnmapped& unmapped) {
    return fmt::format("unmap of {} bytes at {} as {}, {}{}", unmapped.bytes, unmapped.dma,
                       stable_name(unmapped.kind), to_string(unmapped.direction),
                       unmapped.copied_back ? ", copied back" : ", not copied back");
  }
  [[nodiscard]] static std::string describe(const Facts& facts, const Mapping& mapping) {
    return watch::describe(facts, mapping);
  }

  void misuse(const CauseInfo& reason, NameId device, const CauseRange& where, std::string call,
              const Mapping* mapping = nullptr) const {
    Cause* const found = scene.book.open_misuse(reason, device, where, scene.event.time_ns);
    if (found == nullptr) return;
    found->evidence = {{"call", std::move(call)}};
    if (mapping != nullptr) found->evidence.push_back({"mapping", describe(scene.facts, *mapping)});
  }

  void compare(const DmaUnmapped& unmapped, const Mapping& mapping) const {
    const CauseRange where = range_of(mapping);
    if (!is_same_function(unmapped.kind, mapping.call.kind))
      misuse(cause("wrong-unmap-function"), unmapped.device, where, describe(unmapped), &mapping);
    if (unmapped.bytes != mapping.call.bytes)
      misuse(cause("wrong-unmap-size"), unmapped.device, where, describe(unmapped), &mapping);
    if (unmapped.direction != mapping.call.direction)
      misuse(cause("wrong-direction"), unmapped.device, where, describe(unmapped), &mapping);
  }

  // The device's writes are known by their hull only: gaps inside it go unnoticed.
  void zeroed_bytes(const Mapping& mapping) const {
    const std::uint64_t written = mapping.written_end - mapping.written_first;
    if (written >= mapping.call.bytes) return;
    Cause* const found = scene.book.open(cause("untrusted-bounce-zeroed"), mapping.call.device,
                                         range_of(mapping), scene.event.time_ns);
    if (found == nullptr) return;
    found->evidence = {
        {"mapping", describe(scene.facts, mapping)},
        {"device wrote", fmt::format("{} of {} bytes, from offset {}; the rest came back as zeros", written,
                                     mapping.call.bytes, mapping.written_first)}};
  }

  void lost_write(const Mapping& mapping, std::string call) const {
    if (!mapping.bounced || !mapping.written()) return;
    if (mapping.call.direction == DmaDirection::to_device) return;
    misuse(cause("missing-sync"), mapping.call.device, range_of(mapping), std::move(call), &mapping);
  }

  void mask_overflow(const DmaMapFailed& failed) const {
    const ExplainerContext& context = scene.facts.context();
    if (context.is_guest)
      return explain_missing_pool(scene, failed.device, pages_of(failed.phys, failed.bytes),
                                  {"request", describe(failed)});
    const CauseInfo& reason =
        why_beyond_mask(context, failed.phys + (failed.bytes - 1), failed.address, failed.mask);
    fill(scene.book.open(reason, failed.device, scene.event.time_ns), failed);
  }

  [[nodiscard]] static std::string describe(const DmaMapFailed& failed) {
    return fmt::format("{} of {} bytes at {}", stable_name(failed.kind), failed.bytes, failed.phys);
  }

  static void fill(Cause* found, const DmaMapFailed& failed) {
    if (found == nullptr) return;
    found->evidence = {{"request", describe(failed)}};
    if (failed.mask != 0) found->evidence.push_back({"mask", fmt::format("{:#x}", failed.mask)});
    if (failed.address != DmaAddr{} && failed.address != dma_mapping_error)
      found->evidence.push_back({"address", fmt::format("{}", failed.address)});
  }
};

}  // namespace

void find_api_causes(const Scene& scene) { std::visit(ApiCauses{scene}, scene.event.payload); }

void find_lost_writes(const Facts& facts, CaseBook& book, std::uint64_t time_ns) {
  facts.mappings().for_each_active([&](const Mapping& mapping) {
    if (!mapping.bounced || !mapping.written() || mapping.call.direction == DmaDirection::to_device) return;
    if (Cause* const found =
            book.open_misuse(cause("missing-sync"), mapping.call.device, range_of(mapping), time_ns))
      found->evidence = {{"mapping", describe(facts, mapping)}};
  });
}

void find_leaks(const Facts& facts, CaseBook& book, std::uint64_t time_ns) {
  facts.mappings().for_each_active([&](const Mapping& mapping) {
    if (!mapping.bounced) return;
    if (Cause* const found =
            book.open_misuse(cause("slot-leak"), mapping.call.device, range_of(mapping), time_ns))
      found->evidence = {{"mapping", describe(facts, mapping)}};
  });
}

}  // namespace cbit::watch
