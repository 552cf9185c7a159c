// What happens in the machine, as typed events. Rooms emit them through a Tracer (base/trace.hpp); `watch`
// turns them into causes, page maps and trace files. No room prints.
//
// Every event names itself (`name`, the word in trace files) and lists its fields once, in `visit`, so that
// an exporter needs no code per event. Names of code and devices are interned (NameId): see Tracer.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "base/ids.hpp"
#include "base/result.hpp"
#include "cbit/addr.hpp"
#include "cbit/dma_types.hpp"

namespace cbit {

using NameId = SiteId;

// ---- memory ---------------------------------------------------------------------------------------------

// The page is now stored in the representation of another key (mem/memory.hpp).
struct OwnerChanged {
  static constexpr std::string_view name = "mem_owner_changed";
  PhysAddr page;
  KeyId from = no_key;
  KeyId to = no_key;
  SiteId site = 0;
  void visit(auto&& v) const { v("page", page), v("from_key", from), v("to_key", to), v("site", site); }
};

// An agent read bytes through a key that is not the one they were last written under, so it saw
// ciphertext or noise. Reported once per page and access.
struct KeyMismatch {
  static constexpr std::string_view name = "mem_key_mismatch";
  PhysAddr page;
  KeyId key = no_key;         // the reader's
  KeyId writer_key = no_key;  // the page's last writer's
  Agent writer;
  SiteId writer_site = 0;
  SiteId site = 0;
  void visit(auto&& v) const {
    v("page", page), v("key", key), v("writer_key", writer_key), v("writer", writer);
    v("writer_site", writer_site), v("site", site);
  }
};

// A write under one key into a page whose other bytes were last written under another: it turns the
// blocks that it touches into noise for every reader of the old key.
struct ForeignWrite {
  static constexpr std::string_view name = "mem_foreign_write";
  PhysAddr page;
  KeyId key = no_key;
  KeyId previous_key = no_key;
  Agent previous_writer;
  SiteId site = 0;
  std::uint64_t bytes = 0;
  void visit(auto&& v) const {
    v("page", page), v("key", key), v("previous_key", previous_key), v("previous_writer", previous_writer);
    v("site", site), v("bytes", bytes);
  }
};

// A cache line is dirty under one key while it is accessed under another and nobody flushed it:
// without SME_COHERENT the hardware may return stale data, or overwrite new data later.
struct CacheAliasHazard {
  static constexpr std::string_view name = "mem_cache_alias_hazard";
  PhysAddr line;
  KeyId dirty_key = no_key;
  KeyId key = no_key;
  bool stale = false;  // the model let it bite: the reader got old bytes
  SiteId site = 0;
  void visit(auto&& v) const {
    v("line", line), v("dirty_key", dirty_key), v("key", key), v("stale", stale), v("site", site);
  }
};

enum class FlushKind : std::uint8_t { tlb_range, tlb_full, clflush, wbinvd };

// Conversion cost: `count` is pages for TLB range flushes and cache lines for clflush; 1 otherwise.
struct Flush {
  static constexpr std::string_view name = "flush";
  FlushKind kind{};
  std::uint64_t count = 0;
  SiteId site = 0;
  void visit(auto&& v) const { v("kind", kind), v("count", count), v("site", site); }
};

// A run of pages became shared (decrypted) or private (encrypted) in the kernel's mapping.
struct PageConversion {
  static constexpr std::string_view name = "set_memory";
  PhysAddr first;
  std::uint64_t pages = 0;
  bool encrypted = false;
  bool converts_contents = false;  // the early_* variants do
  SiteId site = 0;
  void visit(auto&& v) const {
    v("first", first), v("pages", pages), v("encrypted", encrypted);
    v("converts_contents", converts_contents), v("site", site);
  }
};

// An access that the machine refused: RMP, TD integrity, page fault, no memory.
struct AccessFault {
  static constexpr std::string_view name = "access_fault";
  Fault fault;
  SiteId site = 0;
  void visit(auto&& v) const { v("fault", fault), v("site", site); }
};

// ---- bus and IOMMU --------------------------------------------------------------------------------------

// A device read or wrote memory. One event per physically contiguous piece.
struct DeviceAccess {
  static constexpr std::string_view name = "device_access";
  NameId device = 0;
  RequesterId requester = 0;
  DmaAddr bus_address;
  PhysAddr phys;
  std::uint64_t bytes = 0;
  bool write = false;
  bool through_iommu = false;
  KeyId key = no_key;
  KeyId page_key = no_key;  // key under which the page had been written last, before this access
  void visit(auto&& v) const {
    v("device", device), v("requester", requester), v("bus_address", bus_address), v("phys", phys);
    v("bytes", bytes), v("write", write), v("through_iommu", through_iommu), v("key", key);
    v("page_key", page_key);
  }
};

struct DeviceFault {
  static constexpr std::string_view name = "device_fault";
  NameId device = 0;
  RequesterId requester = 0;
  DmaAddr bus_address;
  Fault fault;
  void visit(auto&& v) const {
    v("device", device), v("requester", requester), v("bus_address", bus_address), v("fault", fault);
  }
};

struct IommuMapped {
  static constexpr std::string_view name = "iommu_map";
  std::uint16_t domain = 0;
  DmaAddr iova;
  PhysAddr phys;
  std::uint64_t bytes = 0;
  bool encrypted = false;
  void visit(auto&& v) const {
    v("domain", domain), v("iova", iova), v("phys", phys), v("bytes", bytes), v("encrypted", encrypted);
  }
};

struct IommuUnmapped {
  static constexpr std::string_view name = "iommu_unmap";
  std::uint16_t domain = 0;
  DmaAddr iova;
  std::uint64_t bytes = 0;
  void visit(auto&& v) const { v("domain", domain), v("iova", iova), v("bytes", bytes); }
};

// ---- DMA API --------------------------------------------------------------------------------------------

// One decision of the code under explanation: the rule in words, and the function it lives in.
struct StepTaken {
  static constexpr std::string_view name = "step";
  std::string rule;
  std::string_view source;  // static storage, e.g. "kernel/dma/direct.h: dma_direct_map_page"
  void visit(auto&& v) const { v("rule", rule), v("source", source); }
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
  bool encrypted = false;  // the device's access carries the encryption bit (address or IOMMU entry)
  void visit(auto&& v) const {
    v("device", device), v("kind", kind), v("dma", dma), v("phys", phys), v("bytes", bytes);
    v("direction", direction), v("path", path), v("encrypted", encrypted);
  }
};

// Why a mapping or allocation failed, as the code that refused it knows it.
enum class DmaFailure : std::uint8_t {
  mask_overflow,      // not dma_capable and no bounce pool to fall back on
  no_pool,            // bouncing is needed and there is no pool
  pool_full,          // see SwiotlbFull for the facts
  pool_beyond_mask,   // the bounce address itself is not dma_capable
  p2pdma_bounce,      // a P2PDMA page cannot be bounced
  resource_mask,      // MMIO range beyond the mask
  iova_exhausted,     // no IOVA below the mask
  iommu_map,          // the IOMMU refused the mapping
  mask_unset,         // the device has no DMA mask
  no_memory,          // page allocator failed
  coherent_mask,      // no pages below the coherent mask
  atomic_pool_empty,  // atomic coherent allocation, pool exhausted
  conversion_failed,  // set_memory_decrypted failed
  attribute,          // an attribute forbids what the platform needs
  invalid_direction,  // not a direction: BUG_ON(!valid_dma_direction(dir))
  invalid_size,       // 0 or beyond the address space, where Linux runs into a BUG or an overflow
  invalid_memory,     // not RAM of the direct map (vmalloc, user or MMIO address)
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
    v("device", device), v("kind", kind), v("phys", phys), v("bytes", bytes), v("reason", reason);
    v("mask", mask), v("address", address);
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
    v("device", device), v("kind", kind), v("dma", dma), v("bytes", bytes), v("direction", direction);
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
    v("device", device), v("dma", dma), v("bytes", bytes), v("direction", direction);
    v("for_cpu", for_cpu), v("copied", copied);
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
};

struct DmaDebugReport {
  static constexpr std::string_view name = "dma_debug";
  NameId device = 0;
  DmaDebugKind kind{};
  DmaAddr dma;
  std::uint64_t bytes = 0;
  std::string text;  // "device driver frees DMA memory with different size [...]"
  void visit(auto&& v) const {
    v("device", device), v("kind", kind), v("dma", dma), v("bytes", bytes), v("text", text);
  }
};

// ---- SWIOTLB --------------------------------------------------------------------------------------------

// include/trace/events/swiotlb.h: `dev_addr` is the address of the original buffer, not of the bounce.
struct SwiotlbBounced {
  static constexpr std::string_view name = "swiotlb_bounced";
  NameId device = 0;
  std::uint64_t dma_mask = 0;
  DmaAddr dev_addr;
  std::uint64_t size = 0;
  bool force = false;
  void visit(auto&& v) const {
    v("dev_name", device), v("dma_mask", dma_mask), v("dev_addr", dev_addr), v("size", size),
        v("force", force);
  }
};

struct SwiotlbAllocated {
  static constexpr std::string_view name = "swiotlb_alloc";
  NameId device = 0;
  std::uint64_t slot = 0;
  std::uint64_t slots = 0;
  unsigned area = 0;
  PhysAddr bounce;
  PhysAddr orig;
  void visit(auto&& v) const {
    v("device", device), v("slot", slot), v("slots", slots), v("area", area), v("bounce", bounce);
    v("orig", orig);
  }
};

struct SwiotlbReleased {
  static constexpr std::string_view name = "swiotlb_release";
  std::uint64_t slot = 0;
  std::uint64_t slots = 0;
  void visit(auto&& v) const { v("slot", slot), v("slots", slots); }
};

// One bounce copy: this is where data is encrypted or decrypted.
struct SwiotlbCopied {
  static constexpr std::string_view name = "swiotlb_bounce";
  PhysAddr orig;
  PhysAddr bounce;
  std::uint64_t bytes = 0;
  bool to_pool = false;
  void visit(auto&& v) const {
    v("orig", orig), v("bounce", bounce), v("bytes", bytes), v("to_pool", to_pool);
  }
};

// A bounce that the kernel drops with a WARN (6.1: negative offset of a partial sync; wrong offset).
struct SwiotlbDropped {
  static constexpr std::string_view name = "swiotlb_dropped";
  PhysAddr bounce;
  std::uint64_t bytes = 0;
  bool negative_offset = false;
  void visit(auto&& v) const {
    v("bounce", bounce), v("bytes", bytes), v("negative_offset", negative_offset);
  }
};

// "swiotlb buffer is full", with the facts that tell its different reasons apart.
struct SwiotlbFull {
  static constexpr std::string_view name = "swiotlb_full";
  NameId device = 0;
  std::uint64_t bytes = 0;          // requested, as the kernel prints it
  std::uint64_t slots_wanted = 0;   // including offset and padding
  std::uint64_t segment_slots = 0;  // the longest run that can ever be given: 128
  std::uint64_t slots_total = 0;
  std::uint64_t slots_used = 0;
  std::uint64_t longest_run = 0;  // longest free run now, over all areas
  std::uint64_t align_mask = 0;   // alignment that was asked for
  bool growth_possible = false;   // dynamic pools are on and allowed to grow
  bool growth_failed = false;     // growth was tried for this request
  bool endless_search = false;    // 6.1 does not even fail: its search steps over its end and spins
  void visit(auto&& v) const {
    v("device", device), v("bytes", bytes), v("slots_wanted", slots_wanted),
        v("segment_slots", segment_slots);
    v("slots_total", slots_total), v("slots_used", slots_used), v("longest_run", longest_run);
    v("align_mask", align_mask), v("growth_possible", growth_possible), v("growth_failed", growth_failed);
    v("endless_search", endless_search);
  }
};

// ---- virtio ---------------------------------------------------------------------------------------------

struct VirtioNegotiated {
  static constexpr std::string_view name = "virtio_features";
  NameId device = 0;
  std::uint64_t offered = 0;
  std::uint64_t accepted = 0;
  std::uint8_t status = 0;  // the status register afterwards
  void visit(auto&& v) const {
    v("device", device), v("offered", offered), v("accepted", accepted), v("status", status);
  }
};

// The driver's use of the device: one request from submission to completion.
struct VirtioRequest {
  static constexpr std::string_view name = "virtio_request";
  NameId device = 0;
  std::uint64_t sector = 0;
  std::uint64_t bytes = 0;
  std::uint32_t type = 0;
  std::uint8_t status = 0;
  void visit(auto&& v) const {
    v("device", device), v("sector", sector), v("bytes", bytes), v("type", type), v("status", status);
  }
};

// The device found something in a ring that its specification forbids and stopped (DEVICE_NEEDS_RESET).
struct VirtioBroken {
  static constexpr std::string_view name = "virtio_broken";
  NameId device = 0;
  std::uint16_t queue = 0;
  std::string reason;
  void visit(auto&& v) const { v("device", device), v("queue", queue), v("reason", reason); }
};

using EventPayload =
    std::variant<OwnerChanged, KeyMismatch, ForeignWrite, CacheAliasHazard, Flush, PageConversion,
                 AccessFault, DeviceAccess, DeviceFault, IommuMapped, IommuUnmapped, StepTaken, KernelMessage,
                 DmaMapped, DmaMapFailed, DmaUnmapped, DmaSynced, DmaDebugReport, SwiotlbBounced,
                 SwiotlbAllocated, SwiotlbReleased, SwiotlbCopied, SwiotlbDropped, SwiotlbFull,
                 VirtioNegotiated, VirtioRequest, VirtioBroken>;

struct Event {
  std::uint64_t time_ns = 0;      // virtual time at which it began
  std::uint64_t duration_ns = 0;  // virtual cost
  Agent agent;                    // who did it
  EventPayload payload;
};

}  // namespace cbit
