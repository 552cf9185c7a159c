// struct ib_device, and the part of the DMA API that knows about software devices: drivers/infiniband/core,
// include/rdma/ib_verbs.h.
//
// A device without a DMA device of its own (rxe, siw) uses "virtual DMA": its DMA addresses are kernel
// virtual addresses, nothing is mapped and nothing bounces, for the CPU moves the bytes.
#pragma once

#include <span>
#include <string>

#include "dev/rdma/engine.hpp"
#include "kernel/kernel.hpp"

namespace cbit::kernel {

class IbDevice {
 public:
  // ib_register_device(): with a DMA device in an encrypted guest, `next` notes that DMA bounces
  // (ib_device.cc_dma_bounce). `dma_device` is nullptr for software devices. All outlive it.
  IbDevice(Kernel& kernel, std::string name, dev::rdma::Engine& engine, dev::rdma::Fabric& fabric,
           dev::rdma::PortAddress address, Device* dma_device);

  [[nodiscard]] Kernel& kernel() { return *kernel_; }
  [[nodiscard]] dev::rdma::Engine& engine() { return *engine_; }
  [[nodiscard]] dev::rdma::Fabric& fabric() { return *fabric_; }
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] NameId name_id() const { return name_id_; }
  [[nodiscard]] dev::rdma::PortAddress address() const { return address_; }
  [[nodiscard]] Device* dma_device() { return dma_device_; }
  [[nodiscard]] bool cc_dma_bounce() const { return cc_dma_bounce_; }
  [[nodiscard]] bool ib_uses_virt_dma() const { return dma_device_ == nullptr; }

  // ib_query_device_ex(): the device's limits and the capabilities that the kernel adds.
  [[nodiscard]] ibv_device_attr query_device_ex() const;

  // UINT_MAX for virtual DMA.
  [[nodiscard]] std::uint64_t ib_dma_max_seg_size() const;
  // Fills in dma and dma_length of as many entries as it returns.
  Result<std::size_t, Errno> ib_dma_map_sgtable(paging::Mmu& cpu, std::span<ScatterEntry> sg, DmaAttrs attrs);
  void ib_dma_unmap_sgtable(paging::Mmu& cpu, std::span<ScatterEntry> sg, DmaAttrs attrs);
  // Protection domains are numbered per device, so that no two contexts share one.
  [[nodiscard]] std::uint32_t new_protection_domain() { return ++protection_domains_; }

  // Which way such a mapping takes.
  [[nodiscard]] DmaReach reach(DmaAddr dma);

 private:
  Kernel* kernel_;
  std::string name_;
  NameId name_id_;
  dev::rdma::Engine* engine_;
  dev::rdma::Fabric* fabric_;
  dev::rdma::PortAddress address_;
  Device* dma_device_;
  bool cc_dma_bounce_;
  std::uint32_t protection_domains_ = 0;
};

}  // namespace cbit::kernel
