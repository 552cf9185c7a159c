#include "guest/share.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <system_error>

#include "dev/p9/server.hpp"
#include "guest/drivers.hpp"

namespace cbit::guest {
namespace {

constexpr std::size_t entries_max = 1 << 18;
// What a file, folder or link takes in an archive, and then in a kernel, besides its bytes.
constexpr std::uint64_t bytes_of_node = 1024;
// Linux with its bounce pool, and the rest of the initramfs.
constexpr std::uint64_t bytes_of_kernel = 128 << 20;

class Copying {
 public:
  Copying(const dev::SharedFolder& folder, std::uint64_t memory_bytes)
      : folder_{&folder}, memory_bytes_{memory_bytes}, bytes_left_{bytes_max()} {}

  // Folders wait by name, not on the stack and not held open: there may be any number.
  OrError<ShareCopy> run() {
    waiting_.emplace_back();
    while (!waiting_.empty()) {
      const std::string next = std::move(waiting_.back());
      waiting_.pop_back();
      if (const auto folder = folder_->find(next))
        CBIT_TRY(copy_folder(*folder));
      else
        leave_out(next, words(folder.error()));
    }
    return std::move(copy_);
  }

 private:
  [[nodiscard]] std::uint64_t bytes_max() const {
    return (memory_bytes_ - std::min(memory_bytes_, bytes_of_kernel)) / 4;
  }
  static std::string words(dev::Errno error) { return std::generic_category().message(error.value); }
  static std::string place_of(const dev::SharedNode& node) {
    std::string place{share_path.substr(1)};
    if (!node.path().empty()) place += '/' + node.path();
    return place;
  }
  void leave_out(std::string_view path, std::string_view why) {
    copy_.left_out.push_back(fmt::format("{}: {}", path.empty() ? folder_->path() : path, why));
  }

  OrError<void> take(std::uint64_t bytes) {
    if (bytes <= bytes_left_ && bytes_of_node <= bytes_left_ - bytes) {
      bytes_left_ -= bytes + bytes_of_node;
      return {};
    }
    return bad_input(fmt::format("{} is more than the {} MiB that a guest of {} MiB takes as a copy",
                                 folder_->path(), bytes_max() >> 20, memory_bytes_ >> 20),
                     "use more --memory, a smaller folder, or a kernel with 9p, whose modules are 9p and "
                     "9pnet_virtio");
  }

  OrError<void> copy_folder(const dev::SharedNode& folder) {
    const auto status = folder.status();
    const auto entries = folder_->list(folder, entries_max);
    if (!status || !entries) {
      leave_out(folder.path(), words(status ? entries.error() : status.error()));
      return {};
    }
    CBIT_TRY(take(0));
    copy_.folders.push_back({place_of(folder), status->st_mode & 07777u});
    for (const dev::SharedEntry& entry : *entries) {
      if (entry.name == "." || entry.name == "..") continue;
      auto node = folder_->step(folder, entry.name);
      if (node)
        CBIT_TRY(copy_node(std::move(*node)));
      else
        leave_out(fmt::format("{}{}{}", folder.path(), folder.path().empty() ? "" : "/", entry.name),
                  words(node.error()));
    }
    return {};
  }

  OrError<void> copy_node(dev::SharedNode node) {
    const auto status = node.status();
    if (!status) {
      leave_out(node.path(), words(status.error()));
      return {};
    }
    if (S_ISDIR(status->st_mode)) {
      waiting_.push_back(node.path());
      return {};
    }
    if (S_ISREG(status->st_mode)) return copy_file(std::move(node), *status);
    if (S_ISLNK(status->st_mode)) return copy_link(node);
    leave_out(node.path(), "it is no file, folder or link");
    return {};
  }

  OrError<void> copy_link(const dev::SharedNode& node) {
    auto target = node.target();
    if (!target) {
      leave_out(node.path(), words(target.error()));
      return {};
    }
    CBIT_TRY(take(target->size()));
    copy_.links.push_back({place_of(node), std::move(*target)});
    return {};
  }

  OrError<void> copy_file(dev::SharedNode node, const struct stat& status) {
    const auto bytes = static_cast<std::uint64_t>(status.st_size);
    CBIT_TRY(take(bytes));
    Bytes contents(bytes);
    const auto opened = node.open();
    const auto read =
        opened ? node.read(0, contents) : dev::OrErrno<std::size_t>{dev::refused(opened.error().value)};
    if (!read) {
      leave_out(node.path(), words(read.error()));
      return {};
    }
    contents.resize(*read);
    copy_.files.push_back({place_of(node), std::move(contents), status.st_mode & 07777u});
    return {};
  }

  const dev::SharedFolder* folder_;
  std::uint64_t memory_bytes_;
  std::uint64_t bytes_left_;
  std::vector<std::string> waiting_;
  ShareCopy copy_;
};

}  // namespace

bool can_mount_share(const boot::ModuleTree& modules) {
  return std::ranges::all_of(linux_drivers_of("virtio-9p"),
                             [&](std::string_view name) { return modules.provides(name); });
}

std::string share_mount_script(std::string_view tag) {
  return fmt::format(
      "mkdir -p {0}\n"
      "mount -t 9p -o trans=virtio,version=9p2000.L,msize={1},ro,nodev {2} {0} ||\n"
      "  echo '<3>cbit: {0} was not mounted' > /dev/kmsg\n",
      share_path, dev::P9Server::msize_max, tag);
}

// As read-only as the other: a mount of the folder onto itself can be, the initramfs cannot.
std::string share_copy_script() {
  return fmt::format(
      "mount -o bind {0} {0} && mount -o remount,bind,ro {0} ||\n"
      "  echo '<3>cbit: {0} was not made read-only' > /dev/kmsg\n",
      share_path);
}

OrError<ShareCopy> copy_share(const dev::SharedFolder& folder, std::uint64_t memory_bytes) {
  return Copying{folder, memory_bytes}.run();
}

}  // namespace cbit::guest
