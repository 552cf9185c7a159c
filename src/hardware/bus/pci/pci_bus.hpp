// A PCI bus, number 0: the functions on it by their device numbers, what software reaches of them by
// configuration accesses, and where their BARs answer. One function per device, no bridges.
//
// A BAR answers where it does not overlap RAM, or what was there first; one that had to wait answers once the
// place is free.
//
// Threading: one thread, that of the machine. Functions are unplugged by their end, or by the bus'.
#pragma once

#include <array>
#include <functional>

#include "base/state_stream.hpp"
#include "bus/message_interrupt.hpp"
#include "bus/pci/function.hpp"

namespace cbit::bus {

class PciBus {
 public:
  // What a board has around the bus; all of it outlives it.
  struct Board {
    SystemBus& memory;
    PortSpace& ports;
    MessageInterruptSink& messages;
    // The line that pin INTA# of a device leads to.
    std::function<IrqLine&(unsigned device)> interrupt_line;
  };
  explicit PciBus(Board board) : board_{std::move(board)} {}
  ~PciBus();
  PciBus(const PciBus&) = delete;
  PciBus& operator=(const PciBus&) = delete;

  // The place is free, and the function's DMA bears this device's number.
  void plug(unsigned device, PciFunction& function);
  void unplug(PciFunction& function);
  // nullptr: nobody there.
  [[nodiscard]] PciFunction* device(unsigned number) const { return devices_[number]; }

  // Of bus, device and function as in a requester. Offsets and sizes are software's: what is not there, or
  // runs over the end, reads as ones, and writes to it are lost.
  void read_config(RequesterId at, std::uint32_t offset, ByteSpan to);
  void write_config(RequesterId at, std::uint32_t offset, ConstByteSpan from);

  // The bus' RST#: every function is as after power-on.
  void reset();
  // Of the functions, which are plugged in before.
  void transfer(StateStream& s);

 private:
  friend class PciFunction;
  // The accessed function, if the access is possible.
  [[nodiscard]] PciFunction* find(RequesterId at, std::uint32_t offset, std::size_t bytes) const;
  void decode(PciFunction& function);

  Board board_;
  std::array<PciFunction*, spec::pci_devices> devices_{};
};

}  // namespace cbit::bus
