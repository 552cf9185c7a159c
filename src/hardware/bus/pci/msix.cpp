#include "bus/pci/msix.hpp"

#include <algorithm>
#include <bit>
#include <span>

#include "base/state_stream.hpp"

namespace cbit::bus {
namespace {

// The part of `from`, which begins at `at`, that [offset, offset + to.size()) covers.
void copy_part(ConstByteSpan from, std::uint64_t at, std::uint64_t offset, ByteSpan to) {
  const std::uint64_t first = std::max(at, offset);
  const std::uint64_t end = std::min(at + from.size(), offset + to.size());
  if (first < end)
    std::ranges::copy(from.subspan(first - at, end - first), to.subspan(first - offset).begin());
}

}  // namespace

std::uint32_t PciMsixTable::pending_offset() const {
  const auto table_bytes = static_cast<std::uint32_t>(entries_.size()) * spec::pci_msix::entry_bytes;
  return std::max(std::bit_ceil(table_bytes), std::uint32_t{page_size / 2});
}

std::uint64_t PciMsixTable::bytes() const { return std::uint64_t{pending_offset()} * 2; }

bool PciMsixTable::pending(unsigned vector) const { return (pending_[vector / 64] >> vector % 64 & 1) != 0; }

void PciMsixTable::set_pending(unsigned vector, bool pending) {
  const std::uint64_t bit = std::uint64_t{1} << vector % 64;
  pending_[vector / 64] = pending ? pending_[vector / 64] | bit : pending_[vector / 64] & ~bit;
}

void PciMsixTable::reset() {
  std::ranges::fill(entries_, spec::PciMsixEntry{});
  std::ranges::fill(pending_, 0);
}

Result<void> PciMsixTable::peek(std::uint64_t offset, ByteSpan to) const {
  std::ranges::fill(to, std::byte{0});
  copy_part(std::as_bytes(std::span{entries_}), 0, offset, to);
  copy_part(std::as_bytes(std::span{pending_}), pending_offset(), offset, to);
  return {};
}

Result<void> PciMsixTable::write(std::uint64_t offset, ConstByteSpan from) {
  if ((from.size() != 4 && from.size() != 8) || offset % from.size() != 0) return {};
  if (offset >= entries_.size() * spec::pci_msix::entry_bytes) return {};
  for (std::size_t at = 0; at < from.size(); at += 4) write_dword(offset + at, load<std::uint32_t>(from, at));
  changed_();
  return {};
}

void PciMsixTable::write_dword(std::uint64_t offset, std::uint32_t value) {
  constexpr std::uint64_t lower_half = 0xffff'ffff;
  spec::PciMsixEntry& entry = entries_[offset / spec::pci_msix::entry_bytes];
  switch (offset % spec::pci_msix::entry_bytes / 4) {
    case 0: entry.address = (entry.address & ~lower_half) | (value & ~3u); break;
    case 1: entry.address = (entry.address & lower_half) | std::uint64_t{value} << 32; break;
    case 2: entry.data = value; break;
    default: entry.vector_control = value & spec::pci_msix::entry_masked; break;
  }
}

void PciMsixTable::transfer(StateStream& s) {
  for (spec::PciMsixEntry& entry : entries_) s(entry.address, entry.data, entry.vector_control);
  s.same_size(pending_);
}

}  // namespace cbit::bus
