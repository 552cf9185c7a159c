#include "dev/virt_queue.hpp"

#include <algorithm>
#include <bit>
#include <numeric>
#include <utility>

#include "base/format.hpp"

namespace cbit {
namespace {

QueueTrouble dma_trouble(const char* what, DmaAddr at, const Fault& fault) {
  return {fmt::format("{} at {}: {}", what, at, to_string(fault.kind))};
}

std::uint64_t total(const std::vector<VirtSegment>& segments) {
  return std::accumulate(segments.begin(), segments.end(), std::uint64_t{0},
                         [](std::uint64_t sum, const VirtSegment& s) { return sum + s.bytes; });
}

bool wraps(DmaAddr at, std::uint64_t bytes) { return bytes != 0 && at + (bytes - 1) < at; }

OrTrouble<void> check_area(const char* name, DmaAddr at, std::uint64_t alignment, std::uint64_t bytes) {
  if (!at.is_aligned(alignment))
    return trouble(fmt::format("{} at {} is not aligned to {}", name, at, alignment));
  if (wraps(at, bytes)) return trouble(fmt::format("{} at {} ends beyond the address space", name, at));
  return {};
}

}  // namespace

std::uint64_t VirtChain::readable_bytes() const { return total(readable); }
std::uint64_t VirtChain::writable_bytes() const { return total(writable); }

std::vector<VirtSegment> sub_segments(std::span<const VirtSegment> segments, std::uint64_t offset,
                                      std::uint64_t bytes) {
  std::vector<VirtSegment> part;
  for (const VirtSegment& s : segments) {
    const std::uint64_t skip = std::min(offset, s.bytes);
    const std::uint64_t take = std::min(bytes, s.bytes - skip);
    offset -= skip;
    bytes -= take;
    if (take != 0) part.push_back({s.at + skip, take});
  }
  return part;
}

OrTrouble<void> read_segments(DmaPort& port, std::span<const VirtSegment> from, ByteSpan to) {
  for (const VirtSegment& s : from) {
    if (to.empty()) break;
    const auto piece = to.first(std::min<std::uint64_t>(s.bytes, to.size()));
    if (const auto done = port.read(s.at, piece); !done)
      return tl::unexpected{dma_trouble("reading a buffer", s.at, done.error())};
    to = to.subspan(piece.size());
  }
  return {};
}

OrTrouble<void> write_segments(DmaPort& port, std::span<const VirtSegment> to, ConstByteSpan from) {
  for (const VirtSegment& s : to) {
    if (from.empty()) break;
    const auto piece = from.first(std::min<std::uint64_t>(s.bytes, from.size()));
    if (const auto done = port.write(s.at, piece); !done)
      return tl::unexpected{dma_trouble("writing a buffer", s.at, done.error())};
    from = from.subspan(piece.size());
  }
  return {};
}

// The descriptor table that a chain runs in: the queue's own, or an indirect one.
struct VirtQueue::Table {
  DmaAddr at;
  std::uint32_t entries = 0;
  bool indirect = false;
};

template <class T>
OrTrouble<T> VirtQueue::load(DmaAddr at, const char* what) {
  const auto value = port_->load<T>(at);
  if (!value) return tl::unexpected{dma_trouble(what, at, value.error())};
  return *value;
}

template <class T>
OrTrouble<void> VirtQueue::store(DmaAddr at, const T& value, const char* what) {
  if (const auto done = port_->store(at, value); !done)
    return tl::unexpected{dma_trouble(what, at, done.error())};
  return {};
}

OrTrouble<void> VirtQueue::enable(const VirtQueueConfig& config, bool indirect, bool event_idx) {
  if (!std::has_single_bit(config.size) || config.size > size_max_)
    return trouble(fmt::format("queue size {} is not a power of two up to {}", config.size, size_max_));
  const VringAreas areas{config.size};
  CBIT_TRY(check_area("descriptor table", config.descriptors, 16, areas.desc_bytes()));
  CBIT_TRY(check_area("available ring", config.available, 2, areas.avail_bytes()));
  CBIT_TRY(check_area("used ring", config.used, 4, areas.used_bytes()));
  reset();
  config_ = config;
  indirect_ = indirect;
  event_idx_ = event_idx;
  enabled_ = true;
  return {};
}

void VirtQueue::reset() { *this = VirtQueue{*port_, size_max_}; }

OrTrouble<std::uint16_t> VirtQueue::available() {
  const auto index =
      CBIT_TRY(load<std::uint16_t>(config_.available + VringAreas::idx, "reading the available index"));
  const auto ahead = static_cast<std::uint16_t>(index - last_avail_);
  if (ahead > config_.size)
    return trouble(fmt::format("available index moved from {} to {} in a queue of {}", last_avail_, index,
                               config_.size));
  return ahead;
}

OrTrouble<VirtChain> VirtQueue::pop() {
  const auto slot = config_.available + VringAreas::avail_ring(last_avail_ & (config_.size - 1));
  const auto head = CBIT_TRY(load<std::uint16_t>(slot, "reading the available ring"));
  if (head >= config_.size)
    return trouble(fmt::format("head {} is outside the queue of {}", head, config_.size));

  VirtChain chain{head, {}, {}};
  std::uint64_t bytes = 0;
  Table table{config_.descriptors, config_.size, false};
  for (std::uint16_t index = head;;) {
    const auto desc = CBIT_TRY(load<VringDesc>(table.at + VringAreas::desc(index), "reading a descriptor"));
    if ((desc.flags & vring_flag::indirect) != 0) {
      table = CBIT_TRY(enter_indirect(table, desc));
      index = 0;
      continue;
    }
    CBIT_TRY(append(chain, desc, bytes));
    if ((desc.flags & vring_flag::next) == 0) break;
    if (desc.next >= table.entries)
      return trouble(
          fmt::format("descriptor {} continues at {} in a table of {}", index, desc.next, table.entries));
    index = desc.next;
  }
  ++last_avail_;
  return chain;
}

// 2.7.5.3.2: a chain may end with one descriptor that refers to a table, whose entries continue it.
OrTrouble<VirtQueue::Table> VirtQueue::enter_indirect(const Table& from, const VringDesc& desc) const {
  if (!indirect_) return trouble("indirect descriptor without VIRTIO_F_INDIRECT_DESC");
  if (from.indirect) return trouble("indirect descriptor in an indirect table");
  if ((desc.flags & vring_flag::next) != 0) return trouble("descriptor with both NEXT and INDIRECT");
  if (desc.len == 0 || desc.len % sizeof(VringDesc) != 0)
    return trouble(fmt::format("indirect table of {} bytes", desc.len));
  const auto entries = static_cast<std::uint32_t>(desc.len / sizeof(VringDesc));
  if (entries > config_.size)
    return trouble(fmt::format("indirect table of {} descriptors in a queue of {}", entries, config_.size));
  const DmaAddr at{desc.addr};
  if (wraps(at, desc.len))
    return trouble(fmt::format("indirect table at {} ends beyond the address space", at));
  return Table{at, entries, true};
}

// A chain is at most as long as the queue (2.7.5.3.1), which also ends loops, and at most 2^32 bytes (2.7.4).
OrTrouble<void> VirtQueue::append(VirtChain& chain, const VringDesc& desc, std::uint64_t& bytes) const {
  if (chain.readable.size() + chain.writable.size() == config_.size)
    return trouble(fmt::format("descriptor chain loops, or is longer than the queue of {}", config_.size));
  const DmaAddr at{desc.addr};
  if (desc.len == 0) return trouble("descriptor of zero bytes");
  if (wraps(at, desc.len)) return trouble(fmt::format("buffer at {} ends beyond the address space", at));
  bytes += desc.len;
  if (bytes > std::uint64_t{1} << 32) return trouble("descriptor chain of more than 2^32 bytes");
  if ((desc.flags & vring_flag::write) != 0) {
    chain.writable.push_back({at, desc.len});
  } else {
    if (!chain.writable.empty()) return trouble("device-readable descriptor after a device-writable one");
    chain.readable.push_back({at, desc.len});
  }
  return {};
}

OrTrouble<void> VirtQueue::push(std::uint16_t head, std::uint32_t written) {
  const auto slot = config_.used + VringAreas::used_ring(used_ & (config_.size - 1));
  CBIT_TRY(store(slot, VringUsedElem{head, written}, "writing the used ring"));
  ++used_;
  return store(config_.used + VringAreas::idx, used_, "writing the used index");
}

OrTrouble<bool> VirtQueue::finish() {
  const VringAreas areas{config_.size};
  const auto before = std::exchange(signalled_, used_);
  if (!event_idx_) {
    const auto flags =
        CBIT_TRY(load<std::uint16_t>(config_.available + VringAreas::flags, "reading available flags"));
    return before != used_ && (flags & vring_flag::avail_no_interrupt) == 0;
  }
  CBIT_TRY(store(config_.used + areas.avail_event(), last_avail_, "writing the available event"));
  const auto event =
      CBIT_TRY(load<std::uint16_t>(config_.available + areas.used_event(), "reading the used event"));
  return vring_need_event(event, used_, before);
}

}  // namespace cbit
