// What a kernel module says about itself, and whether a kernel will take it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"

namespace cbit::boot {

// The section .modinfo (include/linux/moduleparam.h: NAME=VALUE, each with a zero behind it).
struct ModuleInfo {
  std::string name;      // "virtio_ring"; from the file's name where the module does not say
  std::string vermagic;  // "6.1.0-13-amd64 SMP preempt mod_unload modversions "
  std::vector<std::string> depends;
  bool has_crcs = false;   // CONFIG_MODVERSIONS: the kernel compares symbols instead of its release
  bool is_signed = false;  // a signature is appended

  // The first word of `vermagic`.
  [[nodiscard]] std::string_view release() const;
};

// The bytes of a module that may be packed (.ko.xz, .ko.gz, .ko.zst): the ELF file. Errors (input): it cannot
// be unpacked. `name` is for messages.
OrError<Bytes> unpack_module(Bytes file, std::string_view name);

// Errors (input): no kernel module for x86-64, or cut off.
OrError<ModuleInfo> read_module_info(ConstByteSpan module, std::string_view name);

// Names of modules are compared with `-` and `_` alike.
[[nodiscard]] std::string module_name_of(std::string_view file_name);

// same_magic() of Linux 6.1, kernel/module/version.c: with CRCs the release is not compared. Errors (input):
// the kernel will refuse the module (ENOEXEC).
OrError<void> check_vermagic(const ModuleInfo& module, std::string_view kernel_vermagic);
// The same, of which only the kernel's release is known: refused where the releases differ, although with
// CRCs it might load.
OrError<void> check_release(const ModuleInfo& module, std::string_view kernel_release);

}  // namespace cbit::boot
