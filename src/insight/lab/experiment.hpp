// `cbit lab`: experiments from TOML files (docs/lab-format.md). A file describes a machine, devices and
// steps; what is expected is a step among the others. A run gives a verdict with evidence.
//
// load_experiment() checks everything that can be known without running: keys, types, names, ranges.
// run_experiment() builds the machine and performs the steps. Nothing here prints.
//
// Threading: experiments are immutable and may run in parallel, each on a machine of its own.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lab/experiment/toml.hpp"
#include "testbed/testbed.hpp"

namespace cbit::lab {

class Run;

// Why a step could not do what it says, in Linux's words where it has some: "DMA_MAPPING_ERROR: pool-full".
struct StepTrouble {
  std::string reason;
};
// What the step did, in words.
using StepResult = Result<std::string, StepTrouble>;
using Action = std::function<StepResult(Run&)>;

struct ExperimentStep {
  Place place;
  std::string kind;  // "map"
  Action action;
  // Set: the step must fail, and the reason contains this text.
  std::optional<std::string> fails;
};

// A [[device]]: its kind's own description is in `install`, which makes it when the machine is there.
struct ExperimentDevice {
  std::string name;
  std::string_view kind;  // DeviceKind
  Place place;
  std::uint64_t disk_bytes = 0;  // of a kind that has a disk
  std::function<OrError<void>(Run&, std::size_t id)> install;
};

// What steps make under a name.
struct ExperimentBuffer {
  std::string name;
  std::uint64_t bytes = 0;
};
struct ExperimentMapping {
  std::string name;
  std::size_t device = 0;
};

struct Experiment {
  std::string name;  // of the file, as errors cite it
  std::string title;
  std::string source;
  std::string description;
  Place machine_place;
  testbed::TestbedConfig bed;
  std::vector<ExperimentDevice> devices;
  std::vector<ExperimentStep> steps;
  std::vector<ExperimentBuffer> buffers;  // by their numbers in a run, as the next
  std::vector<ExperimentMapping> mappings;
  // The causes that the explainer has found at the end, all of them; nullopt: nothing is expected of them.
  std::optional<std::vector<std::string>> causes;
  Place causes_place;
};

// What a file may ask for.
struct ExperimentLimits {
  std::size_t steps = 10'000;
  std::size_t devices = 64;
  std::uint64_t bytes = 64ull << 20;  // of all buffers together, and of one transfer
};

// `name` stands in messages. Error::message is "FILE:LINE:COLUMN: ...", the code is bad_input.
[[nodiscard]] OrError<Experiment> load_experiment(std::string_view text, std::string name,
                                                  const ExperimentLimits& limits = {});

// One thing that was not as expected.
struct Mismatch {
  std::string what;  // "cpu-sees of buffer \"b\""
  std::string expected;
  std::string found;
  std::string dump;  // bytes side by side; may be empty
};

struct ExperimentFailure {
  std::optional<std::size_t> step;  // index; nullopt: at the end
  Place place;
  Mismatch mismatch;
};

struct ExperimentResult {
  std::vector<std::string> steps;  // what each did, as far as the run came
  std::vector<ExperimentFailure> failures;
  std::vector<watch::Cause> causes;
  std::vector<StepTaken> decisions;
  std::vector<std::string> kernel_log;

  [[nodiscard]] bool passed() const { return failures.empty(); }
};

// `sink`, where given, gets all events of the run, boot included. Errors: a machine or a device that cannot
// be.
[[nodiscard]] OrError<ExperimentResult> run_experiment(const Experiment& experiment,
                                                       EventSink* sink = nullptr);

// Failures with diffs, and the causes with their remedies. Empty when the experiment passed.
[[nodiscard]] std::string failures_text(const Experiment& experiment, const ExperimentResult& result);
// One line per step.
[[nodiscard]] std::string steps_text(const Experiment& experiment, const ExperimentResult& result);

// One run of several files, for JSON. `error` is set when the file could not be run.
struct ExperimentReport {
  std::string name;
  const Experiment* experiment = nullptr;
  const ExperimentResult* result = nullptr;
  std::optional<Error> error;
};
// The object of schema/lab.schema.json, pretty-printed with a final newline.
[[nodiscard]] std::string to_json(std::span<const ExperimentReport> reports);

// The object of schema/lab-list.schema.json, pretty-printed with a final newline.
[[nodiscard]] std::string list_json(std::span<const Experiment> experiments);

// The files of tests/lab, by name.
struct BuiltinExperiment {
  std::string_view name;  // without ".toml"
  std::string_view text;
};
[[nodiscard]] std::span<const BuiltinExperiment> builtin_experiments();

}  // namespace cbit::lab
