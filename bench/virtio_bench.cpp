// A 4 KiB request through a split and through a packed ring, side by side: notification, DMA mapping, the
// device's walk and the way back, on a machine without encryption and in a SEV guest.
#include <benchmark/benchmark.h>

#include "dev/block_backend.hpp"
#include "dev/virtio/virtio_blk.hpp"
#include "kernel/virtio/virtio_blk_driver.hpp"

namespace cbit {
namespace {

void write_4k(benchmark::State& state, Platform platform, bool packed, bool indirect) {
  auto machine = std::move(*machine::Machine::create({.platform = platform, .memory_bytes = 256ull << 20}));
  auto kernel = std::move(*kernel::Kernel::boot(*machine, {.swiotlb = {.slots = 4096}, .debug = false}));
  kernel::Device& parent = kernel->add_device({.name = "vda"});
  dev::MemoryDisk disk{Bytes(1 << 20)};
  dev::VirtioBlkOptions options;
  options.virtio.packed = packed;
  options.virtio.indirect_desc = indirect;
  auto hardware = std::move(*dev::VirtioBlk::create(
      machine->bus(), {.device = "vda", .requester = parent.requester}, disk, options));
  auto driver = std::move(*kernel::VirtioBlkDriver::probe(*kernel, *hardware, parent));
  const VirtAddr buffer = *kernel->mm().alloc_pages(1);
  paging::Mmu& cpu = kernel->cpu(0);
  for (auto _ : state)
    if (!driver->write(cpu, 0, buffer, page_size)) state.SkipWithError("the request failed");
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * page_size));
}

void split(benchmark::State& state, Platform platform, bool indirect) {
  write_4k(state, platform, false, indirect);
}
void packed(benchmark::State& state, Platform platform, bool indirect) {
  write_4k(state, platform, true, indirect);
}

BENCHMARK_CAPTURE(split, plain, Platform::plain, false);
BENCHMARK_CAPTURE(packed, plain, Platform::plain, false);
BENCHMARK_CAPTURE(split, plain_indirect, Platform::plain, true);
BENCHMARK_CAPTURE(packed, plain_indirect, Platform::plain, true);
BENCHMARK_CAPTURE(split, sev, Platform::sev, false);
BENCHMARK_CAPTURE(packed, sev, Platform::sev, false);
BENCHMARK_CAPTURE(split, sev_indirect, Platform::sev, true);
BENCHMARK_CAPTURE(packed, sev_indirect, Platform::sev, true);

}  // namespace
}  // namespace cbit
