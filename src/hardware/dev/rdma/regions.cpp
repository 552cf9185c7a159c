#include "dev/rdma/regions.hpp"

#include <algorithm>
#include <type_traits>

namespace cbit::dev::rdma {
namespace {

// Calls `move(address, bytes before it, bytes)` for the parts of [offset, offset + bytes).
template <class Move>
std::invoke_result_t<Move, std::uint64_t, std::uint64_t, std::uint64_t> each_part(
    const std::vector<Segment>& segments, std::uint64_t offset, std::uint64_t bytes, Move&& move) {
  std::uint64_t done = 0;
  for (const Segment& segment : segments) {
    if (done == bytes) break;
    if (offset >= segment.bytes) {
      offset -= segment.bytes;
      continue;
    }
    const std::uint64_t n = std::min(segment.bytes - offset, bytes - done);
    CBIT_TRY(move(segment.at + offset, done, n));
    done += n;
    offset = 0;
  }
  return {};
}

}  // namespace

Result<void> read_segments(RegionMemory& memory, const std::vector<Segment>& segments, std::uint64_t offset,
                           ByteSpan to) {
  return each_part(segments, offset, to.size(), [&](std::uint64_t at, std::uint64_t done, std::uint64_t n) {
    return memory.read(at, to.subspan(done, n));
  });
}

Result<void> snapshot_segments(RegionMemory& memory, const std::vector<Segment>& segments,
                               std::uint64_t offset, std::uint64_t bytes, mem::SnapshotQueue& to) {
  return each_part(segments, offset, bytes, [&](std::uint64_t at, std::uint64_t, std::uint64_t n) {
    return memory.snapshot(at, n, to);
  });
}

Result<void, std::uint64_t> write_segments(RegionMemory& memory, const std::vector<Segment>& segments,
                                           std::uint64_t offset, ConstByteSpan from) {
  return each_part(segments, offset, from.size(),
                   [&](std::uint64_t at, std::uint64_t done, std::uint64_t n) -> Result<void, std::uint64_t> {
                     if (const auto part = memory.write(at, from.subspan(done, n)); !part)
                       return tl::unexpected{done + part.error()};
                     return {};
                   });
}

std::uint32_t RegionTable::add(Region region, std::uint32_t max) {
  if (live_ >= max) return 0;
  std::uint32_t index = next_index_;
  if (free_.empty())
    ++next_index_;
  else {
    index = free_.back();
    free_.pop_back();
  }
  Slot& slot = slots_[index];
  slot.region = std::move(region);
  ++live_;
  return index << 8 | slot.variant;
}

bool RegionTable::remove(std::uint32_t key) {
  if (find(key) == nullptr) return false;
  Slot& slot = slots_[key >> 8];
  slot.region.reset();
  ++slot.variant;
  free_.push_back(key >> 8);
  --live_;
  return true;
}

const Region* RegionTable::find(std::uint32_t key) const {
  const auto found = slots_.find(key >> 8);
  if (found == slots_.end() || !found->second.region || found->second.variant != (key & 0xff)) return nullptr;
  return &*found->second.region;
}

std::string_view RegionTable::check_local(std::uint32_t lkey, std::uint32_t pd, std::uint64_t at,
                                          std::uint64_t bytes, unsigned access) const {
  return check(lkey, pd, at, bytes, access, refusal::local_key);
}

std::string_view RegionTable::check_remote(std::uint32_t rkey, std::uint32_t pd, std::uint64_t at,
                                           std::uint64_t bytes, unsigned access) const {
  return check(rkey, pd, at, bytes, access, refusal::remote_key);
}

std::string_view RegionTable::check(std::uint32_t key, std::uint32_t pd, std::uint64_t at,
                                    std::uint64_t bytes, unsigned access, std::string_view bad_key) const {
  if (bytes == 0) return refusal::none;
  const Region* const region = find(key);
  if (region == nullptr) return bad_key;
  if (region->pd != pd) return refusal::protection_domain;
  if ((region->access & access) != access) return refusal::access_rights;
  if (at < region->first || at - region->first > region->bytes ||
      bytes > region->bytes - (at - region->first))
    return refusal::bounds;
  return refusal::none;
}

}  // namespace cbit::dev::rdma
