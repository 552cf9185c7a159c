#include "watch/export/cause_json.hpp"

#include <nlohmann/json.hpp>

namespace cbit::watch {

nlohmann::ordered_json causes_json(const std::vector<Cause>& causes) {
  using Json = nlohmann::ordered_json;
  Json list = Json::array();
  for (const Cause& cause : causes) {
    Json evidence = Json::array();
    for (const Evidence& one : cause.evidence) evidence.push_back({{"label", one.label}, {"text", one.text}});
    list.push_back({{"name", cause.info->name},
                    {"title", cause.info->title},
                    {"device", cause.device},
                    {"kernel_message", cause.kernel_message},
                    {"evidence", std::move(evidence)},
                    {"remedy", cause.remedy},
                    {"source", cause.info->source},
                    {"count", cause.count}});
  }
  return list;
}

}  // namespace cbit::watch
