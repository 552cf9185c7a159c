#include <algorithm>
#include <utility>

#include "base/format.hpp"
#include "watch/cause_table.hpp"
#include "watch/describe.hpp"
#include "watch/detect/detectors.hpp"

namespace cbit::watch {
namespace {

// Mappings of a device may lie side by side; an access may run over their seams.
bool covered(const MappingTable& mappings, const DeviceAccess& access) {
  DmaAddr at = access.bus_address;
  for (std::uint64_t left = access.bytes;;) {
    const Mapping* const mapping = mappings.find(access.device, at);
    if (mapping == nullptr) return false;
    const std::uint64_t here = mapping->end() - at;
    if (left <= here) return true;
    at += here;
    left -= here;
  }
}

bool is_streaming(const Mapping& mapping) {
  return mapping.call.kind != DmaMappingKind::coherent && mapping.call.kind != DmaMappingKind::resource;
}

struct AccessCauses {
  const Scene& scene;

  void operator()(const DeviceAccess& access) const {
    const Facts& facts = scene.facts;
    const Mapping* const own = facts.mappings().find(access.device, access.bus_address);
    if (own == nullptr) {
      const Mapping* const gone = facts.mappings().find_released(access.device, access.bus_address);
      if (gone != nullptr) return after_unmap(access, *gone);
    } else {
      check_direction(access, *own);
      if (!covered(facts.mappings(), access)) outside(access, own);
    }
    const Mapping* const mapping = facts.mapping_of(access);
    const bool meets_ciphertext = access.key == no_key && access.page_key != no_key;
    const bool garbles_shared =
        access.key != no_key && access.key != access.page_key && is_plain(access.phys);
    // Where each page has a KeyID of its own, mktme_causes.cpp explains.
    if (!facts.context().is_mktme && (meets_ciphertext || garbles_shared))
      explain_wrong_key(scene, access, mapping);
    else if (mapping == nullptr && facts.in_bounce_pool(access.phys))
      outside(access, nullptr);
  }

  // The controller reports the same read from its side, with the page's last writer.
  void operator()(const KeyMismatch& mismatch) const {
    const auto& access = scene.facts.last_access();
    if (scene.event.agent.kind != AgentKind::device || !access) return;
    if (access->access.phys.page() != mismatch.page) return;
    scene.book.amend(access->time_ns, {"last written by", describe_writer(scene.facts, mismatch)});
  }

  void operator()(const auto&) const {}

  [[nodiscard]] bool is_plain(PhysAddr at) const {
    return scene.facts.is_shared(at) || scene.facts.in_bounce_pool(at);
  }

  void after_unmap(const DeviceAccess& access, const Mapping& gone) const {
    if (Cause* const found =
            scene.book.open(cause("use-after-unmap"), access.device, range_of(gone), scene.event.time_ns))
      found->evidence = {{"access", describe(scene.facts, access)}, {"mapping", describe(scene.facts, gone)}};
  }

  void check_direction(const DeviceAccess& access, const Mapping& mapping) const {
    if (!access.write || mapping.call.direction != DmaDirection::to_device) return;
    if (Cause* const found =
            scene.book.open(cause("wrong-direction"), access.device, range_of(mapping), scene.event.time_ns))
      found->evidence = {{"access", describe(scene.facts, access)},
                         {"mapping", describe(scene.facts, mapping)}};
  }

  void outside(const DeviceAccess& access, const Mapping* near) const {
    Cause* const found = scene.book.open(cause("access-outside-mapping"), access.device,
                                         bus_range(access.bus_address, access.bytes), scene.event.time_ns);
    if (found == nullptr) return;
    found->evidence = {{"access", describe(scene.facts, access)}};
    if (near != nullptr) found->evidence.push_back({"mapping", describe(scene.facts, *near)});
  }
};

// Encrypted memory through a mapping that the DMA API made.
const CauseInfo& wrong_key_of_mapping(const Facts& facts, const Mapping& mapping) {
  if (mapping.call.path != DmaPath::iommu) return cause("page-still-private");
  return facts.context().is_guest ? cause("guest-iommu-skips-bounce") : cause("iopte-without-c-bit");
}

// The same through an address that nobody made.
const CauseInfo& wrong_key_of_raw(const Facts& facts, const DeviceAccess& access) {
  if (facts.context().is_guest) return cause("raw-physical-address");
  const bool translated = access.through_iommu && access.bus_address.value() != access.phys.value();
  return translated ? cause("iopte-without-c-bit") : cause("missing-c-bit-in-dma-address");
}

const CauseInfo& encrypted_access_to_plain(const Facts& facts, const DeviceAccess& access) {
  return access.through_iommu && facts.in_bounce_pool(access.phys)
             ? cause("untrusted-bounce-encrypted-iopte")
             : cause("encrypted-address-for-shared-page");
}

}  // namespace

void find_access_causes(const Scene& scene) { std::visit(AccessCauses{scene}, scene.event.payload); }

void explain_wrong_key(const Scene& scene, const DeviceAccess& access, const Mapping* mapping) {
  const Facts& facts = scene.facts;
  const Evidence what{"access", describe(facts, access)};
  const bool keyless = access.key == no_key;
  if (keyless && facts.is_shared(access.phys)) {
    // A write makes the contents of a shared page what they should be.
    if (!access.write) explain_stale_contents(scene, access.device, access.phys.page(), what);
    return;
  }
  if (keyless && mapping == nullptr && explain_by_virtio_flag(scene, access.device, what)) return;
  const CauseRange where = mapping != nullptr ? range_of(*mapping) : pages_of(access.phys, access.bytes);
  if (keyless && facts.context().is_guest && mapping != nullptr && mapping->call.path == DmaPath::direct &&
      is_streaming(*mapping))
    return explain_missing_pool(scene, access.device, where, what);

  const CauseInfo& reason = !keyless             ? encrypted_access_to_plain(facts, access)
                            : mapping != nullptr ? wrong_key_of_mapping(facts, *mapping)
                                                 : wrong_key_of_raw(facts, access);
  std::vector<Evidence> evidence{what, {"page", describe_attribute(facts, access.phys)}};
  evidence.push_back({"mapping", mapping != nullptr ? describe(facts, *mapping)
                                                    : "none: the DMA API did not give out this address"});
  const auto& seen = facts.last_device_mismatch();
  if (seen && seen->read.page == access.phys.page())
    evidence.push_back({"last written by", describe_writer(facts, seen->read)});
  if (Cause* const found = scene.book.open(reason, access.device, where, scene.event.time_ns))
    found->evidence = evidence;
  // What went wrong, and beside it whose mistake it is.
  if (&reason != &cause("raw-physical-address")) return;
  if (Cause* const found =
          scene.book.open(cause("page-still-private"), access.device, where, scene.event.time_ns))
    found->evidence = std::move(evidence);
}

}  // namespace cbit::watch
