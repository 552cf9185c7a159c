// One CPU's way to memory: TLB, walker, and byte access by virtual address.
//
// What the TLB holds is used until it is flushed, as on hardware: an edit of the tables shows only
// afterwards. An entry that forbids an access is walked again before the access faults, so adding rights
// needs no flush.
//
// An address that is no memory goes to the IoSpace, where there is one; with the encryption bit it addresses
// nothing there (private_mmio).
//
// Every page fault and every access to a physical address that nobody answers at is an AccessFault event;
// what Memory refuses (RMP, TD integrity) it reports itself.
// Threading: one thread per Mmu. Different Mmus may run in parallel on one Memory.
#pragma once

#include <array>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "base/trace.hpp"
#include "mem/memory.hpp"
#include "paging/io_space.hpp"
#include "paging/tlb.hpp"
#include "paging/walker.hpp"

namespace cbit::paging {

class Mmu {
 public:
  // Starts without tables: load_cr3() comes first. `memory` and `tracer` outlive the Mmu.
  Mmu(mem::Memory& memory, Tracer& tracer, const PagingConfig& config, std::uint16_t cpu);

  // `io` outlives the Mmu; nullptr: no device answers.
  void set_io(IoSpace* io) { io_ = io; }

  // MOV CR3: drops all non-global entries.
  void load_cr3(PtePhys cr3);
  [[nodiscard]] PtePhys cr3() const { return cr3_; }
  void set_privilege(Privilege privilege) { privilege_ = privilege; }

  Result<Translation> translate(VirtAddr at, Intent intent);

  // Accesses may cross pages. A fault in a later page leaves the earlier ones accessed.
  Result<void> read(VirtAddr from, ByteSpan to);
  Result<void> write(VirtAddr to, ConstByteSpan from);
  // memcpy: the ranges do not overlap. They may be views of the same physical bytes.
  Result<void> copy(VirtAddr to, VirtAddr from, std::uint64_t bytes);
  Result<void> fill(VirtAddr to, std::uint64_t bytes, std::byte value);

  template <class T>
  Result<T> load(VirtAddr from) {
    std::array<std::byte, sizeof(T)> raw;
    CBIT_TRY(read(from, raw));
    return cbit::load<T>(raw);
  }
  template <class T>
  Result<void> store(VirtAddr to, const T& value) {
    return write(to, bytes_of(value));
  }

  // INVLPG of each page of the range / a full flush including global entries.
  void flush_range(VirtAddr at, std::uint64_t bytes) { tlb_.flush_range(at, bytes); }
  void flush_all() { tlb_.flush_all(); }

  // The code that runs now, for page history and events.
  void set_site(SiteId site) { access_.site = site; }
  [[nodiscard]] SiteId site() const { return access_.site; }
  [[nodiscard]] Agent agent() const { return access_.agent; }
  [[nodiscard]] mem::Memory& memory() { return *memory_; }

 private:
  // What a virtual address reaches without leaving its page.
  struct Reach {
    PhysAddr phys;
    KeyId key = no_key;
    std::uint64_t bytes = 0;
  };

  // The page's entry, through the TLB; valid until the next call.
  Result<const Translation*> page_of(VirtAddr at, Intent intent) {
    const Translation* page = tlb_.find(at);
    if (page == nullptr || !usable(*page, intent)) [[unlikely]]
      return refill(at, intent);
    return page;
  }
  [[nodiscard]] static Reach reach(const Translation* page, VirtAddr at) {
    const std::uint64_t size = level_bytes(page->level);
    const std::uint64_t offset = at.value() & (size - 1);
    return {page->phys + offset, page->key, size - offset};
  }
  // A first write to a page walks again, to set Dirty.
  [[nodiscard]] bool usable(const Translation& page, Intent intent) const {
    return permits(page.flags, intent, privilege_) &&
           (intent != Intent::write || page.entry.get<Pte::Dirty>());
  }
  Result<const Translation*> refill(VirtAddr at, Intent intent);
  const Translation* with_state_of_page(const Translation& walked);
  // One piece, from memory or from a device.
  Result<void> get(const Reach& from, ByteSpan to);
  Result<void> put(const Reach& to, ConstByteSpan from);
  Result<void> copy_through_buffer(const Reach& target, const Reach& source, std::uint64_t bytes);
  Result<void> fill_io(const Reach& target, std::uint64_t bytes, std::byte value);
  [[nodiscard]] bool is_io(const Reach& reach, std::uint64_t bytes) const {
    return io_ != nullptr && !memory_->contains(reach.phys, bytes);
  }

  [[nodiscard]] mem::Access access_with(KeyId key) const { return {access_.agent, key, access_.site}; }
  // Reports what the walker or Memory refused, and hands it on.
  tl::unexpected<Fault> refuse(const Fault& fault);

  mem::Memory* memory_;
  Tracer* tracer_;
  IoSpace* io_ = nullptr;
  PagingConfig config_;
  PtePhys cr3_;
  Privilege privilege_;
  mem::Access access_;
  Tlb tlb_;
  Translation uncached_;  // of the last page, where pages decide
};

// Names the code that runs until the end of the scope.
class SiteScope {
 public:
  SiteScope(Mmu& mmu, SiteId site) : mmu_{&mmu}, previous_{mmu.site()} { mmu_->set_site(site); }
  ~SiteScope() { mmu_->set_site(previous_); }
  SiteScope(const SiteScope&) = delete;
  SiteScope& operator=(const SiteScope&) = delete;

 private:
  Mmu* mmu_;
  SiteId previous_;
};

}  // namespace cbit::paging
