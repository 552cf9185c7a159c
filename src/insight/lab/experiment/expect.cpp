#include "lab/experiment/expect.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "lab/experiment/devices.hpp"
#include "lab/experiment/steps.hpp"

namespace cbit::lab {
namespace {

const std::vector<ExpectKey>& all_checks() {
  static const std::vector<ExpectKey> all = [] {
    std::vector<ExpectKey> checks{byte_checks().begin(), byte_checks().end()};
    checks.insert(checks.end(), state_checks().begin(), state_checks().end());
    checks.insert(checks.end(), gpu_checks().begin(), gpu_checks().end());
    return checks;
  }();
  return all;
}

// The part of `parts` that [offset, offset + bytes) covers.
std::vector<Part> clipped(const std::vector<Part>& parts, Range range) {
  std::vector<Part> found;
  for (const Part& part : parts) {
    if (range.offset >= part.range.bytes) {
      range.offset -= part.range.bytes;
      continue;
    }
    const std::uint64_t bytes = std::min(range.bytes, part.range.bytes - range.offset);
    if (bytes == 0) break;
    found.push_back({part.buffer, {part.range.offset + range.offset, bytes}});
    range = {0, range.bytes - bytes};
  }
  return found;
}

OrError<void> add_bytes(const StepParser& step, Subject& subject) {
  std::vector<Part> whole;
  if (step.keys.has("mapping")) {
    subject.mapping = CBIT_TRY(step.mapping());
    const MappingName& name = step.names.mappings[*subject.mapping];
    subject.device = name.device;
    subject.mapped = whole = name.parts;
  } else if (step.keys.has("through")) {
    subject.lens.window = CBIT_TRY(step.window());
    subject.lens.buffer = step.names.windows[*subject.lens.window].buffer;
    whole = {{subject.lens.buffer, {0, step.names.buffers[subject.lens.buffer].bytes}}};
  } else if (step.keys.has("buffer")) {
    subject.lens.buffer = CBIT_TRY(step.buffer());
    whole = {{subject.lens.buffer, {0, step.names.buffers[subject.lens.buffer].bytes}}};
  } else {
    return {};
  }
  // Each expectation keeps its own list.
  constexpr std::uint64_t parts_max = 1'000'000;
  step.names.parts_looked_at += whole.size();
  if (step.names.parts_looked_at > parts_max)
    return step.keys.error("mapping",
                           fmt::format("the expectations look at more than {} segments in all", parts_max),
                           "look at mappings of fewer segments, or less often");
  std::uint64_t total = 0;
  for (const Part& part : whole) total += part.range.bytes;
  subject.range = CBIT_TRY(step.range(total));
  subject.parts = clipped(whole, subject.range);
  return {};
}

OrError<void> check_exclusive(const StepParser& step) {
  std::string_view first;
  for (const std::string_view key : {"mapping", "buffer", "through"}) {
    if (!step.keys.has(key)) continue;
    if (!first.empty())
      return step.keys.error(key, fmt::format("\"{}\" contradicts \"{}\"", key, first),
                             "look at one thing per step");
    first = key;
  }
  return {};
}

// What the check's subject lacks.
OrError<void> check_needs(const StepParser& step, const ExpectKey& check, Subject& subject) {
  switch (check.needs) {
    case Needs::nothing: return {};
    case Needs::bytes:
      if (!subject.parts.empty()) return {};
      return step.keys.error(check.key, fmt::format("\"{}\" of what?", check.key),
                             "add buffer, mapping or through = \"NAME\"");
    case Needs::mapping:
      if (subject.mapping) return {};
      return step.keys.error(check.key, fmt::format("\"{}\" of what?", check.key), "add mapping = \"NAME\"");
    case Needs::device:
      if (!subject.mapping || step.keys.has("device")) subject.device = CBIT_TRY(step.device(dma_kind));
      return {};
    case Needs::disk: subject.device = CBIT_TRY(step.device(virtio_blk_kind)); return {};
  }
  return {};
}

const std::vector<std::string_view>& expect_keys() {
  static const std::vector<std::string_view> keys = [] {
    std::vector<std::string_view> all{std::begin(subject_keys), std::end(subject_keys)};
    for (const ExpectKey& check : all_checks()) all.push_back(check.key);
    return all;
  }();
  return keys;
}

OrError<Action> parse_expect(StepParser& step) {
  CBIT_TRY(check_exclusive(step));
  Subject subject;
  subject.lens.cpu = CBIT_TRY(step.cpu());
  CBIT_TRY(add_bytes(step, subject));
  std::vector<Check> checks;
  for (const ExpectKey& check : all_checks()) {
    if (!step.keys.has(check.key)) continue;
    Subject own = subject;
    CBIT_TRY(check_needs(step, check, own));
    checks.push_back(CBIT_TRY(check.parse(step, own, check.key)));
  }
  if (checks.empty())
    return step.keys.error("do", "nothing is expected", "add a key such as cpu-sees = \"plaintext\"");
  return [checks](Run& run) -> StepResult {
    std::size_t good = 0;
    for (const Check& check : checks) {
      auto mismatch = check(run);
      if (mismatch)
        run.mismatch(*std::move(mismatch));
      else
        ++good;
    }
    return fmt::format("{} of {} as expected", good, checks.size());
  };
}

const std::vector<StepKind>& steps() {
  static const std::vector<StepKind> table{{"expect", expect_keys(), parse_expect}};
  return table;
}

}  // namespace

std::optional<Mismatch> compare(std::string_view what, std::string expected, std::string found) {
  if (expected == found) return std::nullopt;
  return Mismatch{std::string{what}, std::move(expected), std::move(found), {}};
}

std::span<const StepKind> expect_steps() { return steps(); }

const std::vector<StepKind>& step_kinds() {
  static const std::vector<StepKind> all = [] {
    std::vector<StepKind> kinds;
    for (const auto& table : {memory_steps(), dma_steps(), iova_steps(), device_steps(), host_steps(),
                              virtio_steps(), virtio_net_steps(), viommu_steps(), process_steps(),
                              mktme_steps(), rdma_steps(), gpu_steps(), sev_steps(), expect_steps()})
      kinds.insert(kinds.end(), table.begin(), table.end());
    return kinds;
  }();
  return all;
}

}  // namespace cbit::lab
