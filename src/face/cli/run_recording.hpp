// A run that is written down, or done once more: --record, --replay.
#pragma once

#include <memory>
#include <optional>

#include "cli/arguments.hpp"
#include "cli/run_request.hpp"
#include "guest/journal.hpp"
#include "guest/run.hpp"
#include "os/interruption.hpp"

namespace cbit::cli {

class RunRecording {
 public:
  // Before anything else of the machine. Errors: options that do not go together, or contradict the recording
  // (usage); a file that is no recording (input); one that cannot be written.
  static OrError<std::unique_ptr<RunRecording>> open(const Arguments& given);

  // nullptr: neither.
  [[nodiscard]] guest::Journal* journal() const { return journal_.get(); }
  [[nodiscard]] bool replays() const { return journal_ && journal_->replays(); }
  // What makes the machine: as it was given, and in a replay as it was recorded.
  [[nodiscard]] const Arguments& arguments() const { return arguments_; }

  // The machine is known. Errors (input): a replay's kernel or initramfs is another than the recording's.
  OrError<void> begin(const RunRequest& request);
  // A signal ends a recording, and what there is by then is kept.
  void attach(guest::RunOptions& options);
  [[nodiscard]] bool interrupted() const { return interruption_ && interruption_->came(); }
  // The recording gets its name. Errors: it could not be written (output_failed); a replay was not what was
  // recorded (input).
  OrError<void> finish(const guest::RunReport& report);

 private:
  RunRecording() = default;
  OrError<void> check_is_same(const RunRequest& request) const;

  std::unique_ptr<guest::Journal> journal_;
  std::string name_;
  Arguments arguments_;
  std::optional<os::Interruption> interruption_;
};

}  // namespace cbit::cli
