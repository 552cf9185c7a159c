// The lazy memory controller against its peer, the eager one that encrypts on every access, on the streaming
// workload: a disk's data comes into a shared bounce buffer, the guest copies it into its private pages and
// reads it there.
#include <benchmark/benchmark.h>

#include <memory>

#include "mem/eager_memory.hpp"

namespace cbit {
namespace {

constexpr Agent cpu{AgentKind::cpu, 0};
constexpr Agent disk{AgentKind::device, 0x20};
constexpr KeyId guest = 2;
constexpr std::uint64_t request_bytes = 128 << 10;
constexpr std::uint64_t pages_streamed = 64 * request_bytes;
constexpr PhysAddr pool{0};
constexpr PhysAddr pages{16 << 20};
const std::vector<mem::PhysRange> ram{{PhysAddr{0}, 64 << 20}};

std::unique_ptr<mem::Memory> make_lazy(mem::KeyTable& keys, Tracer& tracer) {
  return mem::Memory::create({.ram = ram}, keys, tracer).value();
}
std::unique_ptr<mem::Memory> make_eager(mem::KeyTable& keys, Tracer&) {
  return std::make_unique<mem::EagerMemory>(ram, keys);
}

template <class Make>
void stream_through(benchmark::State& state, Make&& make) {
  Clock clock;
  Tracer tracer{clock};
  mem::KeyTable keys{1, crypt::CipherMode::xex};
  keys.set_derived(guest, "asid 1");
  const auto memory = make(keys, tracer);
  const Bytes data = pattern_bytes(request_bytes, 1);
  Bytes seen(request_bytes);
  for (auto _ : state) {
    for (std::uint64_t at = 0; at < pages_streamed; at += request_bytes) {
      benchmark::DoNotOptimize(memory->write(pool, data, {disk, no_key}));
      benchmark::DoNotOptimize(memory->copy(pages + at, {cpu, guest}, pool, {cpu, no_key}, request_bytes));
      benchmark::DoNotOptimize(memory->read(pages + at, seen, {cpu, guest}));
    }
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * pages_streamed));
}

void stream_lazy(benchmark::State& state) { stream_through(state, make_lazy); }
void stream_eager(benchmark::State& state) { stream_through(state, make_eager); }
BENCHMARK(stream_lazy)->Unit(benchmark::kMillisecond);
BENCHMARK(stream_eager)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace cbit
