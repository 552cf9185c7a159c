// Where each device's DMA goes on this system: performed on the model machine that decides as this system
// does, with the device's masks, IOMMU domain and driver, by the code behind `cbit explain`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "doctor/check.hpp"
#include "explain/explain.hpp"
#include "watch/import/log_causes.hpp"

namespace cbit::doctor {

// One way in which a device's DMA is used.
struct DmaUse {
  explain::MapKind map{};
  explain::Verdict verdict{};
  DmaPath path{};
  bool encryption_bit = false;
  bool bounced = false;
  bool shared = false;  // the memory itself is shared with whoever has no key
};

struct DeviceReport {
  std::string name;                   // PCI address, or "virtio0" where there is no PCI function
  std::string what;                   // "NVMe controller nvme0"
  std::string driver;                 // empty: none is bound
  std::string made_for;               // the driver that it is bound to, or would be; empty: not known
  std::optional<unsigned> mask_bits;  // nullopt: not readable; 64 is assumed
  std::optional<unsigned> coherent_mask_bits;
  IommuMode iommu = IommuMode::none;
  CheckState state = CheckState::skip;
  std::vector<DmaUse> uses;              // empty: it does no DMA that the kernel maps
  std::uint64_t largest_mapping = 0;     // bytes in one piece; 2^64 - 1: no limit
  bool limit_unknown_to_driver = false;  // it bounces, but dma_max_mapping_size() says no limit
  std::vector<std::string> notes;
  std::vector<watch::Cause> causes;     // of what the model found
  std::vector<watch::LogCause> logged;  // of what the kernel said
};

// "direct, with the C-bit"; "bounced"; "IOMMU, C-bit in its entry"; ...
[[nodiscard]] std::string way_of(const DmaUse& use);

// Bridges are left out. Errors (usage): the model refuses the machine.
[[nodiscard]] OrError<std::vector<DeviceReport>> report_devices(const CheckSubject& subject,
                                                                std::vector<std::string>& notes);

}  // namespace cbit::doctor
