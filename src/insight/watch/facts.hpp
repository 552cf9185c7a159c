// What the explainer knows of a run: built from events alone, and read by the detectors
// (watch/detectors.hpp).
//
// A detector sees an event before the facts contain it, so that it can compare the new with the old.
// Threading: one thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/range_map.hpp"
#include "base/trace.hpp"
#include "mem/key_layout.hpp"
#include "mem/memory.hpp"
#include "watch/detect/alias_table.hpp"
#include "watch/mapping_table.hpp"
#include "watch/remedies.hpp"

namespace cbit::watch {

// Keys of a host's guests (mem/key_table.hpp).
[[nodiscard]] constexpr bool is_guests_key(KeyId key) { return key > mem::host_key; }

// What events do not tell about the platform.
struct ExplainerContext {
  std::string platform;                            // "sev-snp"; for texts
  mem::KeyLayout layout = mem::KeyLayout::none();  // where the encryption bit sits in an address
  bool is_guest = false;                           // devices have no key
  bool is_sme = false;                             // a bare-metal AMD host: the bus address selects the key
  bool is_mktme = false;                           // the same with a KeyID; each page has its own
  bool iommu_translates = false;                   // its default domains do
  bool hosts_guests = false;                       // encrypted guests run here, under keys of their own
  bool swiotlb_can_grow = false;    // the kernel knows dynamic pools (Linux 6.6 and later), on or off
  std::vector<mem::PhysRange> ram;  // empty: not known
  RemedyQuestion asked = {};        // who will read the causes, and of which kernel
};

// The last change of a page between private and shared. Pages start private on platforms that encrypt.
struct Attribute {
  bool encrypted = false;
  SiteId site = 0;
  Agent agent;
  std::uint64_t time_ns = 0;
};

// What a device did, and the mapping that allowed it then; a later judgement needs both.
struct DeviceWrite {
  DeviceAccess access;
  std::optional<Mapping> mapping;
  std::uint64_t time_ns = 0;
};

// A read that saw ciphertext.
struct SeenMismatch {
  KeyMismatch read;
  Agent reader;
  std::uint64_t time_ns = 0;
};

class Facts {
 public:
  Facts(const Tracer& tracer, ExplainerContext context) : tracer_{&tracer}, context_{std::move(context)} {}

  void apply(const Event& event);
  void add_bounce_pool(const mem::PhysRange& range) { pools_.push_back(range); }

  [[nodiscard]] const ExplainerContext& context() const { return context_; }
  [[nodiscard]] std::string_view name(NameId id) const { return tracer_->name(id); }
  [[nodiscard]] const MappingTable& mappings() const { return mappings_; }

  [[nodiscard]] bool in_bounce_pool(PhysAddr at) const;
  [[nodiscard]] bool in_ram(std::uint64_t address) const;
  // nullptr: never changed.
  [[nodiscard]] const Attribute* attribute(PhysAddr at) const;
  [[nodiscard]] bool is_shared(PhysAddr at) const;
  // What is mapped besides the direct map.
  [[nodiscard]] const AliasTable& aliases() const { return aliases_; }
  // The device's driver has made graphics buffers of pages that did not come from the DMA API.
  [[nodiscard]] bool populates_for_streaming(NameId device) const { return streaming_tts_.contains(device); }
  // An IOMMU domain has translated the address at some time.
  [[nodiscard]] bool was_iova(DmaAddr at) const;

  // An active mapping that covers an address the device put on the bus: its own, or anyone's if not
  // translated.
  [[nodiscard]] const Mapping* mapping_of(const DeviceAccess& access) const;

  // The last of each; nullptr: none yet.
  [[nodiscard]] const PageKeyChanged* page_key(PhysAddr at) const;
  [[nodiscard]] const VirtioNegotiated* negotiation(NameId device) const;
  // What virtio-iommu last reported of the endpoint; nullptr: nothing.
  [[nodiscard]] const VirtioIommuFault* viommu_fault(std::uint32_t endpoint) const;
  [[nodiscard]] const SwiotlbBounced* last_bounce(NameId device) const;
  [[nodiscard]] const DeviceWrite* last_device_write(PhysAddr at) const;
  [[nodiscard]] const std::optional<DeviceWrite>& last_access() const { return last_access_; }
  [[nodiscard]] const std::optional<SeenMismatch>& last_device_mismatch() const { return device_mismatch_; }
  [[nodiscard]] const std::optional<SeenMismatch>& last_host_mismatch() const { return host_mismatch_; }

  [[nodiscard]] const std::vector<std::string>& kernel_log() const { return kernel_log_; }

 private:
  void on(const DeviceAccess& access, const Event& event);
  void on(const KeyMismatch& mismatch, const Event& event);
  void on(const PageConversion& conversion, const Event& event);
  void on(const DmaMapped& mapped, const Event& event);
  void on(const DmaMapFailed& failed, const Event& event);
  void on(const DmaUnmapped& unmapped, const Event& event);
  void on(const DmaSynced& synced, const Event& event);
  void on(const IommuMapped& mapped, const Event& event);
  void on(const SwiotlbBounced& bounced, const Event& event);
  void on(const SwiotlbAllocated& allocated, const Event& event);
  void on(const SwiotlbCleared& cleared, const Event& event);
  void on(const PageKeyChanged& changed, const Event& event);
  void on(const VirtioNegotiated& negotiated, const Event& event);
  void on(const VirtioIommuFault& fault, const Event&) { viommu_faults_[fault.endpoint] = fault; }
  void on(const KernelMessage& message, const Event& event);
  void on(const MappingAdded& mapping, const Event& event) {
    aliases_.add(mapping, event.agent, event.time_ns);
  }
  void on(const MappingRemoved& mapping, const Event&) { aliases_.remove(mapping); }
  void on(const TtPopulated& tt, const Event&) {
    if (!tt.dma_alloc) streaming_tts_.insert(tt.device);
  }
  void on(const DmaDebugReport& report, const Event&) {
    if (report.printed) kernel_log_.push_back(report.text);
  }
  template <class Other>
  void on(const Other&, const Event&) {}

  [[nodiscard]] bool in_known_pool(PhysAddr at) const;

  const Tracer* tracer_;
  ExplainerContext context_;
  std::vector<mem::PhysRange> pools_;
  MappingTable mappings_;
  AliasTable aliases_;
  std::set<NameId> streaming_tts_;
  RangeMap<Attribute> attributes_;  // by page number
  std::map<std::uint64_t, std::uint64_t> iovas_;
  std::map<NameId, VirtioNegotiated> negotiations_;
  std::map<std::uint32_t, VirtioIommuFault> viommu_faults_;  // the last of each endpoint
  std::map<NameId, SwiotlbBounced> bounces_;
  std::map<NameId, std::set<PhysAddr>> new_bounces_;    // originals, until their mapping is reported
  std::map<NameId, std::set<PhysAddr>> new_cleared_;    // of those, the ones that were zeroed again
  std::map<std::uint64_t, DeviceWrite> device_writes_;  // by page number
  std::map<std::uint64_t, PageKeyChanged> page_keys_;   // by page number
  std::optional<DeviceWrite> last_access_;
  std::optional<SeenMismatch> device_mismatch_;
  std::optional<SeenMismatch> host_mismatch_;
  std::vector<std::string> kernel_log_;
};

}  // namespace cbit::watch
