#include "chipset/reset_ports.hpp"

namespace cbit::chipset {

void ResetControl::write(std::uint16_t, unsigned, std::uint32_t value) {
  const Bits before = bits_;
  bits_.raw = static_cast<std::uint8_t>(value & 0xe);
  if (!bits_.get<Bits::ResetCpu>() || before.get<Bits::ResetCpu>()) return;
  platform_->reset(bits_.get<Bits::SystemReset>() ? ResetKind::platform : ResetKind::cpu);
}

void PortA::write(std::uint16_t, unsigned, std::uint32_t value) {
  const Bits before = bits_;
  bits_.raw = static_cast<std::uint8_t>(value & 0x3);
  if (bits_.get<Bits::ResetCpu>() && !before.get<Bits::ResetCpu>()) platform_->reset(ResetKind::cpu);
}

}  // namespace cbit::chipset
