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

namespace cbit::dev {

struct VirtioIommuOptions {
  VirtioOptions virtio;
  iommu::ViommuDomains::Config domains;  // `view` is set to the bus's
  bool bypass_feature = false;           // offers BYPASS
  bool bypass_config = true;             // offers BYPASS_CONFIG
  bool boot_bypass = true;               // config.bypass at the start; QEMU's boot-bypass
  bool probe = true;                     // offers PROBE
  std::uint16_t queue_size = 64;         // of both queues; a power of two
};

class VirtioIommu final : public VirtioDevice {
 public:
  static constexpr std::uint32_t probe_bytes = 512;  // VIOMMU_PROBE_SIZE

  // Errors (usage): options that contradict each other; a page size mask of zero or below 4 KiB; more
  // reserved regions than a probe has room for.
  static OrError<std::unique_ptr<VirtioIommu>> create(bus::SystemBus& bus, bus::DmaPortConfig port,
                                                      const VirtioIommuOptions& options);
  ~VirtioIommu() override;

  [[nodiscard]] std::uint16_t device_id() const override { return spec::virtio_id_iommu; }
  // config.bypass. Stops the device: a value other than 0 and 1, or BYPASS_CONFIG not negotiated.
  void write_config(std::uint32_t offset, ConstByteSpan from) override;
  [[nodiscard]] const iommu::ViommuDomains& domains() const { return domains_; }

 protected:
  OrTrouble<void> kicked(std::uint16_t queue) override;
  [[nodiscard]] ConstByteSpan config_space() const override { return bytes_of(config_); }
  void on_reset() override;
  void on_status() override { update_bypass(); }

 private:
  VirtioIommu(bus::SystemBus& bus, bus::DmaPortConfig port, const VirtioIommuOptions& options);

  OrTrouble<std::uint32_t> handle(const VirtChain& chain);
  // `request` is all that the device may read; the answer's properties are appended to `reply`.
  iommu::ViommuStatus execute(ConstByteSpan request, std::uint64_t room, Bytes& reply);
  iommu::ViommuStatus attach(const spec::VirtioIommuAttach& request);
  iommu::ViommuStatus detach(const spec::VirtioIommuDetach& request);
  iommu::ViommuStatus map(const spec::VirtioIommuMap& request);
  iommu::ViommuStatus unmap(const spec::VirtioIommuUnmap& request);
  iommu::ViommuStatus probe(const spec::VirtioIommuProbe& request, std::uint64_t room, Bytes& reply);
  iommu::ViommuStatus answered(VirtioIommuRequest event, iommu::ViommuStatus status);
  void report(const iommu::ViommuFault& fault);
  OrTrouble<void> deliver(const iommu::ViommuFault& fault);
  void update_bypass();

  bus::SystemBus* bus_;
  iommu::ViommuDomains domains_;
  spec::VirtioIommuConfig config_;
};

}  // namespace cbit::dev
