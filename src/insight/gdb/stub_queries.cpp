// What a debugger asks of the stub itself, and QEMU's own packets.
#include <fmt/format.h>

#include <algorithm>

#include "base/text.hpp"
#include "gdb/packets.hpp"
#include "gdb/stub.hpp"
#include "gdb/stub_words.hpp"

namespace cbit::gdb {
namespace {

// Of the monitor's output in a packet: two digits a byte, behind an O.
constexpr std::size_t output_bytes_max = (packet_bytes_max - 1) / 2;

}  // namespace

struct Stub::Query {
  std::string_view name;
  Reply (Stub::*run)(std::string_view rest);
};

// The first that the packet begins with.
std::span<const Stub::Query> Stub::queries() {
  static constexpr Query table[] = {
      {"qSupported", &Stub::supported},
      {"qXfer:features:read:target.xml:", &Stub::features},
      {"qfThreadInfo", &Stub::first_threads},
      {"qsThreadInfo", &Stub::no_more_threads},
      {"qThreadExtraInfo,", &Stub::thread_words},
      {"qC", &Stub::current_thread},
      {"qAttached", &Stub::attached},
      {"QStartNoAckMode", &Stub::no_acknowledgements},
      {"qRcmd,", &Stub::monitor_command},
      {"qqemu.PhyMemMode", &Stub::physical_mode},
      {"Qqemu.PhyMemMode:", &Stub::set_physical_mode},
      {"qqemu.sstepbits", &Stub::step_bits},
      {"qqemu.sstep", &Stub::step_mode},
      {"Qqemu.sstep=", &Stub::set_step_mode},
      {"Qqemu.sstep:", &Stub::set_step_mode},
  };
  return table;
}

Stub::Reply Stub::query(std::string_view packet) {
  const auto entry = std::ranges::find_if(
      queries(), [packet](const Query& query) { return packet.starts_with(query.name); });
  if (entry == queries().end()) return "";
  return (this->*entry->run)(packet.substr(entry->name.size()));
}

Stub::Reply Stub::supported(std::string_view rest) {
  reports_breaks_ = rest.find("swbreak+") != rest.npos && rest.find("hwbreak+") != rest.npos;
  return fmt::format(
      "PacketSize={:x};qXfer:features:read+;vContSupported+;QStartNoAckMode+;swbreak+;hwbreak+{}",
      packet_bytes_max, replays_ ? ";ReverseStep+;ReverseContinue+" : "");
}

// "OFFSET,LENGTH"
Stub::Reply Stub::features(std::string_view rest) {
  const auto [first, length] = split_at(rest, ',');
  const auto offset = hexadecimal(first), bytes = hexadecimal(length);
  const std::string& text = target_xml();
  if (!offset || !bytes || *offset > text.size()) return error_invalid;
  const std::string part = text.substr(*offset, std::min<std::uint64_t>(*bytes, packet_bytes_max / 4));
  return (*offset + part.size() == text.size() ? "l" : "m") + part;
}

Stub::Reply Stub::first_threads(std::string_view) {
  std::string names;
  for (std::size_t processor = 0; processor < target_.processors().size(); ++processor)
    names += (processor == 0 ? "m" : ",") + thread_name(processor);
  return names;
}

Stub::Reply Stub::no_more_threads(std::string_view) { return "l"; }

Stub::Reply Stub::thread_words(std::string_view rest) {
  const auto processor = processor_of(rest);
  if (!processor) return error_invalid;
  const bool halted = target_.processors()[*processor].cpu->halted();
  return to_hex(fmt::format("CPU#{} [{}]", *processor, halted ? "halted" : "running"));
}

// Other packets begin so, too.
Stub::Reply Stub::current_thread(std::string_view rest) {
  return rest.empty() ? "QC" + thread_name(thread_) : "";
}

// It was there before the debugger, and stays behind it.
Stub::Reply Stub::attached(std::string_view) { return "1"; }

Stub::Reply Stub::no_acknowledgements(std::string_view) {
  acknowledges_ = false;
  return reply_ok;
}

Stub::Reply Stub::monitor_command(std::string_view rest) {
  const auto line = from_hex(rest);
  if (!line) return error_invalid;
  const std::string answer = monitor_.execute({reinterpret_cast<const char*>(line->data()), line->size()});
  for (std::size_t at = 0; at < answer.size(); at += output_bytes_max)
    send_("O" + to_hex(std::string_view{answer}.substr(at, output_bytes_max)));
  if (monitor_.take_continue()) send_("O" + to_hex("the debugger's own continue lets the guest go on\n"));
  if (monitor_.quits()) state_ = State::killed;
  return reply_ok;
}

Stub::Reply Stub::physical_mode(std::string_view) { return physical_ ? "1" : "0"; }

Stub::Reply Stub::set_physical_mode(std::string_view rest) {
  if (rest != "0" && rest != "1") return error_invalid;
  physical_ = rest == "1";
  return reply_ok;
}

Stub::Reply Stub::step_bits(std::string_view) {
  return fmt::format("ENABLE={},NOIRQ={}", step_enabled, step_without_interrupts);
}

Stub::Reply Stub::step_mode(std::string_view) { return fmt::format("{:#x}", step_mode_); }

Stub::Reply Stub::set_step_mode(std::string_view rest) {
  const auto mode = hexadecimal(rest);
  if (!mode || (*mode & ~std::uint64_t{default_step_mode}) != 0) return error_invalid;
  step_mode_ = static_cast<unsigned>(*mode);
  return reply_ok;
}

}  // namespace cbit::gdb
