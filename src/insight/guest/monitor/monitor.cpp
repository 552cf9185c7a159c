#include "guest/monitor/monitor.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "base/safe_text.hpp"
#include "base/text.hpp"
#include "guest/monitor/expression.hpp"
#include "guest/monitor/page_states.hpp"
#include "guest/monitor/register_text.hpp"
#include "guest/monitor/table_text.hpp"
#include "guest/screen.hpp"

namespace cbit::guest {
namespace {

constexpr std::size_t lines_by_default = 128;
constexpr std::uint64_t lines_max = 1'000'000;

// The first word, and what stands behind it; a "/" belongs to the rest.
std::pair<std::string_view, std::string_view> split(std::string_view line) {
  line = trimmed(line);
  const std::size_t end = std::min(line.find_first_of("/ \t"), line.size());
  return {line.substr(0, end), trimmed(line.substr(end))};
}

template <class Table>
tl::unexpected<Error> unknown(std::string_view kind, std::string_view name, const Table& table) {
  std::vector<std::string_view> names;
  for (const auto& entry : table) {
    names.push_back(entry.name);
    if (!entry.alias.empty()) names.push_back(entry.alias);
  }
  return usage_error(fmt::format("unknown {}: \"{}\"", kind, safe_line(name)),
                     did_you_mean(name, names, "\"help\" lists what there is"));
}

template <class Table>
auto find_entry(const Table& table, std::string_view name) {
  return std::ranges::find_if(
      table, [&](const auto& entry) { return name == entry.name || (name == entry.alias && !name.empty()); });
}

OrError<void> nothing_more(std::string_view rest) {
  if (rest.empty()) return {};
  return usage_error(fmt::format("\"{}\" does not belong to this command", safe_line(rest)));
}

// [ADDRESS [LINES]]
struct FromAndLines {
  std::string_view address, lines;
};
OrError<FromAndLines> from_and_lines(std::string_view rest) {
  const std::vector<std::string_view> words = words_of(rest);
  if (words.size() > 2)
    return usage_error("an address without blanks, and a number of lines, are all there is");
  return FromAndLines{words.empty() ? "0" : words[0], words.size() < 2 ? "" : words[1]};
}

OrError<std::size_t> line_count(std::string_view word) {
  if (word.empty()) return lines_by_default;
  const auto value = decimal(word);
  if (value && *value > 0 && *value <= lines_max) return static_cast<std::size_t>(*value);
  return usage_error(fmt::format("\"{}\" is no number of lines", safe_line(word)), "use 1 to 1000000");
}

}  // namespace

struct Monitor::Command {
  std::string_view name, alias, parameters, help;
  Answer (Monitor::*run)(std::string_view rest);
};
struct Monitor::Topic {
  std::string_view name, alias, parameters, help;
  Answer (Monitor::*run)(std::string_view rest);
};

const std::vector<Monitor::Command>& Monitor::commands() {
  static const std::vector<Command> table = {
      {"help", "?", "", "this list", &Monitor::help},
      {"info", "", "TOPIC", "what there is to know, see below", &Monitor::info},
      {"x", "", "/FMT ADDRESS", "memory at a virtual address, by the mapping's key; x/10i $rip disassembles",
       &Monitor::examine},
      {"xp", "", "/FMT ADDRESS", "memory at a physical address, by the page's key",
       &Monitor::examine_physical},
      {"print", "p", "/FMT EXPRESSION", "a value", &Monitor::print},
      {"cpu", "", "NUMBER", "look through the eyes of this processor from now on", &Monitor::choose_cpu},
      {"dump-guest-memory", "", "[--as-host] FILE",
       "a crash dump; --as-host: with ciphertext, as the host has it", &Monitor::dump},
      {"screendump", "", "FILE", "the display's picture, as PPM, or as PNG by its name",
       &Monitor::dump_screen},
      {"cont", "c", "", "let the guest go on, and go back to its console", &Monitor::go_on},
      {"stop", "", "", "let the guest stand still at its console, too, until cont", &Monitor::stop},
      {"quit", "q", "", "end the run", &Monitor::quit},
  };
  return table;
}

const std::vector<Monitor::Topic>& Monitor::topics() {
  static const std::vector<Topic> table = {
      {"registers", "", "[-a|NUMBER]", "the processor's registers; of all of them, or of another",
       &Monitor::info_registers},
      {"cpus", "", "", "the processors, and where they are", &Monitor::info_cpus},
      {"mem", "", "[LINES]", "ranges of virtual addresses of the same rights", &Monitor::info_mem},
      {"tlb", "", "[ADDRESS [LINES]]", "mapped pages, from an address on", &Monitor::info_tlb},
      {"pages", "", "[ADDRESS [LINES]]", "physical pages: by whom and with which key they were written",
       &Monitor::info_pages},
      {"dma", "", "[LINES]", "the DMA API: pools, devices, mappings that are active", &Monitor::info_dma},
      {"modules", "", "[LINES]", "the kernel's modules, and where their code is", &Monitor::info_modules},
      {"version", "", "", "cbit's", &Monitor::info_version},
  };
  return table;
}

Monitor::Monitor(const Pc& pc, const KernelKnowledge* knowledge, Files files)
    : pc_{&pc}, knowledge_{knowledge}, files_{files}, inspector_{pc} {}

std::string Monitor::execute(std::string_view line) {
  const Answer answer = run(line);
  if (answer) return *answer;
  const Error& error = answer.error();
  std::string text = error.message + '\n';
  if (!error.hint.empty()) text += error.hint + '\n';
  return text;
}

Monitor::Answer Monitor::run(std::string_view line) {
  const auto [name, rest] = split(line);
  if (name.empty() && rest.empty()) return "";
  const auto command = find_entry(commands(), name);
  if (command == commands().end()) return unknown("command", name, commands());
  return (this->*command->run)(rest);
}

Monitor::Answer Monitor::help(std::string_view) {
  std::string text = "The guest stands still as long as the monitor is open, and its time with it.\n";
  auto out = std::back_inserter(text);
  for (const Command& command : commands()) {
    const std::string_view between = command.alias.empty() ? "" : "|";
    const std::string words = fmt::format("{}{}{}{}{}", command.name, between, command.alias,
                                          command.parameters.starts_with('/') ? "" : " ", command.parameters);
    fmt::format_to(out, "  {:<29} {}\n", words, command.help);
  }
  for (const Topic& topic : topics())
    fmt::format_to(out, "  {:<29} {}\n", fmt::format("info {} {}", topic.name, topic.parameters), topic.help);
  text +=
      "FMT is a count, one of x d u o c i, and one of b h w g (1, 2, 4, 8 bytes):\n"
      "  x/4xg $rsp, xp/16xb 0x1000, x/10i $rip\n"
      "An ADDRESS may be calculated: $cr3 & ~0xfff, $gs.base + 0x28.\n";
  return text;
}

Monitor::Answer Monitor::info(std::string_view rest) {
  const auto [name, behind] = split(rest);
  if (name.empty()) return usage_error("info about what?", "\"help\" lists what there is");
  const auto topic = find_entry(topics(), name);
  if (topic == topics().end()) return unknown("topic", name, topics());
  return (this->*topic->run)(behind);
}

OrError<std::uint64_t> Monitor::number(std::string_view text) const {
  return evaluate(text,
                  [this](std::string_view name) { return register_value(*pc_, inspector_.cpu(), name); });
}

OrError<std::size_t> Monitor::cpu_number(std::string_view word) const {
  const auto value = decimal(word);
  if (value && *value < pc_->cpu_count()) return static_cast<std::size_t>(*value);
  return usage_error(fmt::format("no processor has the number \"{}\"", safe_line(word)),
                     "\"info cpus\" lists them");
}

OrError<std::uint64_t> Monitor::take_format(std::string_view rest, DumpFormat& format) {
  format = last_format_;
  format.count = 1;
  if (rest.starts_with('/')) {
    const std::size_t end = std::min(rest.find_first_of(" \t"), rest.size());
    format = CBIT_TRY(parse_dump_format(rest.substr(1, end - 1), last_format_));
    rest = trimmed(rest.substr(end));
    const unsigned bytes = format.format == 'c' ? last_format_.bytes : format.bytes;
    last_format_ = format;
    last_format_.bytes = bytes;
  }
  if (format.format == 'c') format.bytes = 1;
  return number(rest);
}

Monitor::Answer Monitor::examine(std::string_view rest) {
  DumpFormat format;
  const VirtAddr at{CBIT_TRY(take_format(rest, format))};
  if (format.format != 'i') return dump_virtual(inspector_, at, format);
  NameOf name_of;
  if (knowledge_ != nullptr)
    name_of = [this](VirtAddr place) { return safe_line(knowledge_->name_of(place)); };
  return disassemble_virtual(inspector_, inspector_.cpu().mode(), at, format, name_of);
}

Monitor::Answer Monitor::examine_physical(std::string_view rest) {
  DumpFormat format;
  const PtePhys at{CBIT_TRY(take_format(rest, format))};
  if (format.format == 'i') return disassemble_physical(inspector_, inspector_.cpu().mode(), at, format);
  return dump_physical(inspector_, at, format);
}

// Of the format only what it looks like counts: QEMU, hmp-commands.hx, print.
Monitor::Answer Monitor::print(std::string_view rest) {
  DumpFormat format;
  const std::uint64_t value = CBIT_TRY(take_format(rest, format));
  if (format.format == 'c') return item_text(value & 0xff, format) + '\n';
  if (format.format == 'x' || format.format == 'i') return fmt::format("{:#x}\n", value);
  if (format.format == 'o') return fmt::format("{:#o}\n", value);
  return format.format == 'd' ? fmt::format("{}\n", static_cast<std::int64_t>(value))
                              : fmt::format("{}\n", value);
}

Monitor::Answer Monitor::choose_cpu(std::string_view rest) {
  inspector_.choose(CBIT_TRY(cpu_number(rest)));
  return "";
}

OrError<void> Monitor::check_files() const {
  if (files_ == Files::written) return {};
  return usage_error("no files are written for who sits here", "use the monitor at the run's own terminal");
}

// QEMU, hmp-commands.hx.
Monitor::Answer Monitor::dump(std::string_view rest) {
  constexpr std::string_view as_host = "--as-host";
  CBIT_TRY(check_files());
  const bool host = words_of(rest).size() > 1 && rest.starts_with(as_host);
  if (host) rest = trimmed(rest.substr(as_host.size()));
  if (rest.empty()) return usage_error("dump to which file?");
  const auto kernel = knowledge_ != nullptr ? knowledge_->for_dump() : std::nullopt;
  CBIT_TRY(write_vmcore(*pc_, kernel, host ? DumpView::host : DumpView::guest, std::string{rest}));
  if (kernel) return "";
  return "without VMCOREINFO, as the kernel is not known\n"
         "begin with --report, --gdb-symbols or --dump-on-panic for that\n";
}

Monitor::Answer Monitor::dump_screen(std::string_view rest) {
  CBIT_TRY(check_files());
  if (rest.empty()) return usage_error("dump to which file?");
  const std::string path{rest};
  CBIT_TRY(write_screen(*pc_, path, CBIT_TRY(os::OutputFile::create(path))));
  return "";
}

Monitor::Answer Monitor::go_on(std::string_view rest) {
  CBIT_TRY(nothing_more(rest));
  stopped_ = false;
  continues_ = true;
  return "";
}

Monitor::Answer Monitor::stop(std::string_view rest) {
  CBIT_TRY(nothing_more(rest));
  stopped_ = true;
  return "";
}

Monitor::Answer Monitor::quit(std::string_view rest) {
  CBIT_TRY(nothing_more(rest));
  quits_ = true;
  return "";
}

Monitor::Answer Monitor::info_registers(std::string_view rest) {
  if (rest.empty()) return registers_text(*pc_, inspector_.cpu());
  if (rest != "-a") return registers_text(*pc_, pc_->cpu(CBIT_TRY(cpu_number(rest))));
  std::string text;
  for (std::size_t cpu = 0; cpu < pc_->cpu_count(); ++cpu)
    text += (cpu == 0 ? "" : "\n") + registers_text(*pc_, pc_->cpu(cpu));
  return text;
}

Monitor::Answer Monitor::info_cpus(std::string_view rest) {
  CBIT_TRY(nothing_more(rest));
  std::string text;
  for (std::size_t number = 0; number < pc_->cpu_count(); ++number) {
    const cpu::Cpu& cpu = pc_->cpu(number);
    text += fmt::format("{} CPU #{}: pc={:#018x}{}\n", &cpu == &inspector_.cpu() ? '*' : ' ', number,
                        cpu.registers().rip, cpu.idle() ? " (halted)" : "");
  }
  return text;
}

// Linux, scripts/gdb/linux/utils.py, get_gdbserver_type(): who answers this is taken for QEMU's kind of stub.
Monitor::Answer Monitor::info_version(std::string_view rest) {
  CBIT_TRY(nothing_more(rest));
  return "cbit " CBIT_VERSION "\n";
}

Monitor::Answer Monitor::info_mem(std::string_view rest) {
  const std::size_t lines = CBIT_TRY(line_count(rest));
  if (!inspector_.cpu().paging()) return "PG disabled\n";
  return mapped_ranges_text(inspector_, lines);
}

Monitor::Answer Monitor::info_tlb(std::string_view rest) {
  const FromAndLines words = CBIT_TRY(from_and_lines(rest));
  const VirtAddr from{CBIT_TRY(number(words.address))};
  const std::size_t lines = CBIT_TRY(line_count(words.lines));
  if (!inspector_.cpu().paging()) return "PG disabled\n";
  return mapped_pages_text(inspector_, from, lines);
}

Monitor::Answer Monitor::info_pages(std::string_view rest) {
  const FromAndLines words = CBIT_TRY(from_and_lines(rest));
  const PhysAddr from{CBIT_TRY(number(words.address))};
  const std::size_t lines = CBIT_TRY(line_count(words.lines));
  return page_states_text(inspector_, from, lines);
}

Monitor::Answer Monitor::info_dma(std::string_view rest) {
  const std::size_t lines = CBIT_TRY(line_count(rest));
  const auto text = knowledge_ != nullptr ? knowledge_->dma_text(lines) : std::nullopt;
  if (!text) return usage_error("nobody watches the kernel's DMA API in this run", "begin it with --report");
  return safe_text(*text);
}

Monitor::Answer Monitor::info_modules(std::string_view rest) {
  const std::size_t lines = CBIT_TRY(line_count(rest));
  if (knowledge_ == nullptr)
    return usage_error("nobody knows the kernel in this run",
                       "begin it with --report, or --gdb-symbols FILE");
  return safe_text(knowledge_->modules_text(lines));
}

}  // namespace cbit::guest
