#include "cli/peek_process.hpp"

#include <fmt/format.h>

#include <limits>
#include <optional>
#include <ostream>

#include "cli/page_map_image.hpp"
#include "cli/process_report.hpp"
#include "process/range_words.hpp"

namespace cbit::cli {
namespace {

constexpr std::uint64_t any_number = ~std::uint64_t{0};
constexpr std::uint64_t runs_shown = 16;
constexpr std::uint64_t dump_max = 64 * 1024;

process::SurveyOptions survey_options(const Arguments& arguments) {
  return {.fault_in = arguments.has("--fault-in"), .devices = arguments.has("--devices")};
}

// What the user has chosen, byte by byte.
OrError<std::vector<process::VirtRange>> chosen_ranges(const Arguments& arguments,
                                                       const process::ProcessMemory& process) {
  std::vector<process::VirtRange> ranges;
  for (const std::string& word : arguments.all("--range"))
    for (const process::VirtRange& range : CBIT_TRY(process::resolve_range(word, process.mappings()))) {
      const std::vector<process::Segment> parts = process::split_by_mapping(range, process.mappings());
      if (parts.size() == 1 && parts.front().mapping == nullptr)
        return bad_input(fmt::format("process {} has nothing mapped in {}", process.pid(), word),
                         fmt::format("cbit peek --pid {} --ranges lists what it has", process.pid()));
      ranges.push_back(range);
    }
  return ranges;
}

OrError<std::vector<process::Segment>> choose_segments(const Arguments& arguments,
                                                       const process::ProcessMemory& process) {
  if (!arguments.has("--range")) return process::default_segments(process.mappings());
  std::vector<process::Segment> segments;
  for (const process::VirtRange& range : CBIT_TRY(chosen_ranges(arguments, process))) {
    const std::vector<process::Segment> parts =
        process::split_by_mapping(process::whole_pages(range), process.mappings());
    segments.insert(segments.end(), parts.begin(), parts.end());
  }
  return segments;
}

// The process's memory, from the first segment to the last.
class Survey {
 public:
  Survey(const process::ProcessMemory& process, process::SurveyOptions options, ProcessReport& report,
         PageMapImage* map)
      : process_{&process}, options_{options}, report_{&report}, map_{map} {}

  // False: the process went away.
  [[nodiscard]] bool run(std::span<const process::Segment> segments) {
    report_->begin(*process_);
    bool complete = true;
    for (const process::Segment& segment : segments) {
      complete = run_segment(segment);
      if (!complete) break;
    }
    report_->end(counts_, complete);
    return complete;
  }
  [[nodiscard]] std::uint64_t pages() const { return counts_.total(); }

 private:
  [[nodiscard]] bool run_segment(const process::Segment& segment) {
    process::LookCounts counts;
    const bool drawn = map_ != nullptr && segment.mapping != nullptr;
    process::RunMerger merger{[&](const process::PageRun& run) { report_->run(run); }};
    report_->begin_segment(segment);
    if (drawn) map_->begin_segment();
    const bool complete = process::survey(*process_, segment, options_, [&](const process::PagesSeen& seen) {
      counts.add(seen.look.looks, seen.pages);
      merger.add(seen);
      if (drawn) map_->add(seen);
    });
    merger.finish();
    report_->end_segment(counts);
    counts_.add(counts);
    return complete;
  }

  const process::ProcessMemory* process_;
  process::SurveyOptions options_;
  ProcessReport* report_;
  PageMapImage* map_;
  process::LookCounts counts_;
};

tl::unexpected<Error> went_away(const process::ProcessMemory& process) {
  return bad_input(
      fmt::format("process {} ({}) went away while it was read: it exited, or runs another program",
                  process.pid(), process.command()),
      "the output holds what was read until then");
}

// Hexdumps, and a line for each page that is not read.
class Dumper {
 public:
  Dumper(const process::ProcessMemory& process, process::SurveyOptions options, std::ostream& out)
      : process_{&process}, options_{options}, out_{&out} {}

  OrError<void> dump(const process::Segment& segment) {
    for (VirtAddr at = segment.range.start; at < segment.range.end;) {
      const VirtAddr end = std::min(at.page() + page_size, segment.range.end);
      CBIT_TRY(dump_part(segment, {at, end}));
      at = end;
    }
    return {};
  }

 private:
  // Within one page.
  OrError<void> dump_part(const process::Segment& segment, const process::VirtRange& part) {
    std::string_view why = not_to_read(segment, part.start.page());
    Bytes bytes(part.bytes());
    if (why.empty()) {
      const process::ProcessMemory::Read read = process_->read(part.start, bytes);
      if (read.end == process::ReadEnd::gone) return went_away(*process_);
      if (read.end == process::ReadEnd::unreadable) why = "cannot be read";
    }
    if (why.empty())
      print_hexdump(*out_, part.start, bytes);
    else
      *out_ << fmt::format("{:012x}: {}\n", part.start.value(), why);
    return {};
  }

  [[nodiscard]] std::string_view not_to_read(const process::Segment& segment, VirtAddr page) const {
    if (segment.mapping == nullptr) return "not mapped";
    if (segment.mapping->kind() == process::MappingKind::device && !options_.devices)
      return "a device's; --devices reads it";
    process::Presence presence{};
    process_->presence(page, {&presence, 1});
    if (presence == process::Presence::absent && !options_.fault_in) return "absent; --fault-in reads it";
    return {};
  }

  const process::ProcessMemory* process_;
  process::SurveyOptions options_;
  std::ostream* out_;
};

OrError<ExitCode> dump(const Arguments& arguments, const process::ProcessMemory& process, std::ostream& out) {
  const std::vector<process::VirtRange> ranges = CBIT_TRY(chosen_ranges(arguments, process));
  std::uint64_t bytes = 0;
  for (const process::VirtRange& range : ranges) {
    bytes += std::min(range.bytes(), dump_max + 1);
    if (bytes > dump_max)
      return usage_error("that is too much to dump",
                         fmt::format("choose up to {}K with --range", dump_max / 1024));
  }
  Dumper dumper{process, survey_options(arguments), out};
  for (const process::VirtRange& range : ranges)
    for (const process::Segment& segment : process::split_by_mapping(range, process.mappings()))
      CBIT_TRY(dumper.dump(segment));
  return ExitCode::ok;
}

// Options that say different things about what to print.
OrError<void> check_options(const Arguments& arguments) {
  const auto both = [&](std::string_view one, std::string_view other) {
    return arguments.has(one) && arguments.has(other);
  };
  constexpr std::pair<std::string_view, std::string_view> contradictions[] = {
      {"--ranges", "--range"}, {"--ranges", "--map"}, {"--ranges", "--dump"},
      {"--dump", "--json"},    {"--dump", "--map"},   {"--dump", "--runs"}};
  for (const auto& [one, other] : contradictions)
    if (both(one, other))
      return usage_error(fmt::format("{} and {} do not go together", one, other), "use one");
  if (arguments.has("--dump") && !arguments.has("--range"))
    return usage_error("--dump does not say of what", "add --range");
  return {};
}

}  // namespace

OrError<ExitCode> peek_process(const Arguments& arguments, Streams& streams) {
  CBIT_TRY(check_options(arguments));
  const auto pid = CBIT_TRY(arguments.number("--pid", 1, std::numeric_limits<int>::max()));
  const auto runs_max = CBIT_TRY(arguments.number("--runs", 0, any_number)).value_or(runs_shown);
  const process::ProcessMemory process = CBIT_TRY(process::ProcessMemory::open(static_cast<int>(*pid)));
  if (arguments.has("--ranges")) {
    print_mappings(streams, process, arguments.has("--json"));
    return ExitCode::ok;
  }
  if (arguments.has("--dump")) return dump(arguments, process, streams.out);

  const std::vector<process::Segment> segments = CBIT_TRY(choose_segments(arguments, process));
  std::optional<PageMapImage> map;
  if (const auto path = arguments.text("--map"))
    map.emplace(CBIT_TRY(PageMapImage::create(std::string{*path}, segments)));
  const auto report = arguments.has("--json") ? json_report(streams.out) : text_report(streams.out, runs_max);
  const bool complete =
      Survey{process, survey_options(arguments), *report, map ? &*map : nullptr}.run(segments);
  if (map) CBIT_TRY(map->commit());
  if (!complete) return went_away(process);
  return ExitCode::ok;
}

}  // namespace cbit::cli
