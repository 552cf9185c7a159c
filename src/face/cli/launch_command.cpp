#include "cli/launch_command.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <ostream>
#include <string>
#include <vector>

#include "base/safe_text.hpp"
#include "cli/arguments.hpp"
#include "cli/launch_check.hpp"
#include "cli/launch_options.hpp"
#include "facts/capture_archive.hpp"
#include "facts/guest_support.hpp"
#include "launch/findings_render.hpp"
#include "launch/firmware.hpp"
#include "launch/igvm.hpp"
#include "launch/plan_render.hpp"
#include "launch/qemu_program.hpp"
#include "os/file_name.hpp"
#include "os/output_file.hpp"

namespace cbit::cli {
namespace {

constexpr std::string_view launch_examples[] = {
    "cbit launch --kernel vmlinuz --initrd initrd.img --disk root.qcow2,format=qcow2 --net user",
    "cbit launch --kernel vmlinuz --disk root.img --explain",
    "cbit launch --protection sev-snp --kernel vmlinuz --initrd initrd.img --format libvirt",
    "cbit launch --no-encryption --kernel vmlinuz --initrd initrd.img --run",
    "cbit launch --kernel vmlinuz -- -device virtio-scsi-pci,iommu_platform=on,disable-legacy=on",
    "cbit launch --check 'qemu-system-x86_64 -machine q35 -device virtio-net-pci'",
};

std::string_view format_of(const Arguments& arguments) {
  return arguments.has("--json") ? "json" : arguments.text("--format").value_or("command");
}

// The root of the host's tree.
std::string host_of(const Arguments& arguments) {
  const auto host = arguments.has("--host") ? arguments.text("--host") : arguments.text("--root");
  return host.value_or("/") == "live" ? "/" : std::string{host.value_or("/")};
}

OrError<void> check_launch_words(const Arguments& arguments) {
  const auto refuse = [](std::string_view one, std::string_view other) {
    return usage_error(fmt::format("{} contradicts {}", one, other), "give one of them");
  };
  if (arguments.has("--json") && arguments.has("--format")) return refuse("--json", "--format");
  if (arguments.has("--host") && arguments.has("--root")) return refuse("--host", "--root");
  if (!arguments.has("--run")) return {};
  for (const std::string_view other : {"--dry-run", "--format", "--json", "--explain", "--qemu-version"})
    if (arguments.has(other)) return refuse("--run", other);
  if (host_of(arguments) != "/")
    return usage_error(fmt::format("--run starts a guest on this host, not on that of {}",
                                   arguments.has("--host") ? "--host" : "--root"),
                       "leave one of them out");
  return {};
}

OrError<launch::LaunchSite> site_of(const Arguments& arguments, const launch::LaunchRequest& request) {
  launch::LaunchSite site;
  const std::string host = host_of(arguments);
  if (host == "none")
    return usage_error("--host none has no meaning for a plan, which is one for a host",
                       "give a captured tree, or live; --force plans what the host cannot do");
  site.support = facts::read_guest_support(CBIT_TRY(facts::OpenedTree::open(host)).tree);
  site.qemu_program = arguments.text("--qemu").value_or("qemu-system-x86_64");
  const auto version = arguments.text("--qemu-version");
  site.qemu = version ? CBIT_TRY(launch::qemu_version_of(*version))
                      : CBIT_TRY(launch::ask_qemu_version(site.qemu_program));
  if (request.firmware.empty() && request.igvm.empty())
    site.firmware = launch::installed_firmware();
  else if (!request.firmware.empty() && request.firmware != "default")
    site.firmware.push_back(CBIT_TRY(launch::read_firmware(request.firmware)));
  return site;
}

// What was considered before the plan's own protection, and why it was not taken.
void tell_stronger(const launch::LaunchPlan& plan, std::ostream& err) {
  for (const launch::Candidate& candidate : plan.candidates) {
    if (candidate.usable || candidate.protection == plan.protection) return;
    err << fmt::format("      {}: {}\n", to_string(candidate.protection), safe_line(candidate.why_not));
  }
}

void tell(const launch::LaunchPlan& plan, std::ostream& err) {
  if (plan.protection != launch::Protection::none)
    err << fmt::format("cbit: the plan encrypts the guest's memory with {}\n", to_string(plan.protection));
  else if (plan.candidates.empty())
    err << "cbit: the guest's memory is in clear\n";
  else
    err << "cbit: warning: nothing encrypts the guest's memory here\n";
  tell_stronger(plan, err);
  for (const std::string& remark : plan.remarks) err << "cbit: " << safe_line(remark) << '\n';
  for (const std::string& risk : plan.risks) err << "cbit: forced: " << safe_line(risk) << '\n';
}

void tell(const launch::Finding& finding, bool forced, std::ostream& err) {
  err << fmt::format("cbit: {}: {}: {}\n", forced ? "forced" : to_string(finding.rule->severity),
                     finding.rule->name, finding.rule->title);
  if (!finding.where.empty()) err << "      in " << finding.where << '\n';
  if (!finding.detail.empty()) err << "      " << finding.detail << '\n';
  if (forced)
    err << "      " << finding.rule->why << '\n';
  else
    err << "      " << finding.remedy(launch::GuestLanguage::qemu) << '\n';
}

// QEMU truncates the file that it writes the guest's console to.
OrError<void> check_console(const launch::LaunchRequest& request) {
  const std::string& console = request.console;
  if (console == "stdio" || console == "pty" || console == "none") return {};
  CBIT_TRY(os::check_output(console));
  const auto written = os::id_of(CBIT_TRY(os::resolve_output(console)));
  std::vector<std::string> inputs{request.kernel, request.initrd, request.firmware, request.igvm};
  for (const launch::DiskRequest& disk : request.disks) inputs.push_back(disk.file);
  for (const std::string& input : inputs)
    if (written && !input.empty() && os::id_of_input(input) == written)
      return usage_error(fmt::format("--console would overwrite {}, which the guest uses", input),
                         "write to another file");
  return {};
}

OrError<ExitCode> start(const launch::LaunchPlan& plan, Streams& streams) {
  if (plan.protection == launch::Protection::none && !plan.candidates.empty())
    return bad_input("nothing encrypts the guest's memory here, so it is not started",
                     "start it in clear with --no-encryption");
  const launch::QemuEnd end = CBIT_TRY(launch::run_qemu(launch::to_words(launch::command_of(plan))));
  if (end.status == 0) return ExitCode::ok;
  if (const launch::QemuFailure* failure = launch::find_qemu_failure(end.errors); failure != nullptr)
    streams.err << fmt::format("cbit: QEMU did not start the guest: {}\n      {}\n", failure->cause,
                               failure->remedy);
  return static_cast<ExitCode>(end.status);
}

OrError<std::string> render(const launch::LaunchPlan& plan, const std::vector<launch::Finding>& findings,
                            const Arguments& arguments) {
  const std::string_view format = format_of(arguments);
  const bool explain = arguments.has("--explain");
  if (format == "json") return launch::to_json(plan, findings);
  if (format == "libvirt") return launch::to_libvirt(plan, explain);
  if (format == "kata") return launch::to_kata(plan, explain);
  return explain ? launch::to_explanation(plan) : launch::to_shell(plan);
}

OrError<ExitCode> run_launch(const Arguments& arguments, Streams& streams) {
  CBIT_TRY(check_launch_words(arguments));
  if (arguments.has("--check")) return check_launch(arguments, streams);
  const launch::LaunchRequest request = CBIT_TRY(launch_request(arguments));
  const launch::LaunchSite site = CBIT_TRY(site_of(arguments, request));
  const launch::LaunchPlan plan = CBIT_TRY(launch::plan_launch(request, site));
  const std::vector<launch::Finding> findings = launch::judge(
      {.command = launch::command_of(plan)}, {.host = &site.support,
                                              .qemu = plan.qemu,
                                              .encrypted = plan.protection != launch::Protection::none,
                                              .read_firmware = launch::read_guest_firmware,
                                              .read_igvm = launch::read_igvm});
  const bool refused = !request.force && std::ranges::any_of(findings, launch::is_error);
  const std::string text = refused ? std::string{} : CBIT_TRY(render(plan, findings, arguments));
  tell(plan, streams.err);
  for (const launch::Finding& finding : findings)
    if (finding.rule->severity != launch::Severity::note || arguments.has("--explain"))
      tell(finding, request.force && launch::is_error(finding), streams.err);
  if (refused) return ExitCode::bad_input;
  if (arguments.has("--run")) {
    CBIT_TRY(check_console(request));
    return start(plan, streams);
  }
  streams.out << text;
  return ExitCode::ok;
}

}  // namespace

const CommandSpec launch_command{
    "launch",
    "Plan and start a guest whose memory is encrypted, or check somebody's command line for one",
    "Finds out what this host and its QEMU can do (SEV-SNP, SEV-ES, SEV, TDX), picks QEMU's options, checks "
    "them for contradictions and prints them as a shell command, as JSON, as a libvirt domain or as a "
    "configuration of Kata Containers. Starts nothing unless --run is given. Words after -- are passed to "
    "QEMU.",
    launch_option_table(),
    {.metavar = "QEMU-OPTION", .help = "After --: options that QEMU gets as they are", .repeated = true},
    launch_examples,
    run_launch,
};

}  // namespace cbit::cli
