#include "paging/page_table.hpp"

#include <gtest/gtest.h>

#include "fixture.hpp"
#include "support/sizes.hpp"

namespace cbit::paging {
namespace {

constexpr VirtAddr gigabyte{0xffff'8880'4000'0000};

struct Leaf {
  VirtAddr at;
  PageLevel level;
  std::uint64_t raw;
  friend bool operator==(const Leaf&, const Leaf&) = default;
};

std::vector<Leaf> leaves(const PageTable& table, VirtAddr at, std::uint64_t bytes) {
  std::vector<Leaf> found;
  EXPECT_TRUE(table.for_each_leaf(at, bytes, [&](VirtAddr where, PageLevel level, Pte entry) {
    found.push_back({where, level, entry.raw});
  }));
  return found;
}

TEST(PageTable, UsesTheLargestPagesThatAddressAndSizeAllow) {
  PagingBox box{plain_paging()};
  PageTable table = box.table(0);
  ASSERT_TRUE(table.map({.at = gigabyte - 2 * mib - page_size,
                         .phys = PhysAddr{0x4000'0000 - 2 * mib - page_size},
                         .bytes = page_size + 2 * mib + (1ull << 30) + page_size}));
  const auto found = leaves(table, gigabyte - (1ull << 30), 3ull << 30);
  ASSERT_EQ(found.size(), 4u);
  EXPECT_EQ(found[0].level, PageLevel::size_4k);
  EXPECT_EQ(found[1].level, PageLevel::size_2m);
  EXPECT_EQ(found[2].level, PageLevel::size_1g);
  EXPECT_EQ(found[3].level, PageLevel::size_4k);
  EXPECT_EQ(box.walk(table.cr3(), gigabyte + 5)->phys, PhysAddr{0x4000'0005});
}

TEST(PageTable, UsesSmallerPagesWhereThePhysicalAddressIsNotAlignedOrTheCallerAsks) {
  PagingBox box{plain_paging()};
  PageTable table = box.table(0);
  ASSERT_TRUE(table.map({.at = gigabyte, .phys = PhysAddr{page_size}, .bytes = 2 * mib}));
  EXPECT_EQ(leaves(table, gigabyte, 2 * mib).size(), 512u);
  ASSERT_TRUE(table.map({.at = gigabyte + (1ull << 30),
                         .phys = PhysAddr{0},
                         .bytes = 1ull << 30,
                         .largest = PageLevel::size_2m}));
  EXPECT_EQ(leaves(table, gigabyte + (1ull << 30), 1ull << 30).size(), 512u);
}

TEST(PageTable, GivesEntriesTheBitsOfLinux) {
  PagingBox box{sme_paging(47)};
  PageTable table = box.table(1);
  ASSERT_TRUE(table.map({.at = gigabyte, .phys = PhysAddr{0x5000}, .bytes = page_size, .selector = 1}));
  EXPECT_EQ(leaves(table, gigabyte, page_size)[0].raw, 0x8000'8000'0000'5063);  // PAGE_KERNEL without G
  ASSERT_TRUE(table.map({.at = gigabyte,
                         .phys = PhysAddr{0x5000},
                         .bytes = page_size,
                         .flags = {.writable = false, .executable = true, .global = true}}));
  EXPECT_EQ(leaves(table, gigabyte, page_size)[0].raw, 0x5161u);  // PAGE_KERNEL_ROX, C=0
  ASSERT_TRUE(table.map(
      {.at = VirtAddr{0x1000}, .phys = PhysAddr{0x5000}, .bytes = page_size, .flags = {.user = true}}));
  EXPECT_EQ(leaves(table, VirtAddr{0x1000}, page_size)[0].raw, 0x8000'0000'0000'5027u);  // PAGE_SHARED
  ASSERT_TRUE(
      table.map({.at = gigabyte + 2 * mib, .phys = PhysAddr{2 * mib}, .bytes = 2 * mib, .selector = 1}));
  EXPECT_EQ(leaves(table, gigabyte + 2 * mib, page_size)[0].raw,
            0x8000'8000'0020'00e3);  // PAGE_KERNEL_LARGE without G

  const auto [root, key] = locate_table(box.config.view, table.cr3());
  EXPECT_EQ(box.entry(root + table_index(gigabyte, 3) * 8, key).raw & ~Pte::address_mask,
            0x63u);                                                                           // _KERNPG_TABLE
  EXPECT_EQ(box.entry(root + table_index(VirtAddr{0x1000}, 3) * 8, key).raw & 0xfff, 0x67u);  // _PAGE_TABLE
  EXPECT_EQ(box.entry(root + table_index(gigabyte, 3) * 8, key).raw >> 47 & 1, 1u);           // _ENC
  EXPECT_EQ(table.cr3().value() >> 47, 1u);
}

TEST(PageTable, WritesTablesUnderTheKeyOfTheWalker) {
  PagingBox sev{sev_paging()};
  PageTable guest = sev.table(0);  // walks are private all the same
  ASSERT_TRUE(guest.map({.at = gigabyte, .phys = PhysAddr{0x5000}, .bytes = page_size}));
  EXPECT_EQ(sev.walk(guest.cr3(), gigabyte)->key, no_key);
  EXPECT_EQ(sev.memory->history(PhysAddr{guest.cr3().value()}).writer_key, 2);
  PagingBox sme{sme_paging()};
  PageTable plain = sme.table(0);
  EXPECT_EQ(sme.memory->history(PhysAddr{plain.cr3().value()}).writer_key, no_key);
}

TEST(PageTable, SplitsALargePageOnlyAsFarAsItMust) {
  PagingBox box{sme_paging()};
  PageTable table = box.table(1);
  ASSERT_TRUE(table.map({.at = gigabyte, .phys = PhysAddr{0x4000'0000}, .bytes = 1ull << 30, .selector = 1}));
  const auto edited = table.set_selector(gigabyte + 4 * mib + page_size, page_size, 0);
  ASSERT_TRUE(edited);
  EXPECT_EQ(edited->pages_split, 2u);
  EXPECT_EQ(edited->leaves_changed, 1u);
  const auto found = leaves(table, gigabyte, 1ull << 30);
  EXPECT_EQ(found.size(), 511u + 512u);
  for (const Leaf& leaf : found) {
    const auto [phys, selector] = box.config.view.layout.split(Pte{leaf.raw}.page(leaf.level));
    EXPECT_EQ(phys - PhysAddr{0x4000'0000}, leaf.at - gigabyte);
    EXPECT_EQ(selector, leaf.at == gigabyte + 4 * mib + page_size ? 0 : 1);
  }
}

TEST(PageTable, ChangesAWholeLargePageWithoutSplittingIt) {
  PagingBox box{sme_paging()};
  PageTable table = box.table(1);
  ASSERT_TRUE(table.map({.at = gigabyte, .phys = PhysAddr{0x4000'0000}, .bytes = 4 * mib, .selector = 1}));
  const auto edited = table.set_selector(gigabyte + 2 * mib, 2 * mib, 0);
  EXPECT_EQ(edited->pages_split, 0u);
  EXPECT_EQ(edited->leaves_changed, 1u);
  EXPECT_EQ(box.walk(table.cr3(), gigabyte)->selector, 1);
  EXPECT_EQ(box.walk(table.cr3(), gigabyte + 3 * mib)->selector, 0);
}

TEST(PageTable, MovesThePatBitWhenItSplits) {
  PagingBox box{plain_paging()};
  PageTable table = box.table(0);
  ASSERT_TRUE(table.map({.at = gigabyte, .phys = PhysAddr{0x4000'0000}, .bytes = 1ull << 30}));
  const auto whole = box.walk(table.cr3(), gigabyte);
  box.set_entry(whole->entry_at, whole->entry.raw | 1 << 12 | 1 << 4);  // PAT, PCD
  ASSERT_TRUE(table.split(gigabyte, 2 * mib));
  EXPECT_EQ(leaves(table, gigabyte + 2 * mib, page_size)[0].raw,
            0x8000'0000'4020'10f3u);  // still large: PAT is bit 12
  ASSERT_TRUE(table.split(gigabyte, page_size));
  EXPECT_EQ(leaves(table, gigabyte + page_size, page_size)[0].raw,
            0x8000'0000'4000'10f3u);                                             // a PTE: bit 12 is address,
  EXPECT_EQ(leaves(table, gigabyte, page_size)[0].raw, 0x8000'0000'4000'00f3u);  // PAT is bit 7
}

TEST(PageTable, SplitsWithoutChangingAnyTranslation) {
  PagingBox box{sme_paging()};
  PageTable table = box.table(1);
  ASSERT_TRUE(table.map({.at = gigabyte, .phys = PhysAddr{0x4000'0000}, .bytes = 1ull << 30, .selector = 1}));
  EXPECT_EQ(table.split(gigabyte, 1ull << 30)->pages_split, 0u);
  EXPECT_EQ(table.split(gigabyte + page_size, 2 * mib)->pages_split, 3u);
  for (std::uint64_t offset = 0; offset < 6 * mib; offset += page_size) {
    const auto found = box.walk(table.cr3(), gigabyte + offset);
    EXPECT_EQ(found->phys, PhysAddr{0x4000'0000 + offset});
    EXPECT_EQ(found->selector, 1);
  }
}

TEST(PageTable, UnmapsPartOfALargePage) {
  PagingBox box{plain_paging()};
  PageTable table = box.table(0);
  ASSERT_TRUE(table.map({.at = gigabyte, .phys = PhysAddr{0x4000'0000}, .bytes = 2 * mib}));
  const auto edited = table.unmap(gigabyte + page_size, 2 * page_size);
  EXPECT_EQ(edited->leaves_changed, 2u);
  EXPECT_EQ(edited->pages_split, 1u);
  EXPECT_TRUE(box.walk(table.cr3(), gigabyte));
  EXPECT_EQ(box.walk(table.cr3(), gigabyte + page_size).error().kind, FaultKind::not_present);
  EXPECT_EQ(box.walk(table.cr3(), gigabyte + 2 * page_size).error().kind, FaultKind::not_present);
  EXPECT_TRUE(box.walk(table.cr3(), gigabyte + 3 * page_size));
  EXPECT_EQ(table.unmap(gigabyte + page_size, 2 * page_size)->leaves_changed, 0u);
}

TEST(PageTable, RefusesToChangeTheAttributeOfWhatIsNotMapped) {
  PagingBox box{sme_paging()};
  PageTable table = box.table(1);
  ASSERT_TRUE(table.map({.at = gigabyte, .phys = PhysAddr{0x5000}, .bytes = page_size, .selector = 1}));
  const auto edited = table.set_selector(gigabyte, 2 * page_size, 0);
  ASSERT_FALSE(edited);
  EXPECT_EQ(edited.error(), (Fault{FaultKind::not_present, (gigabyte + page_size).value(), false}));
  EXPECT_EQ(box.walk(table.cr3(), gigabyte)->selector, 0);  // as in the kernel
}

TEST(PageTable, OpensTheWayDownForTheUserWithoutOpeningItsNeighbours) {
  PagingBox box{plain_paging()};
  PageTable table = box.table(0);
  ASSERT_TRUE(table.map({.at = VirtAddr{0x1000}, .phys = PhysAddr{0x5000}, .bytes = page_size}));
  ASSERT_TRUE(table.map(
      {.at = VirtAddr{0x2000}, .phys = PhysAddr{0x6000}, .bytes = page_size, .flags = {.user = true}}));
  const Privilege user{.user = true};
  EXPECT_EQ(box.walk(table.cr3(), VirtAddr{0x1000}, Intent::read, user).error().kind, FaultKind::protection);
  EXPECT_TRUE(box.walk(table.cr3(), VirtAddr{0x2000}, Intent::write, user));
}

TEST(PageTable, ChangesNothingWhenItFindsNoPageForASplit) {
  PagingBox box{sme_paging()};
  PageTable table = box.table(1);
  ASSERT_TRUE(table.map({.at = gigabyte, .phys = PhysAddr{0x4000'0000}, .bytes = 1ull << 30, .selector = 1}));
  const auto before = leaves(table, gigabyte, 1ull << 30);
  box.frames.fail_at = box.frames.allocations();
  EXPECT_EQ(table.set_selector(gigabyte + page_size, page_size, 0).error().kind, FaultKind::no_memory);
  EXPECT_EQ(leaves(table, gigabyte, 1ull << 30), before);
}

TEST(PageTable, RefusesRangesThatLeaveTheAddressSpace) {
  PagingBox box{plain_paging()};
  PageTable table = box.table(0);
  const auto kind = [&](std::uint64_t at, std::uint64_t bytes) {
    const auto mapped = table.map({.at = VirtAddr{at}, .phys = PhysAddr{0}, .bytes = bytes});
    return mapped ? std::nullopt : std::optional{mapped.error().kind};
  };
  EXPECT_EQ(kind(1ull << 47, page_size), FaultKind::non_canonical);
  EXPECT_EQ(kind((1ull << 47) - page_size, 2 * page_size), FaultKind::non_canonical);
  EXPECT_EQ(kind(~0xfffull, 2 * page_size), FaultKind::non_canonical);
  EXPECT_EQ(kind(0, ~0xfffull), FaultKind::no_memory);
  EXPECT_EQ(kind(~0xfffull, page_size), std::nullopt);
  EXPECT_EQ(kind(1ull << 47, 0), std::nullopt);
}

TEST(PageTable, RefusesPhysicalAddressesThatReachTheKeyBitsOrDoNotExist) {
  PagingBox sme{sme_paging(47)};
  PageTable table = sme.table(1);
  EXPECT_FALSE(table.map({.at = gigabyte, .phys = PhysAddr{1ull << 47}, .bytes = page_size}));
  EXPECT_FALSE(
      table.map({.at = gigabyte, .phys = PhysAddr{(1ull << 47) - page_size}, .bytes = 2 * page_size}));
  EXPECT_TRUE(table.map({.at = gigabyte, .phys = PhysAddr{(1ull << 47) - page_size}, .bytes = page_size}));
}

TEST(PageTable, StopsAtATableThatSomebodyOverwrote) {
  PagingBox box{plain_paging()};
  PageTable table = box.table(0);
  ASSERT_TRUE(table.map({.at = gigabyte, .phys = PhysAddr{0x5000}, .bytes = page_size}));
  box.set_entry(PhysAddr{table.cr3().value()} + table_index(gigabyte, 3) * 8, 0x83);
  EXPECT_EQ(table.unmap(gigabyte, page_size).error().kind, FaultKind::reserved_bit);
  box.set_entry(PhysAddr{table.cr3().value()} + table_index(gigabyte, 3) * 8, 1ull << 45 | 1);
  EXPECT_EQ(table.unmap(gigabyte, page_size).error().kind, FaultKind::no_memory);
}

TEST(PageTable, ReturnsAllItsPages) {
  PagingBox box{plain_paging(5)};
  {
    PageTable table = box.table(0);
    ASSERT_TRUE(table.map({.at = gigabyte, .phys = PhysAddr{0x4000'0000}, .bytes = 1ull << 30}));
    ASSERT_TRUE(table.unmap(gigabyte + page_size, page_size));
    const PageTable moved = std::move(table);
    EXPECT_EQ(box.frames.in_use().size(), 5u);  // PML5, PML4, PDPT, and the PD and PT of the split
  }
  EXPECT_TRUE(box.frames.in_use().empty());
}

}  // namespace
}  // namespace cbit::paging
