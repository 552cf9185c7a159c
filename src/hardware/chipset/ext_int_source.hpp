// Whoever answers the acknowledge cycle of an external interrupt (ExtINT): the PIC.
#pragma once

#include <cstdint>

namespace cbit::chipset {

class ExtIntSource {
 public:
  virtual ~ExtIntSource() = default;
  // The vector; that of a spurious interrupt if there is no request any more.
  virtual std::uint8_t acknowledge() = 0;
};

}  // namespace cbit::chipset
