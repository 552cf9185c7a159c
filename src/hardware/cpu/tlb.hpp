// A CPU's translations: what fast paths may use (TlbEntry), and beside it what slow paths need to know.
//
// Direct-mapped arrays of 4 KiB pieces, one for each way in which rights are judged. Every entry was walked
// with the intent it allows, so Accessed and Dirty are set where it matters. Threading: one thread.
#pragma once

#include <array>
#include <bitset>
#include <optional>
#include <vector>

#include "base/ids.hpp"
#include "cbit/addr.hpp"
#include "cpu/state.hpp"
#include "paging/pte.hpp"

namespace cbit::cpu {

// How an access is judged.
enum class TlbSet : std::uint8_t {
  user,         // CPL 3
  kernel,       // CPL 0 to 2, SMAP in force
  kernel_open,  // likewise, SMAP not in force
  closed,       // always empty: every access takes the slow path (alignment checks, data breakpoints)
  count
};

struct TlbInfo {
  PhysAddr page;
  std::byte* host = nullptr;  // none: a device, or a page without lease
  bool revoked = false;       // it had one
  KeyId key = no_key;
  paging::PageLevel level{};
  bool writable = false;  // by this way, and Dirty is set
  bool global = false;
};

// Which entries of a TLB are of a physical page, so that a page that is taken away costs little: how many,
// and which was added last. Pages may share a place.
class PageUses {
 public:
  struct Use {
    std::uint16_t count = 0;
    std::uint16_t last = 0;
  };
  void add(PhysAddr page, std::uint16_t entry = 0) {
    Use& use = uses_[index(page)];
    use = {static_cast<std::uint16_t>(use.count + 1), entry};
  }
  void remove(PhysAddr page) { --uses_[index(page)].count; }
  [[nodiscard]] Use of(PhysAddr page) const { return uses_[index(page)]; }

 private:
  static std::size_t index(PhysAddr page) { return page.page_number() % places_; }
  static constexpr std::size_t places_ = 1u << 16;
  std::vector<Use> uses_ = std::vector<Use>(places_);
};

// Whether an address lies in the page, of that size, that another lies in.
[[nodiscard]] constexpr bool is_in_page(std::uint64_t other, std::uint64_t linear, paging::PageLevel level) {
  return ((other ^ linear) & ~(paging::level_bytes(level) - 1)) == 0;
}

class Tlb {
 public:
  Tlb();

  [[nodiscard]] TlbEntry* entries(TlbSet set) { return sets_[static_cast<std::size_t>(set)].entries.data(); }

  // nullptr: not known, or not for writing.
  [[nodiscard]] const TlbInfo* find(TlbSet set, std::uint64_t linear, bool write) const;
  // `fast_read`, `fast_write`: fast paths may use info.host.
  const TlbInfo& insert(TlbSet set, std::uint64_t linear, const TlbInfo& info, bool fast_read,
                        bool fast_write);

  void flush_all();
  void flush_non_global();
  void flush_page(std::uint64_t linear);  // INVLPG: whatever the size of its page
  void drop(PhysAddr page);               // all entries of a physical page
  void revoke(PhysAddr page);  // its lease ended: the entries stay, without what fast paths may use

 private:
  struct Set {
    std::vector<TlbEntry> entries = std::vector<TlbEntry>(tlb_entries);
    std::vector<TlbInfo> infos = std::vector<TlbInfo>(tlb_entries);
    std::vector<std::uint16_t> used;  // indices that may hold something
    std::bitset<tlb_entries> listed;  // those of `used`
  };
  template <class Condition>
  void erase_if(Condition&& condition);
  void erase(Set& in, std::uint16_t index);
  // Calls back for each entry of a physical page: (its set, its index).
  template <class Action>
  void for_each_of(PhysAddr page, Action&& action);

  std::array<Set, static_cast<std::size_t>(TlbSet::count)> sets_;
  PageUses uses_;
};

// Where pieces of 2 MiB of large pages lie, so that what is used of them for the first time needs no walk.
class LargePages {
 public:
  // What a walk would find; nullopt: it is not known, or not for writing.
  [[nodiscard]] std::optional<TlbInfo> find(TlbSet set, std::uint64_t linear, bool write) const;
  // What a walk has found, of a page that is larger than 4 KiB; info.writable: with the intent to write.
  void insert(TlbSet set, std::uint64_t linear, const TlbInfo& info);

  void flush_all();
  void flush_non_global();
  void flush_page(std::uint64_t linear);

 private:
  struct Entry {
    static constexpr std::uint64_t nothing = ~std::uint64_t{0};
    std::uint64_t piece = nothing;  // its first address
    TlbSet set{};
    TlbInfo info;  // of its first 4 KiB
  };
  template <class Condition>
  void erase_if(Condition&& condition);

  static constexpr std::size_t size_ = 64;
  [[nodiscard]] static std::size_t index(TlbSet set, std::uint64_t linear);
  std::array<Entry, size_> entries_{};
};

// Where code lies: translations of fetches.
class CodeTlb {
 public:
  struct Entry {
    std::uint64_t page = ~std::uint64_t{0};  // linear
    PhysAddr phys;
    KeyId key = no_key;
    paging::PageLevel level{};
    bool global = false;

    // Of the page, whatever its size, that has this address.
    [[nodiscard]] bool translates(std::uint64_t linear) const { return is_in_page(page, linear, level); }
  };
  // By `user`: CPL 3.
  [[nodiscard]] const Entry* find(bool user, std::uint64_t linear) const {
    const Entry& entry = entries_[user ? 1 : 0][index(linear)];
    return entry.page == (linear & page_mask) ? &entry : nullptr;
  }
  const Entry& insert(bool user, const Entry& entry) {
    Entry& at = entries_[user ? 1 : 0][index(entry.page)];
    if (at.page != Entry{}.page) uses_.remove(at.phys);
    uses_.add(entry.phys);
    return at = entry;
  }
  void flush();
  void flush_non_global();
  void flush_page(std::uint64_t linear);  // INVLPG: whatever the size of its page
  void drop(PhysAddr page);

 private:
  template <class Condition>
  void erase_if(Condition&& condition);

  static constexpr std::size_t size_ = 256;
  static std::size_t index(std::uint64_t linear) { return linear >> 12 & (size_ - 1); }
  std::array<std::array<Entry, size_>, 2> entries_{};
  PageUses uses_;
};

}  // namespace cbit::cpu
