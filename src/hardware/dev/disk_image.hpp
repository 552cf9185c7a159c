// A raw disk image: the file's bytes are the disk's.
//
//   open()    an existing image, whole sectors long; as long as one writes it nobody else has it open
//   create()  a new one, or one that takes a file's place: commit() makes it durable and gives it its name in
//             one step (os/output_file.hpp). What is not committed is gone.
//
// Errors name the file and the reason of the system (no space, no permission, cut short while in use).
// Threading: one thread.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "dev/block_backend.hpp"
#include "os/output_file.hpp"

namespace cbit::dev {

class DiskImage final : public BlockBackend {
 public:
  enum class Mode : std::uint8_t { read_only, read_write };

  // Errors: cannot be opened, not a regular file, empty, not a multiple of sector_size, in use by somebody
  // who writes (read_only) or by anybody (read_write).
  static OrError<std::unique_ptr<DiskImage>> open(const std::string& path, Mode mode);
  // Zeros, sparse. Errors: those of os::NewFile; `bytes` is not whole sectors.
  static OrError<std::unique_ptr<DiskImage>> create(const std::string& path, std::uint64_t bytes);
  DiskImage(const DiskImage&) = delete;
  DiskImage& operator=(const DiskImage&) = delete;

  // Of a created image, once. The image stays usable.
  OrError<void> commit();

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::uint64_t bytes() const override { return bytes_; }
  [[nodiscard]] bool read_only() const override { return mode_ == Mode::read_only; }
  OrError<void> read(std::uint64_t offset, ByteSpan to) override;
  OrError<void> write(std::uint64_t offset, ConstByteSpan from) override;
  // may_unmap: punches a hole where the file system can, else writes zeros.
  OrError<void> zero(std::uint64_t offset, std::uint64_t bytes, bool may_unmap) override;
  OrError<void> flush() override;
  // What the file said when it failed first; the guest sees an I/O error. A range that the disk does not have
  // is no failure of the file.
  [[nodiscard]] const std::optional<Error>& failure() const { return failure_; }

 private:
  DiskImage(std::string path, Mode mode) : path_{std::move(path)}, mode_{mode} {}
  [[nodiscard]] tl::unexpected<Error> cut_short(std::uint64_t end) const;
  OrError<void> check_still_there(std::uint64_t end) const;
  OrError<void> read_file(std::uint64_t offset, ByteSpan to);
  OrError<void> write_file(std::uint64_t offset, ConstByteSpan from);
  OrError<void> zero_file(std::uint64_t offset, std::uint64_t bytes, bool may_unmap);
  OrError<void> remembered(OrError<void> done);
  OrError<bool> punch(std::uint64_t offset, std::uint64_t bytes);

  std::string path_;
  os::Descriptor opened_;           // of an image that was there
  std::optional<os::NewFile> new_;  // else
  bool committed_ = false;
  int fd_ = -1;  // of one of them
  Mode mode_;
  std::uint64_t bytes_ = 0;
  std::optional<Error> failure_;
};

}  // namespace cbit::dev
