#include "base/format.hpp"
#include "spec/virtio.hpp"
#include "watch/cause_table.hpp"
#include "watch/describe.hpp"
#include "watch/detect/detectors.hpp"
#include "watch/event_names.hpp"

namespace cbit::watch {
namespace {

struct FaultCauses {
  const Scene& scene;

  // Of a CPU or the host; a device's refusal is a DeviceFault as well.
  void operator()(const AccessFault& refused) const {
    if (scene.event.agent.kind == AgentKind::device) return;
    const bool by_guest = scene.facts.context().hosts_guests && scene.event.agent.kind == AgentKind::cpu;
    if (by_guest && refused.fault.kind == FaultKind::rmp_violation) return;  // find_host_causes()
    const PhysAddr at{refused.fault.address};
    const std::string in = refused.site == 0 ? "" : fmt::format(" in {}", scene.facts.name(refused.site));
    const Evidence who{"access",
                       fmt::format("{} by {}{}: {}", refused.fault.write ? "write" : "read",
                                   agent_name(scene.event.agent), in, to_string(refused.fault.kind))};
    switch (refused.fault.kind) {
      case FaultKind::rmp_violation: return open_page(rmp_reason(at), 0, at, who);
      case FaultKind::td_integrity: return td_poison(at, who);
      case FaultKind::private_mmio: return open_page(cause("encrypted-mmio"), 0, at, who);
      default: return;
    }
  }

  void operator()(const DeviceFault& refused) const {
    if (refused.bus_address == dma_mapping_error)
      return open_bus(cause("unchecked-mapping-error"), refused, {});
    const PhysAddr phys{refused.fault.address};
    const Evidence what{"access", describe(refused)};
    switch (refused.fault.kind) {
      case FaultKind::rmp_violation: return owned_by_guest(refused, what);
      case FaultKind::td_integrity: return open_page(cause("td-private-access"), refused.device, phys, what);
      case FaultKind::private_mmio: return open_mmio(refused, phys, what);
      case FaultKind::address_width: return open_bus(cause("dma-address-beyond-device"), refused, {});
      case FaultKind::no_memory: return nothing_there(refused);
      case FaultKind::iommu_not_present: return not_translated(refused);
      case FaultKind::iommu_protection: return not_permitted(refused);
      case FaultKind::iommu_reserved_bit: return open_bus(cause("malformed-iopte"), refused, {});
      case FaultKind::iommu_no_domain: return no_domain(refused);
      case FaultKind::bus_master_off: return open_bus(cause("not-bus-master"), refused, {});
      case FaultKind::device_protocol: return open_device(cause("malformed-descriptor"), refused);
      default: return;
    }
  }

  void operator()(const auto&) const {}

  [[nodiscard]] const CauseInfo& rmp_reason(PhysAddr at) const {
    if (scene.event.agent.kind == AgentKind::host) return cause("rmp-entry-owned");
    return scene.facts.is_shared(at) ? cause("mapped-encrypted-but-shared")
                                     : cause("mapped-shared-but-private");
  }

  // The TD read a line that was written without its key: by a device that bypassed the DMA API, or by the
  // host.
  void td_poison(PhysAddr at, const Evidence& who) const {
    if (scene.facts.is_shared(at)) return open_page(cause("mapped-encrypted-but-shared"), 0, at, who);
    const DeviceWrite* const write = scene.facts.last_device_write(at);
    if (write == nullptr) return open_page(cause("td-private-access"), 0, at, who);
    explain_wrong_key(scene, write->access, write->mapping ? &*write->mapping : nullptr);
    scene.book.amend(scene.event.time_ns, {"consequence", who.text});
  }

  // A write by a device to a page that belongs to the guest.
  void owned_by_guest(const DeviceFault& refused, const Evidence& what) const {
    const Mapping* const mapping = scene.facts.mappings().find(refused.device, refused.bus_address);
    if (mapping == nullptr && explain_by_virtio_flag(scene, refused.device, what)) return;
    const bool by_iommu = mapping != nullptr && mapping->call.path == DmaPath::iommu;
    const CauseInfo& reason = by_iommu ? cause("guest-iommu-skips-bounce") : cause("rmp-entry-owned");
    const PhysAddr page{refused.fault.address};
    // What went wrong, and before it whose mistake it is.
    const bool made_up = mapping == nullptr && scene.facts.context().is_guest &&
                         scene.facts.mappings().find_released(refused.device, refused.bus_address) == nullptr;
    if (made_up) open_page(cause("raw-physical-address"), refused.device, page, what);
    open_page(reason, refused.device, page, what);
  }

  // The IOMMU driver encrypts every entry, those for a peer's BAR too; the driver of the device is not to
  // blame.
  void open_mmio(const DeviceFault& refused, PhysAddr at, const Evidence& what) const {
    Cause* const found = open(cause("encrypted-mmio"), refused.device, pages_of(at, 1));
    if (found == nullptr) return;
    found->evidence = {what};
    const Mapping* const mapping = scene.facts.mappings().find(refused.device, refused.bus_address);
    if (mapping == nullptr || mapping->call.path != DmaPath::iommu) return;
    found->evidence.push_back({"mapping", describe(scene.facts, *mapping)});
  }

  void nothing_there(const DeviceFault& refused) const {
    const ExplainerContext& context = scene.facts.context();
    const Mapping* const mapping = scene.facts.mappings().find(refused.device, refused.bus_address);
    if (mapping != nullptr && mapping->call.path == DmaPath::iommu)
      return open_bus(cause("iommu-bypassed"), refused, {"mapping", describe(scene.facts, *mapping)});
    if (context.is_guest && mapping != nullptr)
      return explain_missing_pool(scene, refused.device, range_of(*mapping), {"access", describe(refused)});
    const bool has_key_bits = (refused.bus_address.value() & context.layout.mask()) != 0;
    if (context.is_guest && has_key_bits) return open_bus(cause("c-bit-in-guest-dma-address"), refused, {});
    open_bus(cause("no-memory-at-address"), refused, {});
  }

  void not_translated(const DeviceFault& refused) const {
    const MappingTable& mappings = scene.facts.mappings();
    if (const Mapping* const gone = mappings.find_released(refused.device, refused.bus_address)) {
      Cause* const found = open(cause("use-after-unmap"), refused.device, range_of(*gone));
      if (found != nullptr)
        found->evidence = {{"access", describe(refused)}, {"mapping", describe(scene.facts, *gone)}};
      return;
    }
    const DmaAddr page = refused.bus_address.page();
    if (page.value() != 0 && mappings.find(refused.device, page - 1) != nullptr)
      return open_bus(cause("access-outside-mapping"), refused,
                      {"mapping", describe(scene.facts, *mappings.find(refused.device, page - 1))});
    const bool is_gpa =
        scene.facts.in_ram(refused.bus_address.value()) && !scene.facts.was_iova(refused.bus_address);
    if (bypasses_dma_api(refused.device) || is_gpa)
      return open_bus(cause("raw-gpa-behind-iommu"), refused,
                      {"address", is_gpa ? "the address of memory; no IOMMU domain ever translated it"
                                         : "the driver did not accept VIRTIO_F_ACCESS_PLATFORM"});
    open_bus(cause("no-translation"), refused, {});
  }

  // virtio-iommu tells an endpoint that left its domain from one that nobody ever attached.
  void no_domain(const DeviceFault& refused) const {
    const VirtioIommuFault* const fault = scene.facts.viommu_fault(refused.requester);
    if (fault == nullptr) return open_device(cause("dma-before-viommu-ready"), refused);
    constexpr std::uint8_t reason_domain = 1;  // VIRTIO_IOMMU_FAULT_R_DOMAIN
    const bool left = fault->reason == reason_domain;
    open_device(left ? cause("endpoint-in-no-domain") : cause("dma-before-viommu-ready"), refused);
    scene.book.amend(
        scene.event.time_ns,
        {"virtio-iommu", fmt::format("fault reason {} ({}) of endpoint {} at {}", fault->reason,
                                     left ? "DOMAIN" : "UNKNOWN", fault->endpoint, fault->address)});
  }

  void not_permitted(const DeviceFault& refused) const {
    const Mapping* const mapping = scene.facts.mappings().find(refused.device, refused.bus_address);
    if (mapping == nullptr) return open_bus(cause("access-outside-mapping"), refused, {});
    Cause* const found = open(cause("wrong-direction"), refused.device, range_of(*mapping));
    if (found != nullptr)
      found->evidence = {{"access", describe(refused)}, {"mapping", describe(scene.facts, *mapping)}};
  }

  [[nodiscard]] bool bypasses_dma_api(NameId device) const {
    const VirtioNegotiated* const negotiated = scene.facts.negotiation(device);
    return negotiated != nullptr && (negotiated->accepted & spec::virtio_feature::access_platform) == 0;
  }

  Cause* open(const CauseInfo& reason, NameId device, const CauseRange& where) const {
    return scene.book.open(reason, device, where, scene.event.time_ns);
  }
  void open_page(const CauseInfo& reason, NameId device, PhysAddr at, const Evidence& what) const {
    Cause* const found = open(reason, device, pages_of(at, 1));
    if (found != nullptr) found->evidence = {what, {"page", describe_attribute(scene.facts, at)}};
  }
  void open_bus(const CauseInfo& reason, const DeviceFault& refused, const Evidence& more) const {
    Cause* const found = open(reason, refused.device, bus_range(refused.bus_address, 1));
    if (found == nullptr) return;
    found->evidence = {{"access", describe(refused)}};
    if (!more.label.empty()) found->evidence.push_back(more);
  }
  void open_device(const CauseInfo& reason, const DeviceFault& refused) const {
    Cause* const found = scene.book.open(reason, refused.device, scene.event.time_ns);
    if (found != nullptr) found->evidence = {{"access", describe(refused)}};
  }
};

}  // namespace

void find_fault_causes(const Scene& scene) { std::visit(FaultCauses{scene}, scene.event.payload); }

}  // namespace cbit::watch
