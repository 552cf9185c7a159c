#include "doctor/doctor.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.hpp"
#include "doctor/model_note.hpp"

namespace cbit::doctor {
namespace {

std::vector<std::string> denied_paths(const facts::HostRecord& record) {
  std::vector<std::string> paths;
  const auto add = [&](const auto& entries) {
    for (const auto& [path, read] : entries)
      if (!read && read.error() == facts::Unread::denied) paths.push_back(path);
  };
  add(record.files);
  add(record.links);
  add(record.folders);
  for (const auto& [path, state] : record.devices)
    if (state == facts::DeviceState::denied) paths.push_back(path);
  if (record.kernel_log && !*record.kernel_log && record.kernel_log->error() == facts::Unread::denied)
    paths.emplace_back(facts::kmsg_device);
  if (std::ranges::any_of(record.msrs, [](const auto& msr) {
        return !msr.second && msr.second.error() == facts::Unread::denied;
      }))
    paths.emplace_back(facts::msr_device);
  for (std::string& path : paths) path = printable(path);
  std::ranges::sort(paths);
  const auto repeated = std::ranges::unique(paths);
  paths.erase(repeated.begin(), repeated.end());
  return paths;
}

}  // namespace

std::size_t Diagnosis::count(CheckState state) const {
  const auto of_checks =
      std::ranges::count_if(checks, [&](const CheckResult& check) { return check.outcome.state == state; });
  const auto of_devices = std::ranges::count(devices, state, &DeviceReport::state);
  return static_cast<std::size_t>(of_checks + of_devices);
}

std::vector<watch::Remedy> Diagnosis::remedies(const watch::CauseInfo& cause, std::string_view driver) const {
  return watch::remedies_for(
      cause.remedies,
      {.reader = watch::Reader::system_operator, .kernel = host.kernel.release, .driver = driver});
}

Diagnosis diagnose(facts::HostTree& tree) {
  tree.start_recording();
  Diagnosis diagnosis{.host = facts::read_host(tree)};
  diagnosis.system = identify(diagnosis.host);
  diagnosis.model = spec::nearest_version(diagnosis.host.kernel.release);
  const CheckSubject subject{diagnosis.host, diagnosis.system};
  diagnosis.checks = run_checks(subject);
  if (auto devices = report_devices(subject, diagnosis.notes))
    diagnosis.devices = std::move(*devices);
  else
    diagnosis.notes.push_back("the devices are not judged, because there is no such machine: " +
                              devices.error().message);
  if (auto note = model_note(diagnosis.host.kernel.release); note && !diagnosis.host.only_log)
    diagnosis.notes.push_back(std::move(*note));
  diagnosis.denied = denied_paths(tree.record());
  const bool memory_hidden =
      !diagnosis.host.memory.ranges && diagnosis.host.memory.ranges.error() == facts::Unread::denied;
  if (memory_hidden)
    diagnosis.notes.emplace_back("/proc/iomem hides its addresses: MemTotal is taken for the memory");
  return diagnosis;
}

}  // namespace cbit::doctor
