// Different CPUs map, sync and unmap at once; run under ThreadSanitizer it proves the contract of dma.hpp.
#include <gtest/gtest.h>

#include <thread>

#include "unit/system/kernel/dma_board.hpp"

namespace cbit::kernel {
namespace {

using Direction = DmaDirection;

constexpr unsigned cpus = 4;
constexpr int rounds = 300;

void run_on_all_cpus(DmaBoard& board, Device& dev) {
  board.machine->tracer().detach(board.log);
  std::vector<KernelBuffer> buffers;
  for (unsigned n = 0; n < cpus; ++n) buffers.push_back(board.buffer(2 * page_size, n));
  std::vector<bus::DmaPort> ports(cpus, board.port(dev));
  std::vector<int> wrong(cpus, 0);
  std::vector<std::thread> threads;
  for (unsigned n = 0; n < cpus; ++n)
    threads.emplace_back([&, n] {
      paging::Mmu& cpu = board.kernel->cpu(n);
      const KernelBuffer& b = buffers[n];
      for (int i = 0; i < rounds; ++i) {
        const std::uint64_t bytes = 500 + 20u * static_cast<unsigned>(i);
        const Bytes data = pattern_bytes(bytes, n * 1000u + static_cast<unsigned>(i));
        const DmaAddr dma = board.dma().map_single(cpu, dev, b.at + n, bytes, Direction::bidirectional);
        if (board.dma().mapping_error(dev, dma) || !ports[n].write(dma, data)) ++wrong[n];
        board.dma().sync_single_for_cpu(cpu, dev, dma, bytes, Direction::bidirectional);
        board.dma().sync_single_for_device(cpu, dev, dma, bytes, Direction::bidirectional);
        board.dma().unmap_single(cpu, dev, dma, bytes, Direction::bidirectional);
        if (DmaBoard::seen_by(cpu, b.at + n, bytes) != data) ++wrong[n];
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(cpus, 0));
}

TEST(DmaThreads, BounceInParallel) {
  DmaBoard board{Platform::sev, {.version = KernelVersion::v6_10, .debug = false}, {.cpus = cpus}};
  Device& dev = board.add_device();
  ASSERT_TRUE(board.dma().set_mask(dev, bit_mask(64)));
  run_on_all_cpus(board, dev);
  EXPECT_EQ(board.slots_used(), 0u);
}

TEST(DmaThreads, MapThroughTheIommuInParallel) {
  DmaBoard board{Platform::sme, {.iommu = IommuMode::translated, .debug = false}, {.cpus = cpus}};
  run_on_all_cpus(board, board.add_device(32));
}

TEST(DmaThreads, MapDirectlyInParallel) {
  DmaBoard board{Platform::sme, {.debug = false}, {.cpus = cpus}};
  run_on_all_cpus(board, board.add_device());
}

}  // namespace
}  // namespace cbit::kernel
