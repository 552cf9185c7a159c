#include "cli/lab_command.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <ostream>

#include "base/safe_text.hpp"
#include "base/text.hpp"
#include "cli/lab_file.hpp"
#include "cli/trace_file.hpp"
#include "lab/experiment.hpp"
#include "layout/table.hpp"

namespace cbit::cli {
namespace {

constexpr OptionSpec run_options[] = {
    {"--json", "", "Print the object of schema/lab.schema.json", ""},
    {"--verbose", "", "Print what each step did", ""},
    trace_option,
    trace_format_option,
    trace_events_option,
};

constexpr std::string_view run_examples[] = {
    "cbit lab run",
    "cbit lab run outcome-18-sev-partial-device-write --verbose",
    "cbit lab run my-driver.toml --trace my-driver.json",
    "cbit lab run tests/lab",
};
constexpr OptionSpec list_options[] = {{"--json", "", "Print the object of schema/lab-list.schema.json", ""}};
constexpr std::string_view list_examples[] = {"cbit lab list", "cbit lab list --json"};
constexpr std::string_view show_examples[] = {
    "cbit lab show outcome-18-sev-partial-device-write > my-driver.toml"};

// One word of the command line, with what became of it.
struct Job {
  std::string name;
  std::optional<lab::Experiment> experiment;
  std::optional<lab::ExperimentResult> result;
  std::optional<Error> error;
};

OrError<void> load_and_run(Job& job, EventSink* sink) {
  job.experiment = CBIT_TRY(load_lab_file(job.name));
  job.result = CBIT_TRY(lab::run_experiment(*job.experiment, sink));
  return {};
}

void print(const Job& job, bool verbose, Streams& streams) {
  if (job.error) {
    print_error(*job.error, streams.err);
    return;
  }
  streams.out << fmt::format("{}  {}: {}\n", job.result->passed() ? "passed" : "FAILED", safe_line(job.name),
                             job.experiment->title);
  if (verbose) streams.out << lab::steps_text(*job.experiment, *job.result);
  streams.out << lab::failures_text(*job.experiment, *job.result);
}

void print_summary(const std::deque<Job>& jobs, Streams& streams) {
  const auto passed =
      std::ranges::count_if(jobs, [](const Job& job) { return job.result && job.result->passed(); });
  const auto not_run = std::ranges::count_if(jobs, [](const Job& job) { return job.error.has_value(); });
  const auto failed = std::ssize(jobs) - passed - not_run;
  streams.out << fmt::format("{} passed, {} failed", passed, failed);
  if (not_run != 0) streams.out << fmt::format(", {} not run", not_run);
  streams.out << '\n';
}

std::string json_of(const std::deque<Job>& jobs) {
  std::vector<lab::ExperimentReport> reports;
  for (const Job& job : jobs)
    reports.push_back({job.name, job.experiment ? &*job.experiment : nullptr,
                       job.result ? &*job.result : nullptr, job.error});
  return lab::to_json(reports);
}

// A file that cannot be run is worse than one whose expectations do not come true.
ExitCode exit_code_of(const std::deque<Job>& jobs) {
  ExitCode code = ExitCode::ok;
  for (const Job& job : jobs) {
    if (job.error) return job.error->code;
    if (!job.result->passed()) code = ExitCode::check_failed;
  }
  return code;
}

OrError<ExitCode> run_lab(const Arguments& arguments, Streams& streams) {
  std::vector<std::string> names = CBIT_TRY(experiments_of(arguments.positional));
  auto trace = CBIT_TRY(TraceFile::open(arguments));
  if (trace && names.size() != 1)
    return usage_error("--trace is for one experiment", "name one file, or run without --trace");
  const bool json = arguments.has("--json");

  std::deque<Job> jobs;
  for (std::string& name : names) {
    Job& job = jobs.emplace_back(Job{.name = std::move(name)});
    if (const auto done = load_and_run(job, trace ? &trace->sink() : nullptr); !done)
      job.error = done.error();
    if (!json) print(job, arguments.has("--verbose"), streams);
  }
  // An experiment that did not run has no trace, and takes no older one's place.
  if (trace && !jobs.front().error) CBIT_TRY(trace->commit());
  if (json)
    streams.out << json_of(jobs);
  else
    print_summary(jobs, streams);
  return exit_code_of(jobs);
}

OrError<ExitCode> list_lab(const Arguments& arguments, Streams& streams) {
  std::vector<lab::Experiment> experiments;
  for (const lab::BuiltinExperiment& builtin : lab::builtin_experiments())
    experiments.push_back(CBIT_TRY(lab::load_experiment(builtin.text, std::string{builtin.name})));
  if (arguments.has("--json")) {
    streams.out << lab::list_json(experiments);
    return ExitCode::ok;
  }
  layout::Table list{.columns = {{}, {}}};
  for (const lab::Experiment& experiment : experiments)
    list.rows.push_back({experiment.name, experiment.title});
  streams.out << layout::render(list, streams.columns);
  return ExitCode::ok;
}

OrError<ExitCode> show_lab(const Arguments& arguments, Streams& streams) {
  const lab::BuiltinExperiment* const builtin = find_builtin(arguments.positional.front());
  if (builtin == nullptr)
    return usage_error(
        fmt::format("there is no experiment \"{}\"", arguments.positional.front()),
        did_you_mean(arguments.positional.front(), builtin_names(), "cbit lab list prints the names"));
  streams.out << builtin->text;
  return ExitCode::ok;
}

}  // namespace

const CommandSpec lab_run_command{
    "lab run",
    "Run experiments from TOML files and compare what happens with what they expect",
    "Each file describes a machine, devices and steps; expectations are steps (docs/lab-format.md). A failed "
    "one is printed with its line, what was found instead, and the causes with their remedies. Ends with 0 "
    "when all passed, 1 when an expectation failed, 65 when a file cannot be run.",
    run_options,
    {"FILE",
     "A lab file, a folder of them (*.toml), or the name of an experiment that comes with cbit; all of those "
     "when nothing is given",
     false, true, true, builtin_names},
    run_examples,
    run_lab,
};

const CommandSpec lab_list_command{
    "lab list",
    "List the experiments that come with cbit",
    "Prints name and title of each.",
    list_options,
    {},
    list_examples,
    list_lab,
};

const CommandSpec lab_show_command{
    "lab show",
    "Print an experiment that comes with cbit",
    "Prints the file, as a start for one's own.",
    {},
    {"NAME", "A name that cbit lab list prints", true, false, false, builtin_names},
    show_examples,
    show_lab,
};

}  // namespace cbit::cli
