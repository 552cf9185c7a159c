// The DMA API, and its misuse in the words of dma-debug. Part of base/events.hpp.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/ids.hpp"
#include "base/result.hpp"
#include "cbit/addr.hpp"
#include "cbit/dma_types.hpp"

namespace cbit {

// One decision of the code under explanation: the rule in words, and the function it lives in.
struct StepTaken {
  static constexpr std::string_view name = "step";
  std::string rule;
  std::string_view source;  // static storage, e.g. "kernel/dma/direct.h: dma_direct_map_page"
  void visit(auto&& v) const {
    v("rule", rule);
    v("source", source);
  }
};

// printk: the kernel's own words, without the prefix.
struct KernelMessage {
  static constexpr std::string_view name = "printk";
  std::string text;
  void visit(auto&& v) const { v("text", text); }
};

struct DmaMapped {
  static constexpr std::string_view name = "dma_map";
  NameId device = 0;
  DmaMappingKind kind{};
  DmaAddr dma;
  PhysAddr phys;  // the driver's buffer
  std::uint64_t bytes = 0;
  DmaDirection direction{};
  DmaPath path{};
  // The device reaches encrypted memory: by address, IOMMU entry, or trust.
  bool encrypted = false;
  void visit(auto&& v) const {
    v("device", device);
    v("kind", kind);
    v("dma", dma);
    v("phys", phys);
    v("bytes", bytes);
    v("direction", direction);
    v("path", path);
    v("encrypted", encrypted);
  }
};

// Why a mapping or allocation failed, as the code that refused it knows it.
enum class DmaFailure : std::uint8_t {
  mask_overflow,       // not dma_capable and no bounce pool to fall back on
  no_pool,             // bouncing is needed and there is no pool
  pool_full,           // see SwiotlbFull for the facts
  pool_beyond_mask,    // the bounce address itself is not dma_capable
  p2pdma_bounce,       // a P2PDMA page cannot be bounced
  resource_mask,       // MMIO range beyond the mask
  iova_exhausted,      // no IOVA below the mask
  iommu_map,           // the IOMMU refused the mapping
  mask_unset,          // the device has no DMA mask
  no_memory,           // page allocator failed
  coherent_mask,       // no pages below the coherent mask
  atomic_pool_empty,   // atomic coherent allocation, pool exhausted
  conversion_failed,   // set_memory_decrypted failed
  attribute,           // an attribute forbids what the platform needs
  invalid_direction,   // not a direction: BUG_ON(!valid_dma_direction(dir))
  invalid_size,        // 0 or beyond the address space, where Linux runs into a BUG or an overflow
  invalid_memory,      // not RAM of the direct map (vmalloc, user or MMIO address)
  iommu_cannot_share,  // shared memory is needed, and the IOMMU's code has none to give
  pool_not_private,    // private memory is needed, and the bounce pool is shared
  mmio_unaligned,      // MMIO that shares its page, for an untrusted device
  not_told,            // of a real kernel's trace, which has no reasons
};

struct DmaMapFailed {
  static constexpr std::string_view name = "dma_map_failed";
  NameId device = 0;
  DmaMappingKind kind{};
  PhysAddr phys;
  std::uint64_t bytes = 0;
  DmaFailure reason{};
  std::uint64_t mask = 0;  // the effective mask that decided
  DmaAddr address;         // the address that did not fit, where there was one
  void visit(auto&& v) const {
    v("device", device);
    v("kind", kind);
    v("phys", phys);
    v("bytes", bytes);
    v("reason", reason);
    v("mask", mask);
    v("address", address);
  }
};

struct DmaUnmapped {
  static constexpr std::string_view name = "dma_unmap";
  NameId device = 0;
  DmaMappingKind kind{};
  DmaAddr dma;
  std::uint64_t bytes = 0;
  DmaDirection direction{};
  bool copied_back = false;
  void visit(auto&& v) const {
    v("device", device);
    v("kind", kind);
    v("dma", dma);
    v("bytes", bytes);
    v("direction", direction);
    v("copied_back", copied_back);
  }
};

struct DmaSynced {
  static constexpr std::string_view name = "dma_sync";
  NameId device = 0;
  DmaAddr dma;
  std::uint64_t bytes = 0;
  DmaDirection direction{};
  bool for_cpu = false;
  bool copied = false;
  void visit(auto&& v) const {
    v("device", device);
    v("dma", dma);
    v("bytes", bytes);
    v("direction", direction);
    v("for_cpu", for_cpu);
    v("copied", copied);
  }
};

// dma_alloc_pages() gave its caller memory.
struct DmaPagesReturned {
  static constexpr std::string_view name = "dma_alloc_pages";
  NameId device = 0;
  PhysAddr phys;         // the memory
  VirtAddr page;         // what the caller takes for its struct page
  VirtAddr struct_page;  // what is
  DmaAddr dma;
  std::uint64_t bytes = 0;
  void visit(auto&& v) const {
    v("device", device);
    v("phys", phys);
    v("page", page);
    v("struct_page", struct_page);
    v("dma", dma);
    v("bytes", bytes);
  }
};

// The kernel freed memory that this streaming mapping covers.
struct MappedMemoryFreed {
  static constexpr std::string_view name = "mapped_memory_freed";
  NameId device = 0;
  DmaAddr dma;     // where the mapping begins
  PhysAddr freed;  // the first byte that was freed
  void visit(auto&& v) const {
    v("device", device);
    v("dma", dma);
    v("freed", freed);
  }
};

// A mistake in the use of the API, in the words of kernel/dma/debug.c.
enum class DmaDebugKind : std::uint8_t {
  leak,
  double_unmap,
  wrong_size,
  wrong_function,
  wrong_direction,
  wrong_cpu_address,
  wrong_sg_count,
  unchecked_error,
  bad_memory,
  overlap,
  sync_unmapped,
  sync_range,
  sync_direction,
  segment_size,
  segment_boundary,
  use_after_unmap,
  missing_sync,
  invalid_free,       // unmaps DMA_MAPPING_ERROR
  invalid_direction,  // a BUG in Linux
  wrong_attributes,   // unmapped with others than mapped with
};

struct DmaDebugReport {
  static constexpr std::string_view name = "dma_debug";
  NameId device = 0;
  DmaDebugKind kind{};
  DmaAddr dma;
  std::uint64_t bytes = 0;
  std::string text;     // "device driver frees DMA memory with different size [...]"
  bool printed = true;  // false: Linux counts it only
  void visit(auto&& v) const {
    v("device", device);
    v("kind", kind);
    v("dma", dma);
    v("bytes", bytes);
    v("text", text);
    v("printed", printed);
  }
};

}  // namespace cbit
