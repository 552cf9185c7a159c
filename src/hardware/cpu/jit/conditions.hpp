// The host's instructions by condition, in the order of encodings.
#pragma once

#include <asmjit/x86.h>

#include "isa/registers.hpp"

namespace cbit::cpu::jit {

[[nodiscard]] inline asmjit::InstId jcc_of(isa::Cond cond) {
  namespace Inst = asmjit::x86::Inst;
  constexpr asmjit::InstId ids[] = {Inst::kIdJo, Inst::kIdJno, Inst::kIdJb,  Inst::kIdJnb,
                                    Inst::kIdJz, Inst::kIdJnz, Inst::kIdJbe, Inst::kIdJnbe,
                                    Inst::kIdJs, Inst::kIdJns, Inst::kIdJp,  Inst::kIdJnp,
                                    Inst::kIdJl, Inst::kIdJnl, Inst::kIdJle, Inst::kIdJnle};
  return ids[static_cast<unsigned>(cond)];
}

[[nodiscard]] inline asmjit::InstId setcc_of(isa::Cond cond) {
  namespace Inst = asmjit::x86::Inst;
  constexpr asmjit::InstId ids[] = {Inst::kIdSeto, Inst::kIdSetno, Inst::kIdSetb,  Inst::kIdSetnb,
                                    Inst::kIdSetz, Inst::kIdSetnz, Inst::kIdSetbe, Inst::kIdSetnbe,
                                    Inst::kIdSets, Inst::kIdSetns, Inst::kIdSetp,  Inst::kIdSetnp,
                                    Inst::kIdSetl, Inst::kIdSetnl, Inst::kIdSetle, Inst::kIdSetnle};
  return ids[static_cast<unsigned>(cond)];
}

[[nodiscard]] inline asmjit::InstId cmovcc_of(isa::Cond cond) {
  namespace Inst = asmjit::x86::Inst;
  constexpr asmjit::InstId ids[] = {Inst::kIdCmovo, Inst::kIdCmovno, Inst::kIdCmovb,  Inst::kIdCmovnb,
                                    Inst::kIdCmovz, Inst::kIdCmovnz, Inst::kIdCmovbe, Inst::kIdCmovnbe,
                                    Inst::kIdCmovs, Inst::kIdCmovns, Inst::kIdCmovp,  Inst::kIdCmovnp,
                                    Inst::kIdCmovl, Inst::kIdCmovnl, Inst::kIdCmovle, Inst::kIdCmovnle};
  return ids[static_cast<unsigned>(cond)];
}

}  // namespace cbit::cpu::jit
