// Virtual cost of operations, in nanoseconds of virtual time. Round figures of a first-generation EPYC, there
// to give traces a readable shape and runs a deterministic length; counts, not these, answer questions of
// cost (docs/PERFORMANCE.md).
#pragma once

#include <cstdint>

namespace cbit::cost {

inline constexpr std::uint64_t tlb_flush_page_ns = 100;
inline constexpr std::uint64_t tlb_flush_full_ns = 2'000;
inline constexpr std::uint64_t clflush_line_ns = 5;
inline constexpr std::uint64_t wbinvd_ns = 500'000;
inline constexpr std::uint64_t hypercall_ns = 1'500;
inline constexpr std::uint64_t iommu_map_ns = 200;

// A CPU copy at 10 GB/s, a device transfer at 4 GB/s plus the latency of a bus round trip.
[[nodiscard]] constexpr std::uint64_t cpu_copy_ns(std::uint64_t bytes) { return 10 + bytes / 10; }
[[nodiscard]] constexpr std::uint64_t device_transfer_ns(std::uint64_t bytes) { return 500 + bytes / 4; }

}  // namespace cbit::cost
