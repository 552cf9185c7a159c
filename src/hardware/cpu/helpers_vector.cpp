#include "cpu/helpers.hpp"

namespace cbit::cpu::helpers {

Outcome save_state(Core& core, const isa::Op& op) { return missing(core, op); }
Outcome restore_state(Core& core, const isa::Op& op) { return missing(core, op); }
Outcome sse(Core& core, const isa::Op& op) { return missing(core, op); }
Outcome mmx(Core& core, const isa::Op& op) { return missing(core, op); }
Outcome mxcsr(Core& core, const isa::Op& op) { return missing(core, op); }
Outcome masked_store(Core& core, const isa::Op& op) { return missing(core, op); }
Outcome x87(Core& core, const isa::Op& op) { return missing(core, op); }
Outcome x87_state(Core& core, const isa::Op& op) { return missing(core, op); }

}  // namespace cbit::cpu::helpers
