#include "guest/exposure.hpp"

namespace cbit::guest {
namespace {

// A piece of a run is as much as a run has to be, and has a block of substance itself.
bool is_worth_telling(const mem::Memory& memory, PhysAddr at, std::uint64_t bytes) {
  if (bytes < Twins::bytes_min) return false;
  Bytes block(Twins::block_bytes);
  for (std::uint64_t offset = 0; offset + block.size() <= bytes; offset += block.size())
    if (memory.peek(at + offset, block, no_key) && has_substance(block)) return true;
  return false;
}

}  // namespace

Exposure find_exposure(const mem::Memory& memory, KeyId guest_key, const GivenMemory& given,
                       std::uint64_t since_ns) {
  if (guest_key == no_key || !given.complete()) return {};
  const Twins twins = find_twins(memory, guest_key, since_ns);
  Exposure exposure{.searched = twins.complete ? Exposure::Searched::all : Exposure::Searched::in_part};
  for (const Twin& run : twins.runs)
    given.for_each_piece(run.at, run.bytes, [&](PhysAddr at, std::uint64_t bytes, GivenMemory::How how) {
      using How = GivenMemory::How;
      if (how == How::left_behind) exposure.left_behind += bytes;
      if (how == How::copied_along) exposure.copied_along += bytes;
      if (how != How::not_at_all || !is_worth_telling(memory, at, bytes)) return;
      exposure.bytes += bytes;
      if (exposure.places.size() == Exposure::places_max) return;
      const Twin piece{at, run.private_at + (at - run.at), bytes};
      exposure.places.push_back(
          {piece, views_at(memory, piece.private_at, guest_key), memory.history(at.page()).writer});
    });
  return exposure;
}

}  // namespace cbit::guest
