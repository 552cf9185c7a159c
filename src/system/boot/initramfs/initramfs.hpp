// A small initramfs: busybox, kernel modules in the order to load them in, the user's files, and an init.
//
//   /init                the script
//   /bin/busybox         and, made by the script, its applets
//   /cbit/modules/NAME.ko, /cbit/modules.order
//   /cbit/setup          what runs before it, where there is one
//   /cbit/enter          what runs the words behind it somewhere else than in the initramfs, where that is
//                        wanted
//   /cbit/command        what runs instead of a shell, where there is one
//   /cbit/ask            where the command is to be asked for when all else is done: init writes ENQ (05h)
//                        to ttyS1, and reads there how many bytes the command has, in decimal and with a
//                        newline, and these; none: a shell
//   /cbit/finish         what runs behind it, where there is one
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "boot/initramfs/module_tree.hpp"

namespace cbit::boot {

struct GuestFile {
  std::string path;  // without a slash in front
  Bytes contents;
  unsigned mode = 0644;
};

struct GuestFolder {
  std::string path;
  unsigned mode = 0755;
};
struct GuestLink {
  std::string path;
  std::string target;
};

struct InitramfsContents {
  Bytes busybox;
  std::string busybox_name = "the busybox";  // for messages
  std::vector<ModuleFile> modules;
  std::vector<GuestFolder> folders;  // those that a file needs are there without being named
  std::vector<GuestFile> files;
  std::vector<GuestLink> links;
  std::string init;     // empty: default_init()
  std::string setup;    // a shell script, run when the modules are loaded; empty: none
  std::string enter;    // a shell script that runs its arguments; empty: they run where they are
  std::string command;  // a shell script; empty: none
  bool asks = false;    // for its command, which is not in it
  std::string finish;   // a shell script, run when the command or shell has ended; empty: none
};

// Mounts proc, sysfs, devtmpfs, debugfs and tmpfs, loads the modules (MODULE.OPTION=VALUE of the kernel's
// command line are theirs, as modprobe has it), runs the setup, then the command or a shell, and powers off.
// With root= in the kernel's command line (and rootfstype=, ext4 without; rootflags=, rw, init=, as the
// kernel has them) the command runs in that file system, and without a command its init takes over.
// A command's output goes to ttyS1 as it is; its status to the kernel's log, as an error so that it is on any
// console ("cbit: command ended with status N").
[[nodiscard]] std::string_view default_init();

// The cpio archive; the same contents give the same bytes. Errors (input): a path twice or out of the root; a
// busybox that is no static program for x86-64.
OrError<Bytes> build_initramfs(const InitramfsContents& contents);

// A static busybox of this host, in the folders of a PATH. Errors (input): there is none, with what to do.
OrError<std::filesystem::path> find_busybox(std::string_view search_path);

}  // namespace cbit::boot
