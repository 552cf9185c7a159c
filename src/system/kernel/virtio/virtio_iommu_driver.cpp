#include "kernel/virtio/virtio_iommu_driver.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include "base/format.hpp"

namespace cbit::kernel {
namespace {

constexpr std::uint64_t virtio_iommu_driver_features =
    spec::virtio_iommu_feature::map_unmap | spec::virtio_iommu_feature::input_range |
    spec::virtio_iommu_feature::domain_range | spec::virtio_iommu_feature::probe |
    spec::virtio_iommu_feature::mmio | spec::virtio_iommu_feature::bypass_config;
constexpr std::uint64_t reply_offset = 1024;
constexpr std::uint32_t event_bytes = sizeof(spec::VirtioIommuFaultReport);
// Linux has them one after the other, where dma-debug complains of mappings that share a cache line.
constexpr std::uint64_t event_stride = cache_line_size;
// IOVA_MAGIC: MSI_IOVA_BASE and _LENGTH, where the device names no MSI region.
constexpr iommu::ViommuRange software_msi{DmaAddr{0x800'0000}, DmaAddr{0x80f'ffff}};

// viommu_get_req_errno.
Errno errno_of(iommu::ViommuStatus status) {
  switch (status) {
    case iommu::ViommuStatus::unsupp: return Errno::enosys;
    case iommu::ViommuStatus::inval: return Errno::einval;
    case iommu::ViommuStatus::range: return Errno::erange;
    case iommu::ViommuStatus::noent: return Errno::enoent;
    case iommu::ViommuStatus::fault: return Errno::efault;
    case iommu::ViommuStatus::nomem: return Errno::enomem;
    default: return Errno::eio;
  }
}

}  // namespace

// A domain with mappings of its own; the driver keeps those that it asked for.
class VirtioIommuDriver::Domain final : public IommuMappings {
 public:
  Domain(VirtioIommuDriver& driver, std::uint32_t id) : driver_{&driver}, id_{id} {}

  Result<void> map(DmaAddr iova, PhysAddr phys, std::uint64_t bytes, iommu::IommuAccess rights,
                   mem::KeySelector) override {
    const iommu::ViommuRange range{iova, iova + (bytes - 1)};
    std::uint32_t flags = 0;
    if (rights.read) flags |= iommu::viommu_flag::map_read;
    if (rights.write) flags |= iommu::viommu_flag::map_write;
    if (!driver_->send_map(id_, range, phys, flags)) return fault(FaultKind::device_protocol, iova.value());
    mappings_[iova] = {bytes, phys};
    return {};
  }
  // Whole mappings only: viommu_del_mappings does not split.
  std::uint64_t unmap(DmaAddr iova, std::uint64_t bytes) override {
    std::uint64_t unmapped = 0;
    for (auto at = mappings_.lower_bound(iova); at != mappings_.end();) {
      const auto& [first, mapping] = *at;
      if (first - iova >= bytes || first - iova + mapping.first > bytes) break;
      unmapped += mapping.first;
      at = mappings_.erase(at);
    }
    if (unmapped < bytes) return 0;
    return driver_->send_unmap(id_, {iova, iova + (bytes - 1)}) ? unmapped : 0;
  }
  [[nodiscard]] std::optional<PhysAddr> iova_to_phys(DmaAddr iova) const override {
    const auto after = mappings_.upper_bound(iova);
    if (after == mappings_.begin()) return std::nullopt;
    const auto& [first, mapping] = *std::prev(after);
    if (iova - first >= mapping.first) return std::nullopt;
    return mapping.second + (iova - first);
  }

 private:
  VirtioIommuDriver* driver_;
  std::uint32_t id_;
  std::map<DmaAddr, std::pair<std::uint64_t, PhysAddr>> mappings_;  // first -> bytes, physical
};

// ---- probe and removal ----

Result<std::unique_ptr<VirtioIommuDriver>, Errno> VirtioIommuDriver::probe(
    Kernel& kernel, dev::VirtioDevice& hardware, Device& parent, const VirtioDriverOptions& options) {
  std::unique_ptr<VirtioIommuDriver> driver{new VirtioIommuDriver{kernel, hardware, parent, options}};
  CBIT_TRY(driver->binding_.negotiate(virtio_iommu_driver_features));
  if (const auto started = driver->start(kernel.cpu(0)); !started) {
    driver->binding_.add_status(spec::virtio_status::failed);
    return tl::unexpected{started.error()};
  }
  kernel.dma().register_iommu(driver.get());
  return driver;
}

VirtioIommuDriver::VirtioIommuDriver(Kernel& kernel, dev::VirtioDevice& hardware, Device& parent,
                                     const VirtioDriverOptions& options)
    : binding_{kernel, hardware, parent, options},
      site_{kernel.machine().tracer().intern("viommu_send_req_sync")} {
  hardware.on_interrupt([this](const dev::VirtioInterrupt& interrupt) {
    if (interrupt.kind == dev::VirtioInterrupt::Kind::queue && interrupt.queue == 1) event_interrupt();
  });
}

VirtioIommuDriver::~VirtioIommuDriver() {
  if (live_) {
    binding_.kernel().dma().register_iommu(nullptr);
    binding_.reset();
  }
  binding_.hardware().on_interrupt({});
  requests_.reset();
  events_.reset();
  Mm& mm = binding_.kernel().mm();
  if (request_page_ != VirtAddr{}) mm.free_pages(request_page_, 1);
  if (event_page_count_ != 0) mm.free_pages(event_pages_, event_page_count_);
}

// viommu_probe.
Result<void, Errno> VirtioIommuDriver::start(paging::Mmu& cpu) {
  if (!binding_.has(spec::virtio_feature::version_1) || !binding_.has(spec::virtio_iommu_feature::map_unmap))
    return tl::unexpected{Errno::enodev};
  requests_ = CBIT_TRY(Vring::create(cpu, binding_, 0, "request"));
  events_ = CBIT_TRY(Vring::create(cpu, binding_, 1, "event"));
  using Config = spec::VirtioIommuConfig;
  const auto pages = binding_.config<std::uint64_t>(offsetof(Config, page_size_mask));
  if (pages == 0) return tl::unexpected{Errno::einval};
  granule_ = std::uint64_t{1} << std::countr_zero(pages);
  if (binding_.has(spec::virtio_iommu_feature::input_range))
    input_ = {DmaAddr{binding_.config<std::uint64_t>(offsetof(Config, input_start))},
              DmaAddr{binding_.config<std::uint64_t>(offsetof(Config, input_end))}};
  if (binding_.has(spec::virtio_iommu_feature::domain_range)) {
    next_domain_ = binding_.config<std::uint32_t>(offsetof(Config, domain_start));
    last_domain_ = binding_.config<std::uint32_t>(offsetof(Config, domain_end));
  }
  if (binding_.has(spec::virtio_iommu_feature::probe))
    probe_size_ = binding_.config<std::uint32_t>(offsetof(Config, probe_size));
  if (probe_size_ > page_size - reply_offset - sizeof(spec::VirtioIommuTail))
    return tl::unexpected{Errno::einval};

  const auto page = binding_.kernel().mm().alloc_pages(1);
  if (!page) return tl::unexpected{Errno::enomem};
  request_page_ = *page;
  binding_.add_status(spec::virtio_status::driver_ok);
  live_ = true;
  CBIT_TRY(fill_event_queue(cpu));
  binding_.print(fmt::format("input address: {} bits", std::bit_width(input_.last.value())));
  binding_.print(fmt::format("page mask: {:#x}", pages));
  return {};
}

Result<void, Errno> VirtioIommuDriver::fill_event_queue(paging::Mmu& cpu) {
  Mm& mm = binding_.kernel().mm();
  const std::uint32_t count = events_->free_descriptors();
  const std::uint64_t pages = align_up(count * event_stride, page_size) / page_size;
  const auto at = mm.alloc_pages(pages);
  if (!at) return tl::unexpected{Errno::enomem};
  event_pages_ = *at;
  event_page_count_ = pages;
  for (std::uint32_t i = 0; i < count; ++i) {
    const VringBuffer buffer{mm.virt_to_phys(*at + i * event_stride), event_bytes};
    CBIT_TRY(events_->add(cpu, {}, {&buffer, 1}, i));
  }
  events_->kick(cpu);
  return {};
}

// ---- requests ----

Result<void, Errno> VirtioIommuDriver::send_sync(ConstByteSpan request, ByteSpan reply) {
  Mm& mm = binding_.kernel().mm();
  const paging::SiteScope scope{cpu(), site_};
  const std::uint64_t answer = reply.size() + sizeof(spec::VirtioIommuTail);
  const VirtAddr answer_at = request_page_ + reply_offset;
  // viommu_add_req: a request that nobody answers has failed.
  const spec::VirtioIommuTail unanswered{static_cast<std::uint8_t>(iommu::ViommuStatus::deverr), {}};
  if (!cpu().write(request_page_, request) || !cpu().store(answer_at + reply.size(), unanswered))
    return tl::unexpected{Errno::efault};
  const VringBuffer out{mm.virt_to_phys(request_page_), static_cast<std::uint32_t>(request.size())};
  const VringBuffer in{mm.virt_to_phys(answer_at), static_cast<std::uint32_t>(answer)};
  CBIT_TRY(requests_->add(cpu(), {&out, 1}, {&in, 1}, 0));
  if (!requests_->kick(cpu()) || !requests_->get(cpu())) return tl::unexpected{Errno::eio};
  const auto tail = cpu().load<spec::VirtioIommuTail>(answer_at + reply.size());
  if (!tail || !cpu().read(answer_at, reply)) return tl::unexpected{Errno::efault};
  const iommu::ViommuStatus status{tail->status};
  if (status != iommu::ViommuStatus::ok) return tl::unexpected{errno_of(status)};
  return {};
}

template <class Request>
Result<void, Errno> VirtioIommuDriver::send(const Request& request) {
  return send_sync(bytes_of(request), {});
}

Result<void, Errno> VirtioIommuDriver::send_map(std::uint32_t domain, iommu::ViommuRange range, PhysAddr phys,
                                                std::uint32_t flags) {
  spec::VirtioIommuMap request;
  request.domain = domain;
  request.virt_start = range.first.value();
  request.virt_end = range.last.value();
  request.phys_start = phys.value();
  request.flags = flags;
  return send(request);
}

Result<void, Errno> VirtioIommuDriver::send_unmap(std::uint32_t domain, iommu::ViommuRange range) {
  spec::VirtioIommuUnmap request;
  request.domain = domain;
  request.virt_start = range.first.value();
  request.virt_end = range.last.value();
  return send(request);
}

Result<void, Errno> VirtioIommuDriver::send_attach(std::uint32_t domain, std::uint32_t endpoint,
                                                   std::uint32_t flags) {
  spec::VirtioIommuAttach request;
  request.domain = domain;
  request.endpoint = endpoint;
  request.flags = flags;
  return send(request);
}

Result<void, Errno> VirtioIommuDriver::send_detach(std::uint32_t domain, std::uint32_t endpoint) {
  spec::VirtioIommuDetach request;
  request.domain = domain;
  request.endpoint = endpoint;
  return send(request);
}

// viommu_probe_endpoint: properties until one of type 0, of which RESV_MEM alone is known.
Result<void, Errno> VirtioIommuDriver::probe_endpoint(std::uint32_t endpoint,
                                                      std::vector<spec::VirtioIommuResvMem>& reserved) {
  if (probe_size_ == 0) return {};
  spec::VirtioIommuProbe request;
  request.endpoint = endpoint;
  Bytes properties(probe_size_);
  CBIT_TRY(send_sync(bytes_of(request), properties));
  constexpr std::size_t head = 4;
  for (std::size_t at = 0; at + head <= properties.size();) {
    const auto type = load<std::uint16_t>(properties, at) & 0xfff;  // VIRTIO_IOMMU_PROBE_T_MASK
    const std::size_t length = load<std::uint16_t>(properties, at + 2) + head;
    if (type == 0) break;
    if (length > properties.size() - at) break;
    if (type == 1 && length >= sizeof(spec::VirtioIommuResvMem))
      reserved.push_back(load<spec::VirtioIommuResvMem>(properties, at));
    else
      binding_.print(fmt::format("unknown viommu prop 0x{:x}", type));
    at += length;
  }
  return {};
}

// ---- endpoints ----

// viommu_probe_device, viommu_domain_finalise, viommu_attach_dev.
Result<std::unique_ptr<IommuMappings>, Errno> VirtioIommuDriver::attach(const Device& dev, bool identity) {
  Endpoint endpoint;
  CBIT_TRY(probe_endpoint(dev.requester, endpoint.reserved));
  if (next_domain_ > last_domain_) return tl::unexpected{Errno::enospc};
  endpoint.domain = next_domain_++;
  const bool bypass = identity && binding_.has(spec::virtio_iommu_feature::bypass_config);
  CBIT_TRY(send_attach(endpoint.domain, dev.requester, bypass ? iommu::viommu_flag::attach_bypass : 0));
  if (identity && !bypass) CBIT_TRY(map_identity(endpoint));
  binding_.step(!identity ? "a translated domain: each mapping is a request"
                : bypass  ? "an identity domain: ATTACH with the bypass flag"
                          : "an identity domain without BYPASS_CONFIG: 1:1 mappings around reserved regions",
                "drivers/iommu/virtio-iommu.c: viommu_domain_finalise");
  const std::uint32_t id = endpoint.domain;
  endpoints_[dev.requester] = std::move(endpoint);
  if (identity) return std::unique_ptr<IommuMappings>{};
  return std::unique_ptr<IommuMappings>{std::make_unique<Domain>(*this, id)};
}

// viommu_domain_map_identity.
Result<void, Errno> VirtioIommuDriver::map_identity(const Endpoint& endpoint) {
  constexpr std::uint32_t flags = iommu::viommu_flag::map_read | iommu::viommu_flag::map_write;
  std::vector<spec::VirtioIommuResvMem> holes = endpoint.reserved;
  std::ranges::sort(holes, {}, &spec::VirtioIommuResvMem::start);
  std::uint64_t at = align_up(input_.first.value(), granule_);
  const std::uint64_t limit = (input_.last.value() + 1) / granule_ * granule_ - 1;
  for (const spec::VirtioIommuResvMem& hole : holes) {
    const std::uint64_t first = align_down(hole.start, granule_);
    const std::uint64_t last = align_down(hole.end, granule_) + granule_ - 1;
    if (last < at || first > limit) continue;
    if (first > at)
      CBIT_TRY(send_map(endpoint.domain, {DmaAddr{at}, DmaAddr{first - 1}}, PhysAddr{at}, flags));
    if (last >= limit) return {};
    at = last + 1;
  }
  return send_map(endpoint.domain, {DmaAddr{at}, DmaAddr{limit}}, PhysAddr{at}, flags);
}

void VirtioIommuDriver::release(const Device& dev) {
  const auto found = endpoints_.find(dev.requester);
  if (found == endpoints_.end()) return;
  (void)send_detach(found->second.domain, dev.requester);
  endpoints_.erase(found);
}

// viommu_get_resv_regions: with no MSI region from the device, a software one.
std::vector<iommu::ViommuRange> VirtioIommuDriver::reserved(const Device& dev) const {
  std::vector<iommu::ViommuRange> ranges;
  const auto found = endpoints_.find(dev.requester);
  if (found == endpoints_.end()) return ranges;
  bool msi = false;
  for (const spec::VirtioIommuResvMem& region : found->second.reserved) {
    msi |= region.subtype == static_cast<std::uint8_t>(iommu::ViommuReservedType::msi);
    if (region.start <= region.end) ranges.push_back({DmaAddr{region.start}, DmaAddr{region.end}});
  }
  if (!msi) ranges.push_back(software_msi);
  return ranges;
}

std::uint32_t VirtioIommuDriver::domain_of(const Device& dev) const {
  const auto found = endpoints_.find(dev.requester);
  return found == endpoints_.end() ? 0 : found->second.domain;
}

// ---- faults ----

// viommu_event_handler: reads the event, gives the buffer back.
void VirtioIommuDriver::event_interrupt() {
  Mm& mm = binding_.kernel().mm();
  bool returned = false;
  while (const auto used = events_->get(cpu())) {
    const VirtAddr at = event_pages_ + used->token * event_stride;
    const auto event = cpu().load<spec::VirtioIommuFaultReport>(at);
    if (used->length > event_bytes)
      binding_.print(fmt::format("invalid event buffer (len {} != {})", used->length, event_bytes));
    else if (event)
      handle_fault(*event);
    const VringBuffer buffer{mm.virt_to_phys(at), event_bytes};
    returned |= events_->add(cpu(), {}, {&buffer, 1}, used->token).has_value();
  }
  if (returned) events_->kick(cpu());
}

// viommu_fault_handler.
void VirtioIommuDriver::handle_fault(const spec::VirtioIommuFaultReport& fault) {
  const iommu::ViommuReason reason{fault.reason};
  const std::string_view word = reason == iommu::ViommuReason::domain    ? "domain"
                                : reason == iommu::ViommuReason::mapping ? "page"
                                                                         : "unknown";
  if ((fault.flags & iommu::viommu_flag::fault_address) == 0)
    return binding_.print(fmt::format("{} fault from EP {}", word, fault.endpoint));
  binding_.print(fmt::format("{} fault from EP {} at {:#x} [{}{}{}]", word, fault.endpoint, fault.address,
                             (fault.flags & iommu::viommu_flag::fault_read) != 0 ? "R" : "",
                             (fault.flags & iommu::viommu_flag::fault_write) != 0 ? "W" : "",
                             (fault.flags & iommu::viommu_flag::fault_exec) != 0 ? "X" : ""));
}

}  // namespace cbit::kernel
