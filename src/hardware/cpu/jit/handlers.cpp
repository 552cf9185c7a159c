#include "cpu/jit/handlers.hpp"

#include "cpu/helpers.hpp"
#include "cpu/ops_branch.hpp"

namespace cbit::cpu::jit {
namespace {

#define CBIT_OP(name, kind, effect, ...) \
  const isa::Op* do_##name(State& s, const isa::Op* op) { return ops::__VA_ARGS__(s, op); }
CBIT_ISA_OPS(CBIT_OP)
#undef CBIT_OP

constexpr Handler handlers[] = {
#define CBIT_OP(name, ...) do_##name,
    CBIT_ISA_OPS(CBIT_OP)
#undef CBIT_OP
};

}  // namespace

Handler handler_of(isa::OpCode code) { return handlers[static_cast<std::size_t>(code)]; }

Handler handler_of(const isa::Op& op) {
  return op.code == isa::OpCode::helper ? runner_of(op) : handler_of(op.code);
}

}  // namespace cbit::cpu::jit
