// One CPU's way to memory: TLB, walker, and byte access by virtual address.
//
// Threading: one thread per Mmu. Different Mmus may run in parallel on one Memory.
#pragma once

#include <array>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "mem/memory.hpp"
#include "paging/tlb.hpp"
#include "paging/walker.hpp"

namespace cbit {

class Mmu {
 public:
  Mmu(Memory& memory, const PagingConfig& config, std::uint16_t cpu);

  // MOV CR3: drops all non-global entries.
  void load_cr3(PtePhys cr3);
  [[nodiscard]] PtePhys cr3() const { return cr3_; }
  void set_privilege(Privilege privilege) { privilege_ = privilege; }

  Result<Translation> translate(VirtAddr at, Intent intent);

  // Accesses may cross pages. A fault in a later page leaves the earlier ones accessed.
  Result<void> read(VirtAddr from, ByteSpan to);
  Result<void> write(VirtAddr to, ConstByteSpan from);
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
  void flush_range(VirtAddr at, std::uint64_t bytes);
  void flush_all();

  // The code that runs now, for page history and events.
  void set_site(SiteId site) { access_.site = site; }
  [[nodiscard]] SiteId site() const { return access_.site; }
  [[nodiscard]] Agent agent() const { return access_.agent; }
  [[nodiscard]] Memory& memory() { return *memory_; }

 private:
  Memory* memory_;
  PagingConfig config_;
  PtePhys cr3_;
  Privilege privilege_;
  Access access_;
  Tlb tlb_;
};

// Names the code that runs until the end of the scope.
class SiteScope {
 public:
  SiteScope(Mmu& mmu, SiteId site) : mmu_{&mmu}, previous_{mmu.site()} { mmu.set_site(site); }
  ~SiteScope() { mmu_->set_site(previous_); }
  SiteScope(const SiteScope&) = delete;
  SiteScope& operator=(const SiteScope&) = delete;

 private:
  Mmu* mmu_;
  SiteId previous_;
};

}  // namespace cbit
