#include "cli/launch_options.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/text.hpp"

namespace cbit::cli {
namespace {

constexpr Word<launch::Accelerator> accelerator_words[] = {{"auto", launch::Accelerator::automatic},
                                                           {"kvm", launch::Accelerator::kvm},
                                                           {"tcg", launch::Accelerator::tcg}};

template <class T, std::size_t n>
constexpr std::array<std::string_view, n> names_of(const Word<T> (&words)[n]) {
  std::array<std::string_view, n> names;
  for (std::size_t i = 0; i < n; ++i) names[i] = words[i].word;
  return names;
}
constexpr auto protection_choices = [] {
  std::array<std::string_view, std::size(launch::protection_words) + 1> names{"auto"};
  std::ranges::copy(names_of(launch::protection_words), names.begin() + 1);
  return names;
}();
constexpr auto accelerator_choices = names_of(accelerator_words);
constexpr std::string_view format_choices[] = {"command", "json", "libvirt", "kata"};

constexpr OptionSpec launch_specs[] = {
    {"--protection", "P", "What encrypts the guest's memory; auto: the strongest that works here", "auto",
     protection_choices},
    {"--no-encryption", "", "The same guest with its memory in clear; as --protection none", ""},
    {"--force", "", "Plan, or start, in spite of what is wrong; what is risked goes to standard error", ""},
    {"--kernel", "FILE", "Boot this Linux kernel", ""},
    {"--initrd", "FILE", "The kernel's first file system", ""},
    {"--append", "TEXT", "The kernel's command line; console=ttyS0 unless given", ""},
    {.name = "--disk",
     .metavar = "FILE[,format=raw|qcow2][,ro][,id=ID]",
     .help = "A virtio disk; repeatable",
     .repeated = true},
    {.name = "--net",
     .metavar = "user|tap|none[,...]",
     .help = "A virtio network card; user takes hostfwd=, tap takes ifname= and vhost=on; repeatable",
     .fallback = "none",
     .repeated = true},
    {"--vsock", "CID", "Sockets between host and guest, which has this number", ""},
    {"--memory", "SIZE", "The guest's memory, whole MiB", "2G"},
    {"--cpus", "N", "The guest's CPUs, 1 to 1024", "1"},
    {"--cpu", "MODEL", "QEMU's -cpu; chosen by the protection unless given", ""},
    {"--firmware", "FILE",
     "An image of OVMF; the first that fits of those installed unless given; "
     "default: QEMU's own",
     ""},
    {"--igvm", "FILE", "An IGVM file with the firmware, such as COCONUT-SVSM's with its vTPM; QEMU 10.1", ""},
    {.name = "--vfio",
     .metavar = "BUS:DEVICE.FUNCTION",
     .help = "Pass this PCI function of the host through, such as a GPU, over iommufd; repeatable",
     .repeated = true},
    {"--accel", "A", "Who runs the guest's CPUs; auto: KVM where it can be used", "auto",
     accelerator_choices},
    {"--policy", "N",
     "The policy of the guest's owner; 0x3 for SEV, 0x7 for SEV-ES, 0x30000 for SEV-SNP unless given", ""},
    {"--cbitpos", "N", "The C-bit's position, 0 to 63; the host's unless given", ""},
    {"--reduced-phys-bits", "N", "Address bits that encryption takes, 1 to 63; the host's unless given", ""},
    {"--id-block", "BASE64", "SEV-SNP: what the owner expects of the launch, 96 bytes", ""},
    {"--id-auth", "BASE64", "SEV-SNP: the owner's signature of the ID block, 4096 bytes", ""},
    {"--host-data", "BASE64", "SEV-SNP: 32 bytes for the guest's report", ""},
    {"--vcek-disabled", "", "SEV-SNP: sign reports with the VLEK only", ""},
    {"--mrconfigid", "BASE64", "TDX: MRCONFIGID of the quote, 48 bytes", ""},
    {"--mrowner", "BASE64", "TDX: MROWNER of the quote, 48 bytes", ""},
    {"--mrownerconfig", "BASE64", "TDX: MROWNERCONFIG of the quote, 48 bytes", ""},
    {"--quote-socket", "ADDRESS", "TDX: the host's Quote Generation Service, as unix:PATH or vsock:CID:PORT",
     ""},
    {"--name", "NAME", "The guest's name", ""},
    {"--console", "WHERE", "Where its serial port leads: stdio, pty, none or a file", "stdio"},
    {"--format", "FORMAT", "What to print: a shell command, JSON, a libvirt domain, a Kata configuration",
     "command", format_choices},
    {"--json", "",
     "The same as --format json (schema/launch.schema.json; with --check launch-check.schema.json)", ""},
    {"--explain", "", "Give the reason of every option, with its source", ""},
    {"--dry-run", "", "Print, and start nothing; so unless --run is given", ""},
    {"--run", "", "Start the guest and end with its QEMU's exit status", ""},
    {"--qemu", "PROGRAM", "QEMU, in PATH or by its path", "qemu-system-x86_64"},
    {"--qemu-version", "V", "Plan for this version instead of asking the program", ""},
    {"--host", "WHICH",
     "The host: live, or a captured tree or archive; with --check also none, which judges the guest alone",
     ""},
    {"--root", "DIR", "The same as --host DIR", "/"},
    {"--check", "WHAT",
     "Say what is wrong with a guest: a QEMU command line, a file with one, with libvirt's XML or Kata's "
     "configuration, - for standard input, or the id of a running QEMU",
     ""},
};

// The parts between commas; a doubled comma is one comma of a part.
std::vector<std::string> parts_of(std::string_view text) {
  std::vector<std::string> parts(1);
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != ',') {
      parts.back() += text[i];
    } else if (i + 1 < text.size() && text[i + 1] == ',') {
      parts.back() += text[i++];
    } else {
      parts.emplace_back();
    }
  }
  return parts;
}

// "key=value", or "key" alone with an empty value.
std::pair<std::string_view, std::string_view> split(std::string_view part) {
  const auto equals = part.find('=');
  if (equals == std::string_view::npos) return {part, {}};
  return {part.substr(0, equals), part.substr(equals + 1)};
}

OrError<bool> on_or_off(std::string_view key, std::string_view value) {
  if (value == "on" || value.empty()) return true;
  if (value == "off") return false;
  return usage_error(fmt::format("{}={} is neither on nor off", key, value), "write on or off");
}

std::optional<unsigned> narrow(std::optional<std::uint64_t> value) {
  return value ? std::optional{static_cast<unsigned>(*value)} : std::nullopt;
}

std::string text_of(const Arguments& arguments, std::string_view name) {
  return std::string{arguments.text(name).value_or("")};
}

OrError<std::optional<launch::Protection>> wanted_protection(const Arguments& arguments) {
  const auto word = arguments.text("--protection");
  if (!arguments.has("--no-encryption")) return find_word(launch::protection_words, word.value_or("auto"));
  if (word && *word != "none")
    return usage_error(fmt::format("--no-encryption contradicts --protection {}", *word), "give one of them");
  return std::optional{launch::Protection::none};
}

OrError<std::vector<launch::QemuOption>> extra_options(const std::vector<std::string>& words) {
  if (words.empty()) return std::vector<launch::QemuOption>{};
  if (!words.front().starts_with('-'))
    return usage_error(fmt::format("\"{}\" is no option", words.front()),
                       "QEMU's own options follow --, as in cbit launch -- -device virtio-balloon-pci");
  std::vector<std::string> command{"qemu-system-x86_64"};
  command.insert(command.end(), words.begin(), words.end());
  return CBIT_TRY(launch::parse_qemu_command(command)).options;
}

OrError<void> read_numbers(const Arguments& arguments, launch::LaunchRequest& request) {
  constexpr std::uint64_t memory_max = std::uint64_t{16} << 40;
  constexpr std::uint32_t first_guest_cid = 3, last_cid = 0xffff'fffe;
  request.memory_bytes = CBIT_TRY(arguments.size("--memory", memory_max)).value_or(request.memory_bytes);
  request.cpus = narrow(CBIT_TRY(arguments.number("--cpus", 1, 1024))).value_or(request.cpus);
  request.policy = CBIT_TRY(arguments.number("--policy", 0, ~std::uint64_t{0}));
  request.c_bit = narrow(CBIT_TRY(arguments.number("--cbitpos", 0, 63)));
  request.reduced_phys_bits = narrow(CBIT_TRY(arguments.number("--reduced-phys-bits", 1, 63)));
  request.vsock_cid = narrow(CBIT_TRY(arguments.number("--vsock", first_guest_cid, last_cid)));
  return {};
}

OrError<std::string> pci_function(const std::string& text) {
  // [DDDD:]BB:DD.F, as lspci writes it.
  std::string_view rest = text;
  if (rest.size() == 12 && rest[4] == ':' && hexadecimal(rest.substr(0, 4))) rest.remove_prefix(5);
  const bool good = rest.size() == 7 && rest[2] == ':' && rest[5] == '.' && hexadecimal(rest.substr(0, 2)) &&
                    hexadecimal(rest.substr(3, 2)) && rest[6] >= '0' && rest[6] <= '7';
  if (!good)
    return usage_error(fmt::format("--vfio {} is no PCI function", text),
                       "write it as lspci -D does: 0000:01:00.0");
  return text;
}

OrError<std::string> quote_socket(std::string text) {
  const std::string_view all = text;
  const auto colon = all.rfind(':');
  const bool vsock = all.starts_with("vsock:") && colon > 6 && decimal(all.substr(6, colon - 6)) &&
                     decimal(all.substr(colon + 1));
  if (text.empty() || vsock || (all.starts_with("unix:/") && all.size() > 6)) return text;
  return usage_error(fmt::format("--quote-socket {} is no address", text),
                     "write unix:/var/run/tdx-qgs/qgs.socket or vsock:2:4050");
}

OrError<launch::AttestationRequest> attestation(const Arguments& arguments) {
  return launch::AttestationRequest{
      .id_block = text_of(arguments, "--id-block"),
      .id_auth = text_of(arguments, "--id-auth"),
      .host_data = text_of(arguments, "--host-data"),
      .no_vcek = arguments.has("--vcek-disabled"),
      .mr_config_id = text_of(arguments, "--mrconfigid"),
      .mr_owner = text_of(arguments, "--mrowner"),
      .mr_owner_config = text_of(arguments, "--mrownerconfig"),
      .quote_socket = CBIT_TRY(quote_socket(text_of(arguments, "--quote-socket")))};
}

}  // namespace

std::span<const OptionSpec> launch_option_table() { return launch_specs; }

OrError<launch::DiskRequest> parse_disk(std::string_view text) {
  const std::vector<std::string> parts = parts_of(text);
  launch::DiskRequest disk{.file = parts.front()};
  if (disk.file.starts_with("file=")) disk.file.erase(0, 5);
  if (disk.file.empty()) return usage_error("--disk names no file", "write --disk FILE,format=raw");
  for (std::size_t i = 1; i < parts.size(); ++i) {
    const auto [key, value] = split(parts[i]);
    if (key == "format" && (value == "raw" || value == "qcow2"))
      disk.format = value;
    else if (key == "ro" || key == "readonly")
      disk.read_only = CBIT_TRY(on_or_off(key, value));
    else if (key == "id" && !value.empty())
      disk.id = value;
    else
      return usage_error(
          fmt::format("--disk does not know \"{}\"", parts[i]),
          did_you_mean(parts[i], {"format=raw", "format=qcow2", "ro", "readonly", "id="},
                       "use format=raw, format=qcow2, ro or id=ID; a comma in a file's name is written "
                       "twice"));
  }
  return disk;
}

OrError<std::optional<launch::NetRequest>> parse_net(std::string_view text) {
  const std::vector<std::string> parts = parts_of(text);
  if (parts.front() == "none" && parts.size() == 1) return std::optional<launch::NetRequest>{};
  launch::NetRequest net;
  if (parts.front() == "tap")
    net.kind = launch::NetKind::tap;
  else if (parts.front() != "user")
    return usage_error(fmt::format("--net does not know \"{}\"", parts.front()),
                       did_you_mean(parts.front(), {"user", "tap", "none"}));
  const bool tap = net.kind == launch::NetKind::tap;
  for (std::size_t i = 1; i < parts.size(); ++i) {
    const auto [key, value] = split(parts[i]);
    if (key == "id" && !value.empty())
      net.id = value;
    else if (key == "hostfwd" && !tap && !value.empty())
      net.forwards = value;
    else if (key == "ifname" && tap && !value.empty())
      net.ifname = value;
    else if (key == "vhost" && tap)
      net.vhost = CBIT_TRY(on_or_off(key, value));
    else
      return usage_error(
          fmt::format("--net {} does not know \"{}\"", parts.front(), parts[i]),
          tap ? did_you_mean(key, {"ifname", "vhost", "id"}, "use ifname=NAME, vhost=on or id=ID")
              : did_you_mean(key, {"hostfwd", "id"}, "use hostfwd=tcp::2222-:22 or id=ID"));
  }
  return std::optional{net};
}

OrError<launch::LaunchRequest> launch_request(const Arguments& arguments) {
  launch::LaunchRequest request;
  request.protection = CBIT_TRY(wanted_protection(arguments));
  request.force = arguments.has("--force");
  request.kernel = text_of(arguments, "--kernel");
  request.initrd = text_of(arguments, "--initrd");
  if (const auto append = arguments.text("--append")) request.append = std::string{*append};
  for (const std::string& disk : arguments.all("--disk")) request.disks.push_back(CBIT_TRY(parse_disk(disk)));
  for (const std::string& text : arguments.all("--net"))
    if (const auto net = CBIT_TRY(parse_net(text))) request.nets.push_back(*net);
  request.cpu_model = text_of(arguments, "--cpu");
  request.firmware = text_of(arguments, "--firmware");
  request.igvm = text_of(arguments, "--igvm");
  request.attestation = CBIT_TRY(attestation(arguments));
  for (const std::string& function : arguments.all("--vfio"))
    request.passed_through.push_back(CBIT_TRY(pci_function(function)));
  request.accelerator =
      arguments.choice("--accel", accelerator_words).value_or(launch::Accelerator::automatic);
  request.name = text_of(arguments, "--name");
  request.console = arguments.text("--console").value_or("stdio");
  CBIT_TRY(read_numbers(arguments, request));
  request.extra = CBIT_TRY(extra_options(arguments.positional));
  return request;
}

}  // namespace cbit::cli
