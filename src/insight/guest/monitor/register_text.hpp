// A processor's registers for the monitor: all of them as text, and one by its name.
//
// The text is laid out as QEMU's `info registers` (target/i386/cpu-dump.c), without what this processor has
// no state for (II, A20, SMM); CR8 stands beside CR4. Threading: that of the machine.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "guest/pc.hpp"

namespace cbit::guest {

[[nodiscard]] std::string registers_text(const Pc& pc, const cpu::Cpu& cpu);

// The attributes where a descriptor has them, in the upper of its two words: APM vol. 2, 4.7.
[[nodiscard]] std::uint32_t in_descriptor(cpu::SegmentAttributes attributes);

// "rax", "eax", "rip", "pc" (with CS's base), "cs", "cs.base", "cs.limit", "cr3"; nullopt: there is none.
[[nodiscard]] std::optional<std::uint64_t> register_value(const Pc& pc, const cpu::Cpu& cpu,
                                                          std::string_view name);

}  // namespace cbit::guest
