#include "bus/dma_port.hpp"

#include <algorithm>
#include <utility>

#include "base/assert.hpp"
#include "base/cost.hpp"
#include "mem/snapshot.hpp"

namespace cbit::bus {
namespace {

// A region knows only its offset; above it, addresses are physical.
Result<void> at_address(PhysAddr phys, Result<void> result) {
  if (!result) result.error().address = phys.value();
  return result;
}

// Of the next `bytes` of a transfer: the same in sum, into however many pieces it is cut.
std::uint64_t transfer_ns(std::uint64_t before, std::uint64_t bytes) {
  return cost::device_transfer_ns(before + bytes) - (before == 0 ? 0 : cost::device_transfer_ns(before));
}

// Of this thread.
thread_local bool peer_access_under_way = false;

}  // namespace

DmaPort::DmaPort(SystemBus& bus, DmaPortConfig config)
    : bus_{&bus}, config_{std::move(config)}, name_{bus.tracer().intern(config_.device)} {
  CBIT_ASSERT(config_.address_bits >= 1 && config_.address_bits <= 64);
  bus.add_requester(config_.requester);
}

Result<void> DmaPort::read(DmaAddr from, ByteSpan to) {
  return transfer(from, to.size(), false, Look::access, [&](const Piece& piece, std::uint64_t before) {
    const ByteSpan part = to.subspan(before, piece.bytes);
    if (piece.mmio.region == nullptr) return bus_->memory().read(piece.phys, part, access(piece));
    return move_to_peer(piece, false, [&] { return piece.mmio.region->read(piece.mmio.offset, part); });
  });
}

Result<void> DmaPort::write(DmaAddr to, ConstByteSpan from) {
  return transfer(to, from.size(), true, Look::access, [&](const Piece& piece, std::uint64_t before) {
    const ConstByteSpan part = from.subspan(before, piece.bytes);
    if (piece.mmio.region == nullptr) return bus_->memory().write(piece.phys, part, access(piece));
    return move_to_peer(piece, true, [&] { return piece.mmio.region->write(piece.mmio.offset, part); });
  });
}

Result<void> DmaPort::snapshot(DmaAddr from, std::uint64_t bytes, mem::SnapshotQueue& to) {
  return transfer(from, bytes, false, Look::access, [&](const Piece& piece, std::uint64_t) -> Result<void> {
    if (piece.mmio.region == nullptr)
      return bus_->memory().snapshot(piece.phys, piece.bytes, to, access(piece));
    UnfilledBytes own(piece.bytes);
    CBIT_TRY(move_to_peer(piece, false, [&] { return piece.mmio.region->read(piece.mmio.offset, own); }));
    to.extend(std::move(own));
    return {};
  });
}

Result<void> DmaPort::peek(DmaAddr from, ByteSpan to) const {
  return transfer(from, to.size(), false, Look::peek, [&](const Piece& piece, std::uint64_t before) {
    const ByteSpan part = to.subspan(before, piece.bytes);
    if (piece.mmio.region == nullptr) return bus_->memory().peek(piece.phys, part, piece.key);
    return at_address(piece.phys, std::as_const(*piece.mmio.region).peek(piece.mmio.offset, part));
  });
}

template <class Move>
Result<void> DmaPort::transfer(DmaAddr at, std::uint64_t bytes, bool write, Look look, Move&& move) const {
  if (bytes == 0) return {};
  if (!bus_master_) [[unlikely]]
    return refuse(at, {FaultKind::bus_master_off, at.value(), write}, look);
  const std::uint64_t last = bit_mask(config_.address_bits);
  const std::uint64_t reachable = at.value() <= last ? std::min(bytes - 1, last - at.value()) + 1 : 0;
  for (std::uint64_t done = 0; done < reachable;) {
    Piece piece;
    if (const auto found = resolve(piece, at + done, reachable - done, write, look); !found)
      return refuse(at + done, found.error(), look);
    const std::uint64_t next = done + piece.bytes;
    CBIT_TRY(look == Look::peek ? move(piece, done) : move_told(piece, done, write, move));
    done = next;
  }
  const DmaAddr beyond = at + reachable;
  if (reachable < bytes) return refuse(beyond, {FaultKind::address_width, beyond.value(), write}, look);
  return {};
}

template <class Move>
Result<void> DmaPort::move_to_peer(const Piece& piece, bool write, Move&& move) {
  if (peer_access_under_way) return fault(FaultKind::device_protocol, piece.phys.value(), write);
  peer_access_under_way = in_peer_access_ = true;
  const Result<void> done = at_address(piece.phys, move());
  peer_access_under_way = in_peer_access_ = false;
  return done;
}

template <class Move>
Result<void> DmaPort::move_told(Piece& piece, std::uint64_t before, bool write, Move&& move) const {
  const bool heard = bus_->tracer().enabled();
  for (std::uint64_t left = piece.bytes; left != 0;) {
    piece.bytes = left;
    KeyId page_key = no_key;
    if (heard && piece.mmio.region == nullptr) piece.bytes = run_of_one_writer_key(piece, page_key);
    const Result<void> result = move(std::as_const(piece), before);

    std::uint64_t moved = piece.bytes;
    if (!result) {
      const PhysAddr stopped{result.error().address};
      moved = stopped >= piece.phys && stopped - piece.phys < piece.bytes ? stopped - piece.phys : 0;
    }
    if (moved != 0) {
      bus_->tracer().emit_if_heard(
          agent(),
          [&] {
            return DeviceAccess{name_, config_.requester, piece.bus, piece.phys, moved,
                                write, piece.translated,  piece.key, page_key};
          },
          transfer_ns(before, moved));
    }
    if (!result) return refuse(piece.bus + moved, result.error(), Look::access);
    piece.bus += moved;
    piece.phys += moved;
    before += moved;
    left -= moved;
  }
  return {};
}

std::uint64_t DmaPort::run_of_one_writer_key(const Piece& piece, KeyId& page_key) const {
  page_key = bus_->memory().history(piece.phys).writer_key;
  std::uint64_t run = page_size - piece.phys.page_offset();
  while (run < piece.bytes && bus_->memory().history(piece.phys + run).writer_key == page_key)
    run += page_size;
  return std::min(run, piece.bytes);
}

// Results come through a reference: a Result of them would be put together and taken apart for each access.
Result<void> DmaPort::resolve(Piece& piece, DmaAddr at, std::uint64_t bytes, bool write, Look look) const {
  piece.bus = at;
  piece.bytes = 0;
  piece.mmio.region = nullptr;
  bool encrypted = false;
  do {
    iommu::IommuTranslation next;
    const auto found = translate(next, at + piece.bytes, write, look);
    if (piece.bytes == 0) {
      if (!found) return found;
      piece.phys = next.phys;
      piece.key = next.key;
      piece.translated = next.translated;
      encrypted = next.encrypted;
    } else if (!found || next.phys != piece.phys + piece.bytes || next.key != piece.key ||
               next.encrypted != encrypted) {
      break;
    }
    piece.bytes += std::min(next.bytes, bytes - piece.bytes);
  } while (piece.bytes < bytes);

  // Memory first: a device is the rare case, and no region of one overlaps memory.
  for (const mem::PhysRange& ram : bus_->memory().ram()) {
    if (!ram.contains(piece.phys, 1)) continue;
    piece.bytes = std::min(piece.bytes, ram.end() - piece.phys);
    return {};
  }
  piece.mmio = bus_->find_mmio(piece.phys);
  if (piece.mmio.region == nullptr) return fault(FaultKind::no_memory, piece.phys.value(), write);
  if (encrypted) return fault(FaultKind::private_mmio, piece.phys.value(), write);
  piece.bytes = std::min(piece.bytes, piece.mmio.bytes);
  return {};
}

Result<void> DmaPort::translate(iommu::IommuTranslation& to, DmaAddr at, bool write, Look look) const {
  const iommu::DmaTranslator* const iommu = bus_->iommu();
  if (iommu == nullptr || config_.bypass_iommu)
    to = iommu::untranslated(bus_->device_view(), at);
  else
    to = CBIT_TRY(look == Look::peek ? iommu->peek(config_.requester, at, write)
                                     : iommu->translate(config_.requester, at, write));
  if (config_.trusted_with != no_key) to.key = config_.trusted_with;
  return {};
}

tl::unexpected<Fault> DmaPort::refuse(DmaAddr at, const Fault& why, Look look) const {
  if (look == Look::access) {
    stopped_at_ = at;
    bus_->tracer().emit(agent(), DeviceFault{name_, config_.requester, at, why});
  }
  return tl::unexpected{why};
}

}  // namespace cbit::bus
