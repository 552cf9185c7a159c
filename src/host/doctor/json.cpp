#include <fmt/format.h>

#include <algorithm>
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

// What to do about the causes, each with its own.
Json remedies_json(const Diagnosis& diagnosis, const std::vector<const watch::CauseInfo*>& causes,
                   std::string_view driver = {}) {
  Json list = Json::array();
  for (const watch::CauseInfo* const cause : causes)
    for (const watch::Remedy& one : diagnosis.remedies(*cause, driver))
      list.push_back(
          {{"cause", cause->name}, {"reader", word_of(watch::reader_words, one.reader)}, {"text", one.text}});
  return list;
}

std::string first_text(const Json& remedies) {
  return remedies.empty() ? std::string{} : remedies.front()["text"].get<std::string>();
}

Json logged_json(const Diagnosis& diagnosis, const std::vector<watch::LogCause>& logged) {
  Json list = Json::array();
  for (const watch::LogCause& one : logged) {
    Json remedies = remedies_json(diagnosis, one.causes, one.driver);
    std::string first = first_text(remedies);
    list.push_back({{"causes", names_json(one.causes)},
                    {"device", one.device},
                    {"count", one.count},
                    {"largest_bytes", one.largest_bytes},
                    {"kernel_message", one.first.text},
                    {"remedy", std::move(first)},
                    {"remedies", std::move(remedies)}});
  }
  return list;
}

Json system_json(const Diagnosis& diagnosis) {
  const facts::HostFacts& host = diagnosis.host;
  const System& system = diagnosis.system;
  return {{"platform", to_string(system.platform)},
          {"virtual_machine", system.virtual_machine},
          {"hypervisor", system.hypervisor},
          {"paravisor", system.paravisor},
          {"unjudged", system.unjudged.empty() ? Json(nullptr) : Json(system.unjudged)},
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

Json check_json(const Diagnosis& diagnosis, const CheckResult& check) {
  const Outcome& outcome = check.outcome;
  std::vector<const watch::CauseInfo*> causes = outcome.causes;
  for (const watch::LogCause& one : outcome.logged)
    for (const watch::CauseInfo* const cause : one.causes)
      if (std::ranges::find(causes, cause) == causes.end()) causes.push_back(cause);
  Json remedies = remedies_json(diagnosis, outcome.causes);
  Json logged = logged_json(diagnosis, outcome.logged);
  const std::string first = !outcome.remedy.empty() ? outcome.remedy
                            : !remedies.empty()     ? first_text(remedies)
                            : !logged.empty()       ? logged.front()["remedy"].get<std::string>()
                                                    : std::string{};
  return {{"id", check.spec->id},
          {"parent", check.spec->parent.empty() ? Json(nullptr) : Json(check.spec->parent)},
          {"title", check.spec->title},
          {"state", word_of(check_state_words, outcome.state)},
          {"says", outcome.says},
          {"evidence", evidence_json(outcome.evidence)},
          {"causes", names_json(causes)},
          {"remedy", first},
          {"remedies", std::move(remedies)},
          {"logged", std::move(logged)}};
}

Json checks_json(const Diagnosis& diagnosis) {
  Json list = Json::array();
  for (const CheckResult& check : diagnosis.checks) list.push_back(check_json(diagnosis, check));
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

// As everywhere, but with what the operator can do first, and for this device.
Json causes_json(const Diagnosis& diagnosis, const DeviceReport& device) {
  std::vector<watch::Cause> causes = device.causes;
  for (watch::Cause& cause : causes) cause.remedies = diagnosis.remedies(*cause.info, device.made_for);
  return watch::causes_json(causes);
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
                    {"causes", causes_json(diagnosis, device)},
                    {"logged", logged_json(diagnosis, device.logged)}});
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
