// Map and unmap of a 4 KiB buffer through the DMA API, TO_DEVICE, dma-debug off and nobody listening: mapped
// directly, bounced, and through an IOMMU.
//
// The peer of the bounced one is swiotlb_bench: the same slots and the same copy without the API around them.
#include <benchmark/benchmark.h>

#include <memory>

#include "kernel/kernel.hpp"

namespace cbit {
namespace {

constexpr std::uint64_t buffers = 256;

struct Board {
  explicit Board(Platform platform, IommuMode mode)
      : machine{machine::Machine::create(
                    {.platform = platform, .memory_bytes = 512 << 20, .iommu = mode != IommuMode::none})
                    .value()},
        kernel{kernel::Kernel::boot(*machine, {.iommu = mode, .debug = false}).value()},
        dev{kernel->add_device({.dma_mask = bit_mask(64), .coherent_dma_mask = bit_mask(64)})},
        first{*kernel->mm().alloc_pages(buffers)} {
    for (std::uint64_t i = 0; i < buffers; ++i)
      CBIT_ASSERT(kernel->cpu(0).write(first + i * page_size, pattern_bytes(page_size, i)));
  }

  std::unique_ptr<machine::Machine> machine;
  std::unique_ptr<kernel::Kernel> kernel;
  kernel::Device& dev;
  VirtAddr first;
};

void map_and_unmap(benchmark::State& state, Platform platform, IommuMode mode) {
  Board board{platform, mode};
  kernel::Dma& dma = board.kernel->dma();
  paging::Mmu& cpu = board.kernel->cpu(0);
  std::uint64_t i = 0;
  for (auto _ : state) {
    const VirtAddr at = board.first + i++ % buffers * page_size;
    const DmaAddr mapped = dma.map_single(cpu, board.dev, at, page_size, DmaDirection::to_device);
    benchmark::DoNotOptimize(mapped);
    dma.unmap_single(cpu, board.dev, mapped, page_size, DmaDirection::to_device);
  }
}

BENCHMARK_CAPTURE(map_and_unmap, direct, Platform::sme, IommuMode::none);
BENCHMARK_CAPTURE(map_and_unmap, bounced, Platform::sev, IommuMode::none);
BENCHMARK_CAPTURE(map_and_unmap, iommu, Platform::sme, IommuMode::translated);

// The same slots and the same copy as `bounced`, without the API.
void tbl_map_and_unmap(benchmark::State& state) {
  Board board{Platform::sev, IommuMode::none};
  kernel::Swiotlb& pool = *board.kernel->dma().swiotlb();
  paging::Mmu& cpu = board.kernel->cpu(0);
  const PhysAddr first = board.kernel->mm().virt_to_phys(board.first);
  std::uint64_t i = 0;
  for (auto _ : state) {
    const PhysAddr at = first + i++ % buffers * page_size;
    const PhysAddr bounce =
        *pool.tbl_map_single(cpu, board.dev, at, page_size, page_size, 0, DmaDirection::to_device, {});
    benchmark::DoNotOptimize(bounce);
    pool.tbl_unmap_single(cpu, board.dev, bounce, page_size, DmaDirection::to_device,
                          dma_attr::skip_cpu_sync);
  }
}
BENCHMARK(tbl_map_and_unmap);

}  // namespace
}  // namespace cbit
