#include "mem/memory.hpp"

#include <fmt/format.h>

#include "base/format.hpp"
#include "mem/alias_cache.hpp"
#include "mem/lazy_memory.hpp"
#include "mem/snapshot.hpp"

namespace cbit::mem {
namespace {

constexpr std::uint64_t ram_bytes_max = 1ull << 40;

OrError<void> check(const MemoryConfig& config) {
  if (config.ram.empty()) return usage_error("a machine needs memory");
  PhysAddr end{0};
  std::uint64_t bytes = 0;
  for (const PhysRange& range : config.ram) {
    if (range.bytes == 0 || !range.first.is_aligned(page_size) || range.bytes % page_size != 0 ||
        range.first < end)
      return usage_error(fmt::format("bad memory range at {}", range.first),
                         "ranges are page-aligned, ascending and disjoint");
    bytes += range.bytes;
    if (bytes > ram_bytes_max) return usage_error("more than 1 TiB of memory", "use 1T or less");
    end = range.end();
  }
  if (config.cache == CacheModel::bite && config.protection != MemoryProtection::none)
    return usage_error("caches that keep aliases apart are modelled for SME, SEV and SEV-ES only");
  return {};
}

}  // namespace

OrError<std::unique_ptr<Memory>> Memory::create(const MemoryConfig& config, KeyTable& keys, Tracer& tracer) {
  CBIT_TRY(check(config));
  auto store = CBIT_TRY(PageStore::reserve(config.ram.back().end()));
  const bool bites = config.cache == CacheModel::bite;
  MemoryConfig inner = config;
  if (bites) inner.cache = CacheModel::coherent;
  std::unique_ptr<Memory> memory = std::make_unique<LazyMemory>(inner, std::move(store), keys, tracer);
  if (bites) memory = std::make_unique<AliasCache>(std::move(memory), tracer);
  return memory;
}

Result<void> Memory::snapshot(PhysAddr from, std::uint64_t bytes, SnapshotQueue& to, const Access& access) {
  UnfilledBytes own(bytes);
  CBIT_TRY(read(from, own, access));
  to.extend(std::move(own));
  return {};
}
Result<std::byte*> Memory::lease(PhysAddr, const Access&, LeaseIntent, LeaseHolder&) { return nullptr; }
void Memory::end_leases(PhysAddr, LeaseHolder&) {}
void Memory::end_leases(LeaseHolder&) {}

}  // namespace cbit::mem
