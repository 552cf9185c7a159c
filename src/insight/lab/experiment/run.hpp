// A run of an experiment: the machine, and what the names of the file stand for by now.
//
// Beside each buffer stands its shadow: the bytes that were written there last, by whomever and on whatever
// way, and the ones before. They are what everybody would see if there were neither encryption nor bouncing;
// what is seen is judged against them.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lab/experiment.hpp"
#include "lab/experiment/names.hpp"
#include "testbed/views.hpp"
#include "testbed/virtio_disk.hpp"

namespace cbit::lab {

[[nodiscard]] tl::unexpected<StepTrouble> trouble_in_step(std::string reason);
// "not_present at 0x1000".
[[nodiscard]] std::string describe(const Fault& fault);

class Run final : public EventSink {
 public:
  struct Buffer;

  // Whose memory a buffer is, where it is not the kernel's: how they reach it, and where it is by now.
  class Owner {
   public:
    virtual ~Owner() = default;
    // "the guest's CPU", of who reads the byte at the offset.
    [[nodiscard]] virtual std::string_view name(std::uint64_t offset) const = 0;
    virtual Result<void> read(std::uint64_t offset, ByteSpan to) = 0;
    virtual Result<void> write(std::uint64_t offset, ConstByteSpan from) = 0;
    // The key under which the byte at the offset is plain; nullopt: that of its page.
    [[nodiscard]] virtual std::optional<KeyId> key(std::uint64_t) const { return std::nullopt; }
    // Called before each use: memory that moves tells the buffer its frames.
    virtual Result<void, StepTrouble> locate(Buffer&) { return {}; }
  };

  struct Buffer {
    bool exists = false;
    VirtAddr at;                     // of its owner; of no meaning for a bar
    std::vector<PhysAddr> frames;    // of the pages that it touches
    std::uint64_t first_offset = 0;  // in the first of them
    bus::RamBar* bar = nullptr;
    std::unique_ptr<Owner> owner;     // nullptr: the kernel
    kernel::CoherentBuffer coherent;  // of coherent buffers
    kernel::DmaPages pages;           // of dma_alloc_pages()
    Bytes now, before;                // the shadow

    [[nodiscard]] PhysAddr phys(std::uint64_t offset) const;
    // Bytes from the offset on that lie in one frame.
    [[nodiscard]] std::uint64_t run_length(std::uint64_t offset) const {
      return page_size - (first_offset + offset) % page_size;
    }
    void written(std::uint64_t offset, ConstByteSpan bytes);
  };
  struct Window {
    VirtAddr at;                              // of the buffer's first byte; 0: does not exist
    std::unique_ptr<kernel::UserSpace> user;  // nullptr: the kernel's
    // A driver that inserts pages when they are touched. The buffer may get its pages by that.
    std::function<Result<void>(const Fault&)> on_fault;
  };
  struct Segment {
    DmaAddr at;
    std::uint64_t bytes = 0;
  };
  struct Mapping {
    bool made = false;                     // the step was performed; it may have failed
    bool ended = false;                    // unmapped or deregistered since; its addresses stay for mistakes
    std::vector<kernel::ScatterEntry> sg;  // as the driver holds it; one entry where it is no scatterlist
    std::vector<Segment> segments;         // as the device gets it; never empty once made
    std::vector<std::optional<PhysAddr>> bounces;  // per part
    std::uint64_t slots = 0;
    std::optional<std::uint64_t> first_slot;
    DmaPath path = DmaPath::error;
    bool encrypted = false;
    kernel::DmaIovaState iova;  // of dma_iova_try_alloc()
  };
  struct DmaDeviceConfig {
    testbed::TestDeviceConfig device;
    std::uint64_t seg_boundary_mask = 0;
    std::uint64_t restricted_pool = 0;  // bytes of its restricted-dma-pool; 0: none
  };
  static OrError<std::unique_ptr<Run>> create(const Experiment& experiment, EventSink* sink);
  ~Run() override;

  // `steps`: only so many. `look` is called between the last of them and the end, if the run comes so far.
  ExperimentResult perform(std::optional<std::size_t> steps = {}, const std::function<void()>& look = {});
  void on_event(const Event& event) override;

  [[nodiscard]] const Experiment& experiment() const { return experiment_; }
  [[nodiscard]] testbed::Testbed& bed() { return *bed_; }
  [[nodiscard]] kernel::Kernel& kernel() { return bed_->kernel(); }
  [[nodiscard]] kernel::Mm& mm() { return kernel().mm(); }
  [[nodiscard]] kernel::Dma& dma() { return kernel().dma(); }
  [[nodiscard]] mem::Memory& memory() { return bed_->memory(); }

  // What a name stands for; grows on first use.
  [[nodiscard]] Buffer& buffer(std::size_t id) { return at(buffers_, id); }
  [[nodiscard]] Window& window(std::size_t id) { return at(windows_, id); }
  [[nodiscard]] Mapping& mapping(std::size_t id) { return at(mappings_, id); }
  // StepTrouble when the step that should have made it failed, or it is gone.
  Result<Buffer*, StepTrouble> live_buffer(std::size_t id);
  Result<Mapping*, StepTrouble> made_mapping(std::size_t id);

  // What makes the devices of the file, before the first step.
  OrError<void> install(std::size_t id, const DmaDeviceConfig& config);
  OrError<void> install(std::size_t id, const testbed::VirtioDiskConfig& config);
  // The struct device of the file's device, for a kind that keeps its hardware itself (part()).
  void install(std::size_t id, kernel::Device& device, bus::DmaPort* port = nullptr) {
    drivers_[id] = &device;
    ports_[id] = port;
  }
  // What a kind of steps keeps for itself.
  template <class T>
  [[nodiscard]] T& part() {
    return parts_.get<T>();
  }
  // Called after the last step and before the explainer looks for leaks: what a driver still holds by right.
  void at_end(std::function<void()> release) { at_end_.push_back(std::move(release)); }

  // struct device of any kind; of the dma kind also the hardware.
  [[nodiscard]] kernel::Device& device(std::size_t id) { return *drivers_[id]; }
  [[nodiscard]] dev::TestDma& hardware(std::size_t id);
  // How the device reaches memory, of any kind that told it.
  [[nodiscard]] bus::DmaPort& port(std::size_t id) { return *ports_[id]; }
  [[nodiscard]] testbed::VirtioDisk& disk(std::size_t id) { return *disks_[id]; }

  // How a CPU reaches a buffer: by its own kernel address, or through a window.
  struct Lens {
    std::size_t buffer = 0;
    std::optional<std::size_t> window;
    unsigned cpu = 0;
  };
  Result<void, StepTrouble> cpu_read(const Lens& lens, std::uint64_t offset, ByteSpan to);
  Result<void, StepTrouble> cpu_write(const Lens& lens, std::uint64_t offset, ConstByteSpan from);

  // The key under which the byte at the offset is plain for its owner.
  [[nodiscard]] KeyId key_of(const Buffer& buffer, std::uint64_t offset) {
    const auto own = buffer.owner != nullptr ? buffer.owner->key(offset) : std::nullopt;
    return own ? *own : bed_->cpu_key(buffer.phys(offset));
  }

  // Takes the frames of a buffer from where the CPU's translation leads, and begins its shadow.
  Result<void, StepTrouble> adopt(Buffer& buffer, paging::Mmu& cpu, VirtAddr at, std::uint64_t bytes);
  void begin_shadow(Buffer& buffer, std::uint64_t bytes);

  // The bus addresses of [offset, offset + bytes) of a mapping; beyond its end they go on.
  [[nodiscard]] static std::vector<Segment> locate(const Mapping& mapping, Range range);
  Result<void, StepTrouble> device_read(std::size_t device, const Mapping& mapping, Range range, ByteSpan to);
  // `name` tells which buffers were meant.
  Result<void, StepTrouble> device_write(std::size_t device, const Mapping& mapping, const MappingName& name,
                                         Range range, ConstByteSpan from);

  [[nodiscard]] mem::Access host_access() {
    return {Agent{AgentKind::host, 0}, no_key, bed_->tracer().intern("host")};
  }
  // Calls `visit(phys, offset from the range's start, bytes)` per frame; stops at the first fault.
  Result<void> each_frame(const Buffer& buffer, Range range,
                          const std::function<Result<void>(PhysAddr, std::uint64_t, std::uint64_t)>& visit);

  // What happened since the step began.
  struct Happened {
    std::optional<DmaMapped> mapped;
    std::vector<SwiotlbAllocated> slots;
    std::optional<DmaMapFailed> refused;
  };
  [[nodiscard]] const Happened& happened() const { return happened_; }
  // "DMA_MAPPING_ERROR: pool-full".
  [[nodiscard]] StepTrouble mapping_trouble() const;

  // An expectation that did not come true.
  void mismatch(Mismatch mismatch);

  // Since the boot.
  [[nodiscard]] kernel::ConversionCost conversions();
  [[nodiscard]] kernel::SwiotlbUsage swiotlb_usage();
  [[nodiscard]] std::uint64_t guest_exits() const;
  std::uint64_t leaked_mappings = 0;  // by the last driver that was released

 private:
  explicit Run(const Experiment& experiment) : experiment_{experiment} {}
  OrError<void> add_devices();
  StepResult act(const ExperimentStep& step);
  bool perform_step(const ExperimentStep& step);
  void finish();
  Result<void, StepTrouble> access(const Lens& lens, std::uint64_t offset,
                                   const std::function<Result<void>(paging::Mmu&, VirtAddr)>& by_cpu,
                                   const std::function<Result<void>(bus::RamBar&)>& by_bus,
                                   const std::function<Result<void>(Owner&)>& by_owner);

  template <class T>
  static T& at(std::deque<T>& items, std::size_t id) {
    while (items.size() <= id) items.emplace_back();
    return items[id];
  }

  struct DmaDevice {
    testbed::TestDevice device;
    std::unique_ptr<kernel::Swiotlb> restricted_pool;
  };

  const Experiment& experiment_;
  std::unique_ptr<testbed::Testbed> bed_;
  Parts parts_;
  std::vector<std::function<void()>> at_end_;
  std::vector<kernel::Device*> drivers_;  // by device id, as the next
  std::vector<bus::DmaPort*> ports_;
  std::deque<std::optional<DmaDevice>> dma_devices_;
  std::vector<std::unique_ptr<testbed::VirtioDisk>> disks_;
  std::deque<Buffer> buffers_;
  std::deque<Window> windows_;
  std::deque<Mapping> mappings_;

  Happened happened_;
  std::size_t step_ = 0;
  ExperimentResult result_;
  kernel::ConversionCost boot_conversions_;
  kernel::SwiotlbUsage boot_swiotlb_;
  std::uint64_t boot_exits_ = 0;
};

}  // namespace cbit::lab
