// The interpreter: runs operations of the IR, one after the other, until straight-line code ends.
//
// It is the reference for what the IR means. Threading: one thread per State.
#pragma once

#include "cpu/state.hpp"

namespace cbit::cpu {

// From the first operation of a block on. State::leave says why it came back, State::rip where the code is.
void interpret(State& s, const isa::Op* op);

}  // namespace cbit::cpu
