#include "dev/virtio/virtio_iommu.hpp"

#include <algorithm>
#include <bit>
#include <limits>
#include <utility>

#include "base/cost.hpp"
#include "base/format.hpp"

namespace cbit::dev {
namespace {

constexpr std::uint16_t request_queue = 0;
constexpr std::uint16_t event_queue = 1;
constexpr std::uint64_t request_bytes_max = sizeof(spec::VirtioIommuProbe);

std::uint64_t features(const VirtioIommuOptions& options) {
  using namespace spec::virtio_iommu_feature;
  std::uint64_t bits = input_range | domain_range | map_unmap | mmio;
  if (options.probe) bits |= spec::virtio_iommu_feature::probe;
  if (options.bypass_feature) bits |= bypass;
  if (options.bypass_config) bits |= bypass_config;
  return bits;
}

OrError<void> check(const VirtioIommuOptions& options) {
  CBIT_TRY(check(options.virtio));
  if (!std::has_single_bit(options.queue_size))
    return usage_error(fmt::format("queue size {} is not a power of two", options.queue_size));
  const std::uint64_t mask = options.domains.page_size_mask;
  if (mask == 0 || (mask & (page_size - 1)) != 0)
    return usage_error(fmt::format("page size mask {:#x} has no page of 4 KiB or more", mask));
  if (options.domains.reserved.size() * sizeof(spec::VirtioIommuResvMem) > VirtioIommu::probe_bytes)
    return usage_error(fmt::format("{} reserved regions do not fit into the {} bytes of a probe",
                                   options.domains.reserved.size(), VirtioIommu::probe_bytes));
  return {};
}

bus::DmaPortConfig untranslated_port(bus::DmaPortConfig port) {
  port.bypass_iommu = true;
  return port;
}

iommu::ViommuDomains::Config with_view(iommu::ViommuDomains::Config config, const bus::SystemBus& bus) {
  config.view = bus.device_view();
  return config;
}

iommu::ViommuRange range_of(std::uint64_t first, std::uint64_t last) {
  return {DmaAddr{first}, DmaAddr{last}};
}

}  // namespace

OrError<std::unique_ptr<VirtioIommu>> VirtioIommu::create(bus::SystemBus& bus, bus::DmaPortConfig port,
                                                          const VirtioIommuOptions& options) {
  CBIT_TRY(check(options));
  return std::unique_ptr<VirtioIommu>{new VirtioIommu{bus, std::move(port), options}};
}

VirtioIommu::VirtioIommu(bus::SystemBus& bus, bus::DmaPortConfig port, const VirtioIommuOptions& options)
    : VirtioDevice{bus,
                   untranslated_port(std::move(port)),
                   options.virtio,
                   features(options),
                   {options.queue_size, options.queue_size}},
      bus_{&bus},
      domains_{with_view(options.domains, bus),
               [&bus](std::uint32_t endpoint) {
                 return endpoint <= std::numeric_limits<RequesterId>::max() &&
                        bus.has_requester(static_cast<RequesterId>(endpoint));
               },
               [this](const iommu::ViommuFault& fault) { report(fault); }} {
  config_.page_size_mask = options.domains.page_size_mask;
  config_.input_start = options.domains.input.first.value();
  config_.input_end = options.domains.input.last.value();
  config_.domain_start = options.domains.first_domain;
  config_.domain_end = options.domains.last_domain;
  config_.probe_size = options.probe ? probe_bytes : 0;
  config_.bypass = options.bypass_config && options.boot_bypass ? 1 : 0;
  update_bypass();
  bus.set_iommu(&domains_);
}

VirtioIommu::~VirtioIommu() {
  if (bus_->iommu() == &domains_) bus_->set_iommu(nullptr);
}

// A driver's choice of config.bypass outlives its reset of the device.
void VirtioIommu::on_reset() {
  domains_.reset();
  update_bypass();
}

void VirtioIommu::update_bypass() {
  const bool by_config = (device_features() & spec::virtio_iommu_feature::bypass_config) != 0;
  domains_.set_bypass(by_config ? config_.bypass != 0 : has(spec::virtio_iommu_feature::bypass));
}

void VirtioIommu::write_config(std::uint32_t offset, ConstByteSpan from) {
  constexpr std::uint32_t field = offsetof(spec::VirtioIommuConfig, bypass);
  if (offset > field || field - offset >= from.size()) return;
  const auto value = std::to_integer<std::uint8_t>(from[field - offset]);
  if (value == config_.bypass) return;
  if (!has(spec::virtio_iommu_feature::bypass_config))
    return stop(request_queue, {"cannot set config.bypass"});
  if (value > 1) return stop(request_queue, {fmt::format("invalid config.bypass value '{}'", value)});
  config_.bypass = value;
  update_bypass();
}

// ---- requests ----

OrTrouble<void> VirtioIommu::kicked(std::uint16_t queue) {
  if (queue == event_queue) return {};
  return serve(queue, [this](const VirtChain& chain) { return handle(chain); });
}

OrTrouble<std::uint32_t> VirtioIommu::handle(const VirtChain& chain) {
  const std::uint64_t writable = chain.writable_bytes();
  if (chain.readable_bytes() < sizeof(spec::VirtioIommuHead) || writable < sizeof(spec::VirtioIommuTail))
    return trouble("virtio-iommu bad head/tail size");
  Bytes request(std::min(chain.readable_bytes(), request_bytes_max));
  CBIT_TRY(read_segments(dma(), chain.readable, request));

  Bytes reply;
  const std::uint64_t room = writable - sizeof(spec::VirtioIommuTail);
  const spec::VirtioIommuTail tail{static_cast<std::uint8_t>(execute(request, room, reply))};
  CBIT_TRY(write_segments(dma(), chain.writable, reply));
  CBIT_TRY(write_segments(dma(), sub_segments(chain.writable, room, sizeof tail), bytes_of(tail)));
  return static_cast<std::uint32_t>(writable);
}

iommu::ViommuStatus VirtioIommu::execute(ConstByteSpan request, std::uint64_t room, Bytes& reply) {
  const auto whole = [&]<class T>(iommu::ViommuStatus (VirtioIommu::*perform)(const T&)) {
    return request.size() < sizeof(T) ? iommu::ViommuStatus::inval : (this->*perform)(load<T>(request));
  };
  switch (load<spec::VirtioIommuHead>(request).type) {
    case spec::virtio_iommu_type::attach: return whole(&VirtioIommu::attach);
    case spec::virtio_iommu_type::detach: return whole(&VirtioIommu::detach);
    case spec::virtio_iommu_type::map: return whole(&VirtioIommu::map);
    case spec::virtio_iommu_type::unmap: return whole(&VirtioIommu::unmap);
    case spec::virtio_iommu_type::probe:
      if (request.size() < sizeof(spec::VirtioIommuProbe)) return iommu::ViommuStatus::inval;
      return probe(load<spec::VirtioIommuProbe>(request), room, reply);
    default: return iommu::ViommuStatus::unsupp;
  }
}

iommu::ViommuStatus VirtioIommu::attach(const spec::VirtioIommuAttach& r) {
  return answered({"attach", r.domain, r.endpoint, {}, {}, 0},
                  domains_.attach(r.domain, r.endpoint, r.flags));
}

iommu::ViommuStatus VirtioIommu::detach(const spec::VirtioIommuDetach& r) {
  return answered({"detach", r.domain, r.endpoint, {}, {}, 0}, domains_.detach(r.domain, r.endpoint));
}

iommu::ViommuStatus VirtioIommu::map(const spec::VirtioIommuMap& r) {
  const iommu::ViommuRange range = range_of(r.virt_start, r.virt_end);
  return answered({"map", r.domain, 0, range.first, range.last, 0},
                  domains_.map(r.domain, range, PhysAddr{r.phys_start}, r.flags));
}

iommu::ViommuStatus VirtioIommu::unmap(const spec::VirtioIommuUnmap& r) {
  const iommu::ViommuRange range = range_of(r.virt_start, r.virt_end);
  return answered({"unmap", r.domain, 0, range.first, range.last, 0}, domains_.unmap(r.domain, range));
}

// 5.13.6.5: the properties, then zeros, whose type is NONE. Without the feature there is no such request.
iommu::ViommuStatus VirtioIommu::probe(const spec::VirtioIommuProbe& r, std::uint64_t room, Bytes& reply) {
  VirtioIommuRequest event{"probe", 0, r.endpoint, {}, {}, 0};
  if (config_.probe_size == 0) return answered(event, iommu::ViommuStatus::unsupp);
  if (room < config_.probe_size) return answered(event, iommu::ViommuStatus::inval);
  const auto status = domains_.probe(r.endpoint);
  if (status != iommu::ViommuStatus::ok) return answered(event, status);
  for (const iommu::ViommuReserved& reserved : domains_.config().reserved) {
    spec::VirtioIommuResvMem property;
    property.subtype = static_cast<std::uint8_t>(reserved.type);
    property.start = reserved.range.first.value();
    property.end = reserved.range.last.value();
    const auto raw = bytes_of(property);
    reply.insert(reply.end(), raw.begin(), raw.end());
  }
  reply.resize(config_.probe_size);
  return answered(event, status);
}

iommu::ViommuStatus VirtioIommu::answered(VirtioIommuRequest event, iommu::ViommuStatus status) {
  event.status = static_cast<std::uint8_t>(status);
  tracer().emit(agent(), event, cost::iommu_map_ns);
  return status;
}

// ---- faults ----

void VirtioIommu::report(const iommu::ViommuFault& fault) {
  tracer().emit(agent(), VirtioIommuFault{static_cast<std::uint8_t>(fault.reason), fault.flags,
                                          fault.endpoint, fault.address});
  if (!serving(event_queue)) return;
  if (const auto delivered = deliver(fault); !delivered) stop(event_queue, delivered.error());
}

OrTrouble<void> VirtioIommu::deliver(const iommu::ViommuFault& fault) {
  VirtQueue& events = queue(event_queue);
  if (CBIT_TRY(events.available()) == 0) return {};  // "no buffer available in event queue to report event"
  const VirtChain chain = CBIT_TRY(events.pop());
  spec::VirtioIommuFaultReport event;
  event.reason = static_cast<std::uint8_t>(fault.reason);
  event.flags = fault.flags;
  event.endpoint = fault.endpoint;
  event.address = fault.address.value();
  if (chain.writable_bytes() < sizeof event) return trouble("error buffer of wrong size");
  CBIT_TRY(write_segments(dma(), chain.writable, bytes_of(event)));
  CBIT_TRY(events.push(chain, sizeof event));
  return finish(event_queue);
}

}  // namespace cbit::dev
