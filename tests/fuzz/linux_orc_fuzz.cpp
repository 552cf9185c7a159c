// Unwind tables and stacks of a hostile guest: every walk ends, and gives no more frames than were asked for.
#include <cstdlib>

#include "fuzz_input.hpp"
#include "linux/unwind.hpp"
#include "support/linux/fake_guest.hpp"

namespace {

using namespace cbit;

constexpr VirtAddr text{0xffff'ffff'8100'0000};
constexpr VirtAddr stack{0xffff'c900'0001'3000};
constexpr std::size_t frames_max = 40;

void require(bool holds) {
  if (!holds) std::abort();
}

struct Code : linux::CodeMap {
  [[nodiscard]] bool is_text(VirtAddr at) const override { return at >= text && at - text < 256; }
  [[nodiscard]] bool is_function_start(VirtAddr at) const override { return at.value() % 64 == 0; }
  [[nodiscard]] std::optional<linux::OrcRule> rule_at(VirtAddr ip) const override { return orc.find(ip); }
  linux::OrcTable orc;
};

// Words that mean something here, or anything.
std::uint64_t word(FuzzInput& input) {
  switch (input.below(4)) {
    case 0: return text.value() + input.byte();
    case 1: return stack.value() + 8 * input.byte();
    case 2: return input.byte();
    default: return input.take<std::uint64_t>();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzInput input{data, size};
  test::ByteWriter offsets, rules;
  const std::size_t entries = input.below(16);
  for (std::size_t i = 0; i < entries; ++i) {
    offsets.put(input.flag() ? static_cast<std::uint32_t>(16 * i - offsets.size())
                             : input.take<std::uint32_t>());
    rules.put(std::int16_t{input.byte()}).put(static_cast<std::int16_t>(-8 * input.below(8)));
    rules.put(input.take<std::uint16_t>());
  }
  const auto dialect = static_cast<linux::OrcDialect>(input.below(3));
  Code code;
  code.orc =
      linux::OrcTable::create(offsets.bytes(), text, rules.bytes(), dialect).value_or(linux::OrcTable{});
  (void)linux::OrcTable::create(offsets.bytes(), text, rules.bytes());

  static test::FakeGuest guest;
  linux::CpuView cpu{.memory = &guest};
  for (std::uint64_t& gpr : cpu.gpr) gpr = word(input);
  cpu.rip = text.value() + input.byte();
  cpu.gpr[linux::CpuView::rsp] = stack.value() + 8 * input.byte();
  guest.write(text - 16, Bytes(512, std::byte{0xe8}));
  for (VirtAddr at = stack; at < stack + 0x1000; at += 8) guest.put(at, input.empty() ? 0 : word(input));
  const auto frames = linux::unwind(cpu, code, frames_max);
  require(!frames.empty() && frames.size() <= frames_max);
  require(linux::scan_stack(cpu, code, frames_max).size() <= frames_max);
  return 0;
}
