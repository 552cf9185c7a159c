// A small graphics driver: TTM manages its buffers, a table tells the GPU where their pages are.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <vector>

#include "cbit/gpu.hpp"

class SmallGpuDriver final : public cbit::TtmDriver {
 public:
  // `careful`: asks drm_need_swiotlb() where the pages have to come from. A driver that does not takes pages
  // of the page allocator and maps them once, which works until the device cannot reach them.
  SmallGpuDriver(cbit::GpuSandbox& box, unsigned dma_bits, bool careful) {
    box.ttm_device_init(*this, careful && box.drm_need_swiotlb(dma_bits), box.dma_addressing_limited());
  }

  // Where the GPU finds the object: one bus address per page. Empty: it does not.
  [[nodiscard]] std::span<const cbit::DmaAddr> pages(cbit::BoId bo) const {
    const auto found = table_.find(bo);
    if (found == table_.end()) return {};
    return found->second;
  }

 private:
  bool bind(cbit::BoId bo, std::span<const cbit::DmaAddr> pages) override {
    table_[bo].assign(pages.begin(), pages.end());
    return true;
  }
  void unbind(cbit::BoId bo) override { table_.erase(bo); }

  std::map<cbit::BoId, std::vector<cbit::DmaAddr>> table_;
};
