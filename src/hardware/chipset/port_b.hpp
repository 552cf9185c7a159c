// System control port B, 61h: the gate and the OUT of the PIT's counter 2, the speaker, the refresh toggle,
// and the switches of NMI sources that this PC does not have.
//
// Sources: IBM PC/AT Technical Reference, "System Control Port"; Intel ICH9 datasheet (316972), 13.7.
// Threading: one thread.
#pragma once

#include <cstdint>

#include "base/clock.hpp"
#include "base/reg.hpp"
#include "base/state_stream.hpp"
#include "bus/port_io.hpp"
#include "chipset/pit.hpp"

namespace cbit::chipset {

class PortB final : public bus::PioRegion {
 public:
  struct Bits : Register<Bits, std::uint8_t> {
    using Out2 = Field<5, 5, bool>;           // read-only
    using RefreshToggle = Field<4, 4, bool>;  // read-only
    using IoCheckOff = Field<3, 3, bool>;
    using SerrOff = Field<2, 2, bool>;
    using Speaker = Field<1, 1, bool>;
    using Gate2 = Field<0, 0, bool>;
  };
  // Memory is refreshed, and the bit toggles, every 18 ticks of the PIT: 15.085 us.
  static constexpr std::uint64_t refresh_ticks = 18;

  PortB(const Clock& clock, Pit& pit) : clock_{&clock}, pit_{&pit} { reset(); }

  void reset() { write(0, 1, 0); }
  std::uint32_t read(std::uint16_t offset, unsigned bytes) override;
  void write(std::uint16_t offset, unsigned bytes, std::uint32_t value) override;
  void transfer(StateStream& s) { s(bits_); }

 private:
  const Clock* clock_;
  Pit* pit_;
  Bits bits_{};  // what was written
};

static_assert(PortB::Bits{{0x20}}.get<PortB::Bits::Out2>());

}  // namespace cbit::chipset
