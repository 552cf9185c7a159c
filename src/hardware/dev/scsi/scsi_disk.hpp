// A SCSI disk, as its target serves it: a command's bytes in, status, sense and data out. SPC-4, SBC-3.
//
// It has blocks of 512 bytes and a write cache, which SYNCHRONIZE CACHE and a write with FUA empty. Commands
// end before they return, so that there is never one to abort. Threading: one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/bytes.hpp"
#include "dev/block_backend.hpp"
#include "dev/virtio/chain.hpp"
#include "spec/scsi.hpp"

namespace cbit::dev {

inline constexpr std::size_t scsi_serial_bytes = 20;

// A command's buffers, which the transport has.
struct ScsiBuffers {
  std::uint64_t in_bytes = 0;  // room for what the disk gives
  std::uint64_t out_bytes = 0;
  std::function<OrTrouble<void>(std::uint64_t offset, ConstByteSpan data)> give;  // within in_bytes
  std::function<OrTrouble<void>(std::uint64_t offset, ByteSpan data)> take;       // within out_bytes
};

struct ScsiAnswer {
  std::uint8_t status = spec::scsi::status::good;
  spec::scsi::Sense sense;
  std::uint64_t given = 0;  // bytes of data
  std::uint64_t taken = 0;
  bool overrun = false;  // the buffer is too small for a transfer of blocks: nothing was done
};

class ScsiDisk {
 public:
  // serial: at most scsi_serial_bytes.
  ScsiDisk(BlockBackend& disk, std::string serial);

  // cdb: 16 bytes at least. Errors: those of the buffers.
  OrTrouble<ScsiAnswer> execute(ConstByteSpan cdb, const ScsiBuffers& buffers);

 private:
  struct Range {
    std::uint64_t first = 0;
    std::uint64_t count = 0;
  };
  OrTrouble<ScsiAnswer> read(const Range& range, const ScsiBuffers& buffers);
  OrTrouble<ScsiAnswer> write(const Range& range, bool durable, const ScsiBuffers& buffers);
  [[nodiscard]] ScsiAnswer flush();
  [[nodiscard]] std::uint64_t blocks() const { return disk_->bytes() / sector_size; }
  [[nodiscard]] bool in_range(const Range& range) const;
  // What a command that only tells gives; empty: a field of it is none.
  [[nodiscard]] Bytes inquiry(ConstByteSpan cdb) const;
  [[nodiscard]] Bytes product_page(std::uint8_t page) const;
  [[nodiscard]] Bytes mode_sense(ConstByteSpan cdb) const;
  [[nodiscard]] Bytes capacity_10() const;
  [[nodiscard]] Bytes capacity_16() const;

  BlockBackend* disk_;
  std::string serial_;
  Bytes buffer_;
};

// Sense data of the fixed format.
[[nodiscard]] Bytes fixed_sense(const spec::scsi::Sense& sense);

}  // namespace cbit::dev
