#include "launch/check.hpp"

#include <algorithm>
#include <filesystem>

#include "base/format.hpp"
#include "facts/capture_archive.hpp"
#include "facts/host_tree.hpp"
#include "launch/firmware.hpp"
#include "launch/igvm.hpp"
#include "launch/kata_config.hpp"
#include "launch/libvirt_xml.hpp"
#include "os/input_file.hpp"

namespace cbit::launch {
namespace {

constexpr os::InputKind config_kind{.what = "a guest's configuration",
                                    .remedy = "give a file with a command line, libvirt's XML or Kata's TOML",
                                    .bytes_max = 8 << 20,
                                    .streams = true};

bool is_process_id(std::string_view what) {
  constexpr std::size_t digits_max = 10;
  return !what.empty() && what.size() <= digits_max &&
         what.find_first_not_of("0123456789") == std::string_view::npos;
}

OrError<GuestConfig> config_of_words(const std::vector<std::string>& words) {
  GuestConfig config;
  config.command = CBIT_TRY(parse_qemu_command(words));
  return config;
}

OrError<GuestConfig> config_of_text(std::string_view text) {
  if (looks_like_xml(text)) return parse_libvirt_domain(text);
  if (looks_like_kata(text)) return parse_kata_config(text);
  return config_of_words(CBIT_TRY(shell_words(text)));
}

OrError<GuestConfig> config_of_process(const std::string& id) {
  GuestConfig config = CBIT_TRY(config_of_words(CBIT_TRY(words_of_process(id))));
  config.folder = fmt::format("/proc/{}/cwd/", id);
  return config;
}

OrError<GuestConfig> read_config(const std::string& what) {
  std::error_code error;
  if (what == "-" || std::filesystem::exists(what, error))
    return config_of_text(CBIT_TRY(os::read_input(what, config_kind)));
  if (is_process_id(what)) return config_of_process(what);
  if (what.find_first_of(" \t\n") == std::string::npos && !what.starts_with('<'))
    return bad_input(fmt::format("there is no file {}", what),
                     "give a file, a process id, - for standard input, or a whole command line as one word: "
                     "'qemu-system-x86_64 -machine ...'");
  return config_of_text(what);
}

// Why this host cannot start a guest of that protection; empty: it can. Kata starts what it finds.
std::string obstacle_of(const facts::GuestSupport& host, Protection protection) {
  if (!host.kvm.usable) return fmt::format("KVM: {}", host.kvm.why_not);
  const auto text = [](std::string_view name, const facts::Support& support) {
    return support.usable ? std::string{} : fmt::format("{}: {}", name, support.why_not);
  };
  switch (protection) {
    case Protection::sev: return text("SEV", host.sev);
    case Protection::sev_es: return text("SEV-ES", host.sev_es);
    case Protection::sev_snp: return text("SEV-SNP", host.sev_snp);
    case Protection::tdx: return text("TDX", host.tdx);
    case Protection::none: break;
  }
  if (host.sev.usable || host.tdx.usable) return {};
  return fmt::format("SEV: {}; TDX: {}", host.sev.why_not, host.tdx.why_not);
}

// This machine, where nothing was said of a host: what it lacks is no fault of the guest's.
std::optional<facts::GuestSupport> this_machine(const facts::HostTree& tree, Protection protection,
                                                CheckReport& report) {
  const facts::GuestSupport support = facts::read_guest_support(tree);
  report.obstacle = obstacle_of(support, protection);
  if (report.obstacle.empty()) return support;
  report.host = "none";
  return std::nullopt;
}

}  // namespace

OrError<CheckReport> check_guest(const CheckRequest& request) {
  CheckReport report{.config = CBIT_TRY(read_config(request.what))};
  std::optional<facts::GuestSupport> host;
  if (!request.host) {
    const facts::HostTree tree = CBIT_TRY(facts::HostTree::open("/"));
    const Protection protection = protection_of(report.config.command);
    if (request.encrypted || protection != Protection::none) host = this_machine(tree, protection, report);
  } else if (report.host = *request.host; report.host != "none") {
    const facts::OpenedTree opened =
        CBIT_TRY(facts::OpenedTree::open(report.host == "live" ? "/" : report.host));
    host = facts::read_guest_support(opened.tree);
  }
  report.findings = judge(report.config, {.host = host ? &*host : nullptr,
                                          .qemu = request.qemu,
                                          .encrypted = request.encrypted,
                                          .read_firmware = read_guest_firmware,
                                          .read_igvm = read_igvm});
  return report;
}

OrError<std::vector<std::string>> words_of_process(std::string_view id) {
  constexpr std::uint64_t bytes_max = 8 << 20;
  const facts::HostTree tree = CBIT_TRY(facts::HostTree::open("/"));
  const auto text = tree.read(fmt::format("/proc/{}/cmdline", id), bytes_max);
  if (!text && text.error() == facts::Unread::absent)
    return bad_input(fmt::format("there is no process {}, and no file of that name", id),
                     "pgrep -a qemu lists those of QEMU");
  if (!text)
    return bad_input(fmt::format("/proc/{}/cmdline: {}", id, to_string(text.error())),
                     "run cbit as the process' user, or as root");
  if (text->empty())
    return bad_input(fmt::format("process {} has no command line: it is the kernel's own, or has ended", id),
                     "pgrep -a qemu lists those of QEMU");
  std::vector<std::string> words;
  for (std::string_view rest = *text; !rest.empty();) {
    const std::size_t end = std::min(rest.find('\0'), rest.size());
    words.emplace_back(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return words;
}

}  // namespace cbit::launch
