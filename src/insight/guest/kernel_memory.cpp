#include "guest/kernel_memory.hpp"

#include <algorithm>

namespace cbit::guest {

bool KernelMemory::read(VirtAddr at, ByteSpan into) const {
  while (!into.empty()) {
    const auto place = pc_->cpu().translate(at);
    if (!place) return false;
    const std::size_t part = std::min<std::size_t>(into.size(), page_size - at.page_offset());
    if (!pc_->machine().memory().peek(place->first, into.first(part), place->second)) return false;
    into = into.subspan(part);
    at += part;
  }
  return true;
}

std::optional<linux::GuestMemory::Place> KernelMemory::place_of(VirtAddr at) const {
  const auto place = pc_->cpu().translate(at);
  if (!place) return std::nullopt;
  return Place{place->first, place->second != no_key};
}

}  // namespace cbit::guest
