// What a PC's chipset can do to the machine as a whole. Called from within a port write of a CPU: the machine
// takes note, and acts when that instruction is done.
#pragma once

#include <cstdint>

namespace cbit::chipset {

enum class ResetKind : std::uint8_t {
  cpu,       // INIT to the processors, as the keyboard controller does; devices keep their state
  platform,  // everything
};

class PlatformControl {
 public:
  virtual ~PlatformControl() = default;
  virtual void reset(ResetKind kind) = 0;
  virtual void power_off() = 0;
  // The guest ends the machine, and this shall be the exit status of what runs it.
  virtual void exit(std::uint32_t status) = 0;
};

}  // namespace cbit::chipset
