// The walker against tables that are written by hand, entry by entry.
#include "paging/walker.hpp"

#include <gtest/gtest.h>

#include "fixture.hpp"

namespace cbit::paging {
namespace {

constexpr std::uint64_t p = 1, w = 2, u = 4, a = 0x20, d = 0x40, ps = 0x80, g = 0x100, pat_large = 0x1000;
constexpr std::uint64_t nx = 1ull << 63;

// Tables at fixed places: level n of the only chain lives at 0x1000 * (n + 1), for addresses with all
// indices 1.
constexpr PhysAddr table_of(unsigned level) { return PhysAddr{0x1000ull * (level + 1)}; }
constexpr PhysAddr entry_of(unsigned level) { return table_of(level) + 8; }
constexpr VirtAddr address(unsigned levels, std::uint64_t offset = 0) {
  std::uint64_t value = offset;
  for (unsigned level = 0; level < levels; ++level) value += span_of_level(level);
  return VirtAddr{value};
}

class Chain : public PagingBox {
 public:
  explicit Chain(const PagingConfig& paging, std::uint64_t table_bits = p | w | u) : PagingBox{paging} {
    for (unsigned level = 1; level < config.levels; ++level)
      set_entry(entry_of(level), table_of(level - 1).value() | table_bits);
    set_entry(entry_of(0), 0x5000 | p | w | u);
  }
  [[nodiscard]] PtePhys cr3() const { return PtePhys{table_of(config.levels - 1).value()}; }
  Result<Translation> go(Intent intent = Intent::read, Privilege privilege = {}) {
    return walk(cr3(), address(config.levels, 0x123), intent, privilege);
  }
  void set(unsigned level, std::uint64_t raw) { set_entry(entry_of(level), raw); }
  void add_bits(unsigned level, std::uint64_t bits) { set(level, entry(entry_of(level)).raw | bits); }
  void drop_bits(unsigned level, std::uint64_t bits) { set(level, entry(entry_of(level)).raw & ~bits); }
};

constexpr Privilege at_user{.user = true};

template <class T>
FaultKind kind_of(const Result<T>& result) {
  EXPECT_FALSE(result.has_value());
  return result ? FaultKind{} : result.error().kind;
}

TEST(Walker, TranslatesThroughFourLevels) {
  Chain chain{plain_paging(4)};
  const auto found = chain.go();
  ASSERT_TRUE(found);
  EXPECT_EQ(found->phys, PhysAddr{0x5123});
  EXPECT_EQ(found->level, PageLevel::size_4k);
  EXPECT_EQ(found->entry_at, entry_of(0));
  EXPECT_EQ(found->flags, (PageFlags{.writable = true, .user = true, .executable = true}));
}

TEST(Walker, TranslatesThroughFiveLevels) {
  Chain chain{plain_paging(5)};
  EXPECT_EQ(chain.go()->phys, PhysAddr{0x5123});
}

TEST(Walker, EndsAtALargeLeaf) {
  Chain chain{plain_paging()};
  chain.set(1, 0x60'0000 | p | ps);
  EXPECT_EQ(chain.go()->phys, PhysAddr{0x60'0000 + page_size + 0x123});
  EXPECT_EQ(chain.go()->level, PageLevel::size_2m);
  chain.set(2, 0x4000'0000 | p | ps);
  EXPECT_EQ(chain.go()->phys, PhysAddr{0x4000'0000 + (2 << 20) + page_size + 0x123});
  EXPECT_EQ(chain.go()->level, PageLevel::size_1g);
}

TEST(Walker, DoesNotTakeThePatBitOfALargeLeafForAnAddressBit) {
  Chain chain{plain_paging()};
  chain.set(1, 0x60'0000 | p | ps | pat_large);
  EXPECT_EQ(chain.go()->phys, PhysAddr{0x60'0000 + page_size + 0x123});
  chain.set(2, 0x4000'0000 | p | ps | pat_large);
  EXPECT_EQ(chain.go()->phys, PhysAddr{0x4000'0000 + (2 << 20) + page_size + 0x123});
}

TEST(Walker, TakesBit7OfAPteForPatAndNotForPageSize) {
  Chain chain{plain_paging()};
  chain.add_bits(0, ps);
  EXPECT_EQ(chain.go()->phys, PhysAddr{0x5123});
}

TEST(Walker, FaultsWhereAnEntryIsNotPresentWhateverElseItHolds) {
  for (unsigned level = 0; level < 5; ++level) {
    Chain chain{plain_paging(5)};
    chain.set(level, ~p);
    EXPECT_EQ(kind_of(chain.go()), FaultKind::not_present) << level;
  }
}

TEST(Walker, ReportsTheVirtualAddressAndWhetherItWasAWrite) {
  Chain chain{plain_paging()};
  chain.set(2, 0);
  EXPECT_EQ(chain.go(Intent::write).error(),
            (Fault{FaultKind::not_present, address(4, 0x123).value(), true}));
  EXPECT_EQ(chain.go(Intent::read).error(),
            (Fault{FaultKind::not_present, address(4, 0x123).value(), false}));
}

TEST(Walker, FaultsOnNonCanonicalAddresses) {
  Chain four{plain_paging(4)};
  for (const std::uint64_t bad : {1ull << 47, 0xffff'7fff'ffff'ffffull, 1ull << 63})
    EXPECT_EQ(kind_of(four.walk(four.cr3(), VirtAddr{bad})), FaultKind::non_canonical) << bad;
  for (const std::uint64_t good : {(1ull << 47) - 1, 0xffff'8000'0000'0000ull})
    EXPECT_EQ(kind_of(four.walk(four.cr3(), VirtAddr{good})), FaultKind::not_present) << good;
  Chain five{plain_paging(5)};
  EXPECT_EQ(kind_of(five.walk(five.cr3(), VirtAddr{1ull << 47})), FaultKind::not_present);
  EXPECT_EQ(kind_of(five.walk(five.cr3(), VirtAddr{1ull << 56})), FaultKind::non_canonical);
}

TEST(Walker, GrantsAWriteOnlyWhereEveryLevelDoes) {
  for (unsigned level = 0; level < 4; ++level) {
    Chain chain{plain_paging()};
    chain.drop_bits(level, w);
    EXPECT_EQ(kind_of(chain.go(Intent::write)), FaultKind::protection) << level;
    EXPECT_EQ(kind_of(chain.go(Intent::write, at_user)), FaultKind::protection) << level;
    EXPECT_TRUE(chain.go(Intent::read, at_user)) << level;
    EXPECT_FALSE(chain.go()->flags.writable);
  }
}

TEST(Walker, LetsTheSupervisorWriteReadOnlyPagesOnlyWithoutCr0Wp) {
  Chain chain{plain_paging()};
  chain.drop_bits(0, w);
  EXPECT_TRUE(chain.go(Intent::write, {.user = false, .write_protect = false}));
  EXPECT_EQ(kind_of(chain.go(Intent::write, {.user = true, .write_protect = false})), FaultKind::protection);
}

TEST(Walker, KeepsTheUserOutWhereAnyLevelDoes) {
  for (unsigned level = 0; level < 4; ++level) {
    Chain chain{plain_paging()};
    chain.drop_bits(level, u);
    for (const Intent intent : {Intent::read, Intent::write, Intent::execute}) {
      EXPECT_EQ(kind_of(chain.go(intent, at_user)), FaultKind::protection) << level;
      EXPECT_TRUE(chain.go(intent)) << level;
    }
  }
}

TEST(Walker, ExecutesOnlyWhereNoLevelHasNx) {
  for (unsigned level = 0; level < 4; ++level) {
    Chain chain{plain_paging()};
    EXPECT_TRUE(chain.go(Intent::execute));
    chain.add_bits(level, nx);
    EXPECT_EQ(kind_of(chain.go(Intent::execute)), FaultKind::protection) << level;
    EXPECT_TRUE(chain.go(Intent::read));
    EXPECT_TRUE(chain.go(Intent::write));
  }
}

TEST(Walker, SetsAccessedInEveryLevelAndDirtyOnlyInTheLeafOfAWrite) {
  Chain chain{plain_paging(5)};
  ASSERT_TRUE(chain.go(Intent::read));
  for (unsigned level = 0; level < 5; ++level)
    EXPECT_EQ(chain.entry(entry_of(level)).raw & (a | d), a) << level;
  const auto written = chain.go(Intent::write);
  ASSERT_TRUE(written);
  EXPECT_TRUE(written->entry.get<Pte::Dirty>());
  EXPECT_EQ(chain.entry(entry_of(0)).raw & (a | d), a | d);
  for (unsigned level = 1; level < 5; ++level)
    EXPECT_EQ(chain.entry(entry_of(level)).raw & (a | d), a) << level;
}

TEST(Walker, LeavesTheEntriesOfARefusedAccessAlone) {
  Chain chain{plain_paging()};
  chain.drop_bits(0, w);
  EXPECT_FALSE(chain.go(Intent::write));
  for (unsigned level = 0; level < 4; ++level)
    EXPECT_EQ(chain.entry(entry_of(level)).raw & (a | d), 0u) << level;
}

TEST(Walker, FaultsOnAddressBitsThatTheMachineLacks) {
  PagingConfig narrow = plain_paging();
  narrow.phys_bits = 40;
  for (unsigned level = 0; level < 4; ++level)
    for (const unsigned bit : {40u, 45u, 51u}) {
      Chain chain{narrow};
      chain.add_bits(level, 1ull << bit);
      EXPECT_EQ(kind_of(chain.go()), FaultKind::reserved_bit) << level << " " << bit;
    }
  Chain chain{narrow};
  chain.add_bits(0, 1ull << 39 | 0x7ffull << 52);  // the last address bit; 62:52 belong to software
  EXPECT_EQ(chain.go()->phys, PhysAddr{(1ull << 39) + 0x5123});
}

TEST(Walker, DoesNotReserveTheKeyBits) {
  PagingConfig sme = sme_paging(47);
  sme.phys_bits = 43;
  Chain chain{sme};
  chain.add_bits(0, 1ull << 47);
  EXPECT_EQ(chain.go()->phys, PhysAddr{0x5123});
  EXPECT_EQ(chain.go()->key, 1);
  for (const unsigned bit : {43u, 46u, 48u, 51u}) {
    chain.set(0, 0x5000 | p | 1ull << bit);
    EXPECT_EQ(kind_of(chain.go()), FaultKind::reserved_bit) << bit;
  }
}

TEST(Walker, FaultsOnReservedBitsOfLargeLeaves) {
  for (unsigned level = 1; level <= 2; ++level) {
    for (unsigned bit = 13; bit < 12 + 9 * level; ++bit) {
      Chain chain{plain_paging()};
      chain.set(level, p | ps | 1ull << bit);
      EXPECT_EQ(kind_of(chain.go()), FaultKind::reserved_bit) << level << " " << bit;
    }
    Chain chain{plain_paging()};
    chain.set(level, p | ps | g | span_of_level(level));
    EXPECT_TRUE(chain.go()) << level;
  }
}

TEST(Walker, FaultsOnPageSizeAboveThePdpt) {
  for (unsigned level = 3; level <= 4; ++level) {
    Chain chain{plain_paging(5)};
    chain.add_bits(level, ps);
    EXPECT_EQ(kind_of(chain.go()), FaultKind::reserved_bit) << level;
  }
}

TEST(Walker, ReportsReservedBitsBeforeRights) {
  Chain chain{plain_paging()};
  chain.set(3, table_of(2).value() | p);  // read-only, supervisor
  chain.set(1, p | ps | 1ull << 13);
  EXPECT_EQ(kind_of(chain.go(Intent::write, at_user)), FaultKind::reserved_bit);
}

TEST(Walker, FaultsWhereATableLiesOutsideMemory) {
  Chain chain{plain_paging()};
  chain.set(1, 1ull << 40 | p);
  EXPECT_EQ(kind_of(chain.go()), FaultKind::no_memory);
}

TEST(Walker, SelectsTheKeyOfTheLeaf) {
  Chain tdx{tdx_paging()};
  for (unsigned level = 0; level < 4; ++level) {  // walks are private: the tables belong to key 2
    const std::uint64_t to = level == 0 ? 0x5000 : table_of(level - 1).value();
    tdx.set_entry(entry_of(level), to | p | w, 2);
  }
  EXPECT_EQ(tdx.go()->key, 2);
  EXPECT_EQ(tdx.go()->selector, 1);
  tdx.set_entry(entry_of(0), 1ull << 47 | 0x5000 | p, 2);
  EXPECT_EQ(tdx.go()->phys, PhysAddr{0x5123});
  EXPECT_EQ(tdx.go()->key, no_key);
  EXPECT_EQ(tdx.go()->selector, 0);

  Chain mktme{mktme_paging()};
  mktme.add_bits(0, 5ull << 46);
  EXPECT_EQ(mktme.go()->key, 5);
  EXPECT_EQ(mktme.go()->phys, PhysAddr{0x5123});
}

TEST(Walker, FindsTheCBitWhereverItIs) {
  for (unsigned c_bit = 32; c_bit <= 51; ++c_bit) {
    Chain chain{sme_paging(c_bit)};
    chain.set(1, 0x60'0000 | p | ps | pat_large | 1ull << c_bit);
    EXPECT_EQ(chain.go()->phys, PhysAddr{0x60'1123}) << c_bit;
    EXPECT_EQ(chain.go()->key, 1) << c_bit;
  }
}

// All tables written under `key`; every pointer, CR3 included, with or without the C-bit.
Result<Translation> walk_encrypted_tables(PagingConfig paging, KeyId key, bool c_bit_in_pointers) {
  PagingBox box{paging};
  const std::uint64_t c = c_bit_in_pointers ? paging.view.layout.mask() : 0;
  for (unsigned level = 0; level < 4; ++level) {
    const std::uint64_t to = level == 0 ? 0x5000 : table_of(level - 1).value() | c;
    const Bytes zeros(page_size);
    EXPECT_TRUE(box.memory->write(table_of(level), zeros, {box.who.agent, key, 0}));
    box.set_entry(entry_of(level), to | p, key);
  }
  return box.walk(PtePhys{table_of(3).value() | c}, address(4, 0x123));
}

TEST(Walker, FollowsTheCBitOfEachPointerOnAnSmeHost) {
  EXPECT_EQ(walk_encrypted_tables(sme_paging(), 1, true)->phys, PhysAddr{0x5123});
  EXPECT_EQ(walk_encrypted_tables(sme_paging(), no_key, false)->phys, PhysAddr{0x5123});
  EXPECT_FALSE(walk_encrypted_tables(sme_paging(), 1, false));
  EXPECT_FALSE(walk_encrypted_tables(sme_paging(), no_key, true));
}

TEST(Walker, WalksPrivateTablesInAGuestWhateverTheCBitSays) {
  EXPECT_EQ(walk_encrypted_tables(sev_paging(), 2, true)->phys, PhysAddr{0x5123});
  EXPECT_EQ(walk_encrypted_tables(sev_paging(), 2, false)->phys, PhysAddr{0x5123});
  EXPECT_FALSE(walk_encrypted_tables(sev_paging(), no_key, false));
}

TEST(Walker, MixesEncryptedAndPlainTablesOnAnSmeHost) {
  Chain chain{sme_paging()};  // plain tables
  const std::uint64_t c = 1ull << 47;
  chain.set_entry(entry_of(0), c | 0x5000 | p, 1);
  chain.set(1, table_of(0).value() | c | p);
  EXPECT_EQ(chain.go()->phys, PhysAddr{0x5123});
  EXPECT_EQ(chain.go()->key, 1);
  EXPECT_TRUE(chain.entry(entry_of(0), 1).get<Pte::Accessed>());
}

}  // namespace
}  // namespace cbit::paging
