#include "dev/block_backend.hpp"

#include <algorithm>

#include "base/format.hpp"

namespace cbit::dev {

OrError<void> check_range(const BlockBackend& disk, std::uint64_t offset, std::uint64_t bytes) {
  if (offset <= disk.bytes() && bytes <= disk.bytes() - offset) return {};
  return bad_input(
      fmt::format("{} bytes at {} are beyond the end of a disk of {} bytes", bytes, offset, disk.bytes()));
}

OrError<void> check_writable(const BlockBackend& disk, std::uint64_t offset, std::uint64_t bytes) {
  if (disk.read_only()) return bad_input("the disk is read-only");
  return check_range(disk, offset, bytes);
}

MemoryDisk::MemoryDisk(Bytes contents, bool read_only)
    : contents_{std::move(contents)}, read_only_{read_only} {
  contents_.resize(align_up(contents_.size(), sector_size));
}

OrError<void> MemoryDisk::read(std::uint64_t offset, ByteSpan to) {
  CBIT_TRY(check_range(*this, offset, to.size()));
  std::ranges::copy(ConstByteSpan{contents_}.subspan(offset, to.size()), to.begin());
  return {};
}

OrError<void> MemoryDisk::write(std::uint64_t offset, ConstByteSpan from) {
  CBIT_TRY(check_writable(*this, offset, from.size()));
  std::ranges::copy(from, ByteSpan{contents_}.subspan(offset).begin());
  return {};
}

OrError<void> MemoryDisk::zero(std::uint64_t offset, std::uint64_t bytes, bool /*may_unmap*/) {
  CBIT_TRY(check_writable(*this, offset, bytes));
  std::ranges::fill(ByteSpan{contents_}.subspan(offset, bytes), std::byte{0});
  return {};
}

}  // namespace cbit::dev
