#include "kernel/rdma/ib_device.hpp"

#include <limits>

namespace cbit::kernel {

IbDevice::IbDevice(Kernel& kernel, std::string name, dev::rdma::Engine& engine, dev::rdma::Fabric& fabric,
                   dev::rdma::PortAddress address, Device* dma_device)
    : kernel_{&kernel},
      name_{std::move(name)},
      name_id_{kernel.machine().tracer().intern(name_)},
      engine_{&engine},
      fabric_{&fabric},
      address_{address},
      dma_device_{dma_device},
      cc_dma_bounce_{kernel.dma().config().version >= KernelVersion::v7_2 && dma_device != nullptr &&
                     kernel.cc().has(CcAttr::guest_mem_encrypt)} {}

ibv_device_attr IbDevice::query_device_ex() const {
  ibv_device_attr attr;
  if (cc_dma_bounce_) attr.device_cap_flags_ex |= IBV_DEVICE_CC_DMA_BOUNCE;
  return attr;
}

std::uint64_t IbDevice::ib_dma_max_seg_size() const {
  return ib_uses_virt_dma() ? std::numeric_limits<std::uint32_t>::max() : dma_device_->max_segment_size;
}

Result<std::size_t, Errno> IbDevice::ib_dma_map_sgtable(paging::Mmu& cpu, std::span<ScatterEntry> sg,
                                                        DmaAttrs attrs) {
  if (!ib_uses_virt_dma())
    return kernel_->dma().map_sgtable(cpu, *dma_device_, sg, DmaDirection::bidirectional, attrs);
  for (ScatterEntry& entry : sg) {
    entry.dma = DmaAddr{kernel_->mm().phys_to_virt(entry.phys).value()};
    entry.dma_length = entry.length;
  }
  return sg.size();
}

void IbDevice::ib_dma_unmap_sgtable(paging::Mmu& cpu, std::span<ScatterEntry> sg, DmaAttrs attrs) {
  if (!ib_uses_virt_dma()) kernel_->dma().unmap_sg(cpu, *dma_device_, sg, DmaDirection::bidirectional, attrs);
}

DmaReach IbDevice::reach(DmaAddr dma) {
  if (ib_uses_virt_dma()) return {DmaPath::direct, false};
  return kernel_->dma().reach(*dma_device_, dma);
}

}  // namespace cbit::kernel
