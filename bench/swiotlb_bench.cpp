// Map and unmap of a bounced 4 KiB buffer, TO_DEVICE, in a SEV guest: one CPU, and two on an area each, with
// the pool empty, half full and 90 % full of other mappings at random places.
//
// The peer is memcpy() of the same 4 KiB between host buffers of the same sizes, in the order of addresses
// that the pool gives out: what a mapping would cost if bouncing were only copying.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include "base/random.hpp"
#include "kernel/dma/swiotlb.hpp"

namespace cbit {
namespace {

constexpr std::uint64_t memory_bytes = 512 << 20;
constexpr PhysAddr originals{256 << 20};
constexpr std::uint64_t originals_per_cpu = 256;
constexpr unsigned cpus = 2;

// Where the i-th mapping of a CPU finds its data.
PhysAddr original(unsigned cpu, std::uint64_t i) {
  return originals + (cpu * originals_per_cpu + i % originals_per_cpu) * page_size;
}

struct Guest {
  explicit Guest(std::int64_t percent)
      : machine{machine::Machine::create(
                    {.platform = Platform::sev, .memory_bytes = memory_bytes, .cpus = cpus})
                    .value()},
        cc{Platform::sev, machine->paging().view.layout},
        mm{kernel::Mm::create(*machine, cc, KernelVersion::v6_1).value()} {
    CBIT_ASSERT(mm->page_allocator().allocate_at(originals, cpus * originals_per_cpu));
    for (unsigned cpu = 0; cpu < cpus; ++cpu)
      for (std::uint64_t i = 0; i < originals_per_cpu; ++i)
        CBIT_ASSERT(mm->cpu(cpu).write(mm->phys_to_virt(original(cpu, i)), pattern_bytes(page_size, i)));
    const auto sizing = kernel::size_swiotlb(cc, memory_bytes, false, cpus, {});
    swiotlb = kernel::Swiotlb::create_default(*mm, cc, KernelVersion::v6_1, *sizing, false).value();
    fill(percent);
  }

  // Every slot is taken, and some are given back.
  void fill(std::int64_t percent) {
    Random random{1};
    std::vector<PhysAddr> taken;
    for (unsigned cpu = 0; cpu < cpus; ++cpu) {
      const std::uint64_t mappings = swiotlb->usage().io_tlb_nslabs / 2 / cpus;
      for (std::uint64_t i = 0; i < mappings; ++i) taken.push_back(map(cpu, i));
    }
    for (const PhysAddr bounce : taken)
      if (static_cast<std::int64_t>(random.below(100)) >= percent) unmap(0, bounce);
  }

  PhysAddr map(unsigned cpu, std::uint64_t i) {
    return swiotlb
        ->tbl_map_single(mm->cpu(cpu), dev, original(cpu, i), page_size, page_size, 0,
                         DmaDirection::to_device, {})
        .value();
  }
  void unmap(unsigned cpu, PhysAddr bounce) {
    swiotlb->tbl_unmap_single(mm->cpu(cpu), dev, bounce, page_size, DmaDirection::to_device, {});
  }

  std::unique_ptr<machine::Machine> machine;
  kernel::CcPlatform cc;
  std::unique_ptr<kernel::Mm> mm;
  kernel::Device dev;
  std::unique_ptr<kernel::Swiotlb> swiotlb;
};

// Made by the first benchmark that needs it, before its threads start.
std::map<std::int64_t, std::unique_ptr<Guest>> guests;

void prepare(const benchmark::State& state) {
  auto& guest = guests[state.range(0)];
  if (guest == nullptr) guest = std::make_unique<Guest>(state.range(0));
}

void map_unmap(benchmark::State& state) {
  Guest& guest = *guests.at(state.range(0));
  const auto cpu = static_cast<unsigned>(state.thread_index());
  std::uint64_t i = 0;
  for (auto _ : state) guest.unmap(cpu, guest.map(cpu, i++));
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(page_size));
}

void memcpy_peer(benchmark::State& state) {
  Guest& guest = *guests.at(state.range(0));
  const auto cpu = static_cast<unsigned>(state.thread_index());
  const mem::PhysRange pool = guest.swiotlb->default_pool();
  std::vector<std::byte> from(cpus * originals_per_cpu * page_size, std::byte{1});
  std::vector<std::byte> to(pool.bytes, std::byte{2});
  std::vector<std::pair<std::uint64_t, std::uint64_t>> order(pool.bytes / page_size);
  for (std::uint64_t i = 0; i < order.size(); ++i) {
    const PhysAddr bounce = guest.map(cpu, i);
    guest.unmap(cpu, bounce);
    order[i] = {bounce - pool.first, original(cpu, i) - originals};
  }
  std::size_t next = 0;
  for (auto _ : state) {
    const auto [target, source] = order[next];
    std::memcpy(to.data() + target, from.data() + source, page_size);
    benchmark::ClobberMemory();
    next = next + 1 == order.size() ? 0 : next + 1;
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(page_size));
}

void with_guests(benchmark::internal::Benchmark* bench) {
  bench->Setup(prepare)
      ->ArgName("full_percent")
      ->Arg(0)
      ->Arg(50)
      ->Arg(90)
      ->Threads(1)
      ->Threads(2)
      ->UseRealTime();
}

BENCHMARK(map_unmap)->Apply(with_guests);
BENCHMARK(memcpy_peer)->Apply(with_guests);

}  // namespace
}  // namespace cbit
