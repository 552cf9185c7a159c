// A hostile guest and each device of the table that can be plugged in, one at a time or all of them: the
// input is what it writes into configuration space, BARs, ports and memory, without any idea what a register
// means. (virtio_pci_fuzz knows, and gets further with fewer devices.)
//
// Held: nothing crashes or runs long; no byte outside of memory and BARs is touched; after its reset no
// function is a bus master, decodes memory or ports, or pulls its line.
#include <array>
#include <deque>
#include <filesystem>

#include "bus/pci/firmware.hpp"
#include "fuzz_board.hpp"
#include "fuzz_input.hpp"
#include "machine/slots.hpp"

namespace cbit::machine {
namespace {

using namespace spec;

constexpr unsigned steps_max = 300;
constexpr unsigned deadlines_max = 100;
constexpr unsigned first_slot = 1;
constexpr bus::PciResources resources{{PhysAddr{0xc000'0000}, 1 << 26}, {0x6000, 0x2000}};

const dev::SharedFolder& empty_folder() {
  static const std::unique_ptr<dev::SharedFolder> folder = [] {
    std::string name = (std::filesystem::temp_directory_path() / "cbit-fuzz-XXXXXX").string();
    require(::mkdtemp(name.data()) != nullptr);
    auto opened = std::move(*dev::SharedFolder::open(name));
    std::filesystem::remove(name);
    return opened;
  }();
  return *folder;
}

class HostileGuest {
 public:
  HostileGuest(FuzzBoard& board, FuzzInput& input)
      : board_{&board}, input_{&input}, bus_{*board.memory, board.tracer, {}} {
    board.clear();
    const std::uint8_t which = input.below(static_cast<unsigned>(device_kinds().size()) + 1);
    for (std::uint8_t kind = 0; kind < device_kinds().size(); ++kind)
      if (which == kind || which == device_kinds().size()) plug(device_kinds()[kind]);
    bus::assign_pci_resources(pci_, resources);
    if (input.flag())
      for (unsigned n = 0; n < functions_.size(); ++n) set_config<std::uint16_t>(n, pci_register::command, 7);
  }

  void run() {
    for (unsigned step = 0; step < steps_max && !input_->empty(); ++step) act();
    for (unsigned n = 0; n < functions_.size(); ++n) {
      functions_[n]->reset();
      require((config<std::uint16_t>(n, pci_register::command) & 7) == 0);
    }
    require(!line_.asserted());
  }

 private:
  void plug(const DeviceKind& kind) {
    DeviceRequest request{&kind, kind.defaults};
    if (dev::BlockBackend** const disk = backend_of(request.options)) *disk = &disk_;
    if (auto* const share = std::get_if<ShareOptions>(&request.options)) share->folder = &empty_folder();
    const RequesterId place = place_of(static_cast<unsigned>(functions_.size()));
    auto function = plug_pci(pci_, bus_, board_->clock, request, {std::string{kind.name}, place});
    require(function.has_value());
    functions_.push_back(*std::move(function));
  }

  unsigned any() { return input_->below(static_cast<unsigned>(functions_.size())); }
  static RequesterId place_of(unsigned n) { return pci_requester(0, first_slot + n, 0); }
  template <class T>
  void set_config(unsigned n, std::uint32_t offset, T value) {
    pci_.write_config(place_of(n), offset, bytes_of(value));
  }
  template <class T>
  T config(unsigned n, std::uint32_t offset) {
    std::array<std::byte, sizeof(T)> raw{};
    pci_.read_config(place_of(n), offset, raw);
    return load<T>(raw);
  }

  void act() {
    switch (input_->below(8)) {
      case 0: return access_config();
      case 1: return access_ports();
      case 2: return fill_memory();
      case 3: return pass_time();
      default: return access_bar();
    }
  }

  void access_config() {
    const unsigned which = any();
    const std::uint32_t offset = input_->take<std::uint16_t>() % 4096;
    if (input_->flag())
      set_config(which, offset & ~3u, input_->take<std::uint32_t>());
    else
      static_cast<void>(config<std::uint8_t>(which, offset));
    // Else nothing answers from then on.
    if (input_->below(8) != 0) set_config<std::uint16_t>(which, pci_register::command, 7);
  }

  // Near the beginning of a page, where registers are; a value is small, an address in memory, or anything.
  void access_bar() {
    const unsigned which = any();
    const auto bar = config<std::uint32_t>(which, pci_register::base_address + 4 * input_->below(6));
    const std::uint64_t page = input_->below(4) == 0 ? input_->take<std::uint16_t>() : input_->below(4);
    const PhysAddr at{(bar & ~0xfull) + page * page_size + input_->byte() / 2};
    std::array<std::byte, 8> raw{};
    store(raw, 0, value());
    const ByteSpan part = ByteSpan{raw}.first(1u << input_->below(4));
    if (input_->flag())
      static_cast<void>(bus_.io_read(at, part));
    else
      static_cast<void>(bus_.io_write(at, part));
  }
  std::uint64_t value() {
    switch (input_->below(4)) {
      case 0: return input_->byte();
      case 1: return input_->take<std::uint16_t>() % FuzzBoard::ram_bytes;
      case 2: return std::uint64_t{1} << input_->below(64);
      default: return input_->take<std::uint64_t>();
    }
  }

  void access_ports() {
    const auto port = static_cast<std::uint16_t>(resources.ports.first + input_->take<std::uint16_t>() % 512);
    const unsigned bytes = 1u << input_->below(3);
    if (input_->flag())
      ports_.write(port, bytes, input_->take<std::uint32_t>());
    else
      static_cast<void>(ports_.read(port, bytes));
  }

  void fill_memory() {
    std::array<std::byte, 64> raw{};
    for (std::size_t i = 0; i < raw.size(); i += 8) store(raw, i, value());
    const PhysAddr at{input_->take<std::uint16_t>() & ~std::uint64_t{63}};
    static_cast<void>(board_->memory->write(at, raw, {}));
  }

  void pass_time() {
    for (unsigned n = 0; n < deadlines_max; ++n) {
      const auto next = board_->clock.next_deadline();
      if (!next) return;
      board_->clock.advance(std::max(*next, board_->clock.now_ns()) - board_->clock.now_ns());
    }
  }

  FuzzBoard* board_;
  FuzzInput* input_;
  bus::SystemBus bus_;
  bus::PortSpace ports_;
  IgnoredMessages messages_;
  bus::IrqLine line_{"line", bus::ActiveLevel::low};
  bus::PciBus pci_{{bus_, ports_, messages_, [this](unsigned) -> bus::IrqLine& { return line_; }}};
  dev::MemoryDisk disk_{Bytes(16 * 1024)};
  std::deque<std::unique_ptr<bus::PciFunction>> functions_;
};

}  // namespace
}  // namespace cbit::machine

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cbit;
  static FuzzBoard board;
  FuzzInput input{data, size};
  machine::HostileGuest{board, input}.run();
  return 0;
}
