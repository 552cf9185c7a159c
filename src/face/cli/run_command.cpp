#include "cli/run_command.hpp"

#include <fmt/format.h>
#include <fmt/ostream.h>

#include <chrono>
#include <cstdlib>
#include <ostream>

#include "base/text.hpp"
#include "boot/files.hpp"
#include "boot/initramfs/initramfs.hpp"
#include "boot/initramfs/module_info.hpp"
#include "boot/kernel_file.hpp"
#include "boot/kernel_source/debian_kernel.hpp"
#include "cli/arguments.hpp"
#include "cli/keyboard.hpp"
#include "guest/run.hpp"

namespace cbit::cli {
namespace {

constexpr std::uint64_t default_memory_bytes = 512ull << 20;
constexpr std::uint64_t timeout_seconds_max = 1'000'000;
// Linux' own words on ttyS0; a panic ends the run instead of standing still.
constexpr std::string_view default_command_line = "console=ttyS0 panic=-1";

// As virtme-ng has it. Below are the exit codes of the command in the guest.
constexpr auto guest_panicked = static_cast<ExitCode>(255);

constexpr OptionSpec option_table[] = {
    {"--sev", "", "The guest's memory is encrypted with its own key: SEV, launched by the firmware", ""},
    {"--sme", "", "Bare metal whose memory the kernel encrypts: SME, with mem_encrypt=on", ""},
    {"--memory", "SIZE", "RAM of the machine", "512M"},
    {"--append", "TEXT", "Add this to the kernel's command line", ""},
    {"--initrd", "FILE", "Use this initrd instead of building one", ""},
    {"--module", "FILE", "Load this module of the kernel's", "", {}, true},
    {"--busybox", "FILE", "The static busybox for the initramfs", ""},
    {"--timeout", "SECONDS", "End the run after this much time of the host's (exit code 124)", ""},
    {"--quiet", "", "Do not show the console", ""},
    {"--stats", "", "Tell at the end what the run was made of, on standard error", ""},
    {"--seed", "N", "Seed of keys and of the processor's random numbers", "1"},
};

constexpr std::string_view examples[] = {
    "cbit run -- uname -a",
    "cbit run --sev -- dmesg",
    "cbit run vmlinuz --append loglevel=7 --timeout 120",
};

struct Kernel {
  std::string name;
  Bytes bytes;
};

OrError<Kernel> find_kernel(const Arguments& arguments, Streams& streams) {
  std::string path;
  if (!arguments.positional.empty()) {
    path = arguments.positional.front();
  } else {
    boot::DebianKernelOptions options{.cache = CBIT_TRY(boot::user_cache())};
    options.on_progress = [&streams](std::string_view what) { streams.err << what << '\n'; };
    path = CBIT_TRY(boot::find_debian_kernel(options)).image;
  }
  return Kernel{path, CBIT_TRY(boot::read_file(path))};
}

OrError<Platform> platform_of(const Arguments& arguments) {
  if (arguments.has("--sev") && arguments.has("--sme"))
    return usage_error("--sev and --sme contradict each other", "give one of them");
  if (arguments.has("--sev")) return Platform::sev;
  return arguments.has("--sme") ? Platform::sme : Platform::plain;
}

OrError<Bytes> make_initramfs(const Arguments& arguments) {
  boot::InitramfsContents contents;
  std::string busybox{arguments.text("--busybox").value_or("")};
  if (busybox.empty()) {
    const char* const path = std::getenv("PATH");
    busybox = CBIT_TRY(boot::find_busybox(path != nullptr ? path : ""));
  }
  contents.busybox = CBIT_TRY(boot::read_file(busybox));
  for (const std::string& file : arguments.all("--module")) {
    Bytes packed = CBIT_TRY(boot::read_file(file));
    Bytes module = CBIT_TRY(boot::unpack_module(std::move(packed), file));
    const std::string name = CBIT_TRY(boot::read_module_info(module, file)).name;
    contents.modules.push_back({name, std::move(module)});
  }
  for (const std::string& word : arguments.behind)
    contents.command += (contents.command.empty() ? "" : " ") + shell_quoted(word);
  return boot::build_initramfs(contents);
}

OrError<Bytes> find_initrd(const Arguments& arguments, boot::KernelKind kind) {
  if (const auto file = arguments.text("--initrd")) {
    if (!arguments.behind.empty())
      return usage_error("a command needs the initramfs that cbit builds", "leave --initrd away");
    return boot::read_file(*file);
  }
  const bool linux = kind == boot::KernelKind::bzimage || kind == boot::KernelKind::vmlinux;
  if (linux) return make_initramfs(arguments);
  if (!arguments.behind.empty())
    return usage_error("only Linux runs a command", "leave it away for an image of another kind");
  return Bytes{};
}

std::string command_line_of(const Arguments& arguments, Platform platform, boot::KernelKind kind) {
  std::string line;
  const auto add = [&line](std::string_view words) {
    line += (line.empty() ? "" : " ") + std::string{words};
  };
  if (kind == boot::KernelKind::bzimage || kind == boot::KernelKind::vmlinux) {
    add(default_command_line);
    if (machine::traits_of(platform).cc.has(spec::CcAttr::host_mem_encrypt)) add("mem_encrypt=on");
  }
  if (const auto more = arguments.text("--append")) add(*more);
  return line;
}

std::function<void(std::string_view)> writer(std::ostream& to) {
  return [&to](std::string_view text) { to << text << std::flush; };
}

// What comes from a terminal of the guest's: its lines end with two characters. The last gate before ours
// (cli/safe_stream.hpp) lets colours pass, because cbit writes such; a guest's are shown.
std::function<void(std::string_view)> text_writer(std::ostream& to) {
  return [&to, returns = false](std::string_view text) mutable {
    std::string lines;
    for (const char c : text) {
      if (returns && c != '\n' && c != '\r') lines += '\r';
      returns = c == '\r';
      if (c == '\x1b')
        lines += "\\x1b";
      else if (!returns)
        lines += c;
    }
    to << lines << std::flush;
  };
}

guest::RunOptions run_options(const Arguments& arguments, Streams& streams, Keyboard* keyboard) {
  guest::RunOptions options;
  const bool with_command = !arguments.behind.empty();
  // The command's own output is the data then.
  if (!arguments.has("--quiet")) options.com1.output = text_writer(with_command ? streams.err : streams.out);
  options.com2.output = streams.bytes != nullptr ? writer(*streams.bytes) : text_writer(streams.out);
  options.debug_console.output = text_writer(streams.out);
  if (keyboard == nullptr) return options;
  options.com1.input = [keyboard] { return keyboard->next(); };
  options.wait = [keyboard](std::chrono::nanoseconds most) { keyboard->wait(most); };
  return options;
}

void print_stats(std::ostream& out, guest::Pc& pc, const guest::RunReport& report) {
  const double seconds = std::chrono::duration<double>(report.host_time).count();
  const auto count = static_cast<double>(report.instructions);
  fmt::print(out, "cbit: {} instructions in {:.2f} s, {:.0f} million per second; {:.3f} s of virtual time\n",
             report.instructions, seconds, count / seconds / 1e6,
             static_cast<double>(report.virtual_ns) / 1e9);
  fmt::print(out, "cbit: {} blocks of code decoded, {} invalidated, {} flushes; {} changes of page owners\n",
             report.code.blocks, report.code.invalidated, report.code.flushes, report.memory.owner_changes);
  for (const std::string& name : pc.missing_instructions())
    fmt::print(out, "cbit: the processor does not have the instruction {}\n", name);
  for (const std::uint32_t msr : pc.unknown_msrs()) fmt::print(out, "cbit: unknown MSR {:#x}\n", msr);
  if (pc.refused_accesses() != 0) fmt::print(out, "cbit: {} accesses were refused\n", pc.refused_accesses());
}

// sev_verify_cbit() of arch/x86/kernel/sev_verify_cbit.S ends so.
bool is_failed_c_bit_check(guest::Pc& pc) {
  constexpr std::uint64_t stack = ~std::uint64_t{0x1000} + 1;
  return pc.cpu().registers()[isa::Gpr::rsp] == stack;
}

ExitCode died(guest::Pc& pc, guest::Ending ending, Streams& streams) {
  fmt::print(streams.err, "cbit: the machine {}\n{}", to_string(ending), pc.cpu().report());
  if (is_failed_c_bit_check(pc))
    streams.err << "cbit: the kernel's check of the C-bit failed (sev_verify_cbit)\n";
  return ExitCode::machine_died;
}

ExitCode exit_code(guest::Pc& pc, const guest::RunReport& report, bool with_command, Streams& streams) {
  if (!report.ending) {
    streams.err << "cbit: the time is up\n";
    return ExitCode::timeout;
  }
  if (report.words.panicked()) {
    fmt::print(streams.err, "cbit: {}\n", report.words.panic());
    return guest_panicked;
  }
  switch (*report.ending) {
    case guest::Ending::exited: return static_cast<ExitCode>(report.exit_status & 0xff);
    case guest::Ending::shutdown:
    case guest::Ending::hung: return died(pc, *report.ending, streams);
    case guest::Ending::powered_off:
    case guest::Ending::reset: break;
  }
  if (!with_command) return ExitCode::ok;
  if (const auto status = report.words.command_status()) return static_cast<ExitCode>(*status & 0xff);
  streams.err << "cbit: the guest ended without a word about its command\n";
  return ExitCode::machine_died;
}

OrError<guest::PcConfig> pc_config(const Arguments& arguments, Platform platform) {
  guest::PcConfig config{.platform = platform};
  config.memory_bytes = CBIT_TRY(arguments.size("--memory", 1ull << 40)).value_or(default_memory_bytes);
  config.seed = CBIT_TRY(arguments.number("--seed", 0, ~std::uint64_t{0})).value_or(config.seed);
  return config;
}

OrError<ExitCode> run(const Arguments& arguments, Streams& streams) {
  const Platform platform = CBIT_TRY(platform_of(arguments));
  const guest::PcConfig config = CBIT_TRY(pc_config(arguments, platform));
  const auto timeout = CBIT_TRY(arguments.number("--timeout", 1, timeout_seconds_max));
  const Kernel kernel = CBIT_TRY(find_kernel(arguments, streams));
  const boot::KernelKind kind = CBIT_TRY(boot::kernel_kind(kernel.bytes, kernel.name, platform));
  const Bytes initrd = CBIT_TRY(find_initrd(arguments, kind));

  auto pc = CBIT_TRY(guest::Pc::create(config));
  boot::BootImage image{.name = kernel.name,
                        .kernel = kernel.bytes,
                        .command_line = command_line_of(arguments, platform, kind)};
  if (!initrd.empty()) image.modules.push_back({"initrd", initrd});
  CBIT_TRY(pc->load(image));

  const bool with_command = !arguments.behind.empty();
  std::optional<Keyboard> keyboard;
  if (!with_command) keyboard.emplace();
  guest::RunOptions options = run_options(arguments, streams, keyboard ? &*keyboard : nullptr);
  if (timeout) options.limits.host_time = std::chrono::seconds{*timeout};
  const guest::RunReport report = guest::run(*pc, options);
  if (arguments.has("--stats")) print_stats(streams.err, *pc, report);
  return exit_code(*pc, report, with_command, streams);
}

}  // namespace

const CommandSpec run_command{
    "run",
    "Boot your own Linux kernel on the machine, encrypted or not, and run a command in it",
    "Boots an unmodified Linux kernel (bzImage or vmlinux) on the machine's own x86-64 processor, with an "
    "initramfs of busybox, runs the command in it, and ends with the command's exit code; without a command "
    "there is a shell. The kernel's console is on standard error then, else on standard output. Without "
    "KERNEL: Debian's cloud kernel, fetched by apt once. Takes multiboot and PVH images, too, which end "
    "through port F4h with (value << 1) | 1. Exit codes: 124 time-out, 125 the machine died, 255 panic.",
    option_table,
    {"KERNEL", "A bzImage, a vmlinux, or an ELF file with a multiboot header or a PVH note", false, false,
     true},
    examples,
    run,
    {"COMMAND", "What runs in the guest, behind --"},
};

}  // namespace cbit::cli
