// TTM and its drivers: pages, attributes, moves, faults, and what must not happen.
#include <gtest/gtest.h>

#include "kernel/drm/drm_cache.hpp"
#include "kernel/drm/gpu_driver.hpp"
#include "unit/system/kernel/dma_board.hpp"

namespace cbit::kernel {
namespace {

struct GpuBox : DmaBoard {
  explicit GpuBox(Platform platform, GpuDriverOptions options = {}, IommuMode iommu = IommuMode::none,
                  mem::CacheModel cache = mem::CacheModel::coherent)
      : DmaBoard{platform, {.iommu = iommu}, {.memory_bytes = 8 * gib, .cache = cache}},
        dev{add_device(options.mask_bits)},
        card{machine::plug_gpu(*machine, {.device = dev.name, .requester = dev.requester}, 1 << 20)},
        driver{GpuDriver::probe(*kernel, dev, card, options).value()} {}

  TtmDevice& ttm() { return driver->ttm(); }
  TtmBo& make(std::uint64_t pages, TtmPlacement placement = TtmPlacement::tt,
              paging::PageCaching caching = paging::PageCaching::write_back) {
    return *ttm().bo_init(cpu(), {pages * page_size, placement, caching}).value();
  }
  // The object's contents as the GPU, and as the kernel's direct map, have them.
  Bytes gpu_sees(const TtmBo& bo) {
    Bytes seen(bo.bytes);
    EXPECT_TRUE(driver->gpu().load(driver->address(bo).value(), seen));
    return seen;
  }
  void gpu_writes(const TtmBo& bo, ConstByteSpan data) {
    EXPECT_TRUE(driver->gpu().store(driver->address(bo).value(), data));
  }
  mem::KeySelector selector(VirtAddr at) {
    return cpu().translate(at, paging::Intent::read).value().selector;
  }

  Device& dev;
  machine::GpuCard card;
  std::unique_ptr<GpuDriver> driver;
};

GpuDriverOptions vmwgfx(TtmPolicy policy = TtmPolicy::fixed, VmwMapMode mode = VmwMapMode::select) {
  return {.kind = GpuDriverKind::vmwgfx, .policy = policy, .map_mode = mode};
}

TEST(DrmNeedSwiotlb, IsKeyedOnMemoryEncryptionAndNotOnTheGuest) {
  for (const auto& [platform, needed] :
       {std::pair{Platform::plain, false}, {Platform::sme, true}, {Platform::sev, true}}) {
    DmaBoard box{platform};
    EXPECT_EQ(drm_need_swiotlb(*box.kernel, 44), needed);
    EXPECT_EQ(drm_need_swiotlb(*box.kernel, 64), needed);
    EXPECT_TRUE(drm_need_swiotlb(*box.kernel, 32));  // 8 GiB of RAM
  }
}

TEST(Ttm, FixedKernelDecryptsInGuestsAndOnlyThere) {
  for (const auto& [platform, decrypted] :
       {std::pair{Platform::plain, false}, {Platform::sme, false}, {Platform::sev, true}}) {
    GpuBox box{platform, {.mask_bits = 44}};
    EXPECT_EQ(box.make(1).tt.decrypted, decrypted);
    EXPECT_EQ(box.log.all<KernelMessage>().size(), decrypted ? 1u : 0u);
    (void)box.make(1);  // said once
    EXPECT_EQ(box.log.all<KernelMessage>().size(), decrypted ? 1u : 0u);
  }
}

TEST(Ttm, AskingTheDmaLayerGivesEveryMappingTheDirectMapsAttribute) {
  struct Case {
    Platform platform;
    unsigned mask;
    IommuMode iommu;
  };
  for (const auto& [platform, mask, iommu] : {Case{Platform::sev, 64, IommuMode::none},
                                              {Platform::sme, 64, IommuMode::none},
                                              {Platform::sme, 40, IommuMode::none},
                                              {Platform::sme, 40, IommuMode::translated},
                                              {Platform::plain, 64, IommuMode::none}}) {
    GpuBox box{platform, {.mask_bits = mask, .policy = TtmPolicy::ask_dma}, iommu};
    TtmBo& bo = box.make(3);
    const VirtAddr at = box.ttm().vmap(box.cpu(), bo).value();
    for (std::uint64_t i = 0; i < 3; ++i)
      EXPECT_EQ(box.selector(at + i * page_size),
                box.selector(box.kernel->mm().phys_to_virt(bo.tt.pages[i])));
    box.ttm().vunmap(bo, at);
  }
}

TEST(TtmPool, TakesTheLargestBlocksFirst) {
  GpuBox box{Platform::sev, vmwgfx()};
  const TtmBo& bo = box.make(7);
  std::vector<unsigned> orders;
  for (const TtmBlock& block : bo.tt.blocks) orders.push_back(block.order);
  EXPECT_EQ(orders, (std::vector<unsigned>{2, 1, 0}));
  EXPECT_EQ(bo.tt.pages.size(), 7u);
  EXPECT_EQ(bo.tt.dma_address.size(), 7u);
}

TEST(TtmPool, ClearsWhatComesBackAndConvertsNothingTwice) {
  GpuBox box{Platform::sev, vmwgfx()};
  TtmBo& first = box.make(4);
  box.gpu_writes(first, pattern_bytes(4 * page_size, 1));
  const std::uint64_t converted = box.kernel->mm().conversion_cost().pages;
  box.ttm().bo_put(box.cpu(), first);
  EXPECT_EQ(box.ttm().pool().pages_on_shelves(), 4u);
  TtmBo& second = box.make(4);
  EXPECT_EQ(box.ttm().pool().blocks_reused(), 1u);
  EXPECT_EQ(box.gpu_sees(second), Bytes(4 * page_size));
  EXPECT_EQ(box.kernel->mm().conversion_cost().pages, converted);
}

TEST(TtmPool, KeepsCachedPagesOnlyWhenTheyCameFromTheDmaApi) {
  GpuBox box{Platform::sme, {.use_dma_alloc = false}};
  box.ttm().bo_put(box.cpu(), box.make(2));
  EXPECT_EQ(box.ttm().pool().pages_on_shelves(), 0u);
  box.ttm().bo_put(box.cpu(), box.make(2, TtmPlacement::tt, paging::PageCaching::write_combined));
  EXPECT_EQ(box.ttm().pool().pages_on_shelves(), 2u);
}

TEST(TtmPool, ChangesTheDirectMapsCachingAndBack) {
  GpuBox box{Platform::sme, {.use_dma_alloc = false}};
  const auto entry = [&](PhysAddr page) {
    return box.cpu().translate(box.kernel->mm().phys_to_virt(page), paging::Intent::read).value().entry;
  };
  TtmBo& bo = box.make(1, TtmPlacement::tt, paging::PageCaching::write_combined);
  const PhysAddr page = bo.tt.pages[0];
  EXPECT_TRUE(entry(page).get<paging::Pte::WriteThrough>());
  EXPECT_FALSE(entry(page).get<paging::Pte::CacheDisable>());
  EXPECT_FALSE(entry(page + page_size).get<paging::Pte::WriteThrough>());
  box.ttm().bo_put(box.cpu(), bo);
  EXPECT_TRUE(entry(page).get<paging::Pte::WriteThrough>());  // it waits for the next one
  box.driver.reset();
  EXPECT_FALSE(entry(page).get<paging::Pte::WriteThrough>());
}

TEST(TtmPool, ReturnsEverything) {
  DmaBoard board{Platform::sev};
  Device& dev = board.add_device(64);
  const machine::GpuCard card =
      machine::plug_gpu(*board.machine, {.device = dev.name, .requester = dev.requester}, 1 << 20);
  for (const GpuDriverKind kind : {GpuDriverKind::amdgpu, GpuDriverKind::vmwgfx, GpuDriverKind::shadow}) {
    const auto once = [&] {
      auto driver = GpuDriver::probe(*board.kernel, dev, card, {.kind = kind}).value();
      TtmBo& bo = **driver->ttm().bo_init(board.cpu(), {5 * page_size, TtmPlacement::tt});
      EXPECT_EQ(driver->ttm().swapout(board.cpu(), bo), 5u);
      (void)driver->ttm().bo_init(board.cpu(), {3 * page_size, TtmPlacement::tt}).value();
    };
    once();  // page tables stay
    const std::uint64_t free_pages = board.kernel->mm().page_allocator().free_pages();
    once();
    EXPECT_EQ(board.kernel->mm().page_allocator().free_pages(), free_pages) << to_string(kind);
    EXPECT_EQ(board.dma().release(dev), 0u);
  }
}

TEST(TtmPool, FailsWhereABlockCannotBeBouncedAndGivesBackTheRest) {
  GpuBox box{Platform::sev, {.use_dma_alloc = false}};
  const std::uint64_t free_pages = box.kernel->mm().page_allocator().free_pages();
  const auto made = box.ttm().bo_init(box.cpu(), {128 * page_size, TtmPlacement::tt});
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error(), Errno::efault);
  EXPECT_EQ(box.kernel->mm().page_allocator().free_pages(), free_pages);
  EXPECT_EQ(box.dma().release(box.dev), 0u);
}

TEST(TtmBo, KeepsItsContentsOnEveryWay) {
  for (const Platform platform : {Platform::plain, Platform::sme, Platform::sev, Platform::sev_snp})
    for (const bool accelerated : {true, false}) {
      SCOPED_TRACE(std::string{to_string(platform)} + (accelerated ? ", engine" : ", memcpy"));
      GpuBox box{platform, {.mask_bits = 44, .policy = TtmPolicy::before_fix}};
      TtmBo& bo = box.make(3);
      const Bytes data = pattern_bytes(3 * page_size, 9);
      box.gpu_writes(bo, data);
      for (const TtmPlacement to : {TtmPlacement::vram, TtmPlacement::tt, TtmPlacement::system,
                                    TtmPlacement::vram, TtmPlacement::system, TtmPlacement::tt}) {
        ASSERT_TRUE(box.ttm().validate(box.cpu(), bo, to, accelerated));
        EXPECT_EQ(bo.placement, to);
        if (to != TtmPlacement::system) {
          EXPECT_EQ(box.gpu_sees(bo), data);
        }
      }
      EXPECT_EQ(box.log.all<BoMoved>().size(), 6u);
      ASSERT_TRUE(box.ttm().swapout(box.cpu(), bo));
      EXPECT_FALSE(bo.tt.populated);
      ASSERT_TRUE(box.ttm().validate(box.cpu(), bo, TtmPlacement::tt, accelerated));
      EXPECT_EQ(box.gpu_sees(bo), data);
    }
}

TEST(TtmBo, IsNotMovedOrSwappedWhileItIsMapped) {
  GpuBox box{Platform::sev};
  TtmBo& bo = box.make(1);
  const VirtAddr at = box.ttm().vmap(box.cpu(), bo).value();
  EXPECT_EQ(box.ttm().validate(box.cpu(), bo, TtmPlacement::vram, true).error(), Errno::ebusy);
  EXPECT_EQ(box.ttm().swapout(box.cpu(), bo).error(), Errno::ebusy);
  box.ttm().vunmap(bo, at);
  EXPECT_TRUE(box.ttm().validate(box.cpu(), bo, TtmPlacement::vram, true));
  EXPECT_EQ(box.ttm().swapout(box.cpu(), bo).error(), Errno::ebusy);  // it has no pages
}

TEST(TtmBo, RefusesWhatDoesNotFit) {
  GpuBox box{Platform::plain};
  EXPECT_EQ(box.ttm().bo_init(box.cpu(), {0}).error(), Errno::einval);
  EXPECT_EQ(box.ttm().bo_init(box.cpu(), {~0ull}).error(), Errno::enomem);
  EXPECT_EQ(box.ttm().bo_init(box.cpu(), {2 << 20, TtmPlacement::vram}).error(), Errno::enospc);
  TtmBo& bo = box.make(2);
  EXPECT_EQ(box.ttm().kmap(box.cpu(), bo, 1, 2).error(), Errno::einval);
  EXPECT_EQ(box.ttm().kmap(box.cpu(), bo, ~0ull, 1).error(), Errno::einval);
  EXPECT_EQ(box.ttm().kmap(box.cpu(), bo, 0, 0).error(), Errno::einval);
}

TEST(TtmBoKmap, OfOnePageIsTheDirectMapUnlessItHasToBeDecrypted) {
  GpuBox fixed{Platform::sev, vmwgfx()};
  TtmBo& decrypted = fixed.make(1);
  const TtmKmap map = fixed.ttm().kmap(fixed.cpu(), decrypted, 0, 1).value();
  EXPECT_EQ(map.kind, TtmKmap::Kind::vmap);
  fixed.ttm().kunmap(decrypted, map);

  GpuBox before{Platform::sev, vmwgfx(TtmPolicy::before_fix)};
  TtmBo& bo = before.make(1);
  EXPECT_EQ(before.ttm().kmap(before.cpu(), bo, 0, 1).value().kind, TtmKmap::Kind::kmap);
}

TEST(TtmBoVm, FaultsPagesInWithTheAttributeOfTheirPlace) {
  GpuBox box{Platform::sev};
  TtmBo& bo = box.make(20);
  const auto user = box.kernel->mm().create_user_space().value();
  const VirtAddr at = box.ttm().mmap(*user, bo).value();
  const Bytes data = pattern_bytes(20 * page_size, 4);
  ASSERT_TRUE(box.ttm().user_write(*user, at, data));
  EXPECT_EQ(box.gpu_sees(bo), data);
  ASSERT_TRUE(box.ttm().validate(box.cpu(), bo, TtmPlacement::vram, true));
  EXPECT_FALSE(user->mmu().load<int>(at));  // zapped
  Bytes seen(data.size());
  ASSERT_TRUE(box.ttm().user_read(*user, at, seen));
  EXPECT_EQ(seen, data);
  box.ttm().munmap(bo, at);
  EXPECT_FALSE(box.ttm().user_read(*user, at, seen));
}

TEST(TtmBoVm, PrefaultsSixteenPagesAndNoMore) {
  GpuBox box{Platform::plain};
  TtmBo& bo = box.make(20);
  const auto user = box.kernel->mm().create_user_space().value();
  const VirtAddr at = box.ttm().mmap(*user, bo).value();
  Bytes one(1);
  ASSERT_TRUE(box.ttm().user_read(*user, at + page_size, one));
  EXPECT_FALSE(user->mmu().load<char>(at));
  EXPECT_TRUE(user->mmu().load<char>(at + 16 * page_size));
  EXPECT_FALSE(user->mmu().load<char>(at + 17 * page_size));
  box.ttm().munmap(bo, at);
}

TEST(Vmwgfx, ChoosesItsMapModeByMemoryEncryption) {
  EXPECT_EQ(GpuBox(Platform::plain, vmwgfx()).driver->map_mode(), VmwMapMode::map_populate);
  EXPECT_EQ(GpuBox(Platform::sme, vmwgfx()).driver->map_mode(), VmwMapMode::alloc_coherent);
  EXPECT_EQ(GpuBox(Platform::sev, vmwgfx()).driver->map_mode(), VmwMapMode::alloc_coherent);
}

TEST(Vmwgfx, GivesMappingsUpEarlyOnlyWhenAsked) {
  for (const auto& [mode, kept] :
       {std::pair{VmwMapMode::map_populate, true}, {VmwMapMode::map_bind, false}}) {
    GpuBox box{Platform::plain, vmwgfx(TtmPolicy::fixed, mode)};
    TtmBo& bo = box.make(1);
    box.log.clear();
    ASSERT_TRUE(box.ttm().validate(box.cpu(), bo, TtmPlacement::system, false));
    EXPECT_EQ(box.log.all<DmaUnmapped>().empty(), kept);
  }
}

TEST(ShadowDriver, MovesBytesAtATransferAndAtNoOtherTime) {
  GpuBox box{Platform::sev, {.kind = GpuDriverKind::shadow}};
  TtmBo& bo = box.make(2);
  const VirtAddr at = box.ttm().vmap(box.cpu(), bo).value();
  const Bytes data = pattern_bytes(2 * page_size, 5);
  ASSERT_TRUE(box.cpu().write(at, data));
  EXPECT_EQ(box.gpu_sees(bo), Bytes(2 * page_size));
  ASSERT_TRUE(box.driver->transfer_to_host(box.cpu(), bo));
  EXPECT_EQ(box.gpu_sees(bo), data);
  const Bytes drawn = pattern_bytes(2 * page_size, 6);
  box.gpu_writes(bo, drawn);
  EXPECT_EQ(box.seen(at, data.size()), data);
  ASSERT_TRUE(box.driver->transfer_from_host(box.cpu(), bo));
  EXPECT_EQ(box.seen(at, data.size()), drawn);
  box.ttm().vunmap(bo, at);
}

TEST(GpuDriver, RefusesADeviceWithoutRoomForItsTable) {
  DmaBoard board{Platform::plain};
  Device& dev = board.add_device(64);
  const machine::GpuCard small =
      machine::plug_gpu(*board.machine, {.device = dev.name, .requester = dev.requester}, 4096);
  EXPECT_EQ(GpuDriver::probe(*board.kernel, dev, small, {}).error(), Errno::enodev);
}

}  // namespace
}  // namespace cbit::kernel
