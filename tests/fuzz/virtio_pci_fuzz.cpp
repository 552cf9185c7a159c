// A hostile guest and a virtio device behind PCI: the input is what it does to the registers of either
// interface, to configuration space, to MSI-X's table and to memory, where rings may be; the device is a
// disk (virtio-blk, virtio-scsi), an entropy source, a network device, a console or a socket device, modern,
// transitional or legacy.
//
// Held: nothing crashes or runs long; a stopped device serves nothing; a read-only disk keeps its bytes; no
// byte outside of memory and BARs is touched; after a reset of the function the device is as new.
#include <array>
#include <deque>

#include "bus/pci/firmware.hpp"
#include "bus/pci/pci_bus.hpp"
#include "dev/virtio/virtio_blk.hpp"
#include "dev/virtio/virtio_console.hpp"
#include "dev/virtio/virtio_net.hpp"
#include "dev/virtio/virtio_pci.hpp"
#include "dev/virtio/virtio_rng.hpp"
#include "dev/virtio/virtio_scsi.hpp"
#include "dev/virtio/virtio_vsock.hpp"
#include "fuzz_board.hpp"
#include "fuzz_input.hpp"
#include "fuzz_network.hpp"
#include "fuzz_sockets.hpp"

namespace cbit::dev {
namespace {

using namespace spec;

constexpr unsigned steps_max = 300;
constexpr unsigned slot = 1;
constexpr std::size_t disk_bytes = 16 * 1024;
constexpr std::uint64_t queue_at = 0x1000;  // rings are a page each, buffers from 8000h on

class CountingSink final : public bus::MessageInterruptSink {
 public:
  bool deliver(const bus::MessageInterrupt&) override {
    ++messages;
    return true;
  }
  std::uint64_t messages = 0;
};

class Terminal final : public ConsolePeer {
 public:
  void output(ConstByteSpan) override {}
  std::size_t input(ByteSpan to) override {
    const std::size_t bytes = std::min<std::size_t>(to.size(), left);
    std::ranges::fill(to.first(bytes), std::byte{'x'});
    left -= bytes;
    return bytes;
  }
  std::size_t left = 0;
};

class HostileGuest {
 public:
  HostileGuest(FuzzBoard& board, FuzzInput& input)
      : board_{&board}, input_{&input}, bus_{*board.memory, board.tracer, {}} {
    board.clear();
    disk_ = std::make_unique<MemoryDisk>(contents_, input.flag());
    function_ = std::make_unique<VirtioPci>(make_device(), input.below(4) != 0);
    pci_.plug(slot, *function_);
    bus::assign_pci_resources(pci_, {{PhysAddr{0xc000'0000}, 1 << 24}, {0x6000, 0x1000}});
    set_config<std::uint16_t>(pci_register::command, 7);
    if (input.flag()) enable_msix();
    if (input.flag()) start();
  }

  void run() {
    for (unsigned step = 0; step < steps_max && !input_->empty(); ++step) {
      act();
      const VirtioDevice& device = function_->device();
      require((device.status() & virtio_status::needs_reset) == 0 || device.broken());
    }
    if (disk_->read_only()) require(std::ranges::equal(disk_->contents(), contents_));
    function_->reset();
    require(function_->device().status() == 0 && !function_->device().broken());
    for (std::uint16_t n = 0; n < function_->device().queue_count(); ++n)
      require(!function_->device().queue_enabled(n));
    require(!line_.asserted() && !function_->port()->bus_master());
  }

 private:
  std::unique_ptr<VirtioDevice> make_device() {
    VirtioOptions options;
    options.legacy = input_->below(4) == 0;
    options.transitional = !options.legacy && input_->below(3) == 0;
    options.iommu_platform = !options.legacy && !options.transitional;
    options.packed = !options.legacy && input_->flag();
    options.event_idx = input_->flag();
    const bus::DmaPortConfig port{.device = "fuzz", .requester = slot << 3};
    const auto size = static_cast<std::uint16_t>(4u << input_->below(3));
    const std::uint8_t kind = input_->byte();
    if (kind >= 224)
      return std::move(*VirtioScsi::create(bus_, port, *disk_, {.virtio = options, .queue_size = size}));
    if (kind >= 192)
      return std::move(
          *VirtioVsock::create(bus_, port, {.virtio = options, .queue_size = size, .sockets = &sockets_}));
    switch (kind % 4) {
      case 0:
        return std::move(*VirtioBlk::create(bus_, port, *disk_,
                                            {.virtio = options, .queue_size = size, .seg_max = size - 2u}));
      case 1: return std::move(*VirtioRng::create(bus_, port, {.virtio = options, .queue_size = size}));
      case 2:
        return std::move(*VirtioNet::create(
            bus_, port, {.virtio = options, .queue_size = size, .net = {.network = &network_}}));
      default: break;
    }
    VirtioConsoleOptions console{.virtio = options, .queue_size = size};
    if (input_->flag()) console.ports = {{.name = "a"}, {.name = "b", .console = true}};
    auto made = std::move(*VirtioConsole::create(bus_, port, console));
    console_ = made.get();
    for (std::size_t n = 0; n < console_->port_count(); ++n) console_->set_peer(n, &terminal_);
    return made;
  }

  void act() {
    switch (input_->below(12)) {
      case 0:
      case 1: return access_modern();
      case 2: return access_legacy();
      case 3: return access_config();
      case 4: return write_memory();
      case 5:
      case 6: return offer();
      case 7: return notify();
      case 8: return access_msix();
      case 9: return start();
      case 10:
        network_.say(*input_);
        if (sockets_.in_use()) sockets_.speak();
        sockets_.serve({});
        terminal_.left = input_->byte() * 64u;
        if (console_ != nullptr) console_->input_available(input_->byte() % console_->port_count());
        return;
      default: return window();
    }
  }

  template <class T>
  void set_config(std::uint32_t offset, T value) {
    pci_.write_config(slot << 3, offset, bytes_of(value));
  }
  template <class T>
  T config(std::uint32_t offset) {
    std::array<std::byte, sizeof(T)> raw{};
    pci_.read_config(slot << 3, offset, raw);
    return load<T>(raw);
  }
  std::uint64_t bar(unsigned number) {
    return config<std::uint32_t>(pci_register::base_address + 4 * number) & ~0xfu;
  }
  template <class T>
  void write(std::uint64_t at, T value) {
    static_cast<void>(bus_.io_write(PhysAddr{at}, bytes_of(value)));
  }
  void access(std::uint64_t at) {
    std::array<std::byte, 8> raw{};
    store(raw, 0, input_->take<std::uint32_t>());
    const ByteSpan part = ByteSpan{raw}.first(1u << input_->below(4));
    if (input_->flag())
      static_cast<void>(bus_.io_write(PhysAddr{at}, part));
    else
      static_cast<void>(bus_.io_read(PhysAddr{at}, part));
  }
  void access_modern() { access(bar(4) + input_->below(4) * 0x1000u + input_->byte() % 80u); }
  void access_msix() { access(bar(1) + (input_->flag() ? 0x800u : 0u) + input_->byte()); }
  void access_legacy() {
    const auto port = static_cast<std::uint16_t>(bar(0) + input_->below(128));
    const unsigned bytes = 1u << input_->below(3);
    if (input_->flag())
      ports_.write(port, bytes, input_->take<std::uint32_t>());
    else
      static_cast<void>(ports_.read(port, bytes));
  }
  void access_config() {
    const std::uint8_t offset = input_->byte();
    if (!input_->flag()) return static_cast<void>(config<std::uint32_t>(offset));
    set_config(offset, input_->take<std::uint32_t>());
    if (input_->below(4) != 0) set_config<std::uint16_t>(pci_register::command, 7);
  }
  void window() {
    std::uint32_t at = config<std::uint8_t>(pci_register::capabilities);
    while (at != 0 && config<std::uint8_t>(at + 3) != virtio_pci_cap::pci) at = config<std::uint8_t>(at + 1);
    if (at == 0) return;
    set_config<std::uint8_t>(at + 4, input_->below(8) == 0 ? input_->byte() : 4);
    set_config<std::uint32_t>(at + 8, input_->below(4) * 0x1000u + input_->below(80));
    set_config<std::uint32_t>(at + 12, input_->below(6));
    if (input_->flag())
      set_config<std::uint32_t>(at + 16, input_->take<std::uint32_t>());
    else
      static_cast<void>(config<std::uint32_t>(at + 16));
  }
  void enable_msix() {
    std::uint32_t at = config<std::uint8_t>(pci_register::capabilities);
    while (at != 0 && config<std::uint8_t>(at) != pci_capability::msi_x) at = config<std::uint8_t>(at + 1);
    if (at != 0) set_config<std::uint16_t>(at + pci_msix::control, 0x8000);
    for (unsigned n = 0; n < 8; ++n) {
      write(bar(1) + 16 * n, 0xfee0'0000u);
      write(bar(1) + 16 * n + 12, 0u);
    }
  }

  // What a driver does, so that requests get far: modern and legacy at once, whichever is there.
  void start() {
    const std::uint64_t common = bar(4);
    const auto legacy = static_cast<std::uint16_t>(bar(0));
    write(common + 20, std::uint8_t{0});
    const bool by_legacy = function_->device().has_legacy_interface() && input_->flag();
    if (by_legacy) {
      ports_.write(static_cast<std::uint16_t>(legacy + 4), 4, input_->take<std::uint32_t>());
    } else {
      const std::uint64_t features = function_->device().device_features();
      for (unsigned half = 0; half < 2; ++half) {
        write(common + 8, half);
        write(common + 12, static_cast<std::uint32_t>(features >> 32 * half));
      }
      write(common + 20, std::uint8_t{11});
    }
    for (std::uint16_t n = 0; n < function_->device().queue_count(); ++n) place_queue(n, by_legacy);
    if (by_legacy)
      ports_.write(static_cast<std::uint16_t>(legacy + 18), 1, 7);
    else
      write(common + 20, std::uint8_t{15});
  }
  void place_queue(std::uint16_t n, bool by_legacy) {
    const std::uint64_t at = queue_at + 0x2000u * (n % 3);
    if (by_legacy) {
      const auto legacy = static_cast<std::uint16_t>(bar(0));
      ports_.write(static_cast<std::uint16_t>(legacy + 14), 2, n);
      ports_.write(static_cast<std::uint16_t>(legacy + 22), 2, n + 1u);
      return ports_.write(static_cast<std::uint16_t>(legacy + 8), 4, static_cast<std::uint32_t>(at >> 12));
    }
    const std::uint64_t common = bar(4);
    const VringAreas areas{function_->device().queue_size_max(n)};
    write(common + 22, n);
    write(common + 26, static_cast<std::uint16_t>(n + 1));
    write(common + 32, at);
    write(common + 40, at + areas.avail_offset());
    write(common + 48, at + areas.used_offset(4096));
    write(common + 28, std::uint16_t{1});
  }

  void put(std::uint64_t at, ConstByteSpan bytes) {
    static_cast<void>(
        board_->memory->write(PhysAddr{at % FuzzBoard::ram_bytes & ~std::uint64_t{63}}, bytes, {}));
  }
  void write_memory() {
    std::array<std::byte, 16> raw{};
    store(raw, 0, input_->take<std::uint64_t>());
    store(raw, 8, input_->take<std::uint64_t>());
    put(input_->take<std::uint16_t>(), raw);
  }
  // A chain of one to three descriptors, and its head in the available ring.
  void offer() {
    const std::uint16_t queue = input_->below(function_->device().queue_count());
    const VringAreas areas{function_->device().queue_size_max(queue)};
    const std::uint64_t at = queue_at + 0x2000u * (queue % 3);
    for (std::uint16_t n = 0; n < 3; ++n) {
      VringDesc desc{0x8000u + input_->byte() * 64u, input_->below(200), 0,
                     static_cast<std::uint16_t>((n + 1) % areas.size)};
      if (input_->below(16) == 0) desc.addr = bar(4) + input_->byte();
      desc.flags = static_cast<std::uint16_t>((n < 2 && input_->flag() ? 1 : 0) | (input_->flag() ? 2 : 0));
      if (input_->below(16) == 0) desc.flags = input_->byte();
      store_at(at + VringAreas::desc(n), desc);
    }
    const auto index = static_cast<std::uint16_t>(next_[queue % 3]++);
    store_at(at + areas.avail_offset() + VringAreas::avail_ring(index % areas.size), std::uint16_t{0});
    store_at(at + areas.avail_offset() + VringAreas::idx, static_cast<std::uint16_t>(index + 1));
    write(bar(4) + 0x3000 + 4u * queue, queue);
  }
  template <class T>
  void store_at(std::uint64_t at, const T& value) {
    static_cast<void>(board_->memory->write(PhysAddr{at}, bytes_of(value), {}));
  }
  void notify() {
    const std::uint16_t queue = input_->below(8);
    if (input_->flag())
      write(bar(4) + 0x3000 + 4u * queue, queue);
    else
      ports_.write(static_cast<std::uint16_t>(bar(0) + 16), 2, queue);
  }

  FuzzBoard* board_;
  FuzzInput* input_;
  bus::SystemBus bus_;
  bus::PortSpace ports_;
  CountingSink messages_;
  bus::IrqLine line_{"line", bus::ActiveLevel::low};
  bus::PciBus pci_{{bus_, ports_, messages_, [this](unsigned) -> bus::IrqLine& { return line_; }}};
  Bytes contents_ = pattern_bytes(disk_bytes, 1);
  FuzzNetwork network_;
  FuzzSockets sockets_{*input_};
  Terminal terminal_;
  VirtioConsole* console_ = nullptr;
  std::unique_ptr<MemoryDisk> disk_;
  std::unique_ptr<VirtioPci> function_;
  std::array<std::uint16_t, 3> next_{};
};

}  // namespace
}  // namespace cbit::dev

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cbit;
  static FuzzBoard board;
  FuzzInput input{data, size};
  dev::HostileGuest{board, input}.run();
  return 0;
}
