// The disk image that is streamed: the user's, or an ext4 file system with real files that is built here
// (mke2fs), and the question whether these are in another image, too (e2fsck, debugfs).
#pragma once

#include <map>
#include <string>
#include <utility>

#include "base/result.hpp"
#include "crypt/sha256.hpp"
#include "os/temporary_folder.hpp"

namespace cbit::stream {

// It is read into the guest's memory as a whole, and searched for.
inline constexpr std::uint64_t image_bytes_max = 16ull << 30;

struct SourceOptions {
  std::string image;  // empty: one of `bytes` is built, with the files below the folder `files`
  std::string files;
  std::uint64_t bytes = 0;
};

// Files of the source that another image holds with the same contents.
struct FilesFound {
  std::size_t equal = 0;
  std::size_t total = 0;  // 0: the image is the user's, and nobody knows what is in it
};

// Path below a folder or a file system's root, and the contents' digest.
using FileDigests = std::map<std::string, crypt::Sha256Digest>;

class SourceImage {
 public:
  // What is built goes into `folder`. Errors: the folder of files cannot be read, or does
  // not fit, or has files that the kernel makes up, which have no end.
  static OrError<SourceImage> open(const SourceOptions& options, const os::TemporaryFolder& folder);

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] OrError<FilesFound> find_files_in(const std::string& image) const;

 private:
  SourceImage(std::string path, FileDigests files) : path_{std::move(path)}, files_{std::move(files)} {}

  std::string path_;
  FileDigests files_;
};

// SHA-256 of a whole file of at most `bytes_max`.
[[nodiscard]] OrError<crypt::Sha256Digest> digest_file(const std::string& path, std::uint64_t bytes_max);

}  // namespace cbit::stream
