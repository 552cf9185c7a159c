// A raw disk image: the file's bytes are the disk's.
//
//   open()    an existing image, whole sectors long
//   create()  a new one, written under a temporary name beside the final one. commit() makes it durable and
//             gives it its name in one step; an image that is not committed is removed, so no partial file
//             ever bears it.
//
// Errors name the file and the reason of the system (no space, no permission, cut short while in use).
// Threading: one thread.
#pragma once

#include <memory>
#include <string>

#include "dev/block_backend.hpp"

namespace cbit::dev {

class DiskImage final : public BlockBackend {
 public:
  enum class Mode : std::uint8_t { read_only, read_write };

  // Errors: cannot be opened, not a regular file, empty, not a multiple of sector_size.
  static OrError<std::unique_ptr<DiskImage>> open(const std::string& path, Mode mode);
  // Zeros, sparse. Errors: the folder cannot be written to, `path` is a directory, `bytes` is not whole
  // sectors.
  static OrError<std::unique_ptr<DiskImage>> create(const std::string& path, std::uint64_t bytes);
  ~DiskImage() override;
  DiskImage(const DiskImage&) = delete;
  DiskImage& operator=(const DiskImage&) = delete;

  // Of a created image, once; replaces a file of that name. The image stays usable.
  OrError<void> commit();

  [[nodiscard]] std::uint64_t bytes() const override { return bytes_; }
  [[nodiscard]] bool read_only() const override { return mode_ == Mode::read_only; }
  OrError<void> read(std::uint64_t offset, ByteSpan to) override;
  OrError<void> write(std::uint64_t offset, ConstByteSpan from) override;
  // may_unmap: punches a hole where the file system can, else writes zeros.
  OrError<void> zero(std::uint64_t offset, std::uint64_t bytes, bool may_unmap) override;
  OrError<void> flush() override;

 private:
  DiskImage(std::string path, int fd, Mode mode) : path_{std::move(path)}, fd_{fd}, mode_{mode} {}
  OrError<bool> punch(std::uint64_t offset, std::uint64_t bytes);

  std::string path_;
  std::string temporary_;  // not empty: created and not committed
  int fd_;
  Mode mode_;
  std::uint64_t bytes_ = 0;
};

}  // namespace cbit::dev
