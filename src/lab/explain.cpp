#include "lab/explain.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/assert.hpp"

namespace cbit {
namespace {

constexpr std::uint64_t bar_bytes = 2 * explain_size_max;

// Picks out of the event stream what the mapping turned into.
class MappingObserver final : public EventSink {
 public:
  void on_event(const Event& event) override {
    if (const auto* mapped = std::get_if<DmaMapped>(&event.payload)) mapping = *mapped;
    if (const auto* slots = std::get_if<SwiotlbAllocated>(&event.payload)) bounce = slots->bounce;
    if (const auto* refused = std::get_if<DeviceFault>(&event.payload)) fault = refused->fault;
  }

  std::optional<DmaMapped> mapping;
  std::optional<PhysAddr> bounce;
  std::optional<Fault> fault;
};

// One DMA from the driver's first write to the last look.
class Transfer {
 public:
  Transfer(const ExplainOptions& options, Testbed& bed, TestDevice device, MappingObserver& observer)
      : options_{options},
        direction_{options.effective_direction()},
        bed_{bed},
        device_{device},
        observer_{observer},
        cpu_{bed.kernel().cpu(0)},
        from_cpu_{authored_bytes(Author::cpu, options.size)},
        from_device_{authored_bytes(Author::device, options.size)},
        before_{authored_bytes(Author::before, options.size)} {}

  OrError<Explanation> run() {
    const SiteScope driver{cpu_, bed_.tracer().intern("driver")};
    CBIT_TRY(prepare());
    map();
    if (dma_ != dma_mapping_error) {
      note_mapping();
      transfer();
      look_from_the_pool();
      sync();
      if (options_.unmap) unmap();
    }
    look();
    result_.verdict = judge();
    return std::move(result_);
  }

 private:
  [[nodiscard]] bool device_reads() const { return direction_ != DmaDirection::from_device; }
  [[nodiscard]] bool device_writes() const { return direction_ != DmaDirection::to_device; }
  [[nodiscard]] std::uint64_t written() const { return options_.device_writes.value_or(options_.size); }
  [[nodiscard]] Dma& dma() { return bed_.kernel().dma(); }
  [[nodiscard]] bool coherent() const {
    return options_.map == MapKind::coherent || options_.map == MapKind::coherent_atomic;
  }

  // What the buffer holds before the device comes: the data, or old contents to tell the device's bytes from.
  [[nodiscard]] const Bytes& initial() const { return device_reads() ? from_cpu_ : before_; }
  // What the buffer holds afterwards when all goes well.
  [[nodiscard]] Bytes expected() const {
    Bytes bytes = initial();
    if (device_writes()) std::copy_n(from_device_.begin(), written(), bytes.begin());
    return bytes;
  }

  OrError<void> prepare();
  void map();
  void note_mapping();
  void transfer();
  void sync();
  void unmap();
  void look();
  void look_at_buffer();
  void look_from_the_pool();
  [[nodiscard]] Verdict judge() const;
  [[nodiscard]] Bytes read_as_cpu();
  void write_as_cpu(const Bytes& bytes);
  [[nodiscard]] Sight sight(View view) const;

  const ExplainOptions& options_;
  DmaDirection direction_;
  Testbed& bed_;
  TestDevice device_;
  MappingObserver& observer_;
  Mmu& cpu_;
  Bytes from_cpu_, from_device_, before_;

  VirtAddr buffer_;
  PhysAddr phys_;
  RamBar* bar_ = nullptr;
  CoherentBuffer coherent_;
  DmaAddr dma_ = dma_mapping_error;
  bool transferred_ = true;
  Explanation result_;
};

OrError<void> Transfer::prepare() {
  result_.options = options_;
  if (options_.map == MapKind::resource) {
    auto bar = std::make_unique<RamBar>(bar_bytes);
    bar_ = bar.get();
    phys_ = bed_.machine().add_bar(std::move(bar), bar_bytes).first + options_.offset;
  } else if (!coherent()) {
    const std::uint64_t pages = (options_.offset + options_.size + page_size - 1) / page_size;
    const auto pages_at = bed_.kernel().mm().alloc_pages(pages);
    if (!pages_at)
      return usage_error("the machine has no room for the buffer", "use more --memory or less --size");
    buffer_ = *pages_at + options_.offset;
    phys_ = bed_.kernel().mm().virt_to_phys(buffer_);
  } else {
    return {};  // dma_alloc_coherent brings its own
  }
  write_as_cpu(initial());
  return {};
}

void Transfer::map() {
  Device& dev = device_.driver;
  switch (options_.map) {
    case MapKind::streaming:
      dma_ = dma().map_single(cpu_, dev, buffer_, options_.size, direction_, options_.attrs);
      if (dma().mapping_error(dev, dma_)) dma_ = dma_mapping_error;
      break;
    case MapKind::coherent:
    case MapKind::coherent_atomic:
      if (const auto made = dma().alloc(cpu_, dev, options_.offset + options_.size,
                                        options_.map == MapKind::coherent_atomic, options_.attrs)) {
        coherent_ = *made;
        buffer_ = made->cpu + options_.offset;
        dma_ = made->dma + options_.offset;
        if (const auto where = cpu_.translate(buffer_, Intent::read)) phys_ = where->phys;
        write_as_cpu(initial());
      }
      break;
    case MapKind::raw_phys:
      bed_.tracer().emit(
          cpu_.agent(),
          StepTaken{"the driver hands out the buffer's physical address; the DMA API is not asked",
                    "the driver: virt_to_phys"});
      dma_ = DmaAddr{phys_.value()};
      break;
    case MapKind::resource:
      dma_ = dma().map_resource(cpu_, dev, phys_, options_.size, direction_, options_.attrs);
      if (dma().mapping_error(dev, dma_)) dma_ = dma_mapping_error;
      break;
  }
}

void Transfer::note_mapping() {
  result_.dma_address = dma_;
  result_.bounced = observer_.bounce.has_value();
  result_.path = observer_.mapping ? observer_.mapping->path : DmaPath::direct;
  result_.encryption_bit = observer_.mapping && observer_.mapping->encrypted;
  if (Swiotlb* const pool = dma().swiotlb()) result_.swiotlb = pool->usage();
}

void Transfer::transfer() {
  View view;
  if (device_reads()) {
    auto got = device_.hardware.read(dma_, options_.size);
    transferred_ = got.has_value();
    if (got) view = View::of_bytes(bed_.memory(), phys_, *std::move(got), bed_.cpu_key());
  }
  if (device_writes() && transferred_) {
    transferred_ = device_.hardware.write(dma_, ConstByteSpan{from_device_}.first(written())).has_value();
    // An IOMMU may let the device write and not read: then it knows what it wrote, and no more.
    Bytes now(options_.size);
    if (!device_.hardware.port().peek(dma_, now))
      now.assign(from_device_.begin(), from_device_.begin() + static_cast<std::ptrdiff_t>(written()));
    if (transferred_) view = View::of_bytes(bed_.memory(), phys_, std::move(now), bed_.cpu_key());
  }
  result_.device = sight(std::move(view));
}

void Transfer::sync() {
  if (options_.sync)
    dma().sync_single_for_cpu(cpu_, device_.driver, dma_ + options_.sync->offset, options_.sync->length,
                              direction_);
}

void Transfer::unmap() {
  Device& dev = device_.driver;
  if (options_.map == MapKind::streaming)
    dma().unmap_single(cpu_, dev, dma_, options_.size, direction_, options_.attrs);
  if (options_.map == MapKind::resource)
    dma().unmap_resource(cpu_, dev, dma_, options_.size, direction_, options_.attrs);
}

// The last looks come before coherent memory is freed: what counts is what a driver would have seen.
void Transfer::look() {
  if (!coherent() || dma_ != dma_mapping_error) look_at_buffer();
  if (Swiotlb* const pool = dma().swiotlb()) {
    const SwiotlbUsage now = pool->usage();
    if (dma_ == dma_mapping_error) result_.swiotlb = now;
    result_.swiotlb.bytes_bounced = now.bytes_bounced;
  }
}

void Transfer::look_at_buffer() {
  result_.buffer = phys_;
  result_.cpu = sight(View::of_bytes(bed_.memory(), phys_, read_as_cpu(), bed_.cpu_key()));
  if (bar_ != nullptr)
    result_.host = result_.cpu;
  else
    result_.host = sight(View::of_memory(bed_.memory(), phys_, options_.size, no_key, bed_.cpu_key()));
  if (coherent() && options_.unmap) dma().free(cpu_, device_.driver, coherent_, options_.attrs);
}

void Transfer::look_from_the_pool() {
  if (!observer_.bounce) return;
  const PhysAddr slots = *observer_.bounce;
  result_.pool = sight(View::of_memory(bed_.memory(), slots, options_.size, no_key, bed_.cpu_key()));
}

Verdict Transfer::judge() const {
  if (dma_ == dma_mapping_error || !transferred_) return Verdict::fails;
  if (result_.cpu.bytes != expected()) return Verdict::broken;
  const bool device_got_it = result_.device.bytes == expected();
  return device_got_it || !device_reads() ? Verdict::works : Verdict::broken;
}

Bytes Transfer::read_as_cpu() {
  Bytes bytes(options_.size);
  const auto done = bar_ != nullptr ? bar_->read(options_.offset, bytes) : cpu_.read(buffer_, bytes);
  if (!done) bytes.clear();
  return bytes;
}

void Transfer::write_as_cpu(const Bytes& bytes) {
  const auto done = bar_ != nullptr ? bar_->write(options_.offset, bytes) : cpu_.write(buffer_, bytes);
  CBIT_ASSERT(done);  // the kernel's own mapping of its own buffer
}

Sight Transfer::sight(View view) const {
  const Sees sees = classify(view, device_writes() ? from_device_ : from_cpu_, initial());
  return {sees, std::move(view.seen)};
}

}  // namespace

std::string_view to_string(MapKind kind) { return word_of(map_kind_words, kind); }

std::string_view to_string(Verdict verdict) {
  switch (verdict) {
    case Verdict::works: return "works";
    case Verdict::broken: return "broken";
    case Verdict::fails: return "fails";
  }
  return "?";
}

DmaDirection ExplainOptions::effective_direction() const {
  const bool coherent = map == MapKind::coherent || map == MapKind::coherent_atomic;
  return direction.value_or(coherent ? DmaDirection::from_device : DmaDirection::to_device);
}

OrError<void> check(const ExplainOptions& options) {
  const bool writes = options.effective_direction() != DmaDirection::to_device;
  const bool streaming = options.map == MapKind::streaming;
  if (options.size == 0 || options.size > explain_size_max)
    return usage_error(
        fmt::format("--size {} is out of range", options.size),
        fmt::format("use 1 to {} bytes, the largest block of the page allocator", explain_size_max));
  if (options.offset >= page_size)
    return usage_error(fmt::format("--offset {} is not within a page", options.offset), "use 0 to 4095");
  if (options.device_writes && !writes)
    return usage_error("--device-writes contradicts --direction to-device", "use --direction from-device");
  if (options.device_writes && (*options.device_writes == 0 || *options.device_writes > options.size))
    return usage_error(fmt::format("--device-writes {} does not fit the buffer of {} bytes",
                                   *options.device_writes, options.size),
                       "use 1 to the --size");
  if (options.sync && !streaming)
    return usage_error(fmt::format("--sync has no meaning with --map {}", to_string(options.map)),
                       "only streaming mappings are synced");
  if (options.sync && (options.sync->length == 0 || options.sync->offset >= options.size ||
                       options.sync->length > options.size - options.sync->offset))
    return usage_error(fmt::format("--sync {}+{} is not inside the buffer of {} bytes", options.sync->offset,
                                   options.sync->length, options.size),
                       "use OFFSET+LENGTH within --size");
  if (options.device.untrusted && options.bed.dma.iommu != IommuMode::translated)
    return usage_error("--untrusted matters only behind a translating IOMMU", "add --iommu translated");
  return {};
}

OrError<Explanation> explain(const ExplainOptions& options, EventSink* sink) {
  CBIT_TRY(check(options));
  auto bed = CBIT_TRY(Testbed::create(options.bed, sink));
  const TestDevice device = CBIT_TRY(bed->add_device(options.device));
  MappingObserver observer;
  bed->tracer().attach(observer);
  bed->explainer().forget_steps();
  Explanation result = CBIT_TRY(Transfer{options, *bed, device, observer}.run());
  bed->tracer().detach(observer);
  bed->explainer().finish(options.unmap ? Ending::complete : Ending::in_flight);
  result.device_fault = observer.fault;
  result.causes = bed->explainer().causes();
  result.steps = bed->explainer().steps();
  result.kernel_log = bed->explainer().kernel_log();
  result.conversions = bed->kernel().mm().conversion_cost();
  result.counters = bed->counters();
  return result;
}

}  // namespace cbit
