// Virtual memory areas: the ranges of a process' address space, each with one protection and one encryption
// attribute. struct vm_area_struct and mm/mmap.c, as far as memory encryption needs them.
//
// Areas are page-aligned and do not overlap. Threading: one thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>

#include "base/result.hpp"
#include "cbit/addr.hpp"
#include "kernel/mm/key_refs.hpp"

namespace cbit::kernel {

// PROT_*. A writable page is readable on x86.
struct Prot {
  bool read = true;
  bool write = true;
  bool exec = false;

  [[nodiscard]] constexpr bool none() const { return !read && !write && !exec; }
  friend constexpr bool operator==(Prot, Prot) = default;
};
inline constexpr Prot prot_none{false, false, false};
inline constexpr Prot prot_read{true, false, false};
inline constexpr Prot prot_read_write{true, true, false};

// What an area maps that is not anonymous memory: a file's page cache, persistent memory, a driver's pages.
// All mappings of it are shared. Its pages stay its own (UserPages::adopt).
class Backing {
 public:
  enum class Kind : std::uint8_t { file, dax, device };

  virtual ~Backing() = default;
  [[nodiscard]] virtual Kind kind() const = 0;
  [[nodiscard]] virtual std::uint64_t pages() const = 0;
  // The page at this index, below pages(). ENOMEM, or what the storage says.
  virtual Result<PhysAddr, int> page(std::uint64_t index) = 0;
  // The attribute that the pages' contents are under, and all their mappings.
  [[nodiscard]] virtual mem::KeySelector key() const = 0;
  // Migration has put what `from` held into `to`. Only the pages of a file's cache move.
  virtual void moved(PhysAddr, PhysAddr) {}
};

// A protection key, 0 to 15. 0 is everybody's.
using ProtectionKey = std::uint8_t;

struct Vma {
  VirtAddr first;
  VirtAddr end;
  Prot prot;
  KeyIdRef key;                      // the encryption attribute of vm_page_prot
  std::shared_ptr<Backing> backing;  // nullptr: anonymous
  std::uint64_t backing_first = 0;   // vm_pgoff
  ProtectionKey pkey = 0;            // vma_pkey()

  [[nodiscard]] std::uint64_t pages() const { return (end - first) / page_size; }
  [[nodiscard]] bool anonymous() const { return backing == nullptr; }
  [[nodiscard]] std::uint64_t backing_index(VirtAddr at) const {
    return backing_first + (at - first) / page_size;
  }
  // can_vma_merge_after: areas with different KeyIDs stay apart.
  [[nodiscard]] bool merges_with(const Vma& next) const {
    return end == next.first && prot == next.prot && key.id() == next.key.id() && pkey == next.pkey &&
           backing == next.backing && (anonymous() || backing_index(end) == next.backing_first);
  }
};

class VmaMap {
 public:
  using Areas = std::map<VirtAddr, Vma>;  // by first address

  void add(Vma area) { areas_.insert_or_assign(area.first, std::move(area)); }
  [[nodiscard]] const Vma* find(VirtAddr at) const;
  // Whether areas cover all of [first, end), without a gap.
  [[nodiscard]] bool cover(VirtAddr first, VirtAddr end) const;

  // Splits areas so that none crosses an end of the range.
  void split(VirtAddr first, VirtAddr end);
  // Removes what lies in the range.
  void remove(VirtAddr first, VirtAddr end);
  // Joins areas in and next to the range where they have become alike.
  void merge(VirtAddr first, VirtAddr end);

  // Calls back for each area that overlaps the range, ascending.
  template <class Visit>
  void for_each(VirtAddr first, VirtAddr end, Visit&& visit) {
    for (auto it = overlapping(first); it != areas_.end() && it->first < end; ++it) visit(it->second);
  }
  [[nodiscard]] const Areas& areas() const { return areas_; }

 private:
  // The first area that ends after `at`.
  [[nodiscard]] Areas::iterator overlapping(VirtAddr at);
  void split_at(VirtAddr at);

  Areas areas_;
};

}  // namespace cbit::kernel
