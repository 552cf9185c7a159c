#include "dev/virtio/ring.hpp"

#include "base/format.hpp"

namespace cbit::dev {
namespace {

bool wraps(DmaAddr at, std::uint64_t bytes) { return bytes != 0 && at + (bytes - 1) < at; }

}  // namespace

OrTrouble<void> check_area(const char* name, DmaAddr at, std::uint64_t alignment, std::uint64_t bytes) {
  if (!at.is_aligned(alignment))
    return trouble(fmt::format("{} at {} is not aligned to {}", name, at, alignment));
  if (wraps(at, bytes)) return trouble(fmt::format("{} at {} ends beyond the address space", name, at));
  return {};
}

OrTrouble<void> VirtRing::append(VirtChain& chain, DmaAddr at, std::uint32_t length,
                                 bool device_writes) const {
  if (chain.readable.size() + chain.writable.size() == config_.size)
    return trouble(fmt::format("descriptor chain loops, or is longer than the queue of {}", config_.size));
  if (length == 0) return trouble("descriptor of zero bytes");
  if (wraps(at, length)) return trouble(fmt::format("buffer at {} ends beyond the address space", at));
  chain.bytes += length;
  if (chain.bytes > std::uint64_t{1} << 32) return trouble("descriptor chain of more than 2^32 bytes");
  if (!device_writes && !chain.writable.empty())
    return trouble("device-readable descriptor after a device-writable one");
  (device_writes ? chain.writable : chain.readable).push_back({at, length});
  return {};
}

OrTrouble<std::uint32_t> VirtRing::indirect_entries(DmaAddr at, std::uint32_t length) const {
  if (!features_.indirect) return trouble("indirect descriptor without VIRTIO_F_INDIRECT_DESC");
  if (length == 0 || length % sizeof(spec::VringDesc) != 0)
    return trouble(fmt::format("indirect table of {} bytes", length));
  const auto entries = static_cast<std::uint32_t>(length / sizeof(spec::VringDesc));
  if (entries > config_.size)
    return trouble(fmt::format("indirect table of {} descriptors in a queue of {}", entries, config_.size));
  if (wraps(at, length))
    return trouble(fmt::format("indirect table at {} ends beyond the address space", at));
  return entries;
}

void VirtQueueConfig::transfer(StateStream& s) {
  s(size);
  for (DmaAddr* const area : {&descriptors, &available, &used}) {
    std::uint64_t at = area->value();
    s(at);
    *area = DmaAddr{at};
  }
}

}  // namespace cbit::dev
