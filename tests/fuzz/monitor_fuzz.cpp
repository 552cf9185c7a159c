// Lines for the monitor from anywhere, and the keys that they are typed with: each is answered or refused
// with text that a terminal can take, and the machine is what it was.
//
// The first byte chooses the machine: plain or SEV, with tables or without; the next eight are mixed into a
// table. Lines end with line feeds.
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

#include "base/safe_text.hpp"
#include "base/text.hpp"
#include "fuzz_input.hpp"
#include "guest/monitor/console_desk.hpp"
#include "guest/monitor/monitor.hpp"
#include "support/guest_images.hpp"

namespace {

using namespace cbit;

constexpr std::uint64_t tables = 0x10'0000;
constexpr std::size_t lines_max = 8;

void require(bool holds) {
  if (!holds) std::abort();
}

std::unique_ptr<guest::Pc> make_pc(FuzzInput& input) {
  const std::uint8_t kind = input.byte();
  const Platform platform = (kind & 1) != 0 ? Platform::sev : Platform::plain;
  auto pc = std::move(*guest::Pc::create({.platform = platform, .memory_bytes = 16 << 20}));
  const Bytes image = test::GuestCode{}.exit(0).multiboot();
  require(pc->load({.name = "image", .kernel = image, .command_line = ""}).has_value());
  if ((kind & 2) == 0) return pc;
  const KeyId key = platform == Platform::sev ? mem::guest_key(machine::guest_asid) : no_key;
  const auto mixed = input.take<std::uint64_t>();
  for (std::uint64_t i = 0; i < 512; ++i) {
    const std::uint64_t entry = (mixed >> (i % 32)) ^ (tables | 0x67);
    require(pc->machine()
                .memory()
                .write(PhysAddr{tables + i * 8}, bytes_of(entry), {.agent = {AgentKind::cpu, 0}, .key = key})
                .has_value());
  }
  cpu::Registers registers = pc->cpu().registers();
  registers.segment(isa::Segment::cs) = cpu::flat_code_64(8);
  registers.cr0 |= cpu::cr0::paging;
  registers.cr3 = tables;
  registers.cr4 |= cpu::cr4::physical_address_extension;
  registers.efer |= cpu::efer::long_mode_enable | cpu::efer::long_mode_active;
  pc->cpu().set_registers(registers);
  return pc;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzInput input{data, size};
  const auto pc = make_pc(input);
  const std::string text{reinterpret_cast<const char*>(data), size};
  const mem::MemoryStats before = pc->machine().memory().stats();
  guest::Monitor monitor{*pc};
  std::size_t lines = 0;
  for (const std::string_view line : lines_of(text))
    if (lines++ < lines_max) require(is_safe_text(monitor.execute(line)));

  std::size_t typed = 0;
  std::string shown;
  guest::ConsoleDesk desk{monitor,
                          {.key = [&]() -> std::optional<std::byte> {
                             if (typed == text.size()) return std::nullopt;
                             return static_cast<std::byte>(text[typed++]);
                           },
                           .ended = [&] { return typed == text.size(); },
                           .show = [&](std::string_view what) { shown += what; }}};
  (void)desk.attend();
  std::erase(shown, '\b');
  require(is_safe_text(shown));
  const mem::MemoryStats after = pc->machine().memory().stats();
  require(before.owner_changes == after.owner_changes &&
          before.blocks_transformed == after.blocks_transformed);
  require(pc->clock().now_ns() == 0 && pc->cpu().instructions() == 0);
  return 0;
}
