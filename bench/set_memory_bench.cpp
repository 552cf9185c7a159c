// What changing a page between private and shared costs the model: set_memory_decrypted() and
// set_memory_encrypted() of runs of pages, with their flushes, in a guest. The peer is a memset of the pages.
#include <benchmark/benchmark.h>

#include <cstring>
#include <memory>

#include "kernel/kernel.hpp"

namespace cbit {
namespace {

void convert_and_back(benchmark::State& state, Platform platform) {
  const auto pages = static_cast<std::uint64_t>(state.range(0));
  const auto machine = machine::Machine::create({.platform = platform, .memory_bytes = 256ull << 20}).value();
  const auto kernel = kernel::Kernel::boot(*machine, {.debug = false}).value();
  kernel::Mm& mm = kernel->mm();
  const VirtAddr at = *mm.alloc_pages(pages);
  for (auto _ : state)
    if (!mm.set_memory_decrypted(kernel->cpu(0), at, pages) ||
        !mm.set_memory_encrypted(kernel->cpu(0), at, pages))
      state.SkipWithError("the conversion failed");
  state.SetItemsProcessed(state.iterations() * 2 * state.range(0));  // pages converted
}
BENCHMARK_CAPTURE(convert_and_back, sev, Platform::sev)->Arg(1)->Arg(64);
BENCHMARK_CAPTURE(convert_and_back, sev_snp, Platform::sev_snp)->Arg(1)->Arg(64);

void memset_pages(benchmark::State& state) {
  const auto bytes = static_cast<std::size_t>(state.range(0)) * page_size;
  const auto memory = std::make_unique<std::byte[]>(bytes);
  for (auto _ : state) {
    std::memset(memory.get(), 0, bytes);
    benchmark::DoNotOptimize(memory.get());
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(memset_pages)->Arg(1)->Arg(64);

}  // namespace
}  // namespace cbit
