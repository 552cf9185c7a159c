// Interrupts at an AMD IOMMU: those of devices, which it remaps, and its own.
#pragma once

#include <cstdint>
#include <optional>

#include "spec/amd_iommu.hpp"
#include "spec/apic.hpp"

namespace cbit::iommu {

// A message to the interrupt window.
struct InterruptRequest {
  spec::MsiAddress address;
  spec::MsiData data;
};

// Where it goes. Its trigger mode is the request's.
struct RemappedInterrupt {
  bool untouched = false;  // as it came
  std::uint32_t destination = 0;
  bool wide = false;  // a destination of 32 bits
  bool logical = false;
  spec::ApicDelivery delivery{};
  std::uint8_t vector = 0;
};

enum class AmdIommuInterrupt : std::uint8_t { event_log, completion_wait };

// An interrupt of the IOMMU's own. With IntCapXtEn a register says where it goes, else its MSI capability.
struct AmdIommuSignal {
  AmdIommuInterrupt cause{};
  std::optional<spec::AmdIommuXtInterrupt> xt;
};

}  // namespace cbit::iommu
