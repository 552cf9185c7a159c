// A secure guest on POWER: what Linux knows of it, what an ultracall does to pages, and its two DMA windows.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "unit/system/kernel/virtio_board.hpp"

namespace cbit::kernel {
namespace {

using ::testing::Each;

std::vector<std::string> exits(const DmaBoard& board) {
  std::vector<std::string> reasons;
  for (const auto& exit : board.log.all<GuestExit>()) reasons.emplace_back(exit.reason);
  return reasons;
}

bool is_zero(const Bytes& bytes) {
  return std::ranges::all_of(bytes, [](std::byte b) { return b == std::byte{0}; });
}

TEST(SecurePowerGuest, KnowsMemoryEncryptionAndNoGuestAttribute) {
  DmaBoard board{Platform::pef, small_pool, small_guest};
  const CcPlatform& cc = board.kernel->cc();
  EXPECT_TRUE(cc.has(CcAttr::mem_encrypt));
  for (const CcAttr attr : {CcAttr::guest_mem_encrypt, CcAttr::host_mem_encrypt, CcAttr::guest_state_encrypt})
    EXPECT_FALSE(cc.has(attr));
  EXPECT_EQ(cc.me_mask(), 0u) << "no bit of an address";
  EXPECT_TRUE(cc.shares_all_dma());
  EXPECT_FALSE(cc.forces_swiotlb());
  EXPECT_TRUE(cc.force_dma_unencrypted(board.add_device()));
}

TEST(SecurePowerGuest, ShareAndUnshareZeroThePagesAndAreOneUltracallEach) {
  DmaBoard board{Platform::pef, small_pool, small_guest};
  const auto buffer = board.buffer(2 * page_size, 1);
  EXPECT_NE(board.raw(buffer.phys, page_size), board.plain(buffer.phys, page_size)) << "secure: ciphertext";
  board.log.clear();

  ASSERT_TRUE(board.kernel->mm().set_memory_decrypted(board.cpu(), buffer.at, 2));
  EXPECT_EQ(exits(board), std::vector<std::string>{"UV_SHARE_PAGE"});
  EXPECT_EQ(board.log.all<GuestExit>()[0].argument, buffer.phys.page_number());
  EXPECT_TRUE(is_zero(board.seen(buffer)));
  EXPECT_TRUE(is_zero(board.raw(buffer.phys, 2 * page_size))) << "the hypervisor reads what the guest reads";

  ASSERT_TRUE(board.cpu().write(buffer.at, pattern_bytes(page_size, 2)));
  EXPECT_EQ(board.raw(buffer.phys, page_size), pattern_bytes(page_size, 2));
  ASSERT_TRUE(board.kernel->mm().set_memory_encrypted(board.cpu(), buffer.at, 2));
  EXPECT_TRUE(is_zero(board.seen(buffer)));
  EXPECT_FALSE(is_zero(board.raw(buffer.phys, page_size)));
  EXPECT_EQ(exits(board).back(), "UV_UNSHARE_PAGE");
}

// The ultravisor's table has the state: no entry of the guest's own tables carries a bit.
TEST(SecurePowerGuest, EveryMappingOfAPageIsSharedWithItWhateverItsProtection) {
  DmaBoard board{Platform::pef, small_pool, small_guest};
  Mm& mm = board.kernel->mm();
  const auto buffer = board.buffer(page_size, 1);
  const VirtAddr before = mm.vmap({buffer.phys}, 1).value();
  ASSERT_TRUE(board.cpu().load<std::uint64_t>(before)) << "what a TLB would keep";
  ASSERT_TRUE(mm.set_memory_decrypted(board.cpu(), buffer.at, 1));
  const VirtAddr after = mm.vmap({buffer.phys}, 1).value();
  const auto process = mm.create_user_space().value();
  const VirtAddr user = process->remap_pfn_range(buffer.phys, 1, 1).value();

  ASSERT_TRUE(board.cpu().write(before, pattern_bytes(page_size, 2)));
  Bytes seen(page_size);
  for (const VirtAddr alias : {buffer.at, after}) {
    ASSERT_TRUE(board.cpu().read(alias, seen));
    EXPECT_EQ(seen, pattern_bytes(page_size, 2)) << alias.value();
  }
  ASSERT_TRUE(process->mmu().read(user, seen));
  EXPECT_EQ(seen, pattern_bytes(page_size, 2));
  EXPECT_EQ(board.raw(buffer.phys, page_size), pattern_bytes(page_size, 2)) << "and with the host";

  ASSERT_TRUE(mm.set_memory_encrypted(board.cpu(), buffer.at, 1));
  ASSERT_TRUE(process->mmu().write(user, pattern_bytes(page_size, 3)));
  EXPECT_EQ(board.seen(buffer), pattern_bytes(page_size, 3));
  EXPECT_NE(board.raw(buffer.phys, page_size), pattern_bytes(page_size, 3)) << "secure again: ciphertext";
}

TEST(SecurePowerGuest, LinuxDoesNotNoticeARefusedUltracall) {
  DmaBoard board{Platform::pef, small_pool, small_guest};
  const auto buffer = board.buffer(page_size, 1);
  board.kernel->mm().fail_conversion_after(1);
  EXPECT_TRUE(board.kernel->mm().set_memory_decrypted(board.cpu(), buffer.at, 1));
  EXPECT_EQ(board.seen(buffer), pattern_bytes(page_size, 1));
  EXPECT_NE(board.raw(buffer.phys, page_size), pattern_bytes(page_size, 1)) << "the page is secure as before";
}

TEST(SecurePowerGuest, AnAddressWithinAPageIsRefused) {
  DmaBoard board{Platform::pef, small_pool, small_guest};
  const auto buffer = board.buffer(page_size, 1);
  board.log.clear();
  EXPECT_FALSE(board.kernel->mm().set_memory_decrypted(board.cpu(), buffer.at + 64, 1));
  EXPECT_TRUE(exits(board).empty());
}

// init_svm() asks for SWIOTLB_FORCE when swiotlb_init() has been called with 0: only swiotlb=force helps.
TEST(SecurePowerGuest, StreamingMappingsBounceOnlyWhereTheCommandLineForcesThem) {
  for (const bool force : {false, true}) {
    DmaBoard board{Platform::pef, {}, {.memory_bytes = 2 * gib}, force};
    EXPECT_EQ(board.dma().swiotlb() != nullptr, force);
    Device& dev = board.add_device();
    const auto buffer = board.buffer(page_size, 1);
    const DmaAddr at =
        board.dma().map_single(board.cpu(), dev, buffer.at, page_size, DmaDirection::to_device);
    ASSERT_FALSE(board.dma().mapping_error(dev, at));
    EXPECT_EQ(board.bounced(dev, at), force);
    bus::DmaPort port = board.port(dev);
    EXPECT_EQ(board.read_by(port, at, page_size) == pattern_bytes(page_size, 1), force);
    board.dma().unmap_single(board.cpu(), dev, at, page_size, DmaDirection::to_device);
  }
}

// CONFIG_DMA_COHERENT_POOL is selected by x86's AMD_MEM_ENCRYPT, and by nothing on POWER.
TEST(SecurePowerGuest, HasNoAtomicPools) {
  DmaBoard board{Platform::pef, small_pool, small_guest};
  Device& dev = board.add_device();
  EXPECT_EQ(board.dma().atomic_pools().kernel, 0u);
  EXPECT_FALSE(board.dma().alloc(board.cpu(), dev, page_size, true));
  EXPECT_TRUE(board.dma().alloc(board.cpu(), dev, page_size, false));
}

// The default window: dma_iommu_ops put secure pages into the TCE table, each entry a hypercall.
TEST(SecurePowerGuest, TranslatedWindowCostsAHypercallPerEntryAndDoesNotBounce) {
  DmaBoard board{Platform::pef, {.iommu = IommuMode::translated}, small_guest};
  Device& dev = board.add_device();
  const auto buffer = board.buffer(page_size, 1);
  board.log.clear();
  const DmaAddr at = board.dma().map_single(board.cpu(), dev, buffer.at, page_size, DmaDirection::to_device);
  ASSERT_FALSE(board.dma().mapping_error(dev, at));
  EXPECT_EQ(exits(board), std::vector<std::string>{"H_PUT_TCE"});
  EXPECT_FALSE(board.bounced(dev, at));
  bus::DmaPort port = board.port(dev);
  EXPECT_NE(board.read_by(port, at, page_size), pattern_bytes(page_size, 1)) << "ciphertext";
  board.dma().unmap_single(board.cpu(), dev, at, page_size, DmaDirection::to_device);
  EXPECT_EQ(exits(board).back(), "H_STUFF_TCE");
}

// The dynamic window maps all memory once; afterwards dma-direct bounces and nothing exits.
TEST(SecurePowerGuest, DirectWindowIsMadeOnceAndTranslatesNothing) {
  DmaBoard board{Platform::pef, {.iommu = IommuMode::passthrough}, small_guest};
  board.log.clear();
  Device& dev = board.add_device();
  EXPECT_EQ(exits(board).size(), small_guest.memory_bytes / (512 * 65536));
  EXPECT_THAT(exits(board), Each(std::string{"H_PUT_TCE_INDIRECT"}));
  board.log.clear();
  (void)board.add_device();
  const auto buffer = board.buffer(page_size, 1);
  const DmaAddr at = board.dma().map_single(board.cpu(), dev, buffer.at, page_size, DmaDirection::to_device);
  EXPECT_TRUE(board.bounced(dev, at));
  EXPECT_TRUE(exits(board).empty());
  board.dma().unmap_single(board.cpu(), dev, at, page_size, DmaDirection::to_device);
}

// Linux 6.1 installs the restricted-access callback on x86 and Xen only.
TEST(SecurePowerGuest, DeviceWithoutAccessPlatformIsProbedAndReadsCiphertext) {
  dev::VirtioBlkOptions options;
  options.virtio.iommu_platform = false;
  VirtioDisk board{Platform::pef, options};
  EXPECT_EQ(board.probe(), 0x0f);
  const auto buffer = board.buffer(page_size, 1);
  EXPECT_FALSE(board.driver->write(board.cpu(), 0, buffer.at, page_size));
}

}  // namespace
}  // namespace cbit::kernel
