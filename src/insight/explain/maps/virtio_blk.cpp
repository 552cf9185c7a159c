// The disk reads the ring and the buffer where it finds them, so what is compared is what came through.
#include "explain/maps/virtio_blk.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/assert.hpp"
#include "explain/maps/findings.hpp"
#include "testbed/virtio_disk.hpp"

namespace cbit::explain {
namespace {

// What happens to the buffer and to the disk while the request runs.
class RequestObserver final : public EventSink {
 public:
  void on_event(const Event& event) override {
    if (const auto* mapped = std::get_if<DmaMapped>(&event.payload); mapped != nullptr)
      if (!mapping && in_buffer(mapped->phys)) mapping = *mapped;
    if (const auto* slots = std::get_if<SwiotlbAllocated>(&event.payload)) {
      ++bounces;
      if (in_buffer(slots->orig)) slots_of_buffer.push_back(*slots);
    }
    if (std::holds_alternative<GuestExit>(event.payload)) ++exits;
    if (std::holds_alternative<VirtioRequest>(event.payload)) reached = true;
    if (const auto* access = std::get_if<DeviceAccess>(&event.payload);
        access != nullptr && access->requester == disk)
      translated += access->through_iommu;
    if (const auto* refused = std::get_if<DeviceFault>(&event.payload)) fault = refused->fault;
  }
  [[nodiscard]] bool in_buffer(PhysAddr at) const {
    return at >= buffer.first && at - buffer.first < buffer.bytes;
  }

  mem::PhysRange buffer;
  RequesterId disk = 0;
  std::optional<DmaMapped> mapping;
  std::vector<SwiotlbAllocated> slots_of_buffer;
  std::optional<Fault> fault;
  std::uint64_t exits = 0, bounces = 0, translated = 0;
  bool reached = false;
};

dev::VirtioOptions hardware_options(const VirtioChoice& choice) {
  const auto offers = [&](std::uint64_t feature) {
    return !choice.offers || (*choice.offers & feature) != 0;
  };
  return {.iommu_platform = offers(spec::virtio_feature::access_platform),
          .legacy = !offers(spec::virtio_feature::version_1),
          .transitional = choice.transitional,
          .indirect_desc = offers(spec::virtio_feature::indirect_desc),
          .event_idx = offers(spec::virtio_feature::event_idx),
          .packed = choice.packed};
}

kernel::VirtioDriverOptions driver_options(const VirtioChoice& choice) {
  return {.restricted_access_check = choice.kernel == VirtioKernelKind::check,
          .legacy_driver = choice.driver == VirtioDriverKind::legacy,
          .dma_api_if_encrypted = choice.kernel == VirtioKernelKind::rfc,
          .raw_addresses = choice.driver == VirtioDriverKind::raw_addresses,
          .refused_features = choice.driver == VirtioDriverKind::without_flag
                                  ? spec::virtio_feature::access_platform
                                  : std::uint64_t{0}};
}

class Request {
 public:
  Request(const ExplainOptions& options, testbed::Testbed& bed, watch::Explainer& explainer,
          testbed::VirtioDisk& disk)
      : options_{options},
        bed_{bed},
        explainer_{explainer},
        disk_{disk},
        writes_{options.effective_direction() == DmaDirection::to_device},
        from_cpu_{testbed::authored_bytes(testbed::Author::cpu, options.size)},
        from_disk_{testbed::authored_bytes(testbed::Author::device, options.size)},
        before_{testbed::authored_bytes(testbed::Author::before, options.size)} {}

  OrError<Explanation> run() {
    result_.options = options_;
    CBIT_TRY(allocate());
    bed_.tracer().attach(observer_);
    probe();
    if (disk_.driver() != nullptr) send();
    look();
    result_.verdict = judge();
    note_request();
    result_.steps = explainer_.steps();  // without those of the driver's removal
    disk_.remove();
    bed_.tracer().detach(observer_);
    return std::move(result_);
  }

 private:
  OrError<void> allocate() {
    kernel::Mm& mm = bed_.kernel().mm();
    const auto first = mm.alloc_pages(align_up(options_.offset + options_.size, page_size) / page_size);
    if (!first)
      return usage_error("the machine has no room for the buffer", "use more --memory or less --size");
    at_ = *first + options_.offset;
    observer_.buffer = {mm.virt_to_phys(at_), options_.size};
    observer_.disk = disk_.parent().requester;
    result_.buffer = observer_.buffer.first;
    const auto written = cpu().write(at_, writes_ ? from_cpu_ : before_);
    const auto on_disk = disk_.medium().write(0, writes_ ? before_ : from_disk_);
    CBIT_ASSERT(written && on_disk);  // the kernel's own memory, and the disk is as long as the buffer
    return {};
  }
  void probe();
  void send();
  void look();
  void look_at_ring();
  void note_request();
  [[nodiscard]] Verdict judge() const;

  [[nodiscard]] paging::Mmu& cpu() const { return bed_.kernel().cpu(0); }
  [[nodiscard]] Bytes on_disk() const {
    const auto found = disk_.medium().contents().first(options_.size);
    return {found.begin(), found.end()};
  }
  [[nodiscard]] Bytes seen_by_host(PhysAddr at, std::uint64_t bytes) const {
    return testbed::View::of_memory(bed_.memory(), at, bytes, no_key, bed_.cpu_key(at)).seen;
  }
  [[nodiscard]] Sight sight(PhysAddr at, Bytes seen, ConstByteSpan data, ConstByteSpan old) const {
    if (seen.empty()) return {};
    const testbed::View view = testbed::View::of_bytes(bed_.memory(), at, seen, bed_.cpu_key(at));
    return {testbed::classify(view, data, old), std::move(seen)};
  }
  [[nodiscard]] Sight sight_of_buffer(Bytes seen) const {
    return sight(result_.buffer, std::move(seen), writes_ ? from_cpu_ : from_disk_, before_);
  }

  const ExplainOptions& options_;
  testbed::Testbed& bed_;
  watch::Explainer& explainer_;
  testbed::VirtioDisk& disk_;
  bool writes_;
  Bytes from_cpu_, from_disk_, before_;
  VirtAddr at_;
  RequestObserver observer_;
  VirtioFacts facts_;
  Explanation result_;
};

void Request::probe() {
  const auto probed = disk_.probe();
  if (!probed) facts_.probe = probed.error();
  facts_.offered = disk_.hardware().device_features();
  facts_.accepted = disk_.hardware().driver_features();
  facts_.status = disk_.hardware().status();
  observer_.exits = observer_.bounces = observer_.translated = 0;
}

void Request::send() {
  kernel::VirtioBlkDriver& driver = *disk_.driver();
  facts_.uses_dma_api = driver.binding().use_dma_api();
  facts_.ring = driver.queue().memory().dma;
  const paging::SiteScope scope{cpu(), bed_.tracer().intern("driver")};
  const auto done =
      writes_ ? driver.write(cpu(), 0, at_, options_.size) : driver.read(cpu(), 0, at_, options_.size);
  if (!done) facts_.request = done.error();
  look_at_ring();
}

// The first page of the ring, as the CPU, the device and the host have it.
void Request::look_at_ring() {
  const kernel::CoherentBuffer& ring = disk_.driver()->queue().memory();
  const auto place = cpu().translate(ring.cpu, paging::Intent::read);
  Bytes own(std::min<std::uint64_t>(ring.bytes, page_size));
  if (!place || !cpu().read(ring.cpu, own)) return;
  Bytes devices(own.size());
  if (disk_.hardware().port().peek(ring.dma, devices))
    facts_.ring_device = sight(place->phys, std::move(devices), own, own);
  facts_.ring_host = sight(place->phys, seen_by_host(place->phys, own.size()), own, own);
}

void Request::look() {
  Bytes bytes(options_.size);
  if (!cpu().read(at_, bytes)) bytes.clear();
  result_.cpu = sight_of_buffer(std::move(bytes));
  result_.host = sight_of_buffer(seen_by_host(result_.buffer, options_.size));
  // Both what it read and what it wrote is on the disk, if it found the request. If it did not, and was given
  // guest-physical addresses, what it would have read can be told.
  Bytes devices(options_.size);
  if (observer_.reached)
    result_.device = sight_of_buffer(on_disk());
  else if (disk_.driver() != nullptr && !facts_.uses_dma_api &&
           disk_.hardware().port().peek(DmaAddr{result_.buffer.value()}, devices))
    result_.device = sight_of_buffer(std::move(devices));
  if (kernel::Swiotlb* const pool = bed_.kernel().dma().swiotlb()) result_.swiotlb = pool->usage();
}

void Request::note_request() {
  facts_.request_reached = observer_.reached;
  facts_.exits = observer_.exits;
  facts_.bounces = observer_.bounces;
  facts_.translated = observer_.translated;
  result_.device_fault = observer_.fault;
  result_.bounced = !observer_.slots_of_buffer.empty();
  result_.max_mapping_size = bed_.kernel().dma().max_mapping_size(disk_.parent());
  result_.largest_mapping =
      result_.bounced ? std::min(result_.max_mapping_size, kernel::Swiotlb::max_mapping_size(disk_.parent()))
                      : result_.max_mapping_size;
  if (observer_.mapping) {
    result_.dma_address = observer_.mapping->dma;
    result_.path = observer_.mapping->path;
    result_.encryption_bit = observer_.mapping->encrypted;
  } else if (disk_.driver() != nullptr && !facts_.uses_dma_api) {
    result_.dma_address = DmaAddr{result_.buffer.value()};
    result_.path = DmaPath::direct;
  }
  result_.virtio = facts_;
}

Verdict Request::judge() const {
  if (facts_.probe || facts_.request) return Verdict::fails;
  const Bytes& expected = writes_ ? from_cpu_ : from_disk_;
  return on_disk() == expected && result_.cpu.bytes == expected ? Verdict::works : Verdict::broken;
}

}  // namespace

OrError<void> check_virtio(const ExplainOptions& options) {
  if (options.effective_direction() == DmaDirection::bidirectional)
    return usage_error("a request to a disk has one direction",
                       "use --direction to-device (a write) or from-device (a read)");
  if (options.size % dev::sector_size != 0 || options.offset % dev::sector_size != 0)
    return usage_error(
        fmt::format("--size {} or --offset {} is not whole sectors", options.size, options.offset),
        "use multiples of 512");
  const testbed::TestDeviceConfig standard;
  const bool own_choice = options.device.mask_bits != standard.mask_bits || options.device.bus_limit != 0 ||
                          options.device.coherent_mask_bits != standard.coherent_mask_bits ||
                          options.device.min_align_mask != 0 || options.device.untrusted;
  if (own_choice || options.attrs != DmaAttrs{} || options.device_writes || !options.unmap)
    return usage_error(
        "masks, attributes and unmapping are the virtio driver's own choice",
        "leave out --mask, --coherent-mask, --bus-limit, --min-align-mask, --untrusted, --attrs, "
        "--device-writes and --no-unmap");
  const VirtioChoice choice = options.virtio.value_or(VirtioChoice{});
  if (choice.virtio_iommu && options.bed.dma.iommu == IommuMode::none)
    return usage_error("--iommu-kind says what the IOMMU is, and there is none", "add --iommu translated");
  return {};
}

testbed::TestbedConfig machine_of_virtio_disk(const ExplainOptions& options) {
  testbed::TestbedConfig bed = options.bed;
  bed.machine.virtio_iommu = options.virtio.value_or(VirtioChoice{}).virtio_iommu;
  // A virtio device is somebody's guest, where the platform has guests.
  bed.machine.virtual_machine = machine::traits_of(bed.machine.platform).may_be_virtual_machine;
  return bed;
}

OrError<Explanation> explain_virtio_blk(const ExplainOptions& options, testbed::Testbed& bed,
                                        watch::Explainer& explainer) {
  const VirtioChoice choice = options.virtio.value_or(VirtioChoice{});
  std::unique_ptr<testbed::GuestViommu> viommu;
  if (choice.virtio_iommu)
    viommu = CBIT_TRY(testbed::GuestViommu::create(bed, options.bed.dma.iommu == IommuMode::passthrough,
                                                   choice.driver == VirtioDriverKind::current));
  const auto disk = CBIT_TRY(testbed::VirtioDisk::create(
      bed, {.bytes = options.size, .hardware = hardware_options(choice), .driver = driver_options(choice)}));
  explainer.forget_steps();
  Explanation result = CBIT_TRY(Request{options, bed, explainer, *disk}.run());
  if (viommu != nullptr) viommu->remove();
  std::vector<StepTaken> steps = std::move(result.steps);
  note_findings(result, bed, explainer, watch::Ending::complete);
  result.steps = std::move(steps);
  return result;
}

}  // namespace cbit::explain
