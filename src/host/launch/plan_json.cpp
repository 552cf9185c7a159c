#include <nlohmann/json.hpp>

#include "base/safe_text.hpp"
#include "launch/findings_render.hpp"
#include "launch/plan_render.hpp"

namespace cbit::launch {
namespace {

using Json = nlohmann::ordered_json;

Json reason_json(const Reason& reason) {
  if (reason.why.empty()) return nullptr;
  return {{"why", reason.why}, {"source", reason.source}};
}

Json option_json(const PlannedOption& option) {
  Json properties = Json::array();
  for (const PlannedProperty& property : option.properties)
    properties.push_back(
        {{"key", property.key}, {"value", property.value}, {"reason", reason_json(property.reason)}});
  Json json{
      {"option", option.name}, {"words", to_words(option_of(option))}, {"properties", std::move(properties)}};
  json["text"] = option.text.empty() ? Json(nullptr) : Json(option.text);
  json["reason"] = reason_json(option.reason);
  return json;
}

Json candidate_json(const Candidate& candidate) {
  Json json{{"protection", word_of(protection_words, candidate.protection)}, {"usable", candidate.usable}};
  if (!candidate.usable) json["why_not"] = candidate.why_not;
  if (!candidate.remedy.empty()) json["remedy"] = candidate.remedy;
  return json;
}

template <class T>
Json list(const std::vector<T>& values, Json (*to)(const T&)) {
  Json json = Json::array();
  for (const T& value : values) json.push_back(to(value));
  return json;
}

}  // namespace

std::string to_json(const LaunchPlan& plan, const std::vector<Finding>& findings) {
  Json json{{"schema", "cbit-launch-1"}, {"protection", word_of(protection_words, plan.protection)}};
  json["candidates"] = list(plan.candidates, candidate_json);
  json["qemu"] = {{"program", plan.program},
                  {"version", std::to_string(plan.qemu.release) + '.' + std::to_string(plan.qemu.update)}};
  json["words"] = to_words(command_of(plan));
  json["options"] = list(plan.options, option_json);
  json["findings"] = Json::array();
  for (const Finding& finding : findings)
    json["findings"].push_back(finding_json(finding, GuestLanguage::qemu));
  json["risks"] = plan.risks;
  json["remarks"] = plan.remarks;
  // File names are bytes; JSON is UTF-8.
  return json_text(json, 2) + '\n';
}

}  // namespace cbit::launch
