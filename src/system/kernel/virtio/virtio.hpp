// A virtio driver's hold on its device: what Linux keeps in struct virtio_device, from registration to
// removal. drivers/virtio/virtio.c, and of the transport drivers/virtio/virtio_pci_{modern,legacy}.c.
//
// The transport is legacy where device or driver are from before VERSION_1; then the ring address is a
// 32-bit page number, hence the coherent mask of 44 bits. Threading: one thread.
#pragma once

#include <cstdint>
#include <string>

#include "dev/virtio/virtio_device.hpp"
#include "kernel/kernel.hpp"

namespace cbit::kernel {

struct VirtioDriverOptions {
  // virtio_check_mem_acc_cb: Linux 6.1 installs it in guests with encrypted memory, 5.10 has no such check.
  bool restricted_access_check = true;
  // A driver from before virtio 1.0: it knows the legacy interface and 32 feature bits.
  bool legacy_driver = false;
  // The RFC of 2019, never merged: vring_use_dma_api is true wherever memory is encrypted, whatever the
  // device offers.
  bool dma_api_if_encrypted = false;
  // Experiment: the driver puts the physical addresses of its buffers into descriptors, with ring and
  // indirect tables as they should be. The classic mistake of a driver that was written where these addresses
  // are the same.
  bool raw_addresses = false;
  // Bits that the driver does not accept: virtio-balloon clears ACCESS_PLATFORM (virtballoon_validate), and a
  // kernel that is older than the bit does not know it.
  std::uint64_t refused_features = 0;
};

class VirtioBinding {
 public:
  // register_virtio_device: resets and acknowledges the device. `parent` is the PCI function, which does the
  // DMA: its masks are set here. All outlive the binding.
  VirtioBinding(Kernel& kernel, dev::VirtioDevice& hardware, Device& parent,
                const VirtioDriverOptions& options);

  // virtio_dev_probe up to the driver's own probe: `driver_features` are what the driver can use. -ENODEV
  // when the device lacks what this kernel demands, or refuses the features; its status is FAILED then.
  Result<void, Errno> negotiate(std::uint64_t driver_features);
  void add_status(std::uint8_t bits);
  void reset() { hardware_->set_status(0); }

  [[nodiscard]] bool has(std::uint64_t feature) const { return (features_ & feature) != 0; }
  [[nodiscard]] bool legacy() const { return legacy_; }
  // vring_use_dma_api.
  [[nodiscard]] bool use_dma_api() const {
    const bool encrypted = options_.dma_api_if_encrypted && kernel_->cc().has(CcAttr::mem_encrypt);
    return has(spec::virtio_feature::access_platform) || encrypted;
  }
  // virtio_max_dma_size: the largest segment that can be mapped.
  [[nodiscard]] std::uint64_t max_dma_size() const;

  // virtio_cread.
  template <class T>
  [[nodiscard]] T config(std::size_t offset) const {
    std::array<std::byte, sizeof(T)> raw;
    hardware_->read_config(static_cast<std::uint32_t>(offset), raw);
    return load<T>(raw);
  }

  [[nodiscard]] Kernel& kernel() const { return *kernel_; }
  [[nodiscard]] dev::VirtioDevice& hardware() const { return *hardware_; }
  [[nodiscard]] Device& parent() const { return *parent_; }
  [[nodiscard]] const VirtioDriverOptions& options() const { return options_; }

  void print(std::string text) const;                          // dev_warn and its like
  void step(std::string rule, std::string_view source) const;  // a decision, if anybody listens

 private:
  Result<void, Errno> features_ok();

  Kernel* kernel_;
  dev::VirtioDevice* hardware_;
  Device* parent_;
  VirtioDriverOptions options_;
  bool legacy_;
  std::uint64_t features_ = 0;
};

}  // namespace cbit::kernel
