#include "bus/pci/firmware.hpp"

#include <bit>

namespace cbit::bus {
namespace {

using namespace spec;

// Configuration accesses to one function.
class Access {
 public:
  Access(PciBus& bus, unsigned device) : bus_{&bus}, at_{pci_requester(0, device, 0)} {}

  template <class T>
  [[nodiscard]] T read(std::uint32_t offset) const {
    std::array<std::byte, sizeof(T)> raw{};
    bus_->read_config(at_, offset, raw);
    return load<T>(raw);
  }
  template <class T>
  void write(std::uint32_t offset, T value) const {
    bus_->write_config(at_, offset, bytes_of(value));
  }
  // What comes back of all ones: the bits that are address. 6.2.5.1.
  [[nodiscard]] std::uint32_t size_mask(std::uint32_t offset) const {
    write(offset, ~std::uint32_t{0});
    const auto mask = read<std::uint32_t>(offset);
    write(offset, std::uint32_t{0});
    return mask;
  }

 private:
  PciBus* bus_;
  RequesterId at_;
};

class Assignment {
 public:
  explicit Assignment(const PciResources& resources)
      : memory_{resources.memory.first.value(), resources.memory.end().value()},
        ports_{resources.ports.first, resources.ports.first + resources.ports.ports} {}

  void configure(const Access& function) {
    PciCommand command{{function.read<std::uint16_t>(pci_register::command)}};
    command = command.with<PciCommand::MemorySpace>(false).with<PciCommand::IoSpace>(false);
    function.write(pci_register::command, command.raw);
    bool memory = false, io = false, all = true;
    for (unsigned bar = 0; bar < pci_bars; ++bar) {
      const std::uint32_t at = pci_register::base_address + 4 * bar;
      const auto flags = function.read<std::uint32_t>(at);
      if ((flags & pci_bar::io) != 0) {
        io = true;
        all &= place(function, at, pci_bar::io_flags, ports_);
        continue;
      }
      const std::uint32_t mask = function.size_mask(at);
      if (mask == 0) continue;
      memory = true;
      all &= place(function, at, pci_bar::memory_flags, memory_);
      if ((flags & pci_bar::memory_64) != 0) ++bar;
    }
    if (!all) return;
    command = command.with<PciCommand::MemorySpace>(memory).with<PciCommand::IoSpace>(io);
    function.write(pci_register::command, command.raw);
  }

 private:
  struct Window {
    std::uint64_t next;
    std::uint64_t end;
  };
  static bool place(const Access& function, std::uint32_t at, std::uint32_t flags, Window& window) {
    const std::uint32_t mask = function.size_mask(at) & ~flags;
    if (mask == 0) return false;
    const std::uint64_t bytes = std::uint64_t{1} << std::countr_zero(mask);
    const std::uint64_t first = align_up(window.next, bytes);
    if (first + bytes > window.end) return false;
    function.write(at, static_cast<std::uint32_t>(first));
    window.next = first + bytes;
    return true;
  }

  Window memory_;
  Window ports_;
};

}  // namespace

void assign_pci_resources(PciBus& bus, const PciResources& resources) {
  Assignment assignment{resources};
  for (unsigned device = 0; device < pci_devices; ++device)
    if (bus.device(device) != nullptr) assignment.configure(Access{bus, device});
}

}  // namespace cbit::bus
