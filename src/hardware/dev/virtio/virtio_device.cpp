#include "dev/virtio/virtio_device.hpp"

#include <algorithm>
#include <utility>

namespace cbit::dev {
namespace {

bus::DmaPortConfig with_bypass(bus::DmaPortConfig config, const VirtioOptions& options) {
  config.bypass_iommu |= !options.iommu_platform;
  return config;
}

std::uint64_t offered(std::uint64_t features, const VirtioOptions& options) {
  if (options.indirect_desc) features |= spec::virtio_feature::indirect_desc;
  if (options.event_idx) features |= spec::virtio_feature::event_idx;
  if (!options.legacy) features |= spec::virtio_feature::version_1;
  if (options.iommu_platform) features |= spec::virtio_feature::access_platform;
  if (options.packed) features |= spec::virtio_feature::ring_packed;
  if (options.in_order) features |= spec::virtio_feature::in_order;
  return features;
}

}  // namespace

OrError<void> check(const VirtioOptions& options) {
  if (!options.legacy && !options.transitional) return {};
  if (options.iommu_platform)
    return usage_error("VIRTIO_F_IOMMU_PLATFORM was supported by neither legacy nor transitional device",
                       "their interface has no bit 33: turn iommu_platform off, or legacy and transitional "
                       "(disable-legacy=on)");
  if (options.legacy && (options.packed || options.in_order))
    return usage_error("a legacy virtio device has no packed ring and no VIRTIO_F_IN_ORDER",
                       "turn packed and in_order off, or legacy off");
  return {};
}

VirtioDevice::VirtioDevice(bus::SystemBus& bus, bus::DmaPortConfig port, const VirtioOptions& options,
                           std::uint64_t features, std::vector<std::uint16_t> queue_sizes)
    : port_{bus, with_bypass(std::move(port), options)},
      options_{options},
      device_features_{offered(features, options)} {
  queues_.reserve(queue_sizes.size());
  for (const std::uint16_t size : queue_sizes) queues_.emplace_back(port_, size);
}

void VirtioDevice::set_driver_features(std::uint64_t features) {
  if ((status_ & spec::virtio_status::features_ok) == 0) driver_features_ = features;
}

bool VirtioDevice::accepts_features() const {
  if ((driver_features_ & ~device_features_) != 0) return false;
  const bool refuses_platform =
      (device_features_ & ~driver_features_ & spec::virtio_feature::access_platform) != 0;
  return !(refuses_platform && options_.requires_platform && has(spec::virtio_feature::version_1));
}

// What a device that leaves the driver the choice does with it.
void VirtioDevice::choose_address_space() {
  if (options_.iommu_platform && !options_.requires_platform)
    port_.set_bypass_iommu(!has(spec::virtio_feature::access_platform));
}

void VirtioDevice::set_status(std::uint8_t value) {
  if (value == 0) return reset();
  const auto set = static_cast<std::uint8_t>(value & ~status_);
  const bool refused = (set & spec::virtio_status::features_ok) != 0 && !accepts_features();
  if (!refused)
    status_ = static_cast<std::uint8_t>((value & ~spec::virtio_status::needs_reset) |
                                        (status_ & spec::virtio_status::needs_reset));
  if ((set & (spec::virtio_status::features_ok | spec::virtio_status::driver_ok)) != 0)
    choose_address_space();
  if (!refused) on_status();

  constexpr auto milestones =
      spec::virtio_status::features_ok | spec::virtio_status::driver_ok | spec::virtio_status::failed;
  if ((set & milestones) != 0 && tracer().enabled())
    tracer().emit(agent(), VirtioNegotiated{port_.name(), device_features_, driver_features_, status_});
}

void VirtioDevice::reset() {
  status_ = 0;
  driver_features_ = 0;
  broken_ = false;
  for (VirtQueue& queue : queues_) queue.reset();
  on_reset();
}

// DRIVER_OK, and for a VERSION_1 driver FEATURES_OK before it.
bool VirtioDevice::runs() const {
  if (broken_ || (status_ & spec::virtio_status::failed) != 0) return false;
  if (!has(spec::virtio_feature::version_1)) return true;
  constexpr auto ready = spec::virtio_status::features_ok | spec::virtio_status::driver_ok;
  return (status_ & ready) == ready;
}

std::uint16_t VirtioDevice::queue_size_max(std::uint16_t queue) const {
  return queue < queues_.size() ? queues_[queue].size_max() : std::uint16_t{0};
}

bool VirtioDevice::queue_enabled(std::uint16_t queue) const {
  return queue < queues_.size() && queues_[queue].enabled();
}

void VirtioDevice::enable_queue(std::uint16_t queue, const VirtQueueConfig& config) {
  if (queue >= queues_.size() || broken_) return;
  const auto enabled = queues_[queue].enable(config, ring_features());
  if (!enabled) stop(queue, enabled.error());
}

void VirtioDevice::disable_queue(std::uint16_t queue) {
  if (queue < queues_.size()) queues_[queue].reset();
}

void VirtioDevice::notify(std::uint16_t queue) {
  if (!serving(queue)) return;
  if (const auto served = kicked(queue); !served) stop(queue, served.error());
}

OrTrouble<void> VirtioDevice::serve(std::uint16_t index, const Handler& handler) {
  VirtQueue& queue = queues_[index];
  std::uint32_t left = queue.config().size;
  while (left != 0) {
    const std::uint16_t available = CBIT_TRY(queue.available());
    const std::uint32_t now = std::min<std::uint32_t>(available, left);
    if (now == 0) break;
    for (std::uint32_t i = 0; i < now; ++i) {
      const VirtChain chain = CBIT_TRY(queue.pop());
      const std::uint32_t written = CBIT_TRY(handler(chain));
      CBIT_TRY(queue.push(chain, written));
    }
    left -= now;
  }
  return finish(index);
}

OrTrouble<void> VirtioDevice::finish(std::uint16_t queue) {
  if (CBIT_TRY(queues_[queue].finish())) interrupt({VirtioInterrupt::Kind::queue, queue});
  return {};
}

// 2.1.2: the device tells a running driver by a configuration change interrupt.
void VirtioDevice::stop(std::uint16_t queue, const QueueTrouble& trouble) {
  broken_ = true;
  if (tracer().enabled()) tracer().emit(agent(), VirtioBroken{port_.name(), queue, trouble.reason});
  if (!has(spec::virtio_feature::version_1)) return;
  status_ |= spec::virtio_status::needs_reset;
  if ((status_ & spec::virtio_status::driver_ok) != 0) interrupt({VirtioInterrupt::Kind::config, 0});
}

void VirtioDevice::read_config(std::uint32_t offset, ByteSpan to) const {
  const ConstByteSpan space = config_space();
  std::ranges::fill(to, std::byte{0});
  if (offset >= space.size()) return;
  const auto part = space.subspan(offset, std::min(to.size(), space.size() - offset));
  std::ranges::copy(part, to.begin());
}

void VirtioDevice::interrupt(const VirtioInterrupt& interrupt) const {
  if (interrupt_) interrupt_(interrupt);
}

VirtRingFeatures VirtioDevice::ring_features() const {
  return {.indirect = has(spec::virtio_feature::indirect_desc),
          .event_idx = has(spec::virtio_feature::event_idx),
          .packed = has(spec::virtio_feature::ring_packed)};
}

void VirtioDevice::transfer(StateStream& s) {
  s(driver_features_, status_, broken_);
  s.require((driver_features_ & ~device_features_) == 0, "it has features that the device does not offer");
  if (!s.good()) return;
  if (s.loads()) choose_address_space();
  for (VirtQueue& queue : queues_) queue.transfer(s, ring_features());
  transfer_type(s);
}

}  // namespace cbit::dev
