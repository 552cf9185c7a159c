// A kernel's file: a bzImage (vmlinuz), whose payload is unpacked, or a vmlinux.
//
// What it knows is what a stripped kernel still has: sections, the banner, and with CONFIG_IKCONFIG its
// options. Nothing in the file is trusted. Threading: immutable once open.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "linux/elf.hpp"
#include "spec/linux_boot.hpp"

namespace cbit::linux {

class KernelImage {
 public:
  // Takes the file's bytes. Errors (input): neither form, cut off, 32-bit, compressed in an unknown way,
  // damaged. `name` is for messages.
  static OrError<KernelImage> open(Bytes file, std::string_view name);

  [[nodiscard]] const ElfFile& elf() const { return elf_; }
  // The bytes of that ELF file, unpacked.
  [[nodiscard]] ConstByteSpan vmlinux() const { return *unpacked_; }
  // nullopt: the file was a vmlinux.
  [[nodiscard]] const std::optional<spec::LinuxSetupHeader>& setup_header() const { return setup_header_; }

  // "Linux version 6.1.0-56-cloud-amd64 (…) … #1 SMP …\n" as it stands in the kernel's memory, without the
  // NUL: what tells this very kernel from all others. Empty: it has none.
  [[nodiscard]] std::string_view banner() const { return banner_.text; }
  [[nodiscard]] VirtAddr banner_at() const { return banner_.at; }
  // "6.1.0-56-cloud-amd64": of the banner.
  [[nodiscard]] std::string_view release() const;

  // What /proc/config.gz would give. nullopt: built without CONFIG_IKCONFIG.
  [[nodiscard]] std::optional<std::string> config() const;

 private:
  struct Banner {
    std::string_view text;
    VirtAddr at;
  };
  [[nodiscard]] Banner find_banner() const;

  std::string name_;
  std::unique_ptr<const Bytes> unpacked_;  // where `elf_` looks, wherever the image moves
  ElfFile elf_;
  std::optional<spec::LinuxSetupHeader> setup_header_;
  Banner banner_;
};

}  // namespace cbit::linux
