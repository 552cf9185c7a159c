#include "cli/run_command.hpp"

#include <fmt/format.h>
#include <fmt/ostream.h>

#include <chrono>
#include <ostream>

#include "cli/arguments.hpp"
#include "cli/keyboard.hpp"
#include "cli/run_request.hpp"
#include "cli/run_watch.hpp"
#include "guest/run.hpp"

namespace cbit::cli {
namespace {

constexpr std::uint64_t timeout_seconds_max = 1'000'000;

// As virtme-ng has it. Below are the exit codes of the command in the guest.
constexpr auto guest_panicked = static_cast<ExitCode>(255);

constexpr OptionSpec option_table[] = {
    {"--sev", "", "The guest's memory is encrypted with its own key: SEV, launched by the firmware", ""},
    {"--sme", "", "Bare metal whose memory the kernel encrypts: SME, with mem_encrypt=on", ""},
    {"--memory", "SIZE", "RAM of the machine", "512M"},
    {"--append", "TEXT", "Add this to the kernel's command line", ""},
    {"--initrd", "FILE", "Use this initrd instead of building one", ""},
    {"--disk",
     "FILE[,ro]",
     "Plug in this raw image as a virtio disk; ro: the guest may not write",
     "",
     {},
     true},
    {"--device",
     "KIND[,OPTION=VALUE]",
     "Plug in a device: test-dma, virtio-rng, virtio-net, ...",
     "",
     {},
     true},
    {"--module", "FILE", "Load this module of the kernel's", "", {}, true},
    {"--modules", "FOLDER", "Where the kernel's own modules lie, lib/modules/RELEASE", ""},
    {"--busybox", "FILE", "The static busybox for the initramfs", ""},
    {"--timeout", "SECONDS", "End the run after this much time of the host's (exit code 124)", ""},
    {"--quiet", "", "Do not show the console", ""},
    {"--report", "", "Watch the kernel's calls, and tell at the end what its DMA met, on standard error", ""},
    {.name = "--report-json",
     .metavar = "FILE",
     .help = "The same as an object of schema/run.schema.json; - is standard output",
     .file = FileUse::output},
    {"--secret", "TEXT", "Tell at the end where the host finds these bytes in memory", "", {}, true},
    {"--fail-on", "GLOB", "End with 1 if a cause of such a name was found", "", {}, true},
    trace_option,
    trace_format_option,
    trace_events_option,
    {"--stats", "", "Tell at the end what the run was made of, on standard error", ""},
    {"--seed", "N", "Seed of keys and of the processor's random numbers", "1"},
};

constexpr std::string_view examples[] = {
    "cbit run -- uname -a",
    "cbit run --sev -- dmesg",
    "cbit run vmlinuz --append loglevel=7 --timeout 120",
};

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

OrError<ExitCode> run(const Arguments& arguments, Streams& streams) {
  const auto timeout = CBIT_TRY(arguments.number("--timeout", 1, timeout_seconds_max));
  RunRequest request = CBIT_TRY(read_run_request(arguments, streams));
  const auto watch = CBIT_TRY(RunWatch::open(arguments, request));
  const auto pc = CBIT_TRY(make_pc(request));

  const bool with_command = !arguments.behind.empty();
  std::optional<Keyboard> keyboard;
  if (!with_command) keyboard.emplace();
  guest::RunOptions options = run_options(arguments, streams, keyboard ? &*keyboard : nullptr);
  if (timeout) options.limits.host_time = std::chrono::seconds{*timeout};
  watch->attach(*pc, options);
  const guest::RunReport report = guest::run(*pc, options);
  const auto failed = CBIT_TRY(watch->finish(streams));
  if (arguments.has("--stats")) print_stats(streams.err, *pc, report);
  const ExitCode code = exit_code(*pc, report, with_command, streams);
  return code == ExitCode::ok ? failed.value_or(code) : code;
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
