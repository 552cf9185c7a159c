#include <fmt/format.h>

#include <iterator>

#include "doctor/doctor.hpp"
#include "watch/report.hpp"

namespace cbit::doctor {
namespace {

constexpr std::uint64_t no_limit = ~std::uint64_t{0};
constexpr std::size_t denied_shown = 8;

struct Look {
  std::string_view word;
  std::string_view colour;
};

Look look_of(CheckState state) {
  switch (state) {
    case CheckState::pass: return {"PASS", "32"};
    case CheckState::warn: return {"WARN", "33"};
    case CheckState::fail: return {"FAIL", "31"};
    case CheckState::skip: return {"SKIP", "2"};
  }
  return {"?", "0"};
}

std::string tag(CheckState state, const DoctorStyle& style) {
  const Look look = look_of(state);
  return style.colour ? fmt::format("[ \x1b[{}m{}\x1b[0m ]", look.colour, look.word)
                      : fmt::format("[ {} ]", look.word);
}

std::string size_text(std::uint64_t bytes) {
  if (bytes % (1 << 20) == 0) return fmt::format("{} MiB", bytes >> 20);
  if (bytes % 1024 == 0) return fmt::format("{} KiB", bytes >> 10);
  return fmt::format("{} bytes", bytes);
}

class Writer {
 public:
  Writer(const Diagnosis& diagnosis, const DoctorStyle& style) : diagnosis_{diagnosis}, style_{style} {}

  std::string write() {
    head();
    line("");
    for (const CheckResult& result : diagnosis_.checks) check(result);
    line("");
    devices();
    tail();
    return std::move(text_);
  }

 private:
  template <class... Args>
  void line(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(text_), format, std::forward<Args>(args)...);
    text_ += '\n';
  }
  void detail(unsigned indent, std::string_view label, std::string_view text) {
    line("{:{}}{}: {}", "", indent, label, text);
  }
  // A cause, and what to do about it.
  void cause(unsigned indent, const watch::CauseInfo& info, std::string_view driver,
             const std::vector<watch::Evidence>& evidence = {}) {
    detail(indent, "cause", fmt::format("{}: {}", info.name, info.title));
    for (const watch::Evidence& one : evidence) detail(indent + 2, one.label, one.text);
    for (const watch::Remedy& remedy : diagnosis_.remedies(info, driver))
      detail(indent, fmt::format("remedy ({})", to_string(remedy.reader)), remedy.text);
  }
  void logged(unsigned indent, const watch::LogCause& found);

  void head();
  void check(const CheckResult& result);
  void devices();
  void device(const DeviceReport& report);
  void tail();
  [[nodiscard]] static std::string device_line(const DeviceReport& report);

  const Diagnosis& diagnosis_;
  const DoctorStyle& style_;
  std::string text_;
};

void Writer::head() {
  const facts::HostFacts& host = diagnosis_.host;
  line("This system: {}", describe(diagnosis_.system));
  for (const HostEvidence& evidence : diagnosis_.system.evidence) detail(2, evidence.source, evidence.text);
  if (host.only_log) return;
  std::string about = host.cpu.cpus == 0
                          ? std::string{"unknown number of CPUs"}
                          : fmt::format("{} CPU{}", host.cpu.cpus, host.cpu.cpus == 1 ? "" : "s");
  about += host.memory.ram() ? fmt::format(", {} MiB", *host.memory.ram() >> 20) : ", unknown memory";
  if (!diagnosis_.system.hypervisor.empty()) about += ", on " + diagnosis_.system.hypervisor;
  if (diagnosis_.system.paravisor) about += " with a paravisor";
  if (!host.product.empty()) about += ", " + host.product;
  line("  {}", about);
}

void Writer::logged(unsigned indent, const watch::LogCause& found) {
  detail(indent, found.count == 1 ? "kernel log" : fmt::format("kernel log, {} times", found.count),
         found.first.text);
  for (const watch::CauseInfo* const reason : found.causes)
    cause(indent, *reason, found.driver,
          reason == found.causes.front() ? found.evidence : std::vector<watch::Evidence>{});
  if (found.causes.empty())
    for (const watch::Evidence& one : found.evidence) detail(indent + 2, one.label, one.text);
}

void Writer::check(const CheckResult& result) {
  const Outcome& outcome = result.outcome;
  const unsigned indent = 2 * result.depth;
  line("{} {:{}}- {}{}{}", tag(outcome.state, style_), "", indent, result.spec->title,
       outcome.says.empty() ? "" : ": ", outcome.says);
  const bool bad = outcome.state == CheckState::warn || outcome.state == CheckState::fail;
  const unsigned below = 13 + indent;
  if (bad || style_.verbose)
    for (const HostEvidence& evidence : outcome.evidence) detail(below, evidence.source, evidence.text);
  for (const watch::LogCause& found : outcome.logged) logged(below, found);
  for (const watch::CauseInfo* const reason : outcome.causes) cause(below, *reason, {});
  if ((bad || style_.verbose) && !outcome.remedy.empty()) detail(below, "remedy", outcome.remedy);
}

std::string Writer::device_line(const DeviceReport& report) {
  std::string text = fmt::format("{} {}", report.name, report.what);
  if (!report.driver.empty()) text += fmt::format(" ({})", report.driver);
  for (const DmaUse& use : report.uses) {
    const bool first = &use == &report.uses.front();
    text += first ? ": " : "; ";
    if (use.map == explain::MapKind::coherent) text += "coherent memory: ";
    if (use.map == explain::MapKind::user_mr) text += "application memory: ";
    if (use.map == explain::MapKind::ttm_bo) text += "graphics buffers: ";
    text += way_of(use);
    if (use.verdict == explain::Verdict::broken) text += " [wrong bytes]";
    if (!first || use.map == explain::MapKind::raw_phys) continue;
    text += report.mask_bits ? fmt::format(" ({}-bit mask, ", *report.mask_bits) : " (mask not readable, ";
    text += report.largest_mapping == no_limit ? "no limit)"
                                               : fmt::format("up to {})", size_text(report.largest_mapping));
  }
  return text;
}

void Writer::device(const DeviceReport& report) {
  line("{} {}", tag(report.state, style_), device_line(report));
  constexpr unsigned below = 11;
  for (const std::string& note : report.notes) detail(below, "note", note);
  for (const watch::Cause& found : report.causes)
    cause(below, *found.info, report.made_for,
          style_.verbose ? found.evidence : std::vector<watch::Evidence>{});
  for (const watch::LogCause& found : report.logged) logged(below, found);
}

void Writer::devices() {
  if (diagnosis_.host.only_log) return;
  line("Devices, by the DMA code of Linux {}", to_string(diagnosis_.model));
  std::size_t idle = 0;
  for (const DeviceReport& report : diagnosis_.devices) {
    const bool shown = style_.verbose || report.state != CheckState::skip;
    if (shown)
      device(report);
    else
      ++idle;
  }
  if (diagnosis_.devices.empty()) line("  none");
  if (idle != 0) line("  {} more do no DMA of this kernel's; --verbose shows them", idle);
  for (const facts::RdmaDeviceFacts& rdma : diagnosis_.host.rdma)
    if (rdma.pci.empty())
      line("{} {} RDMA in software: the CPU copies, only the network card below does DMA",
           tag(CheckState::pass, style_), rdma.name);
}

void Writer::tail() {
  line("");
  for (const std::string& note : diagnosis_.notes) line("Note: {}", note);
  if (!diagnosis_.denied.empty()) {
    std::string paths;
    for (std::size_t i = 0; i < diagnosis_.denied.size() && i < denied_shown; ++i)
      paths += (i == 0 ? "" : ", ") + diagnosis_.denied[i];
    if (diagnosis_.denied.size() > denied_shown)
      paths += fmt::format(" and {} more", diagnosis_.denied.size() - denied_shown);
    line("Not readable without root: {}", paths);
  }
  line("{} passed, {} warnings, {} failed, {} skipped", diagnosis_.count(CheckState::pass),
       diagnosis_.count(CheckState::warn), diagnosis_.count(CheckState::fail),
       diagnosis_.count(CheckState::skip));
}

}  // namespace

std::string to_text(const Diagnosis& diagnosis, const DoctorStyle& style) {
  return Writer{diagnosis, style}.write();
}

}  // namespace cbit::doctor
