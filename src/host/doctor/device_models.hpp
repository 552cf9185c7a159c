// The model machines on which the devices' DMA is performed: one per IOMMU mode, booted when the first device
// needs it. DMAs that differ by the device's name alone are performed once.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "doctor/devices.hpp"

namespace cbit::doctor {

struct PerformedDma {
  DmaUse use;
  std::uint64_t largest_mapping = 0;
  bool limit_unknown_to_driver = false;
  std::vector<watch::Cause> causes;
};

class DeviceModels {
 public:
  // `notes` gets what the model had to take otherwise than the system has it.
  DeviceModels(const CheckSubject& subject, std::vector<std::string>& notes)
      : subject_{subject}, notes_{notes} {}

  // Errors (usage): the model refuses the machine, or the device's masks.
  OrError<PerformedDma> perform(IommuMode mode, const explain::ExplainOptions& options,
                                const std::optional<VirtioNegotiated>& virtio);
  OrError<std::vector<watch::Cause>> explain_negotiation(IommuMode mode, std::string_view device,
                                                         const VirtioNegotiated& virtio);
  // Errors (usage): the model refuses the machine.
  OrError<explain::ExplainSession*> of(IommuMode mode);

 private:
  struct Done {
    std::string device;  // that it was performed for
    OrError<PerformedDma> result;
  };
  // All that decides: IOMMU mode, masks, alignment, trust, mapping, TTM's policy, virtio's features, status.
  using Key = std::tuple<IommuMode, unsigned, unsigned, std::uint32_t, bool, explain::MapKind,
                         std::optional<TtmPolicy>, std::uint64_t, std::uint64_t, int>;

  const CheckSubject& subject_;
  std::vector<std::string>& notes_;
  std::map<IommuMode, explain::ExplainSession> sessions_;
  std::map<Key, Done> done_;
};

}  // namespace cbit::doctor
