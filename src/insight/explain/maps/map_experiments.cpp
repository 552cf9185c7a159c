// The kinds of mapping of the DMA API, and the table of all kinds.
#include <algorithm>

#include "base/assert.hpp"
#include "explain/maps/map_experiment.hpp"
#include "explain/maps/transfer.hpp"
#include "explain/maps/user_buffer.hpp"
#include "explain/maps/virtio_blk.hpp"

namespace cbit::explain {
namespace {

constexpr std::uint64_t bar_bytes = 2 * explain_size_max;

class Streaming final : public MapStrategy {
 public:
  explicit Streaming(MapBench& bench) : bench_{bench}, buffer_{bench} {}

  OrError<void> prepare() override { return buffer_.allocate(bench_.initial); }
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
  std::vector<mem::PhysRange> memory() const override { return buffer_.memory(); }

 private:
  [[nodiscard]] kernel::Device& device() const { return bench_.device.driver; }

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
    if (const auto where = bench_.cpu().translate(at(), paging::Intent::read)) phys_ = where->phys;
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
  std::vector<mem::PhysRange> memory() const override {
    if (!made_) return {};
    return {{phys_, bench_.options.size}};
  }
  void release() override {
    bench_.dma().free(bench_.cpu(), bench_.device.driver, *made_, bench_.options.attrs);
  }

 private:
  [[nodiscard]] VirtAddr at() const { return made_->cpu + bench_.options.offset; }

  MapBench& bench_;
  std::optional<kernel::CoherentBuffer> made_;
  PhysAddr phys_;
};

// dma_map_page() of each page that the driver has pinned.
class PinnedPages final : public MapStrategy {
 public:
  explicit PinnedPages(MapBench& bench) : bench_{bench}, buffer_{bench} {}

  OrError<void> prepare() override { return buffer_.allocate(bench_.initial); }
  bool map() override {
    const std::vector<mem::PhysRange> pieces = buffer_.memory();
    const auto pages = buffer_.process().pin_user_pages(buffer_.at(), pieces.size(),
                                                        bench_.direction() != DmaDirection::to_device);
    CBIT_ASSERT(pages);  // the pages are there, and the application may write to them
    pinned_ = *pages;
    for (const mem::PhysRange& piece : pieces) {
      const DmaAddr at = bench_.dma().map_page(bench_.cpu(), device(), piece.first, piece.bytes,
                                               bench_.direction(), bench_.options.attrs);
      if (bench_.dma().mapping_error(device(), at)) {
        unmap();
        return false;
      }
      segments_.push_back({at, piece.bytes});
    }
    return true;
  }
  std::vector<DmaSegment> segments() const override { return segments_; }
  void sync_for_cpu(const SyncRange& range) override {
    std::uint64_t start = 0;
    for (const DmaSegment& segment : segments_) {
      const std::uint64_t first = std::max(start, range.offset);
      const std::uint64_t end = std::min(start + segment.bytes, range.offset + range.length);
      if (first < end)
        bench_.dma().sync_single_for_cpu(bench_.cpu(), device(), segment.at + (first - start), end - first,
                                         bench_.direction());
      start += segment.bytes;
    }
  }
  void unmap() override {
    for (const DmaSegment& segment : segments_)
      bench_.dma().unmap_page(bench_.cpu(), device(), segment.at, segment.bytes, bench_.direction(),
                              bench_.options.attrs);
    buffer_.process().unpin_user_pages(pinned_, bench_.direction() != DmaDirection::to_device);
    pinned_.clear();
  }
  Bytes read() override { return buffer_.read(); }
  std::vector<mem::PhysRange> memory() const override { return buffer_.memory(); }

 private:
  [[nodiscard]] kernel::Device& device() const { return bench_.device.driver; }

  MapBench& bench_;
  UserBuffer buffer_;
  std::vector<PhysAddr> pinned_;
  std::vector<DmaSegment> segments_;
};

// Buffer: DriverBuffer, or UserBuffer.
template <class Buffer>
class RawPhys final : public MapStrategy {
 public:
  explicit RawPhys(MapBench& bench) : bench_{bench}, buffer_{bench} {}

  OrError<void> prepare() override { return buffer_.allocate(bench_.initial); }
  bool map() override {
    bench_.bed.tracer().emit(
        bench_.cpu().agent(),
        StepTaken{"the driver hands out the buffer's physical address; the DMA API is not asked",
                  "the driver: virt_to_phys"});
    return true;
  }
  std::vector<DmaSegment> segments() const override {
    std::vector<DmaSegment> segments;
    for (const mem::PhysRange& piece : memory())
      segments.push_back({DmaAddr{piece.first.value()}, piece.bytes});
    return segments;
  }
  Bytes read() override { return buffer_.read(); }
  std::vector<mem::PhysRange> memory() const override { return buffer_.memory(); }

 private:
  MapBench& bench_;
  Buffer buffer_;
};

// Another device's BAR.
class Resource final : public MapStrategy {
 public:
  explicit Resource(MapBench& bench) : bench_{bench} {}

  OrError<void> prepare() override {
    auto bar = std::make_unique<bus::RamBar>(bar_bytes);
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
  std::vector<mem::PhysRange> memory() const override { return {{phys_, bench_.options.size}}; }

 private:
  MapBench& bench_;
  bus::RamBar* bar_ = nullptr;
  PhysAddr phys_;
  DmaAddr dma_ = dma_mapping_error;
};

// A KeyID belongs to an application's memory; the kernel's own has none.
template <class Kernels, class Users>
std::unique_ptr<MapStrategy> make_by_owner(MapBench& bench) {
  return bench.options.key_id ? make_strategy<Users>(bench) : make_strategy<Kernels>(bench);
}

template <MakeStrategy make>
constexpr MapExperiment by_transfer(MapKind kind) {
  return {
      .kind = kind,
      .check = check_transfer,
      .machine = [](const ExplainOptions& options) { return options.bed; },
      .perform = [](const ExplainOptions& options, testbed::Testbed& bed,
                    watch::Explainer& explainer) { return explain_transfer(options, bed, explainer, make); }};
}

constexpr MapExperiment experiments[] = {
    by_transfer<make_by_owner<Streaming, PinnedPages>>(MapKind::streaming),
    by_transfer<make_strategy<Coherent>>(MapKind::coherent),
    by_transfer<make_strategy<Coherent>>(MapKind::coherent_atomic),
    by_transfer<make_by_owner<RawPhys<DriverBuffer>, RawPhys<UserBuffer>>>(MapKind::raw_phys),
    by_transfer<make_strategy<Resource>>(MapKind::resource),
    by_transfer<make_user_mr>(MapKind::user_mr),
    by_transfer<make_graphics_buffer>(MapKind::ttm_bo),
    {.kind = MapKind::virtio_blk,
     .check = check_virtio,
     .machine = machine_of_virtio_disk,
     .perform = explain_virtio_blk},
};
static_assert(has_row_each<&MapExperiment::kind>(experiments));

}  // namespace

const MapExperiment& experiment_of(MapKind kind) { return experiments[static_cast<std::size_t>(kind)]; }

}  // namespace cbit::explain
