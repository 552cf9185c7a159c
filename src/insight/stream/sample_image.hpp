// A disk image with a real file system and real files, built on the spot, and the check that they are still
// in it.
#pragma once

#include <map>
#include <string>

#include "base/result.hpp"
#include "crypt/sha256.hpp"

namespace cbit::stream {

// A folder for temporary files, removed with everything in it.
class TemporaryFolder {
 public:
  static OrError<TemporaryFolder> create();
  TemporaryFolder(TemporaryFolder&& other) noexcept;
  TemporaryFolder& operator=(TemporaryFolder&&) = delete;
  ~TemporaryFolder();

  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  explicit TemporaryFolder(std::string path) : path_{std::move(path)} {}
  std::string path_;  // empty: moved from
};

// Path below the folder or the file system's root, and the contents' digest.
using FileDigests = std::map<std::string, crypt::Sha256Digest>;

// The regular files of a folder, without following links.
[[nodiscard]] OrError<FileDigests> digest_folder(const std::string& folder);

// An ext4 image of `bytes` with the files of `folder` (mke2fs -d); the same files give the same image.
[[nodiscard]] OrError<void> build_image(const std::string& image, const std::string& folder,
                                        std::uint64_t bytes);

// Checks the file system (e2fsck) and reads its files back (debugfs).
[[nodiscard]] OrError<FileDigests> digest_image(const std::string& image);

// SHA-256 of a whole file.
[[nodiscard]] OrError<crypt::Sha256Digest> digest_file(const std::string& path);

}  // namespace cbit::stream
