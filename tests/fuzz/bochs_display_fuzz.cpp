// A hostile guest and a display: the input is what the guest writes into registers and video memory.
//
// Held: nothing crashes; a picture is as large as its registers say, and lies within video memory; looking at
// it changes nothing; no byte outside of the BARs is touched; after a reset there is no picture.
#include <array>

#include "bus/pci/firmware.hpp"
#include "bus/pci/pci_bus.hpp"
#include "dev/display/bochs_display_pci.hpp"
#include "fuzz_board.hpp"
#include "fuzz_input.hpp"

namespace cbit::dev {
namespace {

namespace bochs = spec::bochs_display;

constexpr unsigned steps_max = 200;
constexpr unsigned pictures_max = 4;  // some megabytes each
constexpr unsigned slot = 1;
constexpr std::uint64_t window = 0xc000'0000;

class HostileGuest {
 public:
  HostileGuest(FuzzBoard& board, FuzzInput& input) : input_{&input}, bus_{*board.memory, board.tracer, {}} {
    board.clear();
    function_ = std::make_unique<BochsDisplayPci>(
        std::make_unique<BochsDisplay>(BochsDisplayOptions{.vram_bytes = bochs::vram_bytes_min}));
    pci_.plug(slot, *function_);
    bus::assign_pci_resources(pci_, {{PhysAddr{window}, 1 << 24}, {0x6000, 0x1000}});
  }

  void run() {
    for (unsigned step = 0; step < steps_max && !input_->empty(); ++step) act();
    look();
    function_->reset();
    require(!function_->picture());
  }

 private:
  void act() {
    switch (input_->below(8)) {
      case 0: return access(input_->take<std::uint32_t>() % (1 << 24));
      case 1: return function_->reset();
      case 2: return pictures_ < pictures_max ? look() : void();
      case 3: return set_mode();
      default: return set(input_->below(bochs::registers), input_->take<std::uint16_t>());
    }
  }
  void set(unsigned index, std::uint16_t value) {
    static_cast<void>(function_->device().write(bochs::dispi + 2 * index, bytes_of(value)));
  }
  // One that can be shown, mostly.
  void set_mode() {
    set(bochs::index::bpp, input_->flag() ? 32 : 16);
    set(bochs::index::xres, static_cast<std::uint16_t>(64 + input_->below(1024)));
    set(bochs::index::yres, static_cast<std::uint16_t>(64 + input_->below(1024)));
    set(bochs::index::x_offset, input_->below(256));
    set(bochs::index::y_offset, input_->below(256));
    set(bochs::index::enable, 0x41);
  }
  void access(std::uint64_t offset) {
    std::array<std::byte, 8> raw{};
    store(raw, 0, input_->take<std::uint64_t>());
    const ByteSpan part = ByteSpan{raw}.first(1u << input_->below(4));
    if (input_->flag())
      static_cast<void>(bus_.io_write(PhysAddr{window + offset}, part));
    else
      static_cast<void>(bus_.io_read(PhysAddr{window + offset}, part));
  }
  [[nodiscard]] std::uint16_t get(unsigned index) {
    std::array<std::byte, 2> raw{};
    require(function_->device().read(bochs::dispi + 2 * index, raw).has_value());
    return load<std::uint16_t>(raw);
  }
  void look() {
    ++pictures_;
    const auto picture = function_->picture();
    if (!picture) return;
    require((get(bochs::index::enable) & 1) == 1);
    require(picture->width == get(bochs::index::xres) && picture->height == get(bochs::index::yres));
    require(picture->rgb.size() == std::size_t{3} * picture->width * picture->height);
    require(std::uint64_t{picture->width} * picture->height * (get(bochs::index::bpp) / 8) <=
            bochs::vram_bytes_min);
    require(function_->picture()->rgb == picture->rgb);
  }

  FuzzInput* input_;
  bus::SystemBus bus_;
  bus::PortSpace ports_;
  IgnoredMessages messages_;
  bus::IrqLine line_{"line", bus::ActiveLevel::low};
  bus::PciBus pci_{{bus_, ports_, messages_, [this](unsigned) -> bus::IrqLine& { return line_; }}};
  std::unique_ptr<BochsDisplayPci> function_;
  unsigned pictures_ = 0;
};

}  // namespace
}  // namespace cbit::dev

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static cbit::FuzzBoard board;
  cbit::FuzzInput input{data, size};
  cbit::dev::HostileGuest{board, input}.run();
  return 0;
}
