// A hostile device: the input says what its configuration space holds, what it writes into the rings when it
// is notified, and what the kernel's virtio-blk driver is asked to do meanwhile, in a SEV guest.
//
// Held: nothing crashes or runs for ever; once the driver is gone no mapping, bounce slot or page is left
// behind; and whatever the device did, the kernel's own memory beside the buffers is as it was.
#include <cstdlib>
#include <memory>

#include "dev/virtio/virtio_device.hpp"
#include "fuzz_input.hpp"
#include "kernel/virtio/virtio_blk_driver.hpp"
#include "kernel/virtio/vring_split.hpp"

namespace cbit {
namespace {

constexpr unsigned calls_max = 20;
constexpr unsigned acts_max = 24;
constexpr std::uint64_t buffer_pages = 16;

void require(bool holds) {
  if (!holds) std::abort();
}

class HostileDevice final : public dev::VirtioDevice {
 public:
  HostileDevice(bus::SystemBus& bus, RequesterId requester, FuzzInput& input)
      : dev::VirtioDevice{bus,
                          {.device = "hostile", .requester = requester},
                          options(input),
                          features(input),
                          {size(input)}},
        input_{&input} {
    config_.capacity = input.flag() ? input.take<std::uint64_t>() : 1024;
    config_.size_max = input.flag() ? input.take<std::uint32_t>() : 4096;
    config_.seg_max = input.flag() ? input.take<std::uint32_t>() : 4;
    config_.blk_size = input.flag() ? input.take<std::uint32_t>() : 512;
    config_.max_discard_sectors = input.below(4) * 8u;
    config_.max_write_zeroes_sectors = input.below(4) * 8u;
  }
  [[nodiscard]] std::uint16_t device_id() const override { return spec::virtio_id_block; }

  // The ring, as the driver placed it.
  void know(const kernel::SplitVring& ring) {
    areas_ = ring.areas();
    base_ = ring.memory().dma;
    used_ = base_ + areas_.used_offset(ring.align());
    bytes_ = areas_.bytes(ring.align());
  }

 protected:
  dev::OrTrouble<void> kicked(std::uint16_t queue) override {
    for (unsigned act = 0; act < acts_max && !input_->empty(); ++act) {
      switch (input_->below(8)) {
        case 0: return {};
        case 1: CBIT_TRY(honest(queue)); break;
        case 2: used_entry(); break;
        case 3: store(used_ + spec::VringAreas::idx, input_->take<std::uint16_t>()); break;
        case 4: store(used_ + spec::VringAreas::idx, ++index_); break;
        case 5: store(used_ + areas_.avail_event(), input_->take<std::uint16_t>()); break;
        case 6: scribble(); break;
        default: store(used_ + spec::VringAreas::flags, input_->take<std::uint16_t>()); break;
      }
    }
    return {};
  }
  [[nodiscard]] ConstByteSpan config_space() const override { return bytes_of(config_); }

 private:
  static dev::VirtioOptions options(FuzzInput& input) {
    const bool indirect = input.flag();
    return {.indirect_desc = indirect, .event_idx = input.flag()};
  }
  static std::uint64_t features(FuzzInput& input) {
    return input.flag() ? input.take<std::uint32_t>() & ~spec::virtio_transport_features : 0x7fff;
  }
  static std::uint16_t size(FuzzInput& input) {
    constexpr std::uint16_t sizes[] = {8, 256, 4, 2, 1, 0, 100};
    return sizes[input.below(std::size(sizes))];
  }

  // Serves as a device should, with any status and length.
  dev::OrTrouble<void> honest(std::uint16_t queue) {
    return serve(queue, [&](const dev::VirtChain& chain) -> dev::OrTrouble<std::uint32_t> {
      ++index_;
      if (chain.writable.empty()) return 0u;
      const std::byte status{input_->below(4)};
      CBIT_TRY(dev::write_segments(dma(), dev::sub_segments(chain.writable, chain.writable_bytes() - 1, 1),
                                   {&status, 1}));
      return input_->byte();
    });
  }
  void used_entry() {
    const spec::VringUsedElem entry{input_->flag() ? input_->take<std::uint32_t>() : input_->below(8),
                                    input_->byte()};
    store(used_ + spec::VringAreas::used_ring(areas_.size == 0 ? 0 : input_->byte() % areas_.size), entry);
  }
  // Anywhere in the ring: descriptors and the available ring included.
  void scribble() {
    if (bytes_ < 8) return;
    store(base_ + input_->take<std::uint16_t>() % (bytes_ - 7), input_->take<std::uint64_t>());
  }
  template <class T>
  void store(DmaAddr at, const T& value) {
    if (bytes_ != 0) (void)dma().store(at, value);
  }

  FuzzInput* input_;
  spec::VirtioBlkConfig config_;
  spec::VringAreas areas_;
  DmaAddr base_;
  DmaAddr used_;
  std::uint64_t bytes_ = 0;
  std::uint16_t index_ = 0;
};

// The guest is booted once; what an input leaves behind would show in the next.
struct Guest {
  Guest() {
    machine::MachineConfig config{.platform = Platform::sev, .memory_bytes = 64ull << 20};
    machine = std::move(*machine::Machine::create(config));
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

void call(Guest& guest, kernel::VirtioBlkDriver& driver, FuzzInput& input) {
  paging::Mmu& cpu = guest.kernel->cpu(0);
  const std::uint64_t sector = input.flag() ? input.take<std::uint64_t>() : input.byte();
  const std::uint64_t offset = 512u * input.below(8);
  const std::uint64_t bytes = 512u * input.below(100);
  switch (input.below(6)) {
    case 0: (void)driver.write(cpu, sector, guest.buffer + offset, bytes); break;
    case 1: (void)driver.flush(cpu); break;
    case 2: (void)driver.id(cpu); break;
    case 3: (void)driver.discard(cpu, sector, input.byte()); break;
    case 4: (void)driver.write_zeroes(cpu, sector, input.byte(), input.flag()); break;
    default: (void)driver.read(cpu, sector, guest.buffer + offset, bytes); break;
  }
}

void run(Guest& guest, FuzzInput& input) {
  const std::uint64_t free_pages = guest.kernel->mm().page_allocator().free_pages();
  {
    HostileDevice device{guest.machine->bus(), guest.parent->requester, input};
    auto driver = kernel::VirtioBlkDriver::probe(*guest.kernel, device, *guest.parent);
    if (driver) {
      device.know(dynamic_cast<const kernel::SplitVring&>((*driver)->queue()));
      for (unsigned n = 0; n < calls_max && !input.empty(); ++n) call(guest, **driver, input);
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
  cbit::run(guest, input);
  return 0;
}
