#include "cli/run_command.hpp"

#include <fmt/format.h>
#include <fmt/ostream.h>

#include <chrono>
#include <ostream>

#include "base/safe_text.hpp"
#include "cli/arguments.hpp"
#include "cli/keyboard.hpp"
#include "cli/platform_options.hpp"
#include "cli/run_ending.hpp"
#include "cli/run_hostile.hpp"
#include "cli/run_recording.hpp"
#include "cli/run_request.hpp"
#include "cli/run_snapshot.hpp"
#include "cli/run_terminal.hpp"
#include "cli/run_watch.hpp"
#include "gdb/server.hpp"
#include "guest/junit.hpp"
#include "guest/run.hpp"
#include "guest/screen.hpp"
#include "machine/slots.hpp"
#include "os/output_file.hpp"

namespace cbit::cli {
namespace {

constexpr std::uint64_t timeout_seconds_max = 1'000'000;

std::vector<std::string_view> device_names() {
  std::vector<std::string_view> names;
  for (const machine::DeviceKind& kind : machine::device_kinds()) names.push_back(kind.name);
  return names;
}

constexpr auto run_iommu_choices = choices_of(run_iommu_words);
constexpr auto run_jit_choices = choices_of(run_jit_words);

constexpr OptionSpec option_table[] = {
    {"--sev", "", "The guest's memory is encrypted with its own key: SEV, launched by the firmware", ""},
    {"--sme", "", "Bare metal whose memory the kernel encrypts: SME, with mem_encrypt=on", ""},
    {"--hypercalls", "", "Offer KVM's MAP_GPA_RANGE, with which a guest tells which pages it shares", ""},
    {"--iommu", "KIND", "The IOMMU in front of the devices: amd, which the kernel's own driver programs",
     "none", run_iommu_choices},
    {"--memory", "SIZE", "RAM of the machine", "512M"},
    {"--cpus", "N", "Processors of the machine, 1 to 16; without --threads they run in turns", "1"},
    {"--threads", "", "Processors run at the same time, on threads of the host: no run is like another", ""},
    {"--append", "TEXT", "Add this to the kernel's command line", ""},
    {.name = "--initrd",
     .metavar = "FILE",
     .help = "Use this initrd instead of building one",
     .file = FileUse::input},
    {.name = "--disk",
     .metavar = "FILE[,ro][,if=KIND][,OPTION=VALUE]",
     .help = "Plug in this raw image as a disk: if=virtio, nvme or scsi; ro: the guest may not write",
     .repeated = true,
     .file = FileUse::input_with_options},
    {.name = "--net",
     .metavar = "user|tap|none[,OPTION=VALUE]...",
     .help =
         "Plug in a network device: user[,hostfwd=tcp:[ADDR]:PORT-[ADDR]:PORT]..., tap,ifname=NAME, or none",
     .repeated = true},
    {"--ssh", "PORT",
     "Start the sshd of the guest's root (--root), and let this port of the host lead to it; 0: any free one",
     ""},
    {.name = "--ssh-key",
     .metavar = "FILE",
     .help = "The public key of who may come in by --ssh, instead of those in ~/.ssh",
     .file = FileUse::input},
    {"--vsock", "PATH[,guest-cid=N]",
     "Connect the guest's AF_VSOCK with Unix sockets: PATH leads into the guest, PATH_PORT out of it", ""},
    {"--share", "DIR", "Let the guest read this folder, at /mnt/share", ""},
    {.name = "--out",
     .metavar = "FILE",
     .help = "Write what the guest leaves in /mnt/out as a tar archive; - is standard output",
     .file = FileUse::binary_output},
    {"--root", "DIR", "Make this folder the guest's root; what it changes stays in its memory", ""},
    {.name = "--device",
     .metavar = "KIND[,OPTION=VALUE]",
     .help = "Plug in a device: test-dma, virtio-rng, virtio-net, ...",
     .repeated = true,
     .names = device_names},
    {"--display", "KIND[,OPTION=VALUE]", "Plug in a display: bochs, with a frame buffer; or none", "none"},
    {.name = "--screendump",
     .metavar = "FILE",
     .help = "Write what the display shows at the end: PNG, or PPM where the name does not end with .png",
     .file = FileUse::binary_output},
    {.name = "--module",
     .metavar = "FILE",
     .help = "Load this module of the kernel's",
     .repeated = true,
     .file = FileUse::input},
    {"--modules", "FOLDER", "Where the kernel's own modules lie, lib/modules/RELEASE", ""},
    {.name = "--busybox",
     .metavar = "FILE",
     .help = "The static busybox for the initramfs",
     .file = FileUse::input},
    {"--timeout", "SECONDS", "End the run after this much time of the host's (exit code 124)", ""},
    {"--quiet", "", "Do not show the console", ""},
    {"--report", "",
     "Watch the kernel's calls, and tell at the end what its DMA met and what it exposes, on standard error",
     ""},
    {.name = "--report-json",
     .metavar = "FILE",
     .help = "The same as an object of schema/run.schema.json; - is standard output",
     .file = FileUse::output},
    {.name = "--html",
     .metavar = "FILE",
     .help = "The same as one self-contained page, with pictures over time; - is standard output",
     .file = FileUse::output},
    {"--secret", "TEXT", "Tell at the end where the host finds these bytes in memory", "", {}, true},
    {.name = "--fail-on",
     .metavar = "GLOB",
     .help = "End with 1 if a cause of such a name was found",
     .repeated = true,
     .names = watch::cause_names},
    {.name = "--junit",
     .metavar = "FILE",
     .help = "Write the results of the tests that the guest printed (KTAP) as JUnit's XML",
     .file = FileUse::output},
    {"--git-bisect", "",
     "Exit codes for git bisect run: 0 all went well, 1 it did not, 125 the run could not start", ""},
    {"--hostile", "SEED[,OPTION=VALUE]",
     "Let devices, or the host (by=host), attack the guest: docs/hostile.md", ""},
    {.name = "--hostile-script",
     .metavar = "FILE",
     .help = "Attack it as this log of --hostile-log says",
     .file = FileUse::input},
    {.name = "--hostile-log",
     .metavar = "FILE",
     .help = "Write what was done to it, for --hostile-script",
     .file = FileUse::output},
    trace_option,
    trace_format_option,
    trace_events_option,
    {.name = "--record",
     .metavar = "FILE",
     .help = "Write down what comes from outside, keys, frames, disks, so that --replay can do the run again",
     .file = FileUse::binary_output},
    {.name = "--replay",
     .metavar = "FILE",
     .help = "Do a recorded run once more; with --gdb backwards, too (reverse-stepi, reverse-continue)",
     .file = FileUse::input},
    {"--gdb", "ADDRESS",
     "Let a debugger attach here: tcp::1234, tcp:HOST:1234, 1234, or unix:PATH; port 0 is any free one", ""},
    {"--freeze", "", "Stand still before the first instruction, until the debugger lets the guest go", ""},
    {.name = "--gdb-symbols",
     .metavar = "FILE",
     .help = "Write the kernel's symbols for a debugger, and keep the kernel where they say (nokaslr)",
     .file = FileUse::binary_output},
    {.name = "--dump-on-panic",
     .metavar = "FILE",
     .help = "Where the kernel panics or the machine dies, write its memory for drgn and crash",
     .file = FileUse::binary_output},
    {"--dump-as-host", "", "Such a dump has what the host sees: ciphertext", ""},
    {"--fast-decompress", "",
     "Unpack the kernel before the run: what starts, and is measured, is its vmlinux, without KASLR", ""},
    {"--jit", "WORD", "Whether blocks of code that run often become code of the host: on or off", "on",
     run_jit_choices},
    {"--check-jit", "",
     "Let the interpreter judge that code, at each run of each block: some fifty times slower", ""},
    {"--snapshot", "NAME",
     "Go on from where this guest had booted, and run the command there; without a file NAME, make it", ""},
    {"--stats", "", "Tell at the end what the run was made of, on standard error", ""},
    {"--seed", "N", "Seed of keys and of the processor's random numbers", "1"},
};

constexpr std::string_view examples[] = {
    "cbit run -- uname -a",
    "cbit run --sev -- dmesg",
    "cbit run vmlinuz --append loglevel=7 --timeout 120",
    "cbit run --sev --share . -- sha256sum /mnt/share/README.md",
    "cbit run --root / -- python3 -c 'import os; print(os.uname().release)'",
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

// `is_replay`: keys come from the recording.
guest::RunOptions run_options(const Arguments& arguments, Streams& streams, Keyboard* keyboard,
                              bool is_replay) {
  guest::RunOptions options;
  const bool with_command = !arguments.behind.empty();
  // The command's own output is the data then.
  if (!arguments.has("--quiet")) options.com1.output = text_writer(with_command ? streams.err : streams.out);
  options.com2.output = streams.bytes != nullptr ? writer(*streams.bytes) : text_writer(streams.out);
  options.debug_console.output = text_writer(streams.out);
  if (is_replay && !with_command) {
    options.com1.input = [] { return std::optional<std::byte>{}; };
    options.await_input = [](os::PollSet&) {};
  }
  if (keyboard == nullptr) return options;
  options.com1.input = [keyboard] { return keyboard->next(); };
  options.await_input = [keyboard](os::PollSet& set) { keyboard->await(set); };
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
  if (report.code.translated != 0)
    fmt::print(out, "cbit: {} blocks translated into {} KiB; translations cleared {} times\n",
               report.code.translated, report.code.translated_bytes / 1024, report.code.translations_cleared);
  if (report.code.runs_judged != 0)
    fmt::print(out, "cbit: the interpreter judged {} runs of blocks, and {} not, which reach beyond memory\n",
               report.code.runs_judged, report.code.runs_not_judged);
  for (const std::string& name : pc.missing_instructions())
    fmt::print(out, "cbit: the processor does not have the instruction {}\n", name);
  for (const std::uint32_t msr : pc.unknown_msrs()) fmt::print(out, "cbit: unknown MSR {:#x}\n", msr);
  if (pc.refused_accesses() != 0) fmt::print(out, "cbit: {} accesses were refused\n", pc.refused_accesses());
}

void print_ending(std::ostream& err, const RunEnding& ending, const guest::KtapCounts& tests) {
  if (!ending.what.empty()) fmt::print(err, "cbit: {}\n{}", ending.what, ending.details);
  if (!tests.any()) return;
  fmt::print(err, "cbit: {} tests passed, {} failed, {} skipped", tests.passed, tests.failed, tests.skipped);
  if (tests.missing != 0) fmt::print(err, ", {} did not end", tests.missing);
  err << '\n';
}

bool is_dead(const guest::RunReport& report) {
  return report.words.panicked() || report.ending == guest::Ending::shutdown ||
         report.ending == guest::Ending::hung || report.ending == guest::Ending::init;
}

// Before the watch ends, which knows the kernel. How the run ended counts more than that there is no dump.
void dump_if_dead(const Arguments& arguments, const guest::Pc& pc, const RunWatch& watch,
                  const guest::RunReport& report, std::ostream& err) {
  const auto path = arguments.text("--dump-on-panic");
  if (!path || !is_dead(report)) return;
  const auto view = arguments.has("--dump-as-host") ? guest::DumpView::host : guest::DumpView::guest;
  const auto kernel = watch.knowledge() != nullptr ? watch.knowledge()->for_dump() : std::nullopt;
  if (const auto done = guest::write_vmcore(pc, kernel, view, std::string{*path}); !done)
    print_error(done.error(), err);
  else
    fmt::print(err, "cbit: the guest's memory is in {}\n", safe_line(*path));
}

// What a reader of JUnit's file wants to know of the run itself; nullopt: it went well.
std::optional<std::string> what_is_wrong(const RunEnding& ending, const std::vector<Error>& troubles,
                                         ExitCode code) {
  if (!ending.what.empty()) return ending.what;
  if (!troubles.empty()) return troubles.front().message;
  if (ending.code != ExitCode::ok)
    return fmt::format("the guest ended with status {}", static_cast<int>(ending.code));
  if (code != ExitCode::ok) return "a cause was found that --fail-on names";
  return std::nullopt;
}

// How the guest ended comes first. `failed`: what --fail-on says.
ExitCode final_code(const RunEnding& ending, const std::vector<Error>& troubles,
                    std::optional<ExitCode> failed) {
  if (ending.code != ExitCode::ok) return ending.code;
  return troubles.empty() ? failed.value_or(ExitCode::ok) : troubles.front().code;
}

OrError<std::optional<os::OutputFile>> open_output(const Arguments& arguments, std::string_view option) {
  const auto file = arguments.text(option);
  if (!file) return std::nullopt;
  return CBIT_TRY(os::OutputFile::create(std::string{*file}));
}

OrError<void> write_out(const RunRequest& request, os::OutputFile& out) {
  CBIT_TRY(request.hand_out->write_to(out.stream()));
  return out.commit();
}

// What a run leaves behind, beside its report: --junit, --out, --screendump.
struct RunOutputs {
  std::optional<os::OutputFile> junit;
  std::optional<os::OutputFile> out;
  std::optional<os::OutputFile> screen;
  std::vector<Error> troubles;  // of those that were written

  static OrError<RunOutputs> open(const Arguments& arguments) {
    return RunOutputs{.junit = CBIT_TRY(open_output(arguments, "--junit")),
                      .out = CBIT_TRY(open_output(arguments, "--out")),
                      .screen = CBIT_TRY(open_output(arguments, "--screendump")),
                      .troubles = {}};
  }
  // All but the results of tests, which tell how the run ended.
  void write(const Arguments& arguments, const RunRequest& request, const guest::Pc& pc) {
    if (out)
      if (const auto written = write_out(request, *out); !written) troubles.push_back(written.error());
    if (!screen) return;
    const auto written = guest::write_screen(pc, *arguments.text("--screendump"), std::move(*screen));
    if (!written) troubles.push_back(written.error());
  }
};

std::string name_of(const RunRequest& request) {
  return fmt::format("{}, {}", request.release.empty() ? request.kernel_name : "Linux " + request.release,
                     to_string(request.pc.platform));
}

// What asks for the same run once more, or for a machine with one thread.
constexpr std::pair<std::string_view, std::string_view> refused_with_threads[] = {
    {"--record", "a recording is of a run that can be done once more"},
    {"--replay", "a replay is the recorded run once more"},
    {"--check-jit", "the interpreter judges code against memory that nobody else changes"},
    {"--gdb", "a debugger steps one processor while the others stand still"},
    {"--snapshot", "what is saved are processors in turns"},
    {"--hostile", "an attack is to be found again by its number"},
    {"--hostile-script", "an attack happens at its place in a run that can be done once more"},
};

OrError<void> check_threads(const Arguments& arguments) {
  if (!arguments.has("--threads")) return {};
#if !defined(__x86_64__)
  return usage_error("--threads needs a host that orders memory accesses as x86-64 does",
                     "leave --threads away: the processors run in turns");
#endif
  for (const auto& [option, why] : refused_with_threads)
    if (arguments.has_any(option))
      return usage_error(fmt::format("--threads does not go with {}: {}", option, why),
                         fmt::format("leave --threads or {} away", option));
  return {};
}

OrError<void> check_companions(const Arguments& arguments) {
  CBIT_TRY(check_threads(arguments));
  if (arguments.has("--freeze") && !arguments.has("--gdb"))
    return usage_error("--freeze waits for a debugger", "add --gdb 1234");
  if (arguments.has("--check-jit") && !arguments.choice("--jit", run_jit_words).value_or(true))
    return usage_error("--check-jit judges the code that --jit off does not make", "leave --jit off out");
  if (arguments.has("--dump-as-host") && !arguments.has("--dump-on-panic"))
    return usage_error("--dump-as-host says how to dump", "add --dump-on-panic FILE");
  return {};
}

OrError<std::optional<os::ServerSocket>> open_debugger_socket(const Arguments& arguments) {
  const auto address = arguments.text("--gdb");
  if (!address) return std::nullopt;
  return CBIT_TRY(os::ServerSocket::listen(*address));
}

// The terminal is its own again before anything else is printed.
guest::RunReport run_at_console(guest::Pc& pc, guest::RunOptions& options, const RunWatch& watch,
                                bool interactive, Streams& streams) {
  const auto terminal = interactive ? RunTerminal::open(pc, watch.knowledge(), streams) : nullptr;
  if (terminal) terminal->attach(options);
  return guest::run(pc, options);
}

// Where it listens is told before the guest's first instruction.
void attach_debugger(std::optional<gdb::Server>& debugger, os::ServerSocket socket,
                     const Arguments& arguments, guest::Pc& pc, const RunWatch& watch,
                     guest::RunOptions& options, std::ostream& err) {
  fmt::print(err, "cbit: for a debugger: target remote {}\n", safe_line(socket.where()));
  err << std::flush;
  debugger.emplace(pc, watch.knowledge(), std::move(socket), arguments.has("--freeze"));
  options.wishes.emplace_back([&debugger] { return debugger->attend(); });
}

// What the guest's output has been: what a child shows that has gone back is not shown again.
struct ShownOutput {
  std::uint64_t passed = 0;
  std::uint64_t shown = 0;

  void attach(guest::RunOptions& options) {
    for (guest::SerialEnds* ends : {&options.com1, &options.com2, &options.debug_console})
      if (ends->output)
        ends->output = [this, to = std::move(ends->output)](std::string_view text) { show(text, to); };
  }
  void show(std::string_view text, const std::function<void(std::string_view)>& to) {
    const std::uint64_t known = std::min<std::uint64_t>(shown - std::min(shown, passed), text.size());
    passed += text.size();
    shown = std::max(shown, passed);
    to(text.substr(known));
  }
};

// A debugger of a replay has a way back. The exit code of what has become of it, in the process that keeps
// the machine as it was; nullopt: this is to run it.
OrError<std::optional<ExitCode>> keep_way_back(std::optional<gdb::Keeper>& keeper, gdb::Server& debugger,
                                               ShownOutput& output, guest::Pc& pc, guest::RunOptions& options,
                                               Streams& streams) {
  for (std::ostream* stream : {&streams.out, &streams.err}) *stream << std::flush;
  keeper.emplace(CBIT_TRY(gdb::Keeper::keep()));
  if (keeper->status()) return static_cast<ExitCode>(*keeper->status());
  if (!pc.part())
    return tl::unexpected{Error{"there is no memory for code that is made in a process of its own",
                                "replay with --jit off", ExitCode::no_memory}};
  output.shown = keeper->journey().shown;
  output.attach(options);
  debugger.replay(*keeper, [&output] { return output.shown; });
  options.when_over = [&debugger] { return debugger.at_end(); };
  return std::nullopt;
}

// How it ended, in words, files and the exit code. `failed`: what --fail-on says.
OrError<ExitCode> conclude(const Arguments& arguments, const RunRequest& request, RunOutputs outputs,
                           const guest::RunReport& report, const RunEnding& ending,
                           std::optional<ExitCode> failed, std::ostream& err) {
  print_ending(err, ending, report.tests.counts);
  std::vector<Error> troubles = troubles_of(request, report);
  troubles.insert(troubles.end(), outputs.troubles.begin(), outputs.troubles.end());
  for (const Error& trouble : troubles) print_error(trouble, err);
  const ExitCode code = final_code(ending, troubles, failed);
  if (outputs.junit) {
    outputs.junit->stream() << guest::to_junit({.name = name_of(request),
                                                .error = what_is_wrong(ending, troubles, code),
                                                .seconds = static_cast<double>(report.virtual_ns) / 1e9},
                                               report.tests);
    CBIT_TRY(outputs.junit->commit());
  }
  if (!arguments.has("--git-bisect")) return code;
  return troubles.empty() ? bisect_code(code, report.tests.counts) : bisect_skip;
}

// Why a run has ended that neither the guest nor a limit has ended.
void print_end_from_outside(std::ostream& err, const guest::RunReport& report, const RunRecording& recording,
                            const std::optional<gdb::Server>& debugger) {
  if (report.recording_ended) fmt::print(err, "cbit: here the recording ends\n");
  if (!report.ended_at_console) return;
  const bool by_debugger = debugger && debugger->killed();
  fmt::print(err, "cbit: ended {}\n",
             by_debugger               ? "from the debugger"
             : recording.interrupted() ? "by a signal"
                                       : "from the console");
}

// They look at the machine until it goes, whichever way the run ends.
struct Lookers {
  RunWatch& watch;
  RunHostile& hostile;
  Lookers(RunWatch& w, RunHostile& h) : watch{w}, hostile{h} {}
  Lookers(const Lookers&) = delete;
  Lookers& operator=(const Lookers&) = delete;
  ~Lookers() {
    watch.detach();
    hostile.detach();
  }
};

OrError<ExitCode> run_guest(const Arguments& given, Streams& streams) {
  const auto timeout = CBIT_TRY(given.number("--timeout", 1, timeout_seconds_max));
  CBIT_TRY(check_companions(given));
  const auto recording = CBIT_TRY(RunRecording::open(given));
  const Arguments& arguments = recording->arguments();
  auto debugger_socket = CBIT_TRY(open_debugger_socket(given));
  const auto hostile = CBIT_TRY(RunHostile::open(arguments));
  const auto snapshot = CBIT_TRY(RunSnapshot::open(given));
  RunRequest request = CBIT_TRY(read_run_request(arguments, streams, recording->journal()));
  CBIT_TRY(recording->begin(request));
  const auto watch = CBIT_TRY(RunWatch::open(given, request));
  RunOutputs outputs = CBIT_TRY(RunOutputs::open(given));
  const auto pc = CBIT_TRY(snapshot ? snapshot->make_pc(request) : make_pc(request));
  for (Bytes* file : {&request.kernel, &request.initrd}) *file = Bytes{};  // the machine has them
  if (outputs.screen && !guest::has_display(*pc))
    return usage_error("--screendump has no display to look at", "add --display bochs");

  const bool with_command = !arguments.behind.empty();
  std::optional<Keyboard> keyboard;
  if (!with_command && !recording->replays()) keyboard.emplace();
  guest::RunOptions options =
      run_options(arguments, streams, keyboard ? &*keyboard : nullptr, recording->replays());
  for (const auto& network : request.networks) options.networks.push_back(network.get());
  if (timeout) options.limits.host_time = std::chrono::seconds{*timeout};
  recording->attach(options);
  const Lookers lookers{*watch, *hostile};
  watch->attach(*pc, options);
  hostile->attach(*pc);
  if (snapshot) snapshot->attach(*pc, options, streams.err);
  std::optional<gdb::Server> debugger;
  if (debugger_socket)
    attach_debugger(debugger, std::move(*debugger_socket), given, *pc, *watch, options, streams.err);
  std::optional<gdb::Keeper> keeper;
  ShownOutput output;
  if (debugger && recording->replays())
    if (const auto code = CBIT_TRY(keep_way_back(keeper, *debugger, output, *pc, options, streams)))
      return *code;
  if (request.ssh && !request.ssh->line.empty())
    fmt::print(streams.err, "cbit: once the guest has booted: {}\n", safe_line(request.ssh->line));
  const guest::RunReport report =
      run_at_console(*pc, options, *watch, keyboard && !given.has("--quiet"), streams);

  if (report.trouble) return tl::unexpected{*report.trouble};
  dump_if_dead(given, *pc, *watch, report, streams.err);
  CBIT_TRY(hostile->finish(*pc, streams.err));
  const auto recorded = recording->finish(report);
  const auto failed = CBIT_TRY(watch->finish(streams));
  if (given.has("--stats")) print_stats(streams.err, *pc, report);
  const RunEnding ending = ending_of(*pc, report, with_command);
  if (debugger) debugger->finish(static_cast<unsigned>(ending.code));
  print_end_from_outside(streams.err, report, *recording, debugger);
  outputs.write(given, request, *pc);
  CBIT_TRY(recorded);
  return conclude(given, request, std::move(outputs), report, ending, failed, streams.err);
}

OrError<ExitCode> run(const Arguments& arguments, Streams& streams) {
  OrError<ExitCode> done = run_guest(arguments, streams);
  if (done || !arguments.has("--git-bisect")) return done;
  print_error(done.error(), streams.err);
  return bisect_skip;
}

}  // namespace

const CommandSpec run_command{
    "run",
    "Boot your own Linux kernel on the machine, encrypted or not, and run a command in it",
    "Boots an unmodified Linux kernel (bzImage or vmlinux) on the machine's own x86-64 processor, with an "
    "initramfs of busybox, runs the command in it, and ends with the command's exit code; without a command "
    "there is a shell. The kernel's console is on standard error then, else on standard output. At a "
    "terminal, without a command, all keys go to the guest but Ctrl-A: Ctrl-A x ends the run, Ctrl-A c opens "
    "the monitor (info registers, xp, x/i: try help), Ctrl-A h lists the keys. Without "
    "KERNEL: that of the kernel tree that this is, else Debian's, fetched by apt once. Takes multiboot and "
    "PVH images, too, which end through port F4h with (value << 1) | 1. Exit codes: 124 time-out, 125 the "
    "machine died, 255 panic. Tests whose results the guest prints as KTAP are counted.",
    option_table,
    {"KERNEL", "A bzImage, a vmlinux, a folder where one was built, or a multiboot or PVH image", false,
     false, true},
    examples,
    run,
    {"COMMAND", "What runs in the guest, behind --"},
};

}  // namespace cbit::cli
