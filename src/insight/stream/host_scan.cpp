#include "stream/host_scan.hpp"

#include <array>
#include <bitset>

#include "crypt/sha256.hpp"
#include "dev/block_backend.hpp"

namespace cbit::stream {
namespace {

bool recognisable(ConstByteSpan sector) {
  std::bitset<256> values;
  for (const std::byte b : sector) values.set(std::to_integer<unsigned>(b));
  return values.count() >= 16;
}

// 64 bits of a digest: with a million sectors a chance match is less likely than a memory error.
std::uint64_t short_digest(ConstByteSpan sector) { return load<std::uint64_t>(crypt::sha256(sector)); }

}  // namespace

void SectorIndex::add(ConstByteSpan contents) {
  for (; contents.size() >= dev::sector_size; contents = contents.subspan(dev::sector_size))
    if (const auto sector = contents.first(dev::sector_size); recognisable(sector))
      digests_.insert(short_digest(sector));
}

std::optional<std::uint64_t> SectorIndex::find(ConstByteSpan sector) const {
  if (!recognisable(sector)) return std::nullopt;
  const std::uint64_t digest = short_digest(sector);
  return digests_.contains(digest) ? std::optional{digest} : std::nullopt;
}

HostScan scan_as_host(const mem::Memory& memory, const SectorIndex& index) {
  HostScan scan;
  std::unordered_set<std::uint64_t> in_private_pages, in_shared_pages;
  std::array<std::byte, page_size> page;
  memory.for_each_touched([&](PhysAddr at, const mem::PageHistory& history) {
    ++(history.shared ? scan.shared_pages : scan.private_pages);
    if (!memory.peek(at, page, no_key)) return;
    for (std::size_t i = 0; i < page_size; i += dev::sector_size) {
      const auto sector = index.find(ConstByteSpan{page}.subspan(i, dev::sector_size));
      if (!sector) continue;
      (history.shared ? in_shared_pages : in_private_pages).insert(*sector);
      if (history.shared && !scan.found_in_shared_page) scan.found_in_shared_page = at + i;
    }
  });
  scan.sectors_in_private_pages = in_private_pages.size();
  scan.sectors_in_shared_pages = in_shared_pages.size();
  return scan;
}

}  // namespace cbit::stream
