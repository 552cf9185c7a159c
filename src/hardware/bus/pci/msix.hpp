// The structures of MSI-X that lie in a BAR: the table of messages and the array of pending bits. PCI Local
// Bus Specification 3.0, 6.8.2. Whether a message is sent, and by whom, the function decides.
//
// Software accesses aligned dwords and quadwords; other writes are lost. Threading: one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/state_stream.hpp"
#include "bus/system_bus.hpp"
#include "spec/pci.hpp"

namespace cbit::bus {

class PciMsixTable final : public MmioRegion {
 public:
  // vectors: 1 to 2048. `changed` is called after software changed an entry.
  PciMsixTable(unsigned vectors, std::function<void()> changed)
      : entries_(vectors), pending_(pending_words(vectors)), changed_{std::move(changed)} {}

  [[nodiscard]] unsigned vectors() const { return static_cast<unsigned>(entries_.size()); }
  // Where the pending bits are in the region, which is `bytes()` long: a power of two, at least a page.
  [[nodiscard]] std::uint32_t pending_offset() const;
  [[nodiscard]] std::uint64_t bytes() const;

  [[nodiscard]] const spec::PciMsixEntry& entry(unsigned vector) const { return entries_[vector]; }
  [[nodiscard]] bool masked(unsigned vector) const {
    return (entries_[vector].vector_control & spec::pci_msix::entry_masked) != 0;
  }
  [[nodiscard]] bool pending(unsigned vector) const;
  void set_pending(unsigned vector, bool pending);
  void reset();
  // Loading tells nobody of a change.
  void transfer(StateStream& s);

  Result<void> read(std::uint64_t offset, ByteSpan to) override { return peek(offset, to); }
  Result<void> write(std::uint64_t offset, ConstByteSpan from) override;
  Result<void> peek(std::uint64_t offset, ByteSpan to) const override;

 private:
  static std::size_t pending_words(unsigned vectors) { return (vectors + 63) / 64; }
  void write_dword(std::uint64_t offset, std::uint32_t value);

  std::vector<spec::PciMsixEntry> entries_;
  std::vector<std::uint64_t> pending_;
  std::function<void()> changed_;
};

}  // namespace cbit::bus
