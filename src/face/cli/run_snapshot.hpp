// cbit run --snapshot: where the file is, what it must be of, and what cannot be saved.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "cli/arguments.hpp"
#include "cli/run_request.hpp"
#include "guest/handover.hpp"
#include "guest/run.hpp"
#include "guest/snapshot.hpp"

namespace cbit::cli {

class RunSnapshot {
 public:
  // Before the request is read. nullptr: none was asked for. Errors (usage): a name that is none, an
  // option that does not go with it.
  static OrError<std::unique_ptr<RunSnapshot>> open(const Arguments& arguments);

  // The machine of the request, ready to go on: as it was saved, or before its first instruction. Errors
  // also: those of guest::load_snapshot(); a device that cannot be saved (usage).
  OrError<std::unique_ptr<guest::Pc>> make_pc(RunRequest& request);

  // The guest is given this run's command, and saved before where it was not.
  void attach(guest::Pc& pc, guest::RunOptions& options, std::ostream& err);

 private:
  RunSnapshot() = default;
  [[nodiscard]] guest::SnapshotFacts facts() const;
  [[nodiscard]] std::string remedy() const;

  std::string path_;
  std::string command_;
  std::string disks_;    // as they were given
  std::string devices_;  // likewise
  bool restored_ = false;
  const RunRequest* request_ = nullptr;
  std::string kernel_digest_, initrd_digest_;
  std::optional<guest::Handover> handover_;
};

}  // namespace cbit::cli
