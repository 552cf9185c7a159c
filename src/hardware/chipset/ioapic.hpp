// An IOAPIC: 24 inputs, each with a redirection entry that makes a message of it. Version 20h, which has an
// EOI register.
//
// An edge is a message if the entry is not masked, else it is lost. A level is one message, after which
// Remote IRR holds back further ones until an EOI for its vector comes; if the input is still active then,
// there is another. A level that nobody accepts is offered again when its input or its entry changes.
// Delivery status always reads as idle.
//
// Sources: Intel 82093AA (290566), 3; the EOI register: Intel ICH9 datasheet (316972), 13.5. Linux programs
// an entry as edge-triggered to clear its Remote IRR (__eoi_ioapic_pin() in arch/x86/kernel/apic/io_apic.c),
// so that does. Threading: one thread, that of the machine.
#pragma once

#include <array>
#include <cstdint>

#include "base/state_stream.hpp"
#include "bus/irq_line.hpp"
#include "bus/message_interrupt.hpp"
#include "chipset/apic_bus.hpp"
#include "spec/apic.hpp"

namespace cbit::chipset {

class Ioapic final : public bus::MmioRegion, public bus::IrqInput, public EoiListener {
 public:
  static constexpr unsigned pin_count = 24;
  static constexpr std::uint64_t region_bytes = 0x1000;

  // `requester`: whose its messages are, for an IOMMU.
  explicit Ioapic(bus::MessageInterruptSink& sink, std::uint8_t id = 0, RequesterId requester = 0);

  // All entries masked. The inputs keep their levels.
  void reset();

  // Offsets: spec::ioapic_mmio. An access that does not begin at a register reads 0 and writes nothing.
  Result<void> read(std::uint64_t offset, ByteSpan to) override;
  Result<void> write(std::uint64_t offset, ConstByteSpan from) override;
  void set_input(unsigned pin, bool high) override;
  void end_of_interrupt(std::uint8_t vector) override;
  void transfer(StateStream& s);

 private:
  struct Pin {
    spec::IoapicEntry entry;
    bool high = false;
    void transfer(StateStream& s) { s(entry, high); }
  };

  [[nodiscard]] std::uint32_t read_selected() const;
  void write_selected(std::uint32_t value);
  void write_entry(Pin& pin, bool upper, std::uint32_t value);
  [[nodiscard]] static bool active(const Pin& pin);
  // Whether its level, not its edges, makes messages.
  [[nodiscard]] static bool level_triggered(const Pin& pin);
  void offer_level(Pin& pin);
  bool send(const Pin& pin);

  bus::MessageInterruptSink* sink_;
  std::uint8_t initial_id_;
  RequesterId requester_;
  std::uint8_t id_ = 0;
  std::uint8_t selected_ = 0;
  std::array<Pin, pin_count> pins_;
};

}  // namespace cbit::chipset
