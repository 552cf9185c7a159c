#include "watch/export/cause_json.hpp"

#include <nlohmann/json.hpp>

#include "base/format.hpp"
#include "base/safe_text.hpp"

namespace cbit::watch {

nlohmann::ordered_json causes_json(const std::vector<Cause>& causes) {
  using Json = nlohmann::ordered_json;
  Json list = Json::array();
  for (const Cause& cause : causes) {
    Json evidence = Json::array();
    for (const Evidence& one : cause.evidence) evidence.push_back({{"label", one.label}, {"text", one.text}});
    Json remedies = Json::array();
    for (const Remedy& one : cause.remedies)
      remedies.push_back({{"reader", word_of(reader_words, one.reader)}, {"text", one.text}});
    list.push_back({{"name", cause.info->name},
                    {"title", cause.info->title},
                    {"device", cause.device},
                    {"kernel_message", cause.kernel_message},
                    {"evidence", std::move(evidence)},
                    {"remedy", cause.remedies.front().text},
                    {"remedies", std::move(remedies)},
                    {"source", cause.info->source},
                    {"count", cause.count}});
  }
  return list;
}

std::string catalogue_json(const CausesOfWords& found) {
  using Json = nlohmann::ordered_json;
  const auto release = [](const std::optional<spec::KernelRelease>& bound) {
    return bound ? Json(fmt::format("{}.{}", bound->major, bound->minor)) : Json(nullptr);
  };
  Json causes = Json::array();
  for (const CauseInfo* const info : found.causes) {
    Json remedies = Json::array();
    for (const Remedy& one : info->remedies)
      remedies.push_back({{"reader", word_of(reader_words, one.reader)},
                          {"text", one.text},
                          {"since", release(one.first)},
                          {"before", release(one.end)},
                          {"driver", one.driver.empty() ? Json(nullptr) : Json(one.driver)}});
    causes.push_back({{"name", info->name},
                      {"topic", info->topic},
                      {"title", info->title},
                      {"meaning", info->meaning},
                      {"remedies", std::move(remedies)},
                      {"linux_says", messages_of(*info)},
                      {"source", info->source}});
  }
  const Json json{{"schema", "cbit-causes-1"}, {"decided", found.decided}, {"causes", std::move(causes)}};
  return json_text(json, 2) + '\n';
}

}  // namespace cbit::watch
