#include "boot/kernel_file.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "boot/bzimage.hpp"
#include "boot/elf.hpp"
#include "boot/multiboot.hpp"
#include "boot/vmlinux.hpp"

namespace cbit::boot {
namespace {

struct Look {
  std::size_t at;
  std::string_view bytes;
  std::string_view what;
};
using namespace std::string_view_literals;
constexpr Look looks[] = {
    {0, "\x1f\x8b"sv, "a gzip file"},
    {0,
     "\xfd"
     "7zXZ"sv,
     "an xz file"},
    {0, "\x28\xb5\x2f\xfd"sv, "a zstd file"},
    {0, "070701"sv, "a cpio archive, as an initramfs is"},
    {0, "!<arch>\n"sv, "a Debian package or other ar archive"},
    {0, "#!"sv, "a script"},
    {0, "PK\x03\x04"sv, "a zip file"},
    {0x38, "ARM\x64"sv, "a Linux kernel for arm64"},
    {0x8001, "CD001"sv, "a CD image"},
    {0, "MZ"sv, "an EFI or Windows program"},
};

std::string_view look_of(ConstByteSpan file) {
  if (file.empty()) return "an empty file";
  const std::string_view text{reinterpret_cast<const char*>(file.data()), file.size()};
  for (const Look& look : looks)
    if (text.size() > look.at && text.substr(look.at).starts_with(look.bytes)) return look.what;
  const auto blank = [](char c) { return c == 0; };
  if (std::ranges::all_of(text.substr(0, page_size), blank)) return "nothing but zeros";
  return {};
}

tl::unexpected<Error> no_kernel(ConstByteSpan file, std::string_view name) {
  constexpr std::string_view hint = "give a bzImage (vmlinuz), a vmlinux, a PVH or a multiboot v1 kernel";
  const std::string_view look = look_of(file);
  if (look.empty()) return bad_input(fmt::format("{} is no kernel", name), std::string{hint});
  return bad_input(fmt::format("{} is no kernel: it is {}", name, look), std::string{hint});
}

}  // namespace

std::string_view to_string(KernelKind kind) {
  switch (kind) {
    case KernelKind::bzimage: return "bzImage";
    case KernelKind::multiboot: return "multiboot";
    case KernelKind::pvh: return "PVH";
    case KernelKind::vmlinux: return "vmlinux";
  }
  return "?";
}

OrError<KernelKind> kernel_kind(ConstByteSpan file, std::string_view name) {
  if (is_bzimage(file)) return KernelKind::bzimage;
  const auto multiboot = find_multiboot_header(file);
  if (!is_elf(file)) {
    if (multiboot) return KernelKind::multiboot;
    return no_kernel(file, name);
  }
  const ElfFile elf = CBIT_TRY(ElfFile::open(file, name));
  const bool placed = multiboot && multiboot->header.flags.get<spec::MultibootHeaderFlags::HasAddresses>();
  if (multiboot && (placed || !elf.is_64_bit())) return KernelKind::multiboot;
  if (elf.is_64_bit() && elf.is_executable() && is_linux(elf)) return KernelKind::vmlinux;
  if (pvh_entry(elf)) return KernelKind::pvh;
  if (multiboot) return KernelKind::multiboot;  // its own message says what is missing
  if (elf.is_relocatable())
    return bad_input(fmt::format("{} is an object file or kernel module, no kernel", name),
                     "modules go with --module");
  return bad_input(fmt::format("{} is an ELF program without a PVH note or multiboot header", name),
                   "give a bzImage (vmlinuz), or a kernel built with CONFIG_PVH");
}

OrError<LoadPlan> plan_image(const Board& board, const BootImage& image) {
  switch (CBIT_TRY(kernel_kind(image.kernel, image.name))) {
    case KernelKind::bzimage: return plan_bzimage(board, image);
    case KernelKind::multiboot: return plan_multiboot(board, image);
    case KernelKind::pvh: return plan_pvh(board, image);
    case KernelKind::vmlinux: return plan_vmlinux(board, image);
  }
  return bad_input(fmt::format("{} is no kernel", image.name));
}

}  // namespace cbit::boot
