// The interpreter's functions, each on its own, for what generated code leaves to them.
#pragma once

#include "cpu/state.hpp"

namespace cbit::cpu::jit {

// Does a whole operation and returns the next, or nullptr where straight-line code ends.
using Handler = const isa::Op* (*)(State&, const isa::Op*);
[[nodiscard]] Handler handler_of(isa::OpCode code);
// Of this operation and nothing else, where it has a helper.
[[nodiscard]] Handler handler_of(const isa::Op& op);

}  // namespace cbit::cpu::jit
