#include "guest/host_root.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "base/text.hpp"
#include "dev/p9/server.hpp"
#include "guest/drivers.hpp"

namespace cbit::guest {
namespace {

// A program that runs as the guest's root finds what an administrator's shell finds.
constexpr std::string_view search_path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

}  // namespace

std::vector<std::string> drivers_of_host_root() {
  const auto share = linux_drivers_of("virtio-9p");
  std::vector<std::string> drivers{share.begin(), share.end()};
  drivers.emplace_back("overlay");
  return drivers;
}

OrError<void> check_has_host_root(const boot::ModuleTree& modules, std::string_view kernel_name) {
  for (const std::string& driver : drivers_of_host_root())
    if (!modules.provides(driver))
      return bad_input(fmt::format("--root needs the module {}, which {} does not have", driver, kernel_name),
                       "take Debian's linux-image-amd64, or build it with CONFIG_9P_FS, CONFIG_NET_9P_VIRTIO "
                       "and CONFIG_OVERLAY_FS");
  return {};
}

// A guest that has no root runs nothing: what it was to do there might do something else here. The host's
// files are taken not to change meanwhile (cache=loose).
std::string host_root_setup(std::string_view tag) {
  return fmt::format(R"(fail() {{ echo "<3>cbit: the root was not mounted: $1" > /dev/kmsg; poweroff -f; }}
mkdir -p /cbit/host /cbit/changes /cbit/root
mount -t 9p -o trans=virtio,version=9p2000.L,msize={},ro,nodev,cache=loose {} /cbit/host ||
  fail "9p over virtio"
mount -t tmpfs -o mode=755 changes /cbit/changes
mkdir /cbit/changes/upper /cbit/changes/work
mount -t overlay -o lowerdir=/cbit/host,upperdir=/cbit/changes/upper,workdir=/cbit/changes/work \
  root /cbit/root || fail "the overlay"
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
for link in fd: stdin:/0 stdout:/1 stderr:/2; do
  ln -s "/proc/self/fd${{link#*:}}" "/dev/${{link%:*}}"
done
cd /cbit/root
mkdir -p proc sys dev run tmp mnt
for folder in proc sys dev; do mount -o rbind "/$folder" "$folder"; done
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs tmpfs tmp
for folder in mnt/share mnt/out; do
  [ ! -d "/$folder" ] || {{ mkdir -p "$folder"; mount -o rbind "/$folder" "$folder"; }}
done
)",
                     dev::P9Server::msize_max, tag);
}

// Programs that make namespaces of their own want to be at the root of their mounts, which chroot(8) alone
// does not do.
std::string host_root_enter(std::string_view folder) {
  return fmt::format(
      "cd /cbit/root && mount -o move . / || exit 125\n"
      "export PATH={}\n"
      "exec chroot . /bin/sh -c 'cd \"$0\" 2> /dev/null || cd /; exec \"$@\"' {} \"$@\"\n",
      search_path, shell_quoted(folder));
}

std::string folder_below_root(const std::string& root, const std::string& folder) {
  std::error_code error;
  const std::filesystem::path below = std::filesystem::relative(folder, root, error);
  if (error || below.empty() || below == "." || *below.begin() == "..") return "/";
  return '/' + below.string();
}

}  // namespace cbit::guest
