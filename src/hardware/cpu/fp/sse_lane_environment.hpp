// MXCSR for operations that work on lanes one by one: each lane has its own Environment, and together they
// are one instruction, which writes its destination or faults. Internal to this folder.
#pragma once

#include "cpu/fp/sse.hpp"

namespace cbit::cpu::fp {

class SseLanes {
 public:
  explicit SseLanes(SseContext& context)
      : context_{context},
        start_{.rounding = context.mxcsr.get<Mxcsr::RoundingControl>(),
               .masked = context.mxcsr.get<Mxcsr::Masks>(),
               .denormals_are_zero = context.mxcsr.get<Mxcsr::DenormalsAreZero>(),
               .flush_to_zero = context.mxcsr.get<Mxcsr::FlushToZero>()} {}

  // Runs one lane's operation: compute(Environment&).
  template <class Compute>
  auto run(Compute compute) {
    Environment env = start_;
    const auto result = compute(env);
    raised_ = static_cast<Exceptions>(raised_ | env.raised);
    return result;
  }

  // After the last lane: the flags go to MXCSR. False: #XM. An unmasked precomputation exception in any lane
  // keeps all lanes from being computed: SDM vol. 1, 11.5.3.
  bool finish() {
    if ((raised_ & precomputation & ~start_.masked) != 0) raised_ &= precomputation;
    context_.mxcsr.raw |= raised_;
    if ((raised_ & ~start_.masked) == 0) return true;
    context_.exception = true;
    return false;
  }

  [[nodiscard]] RoundingMode rounding() const { return start_.rounding; }

 private:
  SseContext& context_;
  Environment start_;
  Exceptions raised_ = 0;
};

}  // namespace cbit::cpu::fp
