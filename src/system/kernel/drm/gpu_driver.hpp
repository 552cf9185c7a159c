// Graphics drivers in the shapes that differ where memory is encrypted, on the GPU of dev/gpu:
//
//   amdgpu   TTM with DMA addresses; use_dma_alloc as drm_need_swiotlb() says, use_dma32 as
//            dma_addressing_limited(); the GPU's copy engine moves objects.
//            drivers/gpu/drm/amd/amdgpu/amdgpu_ttm.c
//   vmwgfx   TTM by map mode: coherent pages, or pages of alloc_pages() that the driver maps itself, for as
//            long as they are populated or bound. drivers/gpu/drm/vmwgfx/vmwgfx_drv.c, vmwgfx_ttm_buffer.c
//   shadow   no TTM pool: shmem pages mapped once, bidirectionally, and copied by the device into a resource
//            of its own at each flush, after an explicit sync. drivers/gpu/drm/virtio/virtgpu_vq.c
//
// A driver binds a buffer object by writing its DMA addresses into the GART, with the CPU through the BAR.
// What the GPU then sees follows from those addresses.
// Threading: one thread.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "cbit/words.hpp"
#include "kernel/drm/ttm_device.hpp"
#include "machine/gpu_card.hpp"

namespace cbit::kernel {

enum class GpuDriverKind : std::uint8_t { amdgpu, vmwgfx, shadow };

inline constexpr Word<GpuDriverKind> gpu_driver_words[] = {
    {"amdgpu", GpuDriverKind::amdgpu}, {"vmwgfx", GpuDriverKind::vmwgfx}, {"shadow", GpuDriverKind::shadow}};

[[nodiscard]] constexpr std::string_view to_string(GpuDriverKind kind) {
  return word_of(gpu_driver_words, kind);
}

// enum vmw_dma_map_mode. `select`: vmw_dma_select_mode() decides.
enum class VmwMapMode : std::uint8_t { select, alloc_coherent, map_populate, map_bind };

inline constexpr Word<VmwMapMode> vmw_map_mode_words[] = {{"select", VmwMapMode::select},
                                                          {"alloc-coherent", VmwMapMode::alloc_coherent},
                                                          {"map-populate", VmwMapMode::map_populate},
                                                          {"map-bind", VmwMapMode::map_bind}};

struct GpuDriverOptions {
  GpuDriverKind kind = GpuDriverKind::amdgpu;
  unsigned mask_bits = 64;  // dma_set_mask_and_coherent(DMA_BIT_MASK(n)); 1 .. 64
  TtmPolicy policy = TtmPolicy::fixed;
  VmwMapMode map_mode = VmwMapMode::select;
  // amdgpu: overrides drm_need_swiotlb().
  std::optional<bool> use_dma_alloc;
};

inline constexpr std::uint64_t gart_entries_max = 4096;  // the table takes 32 KiB of video memory
inline constexpr std::uint64_t gpu_vram_bytes_min = 64 * 1024;

class GpuDriver final : private TtmDeviceFuncs {
 public:
  // All outlive the driver. Errors: -EIO when the mask is refused, -ENOMEM, -ENODEV for another device.
  static Result<std::unique_ptr<GpuDriver>, Errno> probe(Kernel& kernel, Device& dev,
                                                         const machine::GpuCard& card,
                                                         const GpuDriverOptions& options);
  // remove(): puts what is left.
  ~GpuDriver() override;

  [[nodiscard]] TtmDevice& ttm() { return *ttm_; }
  [[nodiscard]] dev::Gpu& gpu() { return card_.gpu; }
  [[nodiscard]] Device& device() { return *dev_; }
  [[nodiscard]] const GpuDriverOptions& options() const { return options_; }
  [[nodiscard]] VmwMapMode map_mode() const { return map_mode_; }  // of vmwgfx

  // Where the GPU finds the object's contents: in video memory, in the aperture, or, for the shadow driver,
  // in the device's own copy. nullopt in SYSTEM placement.
  [[nodiscard]] std::optional<dev::GpuAddr> address(const TtmBo& bo) const;
  // The bus address that the GART holds for a page of a bound object.
  [[nodiscard]] std::optional<DmaAddr> bus_address(const TtmBo& bo, std::uint64_t page) const;

  // What the CRTC shows of the object: the engine's checksum. The Fault is the GPU's.
  Result<std::uint32_t> scanout(paging::Mmu& cpu, const TtmBo& bo);
  // The shadow driver's flush and its opposite: dma_sync_sgtable_for_device() and a copy by the device into
  // its resource; a copy by the device and dma_sync_sgtable_for_cpu(). -EINVAL for other drivers, -EIO when
  // the device fails.
  Result<void, Errno> transfer_to_host(paging::Mmu& cpu, TtmBo& bo);
  Result<void, Errno> transfer_from_host(paging::Mmu& cpu, TtmBo& bo);

 private:
  // What the GPU has of an object.
  struct Binding {
    std::uint64_t entry = 0;        // first GART entry
    std::uint64_t shadow_page = 0;  // of the shadow driver's resource, in video memory
  };

  GpuDriver(Kernel& kernel, Device& dev, const machine::GpuCard& card, const GpuDriverOptions& options);
  Result<void, Errno> set_up(paging::Mmu& cpu);
  TtmDeviceConfig select(paging::Mmu& cpu);
  VmwMapMode vmw_dma_select_mode(paging::Mmu& cpu) const;

  Result<void, Errno> tt_populate(paging::Mmu& cpu, TtmPool& pool, TtmTt& tt) override;
  void tt_unpopulate(paging::Mmu& cpu, TtmPool& pool, TtmTt& tt) override;
  Result<void, Errno> bind(paging::Mmu& cpu, TtmBo& bo) override;
  void unbind(paging::Mmu& cpu, TtmBo& bo) override;
  bool copy(paging::Mmu& cpu, const TtmBo& bo, bool to_vram, std::uint64_t vram_page) override;

  // vmw_ttm_map_dma, drm_gem_shmem_get_pages_sgt: at the first bind. The addresses of the pages.
  Result<std::vector<dev::GartEntry>, Errno> map_dma(paging::Mmu& cpu, const TtmTt& tt);
  void unmap_dma(paging::Mmu& cpu, const TtmTt& tt);
  Result<void, Errno> write_gart(paging::Mmu& cpu, std::uint64_t first,
                                 const std::vector<dev::GartEntry>& entries);
  Result<void> command(paging::Mmu& cpu, dev::Gpu::Command command, dev::GpuAddr from, dev::GpuAddr to,
                       std::uint64_t bytes);
  Result<void> set(paging::Mmu& cpu, dev::Gpu::Reg64 reg, std::uint64_t value);
  Result<std::uint64_t> get(paging::Mmu& cpu, dev::Gpu::Reg64 reg);
  [[nodiscard]] dev::GpuAddr gart_address(const Binding& binding) const {
    return dev::gart_aperture + binding.entry * page_size;
  }

  Kernel* kernel_;
  Device* dev_;
  machine::GpuCard card_;
  GpuDriverOptions options_;
  VmwMapMode map_mode_ = VmwMapMode::select;
  VirtAddr registers_, vram_;  // ioremaps
  std::uint64_t gart_base_ = 0;
  PageRuns gart_;    // free entries
  PageRuns shadow_;  // free pages of video memory for the shadow driver's resources
  std::map<const TtmBo*, Binding> bindings_;
  std::map<const TtmTt*, std::vector<ScatterEntry>> mapped_;  // where TTM has no addresses
  std::unique_ptr<TtmDevice> ttm_;
};

}  // namespace cbit::kernel
