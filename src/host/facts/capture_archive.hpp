// Captures as archives: tar, compressed with zstd.
//
// The same capture gives the same bytes: entries in byte order, no times, no owners. An archive from
// somewhere else may hold anything. It is unpacked into a private folder, and refused where an entry is
// anything but a file, a folder or a link that stays inside, leads out, comes twice, lies below what is no
// folder, or where it holds more than a capture can.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.hpp"
#include "facts/capture.hpp"
#include "facts/host_tree.hpp"
#include "os/temporary_folder.hpp"

namespace cbit::facts {

struct UnpackLimits {
  std::size_t entries = 200'000;
  std::uint64_t file_bytes = 16 << 20;    // the kernel's log; everything else is smaller
  std::uint64_t total_bytes = 256 << 20;  // of all files
};

// Errors (internal): no memory.
[[nodiscard]] OrError<std::string> pack_capture(const Capture& capture);

// Reads an archive into memory; what is written to disk has been checked as a whole before.
// Errors (bad_input) name the entry.
[[nodiscard]] OrError<Capture> read_archive(std::string_view archive, const std::string& name,
                                            const UnpackLimits& limits = {});

// A captured tree on disk for as long as the object lives: an archive's, in a folder of its own below the
// folder for temporary files, with no rights for others.
class UnpackedCapture {
 public:
  // Errors: no file, no archive (bad_input), or no room (output_failed); nothing is left behind.
  static OrError<UnpackedCapture> open(const std::string& file, const UnpackLimits& limits = {});
  // What HostTree::open() takes.
  [[nodiscard]] std::string root() const { return folder_.path() + below_; }

 private:
  explicit UnpackedCapture(os::TemporaryFolder folder) : folder_{std::move(folder)} {}

  os::TemporaryFolder folder_;
  std::string below_;  // "/NAME" where the archive has one folder with the tree in it
};

// A name that `--root` should take for an archive: it is a file.
[[nodiscard]] bool is_archive(const std::string& path);

// What a user names as a host: "/", a captured tree, or an archive of one, which is unpacked for as
// long as the object lives.
struct OpenedTree {
  std::optional<UnpackedCapture> archive;
  HostTree tree;

  static OrError<OpenedTree> open(const std::string& root);
};

}  // namespace cbit::facts
