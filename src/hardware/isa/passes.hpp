// What is done with a whole block once its operations stand.
#pragma once

#include "isa/op.hpp"

namespace cbit::isa {

// Where all flags that an operation sets are set again before anybody can see them, its quiet twin does. A
// fault and a helper show the flags to somebody.
void drop_dead_flags(Block& block);

}  // namespace cbit::isa
