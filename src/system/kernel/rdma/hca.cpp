#include "kernel/rdma/hca.hpp"

namespace cbit::kernel {

Result<std::unique_ptr<Hca>, Errno> Hca::probe(Kernel& kernel, dev::rdma::Fabric& fabric,
                                               const HcaConfig& config) {
  std::unique_ptr<Hca> hca{new Hca};
  hca->device_ = &kernel.add_device({.name = config.name, .max_segment_size = config.max_segment_size});
  CBIT_TRY(kernel.dma().set_mask(*hca->device_, bit_mask(config.mask_bits)));
  CBIT_TRY(kernel.dma().set_coherent_mask(*hca->device_, bit_mask(config.coherent_mask_bits)));
  hca->nic_ = std::make_unique<dev::rdma::RdmaNic>(kernel.machine().bus(),
                                                   bus::DmaPortConfig{.device = hca->device_->name,
                                                                      .requester = hca->device_->requester,
                                                                      .address_bits = config.address_bits},
                                                   fabric);
  hca->ib_ = std::make_unique<IbDevice>(kernel, hca->device_->name, hca->nic_->engine(), fabric,
                                        hca->nic_->address(), hca->device_);
  return hca;
}

}  // namespace cbit::kernel
