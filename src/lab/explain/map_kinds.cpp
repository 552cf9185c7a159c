// The kinds of mapping of the DMA API, and the table of all kinds.
#include <algorithm>

#include "base/assert.hpp"
#include "lab/explain/map_strategy.hpp"

namespace cbit {
namespace {

constexpr std::uint64_t bar_bytes = 2 * explain_size_max;

class Streaming final : public MapStrategy {
 public:
  explicit Streaming(MapBench& bench) : bench_{bench}, buffer_{bench} {}

  OrError<void> prepare() override { return buffer_.allocate(); }
  bool map() override {
    const ExplainOptions& options = bench_.options;
    dma_ = bench_.dma().map_single(bench_.cpu(), device(), buffer_.at(), options.size, bench_.direction(),
                                   options.attrs);
    return !bench_.dma().mapping_error(device(), dma_);
  }
  std::vector<DmaSegment> segments() const override { return {{dma_, bench_.options.size}}; }
  void sync_for_cpu(const SyncRange& range) override {
    bench_.dma().sync_single_for_cpu(bench_.cpu(), device(), dma_ + range.offset, range.length,
                                     bench_.direction());
  }
  void unmap() override {
    bench_.dma().unmap_single(bench_.cpu(), device(), dma_, bench_.options.size, bench_.direction(),
                              bench_.options.attrs);
  }
  Bytes read() override { return buffer_.read(); }
  std::vector<PhysRange> memory() const override { return buffer_.memory(); }

 private:
  [[nodiscard]] Device& device() const { return bench_.device.driver; }

  MapBench& bench_;
  DriverBuffer buffer_;
  DmaAddr dma_ = dma_mapping_error;
};

// dma_alloc_attrs() brings its own buffer.
class Coherent final : public MapStrategy {
 public:
  explicit Coherent(MapBench& bench) : bench_{bench} {}

  bool map() override {
    const ExplainOptions& options = bench_.options;
    made_ = bench_.dma().alloc(bench_.cpu(), bench_.device.driver, options.offset + options.size,
                               options.map == MapKind::coherent_atomic, options.attrs);
    if (!made_) return false;
    if (const auto where = bench_.cpu().translate(at(), Intent::read)) phys_ = where->phys;
    const auto written = bench_.cpu().write(at(), bench_.initial);
    CBIT_ASSERT(written);
    return true;
  }
  std::vector<DmaSegment> segments() const override {
    return {{made_->dma + bench_.options.offset, bench_.options.size}};
  }
  Bytes read() override {
    if (!made_) return {};
    Bytes bytes(bench_.options.size);
    if (!bench_.cpu().read(at(), bytes)) bytes.clear();
    return bytes;
  }
  std::vector<PhysRange> memory() const override {
    if (!made_) return {};
    return {{phys_, bench_.options.size}};
  }
  void release() override {
    bench_.dma().free(bench_.cpu(), bench_.device.driver, *made_, bench_.options.attrs);
  }

 private:
  [[nodiscard]] VirtAddr at() const { return made_->cpu + bench_.options.offset; }

  MapBench& bench_;
  std::optional<CoherentBuffer> made_;
  PhysAddr phys_;
};

class RawPhys final : public MapStrategy {
 public:
  explicit RawPhys(MapBench& bench) : bench_{bench}, buffer_{bench} {}

  OrError<void> prepare() override { return buffer_.allocate(); }
  bool map() override {
    bench_.bed.tracer().emit(
        bench_.cpu().agent(),
        StepTaken{"the driver hands out the buffer's physical address; the DMA API is not asked",
                  "the driver: virt_to_phys"});
    return true;
  }
  std::vector<DmaSegment> segments() const override {
    return {{DmaAddr{buffer_.phys().value()}, bench_.options.size}};
  }
  Bytes read() override { return buffer_.read(); }
  std::vector<PhysRange> memory() const override { return buffer_.memory(); }

 private:
  MapBench& bench_;
  DriverBuffer buffer_;
};

// Another device's BAR.
class Resource final : public MapStrategy {
 public:
  explicit Resource(MapBench& bench) : bench_{bench} {}

  OrError<void> prepare() override {
    auto bar = std::make_unique<RamBar>(bar_bytes);
    bar_ = bar.get();
    phys_ = bench_.bed.machine().add_bar(std::move(bar), bar_bytes).first + bench_.options.offset;
    const auto written = bar_->write(bench_.options.offset, bench_.initial);
    CBIT_ASSERT(written);
    return {};
  }
  bool map() override {
    const ExplainOptions& options = bench_.options;
    dma_ = bench_.dma().map_resource(bench_.cpu(), bench_.device.driver, phys_, options.size,
                                     bench_.direction(), options.attrs);
    return !bench_.dma().mapping_error(bench_.device.driver, dma_);
  }
  std::vector<DmaSegment> segments() const override { return {{dma_, bench_.options.size}}; }
  void unmap() override {
    bench_.dma().unmap_resource(bench_.cpu(), bench_.device.driver, dma_, bench_.options.size,
                                bench_.direction(), bench_.options.attrs);
  }
  Bytes read() override {
    Bytes bytes(bench_.options.size);
    if (!bar_->read(bench_.options.offset, bytes)) bytes.clear();
    return bytes;
  }
  std::vector<PhysRange> memory() const override { return {{phys_, bench_.options.size}}; }

 private:
  MapBench& bench_;
  RamBar* bar_ = nullptr;
  PhysAddr phys_;
  DmaAddr dma_ = dma_mapping_error;
};

constexpr std::string_view kernel_view = "the buffer, through the kernel's mapping";

constexpr MapKindInfo kinds[] = {
    {MapKind::streaming, make_strategy<Streaming>, DmaDirection::to_device, true, kernel_view},
    {MapKind::coherent, make_strategy<Coherent>, DmaDirection::from_device, false, kernel_view},
    {MapKind::coherent_atomic, make_strategy<Coherent>, DmaDirection::from_device, false, kernel_view},
    {MapKind::raw_phys, make_strategy<RawPhys>, DmaDirection::to_device, false, kernel_view},
    {MapKind::resource, make_strategy<Resource>, DmaDirection::to_device, false, kernel_view},
    {MapKind::user_mr, make_user_mr, DmaDirection::from_device, false,
     "the buffer, as the application reads it while the region lives"},
    {MapKind::ttm_bo, make_graphics_buffer, DmaDirection::from_device, false,
     "the buffer, through TTM's vmap"},
};

}  // namespace

const MapKindInfo& info_of(MapKind kind) {
  const auto* const found = std::ranges::find(kinds, kind, &MapKindInfo::kind);
  CBIT_ASSERT(found != std::end(kinds));
  return *found;
}

}  // namespace cbit
