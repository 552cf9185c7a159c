// Intel's 82540EM, a network controller of plain PCI: no virtio, 32 address lines. Linux drives it by e1000.
// The registers are those of spec/e1000.hpp; dev/e1000/e1000_pci.hpp makes a PCI function of it.
//
// What is there: both rings, legacy, context and data descriptors, checksums and segmentation on the way out,
// address, multicast and VLAN filters, VLAN tags, EEPROM, PHY, interrupts without their delays. What is not:
// checksums on the way in (IXSM says so), flow control, wake-up, manageability, and most statistics, which
// stay zero.
//
// Rings, descriptors and addresses are the guest's and may be anything: a doorbell does a bounded piece of
// work, what is left follows on the clock; a descriptor that cannot be read holds its ring up until software
// moves the head. Threading: one thread.
#pragma once

#include <array>
#include <functional>
#include <optional>

#include "base/clock.hpp"
#include "bus/dma_port.hpp"
#include "bus/port_io.hpp"
#include "dev/e1000/eeprom.hpp"
#include "dev/e1000/offload.hpp"
#include "dev/e1000/phy.hpp"
#include "dev/forger.hpp"
#include "dev/net_backend.hpp"
#include "spec/e1000.hpp"

namespace cbit::dev {

struct E1000Options {
  NetOptions net;
};

class E1000 final : public bus::MmioRegion, public NetEnd, public ForgeableDevice {
 public:
  static constexpr unsigned address_bits = 32;

  // `port` has 32 address lines whatever it says. `clock`: what a long piece of work waits on; without one it
  // waits for the next doorbell.
  E1000(bus::SystemBus& bus, bus::DmaPortConfig port, const E1000Options& options, Clock* clock);
  ~E1000() override;
  E1000(const E1000&) = delete;
  E1000& operator=(const E1000&) = delete;

  // Told whether an interrupt is wanted, whenever that changes.
  void on_interrupt(std::function<void(bool wanted)> handler) { interrupt_ = std::move(handler); }
  void reset();

  // Registers, each as four aligned bytes; other accesses read zeros, or are lost.
  Result<void> read(std::uint64_t offset, ByteSpan to) override;
  Result<void> write(std::uint64_t offset, ConstByteSpan from) override;
  // The same by ports: an address, then data. 13.3.
  [[nodiscard]] bus::PioRegion& ports() { return ports_; }

  bool receive(ConstByteSpan frame) override;
  [[nodiscard]] bool is_up() const override;

  // About what it receives.
  void set_forger(Forger* forger) override { forger_ = forger; }
  [[nodiscard]] bus::DmaPort& port() override { return port_; }

 private:
  class Ports final : public bus::PioRegion {
   public:
    explicit Ports(E1000& owner) : owner_{&owner} {}
    std::uint32_t read(std::uint16_t offset, unsigned bytes) override;
    void write(std::uint16_t offset, unsigned bytes, std::uint32_t value) override;

   private:
    E1000* owner_;
    std::uint32_t address_ = 0;
  };
  // Of which the registers lie one after another.
  struct Ring {
    std::uint64_t base = 0;
    std::uint32_t entries = 0;
    std::uint32_t head = 0;
    std::uint32_t tail = 0;

    [[nodiscard]] bool is_sound() const { return head < entries && tail < entries; }
    // Descriptors that are the hardware's.
    [[nodiscard]] std::uint32_t ready() const { return is_sound() ? (tail + entries - head) % entries : 0; }
    [[nodiscard]] DmaAddr at(std::uint32_t index) const { return DmaAddr{base + 16ull * index}; }
  };

  [[nodiscard]] std::uint32_t& at(std::uint32_t reg) { return registers_[reg / 4]; }
  [[nodiscard]] std::uint32_t at(std::uint32_t reg) const { return registers_[reg / 4]; }
  [[nodiscard]] bool has(std::uint32_t reg, std::uint32_t bits) const { return (at(reg) & bits) != 0; }
  [[nodiscard]] Ring ring(std::uint32_t first_register) const;
  std::uint32_t get(std::uint32_t reg);
  void set(std::uint32_t reg, std::uint32_t value);
  void set_control(std::uint32_t value);
  void access_phy(std::uint32_t command);
  void cause(std::uint32_t interrupts);
  void update_interrupt();
  void count(std::uint32_t packets, std::uint32_t total, std::uint32_t octets, std::size_t bytes);

  // ---- transmit.cpp ----
  void transmit();
  bool take_descriptor(const spec::e1000::TxDescriptor& descriptor);
  void take_context(const spec::e1000::TxDescriptor& descriptor);
  bool add_to_packet(const spec::e1000::TxDescriptor& descriptor);
  void send_packet(const spec::e1000::TxDescriptor& last);
  void send_frame(Bytes frame, const spec::e1000::TxDescriptor& last);

  // ---- receive.cpp ----
  [[nodiscard]] bool accepts(ConstByteSpan frame) const;
  [[nodiscard]] bool accepts_multicast(ConstByteSpan address) const;
  [[nodiscard]] std::size_t buffer_bytes() const;
  bool fill_descriptors(ConstByteSpan packet, std::size_t buffer, std::uint16_t tag, std::uint8_t status);
  bool give_back(const Ring& descriptors, spec::e1000::RxDescriptor descriptor);

  bus::DmaPort port_;
  NetBackend* network_;
  Forger* forger_ = nullptr;
  E1000Eeprom eeprom_;
  E1000Phy phy_;
  Ports ports_{*this};
  std::optional<Timer> more_;
  std::function<void(bool)> interrupt_;
  bool interrupt_wanted_ = false;
  std::array<std::uint32_t, spec::e1000::registers_end / 4> registers_{};

  // The packet that is being collected.
  OffloadContext context_;
  Bytes packet_;
  bool packet_begun_ = false;
  bool packet_too_long_ = false;
  bool segmented_ = false;
  OffloadWanted wanted_;
  bool transmitting_ = false;
};

}  // namespace cbit::dev
