// `cbit doctor`: what this host is, whether its memory encryption works, and where each device's DMA goes.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "doctor/check.hpp"
#include "doctor/devices.hpp"

namespace cbit::doctor {

struct Diagnosis {
  facts::HostFacts host;
  System system;
  KernelVersion model{};  // the version that decided about the devices
  std::vector<CheckResult> checks;
  std::vector<DeviceReport> devices;
  std::vector<std::string> notes;
  std::vector<std::string> denied;  // what could not be read for want of rights

  // Checks and devices in that state.
  [[nodiscard]] std::size_t count(CheckState state) const;
  [[nodiscard]] bool failed() const { return count(CheckState::fail) != 0; }
  // What to do about a cause here: the operator has asked.
  [[nodiscard]] std::vector<watch::Remedy> remedies(const watch::CauseInfo& cause,
                                                    std::string_view driver = {}) const;
};

// `tree` records from now on. Where the facts contradict each other so that there is no such machine, a note
// says so and no device is judged.
[[nodiscard]] Diagnosis diagnose(facts::HostTree& tree);

struct DoctorStyle {
  bool colour = false;
  bool verbose = false;  // evidence of what passed too, and devices that do no DMA
};
[[nodiscard]] std::string to_text(const Diagnosis& diagnosis, const DoctorStyle& style);
// The object of schema/doctor.schema.json, pretty-printed with a final newline.
[[nodiscard]] std::string to_json(const Diagnosis& diagnosis);

}  // namespace cbit::doctor
