// Message-signalled interrupts: a write of four bytes to FEEx'xxxxh is an interrupt. Whoever makes one (a PCI
// function, an IOAPIC) hands it to a MessageInterruptSink: the local APICs (chipset/apic_bus.hpp), or an
// IOMMU that remaps before them. On the bus the sink stands behind a MessageInterruptWindow, so that a
// device's DMA write gets there as any other write does.
//
// Sources: Intel SDM vol. 3, 11.11; PCI Local Bus Specification 3.0, 6.8. Threading: one thread.
#pragma once

#include <cstdint>
#include <optional>

#include "base/ids.hpp"
#include "bus/system_bus.hpp"

namespace cbit::bus {

// As it goes over the bus; spec/apic.hpp has the fields.
struct MessageInterrupt {
  std::uint64_t address = 0;
  std::uint32_t data = 0;
  // Whose it is, for an IOMMU. nullopt: nobody's that an IOMMU knows, and it is not remapped.
  std::optional<RequesterId> requester = {};

  friend bool operator==(const MessageInterrupt&, const MessageInterrupt&) = default;
};

class MessageInterruptSink {
 public:
  virtual ~MessageInterruptSink() = default;
  // The address is anything that the window holds. false: nobody accepted the message, and it is lost; a
  // device never knows, but an IOAPIC does.
  virtual bool deliver(const MessageInterrupt& message) = 0;
};

// In front of the local APICs, for an IOMMU to step in.
class MessageInterruptRoute final : public MessageInterruptSink {
 public:
  explicit MessageInterruptRoute(MessageInterruptSink& sink) : sink_{&sink} {}
  // All messages go there from now on; it outlives the traffic.
  void set_sink(MessageInterruptSink& sink) { sink_ = &sink; }
  bool deliver(const MessageInterrupt& message) override { return sink_->deliver(message); }

 private:
  MessageInterruptSink* sink_;
};

// The megabyte from spec::msi_window on. Reads give ones; writes of other widths or alignments are lost. A
// CPU's own APIC page lies in front of it (bus/interrupt_source.hpp) and does not get here.
class MessageInterruptWindow final : public MmioRegion {
 public:
  explicit MessageInterruptWindow(MessageInterruptSink& sink) : sink_{&sink} {}
  Result<void> read(std::uint64_t offset, ByteSpan to) override;
  Result<void> write(std::uint64_t offset, ConstByteSpan from) override;

 private:
  MessageInterruptSink* sink_;
};

}  // namespace cbit::bus
