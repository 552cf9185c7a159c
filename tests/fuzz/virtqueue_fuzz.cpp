// A hostile driver: the input is its program. It writes rings, descriptors and requests, moves the status
// register about and notifies; a virtio-blk device with a small disk serves it.
//
// Held: nothing crashes or runs long, a stopped device says so and serves nothing, a read-only disk keeps its
// bytes, and a notification returns at most a queue full of requests.
#include <cstdlib>
#include <memory>

#include "base/trace.hpp"
#include "bus/system_bus.hpp"
#include "dev/block_backend.hpp"
#include "dev/virtio/virtio_blk.hpp"
#include "fuzz_input.hpp"
#include "mem/memory.hpp"

namespace cbit {
namespace {

constexpr std::uint64_t ram_bytes = 64 * 1024;
constexpr std::size_t disk_bytes = 16 * 1024;
constexpr unsigned steps_max = 400;

void require(bool holds) {
  if (!holds) std::abort();
}

// The machine is made once: reserving address space per input would be all that the fuzzer does.
struct Board {
  Board() {
    mem::MemoryConfig config;
    config.ram = {{PhysAddr{0}, ram_bytes}};
    memory = std::move(*mem::Memory::create(config, keys, tracer));
    bus = std::make_unique<bus::SystemBus>(*memory, tracer, mem::KeyView{});
  }
  Clock clock;
  Tracer tracer{clock};
  mem::KeyTable keys{1, crypt::CipherMode::xex};
  std::unique_ptr<mem::Memory> memory;
  std::unique_ptr<bus::SystemBus> bus;
};

class HostileDriver {
 public:
  HostileDriver(Board& board, FuzzInput& input) : board_{&board}, input_{&input} {
    require(board_->memory->fill(PhysAddr{0}, ram_bytes, std::byte{0}, {}).has_value());
    options_.virtio.legacy = input.flag();
    options_.virtio.iommu_platform = !options_.virtio.legacy && input.flag();
    options_.virtio.event_idx = input.flag();
    options_.virtio.indirect_desc = input.flag();
    options_.queue_size = static_cast<std::uint16_t>(4u << input.below(4));
    options_.seg_max = options_.queue_size - 2u;
    options_.size_max = input.flag() ? 1024 : 0;
    options_.blk_size = input.flag() ? 4096 : 512;
    options_.serial = "fuzz";
    disk_ = std::make_unique<dev::MemoryDisk>(contents_, input.flag());
    auto device = dev::VirtioBlk::create(*board_->bus, {.device = "disk", .requester = 8}, *disk_, options_);
    require(device.has_value());
    device_ = std::move(*device);
    if (input.flag()) start();
  }

  void run() {
    for (unsigned step = 0; step < steps_max && !input_->empty(); ++step) {
      act();
      const auto status = device_->status();
      require((status & spec::virtio_status::needs_reset) == 0 || device_->broken());
    }
    if (disk_->read_only()) require(std::ranges::equal(disk_->contents(), contents_));
  }

 private:
  void act() {
    switch (input_->below(11)) {
      case 0: return write(input_->take<std::uint16_t>(), input_->take<std::uint64_t>());
      case 1: return descriptor();
      case 2: return offer();
      case 3: return notify();
      case 4: return device_->set_status(input_->byte());
      case 5: return device_->set_driver_features(device_->device_features() ^ input_->take<std::uint64_t>());
      case 6: return device_->set_driver_features(device_->device_features());
      case 7: return enable();
      case 8: return config();
      case 9: return request();
      default: return start();
    }
  }

  template <class T>
  void write(std::uint64_t at, const T& value) {
    (void)board_->memory->write(PhysAddr{at}, bytes_of(value), {});
  }
  template <class T>
  T read(std::uint64_t at) {
    std::array<std::byte, sizeof(T)> raw{};
    (void)board_->memory->read(PhysAddr{at}, raw, {});
    return load<T>(raw);
  }

  void start() {
    using namespace spec::virtio_status;
    device_->set_status(0);
    device_->set_driver_features(device_->device_features());
    device_->set_status(acknowledge | driver | features_ok);
    const spec::VringAreas areas{options_.queue_size};
    ring_ = {options_.queue_size, DmaAddr{0}, DmaAddr{areas.avail_offset()}, DmaAddr{areas.used_offset(64)}};
    next_ = 0;
    write(ring_.available.value(), std::uint32_t{0});
    write(ring_.used.value(), std::uint32_t{0});
    device_->enable_queue(0, ring_);
    device_->set_status(acknowledge | driver | features_ok | driver_ok);
  }

  void descriptor() {
    spec::VringDesc desc;
    desc.addr = input_->flag() ? input_->take<std::uint64_t>() : input_->take<std::uint16_t>();
    desc.len = input_->flag() ? input_->take<std::uint32_t>() : input_->take<std::uint16_t>() % 4096;
    desc.flags = input_->byte() % 8;
    desc.next = input_->flag() ? input_->take<std::uint16_t>() : input_->byte() % 32;
    write(ring_.descriptors.value() + spec::VringAreas::desc(input_->byte() % 32), desc);
  }

  void offer() {
    const auto slot = next_++ % ring_.size;
    write(ring_.available.value() + spec::VringAreas::avail_ring(slot),
          static_cast<std::uint16_t>(input_->byte() % 34));
    const auto index = input_->byte() == 0xff ? input_->take<std::uint16_t>() : next_;
    write(ring_.available.value() + spec::VringAreas::idx, index);
  }

  void notify() {
    const bool stopped = device_->broken();
    const std::uint64_t used = ring_.used.value() + spec::VringAreas::idx;
    const auto before = read<std::uint16_t>(used);
    device_->notify(input_->byte() % 2);
    const auto returned = static_cast<std::uint16_t>(read<std::uint16_t>(used) - before);
    if (stopped) require(returned == 0);
  }

  void enable() {
    dev::VirtQueueConfig config = ring_;
    config.size = input_->flag() ? input_->take<std::uint32_t>() : options_.queue_size;
    config.descriptors = DmaAddr{input_->take<std::uint16_t>() & ~std::uint64_t{15}};
    config.available = DmaAddr{input_->take<std::uint16_t>()};
    config.used = DmaAddr{input_->flag() ? input_->take<std::uint64_t>() : input_->take<std::uint16_t>()};
    const std::uint16_t queue = input_->below(2);
    device_->enable_queue(queue, config);
    if (device_->queue_enabled(queue) && !device_->broken()) ring_ = config;
  }

  void config() {
    Bytes bytes(input_->byte());
    device_->read_config(input_->take<std::uint32_t>(), bytes);
    device_->write_config(input_->byte(), bytes);
  }

  // A request that is right but for its numbers, at fixed places.
  void request() {
    constexpr std::uint64_t header_at = 0x8000;
    constexpr std::uint64_t data_at = 0x9000;
    const bool in = input_->flag();
    write(header_at, spec::VirtioBlkOutHdr{input_->byte() % 16u, 0, input_->byte()});
    write(data_at, spec::VirtioBlkRange{input_->byte(), input_->byte(), input_->byte() % 4u});
    const auto data_flags =
        static_cast<std::uint16_t>(spec::vring_flag::next | (in ? spec::vring_flag::write : 0));
    const std::uint64_t table = ring_.descriptors.value();
    write(table, spec::VringDesc{header_at, 16, spec::vring_flag::next, 1});
    write(table + 16, spec::VringDesc{data_at, input_->take<std::uint16_t>() % 16384u, data_flags, 2});
    write(table + 32, spec::VringDesc{header_at + 16, 1, spec::vring_flag::write, 0});
    const auto slot = next_++ % ring_.size;
    write(ring_.available.value() + spec::VringAreas::avail_ring(slot), std::uint16_t{0});
    write(ring_.available.value() + spec::VringAreas::idx, next_);
    notify();
  }

  Board* board_;
  FuzzInput* input_;
  dev::VirtioBlkOptions options_;
  Bytes contents_ = pattern_bytes(disk_bytes, 1);
  std::unique_ptr<dev::MemoryDisk> disk_;
  std::unique_ptr<dev::VirtioBlk> device_;
  dev::VirtQueueConfig ring_{4, DmaAddr{0}, DmaAddr{0x1000}, DmaAddr{0x2000}};
  std::uint16_t next_ = 0;
};

}  // namespace
}  // namespace cbit

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static cbit::Board board;
  cbit::FuzzInput input{data, size};
  cbit::HostileDriver{board, input}.run();
  return 0;
}
