// The disk image that the guest writes: the user's file, or a temporary one that goes into a stream in the
// end (standard output, a FIFO) or nowhere. A disk is written at random places, a stream is not.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "base/result.hpp"
#include "os/output_file.hpp"
#include "os/temporary_folder.hpp"

namespace cbit::stream {

class TargetImage {
 public:
  // `wanted` as the user named it; empty: it is not kept. Errors: those of os::OutputFile.
  static OrError<TargetImage> choose(const std::string& wanted, const os::TemporaryFolder& folder);

  // What dev::DiskImage::create() gets.
  [[nodiscard]] const std::string& path() const { return path_; }
  // Copies a complete image into the stream, if it is for one. Once.
  OrError<void> deliver();

 private:
  explicit TargetImage(std::string path) : path_{std::move(path)} {}

  std::string path_;
  std::optional<os::OutputFile> into_;
};

}  // namespace cbit::stream
