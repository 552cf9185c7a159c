#include "cpu/address_space.hpp"

#include <gtest/gtest.h>

#include "cpu_box.hpp"

namespace cbit {
namespace {

using cpu::AddressSpace;
using cpu::TlbInfo;
using cpu::TlbSet;

// Tables that map the first 2 MiB by pages of 4 KiB, where they lie and once more at `alias`.
class AddressSpaceTest : public testing::Test, public mem::LeaseHolder {
 protected:
  static constexpr std::uint64_t page = 0x10000, alias = 0x4000'0000 + page;
  static constexpr std::uint64_t pml4 = 0x1000, pdpt = 0x2000, pd = 0x3000, table = 0x4000;
  static constexpr std::uint64_t present = 1, writable = 2, dirty = 1 << 6, large = 1 << 7, global = 1 << 8;

  AddressSpaceTest() {
    memory.store(pml4, pdpt | present | writable);
    for (const std::uint64_t entry : {pdpt, pdpt + 8}) memory.store(entry, pd | present | writable);
    memory.store(pd, table | present | writable);
    for (std::uint64_t i = 0; i < 512; ++i) memory.store(table + 8 * i, i * page_size | present | writable);
    space.set_registers({.paging = true, .long_mode = true, .pae = true, .cr3 = pml4});
  }
  // The same memory, as one page of 2 MiB.
  void map_large(std::uint64_t flags) { memory.store(pd, present | large | flags); }
  void revoke(PhysAddr at) override { space.revoke_page(at); }
  void code_written(PhysAddr, std::uint64_t) override {}

  const TlbInfo* use(std::uint64_t linear, bool write) {
    const auto found = space.page_for(TlbSet::kernel, linear, write);
    return found ? *found : nullptr;
  }
  std::uint64_t entry_of(std::uint64_t linear) {
    return memory.load<std::uint64_t>(table + (linear >> 12 & 511) * 8);
  }
  void unmap(std::uint64_t linear) { memory.store(table + (linear >> 12 & 511) * 8, std::uint64_t{0}); }
  cpu::TlbEntry fast(std::uint64_t linear) {
    return space.tlb().entries(TlbSet::kernel)[cpu::tlb_index(linear)];
  }

  test::FlatMemory memory{2 << 20};
  AddressSpace space{memory, *this, {}};
};

TEST_F(AddressSpaceTest, ARevokedPageIsLeasedAgainByTheTranslationThatIsKnown) {
  ASSERT_NE(use(page, true), nullptr);
  unmap(page);
  revoke(PhysAddr{page});
  const TlbInfo* const again = use(page, true);
  ASSERT_NE(again, nullptr);
  EXPECT_EQ(again->host, memory.at(page));
  space.flush_page(page);
  EXPECT_EQ(use(page, true), nullptr);
}

TEST_F(AddressSpaceTest, FastPathsHaveNothingOfARevokedPageAtAnyOfItsAddresses) {
  for (const std::uint64_t linear : {page, alias}) {
    ASSERT_NE(use(linear, true), nullptr);
    ASSERT_EQ(fast(linear).read_tag, linear);
    ASSERT_EQ(fast(linear).write_tag, linear);
  }
  ASSERT_NE(use(page + page_size, true), nullptr);
  revoke(PhysAddr{page});
  for (const std::uint64_t linear : {page, alias}) {
    EXPECT_NE(fast(linear).read_tag, linear);
    EXPECT_NE(fast(linear).write_tag, linear);
  }
  EXPECT_EQ(fast(page + page_size).write_tag, page + page_size);
}

TEST_F(AddressSpaceTest, APageThatIsReadAfterItsLeaseWasRevokedIsNotYetWritable) {
  ASSERT_NE(use(page, true), nullptr);
  revoke(PhysAddr{page});
  ASSERT_NE(use(page, false), nullptr);
  EXPECT_EQ(fast(page).read_tag, page);
  EXPECT_NE(fast(page).write_tag, page);
  memory.store(table + (page >> 12) * 8, entry_of(page) & ~dirty);
  ASSERT_NE(use(page, true), nullptr);
  EXPECT_EQ(entry_of(page) & dirty, dirty);
}

TEST_F(AddressSpaceTest, APageWithoutALeaseIsAskedForOnce) {
  ASSERT_NE(use(page, true), nullptr);
  memory.leases = false;
  revoke(PhysAddr{page});
  const TlbInfo* const refused = use(page, true);
  ASSERT_NE(refused, nullptr);
  EXPECT_EQ(refused->host, nullptr);
  memory.leases = true;
  EXPECT_EQ(use(page, true)->host, nullptr);
}

TEST_F(AddressSpaceTest, ALargePageIsWalkedForOnceUntilAnyOfItsAddressesIsInvalidated) {
  map_large(writable);
  ASSERT_NE(use(page, true), nullptr);
  memory.store(pd, std::uint64_t{0});
  const TlbInfo* const another = use(page + 0x5000, true);
  ASSERT_NE(another, nullptr);
  EXPECT_EQ(another->host, memory.at(page + 0x5000));
  EXPECT_EQ(use(alias + 0x5000, true), nullptr);
  space.flush_page(0x1f'0000);
  EXPECT_EQ(use(page + 0x6000, true), nullptr);
}

TEST_F(AddressSpaceTest, AnotherPieceOfALargePageThatWasReadMayNotBeWrittenWithoutAWalk) {
  space.set_registers({.paging = true, .write_protect = true, .long_mode = true, .pae = true, .cr3 = pml4});
  map_large(writable);
  ASSERT_NE(use(page, false), nullptr);
  EXPECT_EQ(memory.load<std::uint64_t>(pd) & dirty, 0u);
  ASSERT_NE(use(page + 0x5000, true), nullptr);
  EXPECT_EQ(memory.load<std::uint64_t>(pd) & dirty, dirty);
  memory.store(pd, present | large);
  space.flush_page(page);
  ASSERT_NE(use(page, false), nullptr);
  EXPECT_EQ(use(page + 0x6000, true), nullptr);
}

TEST_F(AddressSpaceTest, ALargePageIsForgottenWithAllOthersUnlessItIsGlobal) {
  for (const bool is_global : {false, true}) {
    space.set_registers({.paging = true, .long_mode = true, .pae = true, .global = true, .cr3 = pml4});
    map_large(is_global ? writable | global : writable);
    ASSERT_NE(use(page, true), nullptr);
    memory.store(pd, std::uint64_t{0});
    space.flush_non_global();
    EXPECT_EQ(use(page + 0x5000, true) != nullptr, is_global);
    space.flush_all();
    EXPECT_EQ(use(page + 0x6000, true), nullptr);
  }
}

TEST_F(AddressSpaceTest, ALargePageIsKnownToThoseWhoseRightsWereJudged) {
  map_large(writable);
  ASSERT_NE(use(page, true), nullptr);
  EXPECT_FALSE(space.page_for(TlbSet::user, page + 0x5000, false));
}

}  // namespace
}  // namespace cbit
