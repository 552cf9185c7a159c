// `--map ttm-bo`: a graphics buffer. Its owner looks at it through TTM's vmap, the device at the addresses
// that the driver binds.
#include <algorithm>

#include "explain/maps/map_strategy.hpp"
#include "kernel/drm/drm_cache.hpp"
#include "kernel/drm/ttm_device.hpp"

namespace cbit::explain {
namespace {

// A driver whose device needs no page table of its own: binding is telling it the addresses.
class PlainFuncs final : public kernel::TtmDeviceFuncs {
  Result<void, kernel::Errno> bind(paging::Mmu&, kernel::TtmBo&) override { return {}; }
  void unbind(paging::Mmu&, kernel::TtmBo&) override {}
  bool copy(paging::Mmu&, const kernel::TtmBo&, bool, std::uint64_t) override { return false; }
};

class GraphicsBuffer final : public MapStrategy {
 public:
  explicit GraphicsBuffer(MapBench& bench)
      : bench_{bench}, ttm_{bench.bed.kernel(), bench.device.driver, funcs_, config(bench)} {}

  ~GraphicsBuffer() override { release(); }

  bool map() override {
    const auto made = ttm_.bo_init(
        bench_.cpu(), {.bytes = bench_.options.offset + bench_.options.size, .placement = TtmPlacement::tt});
    if (!made) return false;
    bo_ = *made;
    const auto at = ttm_.vmap(bench_.cpu(), *bo_);
    if (!at) return false;
    vmap_ = *at;
    // SNP refuses it through a wrong mapping; what follows shows that.
    (void)bench_.cpu().write(vmap_ + bench_.options.offset, bench_.initial);
    return true;
  }
  std::vector<DmaSegment> segments() const override {
    std::vector<DmaSegment> found;
    for (const auto& [first, bytes] : pieces()) {
      const DmaAddr at = bo_->tt.dma_address[first / page_size] + first % page_size;
      if (!found.empty() && found.back().at + found.back().bytes == at)
        found.back().bytes += bytes;
      else
        found.push_back({at, bytes});
    }
    return found;
  }
  Bytes read() override {
    Bytes bytes(bench_.options.size);
    if (vmap_ == VirtAddr{} || !bench_.cpu().read(vmap_ + bench_.options.offset, bytes)) bytes.clear();
    return bytes;
  }
  std::vector<mem::PhysRange> memory() const override {
    std::vector<mem::PhysRange> found;
    if (bo_ == nullptr) return found;
    for (const auto& [first, bytes] : pieces())
      found.push_back({bo_->tt.pages[first / page_size] + first % page_size, bytes});
    return found;
  }
  void release() final {
    if (vmap_ != VirtAddr{}) ttm_.vunmap(*bo_, vmap_);
    vmap_ = {};
    if (bo_ != nullptr) ttm_.bo_put(bench_.cpu(), *bo_);
    bo_ = nullptr;
  }

 private:
  static kernel::TtmDeviceConfig config(const MapBench& bench) {
    kernel::Kernel& kernel = bench.bed.kernel();
    return {.use_dma_alloc = kernel::drm_need_swiotlb(kernel, bench.options.device.mask_bits),
            .use_dma32 = kernel.dma().addressing_limited(bench.device.driver),
            .policy = bench.options.ttm_policy.value_or(TtmPolicy::fixed)};
  }
  // [offset, offset + size) of the object, cut at its pages.
  [[nodiscard]] std::vector<std::pair<std::uint64_t, std::uint64_t>> pieces() const {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> found;
    const std::uint64_t end = bench_.options.offset + bench_.options.size;
    for (std::uint64_t at = bench_.options.offset; at < end;) {
      const std::uint64_t bytes = std::min(end - at, page_size - at % page_size);
      found.emplace_back(at, bytes);
      at += bytes;
    }
    return found;
  }

  MapBench& bench_;
  PlainFuncs funcs_;
  kernel::TtmDevice ttm_;
  kernel::TtmBo* bo_ = nullptr;
  VirtAddr vmap_;
};

}  // namespace

std::unique_ptr<MapStrategy> make_graphics_buffer(MapBench& bench) {
  return std::make_unique<GraphicsBuffer>(bench);
}

}  // namespace cbit::explain
