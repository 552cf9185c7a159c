// cbit as a library for graphics drivers: a driver's TTM code under unit test, on any platform, with the real
// ciphertext.
//
// A GpuSandbox is an emulated machine with a model kernel and one graphics device. The driver under test
// calls TTM by Linux's names and binds buffer objects itself (TtmDriver); the test plays the hardware with
// device_read() and device_write() on the addresses that the driver was given, reads and writes as kernel and
// as processes, and asks problems() which mappings disagree.
//
//   struct MyDriver : cbit::TtmDriver {  // of a device that is given the address of each page
//     bool bind(cbit::BoId, std::span<const cbit::DmaAddr> pages) override {
//       bound.assign(pages.begin(), pages.end());
//       return true;
//     }
//     void unbind(cbit::BoId) override { bound.clear(); }
//     std::vector<cbit::DmaAddr> bound;
//   } driver;
//   const std::vector<std::byte> pixels(4096, std::byte{0x7f});
//   cbit::GpuSandbox box{{.platform = cbit::Platform::sev}};
//   box.ttm_device_init(driver, box.drm_need_swiotlb(44), false);
//   const auto bo = box.ttm_bo_init(8192, cbit::TtmPlacement::tt);
//   ASSERT_TRUE(bo.has_value());
//   const auto at = box.ttm_bo_vmap(*bo);
//   ASSERT_TRUE(at.has_value());
//   ASSERT_TRUE(box.device_write(driver.bound.front(), pixels));
//   EXPECT_EQ(box.read(*at, 4096), pixels);
//   EXPECT_TRUE(box.problems().empty());
//
// Errors: bad options, calls before ttm_device_init(), objects that were put, processes that there are not,
// addresses to unmap that are not mapped, and read() and write() where the kernel has no memory throw
// std::invalid_argument. create_process() and mmap() throw std::bad_alloc when the machine's memory or the
// process' addresses are used up, and any call may when the host's memory is. API calls report what Linux's
// do (nullopt, -errno). Nothing else throws.
// Threading: one thread per GpuSandbox; they are independent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cbit/addr.hpp"
#include "cbit/gpu_policy.hpp"
#include "cbit/kernel_config.hpp"
#include "cbit/platform.hpp"
#include "cbit/sandbox.hpp"

namespace cbit {

enum class BoId : std::uint32_t {};

// What the driver under test does when a buffer object enters TT and leaves it (struct ttm_device_funcs).
class TtmDriver {
 public:
  virtual ~TtmDriver() = default;
  // One DMA address per page. False: the device has no room, and TTM reports -ENOSPC.
  virtual bool bind(BoId bo, std::span<const DmaAddr> pages) = 0;
  virtual void unbind(BoId bo) = 0;
};

class GpuSandbox {
 public:
  struct Options {
    Platform platform = Platform::plain;
    IommuMode iommu = IommuMode::none;
    std::uint64_t memory_bytes = 4ull << 30;  // 16 MiB .. 1 TiB
    unsigned c_bit = 47;                      // 32 .. 51, above RAM
    unsigned mask_bits = 64;                  // dma_set_mask_and_coherent
    std::uint64_t vram_bytes = 1 << 20;       // a power of two, 4 KiB .. 16 MiB
    TtmPolicy policy = TtmPolicy::fixed;      // of the kernel
    std::uint64_t seed = 1;
  };
  enum class Caching : std::uint8_t { cached, write_combined, uncached };
  enum class ProcessId : std::uint32_t {};

  explicit GpuSandbox(const Options& options);
  ~GpuSandbox();
  GpuSandbox(GpuSandbox&&) noexcept;
  GpuSandbox& operator=(GpuSandbox&&) = delete;

  // ---- TTM ----
  [[nodiscard]] bool drm_need_swiotlb(unsigned dma_bits) const;
  [[nodiscard]] bool dma_addressing_limited() const;
  // At most once. `driver` lives as long as its objects are used; the GpuSandbox' end does not call it.
  void ttm_device_init(TtmDriver& driver, bool use_dma_alloc, bool use_dma32);
  // nullopt: -ENOMEM, -ENOSPC, or -EFAULT where pages could not be mapped.
  [[nodiscard]] std::optional<BoId> ttm_bo_init(std::uint64_t bytes, TtmPlacement placement,
                                                Caching caching = Caching::cached);
  // Its mappings are gone by then; std::invalid_argument otherwise.
  void ttm_bo_put(BoId bo);
  // 0 or -errno. The contents move by ttm_bo_move_memcpy().
  [[nodiscard]] int ttm_bo_validate(BoId bo, TtmPlacement placement);
  [[nodiscard]] int ttm_bo_swapout(BoId bo);
  [[nodiscard]] std::optional<VirtAddr> ttm_bo_vmap(BoId bo);
  void ttm_bo_vunmap(BoId bo, VirtAddr at);
  // Offset in video memory; nullopt where the object is elsewhere.
  [[nodiscard]] std::optional<std::uint64_t> vram_offset(BoId bo) const;

  // ---- CPUs ----
  [[nodiscard]] std::vector<std::byte> read(VirtAddr from, std::size_t bytes);
  void write(VirtAddr to, std::span<const std::byte> bytes);
  [[nodiscard]] ProcessId create_process();
  // Pages come on the first touch, wherever the object is then.
  [[nodiscard]] VirtAddr mmap(ProcessId process, BoId bo);
  void munmap(BoId bo, VirtAddr at);
  // nullopt and false: the access was refused (SIGBUS, SIGSEGV, #VC).
  [[nodiscard]] std::optional<std::vector<std::byte>> user_read(ProcessId process, VirtAddr from,
                                                                std::size_t bytes);
  [[nodiscard]] bool user_write(ProcessId process, VirtAddr to, std::span<const std::byte> bytes);

  // ---- the hardware ----
  [[nodiscard]] std::optional<std::vector<std::byte>> device_read(DmaAddr from, std::size_t bytes);
  [[nodiscard]] bool device_write(DmaAddr to, std::span<const std::byte> bytes);
  // The device's own memory, behind the BAR.
  [[nodiscard]] std::span<std::byte> vram();

  // ---- looking ----
  // set_memory_decrypted() and _encrypted() of pages since the boot, and the TLB flushes of these and others.
  [[nodiscard]] std::uint64_t pages_converted() const;
  [[nodiscard]] std::uint64_t tlb_flushes() const;
  [[nodiscard]] std::vector<Sandbox::Problem> problems() const;
  [[nodiscard]] bool has_problem(std::string_view name) const;
  [[nodiscard]] std::vector<std::string> kernel_log() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cbit
