// What holds a block device's bytes: a file (dev/disk_image.hpp) or, for tests and short experiments, memory.
#pragma once

#include <cstdint>

#include "base/bytes.hpp"
#include "base/result.hpp"

namespace cbit::dev {

inline constexpr std::uint64_t sector_size = 512;

// Offsets and lengths are in bytes. A range beyond the end is an Error and touches nothing; after any other
// Error the range may be written in part. Threading: one thread.
class BlockBackend {
 public:
  virtual ~BlockBackend() = default;

  [[nodiscard]] virtual std::uint64_t bytes() const = 0;  // a multiple of sector_size
  [[nodiscard]] virtual bool read_only() const = 0;

  virtual OrError<void> read(std::uint64_t offset, ByteSpan to) = 0;
  virtual OrError<void> write(std::uint64_t offset, ConstByteSpan from) = 0;
  // Makes the range read as zeros. `may_unmap`: its storage may be given back.
  virtual OrError<void> zero(std::uint64_t offset, std::uint64_t bytes, bool may_unmap) = 0;
  // Returns when what was written is on stable storage.
  virtual OrError<void> flush() = 0;
};

class MemoryDisk final : public BlockBackend {
 public:
  // Rounds up to whole sectors, with zeros.
  explicit MemoryDisk(Bytes contents, bool read_only = false);

  [[nodiscard]] std::uint64_t bytes() const override { return contents_.size(); }
  [[nodiscard]] bool read_only() const override { return read_only_; }
  OrError<void> read(std::uint64_t offset, ByteSpan to) override;
  OrError<void> write(std::uint64_t offset, ConstByteSpan from) override;
  OrError<void> zero(std::uint64_t offset, std::uint64_t bytes, bool may_unmap) override;
  OrError<void> flush() override { return {}; }

  [[nodiscard]] ConstByteSpan contents() const { return contents_; }

 private:
  Bytes contents_;
  bool read_only_;
};

// The Errors that every backend gives for a range it does not have and for a write it does not allow.
OrError<void> check_range(const BlockBackend& disk, std::uint64_t offset, std::uint64_t bytes);
OrError<void> check_writable(const BlockBackend& disk, std::uint64_t offset, std::uint64_t bytes);

}  // namespace cbit::dev
