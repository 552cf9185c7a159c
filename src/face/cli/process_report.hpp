// What `cbit peek --pid` prints: as text, or as the JSON of schema/peek-process.schema.json. Both are written
// while the memory is read, and keep nothing but sums.
#pragma once

#include <iosfwd>
#include <memory>

#include "cli/command.hpp"
#include "process/page_runs.hpp"

namespace cbit::cli {

class ProcessReport {
 public:
  virtual ~ProcessReport() = default;

  virtual void begin(const process::ProcessMemory& process) = 0;
  virtual void begin_segment(const process::Segment& segment) = 0;
  virtual void run(const process::PageRun& run) = 0;
  virtual void end_segment(const process::LookCounts& counts) = 0;
  // `complete` is false when the process went away before the end.
  virtual void end(const process::LookCounts& counts, bool complete) = 0;
};

// At most `runs_max` runs of a segment are printed.
[[nodiscard]] std::unique_ptr<ProcessReport> text_report(std::ostream& out, std::uint64_t runs_max);
[[nodiscard]] std::unique_ptr<ProcessReport> json_report(std::ostream& out);

// The mappings, with how much of each is present; for --ranges.
void print_mappings(Streams& streams, const process::ProcessMemory& process, bool json);

// As xxd prints them, with the process's addresses.
void print_hexdump(std::ostream& out, VirtAddr at, ConstByteSpan bytes);

}  // namespace cbit::cli
