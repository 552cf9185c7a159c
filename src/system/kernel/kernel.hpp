// The model kernel, booted on a machine: memory management, DMA, devices.
#pragma once

#include <deque>
#include <memory>
#include <string>

#include "kernel/cc_platform.hpp"
#include "kernel/dma/dma.hpp"
#include "kernel/mm/mm.hpp"
#include "machine/machine.hpp"

namespace cbit::kernel {

class Kernel {
 public:
  // `machine` outlives the kernel. Errors (usage): a configuration that the machine or the version
  // contradicts (an IOMMU mode without an IOMMU); bad_input when memory is too small.
  static OrError<std::unique_ptr<Kernel>> boot(machine::Machine& machine, const DmaConfig& config);

  [[nodiscard]] machine::Machine& machine() { return *machine_; }
  [[nodiscard]] const CcPlatform& cc() const { return cc_; }
  [[nodiscard]] Mm& mm() { return *mm_; }
  [[nodiscard]] Dma& dma() { return *dma_; }
  [[nodiscard]] paging::Mmu& cpu(unsigned n) { return mm_->cpu(n); }

  // Registers a device and gives it its dma_ops; the reference stays valid. A requester id of 0 stands for
  // the next free slot of bus 0 from 00:01.0 on, an empty name for the PCI address.
  Device& add_device(Device device);

 private:
  Kernel(machine::Machine& machine, KernelVersion version);

  machine::Machine* machine_;
  CcPlatform cc_;
  std::unique_ptr<Mm> mm_;
  std::unique_ptr<Dma> dma_;
  std::deque<Device> devices_;
  RequesterId next_requester_ = 1 << 3;
};

}  // namespace cbit::kernel
