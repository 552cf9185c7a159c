#include "bus/port_io.hpp"

#include <iterator>

#include "base/assert.hpp"
#include "cbit/addr.hpp"

namespace cbit::bus {
namespace {

constexpr std::uint32_t port_count = 1 << 16;

std::array<bool, 3> by_width(PortWidths widths) { return {widths.byte, widths.word, widths.dword}; }

std::size_t width_index(unsigned bytes) {
  CBIT_ASSERT(bytes == 1 || bytes == 2 || bytes == 4);
  return bytes / 2;
}

}  // namespace

void PortSpace::add(PortRange range, PioRegion& region, PortWidths widths) {
  CBIT_ASSERT(try_add(range, region, widths));
}

bool PortSpace::try_add(PortRange range, PioRegion& region, PortWidths widths) {
  const std::uint32_t end = range.first + range.ports;
  if (range.ports == 0 || end > port_count) return false;
  const auto wanted = by_width(widths);
  for (std::size_t i = 0; i < claims_.size(); ++i) {
    if (!wanted[i]) continue;
    const auto after = claims_[i].lower_bound(end);
    if (after == claims_[i].begin()) continue;
    const auto& [first, claim] = *std::prev(after);
    if (first + claim.ports > range.first) return false;
  }
  for (std::size_t i = 0; i < claims_.size(); ++i)
    if (wanted[i]) claims_[i][range.first] = {range.ports, &region, widths.parts};
  return true;
}

void PortSpace::remove(PortRange range, const PioRegion& region) {
  for (Claims& claims : claims_) {
    const auto found = claims.find(range.first);
    if (found != claims.end() && found->second.ports == range.ports && found->second.region == &region)
      claims.erase(found);
  }
}

PortSpace::Hit PortSpace::find(std::uint32_t port, unsigned bytes, bool part) const {
  const Claims& claims = claims_[width_index(bytes)];
  const auto above = claims.upper_bound(port);
  if (above == claims.begin()) return {};
  const auto& [first, claim] = *std::prev(above);
  if (port + bytes > first + claim.ports || (part && !claim.parts)) return {};
  return {claim.region, static_cast<std::uint16_t>(port - first)};
}

std::uint32_t PortSpace::read(std::uint32_t port, unsigned bytes, bool part) {
  const auto ones = static_cast<std::uint32_t>(bit_mask(8 * bytes));
  const Hit hit = find(port, bytes, part);
  if (hit.region != nullptr) return hit.region->read(hit.offset, bytes) & ones;
  if (bytes == 1) return ones;
  const unsigned half = bytes / 2;
  const std::uint32_t low = read(port, half, true);
  return low | read(port + half, half, true) << 8 * half;
}

void PortSpace::write(std::uint32_t port, unsigned bytes, std::uint32_t value, bool part) {
  value &= static_cast<std::uint32_t>(bit_mask(8 * bytes));
  const Hit hit = find(port, bytes, part);
  if (hit.region != nullptr) return hit.region->write(hit.offset, bytes, value);
  if (bytes == 1) return;
  const unsigned half = bytes / 2;
  write(port, half, value, true);
  write(port + half, half, value >> 8 * half, true);
}

}  // namespace cbit::bus
