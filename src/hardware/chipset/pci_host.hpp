// The PCI host of a PC: bus 0 with its host bridge (device 0), and the two ways to configuration space.
//
//   CF8h        CONFIG_ADDRESS, dwords only (CF9h is the reset control's)
//   CFCh..CFFh  CONFIG_DATA, any width: the first 256 bytes of a function's space
//   E000'0000h  ECAM: all 4 KiB; an access within one function, of 1, 2, 4 or 8 bytes
//
// Interrupt pins lead to the chipset's lines by pc_map::pci_irq(), messages to its route to the APICs.
//
// Sources: PCI Local Bus Specification 3.0, 3.2.2.3.2; PCI Express Base Specification 3.0, 7.2.2.
// Threading: one thread, that of the machine.
#pragma once

#include "base/state_stream.hpp"
#include "bus/pci/pci_bus.hpp"
#include "chipset/pc_chipset.hpp"

namespace cbit::chipset {

class PciHost {
 public:
  // Of cbit's own devices, the host bridge among them. The number is nobody's; QEMU's test devices have it,
  // too.
  static constexpr bus::PciIdentity bridge_identity{
      .vendor = 0x1234, .device = 0xcb00, .class_code = spec::pci_class::bridge_host};

  // All outlive the host, and the host the functions that are plugged into its bus.
  PciHost(PcChipset& chipset, bus::SystemBus& memory, bus::PortSpace& ports);
  ~PciHost();
  PciHost(const PciHost&) = delete;
  PciHost& operator=(const PciHost&) = delete;

  [[nodiscard]] bus::PciBus& bus() { return bus_; }
  // As firmware leaves it: BARs have addresses. After all devices are plugged, and after each reset.
  void assign_resources();
  // A platform reset.
  void reset();
  // With the functions on the bus; before the chipset's, whose controllers their lines lead to.
  void transfer(StateStream& s);

 private:
  class Address final : public bus::PioRegion {
   public:
    std::uint32_t read(std::uint16_t, unsigned) override { return register_.raw; }
    void write(std::uint16_t, unsigned, std::uint32_t value) override { register_.raw = value & settable; }
    [[nodiscard]] spec::PciConfigAddress value() const { return register_; }
    void reset() { register_ = {}; }
    void transfer(StateStream& s) { s(register_); }

   private:
    static constexpr std::uint32_t settable = 0x80ff'fffc;
    spec::PciConfigAddress register_{};
  };
  class Data final : public bus::PioRegion {
   public:
    Data(const Address& address, bus::PciBus& bus) : address_{&address}, bus_{&bus} {}
    std::uint32_t read(std::uint16_t offset, unsigned bytes) override;
    void write(std::uint16_t offset, unsigned bytes, std::uint32_t value) override;

   private:
    const Address* address_;
    bus::PciBus* bus_;
  };
  class Ecam final : public bus::MmioRegion {
   public:
    explicit Ecam(bus::PciBus& bus) : bus_{&bus} {}
    Result<void> read(std::uint64_t offset, ByteSpan to) override;
    Result<void> write(std::uint64_t offset, ConstByteSpan from) override;

   private:
    bus::PciBus* bus_;
  };

  bus::SystemBus* memory_;
  bus::PortSpace* ports_;
  bus::PciBus bus_;
  // Its configuration space is all there is.
  class Bridge final : public bus::PciFunction {
   public:
    Bridge() : PciFunction{bridge_identity, nullptr} {}

   private:
    void transfer_device(StateStream&) override {}
  };
  Bridge bridge_;
  Address address_;
  Data data_{address_, bus_};
  Ecam ecam_{bus_};
};

}  // namespace cbit::chipset
