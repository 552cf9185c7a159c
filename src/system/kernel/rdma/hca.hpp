// An RDMA adapter with its driver: the NIC on the bus, its struct device with the masks that the driver's
// probe sets, and the ib_device.
#pragma once

#include "dev/rdma/rdma_nic.hpp"
#include "kernel/rdma/ib_device.hpp"

namespace cbit::kernel {

struct HcaConfig {
  std::string name = "0000:00:05.0";
  unsigned mask_bits = 64;           // dma_set_mask
  unsigned coherent_mask_bits = 64;  // dma_set_coherent_mask
  // dma_set_max_seg_size(): 2 GiB, as mlx5 does; so a region's entries do not know the bounce pool's limit.
  std::uint32_t max_segment_size = 2u << 30;
  unsigned address_bits = 64;  // address lines of the device itself
};

class Hca {
 public:
  // EIO: a mask that the platform does not support. `kernel` and `fabric` outlive it.
  static Result<std::unique_ptr<Hca>, Errno> probe(Kernel& kernel, dev::rdma::Fabric& fabric,
                                                   const HcaConfig& config);

  [[nodiscard]] IbDevice& ib() { return *ib_; }
  [[nodiscard]] Device& device() { return *device_; }
  [[nodiscard]] dev::rdma::RdmaNic& nic() { return *nic_; }

 private:
  Hca() = default;
  Device* device_ = nullptr;
  std::unique_ptr<dev::rdma::RdmaNic> nic_;
  std::unique_ptr<IbDevice> ib_;
};

}  // namespace cbit::kernel
