// A hostile guest and PCI: the input is what it does to configuration space, by ports and by ECAM, and to
// BARs, while the functions raise interrupts and do DMA wherever it lets them.
//
// Held: nothing crashes; identification stays; a BAR answers only where its register says, while decoding is
// on, and never where RAM or the chipset is; bus mastership and INTx# follow the command register; a message
// is sent by bus masters only, and one event gives at most one.
#include <array>
#include <deque>

#include "chipset/pc_map.hpp"
#include "chipset/pci_host.hpp"
#include "fuzz_board.hpp"
#include "fuzz_input.hpp"

namespace cbit::chipset {
namespace {

using namespace spec;

constexpr unsigned steps_max = 300;
constexpr unsigned functions = 3;
constexpr std::uint64_t ecam = 0xe000'0000;

class NoPlatform final : public PlatformControl {
 public:
  void reset(ResetKind) override {}
  void power_off() override {}
  void exit(std::uint32_t) override {}
};

// Counts how often it is entered from within itself.
class Registers final : public bus::MmioRegion {
 public:
  Result<void> read(std::uint64_t, ByteSpan to) override {
    std::ranges::fill(to, std::byte{0x5a});
    return {};
  }
  // What a device does when its doorbell rings: DMA.
  Result<void> write(std::uint64_t, ConstByteSpan from) override {
    require(!entered_);
    entered_ = true;
    if (port != nullptr && from.size() == 4) static_cast<void>(port->store(target, 0x4141'4141u));
    entered_ = false;
    return {};
  }
  bus::DmaPort* port = nullptr;
  DmaAddr target;

 private:
  bool entered_ = false;
};

class Ports final : public bus::PioRegion {
 public:
  std::uint32_t read(std::uint16_t, unsigned) override { return 0x5a5a'5a5a; }
  void write(std::uint16_t, unsigned, std::uint32_t) override {}
};

struct Toy {
  Toy(bus::SystemBus& bus, unsigned device, std::uint8_t options)
      : port{bus, {.device = "toy", .requester = pci_requester(0, device, 0)}},
        function{{.vendor = 0x1234, .device = static_cast<std::uint16_t>(device)}, &port} {
    registers.port = &port;
    function.add_memory_bar(0, 0x1000, registers, bus::PciMemoryBar::bits_32);
    function.add_memory_bar(2, memory.data().size(), memory, bus::PciMemoryBar::bits_64);
    function.add_io_bar(4, 64, ports);
    function.add_intx();
    if ((options & 1) != 0) function.add_express();
    if ((options & 2) != 0) function.add_power_management();
    if ((options & 4) != 0) function.add_msi(1u << options % 6);
    if ((options & 8) != 0) function.add_msix(1u + options % 70, 5);
  }
  bus::DmaPort port;
  Registers registers;
  bus::RamBar memory{1 << 14};
  Ports ports;
  bus::PciFunction function;
};

class Guest {
 public:
  Guest(FuzzBoard& board, FuzzInput& input) : input_{&input}, bus_{*board.memory, board.tracer, {}} {
    for (unsigned n = 0; n < functions; ++n) {
      Toy& toy = toys_.emplace_back(bus_, n + 1, input.byte());
      host_.bus().plug(n + 1, toy.function);
    }
    if (input.flag()) host_.assign_resources();
  }

  void step() {
    switch (input_->below(10)) {
      case 0:
      case 1: access_by_ports(); break;
      case 2:
      case 3: access_by_ecam(); break;
      case 4:
      case 5: access_bar(); break;
      case 6: raise(); break;
      case 7: do_dma(); break;
      case 8: toys_[input_->below(functions)].registers.target = DmaAddr{address()}; break;
      default:
        if (input_->below(8) == 0) host_.reset();
        if (input_->below(8) == 0) host_.assign_resources();
        break;
    }
    for (unsigned n = 0; n < functions; ++n) check(n);
  }

 private:
  // Registers that do something are hit more often than by chance.
  std::uint32_t offset() {
    constexpr std::uint32_t likely[] = {0x04, 0x05, 0x10, 0x14, 0x18, 0x1c, 0x20, 0x24, 0x3c};
    const std::uint8_t which = input_->byte();
    return which < 128 ? likely[which % std::size(likely)] : 2u * which - 256;
  }
  std::uint32_t value() {
    switch (input_->below(6)) {
      case 0: return ~0u;
      case 1: return 0xfee0'0000u | input_->take<std::uint16_t>();
      case 2: return 0xc000'0000u | std::uint32_t{input_->byte()} << 12;
      case 3: return input_->byte();
      default: return input_->take<std::uint32_t>();
    }
  }
  std::uint64_t address() {
    Toy& toy = toys_[input_->below(functions)];
    const std::uint64_t within = input_->byte() * 4u;
    switch (input_->below(5)) {
      case 0: return bar(toy.function, 0) + within;
      case 1: return bar(toy.function, 5) + within;
      case 2: return ecam + (1 + input_->below(functions)) * 0x8000 + within;
      case 3: return 0xfee0'0000 + within;
      default: return input_->take<std::uint16_t>();
    }
  }
  static std::uint64_t bar(const bus::PciFunction& function, unsigned number) {
    return function.config().get<std::uint32_t>(pci_register::base_address + 4 * number) & ~0xfu;
  }

  void access_by_ports() {
    const std::uint32_t at = 1u << 31 | (input_->below(5) << 11) | (offset() & 0xfc);
    ports_.write(0xcf8, 4, input_->below(16) == 0 ? input_->take<std::uint32_t>() : at);
    const auto port = static_cast<std::uint16_t>(0xcfc + input_->below(4));
    const unsigned bytes = 1u << input_->below(3);
    if (input_->flag())
      ports_.write(port, bytes, value());
    else
      static_cast<void>(ports_.read(port, bytes));
  }
  void access(std::uint64_t at) {
    std::array<std::byte, 16> raw{};
    const std::uint8_t shape = input_->byte();
    const std::size_t bytes = shape < 200 ? 1u << shape % 4 : 1 + shape % raw.size();
    const std::uint32_t low = value();
    store(raw, 0, low);
    store(raw, 4, low);
    const ByteSpan part = ByteSpan{raw}.first(bytes);
    if (input_->flag())
      static_cast<void>(bus_.io_write(PhysAddr{at}, part));
    else
      static_cast<void>(bus_.io_read(PhysAddr{at}, part));
  }
  void access_by_ecam() { access(ecam + input_->below(5) * 0x8000u + offset()); }
  void access_bar() {
    access(bar(toys_[input_->below(functions)].function, input_->below(6)) + input_->byte() * 4u);
  }

  void raise() {
    Toy& toy = toys_[input_->below(functions)];
    if (input_->flag())
      toy.function.set_intx(input_->flag());
    else
      toy.function.interrupt(input_->byte());
  }
  void do_dma() {
    Toy& toy = toys_[input_->below(functions)];
    std::array<std::byte, 64> raw{};
    const DmaAddr at{address()};
    const ByteSpan part = ByteSpan{raw}.first(1 + input_->below(64));
    const bool master = toy.port.bus_master();
    const Result<void> done = input_->flag() ? toy.port.write(at, part) : toy.port.read(at, part);
    require(master || !done);
  }

  void check(unsigned n) {
    const bus::PciFunction& function = toys_[n].function;
    const bus::PciConfigSpace& config = function.config();
    require(config.get<std::uint32_t>(0) == ((n + 1) << 16 | 0x1234u));
    const PciCommand command{{config.get<std::uint16_t>(pci_register::command)}};
    require(!toys_[n].port.bus_master() || command.get<PciCommand::BusMaster>());
    const bus::IrqLine& line = pc_.irq(pc_map::pci_irq(n + 1));
    const bool message = function.msi_enabled() || function.msix_enabled();
    if (message || command.get<PciCommand::InterruptDisable>()) require(!line.asserted());
    const std::uint64_t at = bar(function, 0);
    const auto hit = bus_.find_mmio(PhysAddr{at});
    if (at < FuzzBoard::ram_bytes) require(hit.region == nullptr);
    require(bus_.find_mmio(PhysAddr{ecam}).offset == 0);
    require(bus_.find_mmio(PhysAddr{msi_window}).offset == 0);
    require(ports_.find(0x3f8, 1).region == &pc_.com1());
  }

  FuzzInput* input_;
  bus::SystemBus bus_;
  Clock clock_;
  NoPlatform platform_;
  PcChipset pc_{clock_, platform_, {}};
  bus::PortSpace ports_;
  struct Attached {
    Attached(PcChipset& pc, bus::SystemBus& memory, bus::PortSpace& ports) { pc.attach(memory, ports); }
  } attached_{pc_, bus_, ports_};
  PciHost host_{pc_, bus_, ports_};
  std::deque<Toy> toys_;
};

}  // namespace
}  // namespace cbit::chipset

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cbit;
  static FuzzBoard board;
  FuzzInput input{data, size};
  chipset::Guest guest{board, input};
  for (unsigned step = 0; step < chipset::steps_max && !input.empty(); ++step) guest.step();
  return 0;
}
