// What the host finds when it searches a guest's memory for the contents of a disk: sector by sector, by
// comparing bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_set>

#include "base/bytes.hpp"
#include "mem/memory.hpp"

namespace cbit::stream {

struct HostScan {
  std::uint64_t private_pages = 0;  // that were ever written
  std::uint64_t shared_pages = 0;
  std::uint64_t sectors_in_private_pages = 0;  // of the disk, readable to the host; each counts once
  std::uint64_t sectors_in_shared_pages = 0;
  std::optional<PhysAddr> found_in_shared_page;  // the first of them
};

// The 512-byte sectors of a disk that can be recognised: those with at least 16 different byte values.
class SectorIndex {
 public:
  void add(ConstByteSpan contents);
  [[nodiscard]] std::uint64_t size() const { return digests_.size(); }
  // What tells the sector from all others; nullopt: it is none of the disk's that can be recognised.
  [[nodiscard]] std::optional<std::uint64_t> find(ConstByteSpan sector) const;

 private:
  std::unordered_set<std::uint64_t> digests_;
};

// Reads every page that was ever written as the host's software does.
[[nodiscard]] HostScan scan_as_host(const mem::Memory& memory, const SectorIndex& index);

}  // namespace cbit::stream
