#include "bus/system_bus.hpp"

#include <algorithm>

#include "base/assert.hpp"

namespace cbit::bus {
namespace {

bool overlap(const mem::PhysRange& a, const mem::PhysRange& b) {
  return a.first <= b.first ? b.first - a.first < a.bytes : a.first - b.first < b.bytes;
}

bool inside(std::uint64_t offset, std::uint64_t bytes, std::uint64_t size) {
  return bytes <= size && offset <= size - bytes;
}

}  // namespace

Result<void> MmioRegion::peek(std::uint64_t offset, ByteSpan) const {
  return fault(FaultKind::device_protocol, offset);
}

Result<void> RamBar::peek(std::uint64_t offset, ByteSpan to) const {
  if (!inside(offset, to.size(), data_.size())) return fault(FaultKind::no_memory, offset);
  std::ranges::copy(ConstByteSpan{data_}.subspan(offset, to.size()), to.begin());
  return {};
}

Result<void> RamBar::write(std::uint64_t offset, ConstByteSpan from) {
  if (!inside(offset, from.size(), data_.size())) return fault(FaultKind::no_memory, offset, true);
  std::ranges::copy(from, data_.begin() + static_cast<std::ptrdiff_t>(offset));
  return {};
}

bool SystemBus::overlaps_something(mem::PhysRange range) const {
  for (const mem::PhysRange& ram : memory_->ram())
    if (overlap(ram, range)) return true;
  for (const auto& [first, other] : mmio_)
    if (overlap({first, other.first}, range)) return true;
  return false;
}

void SystemBus::add_mmio(mem::PhysRange range, MmioRegion& region) {
  CBIT_ASSERT(range.bytes != 0 && range.bytes - 1 <= ~range.first.value());
  CBIT_ASSERT(!overlaps_something(range));
  mmio_[range.first] = {range.bytes, &region};
}

bool SystemBus::try_add_mmio(mem::PhysRange range, MmioRegion& region) {
  if (range.bytes == 0 || range.bytes - 1 > ~range.first.value() || overlaps_something(range)) return false;
  mmio_[range.first] = {range.bytes, &region};
  return true;
}

void SystemBus::remove_mmio(mem::PhysRange range, const MmioRegion& region) {
  const auto found = mmio_.find(range.first);
  if (found == mmio_.end()) return;
  const auto& [bytes, owner] = found->second;
  if (bytes == range.bytes && owner == &region) mmio_.erase(found);
}

SystemBus::Hit SystemBus::find_mmio(PhysAddr at, std::uint64_t bytes) const {
  const auto above = mmio_.upper_bound(at);
  if (above == mmio_.begin()) return {};
  const auto& [first, entry] = *std::prev(above);
  const auto& [size, region] = entry;
  const std::uint64_t offset = at - first;
  if (offset >= size || bytes > size - offset) return {};
  return {region, offset, size - offset};
}

Result<void> SystemBus::io_read(PhysAddr from, ByteSpan to) {
  const Hit hit = find_mmio(from, to.size());
  if (hit.region == nullptr) return fault(FaultKind::no_memory, from.value());
  return hit.region->read(hit.offset, to);
}

Result<void> SystemBus::io_write(PhysAddr to, ConstByteSpan from) {
  const Hit hit = find_mmio(to, from.size());
  if (hit.region == nullptr) return fault(FaultKind::no_memory, to.value(), true);
  return hit.region->write(hit.offset, from);
}

}  // namespace cbit::bus
