// A PCI function: configuration space, base address registers, interrupts, resets. A device derives from it,
// or holds one, and adds in its constructor what it has; then it is plugged into a PciBus.
//
// What software does here has effects elsewhere: BARs appear in, move through and vanish from memory and port
// space; the device's DmaPort works only while the function is bus master; a message is a write by the
// device, so it needs bus mastership, too. In D3hot only configuration space is there.
//
// Interrupts: with MSI-X or MSI enabled interrupt() sends the vector's message, or keeps it pending while it
// is masked; INTx# (pin A) is a level that the device sets, and is driven while neither is enabled and the
// command register allows it. A message whose address is outside of the interrupt window is a write to
// memory like any other of the device.
//
// Nothing that software writes is a Fault or an assertion. While the device's own DMA accesses another
// device, it answers neither in its memory BARs (device_protocol) nor in configuration space (ones).
//
// Sources: spec/pci.hpp. Threading: one thread, that of the machine.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>

#include "base/state_stream.hpp"
#include "bus/dma_port.hpp"
#include "bus/irq_line.hpp"
#include "bus/pci/config_space.hpp"
#include "bus/pci/msix.hpp"
#include "bus/port_io.hpp"

namespace cbit::bus {

class PciBus;

struct PciIdentity {
  std::uint16_t vendor = 0;
  std::uint16_t device = 0;
  std::uint16_t subsystem_vendor = 0;
  std::uint16_t subsystem = 0;
  std::uint8_t revision = 0;
  spec::PciClass class_code;
};

enum class PciMemoryBar : std::uint8_t { bits_32, bits_64 };

class PciFunction {
 public:
  // `port`: the device's way to memory, off until software makes the function bus master; nullptr for a
  // function that does no DMA. It lives as long as the function is in use.
  PciFunction(const PciIdentity& identity, DmaPort* port);
  virtual ~PciFunction();
  PciFunction(const PciFunction&) = delete;
  PciFunction& operator=(const PciFunction&) = delete;

  // ---- set-up, before it is plugged ----
  // `bytes`, or `ports`, is a power of two, at least 16 or 4; the register is free (of a 64-bit BAR the next
  // one is, too). The region outlives the function.
  void add_memory_bar(unsigned bar, std::uint64_t bytes, MmioRegion& region, PciMemoryBar width);
  void add_io_bar(unsigned bar, std::uint32_t ports, PioRegion& region);
  void add_intx();
  void add_msi(unsigned vectors);                 // a power of two, 1 to 32
  void add_msix(unsigned vectors, unsigned bar);  // with a 32-bit BAR of their own
  void add_power_management();                    // D0 and D3hot
  void add_express();                             // an endpoint of the root complex; function level reset
  PciConfigSpace& config() { return config_; }

  // ---- the device's side ----
  [[nodiscard]] const PciConfigSpace& config() const { return config_; }
  [[nodiscard]] DmaPort* port() const { return port_; }
  [[nodiscard]] bool msix_enabled() const;
  [[nodiscard]] bool msi_enabled() const;
  [[nodiscard]] unsigned msix_vectors() const { return msix_ ? msix_->vectors() : 0; }
  // A vector that does not exist, or with neither MSI-X nor MSI enabled: nothing happens. MSI: of the vectors
  // that software has granted, modulo their number.
  void interrupt(unsigned vector);
  void set_intx(bool asserted);

  // ---- the bus' side ----
  // Within the space.
  void read_config(std::uint32_t offset, ByteSpan to);
  void write_config(std::uint32_t offset, ConstByteSpan from);
  // A reset of the bus; software resets the function alone through PCI Express.
  void reset();
  // With that of the device. Loading maps the BARs; interrupt controllers and memory come after it.
  void transfer(StateStream& s);

 protected:
  // The device's own state. One that does not say what it is cannot be saved.
  virtual void transfer_device(StateStream& s) { s.refuse("the device cannot be saved"); }
  // The device forgets everything; registers of the function are reset after it.
  virtual void on_reset() {}
  // Around software's accesses to configuration space, for registers that are more than bytes.
  virtual void before_config_read(std::uint32_t /*offset*/, std::size_t /*bytes*/) {}
  virtual void after_config_write(std::uint32_t /*offset*/, std::size_t /*bytes*/) {}

 private:
  friend class PciBus;

  // In front of a memory BAR.
  class Gate final : public MmioRegion {
   public:
    Gate(const PciFunction& function, MmioRegion& region) : function_{&function}, region_{&region} {}
    Result<void> read(std::uint64_t offset, ByteSpan to) override;
    Result<void> write(std::uint64_t offset, ConstByteSpan from) override;
    Result<void> peek(std::uint64_t offset, ByteSpan to) const override;

   private:
    const PciFunction* function_;
    MmioRegion* region_;
  };
  struct Bar {
    Bar(std::uint64_t size, bool is_wide) : bytes{size}, wide{is_wide}, ports{nullptr} {}
    std::uint64_t bytes;
    bool wide;
    std::optional<Gate> memory;  // or
    PioRegion* ports;
    std::optional<std::uint64_t> mapped;  // where it answers
  };

  [[nodiscard]] bool is_free(unsigned bar) const;
  [[nodiscard]] bool busy() const { return port_ != nullptr && port_->in_peer_access(); }
  [[nodiscard]] spec::PciCommand command() const;
  [[nodiscard]] bool in_d0() const;
  // Where the registers say that a BAR answers; nullopt while they say nowhere.
  [[nodiscard]] std::optional<std::uint64_t> address_of(unsigned bar) const;
  // Takes BARs away from where they should not be any more: true if there were any. And puts them where they
  // should be, as far as nothing else is there.
  bool release_bars(bool all);
  void claim_bars();
  bool claim_memory(Bar& bar, std::uint64_t at);
  bool claim_ports(Bar& bar, std::uint64_t at);

  void attach(PciBus& bus, IrqLine& line);
  void detach();
  // Software, or a reset, may have changed anything.
  void update();
  void drive_intx();
  [[nodiscard]] bool wants_reset(std::uint32_t offset, ConstByteSpan from) const;
  [[nodiscard]] unsigned msi_granted() const;
  void raise_msi(unsigned vector);
  void raise_msix(unsigned vector);
  void send_pending();
  void send(std::uint64_t address, std::uint32_t data);

  PciConfigSpace config_;
  DmaPort* port_;
  PciBus* bus_ = nullptr;
  std::array<std::optional<Bar>, spec::pci_bars> bars_;
  std::optional<PciMsixTable> msix_;
  // Offsets of the capabilities, 0: none.
  std::uint32_t msi_at_ = 0;
  std::uint32_t msix_at_ = 0;
  std::uint32_t pm_at_ = 0;
  std::uint32_t express_at_ = 0;
  bool has_intx_ = false;
  bool intx_ = false;
  std::optional<IrqDriver> line_;
};

}  // namespace cbit::bus
