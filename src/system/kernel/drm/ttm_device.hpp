// TTM: buffer objects that live in system pages, in pages that the GPU reaches, or in video memory, and every
// way in which a CPU maps them. drivers/gpu/drm/ttm of Linux 6.1, function by function:
//
//   ttm_device.cpp    buffer objects, populating, swapping   ttm_bo.c, ttm_tt.c, ttm_device.c
//   ttm_bo_util.cpp   ttm_io_prot, vmap, kmap, memcpy moves  ttm_bo_util.c
//   ttm_bo_vm.cpp     what a process maps                    ttm_bo_vm.c
//   ttm_pool.*        pages
//
// Which attribute a CPU mapping gets is the question of docs/graphics-and-memory-encryption.md. TtmPolicy
// selects the answer; the DMA layer's own (kernel/dma) is Dma::mapping_encrypted(), and TtmPolicy::ask_dma
// asks for it. The direct map has it always, because the DMA layer converted the page there.
//
// Errors are the errnos of Linux. Threading: one thread.
#pragma once

#include <list>
#include <memory>
#include <optional>
#include <vector>

#include "kernel/drm/ttm_pool.hpp"
#include "kernel/drm/ttm_tt.hpp"
#include "kernel/mm/page_runs.hpp"

namespace cbit::kernel {

// A process' mapping of a buffer object. The process outlives it, or munmap() comes first.
struct TtmVma {
  UserSpace* user = nullptr;
  VirtAddr at;
  std::vector<bool> inserted;  // pages that have an entry
};

struct TtmBo {
  std::uint64_t bytes = 0;
  std::uint64_t pages = 0;
  TtmPlacement placement = TtmPlacement::system;
  TtmTt tt;
  std::uint64_t vram_page = 0;  // in video memory, when placed there
  unsigned pin_count = 0;       // a pinned object is neither moved nor swapped out
  std::vector<TtmVma> vmas;
};

// What ttm_bo_kmap() made. `pages` as asked for.
struct TtmKmap {
  enum class Kind : std::uint8_t { iomap, vmap, kmap };
  Kind kind{};
  VirtAddr at;
  std::uint64_t pages = 0;
};

// pgprot_t, as far as it matters here.
struct PageProtection {
  bool encrypted = true;
  paging::PageCaching caching = paging::PageCaching::write_back;
};

// struct ttm_device_funcs: what the driver does itself.
class TtmDeviceFuncs {
 public:
  virtual ~TtmDeviceFuncs() = default;
  // ttm_tt_populate, ttm_tt_unpopulate: by default the pool's.
  virtual Result<void, Errno> tt_populate(paging::Mmu& cpu, TtmPool& pool, TtmTt& tt) {
    return pool.alloc(cpu, tt);
  }
  virtual void tt_unpopulate(paging::Mmu& cpu, TtmPool& pool, TtmTt& tt) { pool.free(cpu, tt); }
  // move: makes the pages visible to the GPU when an object enters TT, and takes them back when it leaves.
  virtual Result<void, Errno> bind(paging::Mmu& cpu, TtmBo& bo) = 0;
  virtual void unbind(paging::Mmu& cpu, TtmBo& bo) = 0;
  // Copies the contents between TT, where the object is bound, and video memory, by the GPU. False: the CPU
  // has to.
  virtual bool copy(paging::Mmu& cpu, const TtmBo& bo, bool to_vram, std::uint64_t vram_page) = 0;
};

struct TtmDeviceConfig {
  bool use_dma_alloc = false;
  bool use_dma32 = false;
  TtmPolicy policy = TtmPolicy::fixed;
  bool dma_mapped = true;  // ttm_tt have a dma_address array
  mem::PhysRange vram;     // the BAR's part that objects may use; empty: none
};

class TtmDevice {
 public:
  // ttm_device_init(). All outlive the TtmDevice; `dev` is what the pages are mapped for.
  TtmDevice(Kernel& kernel, Device& dev, TtmDeviceFuncs& funcs, const TtmDeviceConfig& config);
  // ttm_device_fini(): objects that are left are put.
  ~TtmDevice();

  struct BoRequest {
    std::uint64_t bytes = 0;
    TtmPlacement placement = TtmPlacement::system;
    paging::PageCaching caching = paging::PageCaching::write_back;
    bool zero_alloc = true;  // ttm_bo_type_device: user space will see it
  };
  // ttm_bo_init_validate(). Pages come when they are needed, which for TT is at once. -EINVAL for 0 bytes,
  // -ENOMEM, -ENOSPC for video memory.
  Result<TtmBo*, Errno> bo_init(paging::Mmu& cpu, const BoRequest& request);
  // ttm_bo_put()
  void bo_put(paging::Mmu& cpu, TtmBo& bo);

  // ttm_tt_populate(): pages, and what was swapped out.
  Result<void, Errno> tt_populate(paging::Mmu& cpu, TtmBo& bo);
  // ttm_bo_swapout(): to a shmem file, through the direct map. -EBUSY when pinned or not populated.
  Result<std::uint64_t, Errno> swapout(paging::Mmu& cpu, TtmBo& bo);
  // ttm_bo_validate(): moves the contents by the GPU where it can (`accelerated`), else by
  // ttm_bo_move_memcpy(). User mappings are zapped. -EBUSY when pinned.
  Result<void, Errno> validate(paging::Mmu& cpu, TtmBo& bo, TtmPlacement to, bool accelerated);

  // ttm_io_prot() of PAGE_KERNEL or the default user protection. All blocks of a tt come from one device, so
  // they have one attribute.
  [[nodiscard]] PageProtection io_prot(const TtmBo& bo) const;

  // ttm_bo_vmap() and ttm_bo_vunmap(); the drivers pin what they map.
  Result<VirtAddr, Errno> vmap(paging::Mmu& cpu, TtmBo& bo);
  void vunmap(TtmBo& bo, VirtAddr at);
  // ttm_bo_kmap() and ttm_bo_kunmap(). -EINVAL beyond the object.
  Result<TtmKmap, Errno> kmap(paging::Mmu& cpu, TtmBo& bo, std::uint64_t first, std::uint64_t count);
  void kunmap(TtmBo& bo, const TtmKmap& map);

  // drm_gem_mmap() and munmap(): addresses without pages.
  Result<VirtAddr, Errno> mmap(UserSpace& user, TtmBo& bo);
  void munmap(TtmBo& bo, VirtAddr at);
  // ttm_bo_vm_fault(): inserts the page that was touched and up to 15 after it. The Fault is the access' own
  // where no object is mapped (SIGSEGV) or nothing could be inserted (SIGBUS, OOM).
  Result<void> vm_fault(UserSpace& user, const Fault& fault);
  // A process' access with all its faults.
  Result<void> user_read(UserSpace& user, VirtAddr from, ByteSpan to);
  Result<void> user_write(UserSpace& user, VirtAddr to, ConstByteSpan from);

  // What the CPU reaches one page of the object at: memory, or the BAR.
  [[nodiscard]] PhysAddr page_address(const TtmBo& bo, std::uint64_t page) const;
  [[nodiscard]] TtmPool& pool() { return pool_; }
  [[nodiscard]] const TtmDeviceConfig& config() const { return config_; }

 private:
  [[nodiscard]] Result<std::uint64_t, Errno> take_vram(std::uint64_t pages);
  Result<void, Errno> place(paging::Mmu& cpu, TtmBo& bo, TtmPlacement to);
  void tt_create(const paging::Mmu& cpu, TtmBo& bo, const BoRequest& request);
  void unmap_virtual(TtmBo& bo);
  Result<void> vm_fault_reserved(TtmBo& bo, TtmVma& vma, const Fault& fault);
  void tt_unpopulate(paging::Mmu& cpu, TtmTt& tt);
  Result<void, Errno> tt_swapin(paging::Mmu& cpu, TtmTt& tt);
  Result<void, Errno> move_within_tt(paging::Mmu& cpu, TtmBo& bo, TtmPlacement to);
  Result<void, Errno> move_to_vram(paging::Mmu& cpu, TtmBo& bo, bool accelerated);
  Result<void, Errno> move_from_vram(paging::Mmu& cpu, TtmBo& bo, TtmPlacement to, bool accelerated);
  // ttm_bo_move_memcpy: between the direct map of the pages (kmap_local_page_prot() of 64-bit kernels) and an
  // ioremap of video memory.
  Result<void, Errno> move_memcpy(paging::Mmu& cpu, const TtmBo& bo, bool to_vram, std::uint64_t vram_page);
  Result<void, Errno> clear_vram(paging::Mmu& cpu, const TtmBo& bo, std::uint64_t vram_page);
  [[nodiscard]] PhysAddr vram_address(std::uint64_t page) const {
    return config_.vram.first + page * page_size;
  }
  Result<VirtAddr, Errno> map_pages(paging::Mmu& cpu, const TtmBo& bo, std::uint64_t first,
                                    std::uint64_t count);
  void step_prot(const paging::Mmu& cpu, const TtmBo& bo, const PageProtection& prot);
  void report_move(const paging::Mmu& cpu, const TtmBo& bo, TtmPlacement from);

  Kernel* kernel_;
  Device* dev_;
  TtmDeviceFuncs* funcs_;
  TtmDeviceConfig config_;
  TtmPool pool_;
  PageRuns vram_;
  std::list<TtmBo> bos_;
  bool said_decrypting_ = false;
  struct Sites {
    SiteId vmap, kmap, fault, move, swap;
  } sites_;
};

}  // namespace cbit::kernel
