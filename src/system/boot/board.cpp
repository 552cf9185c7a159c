#include "boot/board.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "boot/acpi/tables.hpp"
#include "boot/layout.hpp"

namespace cbit::boot {
namespace {

constexpr std::uint64_t low_ram_bytes_min = 8ull << 20;

OrError<void> check_platform(Platform platform) {
  if (machine::traits_of(platform).image_load != machine::ImageLoad::none) return {};
  return usage_error(fmt::format("no image can be loaded on platform {}", to_string(platform)),
                     "use plain, sme or sev");
}

// Handlers that do nothing: of software's interrupts, and of the PICs', which are told. Tests of real mode
// halt until the timer's comes.
constexpr std::uint16_t bios_segment = 0xf000;
constexpr std::uint16_t handler_at = 0xff53;
constexpr std::uint8_t handler[] = {0xcf};  // iret
constexpr std::uint16_t irq_handler_at = 0xff40;
constexpr std::uint8_t irq_handler[] = {
    0x50,        // push ax
    0xb0, 0x20,  // mov al, 20h
    0xe6, 0xa0,  // out a0h, al
    0xe6, 0x20,  // out 20h, al
    0x58,        // pop ax
    0xcf         // iret
};

Bytes interrupt_vectors(const PcDescription& pc) {
  constexpr unsigned vectors = 256;
  Bytes table(vectors * sizeof(std::uint32_t));
  for (unsigned vector = 0; vector < vectors; ++vector) {
    const bool irq = vector / 8 == pc.pic_master_vectors / 8u || vector / 8 == pc.pic_slave_vectors / 8u;
    store(table, vector * sizeof(std::uint32_t),
          std::uint32_t{bios_segment} << 16 | (irq ? irq_handler_at : handler_at));
  }
  return table;
}

Bytes bios_area(ConstByteSpan rsdp) {
  Bytes area(layout::high_memory - layout::bios);
  std::ranges::copy(rsdp, area.begin());
  std::ranges::copy(std::as_bytes(std::span{handler}), area.begin() + handler_at);
  std::ranges::copy(std::as_bytes(std::span{irq_handler}), area.begin() + irq_handler_at);
  return area;
}

std::vector<MapEntry> memory_map(const Board& board, const AcpiTables& tables) {
  using enum spec::E820Type;
  std::vector<MapEntry> map;
  const auto add = [&map](PhysAddr first, PhysAddr end, spec::E820Type type) {
    if (first < end) map.push_back({first, end - first, type});
  };
  constexpr PhysAddr ebda_end{0xa'0000};
  add(PhysAddr{0}, layout::low_ram_end, ram);
  add(layout::low_ram_end, ebda_end, reserved);
  add(layout::bios, layout::high_memory, reserved);
  add(layout::high_memory, tables.facs, ram);
  add(tables.facs, tables.tables, nvs);
  add(tables.tables, tables.tables + tables.bytes.size(), acpi);
  add(board.pc.ecam.first, board.pc.ecam.end(), reserved);
  for (std::size_t i = 1; i < board.ram.size(); ++i) add(board.ram[i].first, board.ram[i].end(), ram);
  std::ranges::sort(map, {}, &MapEntry::first);
  return map;
}

}  // namespace

Board board_of(machine::Machine& machine, const PcDescription& pc) {
  const machine::MachineConfig& config = machine.config();
  Board board{.platform = config.platform, .ram = machine.memory().ram(), .pc = pc};
  if (is_loaded_encrypted(config.platform)) board.encryption_mask = machine.paging().view.layout.mask();
  return board;
}

PhysAddr rsdp_address() { return layout::bios; }

OrError<LoadPlan> begin_plan(const Board& board) {
  CBIT_TRY(check_platform(board.platform));
  LoadPlan plan{board.ram};
  if (board.ram.front().bytes < low_ram_bytes_min)
    return bad_input(
        fmt::format("{} KiB of RAM are too little for any kernel", board.ram.front().bytes >> 10),
        "use more --memory");
  AcpiTables acpi = make_acpi_tables(board.pc, plan.end_of_low_ram().page());
  plan.memory_map = memory_map(board, acpi);
  Bytes vectors = interrupt_vectors(board.pc);
  const std::uint64_t behind = page_size - vectors.size();
  CBIT_TRY(plan.add_owned("interrupt vectors", layout::vectors, std::move(vectors), behind));
  CBIT_TRY(plan.add({"BIOS data", layout::ebda_page, {}, page_size}));
  CBIT_TRY(plan.add_owned("BIOS area", layout::bios, bios_area(acpi.rsdp)));
  CBIT_TRY(plan.add_owned("FACS", acpi.facs, std::move(acpi.fixed)));
  CBIT_TRY(plan.add_owned("ACPI tables", acpi.tables, std::move(acpi.bytes)));
  return plan;
}

OrError<PhysAddr> add_module(LoadPlan& plan, const BootModule& module, PhysAddr limit) {
  const auto at = plan.find_room(module.bytes.size(), limit);
  // The first megabyte is the kernel's own.
  if (!at || *at < layout::high_memory) {
    std::uint64_t ram = 0;
    for (const mem::PhysRange& range : plan.ram()) ram += range.bytes;
    return bad_input(
        fmt::format("{} has {} KiB, and the machine's {} MiB have no room for it beside the kernel",
                    module.name, (module.bytes.size() + 1023) >> 10, ram >> 20),
        "use more --memory, or a smaller initrd");
  }
  CBIT_TRY(plan.add({"initrd", *at, module.bytes}));
  return *at;
}

}  // namespace cbit::boot
