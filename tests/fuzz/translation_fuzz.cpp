// A guest that does to its code what it likes: patches it, jumps into the middle of it, maps it anew, unmaps
// it, has others write it; and the same guest on generated code.
//
// Held: after each run, with blocks translated at their first, or after a few, everything that can be seen is
// as the interpreter has it; work is bounded by the instructions that were executed.
#include <cstdio>

#include "base/format.hpp"
#include "fuzz_input.hpp"
#include "isa/decode.hpp"
#include "translation_guest.hpp"

namespace cbit {
namespace {

constexpr unsigned slices_max = 8, slice_ns_max = 512, events_max = 8;
constexpr unsigned listed_max = 48;

std::uint64_t any_register(FuzzInput& input) {
  const std::uint8_t choice = input.byte();
  const std::uint64_t low = choice & 31;
  switch (choice >> 5) {
    case 0: return low;
    case 1: return FuzzGuest::data_at + low * 64;
    case 2: return FuzzGuest::code_at + low * 128;
    case 3: return FuzzGuest::data_at + page_size - low;
    case 4: return FuzzGuest::device + low * 8;
    case 5: return FuzzGuest::page_table + (FuzzGuest::code_at / page_size + low) * 8;
    case 6: return FuzzGuest::code_again + low * 0x400;
    default: return ~low;
  }
}

template <class Enum>
Enum any(FuzzInput& input) {
  return static_cast<Enum>(input.below(static_cast<unsigned>(Enum::count)));
}

GuestPlan::Event any_event(FuzzInput& input) {
  GuestPlan::Event event;
  event.at_ns = input.take<std::uint16_t>() % (slices_max * slice_ns_max);
  event.kind = any<GuestPlan::Event::Kind>(input);
  event.where = input.take<std::uint16_t>();
  event.value = input.take<std::uint64_t>();
  return event;
}

GuestPlan any_plan(FuzzInput& input) {
  GuestPlan plan;
  plan.mode = any<GuestPlan::Mode>(input);
  const std::uint8_t flags = input.byte();
  plan.handlers = (flags & 1) != 0;
  plan.own_page_fault = (flags & 2) != 0;
  plan.interrupts = (flags & 4) != 0;
  plan.keys = (flags & 8) != 0;
  plan.caches = (flags & 0x30) == 0x30;
  plan.open = (flags & 0x40) != 0;
  plan.on_device = any<GuestPlan::OnDevice>(input);
  plan.start = input.take<std::uint16_t>() % FuzzGuest::code_bytes;
  plan.entry = static_cast<std::uint16_t>((plan.start + input.byte()) % FuzzGuest::code_bytes);
  for (std::uint64_t& reg : plan.gpr) reg = any_register(input);
  for (unsigned count = 1 + input.below(slices_max); count != 0; --count)
    plan.slices_ns.push_back(1 + input.take<std::uint16_t>() % slice_ns_max);
  for (unsigned count = input.below(events_max + 1); count != 0; --count)
    plan.events.push_back(any_event(input));
  while (!input.empty() && plan.code.size() < FuzzGuest::code_bytes)
    plan.code.push_back(std::byte(input.byte()));
  return plan;
}

std::string listing(const GuestPlan& plan) {
  const isa::Mode mode = isa::Mode{}
                             .with<isa::Mode::Long64>(plan.is_64())
                             .with<isa::Mode::Code32>(!plan.is_64() && plan.mode != GuestPlan::Mode::real);
  std::string text;
  std::size_t at = plan.entry - std::min(plan.entry, plan.start);
  for (unsigned i = 0; i < listed_max && at < plan.code.size(); ++i) {
    const auto rest = std::span{plan.code}.subspan(at);
    const std::uint64_t address = FuzzGuest::code_at + plan.start + at;
    const auto one = isa::disassemble(mode, rest, address);
    const std::size_t length = std::min(std::max<std::size_t>(one.length, 1), rest.size());
    text += fmt::format("  {:#x}: {:32} {}\n", address, to_hex(rest.first(length)), one.text);
    at += length;
  }
  return text;
}

std::string difference(const FuzzGuest::Seen& expected, const FuzzGuest::Seen& found) {
  std::string text;
  const auto compare = [&](std::string_view name, std::uint64_t wanted, std::uint64_t got) {
    if (wanted != got) text += fmt::format("  {}: {:#x} instead of {:#x}\n", name, got, wanted);
  };
  const auto& wanted = expected.registers;
  const auto& got = found.registers;
  compare("stop", static_cast<std::uint64_t>(expected.stop), static_cast<std::uint64_t>(found.stop));
  compare("clock", expected.now_ns, found.now_ns);
  compare("instructions", expected.instructions, found.instructions);
  for (unsigned i = 0; i < wanted.gpr.size(); ++i)
    compare(fmt::format("register {}", i), wanted.gpr[i], got.gpr[i]);
  compare("rip", wanted.rip, got.rip);
  compare("rflags", wanted.rflags, got.rflags);
  compare("cr2", wanted.cr2, got.cr2);
  if (expected.extended != found.extended) text += "  x87 or SSE state\n";
  if (expected.others != found.others) text += "  MSRs, deliveries, or what a device was asked\n";
  return text;
}

// `tier` runs as the interpreter does, or the program ends.
class Comparison {
 public:
  Comparison(const GuestPlan& plan, unsigned tier)
      : plan_{&plan}, tier_{tier}, oracle_{plan, 0}, found_{plan, tier} {}

  void run() {
    for (const std::uint64_t ns : plan_->slices_ns) {
      const FuzzGuest::Seen expected = oracle_.run(ns);
      const FuzzGuest::Seen seen = found_.run(ns);
      if (expected != seen) fail(difference(expected, seen));
      if (expected.stop == cpu::Stop::shutdown) break;
    }
    compare_memory();
    if (found_.stats().blocks > oracle_.stats().blocks) fail("  blocks are decoded more often\n");
    if (found_.stats().translated > found_.stats().blocks) fail("  blocks are translated more than once\n");
  }

 private:
  void compare_memory() {
    const Bytes wanted = oracle_.memory();
    const Bytes got = found_.memory();
    if (wanted == got) return;
    const auto at = std::ranges::mismatch(wanted, got).in1 - wanted.begin();
    fail(fmt::format("  memory at {:#x}\n", at));
  }
  [[noreturn]] void fail(const std::string& what) {
    const std::string text =
        fmt::format("translated after {}:\n{}{}--- interpreter\n{}\n--- translated\n{}\n", tier_, what,
                    listing(*plan_), oracle_.processor().report(), found_.processor().report());
    std::fputs(text.c_str(), stderr);
    std::abort();
  }

  const GuestPlan* plan_;
  unsigned tier_;
  FuzzGuest oracle_;
  FuzzGuest found_;
};

}  // namespace
}  // namespace cbit

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  cbit::FuzzInput input{data, size};
  const unsigned later = input.flag() ? 2 : 7;
  const cbit::GuestPlan plan = cbit::any_plan(input);
  for (const unsigned tier : {1u, later}) cbit::Comparison{plan, tier}.run();
  return 0;
}
