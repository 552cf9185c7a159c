#include "dev/virtio/virtio_blk.hpp"

#include <algorithm>
#include <bit>

#include "base/cost.hpp"
#include "base/format.hpp"

namespace cbit::dev {
namespace {

constexpr std::size_t bounce_bytes = 64 * 1024;
constexpr std::uint32_t zero_sectors_max = 1u << 22;  // 2 GiB per range

std::uint64_t features(const BlockBackend& disk, const VirtioBlkOptions& options) {
  using namespace spec::virtio_blk_feature;
  std::uint64_t bits = blk_size;
  if (options.seg_max != 0) bits |= seg_max;
  if (options.size_max != 0) bits |= size_max;
  if (options.flush) bits |= spec::virtio_blk_feature::flush;
  if (disk.read_only()) return bits | ro;
  if (options.discard) bits |= discard;
  if (options.write_zeroes) bits |= write_zeroes;
  return bits;
}

OrError<void> check(const BlockBackend& disk, const VirtioBlkOptions& options) {
  CBIT_TRY(check(options.virtio));
  if (!std::has_single_bit(options.queue_size) || options.queue_size < 4)
    return usage_error(fmt::format("queue size {} is not a power of two from 4 up", options.queue_size));
  if (!std::has_single_bit(options.blk_size) || options.blk_size < sector_size ||
      options.blk_size > page_size)
    return usage_error(fmt::format("block size {} is not a power of two from 512 to 4096", options.blk_size));
  if (options.seg_max > options.queue_size - 2u)
    return usage_error(fmt::format("{} segments, a header and a status do not fit into a queue of {}",
                                   options.seg_max, options.queue_size));
  if (disk.bytes() % options.blk_size != 0)
    return usage_error(
        fmt::format("a disk of {} bytes is not whole blocks of {}", disk.bytes(), options.blk_size));
  if (options.serial.size() > spec::virtio_blk_id_bytes)
    return usage_error(
        fmt::format("serial number '{}' is longer than {} bytes", options.serial, spec::virtio_blk_id_bytes));
  return {};
}

std::uint8_t status_of(const OrError<void>& done) {
  return done ? spec::virtio_blk_status::ok : spec::virtio_blk_status::ioerr;
}

}  // namespace

struct VirtioBlk::Request {
  spec::VirtioBlkOutHdr header;
  std::vector<VirtSegment> data_out;  // without the header
  std::vector<VirtSegment> data_in;   // without the status
  std::uint64_t out_bytes = 0;
  std::uint64_t in_bytes = 0;
  std::uint64_t written = 0;  // of data_in
};

OrError<std::unique_ptr<VirtioBlk>> VirtioBlk::create(bus::SystemBus& bus, bus::DmaPortConfig port,
                                                      BlockBackend& disk, const VirtioBlkOptions& options) {
  CBIT_TRY(check(disk, options));
  return std::unique_ptr<VirtioBlk>{new VirtioBlk{bus, std::move(port), disk, options}};
}

VirtioBlk::VirtioBlk(bus::SystemBus& bus, bus::DmaPortConfig port, BlockBackend& disk,
                     const VirtioBlkOptions& options)
    : VirtioDevice{bus, std::move(port), options.virtio, features(disk, options), {options.queue_size}},
      disk_{&disk},
      options_{options},
      bounce_(bounce_bytes) {
  config_.capacity = disk.bytes() / sector_size;
  config_.size_max = options.size_max;
  config_.seg_max = options.seg_max;
  config_.blk_size = options.blk_size;
  config_.num_queues = 1;
  config_.max_discard_sectors = zero_sectors_max;
  config_.max_discard_seg = 1;
  config_.discard_sector_alignment = static_cast<std::uint32_t>(options.blk_size / sector_size);
  config_.max_write_zeroes_sectors = zero_sectors_max;
  config_.max_write_zeroes_seg = 1;
  config_.write_zeroes_may_unmap = 1;
}

OrTrouble<void> VirtioBlk::kicked(std::uint16_t queue) {
  return serve(queue, [this](const VirtChain& chain) { return handle(chain); });
}

OrTrouble<std::uint32_t> VirtioBlk::handle(const VirtChain& chain) {
  constexpr std::uint64_t header_bytes = sizeof(spec::VirtioBlkOutHdr);
  const std::uint64_t readable = chain.readable_bytes();
  const std::uint64_t writable = chain.writable_bytes();
  if (readable < header_bytes) return trouble(fmt::format("request header of {} bytes", readable));
  if (writable == 0) return trouble("request without a status byte");

  Request request;
  std::array<std::byte, header_bytes> raw;
  CBIT_TRY(read_segments(dma(), chain.readable, raw));
  request.header = load<spec::VirtioBlkOutHdr>(raw);
  request.out_bytes = readable - header_bytes;
  request.in_bytes = writable - 1;
  request.data_out = sub_segments(chain.readable, header_bytes, request.out_bytes);
  request.data_in = sub_segments(chain.writable, 0, request.in_bytes);

  const std::uint8_t status = CBIT_TRY(execute(request));
  CBIT_TRY(write_segments(dma(), sub_segments(chain.writable, request.in_bytes, 1), bytes_of(status)));

  const std::uint64_t bytes = request.out_bytes + request.in_bytes;
  tracer().emit(agent(),
                VirtioRequest{port().name(), request.header.sector, bytes, request.header.type, status},
                cost::device_transfer_ns(bytes));
  return static_cast<std::uint32_t>(request.written + 1);
}

OrTrouble<std::uint8_t> VirtioBlk::execute(Request& request) {
  switch (request.header.type) {
    case spec::virtio_blk_type::in: return read(request);
    case spec::virtio_blk_type::out: return write(request);
    case spec::virtio_blk_type::flush: return flush();
    case spec::virtio_blk_type::id: return give_id(request);
    case spec::virtio_blk_type::discard:
    case spec::virtio_blk_type::write_zeroes: return zero(request);
    default: return spec::virtio_blk_status::unsupp;
  }
}

bool VirtioBlk::in_range(std::uint64_t sector, std::uint64_t sectors) const {
  const std::uint64_t per_block = options_.blk_size / sector_size;
  return sector % per_block == 0 && sectors % per_block == 0 && sector <= config_.capacity &&
         sectors <= config_.capacity - sector;
}

// Whole blocks within the disk, in segments that the device can take.
bool VirtioBlk::transfer_allowed(const Request& request) const {
  const bool in = request.header.type == spec::virtio_blk_type::in;
  const auto& segments = in ? request.data_in : request.data_out;
  const std::uint64_t bytes = in ? request.in_bytes : request.out_bytes;
  if (has(spec::virtio_blk_feature::size_max) &&
      std::ranges::any_of(segments, [&](const VirtSegment& s) { return s.bytes > config_.size_max; }))
    return false;
  return bytes % sector_size == 0 && in_range(request.header.sector, bytes / sector_size);
}

OrTrouble<std::uint8_t> VirtioBlk::read(Request& request) {
  if (!transfer_allowed(request)) return spec::virtio_blk_status::ioerr;
  std::uint64_t at = request.header.sector * sector_size;
  SegmentQueue left{request.data_in};
  for (auto part = left.take(bounce_.size()); !part.empty(); part = left.take(bounce_.size())) {
    const ByteSpan piece = ByteSpan{bounce_}.first(total_bytes(part));
    if (const auto status = status_of(disk_->read(at, piece)); status != spec::virtio_blk_status::ok)
      return status;
    CBIT_TRY(write_segments(dma(), part, piece));
    at += piece.size();
    request.written += piece.size();
  }
  return spec::virtio_blk_status::ok;
}

OrTrouble<std::uint8_t> VirtioBlk::write(Request& request) {
  if (disk_->read_only() || !transfer_allowed(request)) return spec::virtio_blk_status::ioerr;
  std::uint64_t at = request.header.sector * sector_size;
  SegmentQueue left{request.data_out};
  for (auto part = left.take(bounce_.size()); !part.empty(); part = left.take(bounce_.size())) {
    const ByteSpan piece = ByteSpan{bounce_}.first(total_bytes(part));
    CBIT_TRY(read_segments(dma(), part, piece));
    if (const auto status = status_of(disk_->write(at, piece)); status != spec::virtio_blk_status::ok)
      return status;
    at += piece.size();
  }
  // 5.2.6.2: without FLUSH the driver cannot ask for it, so each write is made durable.
  return has(spec::virtio_blk_feature::flush) ? spec::virtio_blk_status::ok : flush();
}

std::uint8_t VirtioBlk::flush() { return status_of(disk_->flush()); }

// The serial number, padded with zeros: no terminator if it fills all 20 bytes.
OrTrouble<std::uint8_t> VirtioBlk::give_id(Request& request) {
  std::array<std::byte, spec::virtio_blk_id_bytes> id{};
  std::ranges::copy(std::as_bytes(std::span{options_.serial}), id.begin());
  const auto piece = ConstByteSpan{id}.first(std::min<std::uint64_t>(id.size(), request.in_bytes));
  CBIT_TRY(write_segments(dma(), request.data_in, piece));
  request.written = piece.size();
  return spec::virtio_blk_status::ok;
}

// DISCARD and WRITE_ZEROES: what is discarded reads as zeros here.
OrTrouble<std::uint8_t> VirtioBlk::zero(Request& request) {
  const bool discards = request.header.type == spec::virtio_blk_type::discard;
  if (!has(discards ? spec::virtio_blk_feature::discard : spec::virtio_blk_feature::write_zeroes))
    return spec::virtio_blk_status::unsupp;
  // max_discard_seg and max_write_zeroes_seg are 1.
  if (request.out_bytes != sizeof(spec::VirtioBlkRange)) return spec::virtio_blk_status::ioerr;
  std::array<std::byte, sizeof(spec::VirtioBlkRange)> raw;
  CBIT_TRY(read_segments(dma(), request.data_out, raw));
  return zero_range(request.header.type, load<spec::VirtioBlkRange>(raw));
}

std::uint8_t VirtioBlk::zero_range(std::uint32_t type, const spec::VirtioBlkRange& range) {
  const bool discards = type == spec::virtio_blk_type::discard;
  const std::uint32_t known_flags = discards ? 0 : spec::virtio_blk_flag_unmap;
  if ((range.flags & ~known_flags) != 0) return spec::virtio_blk_status::unsupp;
  if (range.num_sectors > zero_sectors_max || !in_range(range.sector, range.num_sectors))
    return spec::virtio_blk_status::ioerr;
  const bool may_unmap = discards || (range.flags & spec::virtio_blk_flag_unmap) != 0;
  return status_of(disk_->zero(range.sector * sector_size, range.num_sectors * sector_size, may_unmap));
}

}  // namespace cbit::dev
