#include "dev/scsi/scsi_disk.hpp"

#include <algorithm>
#include <bit>
#include <string_view>

namespace cbit::dev {
namespace {

using namespace spec::scsi;

constexpr std::size_t scsi_buffer_bytes = 64 * 1024;
constexpr std::string_view vendor = "cbit    ", product = "SCSI disk       ", revision = "1.0 ";

template <class T>
T big_endian(ConstByteSpan from, std::size_t at) {
  T value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i)
    value = static_cast<T>(value << 8 | std::to_integer<std::uint8_t>(from[at + i]));
  return value;
}
template <class T>
void put(Bytes& to, T value) {
  for (std::size_t i = sizeof(T); i-- != 0;) to.push_back(static_cast<std::byte>(value >> 8 * i));
}
void put_text(Bytes& to, std::string_view text) {
  const ConstByteSpan bytes = std::as_bytes(std::span{text});
  to.insert(to.end(), bytes.begin(), bytes.end());
}
std::uint8_t octet(ConstByteSpan cdb, std::size_t at) { return std::to_integer<std::uint8_t>(cdb[at]); }

ScsiAnswer failed(const Sense& sense) { return {.status = status::check_condition, .sense = sense}; }

// Data that the disk tells, cut to what the command and the buffer take.
OrTrouble<ScsiAnswer> tell(const Bytes& data, std::uint64_t allocation, const ScsiBuffers& buffers) {
  if (data.empty()) return failed(invalid_field);
  const std::uint64_t bytes = std::min({allocation, buffers.in_bytes, std::uint64_t{data.size()}});
  CBIT_TRY(buffers.give(0, ConstByteSpan{data}.first(bytes)));
  return ScsiAnswer{.given = bytes};
}

// SPC-4, 6.33: one logical unit, 0.
Bytes luns() {
  Bytes list;
  put(list, std::uint32_t{8});
  put(list, std::uint32_t{0});
  put(list, std::uint64_t{0});
  return list;
}

constexpr std::uint8_t force_unit_access = 1u << 3;  // byte 1 of a write

}  // namespace

Bytes fixed_sense(const Sense& sense) {
  Bytes data(fixed_sense_bytes);
  data[0] = std::byte{fixed_format};
  data[2] = std::byte{sense.key};
  data[7] = std::byte{fixed_sense_bytes - 8};
  data[12] = std::byte{sense.code};
  data[13] = std::byte{sense.qualifier};
  return data;
}

ScsiDisk::ScsiDisk(BlockBackend& disk, std::string serial)
    : disk_{&disk}, serial_{std::move(serial)}, buffer_(scsi_buffer_bytes) {}

OrTrouble<ScsiAnswer> ScsiDisk::execute(ConstByteSpan cdb, const ScsiBuffers& buffers) {
  const auto range_10 = [cdb] {
    return Range{big_endian<std::uint32_t>(cdb, 2), big_endian<std::uint16_t>(cdb, 7)};
  };
  const auto range_16 = [cdb] {
    return Range{big_endian<std::uint64_t>(cdb, 2), big_endian<std::uint32_t>(cdb, 10)};
  };
  const bool durable = (octet(cdb, 1) & force_unit_access) != 0;
  switch (Opcode{octet(cdb, 0)}) {
    case Opcode::test_unit_ready: return ScsiAnswer{};
    // Sense goes with the status: there is none left.
    case Opcode::request_sense: return tell(fixed_sense(no_sense), octet(cdb, 4), buffers);
    case Opcode::inquiry: return tell(inquiry(cdb), big_endian<std::uint16_t>(cdb, 3), buffers);
    case Opcode::mode_sense_6: return tell(mode_sense(cdb), octet(cdb, 4), buffers);
    case Opcode::mode_sense_10: return tell(mode_sense(cdb), big_endian<std::uint16_t>(cdb, 7), buffers);
    case Opcode::report_luns: return tell(luns(), big_endian<std::uint32_t>(cdb, 6), buffers);
    case Opcode::read_capacity_10: return tell(capacity_10(), 8, buffers);
    case Opcode::service_action_in_16:
      if ((octet(cdb, 1) & 0x1f) != read_capacity_16) return failed(invalid_field);
      return tell(capacity_16(), big_endian<std::uint32_t>(cdb, 10), buffers);
    case Opcode::read_10: return read(range_10(), buffers);
    case Opcode::read_16: return read(range_16(), buffers);
    case Opcode::write_10: return write(range_10(), durable, buffers);
    case Opcode::write_16: return write(range_16(), durable, buffers);
    case Opcode::synchronize_cache_10:
    case Opcode::synchronize_cache_16: return flush();
  }
  return failed(invalid_opcode);
}

bool ScsiDisk::in_range(const Range& range) const {
  return range.first <= blocks() && range.count <= blocks() - range.first;
}

OrTrouble<ScsiAnswer> ScsiDisk::read(const Range& range, const ScsiBuffers& buffers) {
  if (!in_range(range)) return failed(lba_out_of_range);
  const std::uint64_t bytes = range.count * sector_size;
  if (bytes > buffers.in_bytes) return ScsiAnswer{.overrun = true};
  for (std::uint64_t at = 0; at < bytes; at += buffer_.size()) {
    const auto part = ByteSpan{buffer_}.first(std::min<std::uint64_t>(bytes - at, buffer_.size()));
    if (!disk_->read(range.first * sector_size + at, part)) return failed(read_error);
    CBIT_TRY(buffers.give(at, part));
  }
  return ScsiAnswer{.given = bytes};
}

OrTrouble<ScsiAnswer> ScsiDisk::write(const Range& range, bool durable, const ScsiBuffers& buffers) {
  if (disk_->read_only()) return failed(write_protected);
  if (!in_range(range)) return failed(lba_out_of_range);
  const std::uint64_t bytes = range.count * sector_size;
  if (bytes > buffers.out_bytes) return ScsiAnswer{.overrun = true};
  for (std::uint64_t at = 0; at < bytes; at += buffer_.size()) {
    const auto part = ByteSpan{buffer_}.first(std::min<std::uint64_t>(bytes - at, buffer_.size()));
    CBIT_TRY(buffers.take(at, part));
    if (!disk_->write(range.first * sector_size + at, part)) return failed(write_error);
  }
  ScsiAnswer answer = durable ? flush() : ScsiAnswer{};
  answer.taken = bytes;
  return answer;
}

ScsiAnswer ScsiDisk::flush() { return disk_->flush() ? ScsiAnswer{} : failed(write_error); }

// ---- what it tells ----------------------------------------------------------------------------------------

// SPC-4, 6.6.2 and 7.8.
Bytes ScsiDisk::inquiry(ConstByteSpan cdb) const {
  const bool of_product = (octet(cdb, 1) & 1) != 0;
  if (of_product) return product_page(octet(cdb, 2));
  if (octet(cdb, 2) != 0) return {};
  constexpr std::uint8_t spc_3 = 5, response_format = 2, command_queues = 2;
  Bytes data;
  for (const unsigned byte :
       {0u, 0u, unsigned{spc_3}, unsigned{response_format}, 31u, 0u, 0u, unsigned{command_queues}})
    data.push_back(static_cast<std::byte>(byte));
  put_text(data, vendor);
  put_text(data, product);
  put_text(data, revision);
  return data;
}

Bytes ScsiDisk::product_page(std::uint8_t page) const {
  Bytes body;
  switch (page) {
    case vpd::supported_pages:
      for (const std::uint8_t one : {vpd::supported_pages, vpd::serial_number, vpd::identification})
        body.push_back(std::byte{one});
      break;
    case vpd::serial_number: put_text(body, serial_); break;
    case vpd::identification: {
      constexpr std::uint8_t ascii = 2, by_vendor = 1;
      for (const std::uint8_t one : {ascii, by_vendor, std::uint8_t{0}}) body.push_back(std::byte{one});
      body.push_back(static_cast<std::byte>(vendor.size() + serial_.size()));
      put_text(body, vendor);
      put_text(body, serial_);
      break;
    }
    default: return {};
  }
  Bytes data{std::byte{0}, std::byte{page}};
  put(data, static_cast<std::uint16_t>(body.size()));
  data.insert(data.end(), body.begin(), body.end());
  return data;
}

// SPC-4, 7.5; SBC-3, 6.4.5. No block descriptor.
Bytes ScsiDisk::mode_sense(ConstByteSpan cdb) const {
  constexpr std::uint8_t protects = 0x80, takes_fua = 0x10, write_cache = 0x04, page_bytes = 18;
  const std::uint8_t page = octet(cdb, 2) & 0x3f;
  const bool changeable = octet(cdb, 2) >> 6 == 1;
  if ((page != mode_page::caching && page != mode_page::all) || octet(cdb, 3) != 0) return {};
  const auto flags = static_cast<std::uint8_t>(takes_fua | (disk_->read_only() ? protects : 0));
  Bytes data;
  if (Opcode{octet(cdb, 0)} == Opcode::mode_sense_6) {
    for (const std::uint8_t one : {std::uint8_t{3 + 2 + page_bytes}, std::uint8_t{0}, flags, std::uint8_t{0}})
      data.push_back(std::byte{one});
  } else {
    put(data, std::uint16_t{6 + 2 + page_bytes});
    for (const std::uint8_t one : {std::uint8_t{0}, flags}) data.push_back(std::byte{one});
    put(data, std::uint32_t{0});
  }
  for (const std::uint8_t one : {mode_page::caching, page_bytes}) data.push_back(std::byte{one});
  data.push_back(changeable ? std::byte{0} : std::byte{write_cache});
  data.resize(data.size() + page_bytes - 1);
  return data;
}

// SBC-3, 5.16 and 5.17: the last block, and the size of one.
Bytes ScsiDisk::capacity_10() const {
  Bytes data;
  put(data, static_cast<std::uint32_t>(std::min<std::uint64_t>(blocks() - 1, 0xffff'ffff)));
  put(data, static_cast<std::uint32_t>(sector_size));
  return data;
}

Bytes ScsiDisk::capacity_16() const {
  Bytes data;
  put(data, blocks() - 1);
  put(data, static_cast<std::uint32_t>(sector_size));
  data.resize(32);
  return data;
}

}  // namespace cbit::dev
