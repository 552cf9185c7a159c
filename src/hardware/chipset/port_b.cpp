#include "chipset/port_b.hpp"

namespace cbit::chipset {

std::uint32_t PortB::read(std::uint16_t, unsigned) {
  const std::uint64_t refreshes = ticks_in(clock_->now_ns(), pit_hz) / refresh_ticks;
  return bits_.with<Bits::Out2>(pit_->out2()).with<Bits::RefreshToggle>(refreshes % 2 != 0).raw;
}

void PortB::write(std::uint16_t, unsigned, std::uint32_t value) {
  bits_.raw = static_cast<std::uint8_t>(value & 0xf);
  pit_->set_gate2(bits_.get<Bits::Gate2>());
}

}  // namespace cbit::chipset
