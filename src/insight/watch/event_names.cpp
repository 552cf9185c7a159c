#include "watch/event_names.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <type_traits>

namespace cbit::watch {

std::string_view stable_name(FlushKind kind) {
  switch (kind) {
    case FlushKind::tlb_range: return "tlb-range";
    case FlushKind::tlb_full: return "tlb-full";
    case FlushKind::clflush: return "clflush";
    case FlushKind::wbinvd: return "wbinvd";
  }
  return "?";
}

std::string_view stable_name(FaultKind kind) {
  switch (kind) {
    case FaultKind::not_present: return "not-present";
    case FaultKind::protection: return "protection";
    case FaultKind::reserved_bit: return "reserved-bit";
    case FaultKind::non_canonical: return "non-canonical";
    case FaultKind::no_memory: return "no-memory";
    case FaultKind::rmp_violation: return "rmp-violation";
    case FaultKind::private_mmio: return "private-mmio";
    case FaultKind::td_integrity: return "td-integrity";
    case FaultKind::conversion_refused: return "conversion-refused";
    case FaultKind::guest_terminated: return "guest-terminated";
    case FaultKind::iommu_not_present: return "iommu-not-present";
    case FaultKind::iommu_protection: return "iommu-protection";
    case FaultKind::iommu_reserved_bit: return "iommu-reserved-bit";
    case FaultKind::iommu_no_domain: return "iommu-no-domain";
    case FaultKind::address_width: return "address-width";
    case FaultKind::device_protocol: return "device-protocol";
    case FaultKind::bus_master_off: return "bus-master-off";
  }
  return "?";
}

std::string_view stable_name(DmaMappingKind kind) {
  switch (kind) {
    case DmaMappingKind::single: return "single";
    case DmaMappingKind::page: return "page";
    case DmaMappingKind::sg: return "sg";
    case DmaMappingKind::coherent: return "coherent";
    case DmaMappingKind::resource: return "resource";
  }
  return "?";
}

std::string_view stable_name(DmaFailure reason) {
  switch (reason) {
    case DmaFailure::mask_overflow: return "mask-overflow";
    case DmaFailure::no_pool: return "no-pool";
    case DmaFailure::pool_full: return "pool-full";
    case DmaFailure::pool_beyond_mask: return "pool-beyond-mask";
    case DmaFailure::p2pdma_bounce: return "p2pdma-bounce";
    case DmaFailure::resource_mask: return "resource-mask";
    case DmaFailure::iova_exhausted: return "iova-exhausted";
    case DmaFailure::iommu_map: return "iommu-map";
    case DmaFailure::mask_unset: return "mask-unset";
    case DmaFailure::no_memory: return "no-memory";
    case DmaFailure::coherent_mask: return "coherent-mask";
    case DmaFailure::atomic_pool_empty: return "atomic-pool-empty";
    case DmaFailure::conversion_failed: return "conversion-failed";
    case DmaFailure::attribute: return "attribute";
    case DmaFailure::invalid_direction: return "invalid-direction";
    case DmaFailure::invalid_size: return "invalid-size";
    case DmaFailure::invalid_memory: return "invalid-memory";
    case DmaFailure::iommu_cannot_share: return "iommu-cannot-share";
    case DmaFailure::pool_not_private: return "pool-not-private";
    case DmaFailure::mmio_unaligned: return "mmio-unaligned";
    case DmaFailure::not_told: return "not-told";
  }
  return "?";
}

std::string_view stable_name(DmaDebugKind kind) {
  switch (kind) {
    case DmaDebugKind::leak: return "leak";
    case DmaDebugKind::double_unmap: return "double-unmap";
    case DmaDebugKind::wrong_size: return "wrong-size";
    case DmaDebugKind::wrong_function: return "wrong-function";
    case DmaDebugKind::wrong_direction: return "wrong-direction";
    case DmaDebugKind::wrong_cpu_address: return "wrong-cpu-address";
    case DmaDebugKind::wrong_sg_count: return "wrong-sg-count";
    case DmaDebugKind::unchecked_error: return "unchecked-error";
    case DmaDebugKind::bad_memory: return "bad-memory";
    case DmaDebugKind::overlap: return "overlap";
    case DmaDebugKind::sync_unmapped: return "sync-unmapped";
    case DmaDebugKind::sync_range: return "sync-range";
    case DmaDebugKind::sync_direction: return "sync-direction";
    case DmaDebugKind::segment_size: return "segment-size";
    case DmaDebugKind::segment_boundary: return "segment-boundary";
    case DmaDebugKind::use_after_unmap: return "use-after-unmap";
    case DmaDebugKind::missing_sync: return "missing-sync";
    case DmaDebugKind::invalid_free: return "invalid-free";
    case DmaDebugKind::invalid_direction: return "invalid-direction";
    case DmaDebugKind::wrong_attributes: return "wrong-attributes";
  }
  return "?";
}

std::string agent_name(Agent agent) {
  switch (agent.kind) {
    case AgentKind::none: return "nobody";
    case AgentKind::cpu: return fmt::format("cpu{}", agent.index);
    case AgentKind::device: return "device " + requester_name(agent.index);
    case AgentKind::host: return "host";
    case AgentKind::loader: return "loader";
  }
  return "?";
}

std::string requester_name(RequesterId requester) {
  return fmt::format("{:02x}:{:02x}.{}", requester >> 8, requester >> 3 & 31, requester & 7);
}

std::string_view event_name(const EventPayload& payload) {
  return std::visit([](const auto& event) { return event.name; }, payload);
}

std::span<const std::string_view> all_event_names() {
  static const auto names = []<class... Payload>(std::type_identity<std::variant<Payload...>>) {
    std::array<std::string_view, sizeof...(Payload)> all{Payload::name...};
    std::ranges::sort(all);
    return all;
  }(std::type_identity<EventPayload>{});
  return names;
}

}  // namespace cbit::watch
