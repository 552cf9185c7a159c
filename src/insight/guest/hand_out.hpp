// What a guest leaves in /mnt/out, as a tar archive for the host: its init writes the archive to a disk of
// its own at the end, which takes any Linux that has disks. Nothing is unpacked here, so no name, link or
// mode of the guest's means anything to the host.
//
// Threading: one thread.
#pragma once

#include <memory>
#include <ostream>
#include <string>

#include "base/result.hpp"
#include "dev/disk_image.hpp"

namespace cbit::guest {

class HandOut {
 public:
  static constexpr std::string_view serial = "cbit-out";  // how the guest knows the disk

  // With room for an archive of so many bytes, in a temporary file without a name. Errors (output_failed).
  static OrError<HandOut> create(std::uint64_t bytes_max);

  [[nodiscard]] dev::DiskImage& disk() const { return *disk_; }
  // What the guest runs before its command, and when that has ended.
  [[nodiscard]] static std::string setup_script();
  [[nodiscard]] static std::string finish_script();

  // The archive as the guest has left it. Errors (output_failed): it has not finished it, or there is more of
  // it than room; what it has written is none.
  OrError<void> write_to(std::ostream& out) const;

 private:
  explicit HandOut(std::unique_ptr<dev::DiskImage> disk) : disk_{std::move(disk)} {}
  OrError<std::uint64_t> end_of_archive() const;

  std::unique_ptr<dev::DiskImage> disk_;
};

}  // namespace cbit::guest
