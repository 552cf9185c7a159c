// `cbit explain`: one DMA on one platform, performed, looked at from three sides, and judged.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cbit/gpu_policy.hpp"
#include "explain/map_kind.hpp"
#include "spec/virtio.hpp"
#include "testbed/testbed.hpp"
#include "testbed/views.hpp"

namespace cbit::explain {

// `--offers`; what is not among them is the disk's own choice.
inline constexpr Word<std::uint64_t> virtio_offer_words[] = {
    {"version-1", spec::virtio_feature::version_1},
    {"access-platform", spec::virtio_feature::access_platform},
    {"indirect-desc", spec::virtio_feature::indirect_desc},
    {"event-idx", spec::virtio_feature::event_idx}};
inline constexpr Word<bool> ring_words[] = {{"split", false}, {"packed", true}};

enum class VirtioDriverKind : std::uint8_t {
  current,        // Linux 6.1's
  without_flag,   // virtio 1.0, older than ACCESS_PLATFORM
  legacy,         // before virtio 1.0
  raw_addresses,  // the driver's mistake: physical addresses in descriptors
};
inline constexpr Word<VirtioDriverKind> virtio_driver_words[] = {
    {"current", VirtioDriverKind::current},
    {"without-flag", VirtioDriverKind::without_flag},
    {"legacy", VirtioDriverKind::legacy},
    {"raw-addresses", VirtioDriverKind::raw_addresses}};

enum class VirtioKernelKind : std::uint8_t {
  check,         // a guest with encrypted memory demands the flag
  before_check,  // Linux 5.10
  rfc,           // 2019, never merged: the DMA API if memory is encrypted
};
inline constexpr Word<VirtioKernelKind> virtio_kernel_words[] = {
    {"check", VirtioKernelKind::check},
    {"before-check", VirtioKernelKind::before_check},
    {"rfc", VirtioKernelKind::rfc}};

// Bytes [offset, offset + length) of the mapping.
struct SyncRange {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

// What a virtio disk offers (QEMU's properties) and who drives it.
struct VirtioChoice {
  std::optional<std::uint64_t> offers;  // of virtio_offer_words; default: all
  bool packed = false;                  // the disk offers RING_PACKED too
  bool transitional = false;            // it has the interface before VERSION_1 too
  VirtioDriverKind driver = VirtioDriverKind::current;
  VirtioKernelKind kernel = VirtioKernelKind::check;
  bool virtio_iommu = false;  // the IOMMU is a virtio-iommu
};

// The largest buffer: what the page allocator hands out in one piece (MAX_ORDER of Linux 6.1).
inline constexpr std::uint64_t explain_size_max = page_size << kernel::max_order_6_1;

struct ExplainOptions {
  testbed::TestbedConfig bed;
  testbed::TestDeviceConfig device;
  MapKind map = MapKind::streaming;
  std::optional<DmaDirection> direction;       // default: the kind's
  std::uint64_t size = 4096;                   // 1 .. explain_size_max
  std::uint64_t offset = 0;                    // of the buffer within its first page, 0 .. 4095
  std::optional<std::uint64_t> device_writes;  // the device writes only the first n bytes
  DmaAttrs attrs;
  std::optional<SyncRange> sync;  // dma_sync_single_for_cpu before the unmap
  bool unmap = true;
  std::optional<TtmPolicy> ttm_policy;     // of a graphics buffer; default: fixed
  std::optional<mem::KeySelector> key_id;  // MKTME: of the application's memory that the driver maps
  std::optional<VirtioChoice> virtio;      // of a virtio disk; default: VirtioChoice{}

  [[nodiscard]] DmaDirection effective_direction() const {
    return direction.value_or(info_of(map).default_direction);
  }
};

// Errors (usage) name the contradiction and the option to drop.
[[nodiscard]] OrError<void> check(const ExplainOptions& options);

enum class Verdict : std::uint8_t {
  works,   // the data arrived where it should
  broken,  // nobody was told, but somebody has the wrong bytes
  fails,   // the mapping or the transfer was refused
};

[[nodiscard]] std::string_view to_string(Verdict verdict);

// What one side saw in the end. `bytes` is empty and `sees` none when there was nothing to see.
struct Sight {
  testbed::Sees sees = testbed::Sees::none;
  Bytes bytes;
};

// MKTME: the KeyID that the device's accesses selected, and by what.
struct CarriedKeyId {
  mem::KeySelector id = 0;
  bool in_iommu_entry = false;  // else in the bus address
  friend bool operator==(const CarriedKeyId&, const CarriedKeyId&) = default;
};

// What became of a virtio disk.
struct VirtioFacts {
  std::uint64_t offered = 0;
  std::uint64_t accepted = 0;
  std::uint8_t status = 0;               // after the probe
  std::optional<kernel::Errno> probe;    // why no driver is bound
  bool uses_dma_api = false;             // vring_use_dma_api
  bool request_reached = false;          // the device found the request in the ring
  std::optional<kernel::Errno> request;  // how it ended for the driver; nullopt: well, or there was no driver
  std::optional<DmaAddr> ring;           // as the device was told
  Sight ring_device, ring_host;          // its first page
  std::uint64_t exits = 0;               // of the request, as the next
  std::uint64_t bounces = 0;
  std::uint64_t translated = 0;  // accesses of the device that an IOMMU translated
};

struct Explanation {
  ExplainOptions options;
  PhysAddr buffer;
  std::optional<DmaAddr> dma_address;  // nullopt: the mapping failed
  bool encryption_bit = false;         // the device's accesses carry it, in the address or in the IOMMU entry
  bool bounced = false;
  DmaPath path = DmaPath::error;
  Sight cpu;     // the driver's buffer through the kernel's mapping
  Sight device;  // what the device read, or its bytes at the bus address after it wrote
  Sight host;    // the driver's buffer as the host's software reads it
  Sight pool;    // the bounce slots as the host reads them, while mapped; none when not bounced
  Verdict verdict = Verdict::fails;
  std::optional<Fault> device_fault;
  std::optional<CarriedKeyId> carried_key_id;
  std::optional<VirtioFacts> virtio;
  std::vector<watch::Cause> causes;
  std::vector<StepTaken> steps;
  std::vector<std::string> kernel_log;
  kernel::SwiotlbUsage swiotlb;        // while mapped; bytes_bounced over the whole run
  std::uint64_t max_mapping_size = 0;  // dma_max_mapping_size(): what the driver is told; 2^64 - 1: no limit
  // What the bounce pool serves at most in one piece, where the mapping bounced; else max_mapping_size.
  std::uint64_t largest_mapping = 0;
  kernel::ConversionCost conversions;
  watch::Counters counters;
};

// `sink`, where given, gets all events of the run, those of the boot if it hears them.
[[nodiscard]] OrError<Explanation> explain(const ExplainOptions& options, EventSink* sink = nullptr);

// Many DMAs on one machine that is booted once: for each device of a host, say. What one leaves behind (a
// bounced mapping's slots, with unmap = false) is there for the next.
class ExplainSession {
 public:
  // Errors (usage) as Testbed::create().
  static OrError<ExplainSession> create(const testbed::TestbedConfig& config);

  // As explain(), with `options.bed` replaced by the session's; conversions and counters are of the session
  // so far. `virtio`: what the device and its driver agreed on before that; its `device` is ignored. A virtio
  // disk is refused (usage): it comes with a machine of its own.
  [[nodiscard]] OrError<Explanation> explain(ExplainOptions options,
                                             const std::optional<VirtioNegotiated>& virtio = {});
  // What the negotiation alone is a cause of: for a device that does no DMA because of it.
  [[nodiscard]] std::vector<watch::Cause> explain_negotiation(std::string_view device,
                                                              const VirtioNegotiated& virtio);

 private:
  explicit ExplainSession(std::unique_ptr<testbed::Testbed> bed);
  void negotiate(std::string_view device, VirtioNegotiated virtio);

  std::unique_ptr<testbed::Testbed> bed_;
  watch::Explainer booted_;  // knows the boot, and no DMA
};

// The object of schema/explain.schema.json, pretty-printed with a final newline.
[[nodiscard]] std::string to_json(const Explanation& explanation);

struct TextStyle {
  bool colour = false;
};
[[nodiscard]] std::string to_text(const Explanation& explanation, TextStyle style);

}  // namespace cbit::explain
