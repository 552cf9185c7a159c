// A folder of the host's in a Linux guest, read only, at /mnt/share: through virtio-9p where the kernel has
// what it takes, else as a copy in its initramfs.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "boot/initramfs/initramfs.hpp"
#include "dev/p9/shared_folder.hpp"

namespace cbit::guest {

inline constexpr std::string_view share_path = "/mnt/share";

// The kernel is known to have a 9p file system over virtio.
[[nodiscard]] bool can_mount_share(const boot::ModuleTree& modules);
// What a guest runs to have the folder there: of a device with this tag, and of a copy.
[[nodiscard]] std::string share_mount_script(std::string_view tag);
[[nodiscard]] std::string share_copy_script();

struct ShareCopy {
  std::vector<boot::GuestFolder> folders;
  std::vector<boot::GuestFile> files;
  std::vector<boot::GuestLink> links;
  // Devices, FIFOs and sockets, what cannot be read: "fifo: it is no file, folder or link".
  std::vector<std::string> left_out;
};
// Files, folders and links with their modes, at share_path. The most is a quarter of what the guest's memory
// has beyond 128 MiB: for a moment it holds the copy twice, and half of its memory is for files at most.
// Errors (input): it is more than that.
OrError<ShareCopy> copy_share(const dev::SharedFolder& folder, std::uint64_t memory_bytes);

}  // namespace cbit::guest
