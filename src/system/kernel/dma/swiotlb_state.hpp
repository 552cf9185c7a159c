// What a Swiotlb is made of: its pools, and the way it reports. Private to swiotlb*.cpp.
#pragma once

#include <array>
#include <atomic>
#include <mutex>

#include "base/trace.hpp"
#include "kernel/dma/swiotlb.hpp"
#include "kernel/dma/swiotlb_pool.hpp"

namespace cbit::kernel {

inline constexpr std::uint64_t swiotlb_segment_bytes = io_tlb_size * io_tlb_segsize;

struct Swiotlb::Impl {
  // Messages that the kernel prints once (pr_warn_once, dev_WARN_ONCE).
  enum class Once : std::uint8_t {
    encryption,
    sizes,
    alloc_alignment,
    before_start,
    beyond_end,
    too_long,
    count
  };

  // A pool for one mapping of one device [6.6].
  struct Transient {
    const Device* dev;
    SwiotlbPool pool;
  };

  // A mapping's request, and where in the allocation its buffer begins.
  struct Measured {
    SwiotlbPool::Request request;
    std::uint64_t offset = 0;
    std::uint64_t printed_bytes = 0;  // the size in "swiotlb buffer is full"
  };

  struct Allocation {
    SwiotlbPool::Outcome outcome = SwiotlbPool::Outcome::full;
    SwiotlbPool* pool = nullptr;
    unsigned area = 0;
    std::uint64_t slot = 0;
    std::uint64_t slots = 0;
    bool growth_failed = false;

    void set(SwiotlbPool::Found found, SwiotlbPool& in, unsigned in_area, std::uint64_t slots_taken) {
      outcome = found.outcome;
      pool = &in;
      area = in_area;
      slot = found.slot;
      slots = slots_taken;
    }
  };

  // Of one CPU, which alone writes them.
  struct alignas(64) Counters {
    std::atomic<std::uint64_t> mappings = 0;
    std::atomic<std::uint64_t> bytes = 0;  // copied in either direction

    void add_mapping() {
      mappings.store(mappings.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    }
    void add_copy(std::uint64_t n) {
      bytes.store(bytes.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    }
  };

  Impl(Mm& kernel_mm, const CcPlatform& platform, KernelVersion kernel_version);

  // swiotlb_grow.cpp
  void add_pool(mem::PhysRange memory, unsigned areas);
  // memset() of a new pool through whatever mapping it has.
  Result<void> clear(paging::Mmu& cpu, mem::PhysRange memory);
  void allocate_transient(paging::Mmu& cpu, Device& dev, const SwiotlbPool::Request& request,
                          Allocation& result);
  // False when `at` is in no transient pool.
  bool delete_transient(paging::Mmu& cpu, const Device& dev, PhysAddr at);
  [[nodiscard]] std::optional<PhysAddr> alloc_dma_pages(paging::Mmu& cpu, std::uint64_t bytes,
                                                        std::uint64_t limit);
  void free_dma_pages(paging::Mmu& cpu, mem::PhysRange memory, Context context);

  // swiotlb.cpp
  [[nodiscard]] std::optional<Measured> measure(paging::Mmu& cpu, const Device& dev, PhysAddr orig,
                                                std::uint64_t mapping_size, std::uint64_t alloc_size,
                                                std::uint64_t alloc_align_mask);
  [[nodiscard]] Allocation find_slots(paging::Mmu& cpu, Device& dev, const SwiotlbPool::Request& request);
  void search_by_pool(unsigned cpu, const SwiotlbPool::Request& request, Allocation& result);
  void search_by_area(unsigned cpu, const SwiotlbPool::Request& request, Allocation& result);
  [[nodiscard]] SwiotlbPool* find_pool(const Device& dev, PhysAddr at);
  [[nodiscard]] std::uint64_t copyable(paging::Mmu& cpu, const SwiotlbPool::Slot& slot, PhysAddr at,
                                       std::int64_t offset, std::uint64_t bytes);
  bool bounce(paging::Mmu& cpu, const Device& dev, SwiotlbPool& pool, PhysAddr at, std::uint64_t bytes,
              bool to_pool);
  void report_refusal(paging::Mmu& cpu, const Device& dev, const SwiotlbPool::Request& request,
                      const Allocation& result, std::uint64_t printed_bytes, bool quiet);
  void raise_hiwater();
  [[nodiscard]] Counters& counters(const paging::Mmu& cpu) { return cpu_counters[cpu.agent().index]; }
  [[nodiscard]] std::uint64_t used() const;
  [[nodiscard]] std::optional<std::uint64_t> used_hiwater() const;

  // One decision: `text()` gives the rule in words, `source` the function that decides.
  template <class Text>
  void step(const paging::Mmu& cpu, std::string_view source, Text&& text) {
    if (tracer.enabled()) [[unlikely]]
      tracer.emit(cpu.agent(), StepTaken{text(), source});
  }
  template <class Text>
  void message(const paging::Mmu& cpu, Text&& text) {
    if (tracer.enabled()) [[unlikely]]
      tracer.emit(cpu.agent(), KernelMessage{text()});
  }
  template <class Text>
  void message_once(Once which, const paging::Mmu& cpu, Text&& text) {
    auto& said = said_already[static_cast<std::size_t>(which)];
    if (!said.load(std::memory_order_relaxed) && !said.exchange(true)) message(cpu, text);
  }

  Mm& mm;
  const CcPlatform& cc;
  const KernelVersion version;
  const bool encrypted;  // CC_ATTR_MEM_ENCRYPT
  Tracer& tracer;
  const SiteId bounce_site;
  const SiteId init_site;
  std::string_view search_source;  // the function that searches an area, which has three names

  bool enabled = false;  // x86_swiotlb_enable
  bool force_bounce = false;
  bool for_alloc = false;
  bool can_grow = false;
  bool track_hiwater = false;
  bool growth_scheduled = false;
  std::uint64_t default_slots = 0;  // of pools that the worker adds
  unsigned default_areas = 1;
  AtomicMemory atomic_memory;

  std::vector<std::unique_ptr<SwiotlbPool>> pools;  // the default pool, then those the worker added
  std::vector<std::unique_ptr<Transient>> transient;
  std::uint64_t slots = 0;  // mem->nslabs: without transient pools
  std::uint64_t transient_slots = 0;

  std::vector<Counters> cpu_counters;
  std::mutex hiwater_mutex;
  std::atomic<std::uint64_t> hiwater = 0;
  std::array<std::atomic<bool>, static_cast<std::size_t>(Once::count)> said_already{};
};

}  // namespace cbit::kernel
