#include "cpu/interpreter.hpp"

#include "cpu/ops_branch.hpp"

// Dispatch is threaded: each operation jumps to the next one's code. With clang, an operation is a function
// that tail-calls the next; other compilers get one function with computed labels.
#if defined(__clang__)
#define CBIT_TAIL_CALLS 1
#else
#define CBIT_TAIL_CALLS 0
#endif

namespace cbit::cpu {
namespace {

// Operations that cannot end straight-line code need not ask whether they did.
constexpr bool always_goes_on(isa::OpKind kind) { return kind == isa::OpKind::plain; }

#if CBIT_TAIL_CALLS

using Handler = void (*)(State& s, const isa::Op* op);
extern const Handler handlers[];

#define CBIT_OP(name, kind, effect, ...)                                                \
  void run_##name(State& s, const isa::Op* op) {                                        \
    const isa::Op* next = ops::__VA_ARGS__(s, op);                                      \
    if constexpr (!always_goes_on(isa::OpKind::kind)) {                                 \
      if (next == nullptr) return;                                                      \
    }                                                                                   \
    [[clang::musttail]] return handlers[static_cast<std::size_t>(next->code)](s, next); \
  }
CBIT_ISA_OPS(CBIT_OP)
#undef CBIT_OP

const Handler handlers[] = {
#define CBIT_OP(name, ...) run_##name,
    CBIT_ISA_OPS(CBIT_OP)
#undef CBIT_OP
};

#endif

}  // namespace

#if CBIT_TAIL_CALLS

void interpret(State& s, const isa::Op* op) { handlers[static_cast<std::size_t>(op->code)](s, op); }

#else

// Labels as values are a GNU extension.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"

void interpret(State& s, const isa::Op* op) {
  static const void* const labels[] = {
#define CBIT_OP(name, ...) &&label_##name,
      CBIT_ISA_OPS(CBIT_OP)
#undef CBIT_OP
  };
  goto* labels[static_cast<std::size_t>(op->code)];
#define CBIT_OP(name, kind, effect, ...)              \
  label_##name : op = ops::__VA_ARGS__(s, op);        \
  if constexpr (!always_goes_on(isa::OpKind::kind)) { \
    if (op == nullptr) return;                        \
  }                                                   \
  goto* labels[static_cast<std::size_t>(op->code)];
  CBIT_ISA_OPS(CBIT_OP)
#undef CBIT_OP
}

#pragma GCC diagnostic pop

#endif

}  // namespace cbit::cpu
