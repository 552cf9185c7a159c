// A CPU's way to memory: control registers of paging, walks, translations, and the bytes behind them.
//
// Addresses here are linear. Faults are values; the processor makes exceptions of them.
// Sources: AMD APM vol. 2, chapter 5 and 15.34.5. Threading: one thread.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/bytes.hpp"
#include "cpu/physical_space.hpp"
#include "cpu/tlb.hpp"
#include "paging/walker.hpp"

namespace cbit::cpu {

// Control registers, as far as translation depends on them.
struct PagingRegisters {
  bool paging = false;         // CR0.PG
  bool write_protect = false;  // CR0.WP
  bool long_mode = false;      // EFER.LMA
  bool pae = false;            // CR4.PAE
  bool page_size = false;      // CR4.PSE
  bool no_execute = false;     // EFER.NXE
  bool smep = false;
  bool smap = false;
  bool global = false;  // CR4.PGE
  std::uint64_t cr3 = 0;
};

// #PF's error code: APM vol. 2, 8.4.2.
namespace page_fault {
inline constexpr std::uint32_t present = 1 << 0;
inline constexpr std::uint32_t write = 1 << 1;
inline constexpr std::uint32_t user = 1 << 2;
inline constexpr std::uint32_t reserved = 1 << 3;
inline constexpr std::uint32_t fetch = 1 << 4;
}  // namespace page_fault

struct MemoryFault {
  std::uint64_t address = 0;  // linear
  std::uint32_t error = 0;
  bool canonical = true;  // else #GP or #SS
};

template <class T>
using Accessed = tl::expected<T, MemoryFault>;

class AddressSpace {
 public:
  struct Config {
    mem::KeyView view;
    unsigned phys_bits = 48;
  };
  // `holder` is told of revoked pages, and then calls revoke_page() here.
  AddressSpace(PhysicalSpace& physical, mem::LeaseHolder& holder, const Config& config)
      : physical_{&physical}, holder_{&holder}, config_{config} {}

  // Flushing what a change of registers makes invalid is up to the caller, as in the manuals' descriptions of
  // MOV CRn.
  void set_registers(const PagingRegisters& registers) { registers_ = registers; }
  [[nodiscard]] const PagingRegisters& registers() const { return registers_; }
  // While paging is on.
  [[nodiscard]] paging::PagingConfig paging_config() const;
  [[nodiscard]] Tlb& tlb() { return tlb_; }
  [[nodiscard]] PhysicalSpace& physical() { return *physical_; }

  // A page for an access of the kind that the set stands for; what it returns is valid until the next call.
  // `overwrites`: every byte of the page is written at once if the page can be used by its host's bytes.
  Accessed<const TlbInfo*> page_for(TlbSet set, std::uint64_t linear, bool write, bool overwrites = false);
  Accessed<CodeTlb::Entry> page_of_code(bool user, std::uint64_t linear);
  // nullptr: page_of_code() has to look.
  [[nodiscard]] const CodeTlb::Entry* known_page_of_code(bool user, std::uint64_t linear) const {
    return code_tlb_.find(user, linear);
  }

  void flush_all();
  void flush_non_global();
  void flush_page(std::uint64_t linear);
  // The page's lease is revoked: where it lies is known as before.
  void revoke_page(PhysAddr page);

  // For debuggers: what an access would reach, with no effect on tables or translations.
  [[nodiscard]] std::optional<paging::Translation> inspect(std::uint64_t linear);

 private:
  // Table pages that walks used last.
  class Tables final : public paging::TableMemory {
   public:
    explicit Tables(AddressSpace& space) : space_{&space} {}
    Result<std::uint64_t> read_entry(PhysAddr at, unsigned bytes, KeyId key) override;
    Result<void> write_entry(PhysAddr at, unsigned bytes, std::uint64_t entry, KeyId key) override;
    void drop(PhysAddr page);
    void flush() { pages_.fill({}); }

   private:
    struct Page {
      PhysAddr page{~std::uint64_t{0}};
      KeyId key = no_key;
      bool writable = false;
      std::byte* host = nullptr;
    };
    std::byte* host_bytes(PhysAddr at, KeyId key, bool write);
    static constexpr std::size_t size_ = 64;
    AddressSpace* space_;
    std::array<Page, size_> pages_{};
  };

  Accessed<TlbInfo> without_lease(TlbSet set, std::uint64_t linear, bool write, const TlbInfo* known);
  Result<paging::Translation> walk_for(std::uint64_t linear, paging::Intent intent,
                                       paging::Privilege privilege);
  [[nodiscard]] paging::Translation unpaged(std::uint64_t linear) const;
  [[nodiscard]] MemoryFault fault_of(const Fault& fault, std::uint64_t linear, paging::Intent intent,
                                     bool user) const;
  [[nodiscard]] paging::Privilege privilege_of(TlbSet set) const;

  PhysicalSpace* physical_;
  mem::LeaseHolder* holder_;
  Config config_;
  PagingRegisters registers_;
  Tlb tlb_;
  LargePages large_pages_;
  CodeTlb code_tlb_;
  Tables tables_{*this};
};

}  // namespace cbit::cpu
