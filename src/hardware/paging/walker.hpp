// Translates virtual addresses by reading the page tables in memory, as the hardware walker does.
//
// Each table is read under the key that locate_table() gives (paging/pte.hpp). A table that was written under
// another key reads as noise, and the walk faults or goes astray as on hardware.
//
// Protection keys are off.
// Threading: Accessed and Dirty are set by a read and a write, not by a locked operation as on hardware. CPUs
// that walk the same tables at the same time use entries that have both set already, as Linux's kernel
// mappings do.
#pragma once

#include "base/result.hpp"
#include "mem/memory.hpp"
#include "paging/pte.hpp"

namespace cbit::paging {

enum class Intent : std::uint8_t { read, write, execute };

struct Privilege {
  bool user = false;          // CPL 3
  bool write_protect = true;  // CR0.WP
  bool smep = false;          // CR4.SMEP: no code of user pages for the supervisor
  bool smap = false;          // CR4.SMAP, while RFLAGS.AC is 0 or the access is implicit: no data of theirs
};

// Whether the rights of a page allow an access. APM vol. 2, 5.6.
[[nodiscard]] constexpr bool permits(const PageFlags& flags, Intent intent, Privilege privilege) {
  if (privilege.user && !flags.user) return false;
  if (!privilege.user && flags.user && (intent == Intent::execute ? privilege.smep : privilege.smap))
    return false;
  switch (intent) {
    case Intent::read: return true;
    case Intent::write: return flags.writable || (!privilege.user && !privilege.write_protect);
    case Intent::execute: return flags.executable;
  }
  return false;
}

struct Translation {
  PhysAddr phys;  // of the byte asked for
  KeyId key = no_key;
  mem::KeySelector selector = 0;
  PageLevel level{};
  PageFlags flags;    // effective over all levels; `global` is the leaf's
  PhysAddr entry_at;  // where the leaf entry lives
  Pte entry;          // the leaf entry, Accessed and Dirty as they are now
};

// Where tables are read, and their entries written: of 8 bytes, or of 4 (PagingFormat::legacy).
class TableMemory {
 public:
  virtual ~TableMemory() = default;
  virtual Result<std::uint64_t> read_entry(PhysAddr at, unsigned bytes, KeyId key) = 0;
  virtual Result<void> write_entry(PhysAddr at, unsigned bytes, std::uint64_t entry, KeyId key) = 0;
};

// Checks rights for `intent`, then sets Accessed in every entry of the way and Dirty in the leaf on a write;
// a refused access leaves all entries as they were. Faults: non_canonical, not_present, protection,
// reserved_bit (address = the virtual address), or what the table read itself met (address = physical).
Result<Translation> walk(mem::Memory& memory, const PagingConfig& config, PtePhys cr3, VirtAddr at,
                         Intent intent, Privilege privilege, const mem::Access& who);
Result<Translation> walk(TableMemory& tables, const PagingConfig& config, PtePhys cr3, VirtAddr at,
                         Intent intent, Privilege privilege);

}  // namespace cbit::paging
