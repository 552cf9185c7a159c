// The memory regions of a NIC: which keys there are, who may use them for what, and where their bytes lie.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string_view>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "cbit/verbs_types.hpp"
#include "mem/snapshot.hpp"

namespace cbit::dev::rdma {

// Consecutive bytes at an address that the engine's memory understands.
struct Segment {
  std::uint64_t at = 0;
  std::uint64_t bytes = 0;
};

struct Region {
  std::uint32_t pd = 0;
  unsigned access = 0;      // ibv_access_flags
  std::uint64_t first = 0;  // the application's address
  std::uint64_t bytes = 0;
  std::vector<Segment> segments;  // `bytes` in total
};

// Why an access is refused; the words of RdmaRefused. Empty: allowed.
namespace refusal {
inline constexpr std::string_view none{};
inline constexpr std::string_view local_key = "local-key";
inline constexpr std::string_view remote_key = "remote-key";
inline constexpr std::string_view protection_domain = "protection-domain";
inline constexpr std::string_view access_rights = "access-rights";
inline constexpr std::string_view bounds = "bounds";
inline constexpr std::string_view alignment = "alignment";
inline constexpr std::string_view malformed_packet = "malformed-packet";
inline constexpr std::string_view invalid_request = "invalid-request";
inline constexpr std::string_view bad_response = "bad-response";
inline constexpr std::string_view qkey = "qkey";
inline constexpr std::string_view receive_too_small = "receive-too-small";
inline constexpr std::string_view cq_overrun = "cq-overrun";
inline constexpr std::string_view memory_fault = "memory-fault";
}  // namespace refusal

// How the engine reaches memory: a NIC through its DmaPort, software through a CPU.
class RegionMemory {
 public:
  virtual ~RegionMemory() = default;
  virtual Result<void> read(std::uint64_t at, ByteSpan to) = 0;
  // The error: so many bytes were written before a fault.
  virtual Result<void, std::uint64_t> write(std::uint64_t at, ConstByteSpan from) = 0;
  // A read whose bytes come to the queue's end.
  virtual Result<void> snapshot(std::uint64_t at, std::uint64_t bytes, mem::SnapshotQueue& to) {
    UnfilledBytes own(bytes);
    CBIT_TRY(read(at, own));
    to.extend(std::move(own));
    return {};
  }
};

// Moves [offset, offset + size) of consecutive segments; the caller has checked the bounds.
Result<void> read_segments(RegionMemory& memory, const std::vector<Segment>& segments, std::uint64_t offset,
                           ByteSpan to);
Result<void> snapshot_segments(RegionMemory& memory, const std::vector<Segment>& segments,
                               std::uint64_t offset, std::uint64_t bytes, mem::SnapshotQueue& to);
// The error: so many bytes were written before a fault.
Result<void, std::uint64_t> write_segments(RegionMemory& memory, const std::vector<Segment>& segments,
                                           std::uint64_t offset, ConstByteSpan from);

class RegionTable {
 public:
  // The key, lkey and rkey in one: index 31:8, and a variant 7:0 that changes whenever an index is used
  // again. 0 when there are `max` regions.
  std::uint32_t add(Region region, std::uint32_t max);
  bool remove(std::uint32_t key);
  [[nodiscard]] const Region* find(std::uint32_t key) const;

  // Whether [at, at + bytes) may be accessed so; `access` are ibv_access_flags of which the region needs all.
  // An access of 0 bytes is always allowed, as for an RDMA operation of length 0.
  [[nodiscard]] std::string_view check_local(std::uint32_t lkey, std::uint32_t pd, std::uint64_t at,
                                             std::uint64_t bytes, unsigned access) const;
  [[nodiscard]] std::string_view check_remote(std::uint32_t rkey, std::uint32_t pd, std::uint64_t at,
                                              std::uint64_t bytes, unsigned access) const;

 private:
  [[nodiscard]] std::string_view check(std::uint32_t key, std::uint32_t pd, std::uint64_t at,
                                       std::uint64_t bytes, unsigned access, std::string_view bad_key) const;

  struct Slot {
    std::uint8_t variant = 0;
    std::optional<Region> region;
  };
  std::map<std::uint32_t, Slot> slots_;  // by index
  std::uint32_t next_index_ = 1;
  std::vector<std::uint32_t> free_;
  std::uint32_t live_ = 0;
};

}  // namespace cbit::dev::rdma
