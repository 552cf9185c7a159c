#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/safe_text.hpp"
#include "doctor/doctor.hpp"
#include "watch/export/cause_json.hpp"

namespace cbit::doctor {
namespace {

using Json = nlohmann::ordered_json;

template <class T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

template <class T>
Json or_null(const facts::Read<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json evidence_json(const std::vector<HostEvidence>& evidence) {
  Json list = Json::array();
  for (const HostEvidence& one : evidence) list.push_back({{"source", one.source}, {"text", one.text}});
  return list;
}

Json names_json(const std::vector<const watch::CauseInfo*>& causes) {
  Json list = Json::array();
  for (const watch::CauseInfo* const cause : causes) list.push_back(cause->name);
  return list;
}

Json system_json(const Diagnosis& diagnosis) {
  const facts::HostFacts& host = diagnosis.host;
  const System& system = diagnosis.system;
  return {{"platform", to_string(system.platform)},
          {"virtual_machine", system.virtual_machine},
          {"hypervisor", system.hypervisor},
          {"paravisor", system.paravisor},
          {"c_bit", system.c_bit == 0 ? Json(nullptr) : Json(system.c_bit)},
          {"evidence", evidence_json(system.evidence)},
          {"processor", host.cpu.info ? host.cpu.info->model : ""},
          {"cpus", host.cpu.cpus},
          {"memory", or_null(host.memory.ram())},
          {"kernel", or_null(host.kernel.release_text)},
          {"product", host.product}};
}

Json pool_json(const Diagnosis& diagnosis) {
  const facts::PoolCounters& pool = diagnosis.host.pool;
  const auto wanted = checks::expected_pool({diagnosis.host, diagnosis.system});
  return {{"slots", or_null(pool.nslabs)},
          {"used", or_null(pool.used)},
          {"used_hiwater", or_null(pool.hiwater)},
          {"slots_expected", wanted ? Json(wanted->slots) : Json(nullptr)}};
}

Json checks_json(const Diagnosis& diagnosis) {
  Json list = Json::array();
  for (const CheckResult& check : diagnosis.checks)
    list.push_back({{"id", check.spec->id},
                    {"parent", check.spec->parent.empty() ? Json(nullptr) : Json(check.spec->parent)},
                    {"title", check.spec->title},
                    {"state", word_of(check_state_words, check.outcome.state)},
                    {"says", check.outcome.says},
                    {"evidence", evidence_json(check.outcome.evidence)},
                    {"causes", names_json(check.outcome.causes)},
                    {"remedy", check.outcome.remedy}});
  return list;
}

Json uses_json(const std::vector<DmaUse>& uses) {
  Json list = Json::array();
  for (const DmaUse& use : uses)
    list.push_back({{"map", to_string(use.map)},
                    {"way", way_of(use)},
                    {"path", to_string(use.path)},
                    {"encryption_bit", use.encryption_bit},
                    {"bounced", use.bounced},
                    {"verdict", to_string(use.verdict)}});
  return list;
}

Json logged_json(const std::vector<watch::LogCause>& logged) {
  Json list = Json::array();
  for (const watch::LogCause& one : logged)
    list.push_back({{"causes", names_json(one.causes)},
                    {"count", one.count},
                    {"largest_bytes", one.largest_bytes},
                    {"kernel_message", one.first.text},
                    {"remedy", one.remedy}});
  return list;
}

Json devices_json(const Diagnosis& diagnosis) {
  Json list = Json::array();
  for (const DeviceReport& device : diagnosis.devices)
    list.push_back({{"name", device.name},
                    {"what", device.what},
                    {"driver", device.driver},
                    {"mask_bits", or_null(device.mask_bits)},
                    {"coherent_mask_bits", or_null(device.coherent_mask_bits)},
                    {"iommu", to_string(device.iommu)},
                    {"state", word_of(check_state_words, device.state)},
                    {"uses", uses_json(device.uses)},
                    {"largest_mapping", device.uses.empty() || device.largest_mapping == ~std::uint64_t{0}
                                            ? Json(nullptr)
                                            : Json(device.largest_mapping)},
                    {"notes", device.notes},
                    {"causes", watch::causes_json(device.causes)},
                    {"logged", logged_json(device.logged)}});
  return list;
}

}  // namespace

std::string to_json(const Diagnosis& diagnosis) {
  Json json;
  json["schema"] = "cbit-doctor-1";
  json["system"] = system_json(diagnosis);
  json["model"] = to_string(diagnosis.model);
  json["pool"] = pool_json(diagnosis);
  json["checks"] = checks_json(diagnosis);
  json["devices"] = devices_json(diagnosis);
  json["notes"] = diagnosis.notes;
  json["denied"] = diagnosis.denied;
  json["passed"] = diagnosis.count(CheckState::pass);
  json["warnings"] = diagnosis.count(CheckState::warn);
  json["failed"] = diagnosis.count(CheckState::fail);
  json["skipped"] = diagnosis.count(CheckState::skip);
  return json_text(json, 2) + '\n';
}

}  // namespace cbit::doctor
