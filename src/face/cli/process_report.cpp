#include "cli/process_report.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <ostream>
#include <string>

#include "base/format.hpp"
#include "base/safe_text.hpp"
#include "layout/table.hpp"

namespace cbit::cli {
namespace {

std::string_view to_string(process::MappingKind kind) {
  switch (kind) {
    case process::MappingKind::anonymous: return "anonymous";
    case process::MappingKind::shared_memory: return "shared memory";
    case process::MappingKind::file: return "file";
    case process::MappingKind::device: return "device";
    case process::MappingKind::special: return "special";
  }
  return "?";
}

std::string count_of_pages(std::uint64_t pages) {
  return fmt::format("{} page{}", pages, pages == 1 ? "" : "s");
}

// "3 ciphertext, 1 text"; "nothing" of no page.
std::string counts_text(const process::LookCounts& counts) {
  std::string text;
  for (std::size_t i = 0; i < watch::page_looks_count; ++i)
    if (counts.of[i] != 0)
      text += fmt::format("{}{} {}", text.empty() ? "" : ", ", counts.of[i],
                          to_string(static_cast<watch::PageLooks>(i)));
  return text.empty() ? "nothing" : text;
}

std::string range_text(const process::VirtRange& range) {
  return fmt::format("{:012x}-{:012x}", range.start.value(), range.end.value());
}

std::string mapping_text(const process::Mapping& mapping) {
  return fmt::format("{} {}", mapping.permissions(),
                     mapping.name.empty() ? "anonymous" : safe_line(mapping.name));
}

// What a run's pages have in common besides their looks.
std::string detail_of(const process::PageRun& run) {
  const bool judged = run.counts[watch::PageLooks::absent] == 0 &&
                      run.counts[watch::PageLooks::unreadable] == 0 &&
                      run.counts[watch::PageLooks::zeros] == 0;
  std::string text;
  if (judged && run.entropy_min == run.entropy_max) text = fmt::format("entropy {:.2f}", run.entropy_min);
  if (judged && run.entropy_min != run.entropy_max)
    text = fmt::format("entropy {:.2f} to {:.2f}", run.entropy_min, run.entropy_max);
  if (run.counts[watch::PageLooks::ciphertext] != 0 && run.counts[watch::PageLooks::compressed] != 0)
    text += fmt::format("; page by page {}", counts_text(run.counts));
  if (!run.why.empty()) text += fmt::format("{}{}", text.empty() ? "" : "; ", run.why);
  return text;
}

class TextReport : public ProcessReport {
 public:
  TextReport(std::ostream& out, std::uint64_t runs_max) : out_{&out}, runs_max_{runs_max} {}

  void begin(const process::ProcessMemory& process) override {
    largest_ = process::largest_memory(process.mappings());
    *out_ << fmt::format("process {} ({}), {} mappings; a page has {} bytes\n", process.pid(),
                         safe_line(process.command()), process.mappings().size(), page_size);
  }

  void begin_segment(const process::Segment& segment) override {
    runs_ = 0;
    *out_ << '\n' << range_text(segment.range) << ' ';
    if (segment.mapping == nullptr)
      *out_ << "not mapped";
    else
      *out_ << mapping_text(*segment.mapping) << (segment.mapping == largest_ ? ", the largest memory" : "");
    *out_ << '\n';
  }

  void run(const process::PageRun& run) override {
    if (++runs_ > runs_max_) return;
    std::string line =
        fmt::format("  {:012x} {:>8}  {:<10}  {}", run.at.value(), run.pages, run.looks, detail_of(run));
    line.erase(line.find_last_not_of(' ') + 1);
    *out_ << line << '\n';
  }

  void end_segment(const process::LookCounts& counts) override {
    if (runs_ > runs_max_)
      *out_ << fmt::format("  {} more runs; --runs {} shows all\n", runs_ - runs_max_, runs_);
    if (runs_ > 1) *out_ << fmt::format("  {}: {}\n", count_of_pages(counts.total()), counts_text(counts));
  }

  void end(const process::LookCounts& counts, bool complete) override {
    *out_ << fmt::format("\n{}, {}: {}\n", complete ? "in all" : "until the process went away",
                         count_of_pages(counts.total()), counts_text(counts));
  }

 private:
  std::ostream* out_;
  std::uint64_t runs_max_;
  const process::Mapping* largest_ = nullptr;
  std::uint64_t runs_ = 0;
};

using Json = nlohmann::ordered_json;

std::string hex(VirtAddr at) { return fmt::format("{:#x}", at.value()); }

// A name need not be UTF-8.
std::string dump(const Json& json, int indent = -1) { return json_text(json, indent); }

Json to_json(const process::ProcessMemory& process) {
  return {{"pid", process.pid()}, {"command", process.command()}, {"mappings", process.mappings().size()}};
}

Json to_json(const process::Mapping& mapping, const process::Mapping* largest) {
  return {{"start", hex(mapping.range.start)},
          {"end", hex(mapping.range.end)},
          {"permissions", mapping.permissions()},
          {"kind", to_string(mapping.kind())},
          {"name", mapping.name},
          {"largest", &mapping == largest}};
}

Json to_json(const process::LookCounts& counts) {
  Json json = Json::object();
  for (std::size_t i = 0; i < watch::page_looks_count; ++i)
    json[to_string(static_cast<watch::PageLooks>(i))] = counts.of[i];
  return json;
}

Json to_json(const process::PageRun& run) {
  Json json{{"start", hex(run.at)}, {"pages", run.pages}, {"looks", run.looks}};
  json["ciphertext_pages"] = run.counts[watch::PageLooks::ciphertext];
  json["compressed_pages"] = run.counts[watch::PageLooks::compressed];
  json["entropy"] = {run.entropy_min, run.entropy_max};
  json["why"] = run.why;
  return json;
}

// One line per run: a file of a large guest can still be read line by line.
class JsonReport : public ProcessReport {
 public:
  explicit JsonReport(std::ostream& out) : out_{&out} {}

  void begin(const process::ProcessMemory& process) override {
    largest_ = process::largest_memory(process.mappings());
    *out_ << "{\"schema\": \"cbit-peek-process-1\",\n \"process\": " << dump(to_json(process))
          << ",\n \"page_size\": " << page_size << ",\n \"ranges\": [";
  }
  void begin_segment(const process::Segment& segment) override {
    *out_ << (std::exchange(first_segment_, false) ? "\n" : ",\n");
    *out_ << "  {\"start\": \"" << hex(segment.range.start) << "\", \"end\": \"" << hex(segment.range.end)
          << "\",\n   \"mapping\": "
          << (segment.mapping == nullptr ? "null" : dump(to_json(*segment.mapping, largest_)))
          << ",\n   \"runs\": [";
    first_run_ = true;
  }
  void run(const process::PageRun& run) override {
    *out_ << (std::exchange(first_run_, false) ? "\n    " : ",\n    ") << dump(to_json(run));
  }
  void end_segment(const process::LookCounts& counts) override {
    *out_ << "],\n   \"pages\": " << dump(to_json(counts)) << '}';
  }
  void end(const process::LookCounts& counts, bool complete) override {
    *out_ << "],\n \"pages\": " << dump(to_json(counts))
          << ",\n \"complete\": " << (complete ? "true" : "false") << "}\n";
  }

 private:
  std::ostream* out_;
  const process::Mapping* largest_ = nullptr;
  bool first_segment_ = true;
  bool first_run_ = true;
};

std::uint64_t present_pages(const process::ProcessMemory& process, const process::VirtRange& range) {
  std::vector<process::Presence> chunk(4096);
  std::uint64_t present = 0;
  for (VirtAddr at = range.start; at < range.end;) {
    const std::span pages =
        std::span{chunk}.first(std::min<std::uint64_t>(chunk.size(), (range.end - at) / page_size));
    process.presence(at, pages);
    present += static_cast<std::uint64_t>(std::ranges::count(pages, process::Presence::present));
    at += pages.size() * page_size;
  }
  return present;
}

}  // namespace

std::unique_ptr<ProcessReport> text_report(std::ostream& out, std::uint64_t runs_max) {
  return std::make_unique<TextReport>(out, runs_max);
}
std::unique_ptr<ProcessReport> json_report(std::ostream& out) { return std::make_unique<JsonReport>(out); }

void print_mappings(Streams& streams, const process::ProcessMemory& process, bool json) {
  const process::Mapping* const largest = process::largest_memory(process.mappings());
  Json list = Json::array();
  layout::Table table{.columns = {{"range"}, {"pages", true}, {"present", true}, {"kind"}, {"name"}}};
  for (const process::Mapping& mapping : process.mappings()) {
    const std::uint64_t present = present_pages(process, mapping.range);
    if (json) {
      list.push_back(to_json(mapping, largest));
      list.back()["present_pages"] = present;
    } else {
      table.rows.push_back({range_text(mapping.range), fmt::format("{}", mapping.range.pages()),
                            fmt::format("{}", present), std::string{to_string(mapping.kind())},
                            mapping_text(mapping) + (&mapping == largest ? ", the largest memory" : "")});
    }
  }
  if (json)
    streams.out << dump({{"schema", "cbit-peek-ranges-1"}, {"process", to_json(process)}, {"ranges", list}},
                        2)
                << '\n';
  else
    streams.out << fmt::format("process {} ({})\n", process.pid(), safe_line(process.command()))
                << layout::render(table, streams.columns);
}

void print_hexdump(std::ostream& out, VirtAddr at, ConstByteSpan bytes) {
  constexpr std::size_t row_size = 16;
  for (std::size_t first = 0; first < bytes.size(); first += row_size) {
    std::string digits;
    std::string text;
    for (std::size_t i = first; i < std::min(first + row_size, bytes.size()); ++i) {
      const auto value = std::to_integer<unsigned>(bytes[i]);
      digits += fmt::format("{:02x}{}", value, i % 2 == 1 ? " " : "");
      text += value >= 0x20 && value < 0x7f ? static_cast<char>(value) : '.';
    }
    out << fmt::format("{:012x}: {:<40} {}\n", (at + first).value(), digits, text);
  }
}

}  // namespace cbit::cli
