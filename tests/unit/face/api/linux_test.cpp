// cbit/linux.h and cbit/sandbox.h: what a driver in C calls, beside what the model kernel says.
#include "cbit/linux.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cbit/platform.hpp"
#include "cbit/sandbox.h"

namespace cbit {
namespace {

using Box = std::unique_ptr<cbit_sandbox, decltype(&cbit_sandbox_destroy)>;

Box make_box(const char* platform, const char* swiotlb = nullptr) {
  const cbit_sandbox_options options{.platform = platform, .swiotlb = swiotlb, .memory_bytes = 256 << 20};
  return {cbit_sandbox_create(&options), &cbit_sandbox_destroy};
}

// A device that no driver probes: the test is the driver.
device* plug(const Box& box) {
  device* const dev = cbit_add_device(box.get(), nullptr);
  pci_set_master(to_pci_dev(dev));
  return dev;
}

bool logged(const Box& box, std::string_view part) {
  for (std::size_t n = 0; const char* line = cbit_log_line(box.get(), n); ++n)
    if (std::string_view{line}.find(part) != std::string_view::npos) return true;
  return false;
}

TEST(LinuxMemory, StoresOfTheDriverReachTheDeviceAndTheDevicesReachItsLoads) {
  for (const char* platform : {"plain", "sme", "sev", "sev-snp", "tdx"}) {
    const Box box = make_box(platform);
    device* const dev = plug(box);
    ASSERT_EQ(dma_set_mask_and_coherent(dev, DMA_BIT_MASK(64)), 0);
    dma_addr_t dma = 0;
    auto* const ring = static_cast<volatile u32*>(dma_alloc_coherent(dev, 64, &dma, GFP_KERNEL));
    ASSERT_NE(ring, nullptr);
    ring[3] = 0x11223344;
    u32 seen = 0;
    ASSERT_TRUE(cbit_device_read(dev, dma + 12, &seen, 4));
    EXPECT_EQ(seen, 0x11223344u) << platform;
    const u32 written = 0x55667788;
    ASSERT_TRUE(cbit_device_write(dev, dma + 16, &written, 4));
    EXPECT_EQ(ring[4], 0x55667788u) << platform;
    EXPECT_EQ(ring[3], 0x11223344u) << platform;
    dma_free_coherent(dev, 64, const_cast<u32*>(ring), dma);
    EXPECT_EQ(cbit_problem_count(box.get()), 0u) << platform;
  }
}

TEST(LinuxMemory, APointerInTheDriversMemoryTakesResults) {
  const Box box = make_box("sev");
  device* const dev = plug(box);
  auto* const handle = static_cast<dma_addr_t*>(kzalloc(sizeof(dma_addr_t), GFP_KERNEL));
  void* const at = dma_alloc_coherent(dev, 64, handle, GFP_KERNEL);
  EXPECT_NE(*handle, 0u);
  const dma_addr_t dma = *handle;
  kfree(handle);
  dma_free_coherent(dev, 64, at, dma);
  EXPECT_EQ(cbit_remove_device(dev), 0u);
}

TEST(LinuxMemory, ABounceIsNotSeenBeforeTheSync) {
  const Box box = make_box("sev");
  device* const dev = plug(box);
  auto* const buffer = static_cast<char*>(kzalloc(512, GFP_KERNEL));
  const dma_addr_t dma = dma_map_single(dev, buffer, 512, DMA_FROM_DEVICE);
  ASSERT_EQ(dma_mapping_error(dev, dma), 0);
  ASSERT_TRUE(cbit_device_write(dev, dma, "news", 4));
  EXPECT_EQ(std::string_view(buffer, 4), std::string_view("\0\0\0\0", 4));
  dma_sync_single_for_cpu(dev, dma, 512, DMA_FROM_DEVICE);
  EXPECT_EQ(std::string_view(buffer, 4), "news");
  dma_unmap_single(dev, dma, 512, DMA_FROM_DEVICE);
  kfree(buffer);
}

TEST(LinuxMemory, TheHostSeesCiphertextUntilThePageIsDecrypted) {
  const Box box = make_box("sev");
  auto* const page = static_cast<char*>(kzalloc(PAGE_SIZE, GFP_KERNEL));
  std::ranges::fill_n(page, 64, 'x');
  std::array<char, 64> seen{};
  ASSERT_TRUE(cbit_host_view(box.get(), page, seen.data(), seen.size()));
  EXPECT_FALSE(std::ranges::equal(seen, std::span{page, 64}));
  ASSERT_EQ(set_memory_decrypted(reinterpret_cast<unsigned long>(page), 1), 0);
  EXPECT_NE(page[0], 'x') << "contents are not converted";
  std::ranges::fill_n(page, 64, 'y');
  ASSERT_TRUE(cbit_host_view(box.get(), page, seen.data(), seen.size()));
  EXPECT_EQ(seen[63], 'y');
  EXPECT_EQ(set_memory_encrypted(reinterpret_cast<unsigned long>(page), 1), 0);
  EXPECT_EQ(set_memory_decrypted(reinterpret_cast<unsigned long>(&seen), 1), -EFAULT);
  kfree(page);
}

TEST(LinuxMemory, WhatLinuxWouldDieOfIsRefusedAndLogged) {
  const Box box = make_box("plain");
  auto* const page = static_cast<char*>(kmalloc(64, GFP_KERNEL));
  kfree(page + 8);
  EXPECT_TRUE(logged(box, "kfree of what is not allocated"));
  kfree(page);
  kfree(page);
  kfree(nullptr);
  EXPECT_EQ(kmalloc((4ul << 20) + 1, GFP_KERNEL), nullptr);
  EXPECT_EQ(kmalloc(~0ul, GFP_KERNEL), nullptr);
  EXPECT_EQ(kcalloc(~0ul, 16, GFP_KERNEL), nullptr);
  EXPECT_EQ(readl(page), ~0u) << "no register";
  writel(1, page);
  cbit_sandbox_enter(nullptr);
  EXPECT_EQ(kmalloc(1, GFP_KERNEL), nullptr) << "no machine";
  EXPECT_EQ(readl(page), ~0u);
}

TEST(LinuxMemory, PagesAndAddressesLeadToEachOther) {
  const Box box = make_box("tdx");
  page* const frame = alloc_pages(GFP_KERNEL | __GFP_DMA32, 1);
  ASSERT_NE(frame, nullptr);
  auto* const at = static_cast<char*>(page_address(frame));
  EXPECT_EQ(page_to_phys(frame + 1), page_to_phys(frame) + PAGE_SIZE);
  EXPECT_EQ(virt_to_page(at + PAGE_SIZE + 7), frame + 1);
  EXPECT_EQ(virt_to_phys(at + 5), page_to_phys(frame) + 5);
  EXPECT_EQ(phys_to_virt(page_to_phys(frame) + 5), at + 5);
  EXPECT_LT(page_to_phys(frame), u64{1} << 32);
  EXPECT_FALSE(virt_addr_valid(&frame));
  __free_pages(frame, 1);
}

TEST(LinuxDma, MemoryThatIsNotTheKernelsIsRefusedAsVmallocMemory) {
  const Box box = make_box("sev");
  device* const dev = plug(box);
  char on_the_stack[64] = {};
  const dma_addr_t dma = dma_map_single(dev, on_the_stack, sizeof on_the_stack, DMA_TO_DEVICE);
  EXPECT_EQ(dma_mapping_error(dev, dma), -ENOMEM);
  EXPECT_TRUE(cbit_has_problem(box.get(), "unmappable-memory"));
  scatterlist sg;
  sg_init_one(&sg, on_the_stack, sizeof on_the_stack);
  EXPECT_EQ(dma_map_sg(dev, &sg, 1, DMA_TO_DEVICE), 0u);
}

TEST(LinuxDma, AListIsMappedEntryByEntry) {
  const Box box = make_box("sev");
  device* const dev = plug(box);
  sg_table table;
  ASSERT_EQ(sg_alloc_table(&table, 3, GFP_KERNEL), 0);
  std::vector<char*> buffers;
  scatterlist* sg = nullptr;
  unsigned i = 0;
  for_each_sgtable_sg(&table, sg, i) {
    buffers.push_back(static_cast<char*>(kzalloc(256, GFP_KERNEL)));
    buffers.back()[0] = static_cast<char>('a' + i);
    sg_set_buf(sg, buffers.back(), 256);
    EXPECT_EQ(sg_virt(sg), buffers.back());
  }
  EXPECT_EQ(sg_nents(table.sgl), 3);
  ASSERT_EQ(dma_map_sgtable(dev, &table, DMA_TO_DEVICE, 0), 0);
  ASSERT_EQ(table.nents, 3u);
  for_each_sgtable_dma_sg(&table, sg, i) {
    char seen = 0;
    EXPECT_EQ(sg_dma_len(sg), 256u);
    ASSERT_TRUE(cbit_device_read(dev, sg_dma_address(sg), &seen, 1));
    EXPECT_EQ(seen, static_cast<char>('a' + i));
  }
  dma_unmap_sgtable(dev, &table, DMA_TO_DEVICE, 0);
  sg_free_table(&table);
  for (char* const buffer : buffers) kfree(buffer);
  EXPECT_EQ(cbit_remove_device(dev), 0u);
  EXPECT_EQ(cbit_problem_count(box.get()), 0u);
}

TEST(LinuxDma, MasksAndLimitsAreTheKernels) {
  const Box box = make_box("sev");
  device* const dev = plug(box);
  EXPECT_EQ(dma_get_mask(dev), DMA_BIT_MASK(32)) << "until the driver says otherwise";
  EXPECT_EQ(dma_set_mask(dev, DMA_BIT_MASK(8)), -EIO);
  EXPECT_EQ(dma_set_mask_and_coherent(dev, DMA_BIT_MASK(64)), 0);
  // kernel/dma/swiotlb.c: 128 slots of 2 KiB; kernel/dma/mapping.c: dma-direct has no other optimum.
  EXPECT_EQ(dma_max_mapping_size(dev), 262144u);
  EXPECT_EQ(dma_opt_mapping_size(dev), 262144u);
  EXPECT_EQ(dma_set_min_align_mask(dev, 4095), 0);
  EXPECT_EQ(dma_max_mapping_size(dev), 258048u);
}

TEST(LinuxDma, AnIommuDomainHasAnOptimum) {
  const cbit_sandbox_options options{.platform = "plain", .iommu = "translated", .memory_bytes = 256 << 20};
  const Box box{cbit_sandbox_create(&options), &cbit_sandbox_destroy};
  device* const dev = plug(box);
  EXPECT_EQ(dma_opt_mapping_size(dev), 131072u);  // drivers/iommu/iova.c: PAGE_SIZE << 5
}

TEST(LinuxDma, APoolGivesBlocksThatCrossNoBoundary) {
  const Box box = make_box("sev");
  device* const dev = plug(box);
  EXPECT_EQ(dma_pool_create("p", dev, 0, 8, 0), nullptr);
  EXPECT_EQ(dma_pool_create("p", dev, 8, 3, 0), nullptr);
  EXPECT_EQ(dma_pool_create("p", dev, 128, 8, 64), nullptr);
  dma_pool* const pool = dma_pool_create("p", dev, 96, 32, 256);
  ASSERT_NE(pool, nullptr);
  std::vector<std::pair<void*, dma_addr_t>> blocks;
  for (int i = 0; i < 100; ++i) {
    dma_addr_t dma = 0;
    void* const at = dma_pool_zalloc(pool, GFP_KERNEL, &dma);
    ASSERT_NE(at, nullptr);
    EXPECT_EQ(dma % 32, 0u);
    EXPECT_EQ(dma / 256, (dma + 95) / 256);
    blocks.emplace_back(at, dma);
  }
  dma_pool_free(pool, blocks[0].first, blocks[0].second + 1);
  EXPECT_TRUE(logged(box, "is not in use"));
  for (const auto& [at, dma] : blocks) dma_pool_free(pool, at, dma);
  dma_pool_destroy(pool);
  EXPECT_EQ(cbit_remove_device(dev), 0u);
}

TEST(LinuxPlatform, HasTheAttributesOfItsPlatform) {
  // arch/x86/coco/core.c
  const Box sev = make_box("sev");
  EXPECT_TRUE(cc_platform_has(CC_ATTR_GUEST_MEM_ENCRYPT));
  EXPECT_FALSE(cc_platform_has(CC_ATTR_HOST_MEM_ENCRYPT));
  const Box sme = make_box("sme");
  EXPECT_TRUE(cc_platform_has(CC_ATTR_HOST_MEM_ENCRYPT));
  EXPECT_FALSE(cc_platform_has(CC_ATTR_GUEST_MEM_ENCRYPT));
  cbit_sandbox_enter(sev.get());
  EXPECT_TRUE(cc_platform_has(CC_ATTR_GUEST_MEM_ENCRYPT));
}

irqreturn_t count(int, void* argument) {
  ++*static_cast<int*>(argument);
  return IRQ_HANDLED;
}

TEST(LinuxDevices, AnInterruptWaitsUntilInterruptsAreOn) {
  const Box box = make_box("plain");
  device* const dev = plug(box);
  int interrupts = 0;
  EXPECT_FALSE(cbit_raise_interrupt(dev)) << "nobody handles it";
  ASSERT_EQ(request_irq(to_pci_dev(dev)->irq, count, 0, "count", &interrupts), 0);
  EXPECT_EQ(request_irq(to_pci_dev(dev)->irq, count, 0, "count", &interrupts), -EBUSY);
  EXPECT_EQ(request_irq(9999, count, 0, "count", &interrupts), -EINVAL);
  EXPECT_TRUE(cbit_raise_interrupt(dev));
  EXPECT_EQ(interrupts, 1);
  spinlock_t lock;
  spin_lock_init(&lock);
  unsigned long flags = 0;
  spin_lock_irqsave(&lock, flags);
  EXPECT_TRUE(cbit_raise_interrupt(dev));
  EXPECT_EQ(interrupts, 1);
  spin_unlock_irqrestore(&lock, flags);
  EXPECT_EQ(interrupts, 2);
  free_irq(to_pci_dev(dev)->irq, &interrupts);
}

TEST(LinuxDevices, ADeviceThatIsNoBusMasterReachesNoMemory) {
  const Box box = make_box("plain");
  device* const dev = cbit_add_device(box.get(), nullptr);
  dma_addr_t dma = 0;
  ASSERT_NE(dma_alloc_coherent(dev, 64, &dma, GFP_KERNEL), nullptr);
  char byte = 0;
  EXPECT_FALSE(cbit_device_read(dev, dma, &byte, 1));
  pci_set_master(to_pci_dev(dev));
  EXPECT_TRUE(cbit_device_read(dev, dma, &byte, 1));
  EXPECT_EQ(cbit_remove_device(dev), 1u) << "the mapping that is left";
  EXPECT_TRUE(cbit_has_problem(box.get(), "mapping-leak"));
}

TEST(LinuxDevices, AnyDeviceMayGoFirst) {
  const Box box = make_box("plain");
  std::vector<device*> devices;
  for (int i = 0; i < 5; ++i) devices.push_back(plug(box));
  EXPECT_STREQ(dev_name(devices[4]), "0000:00:05.0");
  EXPECT_EQ(cbit_remove_device(devices[0]), 0u);
  EXPECT_EQ(cbit_remove_device(devices[3]), 0u);
  EXPECT_EQ(dma_set_mask(devices[4], DMA_BIT_MASK(40)), 0);
  EXPECT_STREQ(dev_name(plug(box)), "0000:00:06.0");
}

TEST(LinuxDevices, RegistersAreTheTestDmaDevices) {
  const Box box = make_box("sev");
  device* const dev = plug(box);
  ASSERT_EQ(pcim_iomap_regions(to_pci_dev(dev), 1, "test"), 0);
  void* const registers = pcim_iomap_table(to_pci_dev(dev))[0];
  EXPECT_EQ(readq(registers), 0x00414d4474696263ull);  // docs/test-device.md: id
  EXPECT_EQ(readl(registers), ~0u) << "registers are eight bytes";
  EXPECT_EQ(readq(static_cast<char*>(registers) + pci_resource_len(to_pci_dev(dev), 0)), ~0ull);
  memcpy_toio(static_cast<char*>(registers) + 0x100000, "local", 5);
  char seen[5];
  memcpy_fromio(seen, static_cast<char*>(registers) + 0x100000, 5);
  EXPECT_EQ(std::string_view(seen, 5), "local");
}

TEST(SandboxInC, BadOptionsAreNullAndNamed) {
  cbit_sandbox_options options{.platform = "vax"};
  EXPECT_EQ(cbit_sandbox_create(&options), nullptr);
  EXPECT_NE(std::string_view{cbit_error()}.find("platform 'vax' does not exist; use one of plain"),
            std::string_view::npos);
  options = {.memory_bytes = 1};
  EXPECT_EQ(cbit_sandbox_create(&options), nullptr);
  options = {.swiotlb = "many"};
  EXPECT_EQ(cbit_sandbox_create(&options), nullptr);
  const Box box = make_box("plain");
  const cbit_hardware hardware{};
  cbit_device_options device_options{.hardware = &hardware, .bar_bytes = 5};
  EXPECT_EQ(cbit_add_device(box.get(), &device_options), nullptr);
  device_options = {.address_bits = 65};
  EXPECT_EQ(cbit_add_device(box.get(), &device_options), nullptr);
  int devices = 0;
  while (devices < 1000 && cbit_add_device(box.get(), nullptr) != nullptr) ++devices;
  EXPECT_EQ(devices, 64);
  EXPECT_EQ(cbit_log_line(box.get(), 1'000'000), nullptr);
}

}  // namespace
}  // namespace cbit
