// A hostile guest and an NVMe controller that it knows: the input is what it writes into registers, doorbells
// and MSI-X's table, and into the queues and lists in memory, mostly where they are looked for.
//
// Held: nothing crashes or runs long; a read-only disk keeps its bytes; no byte outside of memory and BARs is
// touched; what has failed serves nothing; after a reset of the function the controller is as new.
#include <algorithm>
#include <array>

#include "bus/pci/firmware.hpp"
#include "bus/pci/pci_bus.hpp"
#include "dev/nvme/nvme_pci.hpp"
#include "fuzz_board.hpp"
#include "fuzz_input.hpp"

namespace cbit::dev {
namespace {

using namespace spec;

constexpr unsigned steps_max = 300;
constexpr unsigned slot = 1;
constexpr std::size_t disk_bytes = 64 * 1024;
// Queues are a page each, lists and data behind them.
constexpr std::uint64_t queues_at = 0x1000, lists_at = 0x9000;
constexpr std::uint32_t pairs = 3, entries = 8;

class HostileGuest {
 public:
  HostileGuest(FuzzBoard& board, FuzzInput& input)
      : board_{&board}, input_{&input}, bus_{*board.memory, board.tracer, {}} {
    board.clear();
    disk_ = std::make_unique<MemoryDisk>(contents_, input.flag());
    const NvmeOptions options{.serial = "fuzz",
                              .max_ioqpairs = pairs,
                              .mdts = input.below(4),
                              .logical_block_size = 512u << input.below(4)};
    function_ = std::make_unique<NvmePci>(
        std::move(*Nvme::create(bus_, {.device = "fuzz", .requester = slot << 3}, *disk_, options)));
    pci_.plug(slot, *function_);
    bus::assign_pci_resources(pci_, {{PhysAddr{0xc000'0000}, 1 << 24}, {0x6000, 0x1000}});
    set_config<std::uint16_t>(pci_register::command, 7);
    if (input.below(8) != 0) start();
  }

  void run() {
    for (unsigned step = 0; step < steps_max && !input_->empty(); ++step) {
      const bool failed = csts().get<nvme::Csts::Cfs>();
      act();
      if (failed && csts().get<nvme::Csts::Rdy>() && !restarted_) require(csts().get<nvme::Csts::Cfs>());
    }
    if (disk_->read_only()) require(std::ranges::equal(disk_->contents(), contents_));
    function_->reset();
    require(csts().raw == 0 && !line_.asserted() && !function_->port()->bus_master());
  }

 private:
  [[nodiscard]] nvme::Csts csts() const { return function_->controller().status(); }

  void act() {
    restarted_ = false;
    switch (input_->below(12)) {
      case 0: return access(register_at() + input_->byte() % 0x48u);
      case 1: return access(register_at() + 0x1000 + input_->byte() % 64u);
      case 2: return access(bar(NvmePci::msix_bar) + input_->byte());
      case 3: return write_list();
      case 4: return write_config();
      case 5: return start();
      case 6:
      case 7: return submit(0, admin_command());
      case 8: return take();
      default: return submit(1 + input_->below(pairs), io_command());
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
  std::uint64_t register_at() { return bar(NvmePci::register_bar); }
  template <class T>
  void write(std::uint64_t at, T value) {
    static_cast<void>(bus_.io_write(PhysAddr{at}, bytes_of(value)));
  }
  void access(std::uint64_t at) {
    restarted_ = true;
    std::array<std::byte, 8> raw{};
    store(raw, 0, input_->take<std::uint64_t>());
    const ByteSpan part = ByteSpan{raw}.first(1u << input_->below(4));
    if (input_->flag())
      static_cast<void>(bus_.io_write(PhysAddr{at}, part));
    else
      static_cast<void>(bus_.io_read(PhysAddr{at}, part));
  }
  void write_config() {
    restarted_ = true;
    set_config(input_->byte() & ~3u, input_->take<std::uint32_t>());
    if (input_->below(4) != 0) set_config<std::uint16_t>(pci_register::command, 7);
  }
  template <class T>
  void put(std::uint64_t at, const T& value) {
    static_cast<void>(
        board_->memory->write(PhysAddr{at % FuzzBoard::ram_bytes & ~std::uint64_t{63}}, bytes_of(value), {}));
  }

  // As a driver enables it, with all its queues.
  void start() {
    restarted_ = true;
    tails_ = {};
    const std::uint64_t at = register_at();
    write(at + 0x14, std::uint32_t{0});
    write(at + 0x24, (entries - 1) << 16 | (entries - 1));
    write(at + 0x28, queue_at(0));
    write(at + 0x30, queue_at(pairs + 1));
    write(at + 0x14, 0x0046'0001u | input_->below(8) << 7);
    for (std::uint32_t id = 1; id <= pairs; ++id) {
      const std::uint32_t size_and_id = (entries - 1) << 16 | id;
      submit(0,
             {.opcode = 5, .dptr = {queue_at(pairs + 1 + id)}, .cdw10 = size_and_id, .cdw11 = id << 16 | 3});
      submit(0, {.opcode = 1, .dptr = {queue_at(id)}, .cdw10 = size_and_id, .cdw11 = id << 16 | 1});
      write(at + 0x1004, 2 * id % entries);
    }
  }
  static std::uint64_t queue_at(std::uint32_t n) { return queues_at + page_size * n; }

  void submit(std::uint32_t queue, const nvme::Command& command) {
    put(queue_at(queue) + 64 * tails_[queue], command);
    tails_[queue] = (tails_[queue] + 1) % entries;
    if (input_->below(4) != 0) write(register_at() + 0x1000 + 8 * queue, tails_[queue]);
  }
  void take() {
    write(register_at() + 0x1004 + 8 * input_->below(pairs + 1), std::uint32_t{input_->below(entries)});
  }

  std::uint64_t address() {
    switch (input_->below(8)) {
      case 0: return input_->take<std::uint64_t>();
      case 1: return register_at() + input_->byte();
      case 2: return input_->take<std::uint16_t>();
      default: return lists_at + input_->byte() * 16u;
    }
  }
  nvme::Command any(std::uint8_t opcode) {
    nvme::Command command{.opcode = opcode, .cid = input_->byte(), .nsid = 1};
    if (input_->below(16) == 0) command.nsid = input_->take<std::uint32_t>();
    for (std::uint64_t& pointer : command.dptr) pointer = address();
    if (input_->below(3) == 0) {
      command.flags = input_->below(4) == 0 ? input_->byte() : 0x40;
      command.dptr[1] = std::uint64_t{input_->below(4)} << 60 | input_->byte() * 16u;
    }
    return command;
  }
  nvme::Command admin_command() {
    constexpr std::uint8_t opcodes[] = {0, 1, 2, 4, 5, 6, 8, 9, 10, 12};
    nvme::Command command = any(opcodes[input_->below(10)]);
    command.cdw10 = input_->below(12) | std::uint32_t{input_->byte()} << 16;
    command.cdw11 = input_->below(4) | std::uint32_t{input_->below(8)} << 16;
    command.cdw12 = input_->byte() * 4u;
    return command;
  }
  nvme::Command io_command() {
    constexpr std::uint8_t opcodes[] = {0, 1, 2, 2, 5, 8, 9, 0xff};
    nvme::Command command = any(opcodes[input_->below(8)]);
    command.cdw10 = input_->below(140);
    command.cdw11 = input_->below(16) == 0 ? input_->take<std::uint32_t>() : std::uint32_t{input_->below(8)};
    if (command.opcode != 9) command.cdw11 &= input_->below(8) == 0 ? ~0u : 0u;
    command.cdw12 = input_->below(140) | (input_->below(4) == 0 ? 1u << 30 : 0);
    return command;
  }
  // PRP entries, SGL descriptors or ranges.
  void write_list() {
    std::array<std::uint64_t, 8> list{};
    const bool sgl = input_->flag();
    for (std::size_t i = 0; i < list.size(); ++i)
      list[i] = sgl && i % 2 != 0 ? std::uint64_t{input_->below(4)} << 60 | input_->take<std::uint16_t>()
                                  : address() & (input_->flag() ? ~0xfffull : ~0ull);
    put(lists_at + input_->byte() * 16u, list);
  }

  FuzzBoard* board_;
  FuzzInput* input_;
  bus::SystemBus bus_;
  bus::PortSpace ports_;
  IgnoredMessages messages_;
  bus::IrqLine line_{"line", bus::ActiveLevel::low};
  bus::PciBus pci_{{bus_, ports_, messages_, [this](unsigned) -> bus::IrqLine& { return line_; }}};
  Bytes contents_ = pattern_bytes(disk_bytes, 1);
  std::unique_ptr<MemoryDisk> disk_;
  std::unique_ptr<NvmePci> function_;
  std::array<std::uint32_t, pairs + 1> tails_{};
  bool restarted_ = false;
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
