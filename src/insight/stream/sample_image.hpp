// A disk image with a real file system and real files, built on the spot, and the check that they are still
// in it.
#pragma once

#include <map>
#include <string>

#include "base/result.hpp"
#include "crypt/sha256.hpp"

namespace cbit::stream {

// Path below the folder or the file system's root, and the contents' digest.
using FileDigests = std::map<std::string, crypt::Sha256Digest>;

// The regular files of a folder, without following links. Errors: they have more than `bytes_max` in all, or
// are the kernel's own, which have no end.
[[nodiscard]] OrError<FileDigests> digest_folder(const std::string& folder, std::uint64_t bytes_max);

// An ext4 image of `bytes` with the files of `folder` (mke2fs -d); the same files give the same image.
[[nodiscard]] OrError<void> build_image(const std::string& image, const std::string& folder,
                                        std::uint64_t bytes);

// Checks the file system (e2fsck) and reads its files back (debugfs).
[[nodiscard]] OrError<FileDigests> digest_image(const std::string& image, std::uint64_t bytes_max);

// SHA-256 of a whole file of at most `bytes_max`.
[[nodiscard]] OrError<crypt::Sha256Digest> digest_file(const std::string& path, std::uint64_t bytes_max);

}  // namespace cbit::stream
