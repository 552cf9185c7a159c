// Translates virtual addresses by reading the page tables in memory, as the hardware walker does.
//
// Key of each table read: an SME host follows the C-bit of the entry that points to the table (CR3's for the
// top); a SEV or TDX guest's walks are private whatever the bit says. So a table that was written under another
// key than the walker's reads as noise, and the walk faults or goes astray as on hardware.
// APM vol. 2, 7.10.3 and 15.34.5.
#pragma once

#include "base/result.hpp"
#include "mem/memory.hpp"
#include "paging/pte.hpp"

namespace cbit {

enum class Intent : std::uint8_t { read, write, execute };

struct Privilege {
  bool user = false;           // CPL 3
  bool write_protect = true;   // CR0.WP
};

struct Translation {
  PhysAddr phys;  // of the byte asked for
  KeyId key = no_key;
  KeySelector selector = 0;
  PageLevel level{};
  PageFlags flags;      // effective over all levels
  PhysAddr entry_at;    // where the leaf entry lives
  Pte entry;
};

// Checks rights for `intent`, sets Accessed on the way and Dirty on a write.
// Faults: non_canonical, not_present, protection, reserved_bit (address = the virtual address), or what
// the table read itself met.
Result<Translation> walk(Memory& memory, const PagingConfig& config, PtePhys cr3, VirtAddr at, Intent intent,
                         Privilege privilege, const Access& who);

}  // namespace cbit
