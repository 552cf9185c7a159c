// What the helpers of the IR do (isa/helper.hpp): one function each, on the whole processor.
#pragma once

#include "cpu/core.hpp"
#include "isa/helper.hpp"
#include "isa/parameters.hpp"

namespace cbit::cpu {

using HelperFunction = Outcome (*)(Core& core, const isa::Op& op);

namespace helpers {
#define CBIT_HELPER(name, ends) Outcome name(Core& core, const isa::Op& op);
CBIT_ISA_HELPERS(CBIT_HELPER)
#undef CBIT_HELPER
}  // namespace helpers

// Helpers that, among others, work on their own processor, and on memory by Core's functions or as atomic
// accesses. Everything else runs alone.
[[nodiscard]] bool is_own_affair(isa::Helper helper);

// Runs an operation's helper; the operation to go on with, or nullptr where straight-line code ends.
template <HelperFunction function>
const isa::Op* run(State& s, const isa::Op* op) {
  Core& core = core_of(s);
  if (core.rehearses()) {
    core.give_up_rehearsal();
    return nullptr;
  }
  core.set_current(*op);
  const Core::Alone alone{core, core.is_among_others() && !is_own_affair(op->helper)};
  switch (function(core, *op)) {
    case Outcome::next:
      // A vector operation raises nothing, and may be code of the host.
      return op->helper == isa::Helper::sse || core.goes_on_behind(*op) ? op + 1 : nullptr;
    case Outcome::fault: core.stop_at(*op); return nullptr;
    case Outcome::leave: s.leave = Leave::lookup; return nullptr;
  }
  return nullptr;
}

using HelperRunner = const isa::Op* (*)(State&, const isa::Op*);
// run() of what does this operation and nothing else.
[[nodiscard]] HelperRunner runner_of(const isa::Op& op);
namespace helpers {
// Of one x87 instruction.
[[nodiscard]] HelperRunner x87_runner(const isa::Op& op);
}  // namespace helpers

// General registers by name, and a register of `bytes` at a slot.
[[nodiscard]] inline std::uint64_t& gpr(State& s, isa::Gpr reg) {
  return s.regs.gpr[static_cast<std::size_t>(reg)];
}
[[nodiscard]] inline std::uint64_t get_sized(const State& s, isa::Slot slot, unsigned bytes) {
  switch (bytes) {
    case 1: return get<std::uint8_t>(s, slot);
    case 2: return get<std::uint16_t>(s, slot);
    case 4: return get<std::uint32_t>(s, slot);
    default: return get<std::uint64_t>(s, slot);
  }
}
inline void put_sized(State& s, isa::Slot slot, unsigned bytes, std::uint64_t value) {
  switch (bytes) {
    case 1: put(s, slot, static_cast<std::uint8_t>(value)); return;
    case 2: put(s, slot, static_cast<std::uint16_t>(value)); return;
    case 4: put(s, slot, static_cast<std::uint32_t>(value)); return;
    default: put(s, slot, value); return;
  }
}
[[nodiscard]] constexpr std::uint64_t mask_of(unsigned bytes) { return bit_mask(8 * bytes); }

// EDX:EAX.
inline void put_pair_32(State& s, std::uint64_t value) {
  gpr(s, isa::Gpr::rax) = value & 0xffff'ffff;
  gpr(s, isa::Gpr::rdx) = value >> 32;
}
[[nodiscard]] inline std::uint64_t get_pair_32(State& s) {
  return (gpr(s, isa::Gpr::rax) & 0xffff'ffff) | gpr(s, isa::Gpr::rdx) << 32;
}

}  // namespace cbit::cpu
