// What the public headers say of errors: these calls throw these exceptions, and others none.
#include <gtest/gtest.h>

#include <limits>
#include <new>
#include <stdexcept>
#include <thread>
#include <vector>

#include "cbit/gpu.hpp"
#include "cbit/mktme.hpp"
#include "cbit/sandbox.hpp"
#include "cbit/sev.hpp"
#include "cbit/verbs.hpp"

namespace cbit {
namespace {

constexpr std::uint64_t far_too_much = std::numeric_limits<std::uint64_t>::max();
constexpr std::uint64_t sizes_too_large[] = {far_too_much, far_too_much - page_size, std::uint64_t{1} << 63,
                                             std::uint64_t{1} << 44};
constexpr VirtAddr nowhere[] = {VirtAddr{0}, VirtAddr{0x1000}, VirtAddr{far_too_much},
                                VirtAddr{0x8000'0000'0000'0000}};

Sandbox small_box(Platform platform) {
  return Sandbox{{.platform = platform, .memory_bytes = 256 << 20, .swiotlb = "1024"}};
}

TEST(SandboxErrors, BadOptionsAreInvalidArguments) {
  EXPECT_THROW(Sandbox({.memory_bytes = 1}), std::invalid_argument);
  EXPECT_THROW(Sandbox({.platform = Platform::sev, .c_bit = 99}), std::invalid_argument);
  EXPECT_THROW(Sandbox({.cpus = 0}), std::invalid_argument);
  EXPECT_THROW(Sandbox({.swiotlb = "many"}), std::invalid_argument);
  EXPECT_THROW(Sandbox({.platform = Platform::tdx, .iommu = IommuMode::translated, .memory_bytes = 1 << 20}),
               std::invalid_argument);
  Sandbox box = small_box(Platform::plain);
  EXPECT_THROW((void)box.add_device({.mask_bits = 0}), std::invalid_argument);
  EXPECT_THROW((void)box.add_device({.mask_bits = 65}), std::invalid_argument);
}

TEST(SandboxErrors, ADeviceOfAnotherSandboxIsAnInvalidArgument) {
  Sandbox box = small_box(Platform::plain);
  const auto stranger = Sandbox::DeviceId{7};
  EXPECT_THROW((void)box.dma_map_single(stranger, box.kmalloc(1), 1, DmaDirection::to_device),
               std::invalid_argument);
  EXPECT_THROW((void)box.dma_max_mapping_size(stranger), std::invalid_argument);
  EXPECT_THROW((void)box.device_read(stranger, DmaAddr{0}, 1), std::invalid_argument);
  EXPECT_THROW((void)box.release_device(stranger), std::invalid_argument);
}

TEST(SandboxErrors, MemoryThatTheKernelDoesNotHaveIsAnInvalidArgument) {
  Sandbox box = small_box(Platform::sev);
  const VirtAddr page = box.kmalloc(1);
  for (const VirtAddr at : nowhere) {
    EXPECT_THROW((void)box.read(at, 1), std::invalid_argument) << at.value();
    EXPECT_THROW(box.write(at, std::vector<std::byte>(1)), std::invalid_argument) << at.value();
    EXPECT_THROW((void)box.virt_to_phys(at), std::invalid_argument) << at.value();
    EXPECT_THROW((void)box.host_view(at, 1), std::invalid_argument) << at.value();
    EXPECT_THROW(box.kfree(at), std::invalid_argument) << at.value();
  }
  for (const std::uint64_t bytes : sizes_too_large) {
    EXPECT_THROW((void)box.read(page, bytes), std::invalid_argument) << bytes;
    EXPECT_THROW((void)box.host_view(page, bytes), std::invalid_argument) << bytes;
  }
  box.kfree(page);
  EXPECT_THROW(box.kfree(page), std::invalid_argument);
}

TEST(SandboxErrors, KmallocOfMoreThanTheMachineHasIsBadAlloc) {
  Sandbox box = small_box(Platform::plain);
  for (const std::uint64_t bytes : sizes_too_large) EXPECT_THROW((void)box.kmalloc(bytes), std::bad_alloc);
  const auto all = [&] {
    for (;;) (void)box.kmalloc(4 << 20);
  };
  EXPECT_THROW(all(), std::bad_alloc);
}

TEST(SandboxErrors, TheDmaApiThrowsNothingWhateverADriverAsks) {
  for (const Platform platform : platforms) {
    Sandbox box = small_box(platform);
    const auto dev = box.add_device({.name = "dev"});
    const VirtAddr page = box.kmalloc(1);
    for (const std::uint64_t bytes : {std::uint64_t{0}, far_too_much, std::uint64_t{1} << 63}) {
      DmaAddr dma;
      EXPECT_NO_THROW(dma = box.dma_map_single(dev, page, bytes, DmaDirection::to_device)) << bytes;
      EXPECT_NO_THROW(if (!box.dma_mapping_failed(dev, dma))
                          box.dma_unmap_single(dev, dma, bytes, DmaDirection::to_device));
      EXPECT_NO_THROW((void)box.dma_alloc_coherent(dev, bytes)) << bytes;
      EXPECT_NO_THROW((void)box.device_read(dev, DmaAddr{0x1000}, bytes)) << bytes;
    }
    for (const VirtAddr at : nowhere) {
      EXPECT_NO_THROW((void)box.dma_map_single(dev, at, 64, DmaDirection::to_device));
      EXPECT_NO_THROW(box.dma_unmap_single(dev, DmaAddr{at.value()}, 64, DmaDirection::to_device));
      EXPECT_NO_THROW(box.dma_sync_single_for_cpu(dev, DmaAddr{at.value()}, 64, DmaDirection::to_device));
      EXPECT_NO_THROW(box.dma_free_coherent(dev, {at, DmaAddr{at.value()}, 64}));
    }
    EXPECT_NO_THROW((void)box.dma_map_single(dev, page, 64, DmaDirection::none));
    EXPECT_NO_THROW((void)box.dma_map_sg(dev, {}, DmaDirection::to_device));
  }
}

TEST(SandboxErrors, ASegmentOutsideOfTheKernelsMemoryIsAnInvalidArgument) {
  Sandbox box = small_box(Platform::plain);
  const auto dev = box.add_device({});
  for (const VirtAddr at : nowhere) {
    std::vector<Sandbox::Segment> segments{{.at = at, .length = 64}};
    EXPECT_THROW((void)box.dma_map_sg(dev, segments, DmaDirection::to_device), std::invalid_argument);
  }
}

TEST(SandboxErrors, SandboxesInDifferentThreadsAreIndependent) {
  const auto work = [](Platform platform) {
    Sandbox box = small_box(platform);
    const auto dev = box.add_device({.name = "dev"});
    for (int i = 0; i < 50; ++i) {
      const VirtAddr page = box.kmalloc(100);
      const DmaAddr dma = box.dma_map_single(dev, page, 100, DmaDirection::to_device);
      ASSERT_FALSE(box.dma_mapping_failed(dev, dma));
      ASSERT_TRUE(box.device_read(dev, dma, 100).has_value());
      box.dma_unmap_single(dev, dma, 100, DmaDirection::to_device);
      box.kfree(page);
    }
    EXPECT_TRUE(box.problems().empty());
  };
  std::vector<std::jthread> threads;
  for (const Platform platform : {Platform::sev, Platform::tdx, Platform::sme})
    threads.emplace_back(work, platform);
}

template <class Make>
void expect_made_or_refused(Make make) {
  try {
    make();
  } catch (const std::invalid_argument&) {
  } catch (const std::bad_alloc&) {
  }
}

TEST(SmallestMachines, AreMadeOrRefusedInTheWordsOfTheHeader) {
  for (const Platform platform : platforms) {
    for (const IommuMode iommu : {IommuMode::none, IommuMode::passthrough, IommuMode::translated}) {
      const std::uint64_t smallest = 16 << 20;
      EXPECT_NO_THROW(expect_made_or_refused([&] {
        Sandbox box{{.platform = platform, .iommu = iommu, .memory_bytes = smallest}};
        (void)box.kmalloc(1);
      }));
      EXPECT_NO_THROW(expect_made_or_refused([&] {
        GpuSandbox box{{.platform = platform, .iommu = iommu, .memory_bytes = smallest}};
        (void)box.create_process();
      }));
      EXPECT_NO_THROW(expect_made_or_refused([&] {
        RdmaNetwork network;
        RdmaHost host{network, {.platform = platform, .iommu = iommu, .memory_bytes = smallest}};
        (void)host.mmap(1);
      }));
    }
  }
}

// ---- gpu.hpp ----------------------------------------------------------------------------------------------

struct AnyDriver final : TtmDriver {
  bool bind(BoId, std::span<const DmaAddr>) override { return true; }
  void unbind(BoId) override {}
};

TEST(GpuSandboxErrors, AreWhatTheHeaderSays) {
  EXPECT_THROW(GpuSandbox({.vram_bytes = 5}), std::invalid_argument);
  EXPECT_THROW(GpuSandbox({.mask_bits = 0}), std::invalid_argument);
  AnyDriver driver;
  GpuSandbox box{{.platform = Platform::sev, .memory_bytes = 256 << 20}};
  EXPECT_THROW((void)box.ttm_bo_init(4096, TtmPlacement::tt), std::invalid_argument);
  box.ttm_device_init(driver, true, false);
  EXPECT_THROW(box.ttm_device_init(driver, true, false), std::invalid_argument);
  EXPECT_THROW(box.ttm_bo_put(BoId{9}), std::invalid_argument);
  EXPECT_THROW((void)box.ttm_bo_vmap(BoId{9}), std::invalid_argument);
  for (const std::uint64_t bytes : sizes_too_large) {
    EXPECT_FALSE(box.ttm_bo_init(bytes, TtmPlacement::tt).has_value()) << bytes;
    EXPECT_FALSE(box.ttm_bo_init(bytes, TtmPlacement::vram).has_value()) << bytes;
  }
  EXPECT_FALSE(box.ttm_bo_init(0, TtmPlacement::tt).has_value());
  const auto bo = box.ttm_bo_init(4096, TtmPlacement::tt);
  ASSERT_TRUE(bo.has_value());
  const auto at = box.ttm_bo_vmap(*bo);
  ASSERT_TRUE(at.has_value());
  EXPECT_THROW(box.ttm_bo_put(*bo), std::invalid_argument);
  EXPECT_THROW(box.ttm_bo_vunmap(*bo, VirtAddr{0x1000}), std::invalid_argument);
  box.ttm_bo_vunmap(*bo, *at);
  EXPECT_THROW(box.ttm_bo_vunmap(*bo, *at), std::invalid_argument);
  EXPECT_THROW((void)box.mmap(GpuSandbox::ProcessId{3}, *bo), std::invalid_argument);
  const auto process = box.create_process();
  const VirtAddr mapped = box.mmap(process, *bo);
  EXPECT_THROW(box.munmap(*bo, mapped + page_size), std::invalid_argument);
  for (const std::uint64_t bytes : sizes_too_large) {
    EXPECT_THROW((void)box.read(*at, bytes), std::invalid_argument) << bytes;
    EXPECT_FALSE(box.user_read(process, mapped, bytes).has_value()) << bytes;
    EXPECT_FALSE(box.device_read(DmaAddr{0x1000}, bytes).has_value()) << bytes;
  }
  for (const VirtAddr from : nowhere) {
    EXPECT_THROW((void)box.read(from, 1), std::invalid_argument);
    EXPECT_FALSE(box.user_read(process, from, 1).has_value());
  }
}

// ---- mktme.hpp --------------------------------------------------------------------------------------------

TEST(MktmeProcessErrors, AreWhatTheHeaderSays) {
  EXPECT_THROW(MktmeProcess({.key_id_bits = 0}), std::invalid_argument);
  EXPECT_THROW(MktmeProcess({.key_id_bits = 16}), std::invalid_argument);
  MktmeProcess process;
  const int key = process.add_key("k", "type=cpu algorithm=aes-xts-128");
  ASSERT_GT(key, 0);
  EXPECT_LT(process.add_key("", "nonsense"), 0);
  for (const std::uint64_t bytes : sizes_too_large) {
    EXPECT_LT(process.mmap(bytes), 0) << bytes;
    EXPECT_LT(process.mmap_device(bytes, key), 0) << bytes;
    EXPECT_LT(process.encrypt_mprotect(4096, bytes, key), 0) << bytes;
    EXPECT_TRUE(process.dram(4096, bytes).empty()) << bytes;
  }
  EXPECT_LT(process.mmap(0), 0);
  EXPECT_LT(process.mmap_device(0, key), 0);
  std::vector<std::byte> byte(1);
  for (const VirtAddr at : nowhere) {
    EXPECT_FALSE(process.read(static_cast<std::int64_t>(at.value()), byte));
    EXPECT_FALSE(process.write(static_cast<std::int64_t>(at.value()), byte));
  }
}

// ---- sev.hpp ----------------------------------------------------------------------------------------------

TEST(SevHostErrors, AreWhatTheHeaderSays) {
  EXPECT_THROW(SevHost({.platform = Platform::sev}), std::invalid_argument);
  EXPECT_THROW(SevHost({.asids = 0}), std::invalid_argument);
  EXPECT_THROW(SevHost({.asids = 1024}), std::invalid_argument);
  SevHost host;
  EXPECT_THROW((void)host.create_guest({.memory_bytes = 5}), std::invalid_argument);
  EXPECT_THROW((void)host.create_guest({.memory_bytes = std::uint64_t{1} << 44}), SevRefused);
  EXPECT_THROW((void)host.create_guest({.memory_bytes = far_too_much & ~(page_size - 1)}), SevRefused);
  EXPECT_THROW((void)host.asid(SevHost::GuestId{4}), SevRefused);
  const auto guest = host.create_guest({});
  EXPECT_THROW((void)host.launch_measure(guest), SevRefused);
  host.launch_start(guest);
  EXPECT_THROW(host.launch_update(guest, far_too_much, std::vector<std::byte>(16)), SevRefused);
  for (const std::uint64_t bytes : sizes_too_large) {
    EXPECT_THROW((void)host.guest_read(guest, 0, bytes), SevRefused);
    EXPECT_THROW((void)host.host_read(guest, 0, bytes), SevRefused);
    EXPECT_THROW((void)host.debug_read(guest, 0, bytes), SevRefused);
  }
  EXPECT_THROW((void)host.migrate(guest, host), SevRefused);
}

TEST(SevHostErrors, AMigrationThatIsRefusedLeavesNoGuestBehind) {
  SevHost here, there{{.asids = 1, .seed = 2}};
  const auto guest = here.create_guest({});
  here.launch_start(guest);
  EXPECT_THROW((void)here.migrate(guest, there), SevRefused);  // not launched yet
  EXPECT_NO_THROW((void)there.create_guest({})) << "the only ASID is free again";
  EXPECT_NO_THROW((void)here.launch_measure(guest)) << "and the guest is still here";
}

// ---- verbs.hpp --------------------------------------------------------------------------------------------

TEST(RdmaHostErrors, AreWhatTheHeaderSays) {
  RdmaNetwork network;
  EXPECT_THROW(RdmaHost(network, {.mask_bits = 12}), std::invalid_argument);
  EXPECT_THROW(RdmaHost(network, {.memory_bytes = 1}), std::invalid_argument);
  RdmaHost host{network, {.platform = Platform::sev}};
  EXPECT_THROW((void)host.mmap(0), std::invalid_argument);
  for (const std::uint64_t bytes : sizes_too_large) {
    EXPECT_THROW((void)host.mmap(bytes), std::bad_alloc) << bytes;
    EXPECT_THROW((void)host.read(VirtAddr{0x1000}, bytes), std::out_of_range) << bytes;
  }
  for (const VirtAddr at : nowhere) {
    EXPECT_THROW((void)host.read(at, 1), std::out_of_range);
    EXPECT_THROW(host.write(at, std::vector<std::byte>(1)), std::out_of_range);
  }
  const ibv_pd pd = host.ibv_alloc_pd();
  const VirtAddr buffer = host.mmap(4096);
  for (const std::uint64_t bytes : sizes_too_large) {
    EXPECT_FALSE(host.ibv_reg_mr(pd, buffer, bytes, IBV_ACCESS_LOCAL_WRITE).has_value()) << bytes;
    EXPECT_FALSE(host.ibv_alloc_buf(pd, bytes).has_value()) << bytes;
  }
  EXPECT_NE(host.ibv_destroy_qp(77), 0);
  EXPECT_NE(host.ibv_destroy_cq(77), 0);
  EXPECT_NE(host.error(), 0);
}

}  // namespace
}  // namespace cbit
