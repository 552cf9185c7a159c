// Processes: areas, demand faults, fork, pinning, limits.
#include "kernel/mm/process.hpp"

#include <gtest/gtest.h>

#include <cerrno>

#include "dma_board.hpp"

namespace cbit::kernel {
namespace {

constexpr machine::MachineConfig small{.memory_bytes = 64ull << 20};

class ProcessOn : public testing::TestWithParam<Platform> {
 protected:
  Bytes read(Process& reader, VirtAddr at, std::uint64_t bytes = 16) {
    Bytes seen(bytes);
    EXPECT_TRUE(reader.read(at, seen));
    return seen;
  }
  UserPages& pages() { return board.kernel->mm().user_pages(); }

  DmaBoard board{GetParam(), {}, small};
  std::unique_ptr<Process> process = Process::create(*board.kernel).value();
};

INSTANTIATE_TEST_SUITE_P(Platforms, ProcessOn, testing::ValuesIn(platforms), [](const auto& of) {
  std::string name{to_string(of.param)};
  std::erase(name, '-');
  return name;
});

TEST_P(ProcessOn, GetsZeroedPagesOnFirstTouchOnly) {
  const VirtAddr at = process->mmap(3 * page_size).value();
  EXPECT_EQ(pages().size(), 0u);
  EXPECT_EQ(read(*process, at + page_size), Bytes(16));
  EXPECT_EQ(pages().size(), 1u);
  EXPECT_FALSE(process->page_at(at));
}

TEST_P(ProcessOn, ReadsWhatItWroteAcrossPages) {
  const VirtAddr at = process->mmap(2 * page_size).value();
  const Bytes data = pattern_bytes(100, 1);
  ASSERT_TRUE(process->write(at + page_size - 50, data));
  EXPECT_EQ(read(*process, at + page_size - 50, 100), data);
}

TEST_P(ProcessOn, HasItsMemoryEncryptedWherePlatformsDo) {
  const VirtAddr at = process->mmap(page_size).value();
  const Bytes data = pattern_bytes(16, 2);
  ASSERT_TRUE(process->write(at, data));
  Bytes dram(16);
  ASSERT_TRUE(board.machine->memory().probe(*process->page_at(at), dram));
  EXPECT_EQ(dram == data, !is_encrypted(GetParam()));
}

TEST_P(ProcessOn, ReturnsEverythingAtItsEnd) {
  const std::uint64_t before = board.kernel->mm().page_allocator().free_pages();
  {
    const auto other = Process::create(*board.kernel).value();
    const VirtAddr at = other->mmap(8 * page_size).value();
    ASSERT_TRUE(other->write(at, Bytes(8 * page_size, std::byte{1})));
    const auto child = other->fork().value();
    ASSERT_TRUE(child->write(at, Bytes(page_size, std::byte{2})));
  }
  EXPECT_EQ(board.kernel->mm().page_allocator().free_pages(), before);
}

TEST_P(ProcessOn, SharesPagesWithItsChildUntilOneWrites) {
  const VirtAddr at = process->mmap(2 * page_size).value();
  ASSERT_TRUE(process->write(at, pattern_bytes(2 * page_size, 3)));
  const auto child = process->fork().value();
  EXPECT_EQ(child->page_at(at), process->page_at(at));
  EXPECT_EQ(read(*child, at, 2 * page_size), pattern_bytes(2 * page_size, 3));
  ASSERT_TRUE(child->write(at, pattern_bytes(16, 4)));
  EXPECT_NE(child->page_at(at), process->page_at(at));
  EXPECT_EQ(child->page_at(at + page_size), process->page_at(at + page_size));
  EXPECT_EQ(read(*process, at, 2 * page_size), pattern_bytes(2 * page_size, 3));
  EXPECT_NE(read(*process, at), read(*child, at));
  EXPECT_EQ(read(*process, at + 16), read(*child, at + 16));
}

TEST_P(ProcessOn, KeepsItsPinnedPagesAtForkAndGivesTheChildCopies) {
  const VirtAddr at = process->mmap(page_size).value();
  ASSERT_TRUE(process->write(at, pattern_bytes(page_size, 5)));
  const auto pinned = process->pin_user_pages(at, 1, true).value();
  const auto child = process->fork().value();
  EXPECT_NE(child->page_at(at), pinned[0]);
  EXPECT_EQ(read(*child, at, page_size), pattern_bytes(page_size, 5));
  ASSERT_TRUE(process->write(at, pattern_bytes(16, 6)));
  EXPECT_EQ(process->page_at(at), pinned[0]);
  process->unpin_user_pages(pinned, true);
}

TEST_P(ProcessOn, PinsPagesThatOutliveTheirMapping) {
  const VirtAddr at = process->mmap(2 * page_size).value();
  const auto pinned = process->pin_user_pages(at, 2, true).value();
  ASSERT_EQ(pinned.size(), 2u);
  ASSERT_TRUE(process->munmap(at, 2 * page_size));
  EXPECT_EQ(pages().size(), 2u);
  EXPECT_EQ(pages().pins(pinned[1]), 1u);
  process->unpin_user_pages(pinned, true);
  EXPECT_EQ(pages().size(), 0u);
}

TEST(Process, GivesTheSystemCallsErrors) {
  DmaBoard board{Platform::plain, {}, small};
  const auto process = Process::create(*board.kernel).value();
  EXPECT_EQ(process->mmap(0).error(), EINVAL);
  EXPECT_EQ(process->mmap(~std::uint64_t{0}).error(), ENOMEM);
  EXPECT_EQ(process->mmap(1ull << 47).error(), ENOMEM);
  const VirtAddr at = process->mmap(4 * page_size).value();
  EXPECT_EQ(process->munmap(at + 1, page_size).error(), EINVAL);
  EXPECT_EQ(process->munmap(at, 0).error(), EINVAL);
  EXPECT_EQ(process->munmap(at, 1ull << 47).error(), EINVAL);
  EXPECT_TRUE(process->munmap(at + 64 * page_size, page_size));
  EXPECT_EQ(process->mprotect(at + 1, page_size, prot_read).error(), EINVAL);
  EXPECT_EQ(process->mprotect(at, 5 * page_size, prot_read).error(), ENOMEM);
  EXPECT_FALSE(process->write(at, Bytes(1)));  // the areas before the hole have changed
  EXPECT_EQ(process->pin_user_pages(at, 1, true).error(), EFAULT);
  EXPECT_EQ(process->pin_user_pages(at, 5, false).error(), EFAULT);
  EXPECT_EQ(process->pin_user_pages(VirtAddr{~std::uint64_t{0}}, 2, false).error(), EFAULT);
  EXPECT_EQ(board.kernel->mm().user_pages().pins(*process->page_at(at)), 0u);
}

TEST(Process, SplitsAndMergesAreas) {
  DmaBoard board{Platform::plain, {}, small};
  const auto process = Process::create(*board.kernel).value();
  const VirtAddr at = process->mmap(4 * page_size).value();
  ASSERT_TRUE(process->write(at, pattern_bytes(4 * page_size, 1)));
  ASSERT_TRUE(process->mprotect(at + page_size, page_size, prot_none));
  EXPECT_EQ(process->areas().areas().size(), 3u);
  Bytes one(1);
  EXPECT_FALSE(process->read(at + page_size, one));
  ASSERT_TRUE(process->mprotect(at + page_size, page_size, prot_read_write));
  EXPECT_EQ(process->areas().areas().size(), 1u);
  Bytes all(4 * page_size);
  ASSERT_TRUE(process->read(at, all));
  EXPECT_EQ(all, pattern_bytes(4 * page_size, 1));
}

TEST(Process, FaultsWhereItHasNoAreaAndSaysSo) {
  DmaBoard board{Platform::plain, {}, small};
  const auto process = Process::create(*board.kernel).value();
  const VirtAddr at = process->mmap(page_size).value();
  ASSERT_TRUE(process->munmap(at, page_size));
  Bytes one(1);
  EXPECT_EQ(process->read(at, one).error().kind, FaultKind::not_present);
  EXPECT_EQ(board.log.all<AccessFault>().size(), 1u);
}

TEST(Process, StaysWithinItsMemlockLimit) {
  DmaBoard board{Platform::plain, {}, small};
  const auto limited = Process::create(*board.kernel, {.memlock_bytes = 2 * page_size}).value();
  ASSERT_TRUE(limited->account_pinned(2));
  EXPECT_EQ(limited->account_pinned(1).error(), ENOMEM);
  limited->unaccount_pinned(1);
  EXPECT_TRUE(limited->account_pinned(1));
  EXPECT_EQ(limited->account_pinned(~std::uint64_t{0}).error(), ENOMEM);
  const auto able = Process::create(*board.kernel, {.memlock_bytes = 0, .cap_ipc_lock = true}).value();
  EXPECT_TRUE(able->account_pinned(1000));
}

// ---- discarding ----

TEST_P(ProcessOn, GetsNewPagesForDiscardedOnesWhileADriverKeepsWhatItPinned) {
  const VirtAddr at = process->mmap(2 * page_size).value();
  const Bytes data = pattern_bytes(16, 6);
  ASSERT_TRUE(process->write(at, data));
  ASSERT_TRUE(process->write(at + page_size, data));
  const auto pinned = process->pin_user_pages(at, 1, true).value();
  ASSERT_TRUE(process->madvise_dontneed(at, 2 * page_size));
  EXPECT_EQ(pages().size(), 1u);  // the pinned one, which is nobody's mapping any more
  EXPECT_EQ(read(*process, at), Bytes(16));
  EXPECT_NE(*process->page_at(at), pinned[0]);
  const auto discarded = board.log.all<PageDiscarded>();
  ASSERT_EQ(discarded.size(), 2u);
  EXPECT_EQ(discarded[0].pins, 1u);
  EXPECT_EQ(discarded[1].pins, 0u);
  process->unpin_user_pages(pinned, true);

  EXPECT_EQ(process->madvise_dontneed(at + 1, page_size).error(), EINVAL);
  EXPECT_EQ(process->madvise_dontneed(at, 3 * page_size).error(), ENOMEM);
}

// ---- protection keys ----

TEST_P(ProcessOn, ObeysPkruInLoadsStoresAndPins) {
  const VirtAddr at = process->mmap(2 * page_size).value();
  const Bytes data = pattern_bytes(16, 4);
  ASSERT_TRUE(process->write(at, data));
  const ProtectionKey pkey = process->pkey_alloc({.no_write = true}).value();
  ASSERT_TRUE(process->pkey_mprotect(at, page_size, prot_read_write, pkey));
  EXPECT_EQ(read(*process, at), data);
  EXPECT_EQ(process->write(at, data).error(), (Fault{FaultKind::protection, at.value(), true}));
  EXPECT_EQ(process->pin_user_pages(at, 1, true).error(), EFAULT);
  EXPECT_TRUE(process->write(at + page_size, data));

  process->write_pkru(pkey, {.no_access = true});
  Bytes seen(16);
  EXPECT_EQ(process->read(at, seen).error(), (Fault{FaultKind::protection, at.value(), false}));
  process->write_pkru(pkey, {});
  EXPECT_TRUE(process->write(at, data));
}

TEST_P(ProcessOn, HasFifteenProtectionKeysAndRefusesOthers) {
  const VirtAddr at = process->mmap(page_size).value();
  EXPECT_EQ(process->pkey_mprotect(at, page_size, prot_read_write, 1).error(), EINVAL);
  for (ProtectionKey pkey = 1; pkey <= 15; ++pkey) EXPECT_EQ(process->pkey_alloc({}).value(), pkey);
  EXPECT_EQ(process->pkey_alloc({}).error(), ENOSPC);
  EXPECT_EQ(process->pkey_mprotect(at, page_size, prot_read_write, 16).error(), EINVAL);
  ASSERT_TRUE(process->pkey_mprotect(at, page_size, prot_read_write, 7));
  ASSERT_TRUE(process->pkey_free(7));
  EXPECT_EQ(process->pkey_free(7).error(), EINVAL);
  EXPECT_EQ(process->areas().find(at)->pkey, 7);  // the area keeps it
  EXPECT_EQ(process->pkey_alloc({}).value(), 7);
}

TEST_P(ProcessOn, KeepsAreasOfDifferentProtectionKeysApartAndForksThem) {
  const VirtAddr at = process->mmap(3 * page_size).value();
  const ProtectionKey pkey = process->pkey_alloc({.no_access = true}).value();
  ASSERT_TRUE(process->pkey_mprotect(at + page_size, page_size, prot_read_write, pkey));
  EXPECT_EQ(process->areas().areas().size(), 3u);
  ASSERT_TRUE(process->mprotect(at, 3 * page_size, prot_read_write));  // without one: each keeps its own
  EXPECT_EQ(process->areas().areas().size(), 3u);
  const auto child = process->fork().value();
  Bytes seen(16);
  EXPECT_FALSE(child->read(at + page_size, seen));
  EXPECT_TRUE(child->read(at, seen));
  ASSERT_TRUE(process->pkey_mprotect(at, 3 * page_size, prot_read_write, 0));
  EXPECT_EQ(process->areas().areas().size(), 1u);
}

}  // namespace
}  // namespace cbit::kernel
