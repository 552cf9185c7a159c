#include "kernel/dma/swiotlb_pool.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <optional>
#include <thread>
#include <vector>

#include "base/random.hpp"
#include "kernel/dma/swiotlb.hpp"
#include "swiotlb_reference.hpp"
#include "versions.hpp"

namespace cbit::kernel {
namespace {

using testing::ElementsAre;
using Outcome = SwiotlbPool::Outcome;
using Request = SwiotlbPool::Request;

constexpr PhysAddr pool_start{0x4000'0000};
constexpr PhysAddr somewhere{0x1'2345'6000};  // an original that no mask sees

SwiotlbPool make_pool(KernelVersion version = KernelVersion::v6_1, unsigned areas = 1,
                      std::uint64_t slots = 512) {
  return SwiotlbPool{version, {pool_start, slots << io_tlb_shift}, areas};
}

// The CPU's own area first, then the others: swiotlb_find_slots().
SwiotlbPool::Found allocate(SwiotlbPool& pool, const Request& request, unsigned cpu = 0) {
  const SwiotlbPool::Plan plan = pool.plan(request);
  for (unsigned i = 0; i < pool.areas(); ++i) {
    const SwiotlbPool::Found found = pool.allocate((cpu + i) & (pool.areas() - 1), plan);
    if (found.outcome != Outcome::full) return found;
  }
  return {};
}

// A mapping as tbl_map_single makes it where nothing has to be rounded; its address, or nullopt.
std::optional<std::uint64_t> map(SwiotlbPool& pool, PhysAddr orig, std::uint64_t bytes,
                                 std::uint64_t min_align_mask = 0,
                                 std::uint64_t boundary_mask = ~std::uint64_t{0}, unsigned cpu = 0) {
  const std::uint64_t offset = orig.value() & min_align_mask & (io_tlb_size - 1);
  const SwiotlbPool::Found found =
      allocate(pool, {orig, bytes + offset, 0, min_align_mask, boundary_mask}, cpu);
  if (found.outcome != Outcome::found) return std::nullopt;
  const std::uint64_t slots = (bytes + offset + io_tlb_size - 1) / io_tlb_size;
  pool.set_original(found.slot, slots, 0, orig);
  return pool.address_of(found.slot).value() + offset;
}

std::vector<unsigned> lists(const SwiotlbPool& pool, std::uint64_t first, std::uint64_t count) {
  std::vector<unsigned> result;
  for (std::uint64_t i = first; i < first + count; ++i) result.push_back(pool.list(i));
  return result;
}

// ---- placement, 6.1 -------------------------------------------------------------------------------------

TEST(SwiotlbPool, PlacesRequestsOneAfterAnotherAndWholePagesAtPages) {
  SwiotlbPool pool = make_pool();
  std::vector<std::uint64_t> addresses;
  std::vector<std::uint64_t> used;
  for (const std::uint64_t bytes : {512, 512, 4096, 2048, 6000, 1, 262144, 262145}) {
    addresses.push_back(map(pool, somewhere, bytes).value_or(0));
    used.push_back(pool.used());
  }
  EXPECT_THAT(addresses, ElementsAre(0x4000'0000, 0x4000'0800, 0x4000'1000, 0x4000'2000, 0x4000'3000,
                                     0x4000'4800, 0x4004'0000, 0));
  EXPECT_THAT(used, ElementsAre(1, 2, 4, 5, 8, 9, 137, 137));
}

TEST(SwiotlbPool, KeepsTheBitsOfTheOriginalThatTheDeviceAsksFor) {
  SwiotlbPool pool = make_pool();
  EXPECT_EQ(map(pool, PhysAddr{0x1234}, 100, 0xfff), 0x4000'0234);
  EXPECT_EQ(map(pool, PhysAddr{0x1a34}, 100, 0xfff), 0x4000'1a34);
  EXPECT_EQ(map(pool, PhysAddr{0x1234}, 4096, 0xfff), 0x4000'2234);
  EXPECT_EQ(map(pool, PhysAddr{0x2e00}, 1024, 0xfff), 0x4000'4e00);
}

TEST(SwiotlbPool, LetsNoRunCrossTheSegmentBoundary) {
  SwiotlbPool pool = make_pool();
  std::vector<std::uint64_t> slots;
  for (const std::uint64_t bytes : {0xc000, 0x8000, 0x4000, 0x10000, 0x10800}) {
    const auto at = map(pool, somewhere, bytes, 0, 0xffff);
    slots.push_back(at ? pool.slot_of(PhysAddr{*at}) : 9999);
  }
  EXPECT_THAT(slots, ElementsAre(0, 32, 48, 64, 9999));
}

TEST(SwiotlbPool, SearchesFromTheAreaOfTheCpuThroughAllOthers) {
  SwiotlbPool pool = make_pool(KernelVersion::v6_1, 4);
  std::vector<std::uint64_t> slots;
  for (const unsigned cpu : {0, 0, 2, 3, 1}) {
    const auto at = map(pool, somewhere, 262144, 0, ~std::uint64_t{0}, cpu);
    slots.push_back(at ? pool.slot_of(PhysAddr{*at}) : 9999);
  }
  EXPECT_THAT(slots, ElementsAre(0, 128, 256, 384, 9999));
}

TEST(SwiotlbPool, WidensTheStrideToTheAlignmentOfTheAllocation) {
  SwiotlbPool pool = make_pool();
  EXPECT_EQ(allocate(pool, {somewhere, 4096, 0xfff}).slot, 0u);
  EXPECT_EQ(allocate(pool, {somewhere, 4096, 0xfff}).slot, 2u);
}

// ---- placement, 6.6 and 6.10 ----------------------------------------------------------------------------

// "swiotlb: Reinstate page-alignment for mappings >= PAGE_SIZE" is in 6.6.35, too.
TEST(SwiotlbPool, From66OnStartsWholePagesAtPagesUnlessTheDeviceHasAMaskOfItsOwn) {
  for (const KernelVersion version : {KernelVersion::v6_6, KernelVersion::v6_10}) {
    SwiotlbPool pool = make_pool(version);
    EXPECT_EQ(map(pool, PhysAddr{0x1'0000'1800}, 512), 0x4000'0000);
    EXPECT_EQ(map(pool, PhysAddr{0x1'0000'1800}, 4096), 0x4000'1000);
    EXPECT_EQ(map(pool, PhysAddr{0x1'0000'1800}, 2048), 0x4000'2000);
    EXPECT_EQ(map(pool, PhysAddr{0x1'0000'1800}, 4096), 0x4000'3000);
    EXPECT_EQ(map(pool, PhysAddr{0x1'0000'1800}, 4096, 0xfff), 0x4000'4800);
  }
}

// The index is not rounded up to the stride, so (0x1a34, 100) gets slot 1 where 6.1 gives it slot 3.
TEST(SwiotlbPool, In610LooksAtEverySlotForTheDevicesBits) {
  SwiotlbPool pool = make_pool(KernelVersion::v6_10);
  EXPECT_EQ(map(pool, PhysAddr{0x1234}, 100, 0xfff), 0x4000'0234);
  EXPECT_EQ(map(pool, PhysAddr{0x1a34}, 100, 0xfff), 0x4000'0a34);
  EXPECT_EQ(map(pool, PhysAddr{0x1234}, 4096, 0xfff), 0x4000'1234);
  EXPECT_EQ(map(pool, PhysAddr{0x2e00}, 1024, 0xfff), 0x4000'2e00);
  EXPECT_EQ(pool.used(), 7u);
}

TEST(SwiotlbPool, In610TheAlignmentOfTheAllocationIsThatOfTheAddress) {
  SwiotlbPool pool{KernelVersion::v6_10, {PhysAddr{0x4000'1000}, 512 << io_tlb_shift}, 1};
  const SwiotlbPool::Found found = allocate(pool, {somewhere, 0x10000, 0xffff});
  EXPECT_EQ(pool.address_of(found.slot), PhysAddr{0x4001'0000});
  SwiotlbPool older{KernelVersion::v6_1, {PhysAddr{0x4000'1000}, 512 << io_tlb_shift}, 1};
  EXPECT_EQ(allocate(older, {somewhere, 0x10000, 0xffff}).slot, 0u)
      << "6.1 aligns the index, not the address";
}

// ---- limits ---------------------------------------------------------------------------------------------

TEST(SwiotlbPool, RefusesARequestOverTheSegmentLimitEvenWhenEmpty) {
  for (const KernelVersion version : versions) {
    SwiotlbPool pool = make_pool(version);
    EXPECT_EQ(allocate(pool, {somewhere, 262145}).outcome, Outcome::full);
    EXPECT_EQ(allocate(pool, {somewhere, 262144}).outcome, Outcome::found);
    EXPECT_EQ(allocate(pool, {somewhere, ~std::uint64_t{0}}).outcome, Outcome::full);
  }
}

TEST(SwiotlbPool, GivesNoSlotsBeyondTheEndOfAPoolWithAPartialSet) {
  for (const KernelVersion version : versions) {
    SwiotlbPool pool = make_pool(version, 1, 130);
    EXPECT_EQ(pool.list(128), 2u);
    EXPECT_EQ(allocate(pool, {somewhere, 128 * 2048}).slot, 0u);
    EXPECT_EQ(allocate(pool, {somewhere, 3 * 2048}).outcome, Outcome::full);
    EXPECT_EQ(allocate(pool, {somewhere, 2 * 2048}).slot, 128u);
  }
}

TEST(SwiotlbPool, HasNoMoreAreasThanSets) {
  EXPECT_EQ(make_pool(KernelVersion::v6_1, 64, 512).areas(), 4u);
  EXPECT_EQ(make_pool(KernelVersion::v6_10, 64, 8192).areas(), 64u);
  EXPECT_EQ(make_pool(KernelVersion::v6_10, 8, 130).areas(), 1u);
}

// 6.1 with NVMe's mask: originals in the upper half of a page go to odd slots, the search begins at multiples
// of 4.
TEST(SwiotlbPool, In61SearchesForEverWhenItSteppedOverItsStart) {
  SwiotlbPool pool = make_pool();
  const PhysAddr upper_half{0x1'0000'1800};
  for (std::uint64_t slot = 1; slot < 512; slot += 4)
    ASSERT_EQ(map(pool, upper_half, 4096, 0xfff), pool.address_of(slot).value());
  EXPECT_EQ(allocate(pool, {upper_half, 4096, 0, 0xfff}).outcome, Outcome::full) << "the start is slot 0";

  pool.release(pool.address_of(1), 0xfff);
  ASSERT_EQ(map(pool, upper_half, 4096, 0xfff), pool.address_of(1).value());
  EXPECT_EQ(pool.used(), 256u);
  EXPECT_EQ(allocate(pool, {upper_half, 4096, 0, 0xfff}).outcome, Outcome::endless) << "the start is slot 4";
  for (const KernelVersion later : {KernelVersion::v6_6, KernelVersion::v6_10}) {
    SwiotlbPool fixed = make_pool(later);
    while (map(fixed, upper_half, 4096, 0xfff)) {
    }
    fixed.release(fixed.address_of(1), 0xfff);
    ASSERT_TRUE(map(fixed, upper_half, 4096, 0xfff));
    EXPECT_EQ(allocate(fixed, {upper_half, 4096, 0, 0xfff}).outcome, Outcome::full);
  }
}

// ---- release --------------------------------------------------------------------------------------------

TEST(SwiotlbPool, MergesReleasedSlotsWithTheirNeighbours) {
  SwiotlbPool pool = make_pool();
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(map(pool, somewhere, 2048));
  pool.release(pool.address_of(1), 0);
  EXPECT_THAT(lists(pool, 0, 6), ElementsAre(0, 1, 0, 0, 124, 123));
  pool.release(pool.address_of(2), 0);
  EXPECT_THAT(lists(pool, 0, 6), ElementsAre(0, 2, 1, 0, 124, 123));
  EXPECT_EQ(map(pool, somewhere, 2048), pool.address_of(4).value()) << "the cursor does not go back";
}

TEST(SwiotlbPool, DoesNotMergeAcrossSets) {
  SwiotlbPool pool = make_pool();
  ASSERT_TRUE(map(pool, somewhere, 262144));
  EXPECT_THAT(lists(pool, 126, 4), ElementsAre(0, 0, 128, 127));
  pool.release(pool.address_of(0), 0);
  EXPECT_THAT(lists(pool, 126, 4), ElementsAre(2, 1, 128, 127));
}

TEST(SwiotlbPool, FreesTheWholeAllocationAndForgetsWhoseItWas) {
  SwiotlbPool pool = make_pool();
  ASSERT_EQ(map(pool, PhysAddr{0x1234}, 6000, 0xfff), 0x4000'0234);
  EXPECT_EQ(pool.slot(2).orig, PhysAddr{0x1234 + 2 * 2048}) << "not aligned down";
  EXPECT_EQ(pool.slot(2).bytes_left, 6000 - 2 * 2048);
  const auto released = pool.release(PhysAddr{0x4000'0234}, 0xfff);
  EXPECT_EQ(released.slots, 4u);
  EXPECT_EQ(pool.used(), 0u);
  EXPECT_EQ(pool.slot(0).orig, SwiotlbPool::no_address);
  EXPECT_EQ(pool.list(0), 128u);
}

TEST(SwiotlbPool, FreesThePaddingBeforeTheMappingToo) {
  SwiotlbPool pool = make_pool(KernelVersion::v6_10);
  const SwiotlbPool::Found found = allocate(pool, {PhysAddr{0x5e78}, 0x10000, 0xffff, 0xfff});
  ASSERT_EQ(found.slot, 0u);
  pool.set_original(0, 32, 1, PhysAddr{0x5e78});
  EXPECT_EQ(pool.slot(0).orig, SwiotlbPool::no_address);
  EXPECT_EQ(pool.slot(1).orig, PhysAddr{0x5e78});
  const auto released = pool.release(PhysAddr{0x4000'0e78}, 0xfff);
  EXPECT_EQ(released.slot, 0u);
  EXPECT_EQ(released.slots, 32u);
  EXPECT_EQ(pool.used(), 0u);
  EXPECT_EQ(pool.slot(1).pad_slots, 0u);
}

TEST(SwiotlbPool, ASecondReleaseFreesNothing) {
  SwiotlbPool pool = make_pool();
  ASSERT_TRUE(map(pool, somewhere, 4096));
  ASSERT_TRUE(map(pool, somewhere, 4096));
  EXPECT_EQ(pool.release(pool.address_of(0), 0).slots, 2u);
  EXPECT_EQ(pool.release(pool.address_of(0), 0).slots, 0u);
  EXPECT_EQ(pool.used(), 2u);
  EXPECT_THAT(lists(pool, 0, 5), ElementsAre(2, 1, 0, 0, 124));
}

TEST(SwiotlbPool, ReleasingAWrongAddressStaysInsideItsSet) {
  SwiotlbPool pool = make_pool();
  ASSERT_TRUE(map(pool, somewhere, 262144));
  ASSERT_TRUE(map(pool, somewhere, 262144));
  const auto released = pool.release(PhysAddr{0x4003'f8ff}, 0xfff);  // in the set's last slot, with an offset
  EXPECT_EQ(released.slot, 127u);
  EXPECT_EQ(released.slots, 1u);
  EXPECT_EQ(pool.list(128), 0u);
}

// ---- observation ----------------------------------------------------------------------------------------

TEST(SwiotlbPool, KnowsTheLongestRunOfAllAreas) {
  SwiotlbPool pool = make_pool(KernelVersion::v6_1, 4);
  EXPECT_EQ(pool.longest_run(), 128u);
  for (unsigned cpu = 0; cpu < 4; ++cpu)
    ASSERT_TRUE(map(pool, somewhere, 200'000, 0, ~std::uint64_t{0}, cpu));
  EXPECT_EQ(pool.longest_run(), 128u - 98);
  for (unsigned cpu = 0; cpu < 4; ++cpu)
    ASSERT_TRUE(map(pool, somewhere, 30 * 2048, 0, ~std::uint64_t{0}, cpu));
  EXPECT_EQ(pool.longest_run(), 0u);
}

// ---- the search equals the kernel's ---------------------------------------------------------------------

template <class T, std::size_t n>
T pick(Random& random, const T (&values)[n]) {
  return values[random.below(n)];
}

Request random_request(Random& random) {
  static constexpr std::uint64_t align_masks[] = {0,     0,      0xfff,  0xfff,  0x1ff,
                                                  0x7ff, 0x3fff, 0x1000, 0x2800, 0xfffff};
  static constexpr std::uint64_t alloc_masks[] = {0, 0, 0, 0xfff, 0xffff, 0x7ffff, 0x1800};
  static constexpr std::uint64_t boundaries[] = {
      ~std::uint64_t{0}, ~std::uint64_t{0}, 0xffff'ffff, 0xffff, 0x3'ffff, 0xfff, 0x1ff};
  Request request;
  request.min_align_mask = pick(random, align_masks);
  request.alloc_align_mask = pick(random, alloc_masks);
  request.boundary_mask = pick(random, boundaries);
  request.orig = random.below(16) == 0 ? PhysAddr{} : PhysAddr{random.below(1 << 24) << 8};
  const std::uint64_t size = random.below(8) == 0   ? 1 + random.below(270'000)
                             : random.below(2) == 0 ? 4096
                                                    : 1 + random.below(12'000);
  request.bytes = size + (request.orig.value() & request.min_align_mask & 2047);
  return request;
}

// What lives in the pool, to check the invariants against: slot -> (slots, request).
using Live = std::map<std::uint64_t, std::pair<std::uint64_t, Request>>;

void check_placement(const SwiotlbPool& pool, const Live& live, std::uint64_t slot, const Request& request,
                     KernelVersion version) {
  const std::uint64_t slots = (request.bytes + 2047) / 2048;
  ASSERT_EQ(slot / 128, (slot + slots - 1) / 128);
  ASSERT_LE(slot + slots, pool.slots());
  const auto next = live.lower_bound(slot);
  ASSERT_TRUE(next == live.end() || slot + slots <= next->first);
  ASSERT_TRUE(next == live.begin() || std::prev(next)->first + std::prev(next)->second.first <= slot);
  // A boundary below the alignment hides the pool's own bits from the search, as in the kernel.
  if ((request.min_align_mask | request.alloc_align_mask) > request.boundary_mask) return;
  const std::uint64_t at = pool.address_of(slot).value();
  const std::uint64_t same = request.min_align_mask & ~request.alloc_align_mask & ~std::uint64_t{2047};
  if (request.orig != PhysAddr{}) {
    ASSERT_EQ(at & same, request.orig.value() & same);
  }
  if (version == KernelVersion::v6_10) {
    ASSERT_EQ(at & request.alloc_align_mask, 0u);
  }
}

void run_against_reference(std::uint64_t seed, unsigned steps) {
  Random random{seed};
  const KernelVersion version = pick(random, versions);
  const unsigned areas = 1u << random.below(4);
  std::uint64_t slots = areas * 128 * (1 + random.below(4));
  if (areas == 1) slots = 1 + random.below(slots);
  const PhysAddr start{0x4000'0000 + random.below(1024) * page_size};
  SwiotlbPool pool{version, {start, slots * 2048}, areas};
  NaivePool naive{version, start.value(), slots, areas};
  Live live;
  const std::uint64_t releases_in_16 = 4 + random.below(8);
  for (unsigned step = 0; step < steps; ++step) {
    if (!live.empty() && random.below(16) < releases_in_16) {
      const auto victim = std::next(live.begin(), static_cast<std::ptrdiff_t>(random.below(live.size())));
      const Request& request = victim->second.second;
      const std::uint64_t offset = request.orig.value() & request.min_align_mask & 2047;
      const auto released = pool.release(pool.address_of(victim->first) + offset, request.min_align_mask);
      ASSERT_EQ(released.slot, victim->first);
      ASSERT_EQ(released.slots, naive.release(victim->first, offset));
      live.erase(victim);
    } else {
      const Request request = random_request(random);
      const auto area = static_cast<unsigned>(random.below(areas));
      const SwiotlbPool::Found expected = naive.allocate(area, request);
      const SwiotlbPool::Found found = pool.allocate(area, pool.plan(request));
      ASSERT_EQ(found.outcome, expected.outcome);
      if (found.outcome != Outcome::found) continue;
      ASSERT_EQ(found.slot, expected.slot);
      check_placement(pool, live, found.slot, request, version);
      live.emplace(found.slot, std::pair{(request.bytes + 2047) / 2048, request});
    }
    const std::uint64_t looked_at = random.below(slots);
    ASSERT_EQ(pool.list(looked_at), naive.list(looked_at));
  }
  for (unsigned n = 0; n < areas; ++n) {
    ASSERT_EQ(pool.area(n).used, naive.used(n));
    ASSERT_EQ(pool.area(n).index, naive.index(n));
  }
  for (std::uint64_t slot = 0; slot < slots; ++slot) ASSERT_EQ(pool.list(slot), naive.list(slot));
}

TEST(SwiotlbPool, TakesTheSameSlotsAsASearchSlotBySlot) {
  for (std::uint64_t seed = 0; seed < 500 && !HasFatalFailure(); ++seed) {
    SCOPED_TRACE(seed);
    run_against_reference(seed, 1000);
  }
}

// ---- threads --------------------------------------------------------------------------------------------

// Four threads on two areas: every slot has one owner at a time.
TEST(SwiotlbPoolThreads, NeverGiveOneSlotToTwo) {
  SwiotlbPool pool = make_pool(KernelVersion::v6_10, 2, 1024);
  std::vector<std::atomic<int>> owners(pool.slots());
  std::atomic<bool> shared_slot = false;
  const auto work = [&](unsigned cpu) {
    Random random{cpu};
    std::vector<std::pair<std::uint64_t, std::uint64_t>> mine;
    const auto release_last = [&] {
      const auto [slot, slots] = mine.back();
      mine.pop_back();
      for (std::uint64_t s = slot; s < slot + slots; ++s) owners[s] = 0;
      pool.release(pool.address_of(slot), 0);
    };
    for (int i = 0; i < 20'000; ++i) {
      if (mine.size() > 40 || (!mine.empty() && random.below(2) == 0)) {
        release_last();
        continue;
      }
      const std::uint64_t slots = 1 + random.below(8);
      const SwiotlbPool::Found found = allocate(pool, {somewhere, slots * 2048}, cpu);
      if (found.outcome != Outcome::found) continue;
      for (std::uint64_t s = found.slot; s < found.slot + slots; ++s)
        if (owners[s].exchange(1) != 0) shared_slot = true;
      mine.emplace_back(found.slot, slots);
    }
    while (!mine.empty()) release_last();
  };
  std::vector<std::thread> threads;
  for (unsigned cpu = 0; cpu < 4; ++cpu) threads.emplace_back(work, cpu);
  for (std::thread& thread : threads) thread.join();
  EXPECT_FALSE(shared_slot);
  EXPECT_EQ(pool.used(), 0u);
}

}  // namespace
}  // namespace cbit::kernel
