// The host's memory: how much, and where it lies.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "facts/host_tree.hpp"

namespace cbit::facts {

// "MemTotal: 16323492 kB" in bytes; nullopt: no such line.
[[nodiscard]] std::optional<std::uint64_t> parse_meminfo(std::string_view text);

struct MemoryRange {
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  std::string kind;  // "System RAM", "Reserved", "Persistent Memory"
};

// The outermost lines of /proc/iomem. A reader without rights gets zeros for all addresses: no range.
[[nodiscard]] std::vector<MemoryRange> parse_iomem(std::string_view text);

struct MemoryFacts {
  std::optional<std::uint64_t> total;  // MemTotal
  // /proc/iomem, or /sys/firmware/memmap where that hides the addresses. denied: both do.
  Read<std::vector<MemoryRange>> ranges = tl::unexpected{Unread::absent};
  std::string ranges_path;
  // Namespaces and regions on /sys/bus/nd: persistent memory and DAX.
  std::vector<std::string> nvdimms;

  // Bytes of System RAM; where the map is not known, MemTotal.
  [[nodiscard]] std::optional<std::uint64_t> ram() const;
  // There is RAM at or above 4 GiB; nullopt: not known.
  [[nodiscard]] std::optional<bool> above_4g() const;
};
[[nodiscard]] MemoryFacts read_memory(const HostTree& tree);

}  // namespace cbit::facts
