// A virtio-iommu: a paravirtual IOMMU in front of the machine's devices. VIRTIO 1.2, 5.13; QEMU's
// hw/virtio/virtio-iommu.c where the specification leaves a choice.
//
// Its domains translate all requesters of the bus from its creation to its destruction; its own DMA is not
// translated, whatever it offers. Requests on queue 0, faults on queue 1: without a buffer there a fault is
// lost.
//
// An endpoint in no domain: with BYPASS_CONFIG offered the field config.bypass decides, before a driver is
// there too; without, a driver that accepted BYPASS lets it pass. A request that is not a whole head, or
// has no room for the tail, stops the device.
//
// Emits VirtioIommuRequest per request and VirtioIommuFault per fault. Threading: one thread.
#pragma once

#include <memory>

#include "dev/virtio/virtio_device.hpp"
#include "iommu/viommu_domains.hpp"
#include "spec/virtio_iommu.hpp"

namespace cbit {

struct VirtioIommuOptions {
  VirtioOptions virtio;
  ViommuDomains::Config domains;  // `view` is set to the bus's
  bool bypass_feature = false;    // offers BYPASS
  bool bypass_config = true;      // offers BYPASS_CONFIG
  bool boot_bypass = true;        // config.bypass at the start; QEMU's boot-bypass
  bool probe = true;              // offers PROBE
  std::uint16_t queue_size = 64;  // of both queues; a power of two
};

class VirtioIommu final : public VirtioDevice {
 public:
  static constexpr std::uint32_t probe_bytes = 512;  // VIOMMU_PROBE_SIZE

  // Errors (usage): options that contradict each other; a page size mask of zero or below 4 KiB; more
  // reserved regions than a probe has room for.
  static OrError<std::unique_ptr<VirtioIommu>> create(SystemBus& bus, DmaPortConfig port,
                                                      const VirtioIommuOptions& options);
  ~VirtioIommu() override;

  [[nodiscard]] std::uint16_t device_id() const override { return virtio_id_iommu; }
  // config.bypass. Stops the device: a value other than 0 and 1, or BYPASS_CONFIG not negotiated.
  void write_config(std::uint32_t offset, ConstByteSpan from) override;
  [[nodiscard]] const ViommuDomains& domains() const { return domains_; }

 protected:
  OrTrouble<void> kicked(std::uint16_t queue) override;
  [[nodiscard]] ConstByteSpan config_space() const override { return bytes_of(config_); }
  void on_reset() override;
  void on_status() override { update_bypass(); }

 private:
  VirtioIommu(SystemBus& bus, DmaPortConfig port, const VirtioIommuOptions& options);

  OrTrouble<std::uint32_t> handle(const VirtChain& chain);
  // `request` is all that the device may read; the answer's properties are appended to `reply`.
  ViommuStatus execute(ConstByteSpan request, std::uint64_t room, Bytes& reply);
  ViommuStatus attach(const VirtioIommuAttach& request);
  ViommuStatus detach(const VirtioIommuDetach& request);
  ViommuStatus map(const VirtioIommuMap& request);
  ViommuStatus unmap(const VirtioIommuUnmap& request);
  ViommuStatus probe(const VirtioIommuProbe& request, std::uint64_t room, Bytes& reply);
  ViommuStatus answered(VirtioIommuRequest event, ViommuStatus status);
  void report(const ViommuFault& fault);
  OrTrouble<void> deliver(const ViommuFault& fault);
  void update_bypass();

  SystemBus* bus_;
  ViommuDomains domains_;
  VirtioIommuConfig config_;
};

}  // namespace cbit
