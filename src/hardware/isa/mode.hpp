// What, besides its bytes, decides how code is decoded and lowered. A part of the key of a decoded block.
#pragma once

#include <cstdint>

#include "base/reg.hpp"

namespace cbit::isa {

struct Mode : Register<Mode, std::uint16_t> {
  using OneStep = Field<10, 10, bool>;     // the block is one instruction
  using NoOsxsave = Field<9, 9, bool>;     // CR4.OSXSAVE = 0: XGETBV and XSAVE are #UD
  using NoOsfxsr = Field<8, 8, bool>;      // CR4.OSFXSR = 0: SSE is #UD
  using Monitor = Field<7, 7, bool>;       // CR0.MP
  using Emulation = Field<6, 6, bool>;     // CR0.EM
  using TaskSwitched = Field<5, 5, bool>;  // CR0.TS
  using NotKernel = Field<4, 4, bool>;     // CPL is not 0
  using Segmented = Field<3, 3, bool>;     // outside 64-bit mode: a segment has a base, or a limit
  using Stack32 = Field<2, 2, bool>;       // SS.B, outside 64-bit mode
  using Code32 = Field<1, 1, bool>;        // CS.D, outside 64-bit mode
  using Long64 = Field<0, 0, bool>;        // CS.L in long mode

  [[nodiscard]] constexpr bool is_64() const { return get<Long64>(); }
  [[nodiscard]] constexpr unsigned stack_bytes() const { return is_64() ? 8 : get<Stack32>() ? 4 : 2; }
  friend constexpr bool operator==(Mode a, Mode b) { return a.raw == b.raw; }
};

}  // namespace cbit::isa
