#include "boot/initramfs/module_info.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "boot/archive_handles.hpp"
#include "boot/elf.hpp"

namespace cbit::boot {
namespace {

constexpr std::uint64_t module_bytes_max = 1ull << 30;
constexpr std::string_view signature_mark = "~Module signature appended~\n";  // MODULE_SIG_STRING

tl::unexpected<Error> bad_module(std::string_view name, std::string_view why) {
  return bad_input(fmt::format("{} is no kernel module that can be loaded: {}", name, why),
                   "give a .ko file that was built for this kernel");
}

std::vector<std::string> split_by_comma(std::string_view list) {
  std::vector<std::string> words;
  while (!list.empty()) {
    const std::size_t end = std::min(list.find(','), list.size());
    if (end != 0) words.push_back(module_name_of(list.substr(0, end)));
    list.remove_prefix(std::min(end + 1, list.size()));
  }
  return words;
}

void take_entry(ModuleInfo& info, std::string_view entry) {
  const std::size_t equals = entry.find('=');
  if (equals == std::string_view::npos) return;
  const std::string_view key = entry.substr(0, equals), value = entry.substr(equals + 1);
  if (key == "vermagic") info.vermagic = value;
  if (key == "name") info.name = module_name_of(value);
  if (key == "depends") info.depends = split_by_comma(value);
}

// Up to the first blank, as strcspn(magic, " ") cuts it.
std::string_view after_release(std::string_view magic) {
  return magic.substr(std::min(magic.find(' '), magic.size()));
}

tl::unexpected<Error> other_kernel(const ModuleInfo& module, std::string_view kernel) {
  return bad_input(
      fmt::format("module {} is for another kernel: it was built for '{}', and this is '{}'", module.name,
                  module.vermagic, kernel),
      "build it against the headers of this kernel (linux-headers-$RELEASE), or run the kernel that "
      "it was built for");
}

// Unpacks what one of libarchive's filters knows.
OrError<Bytes> unpack_stream(ConstByteSpan file, std::string_view name) {
  const ArchiveHandle a{archive_read_new()};
  archive_read_support_filter_xz(a.get());
  archive_read_support_filter_gzip(a.get());
  archive_read_support_filter_zstd(a.get());
  archive_read_support_format_raw(a.get());
  archive_entry* e = nullptr;
  if (archive_read_open_memory(a.get(), file.data(), file.size()) != ARCHIVE_OK ||
      archive_read_next_header(a.get(), &e) != ARCHIVE_OK)
    return bad_module(name, archive_trouble(a.get()));
  Bytes unpacked;
  for (std::array<std::byte, 1 << 16> part;;) {
    const la_ssize_t now = archive_read_data(a.get(), part.data(), part.size());
    if (now < 0) return bad_module(name, archive_trouble(a.get()));
    if (now == 0) return unpacked;
    unpacked.insert(unpacked.end(), part.begin(), part.begin() + now);
    if (unpacked.size() > module_bytes_max) return bad_module(name, "it unpacks to more than 1 GiB");
  }
}

}  // namespace

std::string_view ModuleInfo::release() const {
  return std::string_view{vermagic}.substr(0, vermagic.find(' '));
}

std::string module_name_of(std::string_view file_name) {
  std::string name{file_name.substr(0, file_name.find(".ko"))};
  std::ranges::replace(name, '-', '_');
  return name;
}

OrError<Bytes> unpack_module(Bytes file, std::string_view name) {
  if (is_elf(file)) return file;
  return unpack_stream(file, name);
}

OrError<ModuleInfo> read_module_info(ConstByteSpan module, std::string_view name) {
  const ElfFile elf = CBIT_TRY(ElfFile::open(module, name));
  if (!elf.is_64_bit() || !elf.is_relocatable()) return bad_module(name, "it is no 64-bit object file");
  const auto section = elf.section(".modinfo");
  if (!section) return bad_module(name, "it has no section .modinfo");
  const std::size_t slash = name.rfind('/');
  ModuleInfo info{.name = module_name_of(slash == std::string_view::npos ? name : name.substr(slash + 1)),
                  .has_crcs = elf.section("__versions").has_value()};
  std::string_view text{reinterpret_cast<const char*>(section->data()), section->size()};
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\0'), text.size());
    take_entry(info, text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  if (info.vermagic.empty()) return bad_module(name, "it does not say for which kernel it is (vermagic)");
  const std::string_view whole{reinterpret_cast<const char*>(module.data()), module.size()};
  info.is_signed = whole.ends_with(signature_mark);
  return info;
}

OrError<void> check_vermagic(const ModuleInfo& module, std::string_view kernel_vermagic) {
  const bool same = module.has_crcs ? after_release(module.vermagic) == after_release(kernel_vermagic)
                                    : module.vermagic == kernel_vermagic;
  if (same) return {};
  return other_kernel(module, kernel_vermagic);
}

OrError<void> check_release(const ModuleInfo& module, std::string_view kernel_release) {
  if (module.release() == kernel_release) return {};
  return other_kernel(module, kernel_release);
}

}  // namespace cbit::boot
