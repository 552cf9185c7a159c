// A packed ring between two that do not trust each other. The first byte says which side the input plays:
//  - a hostile driver, which writes descriptors and event suppression as it likes, against the device
//    model;
//  - a hostile device, which writes the ring of the kernel's driver in a SEV guest.
//
// Held: nothing crashes or runs long; a stopped device serves nothing; once the driver is gone no mapping,
// slot or page is left behind, and the kernel's memory beside the buffers is as it was.
#include <cstdlib>
#include <memory>

#include "dev/block_backend.hpp"
#include "dev/virtio/virtio_blk.hpp"
#include "fuzz_input.hpp"
#include "kernel/virtio/virtio_blk_driver.hpp"
#include "kernel/virtio/vring_packed.hpp"

namespace cbit {
namespace {

constexpr unsigned steps_max = 300;
constexpr unsigned calls_max = 16;
constexpr unsigned acts_max = 16;
constexpr std::uint64_t buffer_pages = 8;

void require(bool holds) {
  if (!holds) std::abort();
}

spec::PackedDesc any_descriptor(FuzzInput& input) {
  spec::PackedDesc desc;
  desc.addr = input.flag() ? input.take<std::uint64_t>() : input.take<std::uint16_t>();
  desc.len = input.flag() ? input.take<std::uint32_t>() : input.take<std::uint16_t>() % 4096;
  desc.id = input.flag() ? input.take<std::uint16_t>() : input.below(16);
  desc.flags = static_cast<std::uint16_t>(input.below(8) | (input.flag() ? spec::packed_flag::avail : 0) |
                                          (input.flag() ? spec::packed_flag::used : 0));
  return desc;
}

// ---- a hostile driver ----

class HostileDriver {
 public:
  static constexpr std::uint64_t ram_bytes = 64 * 1024;
  static constexpr std::uint64_t driver_at = 0x1000;
  static constexpr std::uint64_t device_at = 0x1010;

  explicit HostileDriver(FuzzInput& input) : input_{&input} {
    mem::MemoryConfig config;
    config.ram = {{PhysAddr{0}, ram_bytes}};
    memory_ = std::move(*mem::Memory::create(config, keys_, tracer_));
    bus_ = std::make_unique<bus::SystemBus>(*memory_, tracer_, mem::KeyView{});
    dev::VirtioBlkOptions options;
    options.virtio = {.indirect_desc = input.flag(), .event_idx = true, .packed = true};
    options.queue_size = static_cast<std::uint16_t>(4u << input.below(3));
    options.seg_max = options.queue_size - 2u;
    size_ = options.queue_size;
    device_ = std::move(*dev::VirtioBlk::create(*bus_, {.device = "disk", .requester = 8}, disk_, options));
    start();
  }

  void run() {
    for (unsigned step = 0; step < steps_max && !input_->empty(); ++step) {
      switch (input_->below(6)) {
        case 0: put(driver_at, input_->take<std::uint32_t>()); break;
        case 1: put(input_->take<std::uint16_t>() % (ram_bytes - 8), input_->take<std::uint64_t>()); break;
        case 2: device_->notify(0); break;
        case 3: start(); break;
        default: put(16u * input_->below(size_), any_descriptor(*input_)); break;
      }
      require((device_->status() & spec::virtio_status::needs_reset) == 0 || device_->broken());
    }
  }

 private:
  template <class T>
  void put(std::uint64_t at, const T& value) {
    (void)memory_->write(PhysAddr{at}, bytes_of(value), {});
  }
  void start() {
    using namespace spec::virtio_status;
    device_->set_status(0);
    device_->set_driver_features(device_->device_features());
    device_->set_status(acknowledge | driver | features_ok);
    device_->enable_queue(0, {size_, DmaAddr{0}, DmaAddr{driver_at}, DmaAddr{device_at}});
    device_->set_status(acknowledge | driver | features_ok | driver_ok);
  }

  FuzzInput* input_;
  Clock clock_;
  Tracer tracer_{clock_};
  mem::KeyTable keys_{1, crypt::CipherMode::xex};
  std::unique_ptr<mem::Memory> memory_;
  std::unique_ptr<bus::SystemBus> bus_;
  dev::MemoryDisk disk_{Bytes(16 * 1024)};
  std::unique_ptr<dev::VirtioBlk> device_;
  std::uint16_t size_ = 0;
};

// ---- a hostile device ----

class HostileDevice final : public dev::VirtioDevice {
 public:
  HostileDevice(bus::SystemBus& bus, RequesterId requester, FuzzInput& input, bool indirect)
      : dev::VirtioDevice{bus,
                          {.device = "hostile", .requester = requester},
                          {.indirect_desc = indirect, .event_idx = true, .packed = true},
                          0,
                          {8}},
        input_{&input} {
    config_.capacity = 1024;
  }
  [[nodiscard]] std::uint16_t device_id() const override { return spec::virtio_id_block; }
  void know(const kernel::PackedVring& ring) {
    ring_ = ring.memory().dma;
    event_ = ring.device_area().dma;
  }

 protected:
  dev::OrTrouble<void> kicked(std::uint16_t queue) override {
    for (unsigned act = 0; act < acts_max && !input_->empty(); ++act) {
      switch (input_->below(5)) {
        case 0: return {};
        case 1: CBIT_TRY(honest(queue)); break;
        case 2: (void)dma().store(event_, input_->take<std::uint32_t>()); break;
        default: (void)dma().store(ring_ + 16u * input_->below(8), any_descriptor(*input_)); break;
      }
    }
    interrupt_all(queue);
    return {};
  }
  [[nodiscard]] ConstByteSpan config_space() const override { return bytes_of(config_); }

 private:
  dev::OrTrouble<void> honest(std::uint16_t queue) {
    return serve(queue, [&](const dev::VirtChain& chain) -> dev::OrTrouble<std::uint32_t> {
      if (chain.writable.empty()) return 0u;
      const std::byte status{input_->below(4)};
      CBIT_TRY(dev::write_segments(dma(), dev::sub_segments(chain.writable, chain.writable_bytes() - 1, 1),
                                   {&status, 1}));
      return input_->byte();
    });
  }
  // Whatever the ring says by now.
  void interrupt_all(std::uint16_t index) { (void)finish(index); }

  FuzzInput* input_;
  spec::VirtioBlkConfig config_;
  DmaAddr ring_, event_;
};

// The guest is booted once; what an input leaves behind would show in the next.
struct Guest {
  Guest() {
    machine = std::move(*machine::Machine::create({.platform = Platform::sev, .memory_bytes = 64ull << 20}));
    kernel = std::move(*kernel::Kernel::boot(*machine, {.swiotlb = {.slots = 512}}));
    parent = &kernel->add_device({});
    buffer = *kernel->mm().alloc_pages(buffer_pages);
    canary = *kernel->mm().alloc_pages(1);
    require(kernel->cpu(0).write(canary, secret).has_value());
  }
  std::unique_ptr<machine::Machine> machine;
  std::unique_ptr<kernel::Kernel> kernel;
  kernel::Device* parent = nullptr;
  VirtAddr buffer;
  VirtAddr canary;
  Bytes secret = pattern_bytes(page_size, 1);
};

void run_driver(Guest& guest, FuzzInput& input) {
  const std::uint64_t free_pages = guest.kernel->mm().page_allocator().free_pages();
  {
    HostileDevice device{guest.machine->bus(), guest.parent->requester, input, input.flag()};
    auto driver = kernel::VirtioBlkDriver::probe(*guest.kernel, device, *guest.parent);
    require(driver.has_value());
    device.know(dynamic_cast<const kernel::PackedVring&>((*driver)->queue()));
    paging::Mmu& cpu = guest.kernel->cpu(0);
    for (unsigned n = 0; n < calls_max && !input.empty(); ++n) {
      const std::uint64_t bytes = 512u * (1u + input.below(63));
      if (input.flag())
        (void)(*driver)->write(cpu, input.byte(), guest.buffer, bytes);
      else
        (void)(*driver)->read(cpu, input.byte(), guest.buffer, bytes);
    }
  }
  require(guest.kernel->dma().release(*guest.parent) == 0);
  require(guest.kernel->dma().swiotlb()->usage().io_tlb_used == 0);
  require(guest.kernel->mm().page_allocator().free_pages() == free_pages);
  Bytes seen(guest.secret.size());
  require(guest.kernel->cpu(0).read(guest.canary, seen) && seen == guest.secret);
}

}  // namespace
}  // namespace cbit

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static cbit::Guest guest;
  cbit::FuzzInput input{data, size};
  if (input.flag())
    cbit::HostileDriver{input}.run();
  else
    cbit::run_driver(guest, input);
  return 0;
}
