#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "unit/hardware/iommu/domain_fixture.hpp"

namespace cbit::iommu {
namespace {

TEST(IommuDomain, ThreadsTranslateWhileAnotherMapsAndAddsLevels) {
  DomainFixture f;
  f.machine.tracer.detach(f.machine.log);
  ASSERT_TRUE(f.domain->map(DmaAddr{0x1000}, PhysAddr{0x5000}, page_size, f.read_write, true));
  std::atomic<bool> stop = false;
  std::atomic<std::uint64_t> wrong = 0;
  std::vector<std::thread> devices;
  for (int n = 0; n < 3; ++n)
    devices.emplace_back([&] {
      while (!stop) {
        const auto found = f.domain->translate(DmaAddr{0x1234}, true);
        if (!found || found->phys != PhysAddr{0x5234}) ++wrong;
        static_cast<void>(f.domain->translate(DmaAddr{1ull << 50}, true));
      }
    });
  for (unsigned bit = 13; bit < 64; ++bit)
    EXPECT_TRUE(f.domain->map(DmaAddr{1ull << bit}, PhysAddr{0x8000}, page_size, f.read_write, true));
  for (unsigned bit = 13; bit < 64; ++bit)
    EXPECT_EQ(f.domain->unmap(DmaAddr{1ull << bit}, page_size), page_size);
  stop = true;
  for (std::thread& device : devices) device.join();
  EXPECT_EQ(wrong, 0u);
}

}  // namespace
}  // namespace cbit::iommu
