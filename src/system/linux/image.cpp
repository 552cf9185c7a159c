#include "linux/image.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>

#include "linux/parts.hpp"
#include "linux/unpack.hpp"

namespace cbit::linux {
namespace {

using spec::LinuxSetupHeader;

// init/version.c: linux_banner. The format string that printk() is given begins alike, and has a "%" there.
constexpr std::string_view banner_start = "Linux version ";
constexpr std::size_t banner_bytes_max = 512;
// kernel/configs.c: kernel_config_data.
constexpr std::string_view config_start = "IKCFG_ST";
constexpr std::string_view config_end = "IKCFG_ED";
constexpr std::uint64_t config_bytes_max = 4 << 20;

bool is_bzimage(ConstByteSpan file) {
  const auto magic =
      load_part<std::uint32_t>(file, spec::linux_setup_header_at + offsetof(LinuxSetupHeader, header));
  return magic == spec::linux_header_magic;
}

LinuxSetupHeader load_header(ConstByteSpan file) {
  std::array<std::byte, sizeof(LinuxSetupHeader)> whole{};
  const ConstByteSpan there = file.subspan(spec::linux_setup_header_at);
  std::ranges::copy(there.first(std::min(there.size(), whole.size())), whole.begin());
  return load<LinuxSetupHeader>(whole);
}

// Documentation/x86/boot.rst: payload_offset counts from the protected-mode code, behind the setup sectors.
OrError<ConstByteSpan> payload_of(ConstByteSpan file, const LinuxSetupHeader& header, std::string_view name) {
  const spec::LinuxXLoadFlags flags{{header.xloadflags}};
  if (header.version < spec::linux_protocol_2_12 || !flags.get<spec::LinuxXLoadFlags::Kernel64>())
    return bad_input(fmt::format("{} is no 64-bit kernel", name),
                     "take an amd64 kernel of Linux 3.8 or later");
  const std::uint64_t sectors =
      header.setup_sects != 0 ? header.setup_sects : spec::linux_setup_sects_default;
  const std::uint64_t code_at = (sectors + 1) * spec::linux_sector_bytes;
  const auto payload = part(file, code_at + header.payload_offset, header.payload_length);
  if (!payload || payload->empty())
    return bad_input(fmt::format("{} is cut off: its kernel is not in it", name), "get the file again");
  return *payload;
}

}  // namespace

OrError<KernelImage> KernelImage::open(Bytes file, std::string_view name) {
  KernelImage made;
  made.name_ = name;
  if (is_elf(file)) {
    made.unpacked_ = std::make_unique<const Bytes>(std::move(file));
  } else if (is_bzimage(file)) {
    made.setup_header_ = load_header(file);
    const ConstByteSpan payload = CBIT_TRY(payload_of(file, *made.setup_header_, name));
    made.unpacked_ = std::make_unique<const Bytes>(CBIT_TRY(unpack_payload(payload, name)));
  } else {
    return bad_input(fmt::format("{} is no Linux kernel", name), "give a bzImage (vmlinuz) or a vmlinux");
  }
  made.elf_ = CBIT_TRY(ElfFile::open(*made.unpacked_, name));
  if (made.elf_.relocatable() || made.elf_.segments().empty())
    return bad_input(fmt::format("{} is no Linux kernel but another ELF file", name), "give a vmlinux");
  made.banner_ = made.find_banner();
  return made;
}

KernelImage::Banner KernelImage::find_banner() const {
  // Tens of megabytes are looked through.
  const std::boyer_moore_horspool_searcher start{banner_start.begin(), banner_start.end()};
  for (const ElfPart& segment : elf_.segments()) {
    const std::string_view text = as_text(segment.bytes);
    for (auto at = std::search(text.begin(), text.end(), start); at != text.end();
         at = std::search(at + 1, text.end(), start)) {
      const auto offset = static_cast<std::size_t>(at - text.begin());
      const std::string_view found = text.substr(offset, banner_bytes_max);
      const auto end = found.find('\0');
      if (end != found.npos && end > banner_start.size() && found[banner_start.size()] != '%' &&
          found[end - 1] == '\n')
        return {found.substr(0, end), segment.at + offset};
    }
  }
  return {};
}

std::string_view KernelImage::release() const {
  if (banner_.text.empty()) return {};
  const std::string_view rest = banner_.text.substr(banner_start.size());
  return rest.substr(0, rest.find(' '));
}

std::optional<std::string> KernelImage::config() const {
  for (const ElfPart& segment : elf_.segments()) {
    const std::string_view text = as_text(segment.bytes);
    const auto start = text.find(config_start);
    if (start == text.npos) continue;
    const auto end = text.find(config_end, start);
    if (end == text.npos) continue;
    const std::size_t first = start + config_start.size();
    const auto config = unpack_gzip(segment.bytes.subspan(first, end - first), config_bytes_max, name_);
    if (config) return std::string{as_text(*config)};
  }
  return std::nullopt;
}

}  // namespace cbit::linux
