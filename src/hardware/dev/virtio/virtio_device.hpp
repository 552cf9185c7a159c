// A virtio device as its transport shows it: features, status, queues, configuration space. VIRTIO 1.2, 2.
//
// DMA: a device that offers ACCESS_PLATFORM is behind the platform's IOMMU like any other; one that does not
// addresses memory directly (QEMU: virtio_bus_device_plugged). Neither makes a guest's private memory
// readable.
//
// FEATURES_OK is not latched, and the write that asks for it has no effect at all, when the driver wants bits
// that were not offered, or accepts VERSION_1 but not an offered ACCESS_PLATFORM (QEMU:
// virtio_validate_features).
//
// A driver that breaks the rules of a queue stops the device: VirtioBroken is emitted, a VERSION_1 driver
// sees NEEDS_RESET, and no queue is served before a reset. Nothing that a driver writes is a Fault or an
// assertion.
//
// Threading: one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/bytes.hpp"
#include "base/state_stream.hpp"
#include "bus/dma_port.hpp"
#include "dev/virtio/queue.hpp"

namespace cbit::dev {

struct VirtioInterrupt {
  enum class Kind : std::uint8_t { queue, config };
  Kind kind{};
  std::uint16_t queue = 0;
};

// Properties that every virtio device has; the names are QEMU's.
struct VirtioOptions {
  bool iommu_platform = true;  // offers ACCESS_PLATFORM
  // A driver that accepts VERSION_1 must accept ACCESS_PLATFORM where it is offered, as QEMU has it.
  // Otherwise the device addresses memory directly for a driver that does not.
  bool requires_platform = true;
  bool legacy = false;        // does not offer VERSION_1: the interface before virtio 1.0
  bool transitional = false;  // has that interface too (QEMU: disable-legacy=off)
  bool indirect_desc = true;
  bool event_idx = true;
  bool packed = false;    // offers RING_PACKED
  bool in_order = false;  // offers IN_ORDER; the device uses buffers in order in any case
};

// Errors (usage): options that contradict each other: the legacy interface has 32 feature bits, so neither
// ACCESS_PLATFORM nor a packed ring. QEMU says the same of ACCESS_PLATFORM when the device is realized.
OrError<void> check(const VirtioOptions& options);

class VirtioDevice : public ForgeableDevice {
 public:
  VirtioDevice(const VirtioDevice&) = delete;
  VirtioDevice& operator=(const VirtioDevice&) = delete;

  [[nodiscard]] virtual std::uint16_t device_id() const = 0;  // 5: 2 is a block device

  // ---- features and status ----
  [[nodiscard]] std::uint64_t device_features() const { return device_features_; }
  [[nodiscard]] std::uint64_t driver_features() const { return driver_features_; }
  // Ignored once FEATURES_OK is set.
  void set_driver_features(std::uint64_t features);
  [[nodiscard]] bool has_legacy_interface() const { return options_.legacy || options_.transitional; }
  // Offered and accepted.
  [[nodiscard]] bool has(std::uint64_t feature) const {
    return (device_features_ & driver_features_ & feature) != 0;
  }
  [[nodiscard]] std::uint8_t status() const { return status_; }
  // Zero resets the device. NEEDS_RESET is the device's own and cannot be written.
  void set_status(std::uint8_t value);
  [[nodiscard]] bool broken() const { return broken_; }

  // ---- queues ----
  [[nodiscard]] std::uint16_t queue_count() const { return static_cast<std::uint16_t>(queues_.size()); }
  // 0: there is no such queue.
  [[nodiscard]] std::uint16_t queue_size_max(std::uint16_t queue) const;
  [[nodiscard]] bool queue_enabled(std::uint16_t queue) const;
  // Stops the device when the configuration is not a legal one.
  void enable_queue(std::uint16_t queue, const VirtQueueConfig& config);
  // Legacy: a queue address of zero.
  void disable_queue(std::uint16_t queue);
  // Available buffer notification: serves what is available now, at most a queue full. The interrupts that
  // follow are delivered before it returns. A modern driver is not served before DRIVER_OK; a legacy one is
  // (3.1.2).
  void notify(std::uint16_t queue);

  // ---- configuration space ----
  // Bytes beyond its end read as zeros; writes have no effect unless the device says otherwise.
  void read_config(std::uint32_t offset, ByteSpan to) const;
  virtual void write_config(std::uint32_t, ConstByteSpan) {}

  // Called for each interrupt. It must not notify the device of a queue that the device serves when notified;
  // one that the device fills when it likes (virtio-iommu's events) it may.
  void on_interrupt(std::function<void(const VirtioInterrupt&)> handler) { interrupt_ = std::move(handler); }

  // About all queues.
  void set_forger(Forger* forger) final {
    for (VirtQueue& queue : queues_) queue.set_forger(forger);
  }

  // With that of the device's type. Loading tells neither driver nor transport.
  void transfer(StateStream& s);

  [[nodiscard]] bus::DmaPort& port() final { return port_; }
  [[nodiscard]] const bus::DmaPort& port() const { return port_; }

 protected:
  // `features` are the device type's own; ring and transport features follow from the options.
  VirtioDevice(bus::SystemBus& bus, bus::DmaPortConfig port, const VirtioOptions& options,
               std::uint64_t features, std::vector<std::uint16_t> queue_sizes);

  // The driver has notified the queue, which is enabled and of a device that runs.
  virtual OrTrouble<void> kicked(std::uint16_t queue) = 0;
  [[nodiscard]] virtual ConstByteSpan config_space() const = 0;
  virtual void on_reset() {}
  // What the type has beyond queues and features. One that does not say cannot be saved.
  virtual void transfer_type(StateStream& s) { s.refuse("the device cannot be saved"); }
  // The driver wrote the status, and the write had an effect.
  virtual void on_status() {}

  // Serves each available request, at most a queue full, and raises an interrupt if the driver wants one. The
  // handler returns how many bytes it wrote.
  using Handler = std::function<OrTrouble<std::uint32_t>(const VirtChain&)>;
  OrTrouble<void> serve(std::uint16_t queue, const Handler& handler);

  // For a device that answers when it likes: may it use the queue now; the queue; and what ends a series of
  // pops and pushes.
  [[nodiscard]] bool serving(std::uint16_t queue) const { return runs() && queue_enabled(queue); }
  [[nodiscard]] VirtQueue& queue(std::uint16_t index) { return queues_[index]; }
  OrTrouble<void> finish(std::uint16_t queue);
  // The driver broke a rule.
  void stop(std::uint16_t queue, const QueueTrouble& trouble);

  [[nodiscard]] bus::DmaPort& dma() { return port_; }
  [[nodiscard]] Tracer& tracer() { return port_.bus().tracer(); }
  [[nodiscard]] Agent agent() const { return {AgentKind::device, port_.config().requester}; }

 private:
  [[nodiscard]] bool runs() const;
  [[nodiscard]] bool accepts_features() const;
  [[nodiscard]] VirtRingFeatures ring_features() const;
  void choose_address_space();
  void reset();
  void interrupt(const VirtioInterrupt& interrupt) const;

  bus::DmaPort port_;
  VirtioOptions options_;
  std::uint64_t device_features_;
  std::uint64_t driver_features_ = 0;
  std::uint8_t status_ = 0;
  bool broken_ = false;
  std::vector<VirtQueue> queues_;
  std::function<void(const VirtioInterrupt&)> interrupt_;
};

}  // namespace cbit::dev
