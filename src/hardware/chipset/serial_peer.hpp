// What is at the other end of a serial line.
#pragma once

#include <cstddef>
#include <optional>

namespace cbit::chipset {

class SerialPeer {
 public:
  virtual ~SerialPeer() = default;
  virtual void transmit(std::byte byte) = 0;
  // The next byte for the guest; the peer keeps what has not been taken, and calls Uart::input_available()
  // when there is something again.
  virtual std::optional<std::byte> receive() { return std::nullopt; }
  // The machine ends: what has been transmitted shall be seen.
  virtual void flush() {}
};

}  // namespace cbit::chipset
