// The transceiver behind a network controller's MDIC register: one whose link of 1000 Mbit/s, full duplex, is
// there at once or not at all. IEEE 802.3, 22.2.4; what is the maker's (Marvell 88E1011): Intel's manual for
// the 8254x, 8.
#pragma once

#include <array>
#include <cstdint>

namespace cbit::dev {

class E1000Phy {
 public:
  explicit E1000Phy(bool has_link) : has_link_{has_link} { reset(); }

  void reset();
  [[nodiscard]] std::uint16_t read(unsigned number) const { return registers_[number % registers_.size()]; }
  void write(unsigned number, std::uint16_t value);

 private:
  bool has_link_;
  std::array<std::uint16_t, 32> registers_{};
};

}  // namespace cbit::dev
