// The pages that processes have mapped: who holds on to them, and under which key their contents are.
// struct page's counts, and the KeyID that MKTME keeps in page_ext.
//
// A page lives as long as something refers to it: a mapping in a process, or a driver that has pinned it.
// So a pinned page outlives its process, and keeps its KeyID until it is unpinned.
//
// Contents are cleared through the mapping that the page is for (alloc_zeroed_user_highpage): a page of KeyID
// n reads as zeros under KeyID n. Since aliases under different KeyIDs are not coherent, the old alias is
// flushed from the caches before the page changes its KeyID, when it is given out and when it is freed.
//
// Threading: one thread.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "base/result.hpp"
#include "cbit/addr.hpp"
#include "kernel/mm/key_refs.hpp"
#include "paging/mmu.hpp"

namespace cbit::kernel {

class Mm;
class Process;

class UserPages {
 public:
  // A place where a page is mapped (the reverse map).
  struct Mapping {
    Process* process = nullptr;
    VirtAddr at;
    friend bool operator==(const Mapping&, const Mapping&) = default;
  };

  // `mm` outlives the object; `counts_keys`: selectors are KeyIDs.
  UserPages(Mm& mm, bool counts_keys);

  // A page of zeros under the attribute `key`, mapped nowhere yet; it goes with its last mapping or pin, or
  // by release(). ENOMEM.
  Result<PhysAddr, int> allocate(mem::KeySelector key);
  // A page that belongs to somebody else, an area's Backing, and whose contents are under `key` already: it
  // is not cleared, and its owner takes it back with disown(), when nobody maps or pins it.
  void adopt(PhysAddr page, mem::KeySelector key);
  void disown(PhysAddr page);
  // The owner of `from`, where it has one, owns `to` instead.
  void pass_ownership(PhysAddr from, PhysAddr to);
  // Gives up a page that allocate() gave and that is neither mapped nor pinned.
  void release(PhysAddr page);

  void map(PhysAddr page, const Mapping& mapping);
  void unmap(PhysAddr page, const Mapping& mapping);
  void pin(PhysAddr page);
  // Of pages that are not pinned (a driver that unpins twice) it takes nothing; false then.
  bool unpin(PhysAddr page);

  [[nodiscard]] bool contains(PhysAddr page) const { return pages_.contains(page.page()); }
  // 0 for pages that are no process': they belong to KeyID 0 on MKTME.
  [[nodiscard]] mem::KeySelector key(PhysAddr page) const;
  [[nodiscard]] std::uint64_t pins(PhysAddr page) const;
  [[nodiscard]] std::span<const Mapping> mappings(PhysAddr page) const;
  [[nodiscard]] std::uint64_t size() const { return pages_.size(); }

  // A KeyID's reference, as VMAs and pages hold it.
  [[nodiscard]] KeyIdRef key_ref(mem::KeySelector id) { return {counts_keys_ ? &key_refs_ : nullptr, id}; }
  [[nodiscard]] KeyIdRefs& key_refs() { return key_refs_; }

 private:
  struct Page {
    KeyIdRef key;
    bool adopted = false;
    std::uint64_t pins = 0;
    std::vector<Mapping> mappings;
  };
  void release_if_unused(PhysAddr page);
  // The alias that loses the page is flushed; `flushed` is its attribute.
  void change_key(PhysAddr page, mem::KeySelector from, mem::KeySelector to);

  Mm* mm_;
  bool counts_keys_;
  SiteId clear_site_;
  KeyIdRefs key_refs_;
  std::map<PhysAddr, Page> pages_;
};

}  // namespace cbit::kernel
