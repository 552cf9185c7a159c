#include "paging/mmu.hpp"

#include <gtest/gtest.h>

#include "fixture.hpp"

namespace cbit::paging {
namespace {

constexpr VirtAddr base{0xffff'8880'0000'0000};

// Tables under the view's key, an Mmu on them.
class MmuTest : public testing::Test {
 public:
  explicit MmuTest(const PagingConfig& paging = sme_paging())
      : box{paging}, table{box.table(1)}, mmu{*box.memory, box.tracer, paging, 3} {
    mmu.load_cr3(table.cr3());
  }
  void map(VirtAddr at, PhysAddr phys, std::uint64_t bytes, mem::KeySelector selector = 1,
           PageFlags flags = {}) {
    ASSERT_TRUE(table.map({.at = at, .phys = phys, .bytes = bytes, .flags = flags, .selector = selector}));
  }
  Bytes peek(PhysAddr from, std::size_t bytes, KeyId key) {
    Bytes seen(bytes);
    EXPECT_TRUE(box.memory->peek(from, seen, key));
    return seen;
  }

  PagingBox box;
  PageTable table;
  Mmu mmu;
};

TEST_F(MmuTest, ReadsBackWhatItWroteAcrossPagesThatAreNotNeighbours) {
  map(base, PhysAddr{0x80'0000}, page_size);
  map(base + page_size, PhysAddr{0x40'0000}, page_size);
  const Bytes data = pattern_bytes(3000, 1);
  ASSERT_TRUE(mmu.write(base + 2000, data));
  Bytes seen(3000);
  ASSERT_TRUE(mmu.read(base + 2000, seen));
  EXPECT_EQ(seen, data);
  EXPECT_EQ(peek(PhysAddr{0x40'0000}, 904, 1), Bytes(data.begin() + 2096, data.end()));
}

TEST_F(MmuTest, AccessesUnderTheKeyThatThePageSelects) {
  map(base, PhysAddr{0x40'0000}, page_size, 1);
  map(base + page_size, PhysAddr{0x40'1000}, page_size, 0);
  const Bytes data = pattern_bytes(2 * page_size, 2);
  ASSERT_TRUE(mmu.write(base, data));
  EXPECT_EQ(peek(PhysAddr{0x40'0000}, page_size, 1), Bytes(data.begin(), data.begin() + page_size));
  EXPECT_NE(peek(PhysAddr{0x40'0000}, page_size, no_key), Bytes(data.begin(), data.begin() + page_size));
  EXPECT_EQ(peek(PhysAddr{0x40'1000}, page_size, no_key), Bytes(data.begin() + page_size, data.end()));
}

TEST_F(MmuTest, LeavesItsNameInTheHistoryOfAPage) {
  map(base, PhysAddr{0x40'0000}, page_size);
  const SiteId site = box.tracer.intern("driver");
  {
    const SiteScope scope{mmu, site};
    ASSERT_TRUE(mmu.store(base, 1));
  }
  EXPECT_EQ(mmu.site(), 0u);
  const mem::PageHistory history = box.memory->history(PhysAddr{0x40'0000});
  EXPECT_EQ(history.writer, (Agent{AgentKind::cpu, 3}));
  EXPECT_EQ(history.writer_site, site);
  EXPECT_EQ(history.writer_key, 1);
}

TEST_F(MmuTest, KeepsAnOldTranslationUntilItIsFlushed) {
  map(base, PhysAddr{0x40'0000}, page_size);
  ASSERT_TRUE(mmu.store<std::uint64_t>(base, 1));
  map(base, PhysAddr{0x50'0000}, page_size);
  EXPECT_EQ(mmu.translate(base + 8, Intent::read)->phys, PhysAddr{0x40'0008});
  mmu.flush_range(base, 1);
  EXPECT_EQ(mmu.translate(base + 8, Intent::read)->phys, PhysAddr{0x50'0008});
  ASSERT_TRUE(table.unmap(base, page_size));
  EXPECT_TRUE(mmu.load<std::uint64_t>(base));
  mmu.flush_all();
  EXPECT_FALSE(mmu.load<std::uint64_t>(base));
}

TEST_F(MmuTest, KeepsOnlyGlobalPagesOverAChangeOfCr3) {
  map(base, PhysAddr{0x40'0000}, page_size, 1, {.global = true});
  map(base + page_size, PhysAddr{0x50'0000}, page_size);
  ASSERT_TRUE(mmu.load<int>(base) && mmu.load<int>(base + page_size));
  ASSERT_TRUE(table.unmap(base, 2 * page_size));
  mmu.load_cr3(table.cr3());
  EXPECT_TRUE(mmu.load<int>(base));
  EXPECT_FALSE(mmu.load<int>(base + page_size));
}

TEST_F(MmuTest, SetsDirtyOnTheFirstWriteAfterAReadFilledTheTlb) {
  map(base, PhysAddr{0x40'0000}, page_size, 1, {.user = true});
  mmu.set_privilege({.user = true});
  ASSERT_TRUE(mmu.load<int>(base));
  const auto read = mmu.translate(base, Intent::read);
  EXPECT_FALSE(read->entry.get<Pte::Dirty>());
  ASSERT_TRUE(mmu.store(base, 1));
  EXPECT_TRUE(box.entry(read->entry_at, 1).get<Pte::Dirty>());
}

TEST_F(MmuTest, WalksAgainBeforeItRefusesSoThatNewRightsNeedNoFlush) {
  map(base, PhysAddr{0x40'0000}, page_size, 1, {.writable = false});
  EXPECT_TRUE(mmu.load<int>(base));
  EXPECT_EQ(mmu.store(base, 1).error().kind, FaultKind::protection);
  map(base, PhysAddr{0x40'0000}, page_size);
  EXPECT_TRUE(mmu.store(base, 1));
}

TEST_F(MmuTest, KeepsUsingRightsThatWereTakenAwayUntilItIsFlushed) {
  map(base, PhysAddr{0x40'0000}, page_size);
  ASSERT_TRUE(mmu.store(base, 1));
  map(base, PhysAddr{0x40'0000}, page_size, 1, {.writable = false});
  EXPECT_TRUE(mmu.store(base, 1));
  mmu.flush_range(base, page_size);
  EXPECT_EQ(mmu.store(base, 1).error().kind, FaultKind::protection);
}

TEST_F(MmuTest, ChecksAnEntryThatTheSupervisorFilledAgainForTheUser) {
  map(base, PhysAddr{0x40'0000}, page_size);
  ASSERT_TRUE(mmu.load<int>(base));
  mmu.set_privilege({.user = true});
  EXPECT_EQ(mmu.load<int>(base).error().kind, FaultKind::protection);
}

TEST_F(MmuTest, AccessesThePagesBeforeAFault) {
  map(base, PhysAddr{0x40'0000}, page_size, 0);
  const Bytes data = pattern_bytes(2 * page_size, 3);
  const auto written = mmu.write(base, data);
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error(), (Fault{FaultKind::not_present, (base + page_size).value(), true}));
  EXPECT_EQ(peek(PhysAddr{0x40'0000}, page_size, no_key), Bytes(data.begin(), data.begin() + page_size));
}

TEST_F(MmuTest, ReportsEachRefusalOnce) {
  test::EventLog log;
  box.tracer.attach(log);
  const SiteScope scope{mmu, 7};
  EXPECT_FALSE(mmu.load<int>(base));
  map(base, PhysAddr{64ull << 20}, page_size);  // beyond RAM
  EXPECT_EQ(mmu.load<int>(base).error().kind, FaultKind::no_memory);
  const auto faults = log.all<AccessFault>();
  ASSERT_EQ(faults.size(), 2u);
  EXPECT_EQ(faults[0].fault.kind, FaultKind::not_present);
  EXPECT_EQ(faults[1].fault, (Fault{FaultKind::no_memory, 64ull << 20, false}));
  EXPECT_EQ(faults[1].site, 7u);
  map(base, PhysAddr{0x40'0000}, page_size);
  mmu.flush_all();
  EXPECT_TRUE(mmu.load<int>(base));
  EXPECT_EQ(log.all<AccessFault>().size(), 2u);
  box.tracer.detach(log);
}

TEST_F(MmuTest, CopiesBetweenPagesOfDifferentKeysAtAnyOffset) {
  map(base, PhysAddr{0x40'0000}, 4 * page_size, 1);
  map(base + (1 << 20), PhysAddr{0x60'0000}, 4 * page_size, 0);
  const Bytes data = pattern_bytes(3 * page_size, 4);
  ASSERT_TRUE(mmu.write(base + 100, data));
  ASSERT_TRUE(mmu.copy(base + (1 << 20) + 57, base + 100, data.size()));
  EXPECT_EQ(peek(PhysAddr{0x60'0000 + 57}, data.size(), no_key), data);
}

TEST_F(MmuTest, ConvertsAPageThatItCopiesOntoItselfThroughTwoViews) {
  map(base, PhysAddr{0x40'0000}, 2 * page_size, 1);
  map(base + (1 << 20), PhysAddr{0x40'0000}, 2 * page_size, 0);
  const Bytes data = pattern_bytes(2 * page_size, 5);
  ASSERT_TRUE(mmu.write(base, data));
  ASSERT_TRUE(mmu.copy(base + (1 << 20), base, data.size()));
  EXPECT_EQ(peek(PhysAddr{0x40'0000}, data.size(), no_key), data);
}

TEST_F(MmuTest, FillsAcrossPages) {
  map(base, PhysAddr{0x40'0000}, page_size, 1);
  map(base + page_size, PhysAddr{0x60'0000}, page_size, 0);
  ASSERT_TRUE(mmu.fill(base + 4000, 200, std::byte{0xa5}));
  EXPECT_EQ(peek(PhysAddr{0x40'0000 + 4000}, 96, 1), Bytes(96, std::byte{0xa5}));
  EXPECT_EQ(peek(PhysAddr{0x60'0000}, 104, no_key), Bytes(104, std::byte{0xa5}));
}

TEST_F(MmuTest, AcceptsAnEmptyAccessAnywhere) {
  EXPECT_TRUE(mmu.read(base, {}));
  EXPECT_TRUE(mmu.copy(base, base, 0));
  EXPECT_TRUE(mmu.fill(VirtAddr{1ull << 60}, 0, std::byte{}));
}

TEST_F(MmuTest, SeesNoiseInAPageOfTheOtherKey) {
  map(base, PhysAddr{0x40'0000}, page_size, 1);
  map(base + page_size, PhysAddr{0x40'0000}, page_size, 0);
  ASSERT_TRUE(mmu.store<std::uint64_t>(base, 0x1122334455667788));
  EXPECT_NE(mmu.load<std::uint64_t>(base + page_size).value(), 0x1122334455667788u);
  Bytes dram(8);
  ASSERT_TRUE(box.memory->probe(PhysAddr{0x40'0000}, dram));
  EXPECT_EQ(mmu.load<std::uint64_t>(base + page_size).value(), load<std::uint64_t>(dram));
}

}  // namespace
}  // namespace cbit::paging
