#include "dev/nvme/namespace.hpp"

#include <algorithm>
#include <array>

namespace cbit::dev {
namespace {

using namespace spec::nvme;

constexpr std::size_t nvme_buffer_bytes = 64 * 1024;

std::uint64_t first_block(const Command& command) {
  return std::uint64_t{command.cdw11} << 32 | command.cdw10;
}

std::uint64_t blocks_of(const Command& command) {
  return RwDword12{{command.cdw12}}.get<RwDword12::Nlb>() + std::uint64_t{1};
}

}  // namespace

OrNvmeStatus<std::vector<NvmePiece>> pieces_of(bus::DmaPort& port, const Command& command,
                                               std::uint64_t bytes, std::uint64_t page_bytes, bool to_host) {
  switch (Psdt{Flags{{command.flags}}.get<Flags::Psdt>()}) {
    case Psdt::prp: return pieces_of_prp(port, command.dptr, bytes, page_bytes);
    case Psdt::sgl_metadata_buffer:
    case Psdt::sgl_metadata_segment:
      return pieces_of_sgl(port, load<SglDescriptor>(bytes_of(command.dptr)), bytes, to_host);
  }
  return refused(status::invalid_field);
}

struct NvmeNamespace::Transfer {
  std::uint64_t at = 0;  // of the disk
  std::uint64_t bytes = 0;
  bool durable = false;
  std::vector<NvmePiece> pieces;
};

NvmeNamespace::NvmeNamespace(bus::DmaPort& port, BlockBackend& disk, std::uint32_t block_bytes)
    : port_{&port}, disk_{&disk}, block_bytes_{block_bytes}, buffer_(nvme_buffer_bytes) {}

Status NvmeNamespace::execute(const Command& command, const Rules& rules) {
  const auto done = run(command, rules);
  return done ? status::success : done.error();
}

Status NvmeNamespace::flush() {
  const auto flushed = done(disk_->flush(), status::internal_error);
  return flushed ? status::success : flushed.error();
}

OrNvmeStatus<void> NvmeNamespace::run(const Command& command, const Rules& rules) {
  const Io opcode{command.opcode};
  if (command.nsid != id && !(opcode == Io::flush && command.nsid == all_namespaces))
    return refused(status::invalid_namespace);
  if (Flags{{command.flags}}.get<Flags::Fuse>() != 0) return refused(status::invalid_field);
  switch (opcode) {
    case Io::flush: return make_durable(true);
    case Io::read: return read(CBIT_TRY(transfer_of(command, rules, true)));
    case Io::write: CBIT_TRY(check_writable()); return write(CBIT_TRY(transfer_of(command, rules, false)));
    case Io::compare: return compare(CBIT_TRY(transfer_of(command, rules, false)));
    case Io::write_zeroes: return write_zeroes(command, rules);
    case Io::dataset_management: return deallocate(command, rules);
  }
  return refused(status::invalid_opcode);
}

OrNvmeStatus<void> NvmeNamespace::check_range(std::uint64_t first, std::uint64_t count) const {
  if (first > blocks() || count > blocks() - first) return refused(status::lba_range);
  return {};
}

OrNvmeStatus<void> NvmeNamespace::check_writable() const {
  if (read_only()) return refused(status::write_protected);
  return {};
}

OrNvmeStatus<NvmeNamespace::Transfer> NvmeNamespace::transfer_of(const Command& command, const Rules& rules,
                                                                 bool to_host) {
  const std::uint64_t count = blocks_of(command);
  Transfer transfer{.at = first_block(command) * block_bytes_,
                    .bytes = count * block_bytes_,
                    .durable = !rules.write_cache || RwDword12{{command.cdw12}}.get<RwDword12::Fua>(),
                    .pieces = {}};
  if (rules.transfer_max != 0 && transfer.bytes > rules.transfer_max) return refused(status::invalid_field);
  CBIT_TRY(check_range(first_block(command), count));
  transfer.pieces = CBIT_TRY(pieces_of(*port_, command, transfer.bytes, rules.page_bytes, to_host));
  return transfer;
}

OrNvmeStatus<void> NvmeNamespace::done(const OrError<void>& by_disk, Status failed) {
  if (by_disk) return {};
  ++counts_.disk_errors;
  return refused(failed);
}

OrNvmeStatus<void> NvmeNamespace::make_durable(bool wanted) {
  return wanted ? done(disk_->flush(), status::write_fault) : OrNvmeStatus<void>{};
}

template <class Move>
OrNvmeStatus<void> NvmeNamespace::in_parts(std::uint64_t bytes, Move&& move) {
  for (std::uint64_t at = 0; at < bytes; at += buffer_.size())
    CBIT_TRY(move(at, ByteSpan{buffer_}.first(std::min<std::uint64_t>(bytes - at, buffer_.size()))));
  return {};
}

OrNvmeStatus<void> NvmeNamespace::read(const Transfer& transfer) {
  CBIT_TRY(in_parts(transfer.bytes, [&](std::uint64_t at, ByteSpan part) -> OrNvmeStatus<void> {
    CBIT_TRY(done(disk_->read(transfer.at + at, part), status::read_error));
    return move_to_host(*port_, transfer.pieces, at, part);
  }));
  ++counts_.reads;
  counts_.blocks_read += transfer.bytes / block_bytes_;
  return {};
}

OrNvmeStatus<void> NvmeNamespace::write(const Transfer& transfer) {
  CBIT_TRY(in_parts(transfer.bytes, [&](std::uint64_t at, ByteSpan part) -> OrNvmeStatus<void> {
    CBIT_TRY(move_from_host(*port_, transfer.pieces, at, part));
    return done(disk_->write(transfer.at + at, part), status::write_fault);
  }));
  ++counts_.writes;
  counts_.blocks_written += transfer.bytes / block_bytes_;
  return make_durable(transfer.durable);
}

OrNvmeStatus<void> NvmeNamespace::compare(const Transfer& transfer) {
  compared_.resize(buffer_.size());
  CBIT_TRY(in_parts(transfer.bytes, [&](std::uint64_t at, ByteSpan part) -> OrNvmeStatus<void> {
    const ByteSpan ours = ByteSpan{compared_}.first(part.size());
    CBIT_TRY(move_from_host(*port_, transfer.pieces, at, part));
    CBIT_TRY(done(disk_->read(transfer.at + at, ours), status::read_error));
    if (!std::ranges::equal(part, ours)) return refused(status::compare_failed);
    return {};
  }));
  ++counts_.reads;
  counts_.blocks_read += transfer.bytes / block_bytes_;
  return {};
}

OrNvmeStatus<void> NvmeNamespace::write_zeroes(const Command& command, const Rules& rules) {
  CBIT_TRY(check_writable());
  const std::uint64_t count = blocks_of(command);
  CBIT_TRY(check_range(first_block(command), count));
  const RwDword12 word{{command.cdw12}};
  CBIT_TRY(done(
      disk_->zero(first_block(command) * block_bytes_, count * block_bytes_, word.get<RwDword12::Deac>()),
      status::write_fault));
  return make_durable(!rules.write_cache || word.get<RwDword12::Fua>());
}

// 6.7: ranges may overlap, and deallocating is an offer; what goes beyond one disk's worth is not taken up,
// so that a command costs at most that. All ranges are looked at before the first is touched.
OrNvmeStatus<void> NvmeNamespace::deallocate(const Command& command, const Rules& rules) {
  if ((command.cdw11 & dsm_deallocate) == 0) return {};
  CBIT_TRY(check_writable());
  const std::uint32_t count = (command.cdw10 & 0xff) + 1;
  std::array<std::byte, dsm_ranges_max * sizeof(DsmRange)> raw;
  const ByteSpan list = ByteSpan{raw}.first(count * sizeof(DsmRange));
  const auto pieces = CBIT_TRY(pieces_of(*port_, command, list.size(), rules.page_bytes, false));
  CBIT_TRY(move_from_host(*port_, pieces, 0, list));
  const auto range = [&](std::uint32_t n) { return load<DsmRange>(list, n * sizeof(DsmRange)); };
  for (std::uint32_t n = 0; n < count; ++n) CBIT_TRY(check_range(range(n).first, range(n).blocks));
  std::uint64_t left = blocks();
  for (std::uint32_t n = 0; n < count; ++n) {
    const std::uint64_t now = std::min<std::uint64_t>(range(n).blocks, left);
    left -= now;
    CBIT_TRY(done(disk_->zero(range(n).first * block_bytes_, now * block_bytes_, true), status::write_fault));
  }
  return {};
}

}  // namespace cbit::dev
