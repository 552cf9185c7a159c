// The model kernel, booted on a machine: memory management, DMA, devices.
#pragma once

#include <deque>
#include <memory>
#include <string>

#include "kernel/cc_platform.hpp"
#include "kernel/dma/dma.hpp"
#include "kernel/mm/mm.hpp"
#include "machine/machine.hpp"

namespace cbit {

class Kernel {
 public:
  // Errors: a configuration that the machine contradicts (an IOMMU mode without an IOMMU).
  static OrError<std::unique_ptr<Kernel>> boot(Machine& machine, const DmaConfig& config);

  [[nodiscard]] Machine& machine() { return *machine_; }
  [[nodiscard]] const CcPlatform& cc() const { return cc_; }
  [[nodiscard]] Mm& mm() { return *mm_; }
  [[nodiscard]] Dma& dma() { return *dma_; }
  [[nodiscard]] Mmu& cpu(unsigned n) { return mm_->cpu(n); }

  // Registers a device with the next free requester id; the reference stays valid.
  Device& add_device(Device device);

 private:
  explicit Kernel(Machine& machine);

  Machine* machine_;
  CcPlatform cc_;
  std::unique_ptr<Mm> mm_;
  std::unique_ptr<Dma> dma_;
  std::deque<Device> devices_;
};

}  // namespace cbit
