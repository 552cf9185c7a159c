// An NVMe namespace: a disk in logical blocks, and the commands of the NVM command set that work on it. NVM
// Express Base Specification 1.4, 6.
//
// A transfer goes through a buffer, 64 KiB at a time, and what was moved before an error stays moved. With
// the volatile write cache off each write is on stable storage when it completes.
//
// Threading: one thread.
#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.hpp"
#include "base/state_stream.hpp"
#include "dev/block_backend.hpp"
#include "dev/nvme/data_pointer.hpp"

namespace cbit::dev {

class NvmeNamespace {
 public:
  static constexpr std::uint32_t id = 1;

  // What the controller's configuration says of a transfer.
  struct Rules {
    std::uint64_t page_bytes = page_size;
    std::uint64_t transfer_max = 0;  // bytes; 0: as much as a command can say
    bool write_cache = true;
  };
  struct Counts {
    std::uint64_t reads = 0;  // commands
    std::uint64_t writes = 0;
    std::uint64_t blocks_read = 0;
    std::uint64_t blocks_written = 0;
    std::uint64_t disk_errors = 0;
    void transfer(StateStream& s) { s(reads, writes, blocks_read, blocks_written, disk_errors); }
  };

  // block_bytes: a power of two from 512 to 4096, of which the disk is a multiple.
  NvmeNamespace(bus::DmaPort& port, BlockBackend& disk, std::uint32_t block_bytes);

  // The command's status; success without more.
  spec::nvme::Status execute(const spec::nvme::Command& command, const Rules& rules);
  spec::nvme::Status flush();

  [[nodiscard]] std::uint64_t blocks() const { return disk_->bytes() / block_bytes_; }
  [[nodiscard]] std::uint32_t block_bytes() const { return block_bytes_; }
  [[nodiscard]] bool read_only() const { return disk_->read_only(); }
  [[nodiscard]] const Counts& counts() const { return counts_; }

  // The disk is the host's.
  void transfer(StateStream& s) { s(counts_); }

 private:
  struct Transfer;

  OrNvmeStatus<void> run(const spec::nvme::Command& command, const Rules& rules);
  OrNvmeStatus<Transfer> transfer_of(const spec::nvme::Command& command, const Rules& rules, bool to_host);
  OrNvmeStatus<void> read(const Transfer& transfer);
  OrNvmeStatus<void> write(const Transfer& transfer);
  OrNvmeStatus<void> compare(const Transfer& transfer);
  OrNvmeStatus<void> write_zeroes(const spec::nvme::Command& command, const Rules& rules);
  OrNvmeStatus<void> deallocate(const spec::nvme::Command& command, const Rules& rules);
  OrNvmeStatus<void> check_range(std::uint64_t first, std::uint64_t count) const;
  OrNvmeStatus<void> check_writable() const;
  OrNvmeStatus<void> done(const OrError<void>& by_disk, spec::nvme::Status failed);
  OrNvmeStatus<void> make_durable(bool wanted);
  // Calls `move(offset in the transfer, part of the buffer)` until all of it is moved.
  template <class Move>
  OrNvmeStatus<void> in_parts(std::uint64_t bytes, Move&& move);

  bus::DmaPort* port_;
  BlockBackend* disk_;
  std::uint32_t block_bytes_;
  Bytes buffer_;
  Bytes compared_;
  Counts counts_;
};

// The pieces of a command's data, by PRP or SGL as it says.
// Errors: invalid_field for a PSDT that is none; those of pieces_of_prp() and pieces_of_sgl().
[[nodiscard]] OrNvmeStatus<std::vector<NvmePiece>> pieces_of(bus::DmaPort& port,
                                                             const spec::nvme::Command& command,
                                                             std::uint64_t bytes, std::uint64_t page_bytes,
                                                             bool to_host);

}  // namespace cbit::dev
