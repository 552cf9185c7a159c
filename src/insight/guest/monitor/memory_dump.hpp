// Memory as text, in the formats of QEMU's x and xp, with what others see of the same bytes.
//
// Where there are keys, a line has eight bytes in four columns: under the key that counts there (of the
// mapping for x, of the page for xp) in the format asked for; then, byte by byte in the order of addresses,
// what the host's software sees and what DRAM holds; and the key's name. Without keys all see the same, and
// lines are QEMU's.
//
// Formats: QEMU, monitor/hmp.c ('/') and monitor/hmp-cmds-target.c (memory_dump()); d is signed, as its
// manual says. Threading: that of the machine.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "guest/monitor/inspector.hpp"

namespace cbit::guest {

// What stands behind "/" in x/10xw; it stays for the next that does not say.
struct DumpFormat {
  unsigned count = 1;
  char format = 'x';       // o, d, u, x, c, or i for instructions
  unsigned bytes = 4;      // of an item
  unsigned code_bits = 0;  // of instructions: 16, 32 or 64; 0: as the processor is now
};
inline constexpr unsigned dump_items_max = 4096;

// Errors (usage): letters that mean nothing, or more items than there may be.
[[nodiscard]] OrError<DumpFormat> parse_dump_format(std::string_view text, const DumpFormat& last);

// The kernel's name for an address in its code; empty: none is known.
using NameOf = std::function<std::string(VirtAddr)>;

[[nodiscard]] std::string dump_virtual(const Inspector& inspector, VirtAddr at, const DumpFormat& format);
// An address with key bits, as CR3 or a page-table entry has it, is looked at with that key.
[[nodiscard]] std::string dump_physical(const Inspector& inspector, PtePhys at, const DumpFormat& format);
[[nodiscard]] std::string disassemble_virtual(const Inspector& inspector, isa::Mode mode, VirtAddr at,
                                              const DumpFormat& format, const NameOf& name_of);
[[nodiscard]] std::string disassemble_physical(const Inspector& inspector, isa::Mode mode, PtePhys at,
                                               const DumpFormat& format);

// An item as a dump has it.
[[nodiscard]] std::string item_text(std::uint64_t value, const DumpFormat& format);

}  // namespace cbit::guest
