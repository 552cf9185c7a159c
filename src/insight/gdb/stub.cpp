#include "gdb/stub.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/text.hpp"
#include "gdb/packets.hpp"
#include "gdb/stub_words.hpp"

namespace cbit::gdb {
namespace {

// Signals as the protocol numbers them: GDB, include/gdb/signals.def.
constexpr unsigned signal_interrupt = 2;
constexpr unsigned signal_trap = 5;

constexpr std::size_t memory_bytes_max = packet_bytes_max / 2;

struct MemoryRange {
  std::uint64_t at = 0;
  std::size_t bytes = 0;
};
// "ADDRESS,LENGTH"
std::optional<MemoryRange> memory_range(std::string_view words) {
  const auto [at, length] = split_at(words, ',');
  const auto address = hexadecimal(at), bytes = hexadecimal(length);
  if (!address || !bytes || *bytes > memory_bytes_max) return std::nullopt;
  return MemoryRange{*address, static_cast<std::size_t>(*bytes)};
}

// "KIND,ADDRESS,BYTES"
std::optional<Point> point_of(std::string_view words) {
  if (words.size() < 2 || words[0] < '0' || words[0] > '4' || words[1] != ',') return std::nullopt;
  const auto kind = static_cast<PointKind>(words[0] - '0');
  const auto [at, behind] = split_at(words.substr(2), ',');
  const auto address = hexadecimal(at), bytes = hexadecimal(split_at(behind, ';').first);
  if (!address || !bytes) return std::nullopt;
  const bool watches = kind >= PointKind::write;
  return Point{kind, VirtAddr{*address}, watches ? *bytes : 0};
}

}  // namespace

struct Stub::Command {
  std::string_view name;
  Reply (Stub::*run)(std::string_view rest);
};

// The first that the packet begins with.
std::span<const Stub::Command> Stub::commands() {
  static constexpr Command table[] = {
      {"?", &Stub::why_stopped},
      {"g", &Stub::all_registers},
      {"G", &Stub::set_all_registers},
      {"p", &Stub::one_register},
      {"P", &Stub::set_one_register},
      {"m", &Stub::memory},
      {"M", &Stub::set_memory},
      {"X", &Stub::set_memory_binary},
      {"H", &Stub::select_thread},
      {"T", &Stub::is_thread_alive},
      {"bs", &Stub::reverse_step},
      {"bc", &Stub::reverse_continue},
      {"c", &Stub::go_on},
      {"s", &Stub::step_once},
      {"vCont", &Stub::resume},
      {"vKill;", &Stub::kill_process},
      {"Z", &Stub::insert_point},
      {"z", &Stub::remove_point},
      {"D", &Stub::detach},
      {"k", &Stub::kill},
  };
  return table;
}

Stub::Stub(guest::Pc& pc, const guest::KernelKnowledge* knowledge, Send send)
    : target_{pc}, monitor_{pc, knowledge}, send_{std::move(send)}, step_mode_{default_step_mode} {}

Stub::Reply Stub::execute(std::string_view packet) {
  if (packet.starts_with('q') || packet.starts_with('Q')) return query(packet);
  const auto command = std::ranges::find_if(
      commands(), [packet](const Command& entry) { return packet.starts_with(entry.name); });
  if (command == commands().end()) return "";
  return (this->*command->run)(packet.substr(command->name.size()));
}

// ---- stopping and going on ------------------------------------------------------------------------------

void Stub::attach() {
  target_.remove_all();
  target_.forget_pause();
  attached_ = true;
  acknowledges_ = true;
  physical_ = reports_breaks_ = false;
  step_mode_ = default_step_mode;
  thread_ = 0;
  state_ = State::stopped;
  last_stop_ = stopped(signal_trap, 0);
}

std::string Stub::stopped(unsigned signal, std::size_t processor, std::string_view reason) {
  state_ = State::stopped;
  target_.forget_pause();
  thread_ = processor;
  last_stop_ = fmt::format("T{:02x}thread:{};{}", signal, thread_name(processor), reason);
  return last_stop_;
}

std::string Stub::describe(const Target::Stop& stop) const {
  switch (stop.point.kind) {
    case PointKind::software_break: return reports_breaks_ ? "swbreak:;" : "";
    case PointKind::hardware_break: return reports_breaks_ ? "hwbreak:;" : "";
    case PointKind::write: return fmt::format("watch:{:x};", stop.at);
    case PointKind::read: return fmt::format("rwatch:{:x};", stop.at);
    case PointKind::access: return fmt::format("awatch:{:x};", stop.at);
  }
  return "";
}

Stub::Reply Stub::look_for_stop() {
  if (const auto stop = target_.take_stop()) return stopped(signal_trap, stop->processor, describe(*stop));
  if (target_.take_pause()) return stopped(signal_trap, stepping_);
  return std::nullopt;
}

Stub::Reply Stub::step(std::uint64_t for_ns) {
  if (!target_.step(stepping_, (step_mode_ & step_without_interrupts) != 0, for_ns)) return std::nullopt;
  // Of a machine that has ended, whoever runs it tells.
  if (target_.ended()) {
    state_ = State::runs;
    return std::nullopt;
  }
  if (auto stop = look_for_stop()) return stop;
  return stopped(signal_trap, stepping_);
}

Stub::Reply Stub::interrupt() {
  if (state_ == State::stopped) return std::nullopt;
  return stopped(signal_interrupt, thread_);
}

Stub::Reply Stub::start(State state, std::size_t processor) {
  while (target_.take_stop()) {
    // An older one, which Ctrl-C came before.
  }
  state_ = state;
  stepping_ = processor;
  return std::nullopt;
}

Stub::Reply Stub::why_stopped(std::string_view) { return last_stop_; }

// "[ADDRESS]"
bool Stub::set_rip(std::string_view address) {
  if (address.empty()) return true;
  const auto rip = hexadecimal(address);
  if (!rip) return false;
  cpu::Registers registers = selected().cpu->registers();
  registers.rip = *rip;
  selected().cpu->set_registers(registers);
  return true;
}

Stub::Reply Stub::go_on(std::string_view rest) {
  if (!set_rip(rest)) return error_invalid;
  return start(State::runs, thread_);
}

Stub::Reply Stub::step_once(std::string_view rest) {
  if (!set_rip(rest)) return error_invalid;
  return start_step(thread_);
}

// An instruction of a replay is run as the others are.
Stub::Reply Stub::start_step(std::size_t processor) {
  if (!replays_) return start(State::steps, processor);
  const Reply none = start(State::runs, processor);
  target_.pause_after_step(processor);
  return none;
}

// "?", or ";ACTION[:THREAD]..."; where a processor is to step, no other one runs meanwhile.
Stub::Reply Stub::resume(std::string_view rest) {
  if (rest == "?") return "vCont;c;C;s;S";
  if (!rest.starts_with(';')) return error_invalid;
  std::optional<std::size_t> steps;
  bool runs = false;
  while (!rest.empty()) {
    const auto [action, behind] = split_at(rest.substr(1), ';');
    rest = behind.empty() ? behind : rest.substr(1 + action.size());
    const auto [what, thread] = split_at(action, ':');
    const auto processor = processor_of(thread.empty() ? "-1" : thread);
    if (!processor || what.empty()) return error_invalid;
    if (what[0] == 's' || what[0] == 'S')
      steps = steps.value_or(*processor);
    else if (what[0] == 'c' || what[0] == 'C')
      runs = true;
    else
      return error_invalid;
  }
  if (steps) return start_step(*steps);
  return runs ? start(State::runs, thread_) : error_invalid;
}

void Stub::let_go() {
  target_.remove_all();
  target_.forget_pause();
  attached_ = false;
  state_ = State::runs;
}

Stub::Reply Stub::detach(std::string_view) {
  let_go();
  return reply_ok;
}

Stub::Reply Stub::kill(std::string_view) {
  state_ = State::killed;
  return std::nullopt;
}

Stub::Reply Stub::kill_process(std::string_view) {
  state_ = State::killed;
  return reply_ok;
}

// ---- back, in a replay ----------------------------------------------------------------------------------

// GDB's manual, "Stop Reply Packets" and "Packets", of a target that has a log of what happened.
constexpr std::string_view begin_reason = "replaylog:begin;";
constexpr std::string_view end_reason = "replaylog:end;";

Stub::Reply Stub::start_back(const Journey& journey) {
  journey_ = journey;
  journey_.debugger = {.acknowledges = acknowledges_,
                       .physical = physical_,
                       .reports_breaks = reports_breaks_,
                       .step_mode = step_mode_,
                       .thread = thread_,
                       .points = target_.points()};
  state_ = State::goes_back;
  return std::nullopt;
}

Stub::Reply Stub::reverse_step(std::string_view) {
  if (!replays_) return "";
  const std::uint64_t position = selected().cpu->position();
  if (position == 0) return stopped(signal_trap, thread_, begin_reason);
  return start_back({.kind = Journey::Kind::of_a_processor,
                     .position = position - 1,
                     .processor = thread_,
                     .reason = {},
                     .debugger = {}});
}

Stub::Reply Stub::reverse_continue(std::string_view) {
  if (!replays_) return "";
  const std::uint64_t position = target_.pc().position();
  if (position == 0) return stopped(signal_trap, thread_, begin_reason);
  return start_back({.kind = Journey::Kind::to_last_stop,
                     .position = position,
                     .processor = thread_,
                     .reason = std::string{begin_reason},
                     .debugger = {}});
}

void Stub::set_points(const std::vector<Point>& points) {
  for (const Point& point : points) (void)target_.insert(point);
}

std::string Stub::arrive(const Journey& journey) {
  attach();
  acknowledges_ = journey.debugger.acknowledges;
  physical_ = journey.debugger.physical;
  reports_breaks_ = journey.debugger.reports_breaks;
  step_mode_ = static_cast<unsigned>(journey.debugger.step_mode);
  set_points(journey.debugger.points);
  return stopped(signal_trap, static_cast<std::size_t>(journey.processor), journey.reason);
}

std::string Stub::end_of_recording() { return stopped(signal_trap, thread_, end_reason); }

// ---- registers and memory -------------------------------------------------------------------------------

Stub::Reply Stub::all_registers(std::string_view) { return cbit::to_hex(read_registers(selected())); }

Stub::Reply Stub::set_all_registers(std::string_view rest) {
  const auto values = from_hex(rest);
  return values && write_registers(selected(), *values) ? reply_ok : error_invalid;
}

Stub::Reply Stub::one_register(std::string_view rest) {
  const auto number = hexadecimal(rest);
  const auto value = number ? read_register(selected(), *number) : std::nullopt;
  return value ? cbit::to_hex(*value) : error_invalid;
}

Stub::Reply Stub::set_one_register(std::string_view rest) {
  const auto [word, digits] = split_at(rest, '=');
  const auto number = hexadecimal(word);
  const auto value = from_hex(digits);
  return number && value && write_register(selected(), *number, *value) ? reply_ok : error_invalid;
}

Stub::Reply Stub::memory(std::string_view rest) {
  const auto range = memory_range(rest);
  if (!range) return error_invalid;
  Bytes bytes(range->bytes);
  // As much as there is: a reader that asks for more than it needs gets what it needs.
  while (!bytes.empty() && !target_.read(thread_, space(), range->at, bytes)) {
    const std::size_t in_last_page = (range->at + bytes.size() - 1) % page_size + 1;
    bytes.resize(bytes.size() - std::min(bytes.size(), in_last_page));
  }
  if (bytes.empty() && range->bytes != 0) return error_fault;
  return cbit::to_hex(bytes);
}

Stub::Reply Stub::set_memory(std::string_view rest) {
  const auto [words, digits] = split_at(rest, ':');
  const auto range = memory_range(words);
  const auto bytes = from_hex(digits);
  if (!range || !bytes || bytes->size() != range->bytes) return error_invalid;
  return target_.write(thread_, space(), range->at, *bytes) ? reply_ok : error_fault;
}

Stub::Reply Stub::set_memory_binary(std::string_view rest) {
  const auto [words, data] = split_at(rest, ':');
  const auto range = memory_range(words);
  if (!range || data.size() != range->bytes) return error_invalid;
  return target_.write(thread_, space(), range->at, std::as_bytes(std::span{data})) ? reply_ok : error_fault;
}

Stub::Reply Stub::insert_point(std::string_view rest) {
  const auto point = point_of(rest);
  return point && target_.insert(*point) ? reply_ok : error_invalid;
}

Stub::Reply Stub::remove_point(std::string_view rest) {
  const auto point = point_of(rest);
  if (!point) return error_invalid;
  target_.remove(*point);
  return reply_ok;
}

// ---- threads --------------------------------------------------------------------------------------------

std::optional<std::size_t> Stub::processor_of(std::string_view thread) const {
  if (thread == "-1" || thread == "0") return thread_;
  const auto number = hexadecimal(thread);
  if (!number || *number == 0 || *number > target_.processors().size()) return std::nullopt;
  return static_cast<std::size_t>(*number - 1);
}

// Which operations it is for makes no difference: "c" is for what vCont replaces.
Stub::Reply Stub::select_thread(std::string_view rest) {
  if (rest.empty() || (rest[0] != 'g' && rest[0] != 'c')) return error_invalid;
  const auto processor = processor_of(rest.substr(1));
  if (!processor) return error_invalid;
  thread_ = *processor;
  return reply_ok;
}

Stub::Reply Stub::is_thread_alive(std::string_view rest) {
  return processor_of(rest) ? reply_ok : error_invalid;
}

}  // namespace cbit::gdb
