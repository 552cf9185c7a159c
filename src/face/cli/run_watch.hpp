// What `cbit run` watches for, and tells at the end: --report, --report-json, --html, --secret, --fail-on,
// --trace; and the kernel's symbols, for it and for --gdb-symbols.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/arguments.hpp"
#include "cli/command.hpp"
#include "cli/run_request.hpp"
#include "cli/trace_file.hpp"
#include "guest/monitor/known_kernel.hpp"
#include "guest/run.hpp"
#include "guest/watcher.hpp"
#include "os/output_file.hpp"

namespace cbit::cli {

class RunWatch {
 public:
  // Before there is a machine. Errors: files that cannot be written; a pattern that no cause has (usage); a
  // kernel without symbols (input).
  static OrError<std::unique_ptr<RunWatch>> open(const Arguments& arguments, const RunRequest& request);

  void attach(guest::Pc& pc, guest::RunOptions& options);
  // While the machine runs; nullptr: nobody watches.
  [[nodiscard]] const guest::KernelKnowledge* knowledge() const {
    if (watcher_) return &*watcher_;
    return known_ ? &*known_ : nullptr;
  }
  // The report, before the machine ends. The exit code that --fail-on asks for, if it does.
  OrError<std::optional<ExitCode>> finish(Streams& streams);
  // Before the machine goes, also where there is no report.
  void detach();

 private:
  RunWatch() = default;

  bool text_ = false;
  std::vector<std::string> secrets_;
  std::vector<std::string> fail_on_;
  std::optional<os::OutputFile> json_;
  std::optional<os::OutputFile> html_;
  std::optional<TraceFile> trace_;
  bool watches_ = false;
  std::unique_ptr<linux::Kernel> kernel_;  // nullptr: nobody wants to know it
  guest::Pc* pc_ = nullptr;
  std::optional<guest::Watcher> watcher_;
  std::optional<guest::KnownKernel> known_;
};

}  // namespace cbit::cli
