// What attacks the guest while it runs, and what is told of it: --hostile, --hostile-script, --hostile-log.
#pragma once

#include <memory>
#include <optional>
#include <ostream>

#include "cli/arguments.hpp"
#include "guest/hostile.hpp"
#include "os/output_file.hpp"

namespace cbit::cli {

class RunHostile {
 public:
  // Before there is a machine. Errors: words that are none, or contradict each other (usage); a script that
  // is none (input); a log that cannot be written.
  static OrError<std::unique_ptr<RunHostile>> open(const Arguments& arguments);

  // The attack, which ends before the machine does; nullptr: nobody attacks.
  std::unique_ptr<guest::Hostile> attach(guest::Pc& pc);
  // What was done, and what the guest had had last when it ended. The log gets its name.
  OrError<void> finish(const guest::Hostile* hostile, guest::Pc& pc, std::ostream& err);

 private:
  RunHostile() = default;

  std::optional<guest::HostilePlan> plan_;  // none: nobody attacks
  std::optional<os::OutputFile> log_;
};

}  // namespace cbit::cli
