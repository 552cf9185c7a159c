#include "launch/findings_render.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/safe_text.hpp"
#include "launch/plan.hpp"
#include "launch/wrapped_text.hpp"

namespace cbit::launch {
namespace {

using Json = nlohmann::ordered_json;

constexpr Word<GuestLanguage> language_words[] = {
    {"qemu", GuestLanguage::qemu}, {"libvirt", GuestLanguage::libvirt}, {"kata", GuestLanguage::kata}};
constexpr std::size_t label_column = 2, text_column = 11;

void append_labelled(std::string& out, std::string_view label, std::string_view text) {
  if (text.empty()) return;
  std::string wrapped;
  append_wrapped(wrapped, text, text_column);
  out += fmt::format("{:{}}{:<{}}{}", "", label_column, label, text_column - label_column,
                     std::string_view{wrapped}.substr(text_column));
}

// Text to be copied stays on its lines.
void append_verbatim(std::string& out, std::string_view label, std::string_view text) {
  for (std::string_view rest = text; !rest.empty();) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    out += fmt::format("{:{}}{:<{}}{}\n", "", label_column, rest.size() == text.size() ? label : "",
                       text_column - label_column, rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
}

Json or_null(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

std::string count_text(std::span<const Finding> findings) {
  std::string text;
  for (const Severity severity : {Severity::error, Severity::warning, Severity::note}) {
    const auto count =
        std::ranges::count_if(findings, [&](const Finding& f) { return f.rule->severity == severity; });
    text +=
        fmt::format("{}{} {}{}", text.empty() ? "" : ", ", count, to_string(severity), count == 1 ? "" : "s");
  }
  return text;
}

}  // namespace

bool is_error(const Finding& finding) { return finding.rule->severity == Severity::error; }

std::string to_text(const CheckReport& report) {
  const auto& [config, findings, host, obstacle] = report;
  std::string out;
  std::set<const RuleInfo*> told;  // a rule's reason is said once
  for (const Finding& finding : findings) {
    const bool first = told.insert(finding.rule).second;
    out += fmt::format("{}: {}: {}\n", to_string(finding.rule->severity), finding.rule->name,
                       finding.rule->title);
    append_verbatim(out, "in", finding.where);
    append_labelled(out, "found", finding.detail);
    if (first) append_labelled(out, "why", finding.rule->why);
    if (first) append_labelled(out, "remedy", finding.remedy(config.language));
    append_verbatim(out, "write", finding.write);
    if (first) append_labelled(out, "source", finding.rule->source);
    out += '\n';
  }
  if (!obstacle.empty())
    out += fmt::format("host: judged for none, as this machine cannot start it: {}\n", safe_line(obstacle));
  out += fmt::format("protection: {}; {}\n", to_string(protection_of(config.command)), count_text(findings));
  return out;
}

Json finding_json(const Finding& finding, GuestLanguage language) {
  return {{"rule", finding.rule->name},         {"severity", to_string(finding.rule->severity)},
          {"title", finding.rule->title},       {"where", or_null(finding.where)},
          {"detail", or_null(finding.detail)},  {"why", finding.rule->why},
          {"remedy", finding.remedy(language)}, {"write", or_null(finding.write)},
          {"source", finding.rule->source}};
}

std::string to_json(const CheckReport& report) {
  const GuestConfig& config = report.config;
  Json json{{"schema", "cbit-launch-check-1"},
            {"language", word_of(language_words, config.language)},
            {"protection", word_of(protection_words, protection_of(config.command))}};
  json["host"] = {{"name", report.host}, {"obstacle", or_null(report.obstacle)}};
  json["findings"] = Json::array();
  for (const Finding& finding : report.findings)
    json["findings"].push_back(finding_json(finding, config.language));
  // What is quoted from the configuration are bytes; JSON is UTF-8.
  return json_text(json, 2) + '\n';
}

}  // namespace cbit::launch
