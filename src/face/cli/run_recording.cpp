#include "cli/run_recording.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <csignal>

#include "crypt/sha256.hpp"

namespace cbit::cli {
namespace {

// What makes a machine and what runs in it. A replay takes each from the recording.
constexpr std::string_view machine_options[] = {"--sev",
                                                "--sme",
                                                "--hypercalls",
                                                "--iommu",
                                                "--memory",
                                                "--cpus",
                                                "--append",
                                                "--net",
                                                "--ssh",
                                                "--share",
                                                "--root",
                                                "--device",
                                                "--disk",
                                                "--module",
                                                "--display",
                                                "--seed",
                                                "--hostile",
                                                "--fast-decompress",
                                                "--hostile-script",
                                                "--vsock"};
// Likewise, but only whether they are there: their values say where something is written.
constexpr std::string_view present_options[] = {"--out", "--gdb-symbols"};
// Where files lie may have changed, and what is in them shows.
constexpr std::string_view place_options[] = {"--initrd", "--busybox", "--modules", "--ssh-key"};
// What one run writes while it goes on. With a debugger that goes back there is no such one.
constexpr std::string_view written_options[] = {"--trace", "--report-json", "--html",       "--junit",
                                                "--out",   "--screendump",  "--hostile-log"};

constexpr std::array ending_signals{SIGINT, SIGTERM, SIGHUP};

std::vector<std::string> values_of(const Arguments& arguments, std::string_view name) {
  const auto all = arguments.all(name);
  if (!all.empty()) return {all.begin(), all.end()};
  if (const auto text = arguments.text(name)) return {std::string{*text}};
  return arguments.has(name) ? std::vector<std::string>{""} : std::vector<std::string>{};
}

std::vector<std::string> values_of(const guest::RecordingHeader& header, std::string_view name) {
  std::vector<std::string> values;
  for (const auto& [option, value] : header.options)
    if (option == name) values.push_back(value);
  return values;
}

void put_values(Arguments& arguments, std::string_view name, const std::vector<std::string>& values) {
  const std::string key{name};
  arguments.options.erase(key);
  arguments.repeated.erase(key);
  if (values.empty()) return;
  arguments.options[key] = values.back();
  arguments.repeated[key] = values;
}

std::string option_words(std::string_view name, const std::vector<std::string>& values) {
  std::string words;
  for (const std::string& value : values)
    words += fmt::format("{}{}{}{}", words.empty() ? "" : " ", name, value.empty() ? "" : " ", value);
  return words.empty() ? fmt::format("no {}", name) : words;
}

tl::unexpected<Error> contradicts(std::string_view what, const std::string& file, std::string_view recorded) {
  return usage_error(fmt::format("{} contradicts {}, which was recorded with {}", what, file, recorded),
                     "leave it away: a replay's machine is that of the recording");
}

OrError<void> check_recording_options(const Arguments& given) {
  if (given.has("--record") && given.has("--replay"))
    return usage_error("--record and --replay contradict each other", "give one of them");
  if (given.has("--record") && given.has("--gdb"))
    return usage_error("--record is of a run that nobody stops",
                       "record without --gdb, and attach the debugger to the replay");
  if (!given.has("--replay") || !given.has("--gdb")) return {};
  for (const std::string_view option : written_options)
    if (given.has_any(option))
      return usage_error(
          fmt::format("{} is of one run, and a debugger's replay goes back and begins again", option),
          fmt::format("replay without --gdb to have {}", option));
  return {};
}

// What was given, with the recording's machine.
OrError<Arguments> merged(const Arguments& given, const guest::RecordingHeader& header,
                          const std::string& file) {
  Arguments merged = given;
  for (const std::string_view name : machine_options) {
    const auto recorded = values_of(header, name);
    const auto now = values_of(given, name);
    if (!now.empty() && now != recorded)
      return contradicts(option_words(name, now), file, option_words(name, recorded));
    put_values(merged, name, recorded);
  }
  for (const std::string_view name : present_options) {
    const auto recorded = values_of(header, name);
    if (given.has_any(name) && recorded.empty()) return contradicts(name, file, option_words(name, recorded));
    if (!given.has_any(name)) put_values(merged, name, recorded);
  }
  for (const std::string_view name : place_options)
    if (!given.has_any(name)) put_values(merged, name, values_of(header, name));
  if (given.positional.empty()) merged.positional = header.positional;
  if (!given.behind.empty() && given.behind != header.command)
    return contradicts(
        "the command", file,
        header.command.empty() ? "no command" : fmt::format("{}", fmt::join(header.command, " ")));
  merged.behind = header.command;
  return merged;
}

guest::RecordingHeader header_of(const Arguments& arguments, const RunRequest& request) {
  guest::RecordingHeader header{.version = CBIT_VERSION,
                                .positional = arguments.positional,
                                .command = arguments.behind,
                                .kernel_name = request.kernel_name,
                                .kernel = crypt::sha256(request.kernel),
                                .initrd = crypt::sha256(request.initrd)};
  using Names = std::span<const std::string_view>;
  for (const Names names : {Names{machine_options}, Names{place_options}})
    for (const std::string_view name : names)
      for (std::string& value : values_of(arguments, name))
        header.options.emplace_back(name, std::move(value));
  for (const std::string_view name : present_options)
    if (arguments.has_any(name)) header.options.emplace_back(name, "");
  for (const auto& disk : request.journaled_disks) header.disks.push_back(disk->shape());
  return header;
}

}  // namespace

OrError<std::unique_ptr<RunRecording>> RunRecording::open(const Arguments& given) {
  CBIT_TRY(check_recording_options(given));
  std::unique_ptr<RunRecording> recording{new RunRecording};
  recording->arguments_ = given;
  if (const auto file = given.text("--record")) {
    recording->name_ = *file;
    recording->journal_ = CBIT_TRY(guest::Journal::record(recording->name_));
  } else if (const auto file = given.text("--replay")) {
    recording->name_ = *file;
    recording->journal_ = CBIT_TRY(guest::Journal::replay(recording->name_));
    recording->arguments_ = CBIT_TRY(merged(given, recording->journal_->header(), recording->name_));
  }
  return recording;
}

OrError<void> RunRecording::begin(const RunRequest& request) {
  if (!journal_) return {};
  if (replays()) return check_is_same(request);
  journal_->begin(header_of(arguments_, request));
  return {};
}

OrError<void> RunRecording::check_is_same(const RunRequest& request) const {
  const guest::RecordingHeader& header = journal_->header();
  if (crypt::sha256(request.kernel) != header.kernel)
    return bad_input(fmt::format("{} is another kernel than that of {}", request.kernel_name, name_),
                     fmt::format("name the one that was recorded, which was {}", header.kernel_name));
  if (crypt::sha256(request.initrd) != header.initrd)
    return bad_input(fmt::format("the initramfs is another than that of {}", name_),
                     "its files have changed since: busybox, modules, an --initrd; --busybox, --modules and "
                     "--initrd name others");
  if (request.journaled_disks.size() != header.disks.size())
    return bad_input(fmt::format("{} has {} disks, and the machine {}", name_, header.disks.size(),
                                 request.journaled_disks.size()));
  return {};
}

void RunRecording::attach(guest::RunOptions& options) {
  options.journal = journal_.get();
  if (!journal_ || replays()) return;
  interruption_.emplace(ending_signals);
  options.wishes.emplace_back(
      [this] { return interruption_->came() ? guest::Wish::end : guest::Wish::go_on; });
}

OrError<void> RunRecording::finish(const guest::RunReport& report) {
  if (!journal_) return {};
  if (!replays()) return journal_->finish(report.ending.has_value());
  if (journal_->failure()) return tl::unexpected{*journal_->failure()};
  return {};
}

}  // namespace cbit::cli
