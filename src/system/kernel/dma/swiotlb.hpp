// SWIOTLB: the pool of bounce buffers. kernel/dma/swiotlb.c of Linux.
//
// 2 KiB slots in sets of 128 (no request leaves a set, hence the 256 KiB limit), divided into areas with a
// lock each. A mapping copies the buffer into the pool for every direction; sync and unmap copy back. The
// copy goes from the encrypted direct map to the decrypted pool: that is where data is encrypted and
// decrypted.
//
//   swiotlb_options.cpp   the parameter and the size of the default pool
//   swiotlb_pool.*        the slots of one pool: search, release
//   swiotlb_grow.cpp      where pools come from: default, restricted, dynamic, transient
//   swiotlb.cpp           mappings and their copies
//
// Threading: map, unmap and sync may run on different CPUs (Mmu) in parallel while no event sink is attached.
// Not so with dynamic pools: to grow is to convert memory, which is for one thread (Mm).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "cbit/dma_types.hpp"
#include "cbit/kernel_config.hpp"
#include "kernel/device.hpp"
#include "kernel/mm/mm.hpp"
#include "spec/swiotlb.hpp"

namespace cbit::kernel {

using spec::io_tlb_segsize;
using spec::io_tlb_shift;
using spec::io_tlb_size;

// The `swiotlb=` parameter: [slots][,areas][,force|noforce][,track_hiwater]; each part may be missing.
// setup_io_tlb_npages().
struct SwiotlbOptions {
  std::optional<std::uint64_t> slots;
  unsigned areas = 0;  // 0: not given
  bool force = false;
  bool no_force = false;       // never create a pool
  bool track_hiwater = false;  // [7.3] keep io_tlb_used_hiwater
  bool dynamic = false;        // CONFIG_SWIOTLB_DYNAMIC (6.6 and later); not part of the parameter
};
// Errors (usage) name the part that is not understood; Linux ignores it. Numbers are decimal, 0x or 0
// (octal), and rounded as the kernel does: slots up to 128, areas up to a power of two.
[[nodiscard]] OrError<SwiotlbOptions> parse_swiotlb(std::string_view text);
// What this kernel makes of it: until 7.3 nothing of a last part that is not exactly "force" or "noforce".
[[nodiscard]] SwiotlbOptions understood_by(KernelVersion version, SwiotlbOptions options);

// Slots and areas of the default pool on this platform: pci_swiotlb_detect, sev_setup_arch and
// swiotlb_adjust_nareas, alike in 6.1, 6.6 and 6.10; POWER's mem_init. nullopt: no pool is created.
// The 6 % rule asks for CC_ATTR_GUEST_MEM_ENCRYPT and so covers TDX guests too, in all three versions; its
// move from sev_setup_arch to mem_encrypt_setup_arch (6.8) changed nothing but the name.
struct SwiotlbSizing {
  std::uint64_t slots = 0;
  unsigned areas = 1;
  bool force_bounce = false;
  bool enabled = true;  // x86_swiotlb_enable; else nothing but swiotlb=force keeps the pool
  bool track_hiwater = false;
  std::vector<std::string> messages;  // what the kernel prints while it decides
};
[[nodiscard]] std::optional<SwiotlbSizing> size_swiotlb(const CcPlatform& cc, std::uint64_t memory_bytes,
                                                        bool ram_above_4g, unsigned cpus,
                                                        const SwiotlbOptions& options);

// Why a request got no slots. `invalid`: the kernel refuses its sizes, or stops at a BUG_ON.
enum class SwiotlbRefusal : std::uint8_t { no_pool, full, beyond_mask, invalid };

struct SwiotlbUsage {
  std::uint64_t io_tlb_nslabs = 0;  // debugfs swiotlb/io_tlb_nslabs
  std::uint64_t io_tlb_used = 0;    // debugfs swiotlb/io_tlb_used
  // debugfs swiotlb/io_tlb_used_hiwater; nullopt before 6.6. 7.3 leaves it 0 without swiotlb=track_hiwater.
  std::optional<std::uint64_t> io_tlb_used_hiwater;
  std::uint64_t io_tlb_transient_nslabs = 0;
  unsigned areas = 0;
  std::uint64_t bytes_bounced = 0;  // copied in either direction
  std::uint64_t bounces = 0;        // mappings served
};

class Swiotlb {
 public:
  // The default pool: allocated below 4 GiB, halved on failure down to 512 slots, then decrypted where memory
  // is encrypted (swiotlb_update_mem_attributes; 6.1 does not clear it again; [7.3] one that could not be
  // decrypted has no free slot). nullptr in the result when not even 512 slots could be had.
  static Result<std::unique_ptr<Swiotlb>> create_default(Mm& mm, const CcPlatform& cc, KernelVersion version,
                                                         const SwiotlbSizing& sizing, bool dynamic);
  // restricted-dma-pool: own memory, one area, always forced, also used by dma_direct_alloc. Faults
  // (no_memory) when there is no such run of pages below 4 GiB, or `bytes` is less than a slot; [7.3] those
  // of a decryption that failed.
  static Result<std::unique_ptr<Swiotlb>> create_restricted(Mm& mm, const CcPlatform& cc,
                                                            KernelVersion version, std::uint64_t bytes);
  ~Swiotlb();
  Swiotlb(const Swiotlb&) = delete;
  Swiotlb& operator=(const Swiotlb&) = delete;

  // What pci_iommu_init says of the default pool when the kernel has set up PCI; nothing of one that only
  // swiotlb=force has made.
  void print_info(paging::Mmu& cpu) const;

  // dma_alloc_from_pool and dma_free_from_pool (kernel/dma/pool.c): the memory of transient pools for devices
  // whose DMA memory must be decrypted, since a mapping cannot wait for a conversion. Without it those pools
  // are not made. `alloc` gives the struct page; `free` goes by the address under which the pool knows it,
  // and is false for one that it does not know.
  struct AtomicMemory {
    std::function<std::optional<PhysAddr>(paging::Mmu& cpu, Device& dev, std::uint64_t bytes)> alloc;
    std::function<bool(VirtAddr at, std::uint64_t bytes)> free;
  };
  void use_atomic_memory(AtomicMemory memory);

  [[nodiscard]] bool force_bounce() const;
  [[nodiscard]] bool cc_shared() const;  // [7.3] the pool was decrypted, as all are where memory is encrypted
  [[nodiscard]] bool for_alloc() const;  // a restricted pool that serves dma_alloc_coherent

  // swiotlb_tbl_map_single: slots for `mapping_size` bytes from `orig`, aligned so that the bits of
  // `alloc_align_mask` are 0 and those of the device's min_align_mask equal orig's; the original is copied in
  // for every direction. `alloc_size` >= mapping_size is what is taken; 6.10 ignores it and rounds
  // mapping_size up to alloc_align_mask + 1. Emits SwiotlbAllocated, SwiotlbCopied; SwiotlbFull with "swiotlb
  // buffer is full" on refusal.
  [[nodiscard]] Result<PhysAddr, SwiotlbRefusal> tbl_map_single(paging::Mmu& cpu, Device& dev, PhysAddr orig,
                                                                std::uint64_t mapping_size,
                                                                std::uint64_t alloc_size,
                                                                std::uint64_t alloc_align_mask,
                                                                DmaDirection direction, DmaAttrs attrs);
  // Copies back unless SKIP_CPU_SYNC or TO_DEVICE, then releases the whole allocation. True when it copied.
  bool tbl_unmap_single(paging::Mmu& cpu, Device& dev, PhysAddr bounce, std::uint64_t mapping_size,
                        DmaDirection direction, DmaAttrs attrs);
  // True when they copied.
  bool sync_single_for_device(paging::Mmu& cpu, Device& dev, PhysAddr bounce, std::uint64_t bytes,
                              DmaDirection direction);
  bool sync_single_for_cpu(paging::Mmu& cpu, Device& dev, PhysAddr bounce, std::uint64_t bytes,
                           DmaDirection direction);

  // swiotlb_alloc / swiotlb_free of restricted pools, for coherent memory.
  [[nodiscard]] std::optional<PhysAddr> alloc(paging::Mmu& cpu, Device& dev, std::uint64_t bytes);
  bool free(paging::Mmu& cpu, Device& dev, PhysAddr at, std::uint64_t bytes);

  // is_swiotlb_buffer: in any pool, dynamic and transient ones included.
  [[nodiscard]] bool contains(const Device& dev, PhysAddr at) const;
  // swiotlb_max_mapping_size: 256 KiB less the device's min_align_mask rounded up to a slot.
  [[nodiscard]] static std::uint64_t max_mapping_size(const Device& dev);

  // Runs what the kernel leaves to a worker: growing the pool [6.6+]. True when a pool was added.
  bool run_worker(paging::Mmu& cpu);

  [[nodiscard]] SwiotlbUsage usage() const;
  [[nodiscard]] mem::PhysRange default_pool() const;

 private:
  struct Impl;
  explicit Swiotlb(std::unique_ptr<Impl> impl);

  std::unique_ptr<Impl> impl_;
};

}  // namespace cbit::kernel
