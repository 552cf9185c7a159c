#include "facts/pool.hpp"

#include "base/text.hpp"

namespace cbit::facts {
namespace {

Read<std::uint64_t> counter(const HostTree& tree, std::string_view name) {
  const std::string text = CBIT_TRY(tree.read(std::string{swiotlb_debugfs} + "/" + std::string{name}));
  const auto value = decimal(trimmed(text));
  if (!value) return tl::unexpected{Unread::io_error};
  return *value;
}

}  // namespace

PoolCounters read_pool(const HostTree& tree) {
  PoolCounters pool{.nslabs = counter(tree, "io_tlb_nslabs"),
                    .used = counter(tree, "io_tlb_used"),
                    .hiwater = counter(tree, "io_tlb_used_hiwater")};
  if (pool.hiwater && *pool.hiwater == 0) pool.hiwater = tl::unexpected{Unread::absent};
  return pool;
}

}  // namespace cbit::facts
