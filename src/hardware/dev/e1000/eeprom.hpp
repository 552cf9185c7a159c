// The serial EEPROM of a network controller: 64 words behind three wires (Microwire), of which software
// reads. It stays as it was made: writing commands are not understood. Intel's manual for the 8254x, 5.
#pragma once

#include <array>
#include <cstdint>

#include "dev/net_end.hpp"
#include "spec/e1000.hpp"

namespace cbit::dev {

class E1000Eeprom {
 public:
  explicit E1000Eeprom(const MacAddress& mac);

  [[nodiscard]] std::uint16_t word(unsigned at) const { return words_[at % words_.size()]; }
  // EECD: the wires as software drives them, and what it reads of them.
  void drive(std::uint32_t wires);
  [[nodiscard]] std::uint32_t wires() const;

 private:
  void clock_in(bool bit);

  std::array<std::uint16_t, spec::e1000::eeprom_words> words_{};
  std::uint32_t wires_ = 0;
  unsigned command_ = 0;      // what has come of it, from its start bit on
  std::uint16_t answer_ = 0;  // what is still to be shifted out
  bool answering_ = false;
  bool out_ = true;
};

}  // namespace cbit::dev
