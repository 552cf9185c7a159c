#include "dev/nvme/data_pointer.hpp"

#include <algorithm>
#include <array>

namespace cbit::dev {
namespace {

using namespace spec::nvme;

void append(std::vector<NvmePiece>& pieces, const NvmePiece& piece) {
  if (piece.bytes == 0) return;
  if (!pieces.empty()) {
    NvmePiece& last = pieces.back();
    if (last.in_bucket == piece.in_bucket && (piece.in_bucket || last.at + last.bytes == piece.at)) {
      last.bytes += piece.bytes;
      return;
    }
  }
  pieces.push_back(piece);
}

OrNvmeStatus<void> read_list(bus::DmaPort& port, std::uint64_t at, ByteSpan to) {
  if (!port.read(DmaAddr{at}, to)) return refused(status::data_transfer_error);
  return {};
}

// The list of PRP entries from `at` on, for `left` bytes that begin with a page. A page of it that does not
// end the list has in its last entry where the list goes on.
OrNvmeStatus<void> append_prp_list(bus::DmaPort& port, std::uint64_t at, std::uint64_t left,
                                   std::uint64_t page_bytes, std::vector<NvmePiece>& pieces) {
  constexpr std::uint64_t entry = sizeof(std::uint64_t);
  if (at % entry != 0) return refused(status::prp_invalid_offset);
  Bytes raw;
  while (true) {
    const std::uint64_t wanted = (left + page_bytes - 1) / page_bytes;
    const std::uint64_t places = (page_bytes - at % page_bytes) / entry;
    const bool ends_here = wanted <= places;
    raw.resize(std::min(wanted, places) * entry);
    CBIT_TRY(read_list(port, at, raw));
    const std::uint64_t entries = raw.size() / entry - (ends_here ? 0 : 1);
    for (std::uint64_t i = 0; i < entries; ++i) {
      const auto page = load<std::uint64_t>(raw, i * entry);
      if (page % page_bytes != 0) return refused(status::prp_invalid_offset);
      const std::uint64_t bytes = std::min(left, page_bytes);
      append(pieces, {DmaAddr{page}, bytes});
      left -= bytes;
    }
    if (ends_here) return {};
    at = load<std::uint64_t>(raw, entries * entry);
    if (at % page_bytes != 0) return refused(status::prp_invalid_offset);
  }
}

// Takes descriptors apart until the data are whole.
class SglReader {
 public:
  SglReader(bus::DmaPort& port, std::uint64_t bytes, bool to_host)
      : port_{&port}, left_{bytes}, to_host_{to_host} {}

  OrNvmeStatus<std::vector<NvmePiece>> read(SglDescriptor next) {
    bool in_last = false;
    while (is_segment(next)) {
      if (in_last) return refused(status::sgl_invalid_segment);
      in_last = next.type == sgl::last_segment;
      next = CBIT_TRY(read_segment(next, in_last));
    }
    if (next.type != ended) CBIT_TRY(add(next));
    if (left_ != 0) return refused(status::sgl_invalid_length);
    return std::move(pieces_);
  }

 private:
  static constexpr std::uint8_t ended = 0xff;  // nobody's type
  static bool is_segment(const SglDescriptor& one) {
    return one.type == sgl::segment || one.type == sgl::last_segment;
  }

  // The descriptor that leads to the next segment, which only the last place of one may have; else `ended`.
  OrNvmeStatus<SglDescriptor> read_segment(const SglDescriptor& segment, bool is_last) {
    constexpr std::uint32_t chunk = 256;
    constexpr std::uint32_t size = sizeof(SglDescriptor);
    if (segment.length == 0 || segment.length % size != 0) return refused(status::sgl_invalid_segment);
    const std::uint32_t count = segment.length / size;
    if (count > sgl_descriptors_max - seen_) return refused(status::sgl_invalid_count);
    seen_ += count;
    std::array<std::byte, chunk * size> raw;
    for (std::uint32_t at = 0; at < count; at += chunk) {
      const ByteSpan part = ByteSpan{raw}.first(std::min(chunk, count - at) * size);
      CBIT_TRY(read_list(*port_, segment.address + std::uint64_t{at} * size, part));
      for (std::uint32_t i = 0; i < part.size() / size; ++i) {
        const auto one = load<SglDescriptor>(part, i * size);
        if (!is_segment(one))
          CBIT_TRY(add(one));
        else if (!is_last && at + i + 1 == count)
          return one;
        else
          return refused(status::sgl_invalid_segment);
      }
    }
    return SglDescriptor{.type = ended};
  }

  OrNvmeStatus<void> add(const SglDescriptor& one) {
    const bool in_bucket = one.type == sgl::bit_bucket;
    if (one.type != sgl::data_block && !(in_bucket && to_host_)) return refused(status::sgl_invalid_type);
    if (one.length > left_) return refused(status::sgl_invalid_length);
    append(pieces_, {DmaAddr{one.address}, one.length, in_bucket});
    left_ -= one.length;
    return {};
  }

  bus::DmaPort* port_;
  std::uint64_t left_;
  bool to_host_;
  std::uint32_t seen_ = 0;
  std::vector<NvmePiece> pieces_;
};

// Calls `move(address, offset in the data, bytes)` for each part of [offset, offset + bytes) that is in
// memory.
template <class Move>
OrNvmeStatus<void> move_parts(std::span<const NvmePiece> pieces, std::uint64_t offset, std::uint64_t bytes,
                              Move&& move) {
  std::uint64_t done = 0;
  for (const NvmePiece& piece : pieces) {
    if (done == bytes) break;
    const std::uint64_t skip = std::min(offset, piece.bytes);
    offset -= skip;
    const std::uint64_t now = std::min(piece.bytes - skip, bytes - done);
    if (now != 0 && !piece.in_bucket && !move(piece.at + skip, done, now))
      return refused(status::data_transfer_error);
    done += now;
  }
  return {};
}

}  // namespace

OrNvmeStatus<std::vector<NvmePiece>> pieces_of_prp(bus::DmaPort& port, std::span<const std::uint64_t, 2> prp,
                                                   std::uint64_t bytes, std::uint64_t page_bytes) {
  if (prp[0] % sizeof(std::uint32_t) != 0) return refused(status::prp_invalid_offset);
  std::vector<NvmePiece> pieces;
  const std::uint64_t first = std::min(bytes, page_bytes - prp[0] % page_bytes);
  append(pieces, {DmaAddr{prp[0]}, first});
  const std::uint64_t left = bytes - first;
  if (left > page_bytes) {
    CBIT_TRY(append_prp_list(port, prp[1], left, page_bytes, pieces));
  } else if (left != 0) {
    if (prp[1] % page_bytes != 0) return refused(status::prp_invalid_offset);
    append(pieces, {DmaAddr{prp[1]}, left});
  }
  return pieces;
}

OrNvmeStatus<std::vector<NvmePiece>> pieces_of_sgl(bus::DmaPort& port, const SglDescriptor& first,
                                                   std::uint64_t bytes, bool to_host) {
  return SglReader{port, bytes, to_host}.read(first);
}

OrNvmeStatus<void> move_to_host(bus::DmaPort& port, std::span<const NvmePiece> pieces, std::uint64_t offset,
                                ConstByteSpan from) {
  return move_parts(pieces, offset, from.size(), [&](DmaAddr at, std::uint64_t done, std::uint64_t bytes) {
    return port.write(at, from.subspan(done, bytes)).has_value();
  });
}

OrNvmeStatus<void> move_from_host(bus::DmaPort& port, std::span<const NvmePiece> pieces, std::uint64_t offset,
                                  ByteSpan to) {
  return move_parts(pieces, offset, to.size(), [&](DmaAddr at, std::uint64_t done, std::uint64_t bytes) {
    return port.read(at, to.subspan(done, bytes)).has_value();
  });
}

}  // namespace cbit::dev
