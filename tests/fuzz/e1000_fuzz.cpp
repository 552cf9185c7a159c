// A hostile guest, a hostile network and Intel's 82540EM: the input is what the guest writes into registers,
// rings and descriptors, and which frames come.
//
// Held: nothing crashes or runs long; no frame is longer than Ethernet's; no byte outside of memory and BARs
// is touched; after a reset of the function the device is as new.
#include <array>

#include "bus/pci/firmware.hpp"
#include "bus/pci/pci_bus.hpp"
#include "dev/e1000/e1000_pci.hpp"
#include "fuzz_board.hpp"
#include "fuzz_input.hpp"
#include "fuzz_network.hpp"

namespace cbit::dev {
namespace {

namespace e1000 = spec::e1000;

constexpr unsigned steps_max = 300;
constexpr unsigned slot = 1;
constexpr std::uint32_t transmit_ring = 0x1000;
constexpr std::uint32_t receive_ring = 0x2000;
constexpr std::uint32_t ring_bytes = 0x400;

class HostileGuest {
 public:
  HostileGuest(FuzzBoard& board, FuzzInput& input)
      : board_{&board}, input_{&input}, bus_{*board.memory, board.tracer, {}} {
    board.clear();
    function_ = std::make_unique<E1000Pci>(
        std::make_unique<E1000>(bus_, bus::DmaPortConfig{.device = "fuzz", .requester = slot << 3},
                                E1000Options{{.network = &network_}}, &board.clock));
    pci_.plug(slot, *function_);
    bus::assign_pci_resources(pci_, {{PhysAddr{0xc000'0000}, 1 << 24}, {0x6000, 0x1000}});
    pci_.write_config(slot << 3, spec::pci_register::command, bytes_of(std::uint16_t{7}));
    start();
  }

  void run() {
    for (unsigned step = 0; step < steps_max && !input_->empty(); ++step) act();
    function_->reset();
    require(!function_->device().is_up() && !network_.in_use() && !line_.asserted());
  }

 private:
  void set(std::uint32_t reg, std::uint32_t value) {
    static_cast<void>(function_->device().write(reg, bytes_of(value)));
  }
  void start() {
    set(e1000::reg::tdbal, transmit_ring);
    set(e1000::reg::tdlen, ring_bytes);
    set(e1000::reg::rdbal, receive_ring);
    set(e1000::reg::rdlen, ring_bytes);
    set(e1000::reg::vet, 0x8100);
    set(e1000::reg::ims, ~std::uint32_t{0});
    set(e1000::reg::ctrl, input_->flag() ? e1000::ctrl::vme : 0);
    set(e1000::reg::tctl, e1000::tctl::en | e1000::tctl::psp);
    set(e1000::reg::rctl, e1000::rctl::en | e1000::rctl::upe | e1000::rctl::mpe |
                              std::uint32_t{input_->below(4)} << e1000::rctl::bsize_shift);
  }

  void act() {
    switch (input_->below(8)) {
      case 0: return access_register();
      case 1: return set(e1000::reg::tdt, input_->below(70));
      case 2: return set(e1000::reg::rdt, input_->below(70));
      case 3: return network_.say(*input_);
      case 4: return put_descriptor(receive_ring);
      case 5: return board_->clock.advance(input_->take<std::uint16_t>());
      default: return put_descriptor(transmit_ring);
    }
  }
  void access_register() {
    const std::uint64_t at = 0xc000'0000 + input_->take<std::uint16_t>() % (e1000::registers_end + 64);
    std::array<std::byte, 8> raw{};
    store(raw, 0, input_->take<std::uint64_t>());
    const ByteSpan part = ByteSpan{raw}.first(1u << input_->below(4));
    if (input_->flag())
      static_cast<void>(bus_.io_write(PhysAddr{at}, part));
    else
      static_cast<void>(bus_.io_read(PhysAddr{at}, part));
  }
  // Its data mostly in memory, its length mostly short, its context anything.
  void put_descriptor(std::uint32_t ring) {
    std::array<std::byte, 16> raw{};
    const bool is_context = input_->below(4) == 0;
    store(raw, 0,
          is_context || input_->below(16) == 0 ? input_->take<std::uint64_t>()
                                               : std::uint64_t{input_->take<std::uint16_t>()});
    const std::uint32_t bytes = input_->take<std::uint16_t>() % (input_->flag() ? 200 : 0x10000);
    const std::uint32_t commands = std::uint32_t{input_->byte()} << 24;
    store(raw, 8, bytes | commands | (is_context ? 0 : 1u << e1000::txd::type_shift));
    store(raw, 12, input_->take<std::uint32_t>());
    static_cast<void>(
        board_->memory->write(PhysAddr{ring + 16ull * input_->below(ring_bytes / 16)}, raw, {}));
  }

  FuzzBoard* board_;
  FuzzInput* input_;
  bus::SystemBus bus_;
  bus::PortSpace ports_;
  IgnoredMessages messages_;
  bus::IrqLine line_{"line", bus::ActiveLevel::low};
  bus::PciBus pci_{{bus_, ports_, messages_, [this](unsigned) -> bus::IrqLine& { return line_; }}};
  FuzzNetwork network_;
  std::unique_ptr<E1000Pci> function_;
};

}  // namespace
}  // namespace cbit::dev

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static cbit::FuzzBoard board;
  cbit::FuzzInput input{data, size};
  cbit::dev::HostileGuest{board, input}.run();
  return 0;
}
