// What a run found, as text and as JSON.
#include "watch/report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/safe_text.hpp"
#include "lab/experiment.hpp"
#include "lab/experiment/expect.hpp"
#include "watch/export/cause_json.hpp"

namespace cbit::lab {
namespace {

constexpr std::size_t row_bytes = 16;
constexpr std::size_t rows_max = 8;

std::string row_text(ConstByteSpan bytes) {
  std::string ascii;
  for (const std::byte b : bytes) {
    const auto c = std::to_integer<unsigned char>(b);
    ascii += c >= 0x20 && c < 0x7f ? static_cast<char>(c) : '.';
  }
  return fmt::format("{:<32} {:<16}", to_hex(bytes), ascii);
}

}  // namespace

std::string hex_diff(ConstByteSpan expected, ConstByteSpan found, std::uint64_t offset) {
  const std::size_t size = std::max(expected.size(), found.size());
  const auto row_at = [](ConstByteSpan bytes, std::size_t at) {
    return bytes.subspan(std::min(at, bytes.size()),
                         std::min(row_bytes, bytes.size() - std::min(at, bytes.size())));
  };
  std::string text = fmt::format("{:>8}  {:<49}  {}\n", "offset", "expected", "found");
  std::size_t rows = 0, differ = 0;
  for (std::size_t at = 0; at < size; at += row_bytes) {
    const ConstByteSpan left = row_at(expected, at), right = row_at(found, at);
    if (std::ranges::equal(left, right)) continue;
    for (std::size_t i = 0; i < std::max(left.size(), right.size()); ++i)
      differ += i >= left.size() || i >= right.size() || left[i] != right[i] ? 1 : 0;
    if (rows++ < rows_max)
      text += fmt::format("{:#8x}  {}  {}\n", offset + at, row_text(left), row_text(right));
  }
  if (rows > rows_max) text += fmt::format("{:>8}  {} more rows differ\n", "...", rows - rows_max);
  return text + fmt::format("{:>8}  {} of {} bytes differ\n", "", differ, size);
}

namespace {

using Json = nlohmann::ordered_json;

std::string indented(std::string_view text, std::string_view by) {
  std::string result;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    result += fmt::format("{}{}\n", by, line);
    text.remove_prefix(std::min(text.size(), line.size() + 1));
  }
  return result;
}

std::string failure_text(const Experiment& experiment, const ExperimentFailure& failure) {
  const std::string where =
      fmt::format("{}:{}:{}", experiment.name, failure.place.line, failure.place.column);
  const std::string what =
      failure.step ? fmt::format("step {} ({})", *failure.step + 1, experiment.steps[*failure.step].kind)
                   : std::string{"the end"};
  const Mismatch& mismatch = failure.mismatch;
  std::string text = fmt::format("{}: {}: {}\n  expected: {}\n  found:    {}\n", where, what, mismatch.what,
                                 mismatch.expected, mismatch.found);
  return text + indented(mismatch.dump, "  ");
}

Json steps_json(const Experiment& experiment, const ExperimentResult& result) {
  Json list = Json::array();
  for (std::size_t i = 0; i < result.steps.size(); ++i)
    list.push_back({{"line", experiment.steps[i].place.line},
                    {"do", experiment.steps[i].kind},
                    {"result", result.steps[i]}});
  return list;
}

Json failures_json(const ExperimentResult& result) {
  Json list = Json::array();
  for (const ExperimentFailure& failure : result.failures)
    list.push_back({{"step", failure.step ? Json(*failure.step + 1) : Json(nullptr)},
                    {"line", failure.place.line},
                    {"column", failure.place.column},
                    {"what", failure.mismatch.what},
                    {"expected", failure.mismatch.expected},
                    {"found", failure.mismatch.found},
                    {"dump", failure.mismatch.dump}});
  return list;
}

Json report_json(const ExperimentReport& report) {
  Json json;
  json["name"] = report.name;
  json["verdict"] = report.result == nullptr ? "not-run" : report.result->passed() ? "passed" : "failed";
  json["title"] = report.experiment != nullptr ? Json(report.experiment->title) : Json(nullptr);
  json["source"] = report.experiment != nullptr ? Json(report.experiment->source) : Json(nullptr);
  json["error"] = nullptr;
  if (report.error) json["error"] = {{"message", report.error->message}, {"hint", report.error->hint}};
  const bool ran = report.experiment != nullptr && report.result != nullptr;
  json["steps"] = ran ? steps_json(*report.experiment, *report.result) : Json::array();
  json["failures"] = ran ? failures_json(*report.result) : Json::array();
  json["causes"] = ran ? watch::causes_json(report.result->causes) : Json::array();
  json["kernel_log"] = ran ? Json(report.result->kernel_log) : Json::array();
  return json;
}

}  // namespace

std::string failures_text(const Experiment& experiment, const ExperimentResult& result) {
  std::string text;
  for (const ExperimentFailure& failure : result.failures) text += failure_text(experiment, failure);
  if (!text.empty() && !result.causes.empty())
    text += "What the explainer found\n" + watch::render_causes(result.causes, watch::ReportStyle{});
  return text;
}

std::string steps_text(const Experiment& experiment, const ExperimentResult& result) {
  std::string text;
  for (std::size_t i = 0; i < result.steps.size(); ++i)
    text += fmt::format("{:>5}  {:<16}  {}\n", experiment.steps[i].place.line, experiment.steps[i].kind,
                        result.steps[i]);
  return text;
}

std::string to_json(std::span<const ExperimentReport> reports) {
  std::size_t passed = 0, failed = 0, not_run = 0;
  Json list = Json::array();
  for (const ExperimentReport& report : reports) {
    (report.result == nullptr ? not_run : report.result->passed() ? passed : failed)++;
    list.push_back(report_json(report));
  }
  const Json document{{"schema", "cbit-lab-1"},
                      {"passed", passed},
                      {"failed", failed},
                      {"not_run", not_run},
                      {"experiments", std::move(list)}};
  // Names come from files, which may hold anything.
  return json_text(document, 2) + '\n';
}

std::string list_json(std::span<const Experiment> experiments) {
  Json list = Json::array();
  for (const Experiment& one : experiments)
    list.push_back({{"name", one.name}, {"title", one.title}, {"source", one.source}});
  return json_text(Json{{"schema", "cbit-lab-list-1"}, {"experiments", std::move(list)}}, 2) + '\n';
}

}  // namespace cbit::lab
