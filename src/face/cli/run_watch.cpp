#include "cli/run_watch.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <ostream>

#include "base/text.hpp"
#include "boot/kernel_source/debian_kernel.hpp"
#include "cli/name_pattern.hpp"
#include "guest/kernel_cache.hpp"
#include "linux/symbol_file.hpp"
#include "os/build_id.hpp"

namespace cbit::cli {
namespace {

OrError<std::vector<std::string>> read_patterns(const Arguments& arguments) {
  std::vector<std::string> patterns;
  for (const std::string& pattern : arguments.all("--fail-on")) {
    const auto is_meant = [&](const watch::CauseInfo& info) { return matches(pattern, info.name); };
    if (std::ranges::none_of(watch::cause_catalogue(), is_meant))
      return usage_error(fmt::format("--fail-on {}: no cause has such a name", pattern),
                         did_you_mean(pattern, watch::cause_names(), "see cbit causes for their names"));
    patterns.push_back(pattern);
  }
  return patterns;
}

linux::SourceLines lines_of(const std::vector<boot::ModuleFile>& modules) {
  linux::SourceLines lines;
  for (const boot::ModuleFile& module : modules) lines.add(module.name, module.contents);
  return lines;
}

guest::KernelCache kernel_cache() {
  const auto cache = boot::user_cache();
  return {cache ? *cache / "kernel-facts" : std::filesystem::path{}, os::build_id()};
}

OrError<void> write_symbols(const linux::Kernel& kernel, const std::string& path) {
  auto file = CBIT_TRY(os::OutputFile::create(path));
  const Bytes bytes = linux::to_symbol_file(kernel);
  file.stream().write(reinterpret_cast<const char*>(bytes.data()),
                      static_cast<std::streamsize>(bytes.size()));
  return file.commit();
}

}  // namespace

OrError<std::unique_ptr<RunWatch>> RunWatch::open(const Arguments& arguments, const RunRequest& request) {
  std::unique_ptr<RunWatch> watch{new RunWatch};
  watch->text_ = arguments.has("--report") || !arguments.all("--secret").empty();
  watch->secrets_.assign(arguments.all("--secret").begin(), arguments.all("--secret").end());
  watch->fail_on_ = CBIT_TRY(read_patterns(arguments));
  if (const auto file = arguments.text("--report-json"))
    watch->json_.emplace(CBIT_TRY(os::OutputFile::create(std::string{*file})));
  if (const auto file = arguments.text("--html"))
    watch->html_.emplace(CBIT_TRY(os::OutputFile::create(std::string{*file})));
  watch->trace_ = CBIT_TRY(TraceFile::open(arguments));
  watch->watches_ = watch->text_ || watch->json_ || watch->html_ || watch->trace_ || !watch->fail_on_.empty();
  const auto symbols = arguments.text("--gdb-symbols");
  const bool dumps = arguments.has("--dump-on-panic") && request.kind != boot::KernelKind::multiboot &&
                     request.kind != boot::KernelKind::pvh;
  if (watch->watches_ || symbols || dumps)
    watch->kernel_ =
        CBIT_TRY(kernel_cache().open(request.kernel, request.kernel_name, lines_of(request.modules)));
  if (symbols) CBIT_TRY(write_symbols(*watch->kernel_, std::string{*symbols}));
  return watch;
}

void RunWatch::attach(guest::Pc& pc, guest::RunOptions& options) {
  if (!kernel_) return;
  pc_ = &pc;
  if (!watches_) {
    known_.emplace(pc, *kernel_);
    return;
  }
  if (trace_) pc.machine().tracer().attach(trace_->sink());
  watcher_.emplace(pc, *kernel_);
  options.now_and_then = [this] { watcher_->check_progress(); };
}

OrError<std::optional<ExitCode>> RunWatch::finish(Streams& streams) {
  if (!watcher_) return std::nullopt;
  guest::WatchReport report = watcher_->finish();
  report.secrets = guest::search_secrets(pc_->machine().memory(), pc_->guest_key(), secrets_);
  if (html_) {
    html_->stream() << guest::to_html(report, watcher_->history(), pc_->machine().tracer());
    CBIT_TRY(html_->commit());
  }
  watcher_.reset();
  if (trace_) {
    pc_->machine().tracer().detach(trace_->sink());
    CBIT_TRY(trace_->commit());
  }
  if (json_) {
    json_->stream() << guest::to_json(report);
    CBIT_TRY(json_->commit());
  }
  if (text_) streams.err << guest::to_text(report);
  for (const watch::Cause& cause : report.causes)
    for (const std::string& pattern : fail_on_)
      if (matches(pattern, cause.info->name)) return ExitCode::check_failed;
  return std::nullopt;
}

void RunWatch::detach() {
  watcher_.reset();
  known_.reset();
}

}  // namespace cbit::cli
