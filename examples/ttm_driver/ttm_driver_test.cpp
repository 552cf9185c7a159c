// The driver's unit test: a frame drawn by each side and seen by the others, on every kernel and platform.
#include "ttm_driver.hpp"

#include <gtest/gtest.h>

#include <cstring>

namespace {

using cbit::GpuSandbox;
using cbit::Platform;
using cbit::TtmPlacement;
using cbit::TtmPolicy;
using Bytes = std::vector<std::byte>;

constexpr std::size_t frame_bytes = 2 * cbit::page_size;

Bytes frame(int seed) {
  Bytes pixels(frame_bytes);
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<std::byte>(seed + i * 7 / 3);
  return pixels;
}

void draw(GpuSandbox& box, std::span<const cbit::DmaAddr> pages, const Bytes& pixels) {
  for (std::size_t i = 0; i < pages.size(); ++i)
    ASSERT_TRUE(box.device_write(pages[i], std::span{pixels}.subspan(i * cbit::page_size, cbit::page_size)));
}

Bytes scan_out(GpuSandbox& box, std::span<const cbit::DmaAddr> pages) {
  Bytes seen;
  for (const cbit::DmaAddr page : pages) {
    const auto part = box.device_read(page, cbit::page_size);
    if (!part) return {};
    seen.insert(seen.end(), part->begin(), part->end());
  }
  return seen;
}

TEST(SmallGpuDriver, SharesFramesWithKernelAndProcessesOnEveryPlatform) {
  for (const Platform platform : {Platform::plain, Platform::sme, Platform::sev, Platform::sev_snp}) {
    SCOPED_TRACE(to_string(platform));
    GpuSandbox box{{.platform = platform}};
    SmallGpuDriver driver{box, 44, true};
    const auto bo = box.ttm_bo_init(frame_bytes, TtmPlacement::tt);
    ASSERT_TRUE(bo);
    const auto kernel = box.ttm_bo_vmap(*bo);
    ASSERT_TRUE(kernel);
    const auto process = box.create_process();
    const auto user = box.mmap(process, *bo);

    draw(box, driver.pages(*bo), frame(1));
    EXPECT_EQ(box.read(*kernel, frame_bytes), frame(1));
    EXPECT_EQ(box.user_read(process, user, frame_bytes), frame(1));
    EXPECT_TRUE(box.user_write(process, user, frame(2)));
    EXPECT_EQ(scan_out(box, driver.pages(*bo)), frame(2));
    EXPECT_TRUE(box.problems().empty());

    box.munmap(*bo, user);
    box.ttm_bo_vunmap(*bo, *kernel);
    box.ttm_bo_put(*bo);
    EXPECT_TRUE(driver.pages(*bo).empty());
    EXPECT_TRUE(box.problems().empty());
  }
}

TEST(SmallGpuDriver, IsBrokenByAKernelBeforeTheFix) {
  GpuSandbox box{{.platform = Platform::sev, .policy = TtmPolicy::before_fix}};
  SmallGpuDriver driver{box, 44, true};
  const auto bo = box.ttm_bo_init(frame_bytes, TtmPlacement::tt);
  const auto kernel = box.ttm_bo_vmap(*bo);
  EXPECT_TRUE(box.has_problem("conflicting-encryption-alias")) << "before anybody has touched it";
  draw(box, driver.pages(*bo), frame(1));
  EXPECT_NE(box.read(*kernel, frame_bytes), frame(1));
}

TEST(SmallGpuDriver, NeedsTheDmaLayersWordOnSmeWithANarrowDevice) {
  for (const TtmPolicy policy : cbit::ttm_policies) {
    SCOPED_TRACE(to_string(policy));
    GpuSandbox box{{.platform = Platform::sme, .mask_bits = 40, .policy = policy}};
    SmallGpuDriver driver{box, 40, true};
    const auto bo = box.ttm_bo_init(frame_bytes, TtmPlacement::tt);
    const auto kernel = box.ttm_bo_vmap(*bo);
    draw(box, driver.pages(*bo), frame(3));
    const bool right = policy == TtmPolicy::ask_dma || policy == TtmPolicy::always_decrypted;
    EXPECT_EQ(box.read(*kernel, frame_bytes) == frame(3), right);
    EXPECT_EQ(box.has_problem("conflicting-encryption-alias"), !right);
  }
}

TEST(SmallGpuDriver, CarelessOneLosesItsFramesOnSev) {
  GpuSandbox box{{.platform = Platform::sev}};
  SmallGpuDriver driver{box, 44, false};
  const auto bo = box.ttm_bo_init(frame_bytes, TtmPlacement::tt);
  const auto kernel = box.ttm_bo_vmap(*bo);
  draw(box, driver.pages(*bo), frame(1));
  EXPECT_EQ(box.read(*kernel, frame_bytes), Bytes(frame_bytes)) << "the frame is in the bounce buffer";
  EXPECT_TRUE(box.has_problem("tt-pages-bounced"));
}

TEST(SmallGpuDriver, KeepsFramesWhileTheyMoveAndSwap) {
  GpuSandbox box{{.platform = Platform::sev}};
  SmallGpuDriver driver{box, 44, true};
  const auto bo = box.ttm_bo_init(frame_bytes, TtmPlacement::tt);
  draw(box, driver.pages(*bo), frame(5));
  ASSERT_EQ(box.ttm_bo_validate(*bo, TtmPlacement::vram), 0);
  ASSERT_TRUE(box.vram_offset(*bo));
  EXPECT_EQ(std::memcmp(box.vram().data() + *box.vram_offset(*bo), frame(5).data(), frame_bytes), 0);
  ASSERT_EQ(box.ttm_bo_validate(*bo, TtmPlacement::system), 0);
  ASSERT_EQ(box.ttm_bo_swapout(*bo), 0);
  ASSERT_EQ(box.ttm_bo_validate(*bo, TtmPlacement::tt), 0);
  EXPECT_EQ(scan_out(box, driver.pages(*bo)), frame(5));
  EXPECT_TRUE(box.problems().empty());
}

}  // namespace
