#include "boot/initramfs/initramfs.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "boot/elf.hpp"
#include "boot/files.hpp"
#include "boot/initramfs/archive.hpp"

namespace cbit::boot {
namespace {

constexpr std::string_view init_script = R"sh(#!/bin/busybox sh
busybox=/bin/busybox
$busybox --install -s /bin
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=linux
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t debugfs debugfs /sys/kernel/debug
mount -t tmpfs tmpfs /tmp
while read -r module; do
  set --
  for word in $(cat /proc/cmdline); do
    case $word in "$module".*) set -- "$@" "${word#*.}" ;; esac
  done
  why=$(insmod "/cbit/modules/$module.ko" "$@" 2>&1) ||
    echo "<3>cbit: module $module was not loaded: ${why##*: }" > /dev/kmsg
done < /cbit/modules.order
[ ! -e /cbit/setup ] || sh /cbit/setup < /dev/null
root= type=ext4 flags=ro init=/sbin/init
for word in $(cat /proc/cmdline); do
  case $word in
    root=*) root=${word#*=} ;;
    rootfstype=*) type=${word#*=} ;;
    rootflags=*) flags=$flags,${word#*=} ;;
    ro | rw) flags=$flags,$word ;;
    init=*) init=${word#*=} ;;
  esac
done
if [ -n "$root" ]; then
  if why=$(mount -t "$type" -o "$flags" "$root" /sysroot 2>&1); then
    for folder in dev proc sys tmp; do mount -o bind "/$folder" "/sysroot/$folder"; done
    [ -e /cbit/command ] || [ -e /cbit/ask ] || exec switch_root /sysroot "$init"
  else
    echo "<3>cbit: root=$root was not mounted: ${why##*: }" > /dev/kmsg
  fi
fi
if [ -e /cbit/ask ]; then
  stty -F /dev/ttyS1 raw -echo
  exec 3<> /dev/ttyS1
  printf '\005' >&3
  read -r bytes <&3
  [ "$bytes" = 0 ] || head -c "$bytes" <&3 > /cbit/command
  exec 3>&-
fi
enter=
if [ -e /cbit/enter ]; then
  enter="sh /cbit/enter"
elif [ -n "$root" ] && [ -e /cbit/command ]; then
  enter="chroot /sysroot"
fi
if [ -e /cbit/command ]; then
  stty -F /dev/ttyS1 raw -echo
  $enter sh -c "$(cat /cbit/command)" < /dev/null > /dev/ttyS1 2>&1
  echo "<3>cbit: command ended with status $?" > /dev/kmsg
else
  setsid cttyhack $enter sh
fi
[ ! -e /cbit/finish ] || sh /cbit/finish < /dev/null
sync
[ -z "$root" ] || mount -o remount,ro /sysroot 2> /dev/null
poweroff -f
)sh";

constexpr std::string_view busybox_hint =
    "apt-get install busybox-static, or name a static busybox for x86-64 with --busybox";

Bytes bytes_of_text(std::string_view text) {
  const ConstByteSpan bytes = std::as_bytes(std::span{text});
  return {bytes.begin(), bytes.end()};
}

OrError<void> check_busybox(ConstByteSpan program, std::string_view name) {
  const auto elf = ElfFile::open(program, name);
  if (elf && elf->is_64_bit() && elf->is_executable() && !elf->has_interpreter()) return {};
  return bad_input(fmt::format("{} is no static program for x86-64", name), std::string{busybox_hint});
}

}  // namespace

std::string_view default_init() { return init_script; }

OrError<Bytes> build_initramfs(const InitramfsContents& contents) {
  CBIT_TRY(check_busybox(contents.busybox, contents.busybox_name));
  InitramfsArchive archive;
  for (const std::string_view folder : {"dev", "proc", "sys", "tmp", "root", "sysroot", "cbit/modules"})
    CBIT_TRY(archive.add_folder(folder));
  // The kernel opens the console before init mounts anything.
  CBIT_TRY(archive.add_character_device("dev/console", 5, 1));
  CBIT_TRY(archive.add_character_device("dev/null", 1, 3, 0666));
  CBIT_TRY(archive.add_file("bin/busybox", contents.busybox, 0755));
  CBIT_TRY(archive.add_link("bin/sh", "busybox"));
  const std::string_view init = contents.init.empty() ? init_script : std::string_view{contents.init};
  CBIT_TRY(archive.add_file("init", bytes_of_text(init), 0755));
  std::string order;
  for (const ModuleFile& module : contents.modules) {
    CBIT_TRY(archive.add_file(fmt::format("cbit/modules/{}.ko", module.name), module.contents));
    order += module.name + '\n';
  }
  CBIT_TRY(archive.add_file("cbit/modules.order", bytes_of_text(order)));
  if (!contents.command.empty())
    CBIT_TRY(archive.add_file("cbit/command", bytes_of_text(contents.command), 0755));
  if (contents.asks) CBIT_TRY(archive.add_file("cbit/ask", {}));
  if (!contents.setup.empty()) CBIT_TRY(archive.add_file("cbit/setup", bytes_of_text(contents.setup), 0755));
  if (!contents.enter.empty()) CBIT_TRY(archive.add_file("cbit/enter", bytes_of_text(contents.enter), 0755));
  if (!contents.finish.empty())
    CBIT_TRY(archive.add_file("cbit/finish", bytes_of_text(contents.finish), 0755));
  // First, so that a folder's mode is not that of one which a file needs.
  for (const GuestFolder& folder : contents.folders) CBIT_TRY(archive.add_folder(folder.path, folder.mode));
  for (const GuestFile& file : contents.files)
    CBIT_TRY(archive.add_file(file.path, file.contents, file.mode));
  for (const GuestLink& link : contents.links) CBIT_TRY(archive.add_link(link.path, link.target));
  return archive.pack();
}

OrError<std::filesystem::path> find_busybox(std::string_view search_path) {
  std::string tried;
  while (!search_path.empty()) {
    const std::size_t end = std::min(search_path.find(':'), search_path.size());
    const std::filesystem::path path = std::filesystem::path{search_path.substr(0, end)} / "busybox";
    search_path.remove_prefix(std::min(end + 1, search_path.size()));
    const auto program = read_file(path);
    if (!program) continue;
    if (check_busybox(*program, path.string())) return path;
    tried = fmt::format(" ({} is not static)", path.string());
  }
  return bad_input(fmt::format("there is no static busybox for the guest{}", tried),
                   std::string{busybox_hint});
}

}  // namespace cbit::boot
