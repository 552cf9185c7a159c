// What probes ask of the machine, and what they tell whoever runs it besides events.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/ids.hpp"
#include "cbit/addr.hpp"
#include "linux/running.hpp"

namespace cbit::linux {

enum class KernelStop : std::uint8_t {
  warning,  // WARN(): it goes on
  oops,     // a task dies in the kernel
  panic,
};

class Observer {
 public:
  // What an IOMMU's entry for an address says.
  struct IommuLeaf {
    PhysAddr phys;
    bool encrypted = false;
  };

  virtual ~Observer() = default;

  // The machine's own knowledge. nullopt: no IOMMU translates it, or there is none.
  [[nodiscard]] virtual bool is_ram(PhysAddr) const { return true; }
  [[nodiscard]] virtual std::optional<IommuLeaf> iommu_leaf(RequesterId, DmaAddr) const {
    return std::nullopt;
  }

  // The kernel has been found; it lives until forgotten.
  virtual void kernel_found(const RunningKernel&) {}
  virtual void kernel_forgotten() {}
  // A bounce pool that the kernel uses, once.
  virtual void pool_found(PhysAddr, std::uint64_t) {}
  // The words of it come as KernelMessage.
  virtual void kernel_stops(KernelStop, SiteId) {}
};

}  // namespace cbit::linux
