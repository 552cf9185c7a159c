// The 4 KiB of configuration space of a PCI function, as bytes, and which of their bits software may write.
// The capability list grows as its owner adds to it; it ends with the first 256 bytes.
//
// Set-up defines the contents after a reset; set() changes the present ones. Threading: one thread.
#pragma once

#include <array>
#include <cstdint>

#include "base/bytes.hpp"
#include "base/state_stream.hpp"
#include "spec/pci.hpp"

namespace cbit::bus {

class PciConfigSpace {
 public:
  // ---- set-up ----
  // Contents, now and after each reset.
  template <class T>
  void define(std::uint32_t offset, T value) {
    store(at_reset_, offset, value);
    store(bytes_, offset, value);
  }
  // The bits that software may write.
  template <class T>
  void allow(std::uint32_t offset, T settable) {
    store(settable_, offset, settable);
  }
  // Returns the capability's offset; its two first bytes are in place, the others zero. There is room for it.
  std::uint32_t add_capability(std::uint8_t id, std::uint32_t bytes);

  // ---- in use ----
  template <class T>
  [[nodiscard]] T get(std::uint32_t offset) const {
    return load<T>(bytes_, offset);
  }
  template <class T>
  void set(std::uint32_t offset, T value) {
    store(bytes_, offset, value);
  }
  // Software's: the access lies within the space.
  void read(std::uint32_t offset, ByteSpan to) const;
  void write(std::uint32_t offset, ConstByteSpan from);
  void reset() { bytes_ = at_reset_; }
  void transfer(StateStream& s) { s(bytes_); }

 private:
  using Space = std::array<std::byte, spec::pci_extended_config_bytes>;
  Space bytes_{};
  Space at_reset_{};
  Space settable_{};
  std::uint32_t last_capability_ = 0;  // 0: none yet
  std::uint32_t end_ = spec::pci_header_bytes;
};

}  // namespace cbit::bus
