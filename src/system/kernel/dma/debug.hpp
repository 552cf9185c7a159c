// dma-debug: what kernel/dma/debug.c says about a driver's use of the DMA API, in its words. It watches and
// reports, nothing depends on it. All errors are reported; only the first is printed, unless
// dma-api/all_errors is set.
//
// Entries are kept in the kernel's hash order: its best-fit search and what it finds for addresses that are
// mapped twice depend on it.
// Threading: one thread.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "kernel/dma/context.hpp"

namespace cbit::kernel {

class DmaDebug {
 public:
  explicit DmaDebug(DmaContext& ctx) : ctx_{&ctx} {}

  // debug_dma_map_single: an address that is no direct-map address. `map_page` follows where it is one.
  void map_single_invalid(const paging::Mmu& cpu, const Device& dev, VirtAddr at, std::uint64_t bytes);
  // A direction that Linux stops at with BUG_ON(!valid_dma_direction(dir)).
  void invalid_direction(const paging::Mmu& cpu, const Device& dev, DmaDirection direction,
                         std::string_view function);

  // Linux records a failed dma_map_resource() too, and then counts it as a leak: not the driver's mistake.
  void map_page(const DmaRequest& request, DmaAddr dma);
  void mapping_error(const Device& dev, DmaAddr dma);
  void unmap_page(const paging::Mmu& cpu, const Device& dev, DmaAddr dma, std::uint64_t bytes,
                  DmaDirection direction, DmaAttrs attrs);

  void map_sg(const paging::Mmu& cpu, const Device& dev, std::span<const ScatterEntry> sg, std::size_t mapped,
              DmaDirection direction, DmaAttrs attrs);
  void unmap_sg(const paging::Mmu& cpu, const Device& dev, std::span<const ScatterEntry> sg,
                DmaDirection direction, DmaAttrs attrs);

  // `phys` is where the kernel's mapping of the buffer leads.
  void alloc_coherent(const paging::Mmu& cpu, const Device& dev, PhysAddr phys, std::uint64_t bytes,
                      DmaAddr dma, DmaAttrs attrs);
  void free_coherent(const paging::Mmu& cpu, const Device& dev, PhysAddr phys, std::uint64_t bytes,
                     DmaAddr dma, DmaAttrs attrs);
  void alloc_pages(const paging::Mmu& cpu, const Device& dev, PhysAddr phys, std::uint64_t bytes,
                   DmaDirection direction, DmaAddr dma);
  void free_pages(const paging::Mmu& cpu, const Device& dev, PhysAddr phys, std::uint64_t bytes,
                  DmaDirection direction, DmaAddr dma);

  void unmap_resource(const paging::Mmu& cpu, const Device& dev, DmaAddr dma, std::uint64_t bytes,
                      DmaDirection direction, DmaAttrs attrs);

  void sync_single(const paging::Mmu& cpu, const Device& dev, DmaAddr dma, std::uint64_t bytes,
                   DmaDirection direction, bool for_cpu);
  void sync_sg(const paging::Mmu& cpu, const Device& dev, std::span<const ScatterEntry> sg,
               DmaDirection direction, bool for_cpu);

  // The driver lets go of the device: reports what is still mapped, and returns how much.
  std::size_t driver_unbound(const paging::Mmu& cpu, const Device& dev);

 private:
  enum class Type : std::uint8_t { single, sg, coherent, noncoherent, resource };
  enum class MapError : std::uint8_t { not_applicable, not_checked, checked };

  // struct dma_debug_entry, also as the reference that a search compares with.
  struct Entry {
    const Device* dev = nullptr;
    DmaAddr dma;
    std::uint64_t bytes = 0;
    Type type{};
    DmaDirection direction{};
    std::size_t sg_call_ents = 0;
    std::size_t sg_mapped_ents = 0;
    PhysAddr phys{};
    MapError map_error = MapError::not_applicable;
    DmaAttrs attrs;
  };
  using Bucket = std::vector<Entry>;

  [[nodiscard]] std::string_view name_of(Type type) const;
  [[nodiscard]] Type resource_type() const;
  [[nodiscard]] static Entry sg_reference(const Device& dev, const ScatterEntry& entry,
                                          DmaDirection direction, std::size_t entries, DmaAttrs attrs = {});
  [[nodiscard]] Entry pages_reference(const Device& dev, PhysAddr phys, std::uint64_t bytes,
                                      DmaDirection direction, DmaAddr dma) const;

  template <class Match>
  static Entry* bucket_find(Bucket& bucket, const Entry& ref, Match match);
  [[nodiscard]] Entry* find_exact(const Entry& ref);
  [[nodiscard]] Entry* find_contain(const Entry& ref);
  [[nodiscard]] std::size_t mapped_entries(const Entry& ref);

  void add(const paging::Mmu& cpu, const Entry& entry);
  void remove(Entry& entry);
  [[nodiscard]] bool insert_cacheline(const paging::Mmu& cpu, const Entry& entry);
  void remove_cacheline(const Entry& entry);

  void check_unmap(const paging::Mmu& cpu, const Entry& ref);
  void check_unmap_entry(const paging::Mmu& cpu, const Entry& ref, const Entry& entry);
  void check_unmap_attrs(const paging::Mmu& cpu, const Entry& ref, const Entry& entry);
  void check_sync(const paging::Mmu& cpu, const Entry& ref, bool for_cpu);
  void check_sg_segment(const paging::Mmu& cpu, const Device& dev, const ScatterEntry& segment);

  template <class Text>
  void report(const paging::Mmu& cpu, const Device& dev, DmaDebugKind kind, DmaAddr dma, std::uint64_t bytes,
              Text&& text);

  DmaContext* ctx_;
  bool printed_ = false;
  std::map<std::uint64_t, Bucket> buckets_;       // hash index -> entries in order of mapping
  std::map<std::uint64_t, unsigned> cachelines_;  // number of the first cache line -> further mappings of it
};

}  // namespace cbit::kernel
