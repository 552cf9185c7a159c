// A device as the kernel knows it: struct device, and struct pci_dev around it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/ids.hpp"
#include "linux/peek.hpp"
#include "linux/running.hpp"

namespace cbit::linux {

struct Device {
  VirtAddr at;
  std::string name;                       // "0000:00:02.0"; empty: not readable
  std::string driver;                     // empty: none is bound
  std::string module;                     // the driver's; empty: built in, or none
  std::optional<RequesterId> requester;   // of PCI functions
  std::optional<std::uint64_t> dma_mask;  // nullopt: none is set
  std::uint64_t coherent_mask = 0;
  std::uint64_t bus_limit = 0;  // 0: none
  std::uint64_t min_align_mask = 0;
  std::optional<VirtAddr> tlb;  // struct io_tlb_mem; nullopt: it has no bounce pool
  bool iommu = false;           // its streaming mappings go through the IOMMU's DMA API
  bool untrusted = false;

  // What limits its addresses: the smaller of mask and bus limit that is set (min_not_zero() in
  // dma_capable()).
  [[nodiscard]] std::uint64_t limit(std::uint64_t mask) const;
};

[[nodiscard]] Device read_device(const RunningKernel& running, const GuestMemory& memory, VirtAddr at);
// The name alone, which most events need; empty: not readable.
[[nodiscard]] std::string device_name(const Peek& peek, VirtAddr at);

}  // namespace cbit::linux
