#include "boot/bzimage.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <utility>

#include "boot/board.hpp"
#include "boot/entry_mode.hpp"
#include "boot/layout.hpp"
#include "boot/linux_params.hpp"

namespace cbit::boot {
namespace {

using spec::LinuxLoadFlags;
using spec::LinuxSetupHeader;
using spec::LinuxXLoadFlags;

// All that a loader of protocol 2.12 reads: up to handover_offset.
constexpr std::size_t header_bytes_min = offsetof(LinuxSetupHeader, handover_offset) + sizeof(std::uint32_t);
constexpr PhysAddr load_address_default{0x10'0000};
constexpr PhysAddr end_of_32_bits{1ull << 32};

struct Magic {
  std::array<unsigned, 2> bytes;
  Compression compression;
};
constexpr Magic magics[] = {
    {{0x1f, 0x8b}, Compression::gzip}, {{0x1f, 0x9e}, Compression::gzip}, {{0x42, 0x5a}, Compression::bzip2},
    {{0x5d, 0x00}, Compression::lzma}, {{0xfd, 0x37}, Compression::xz},   {{0x89, 0x4c}, Compression::lzo},
    {{0x02, 0x21}, Compression::lz4},  {{0x28, 0xb5}, Compression::zstd}, {{0x7f, 0x45}, Compression::none},
};

tl::unexpected<Error> unusable(std::string_view name, std::string_view why, std::string hint) {
  return bad_input(fmt::format("{} {}", name, why), std::move(hint));
}

// The header as the file has it; what the file's is shorter than ours is zero.
LinuxSetupHeader load_header(ConstByteSpan bytes) {
  std::array<std::byte, sizeof(LinuxSetupHeader)> whole{};
  std::ranges::copy(bytes.first(std::min(bytes.size(), whole.size())), whole.begin());
  return load<LinuxSetupHeader>(whole);
}

LinuxXLoadFlags extended_flags(const LinuxSetupHeader& header) { return {{header.xloadflags}}; }

OrError<void> check_entry(const LinuxSetupHeader& header, std::string_view name) {
  if (header.version < spec::linux_protocol_2_12)
    return unusable(name,
                    fmt::format("speaks boot protocol {}.{:02}, which has no 64-bit entry",
                                header.version >> 8, header.version & 0xff),
                    "use Linux 3.8 or later");
  if (!header.loadflags.get<LinuxLoadFlags::LoadedHigh>())
    return unusable(name, "is a zImage, not a bzImage", "build bzImage");
  if (!extended_flags(header).get<LinuxXLoadFlags::Kernel64>())
    return unusable(name,
                    "is a 32-bit kernel; memory encryption, and cbit's way of starting it, need 64 bits",
                    "build it with CONFIG_64BIT, or take an amd64 package");
  return {};
}

OrError<void> check_numbers(const LinuxSetupHeader& header, std::string_view name) {
  const std::uint32_t alignment = header.kernel_alignment, size = header.init_size;
  const std::uint64_t preferred = header.pref_address;
  const bool power_of_two = alignment != 0 && (alignment & (alignment - 1)) == 0;
  if ((header.relocatable_kernel == 0 || power_of_two) && size != 0 && preferred < end_of_32_bits.value())
    return {};
  return unusable(name,
                  fmt::format("has nonsense in its header: alignment {:#x}, preferred address {:#x}, "
                              "size {:#x}",
                              alignment, preferred, size),
                  "the file is damaged: get it again");
}

std::string version_text(const LinuxSetupHeader& header, ConstByteSpan setup) {
  const std::size_t at = std::size_t{header.kernel_version} + spec::linux_sector_bytes;
  if (header.kernel_version == 0 || at >= setup.size()) return {};
  std::string text;
  for (const std::byte b : setup.subspan(at)) {
    const auto c = std::to_integer<unsigned char>(b);
    if (c == 0) return text;
    if (c < 0x20 || c > 0x7e) break;
    text += static_cast<char>(c);
  }
  return {};
}

ConstByteSpan payload_of(const LinuxSetupHeader& header, ConstByteSpan code) {
  if (header.payload_offset > code.size() || header.payload_length > code.size() - header.payload_offset)
    return {};
  return code.subspan(header.payload_offset, header.payload_length);
}

bool contains(ConstByteSpan bytes, std::string_view text) {
  return memmem(bytes.data(), bytes.size(), text.data(), text.size()) != nullptr;
}

// "6.1.0-13-amd64": 6, 1. nullopt: no version.
std::optional<std::pair<unsigned, unsigned>> major_minor(std::string_view release) {
  std::pair<unsigned, unsigned> version;
  const char* const end = release.data() + release.size();
  const auto major = std::from_chars(release.data(), end, version.first);
  if (major.ec != std::errc{} || major.ptr == end || *major.ptr != '.') return std::nullopt;
  const auto minor = std::from_chars(major.ptr + 1, end, version.second);
  return minor.ec == std::errc{} ? std::optional{version} : std::nullopt;
}

PhysAddr load_address(const BzImage& image) {
  const LinuxSetupHeader& header = image.header;
  const PhysAddr wanted = header.pref_address != 0 ? PhysAddr{header.pref_address} : load_address_default;
  return header.relocatable_kernel != 0 ? PhysAddr{align_up(wanted.value(), image.alignment())} : wanted;
}

OrError<void> check_encryption_support(const Board& board, const BootImage& image, const BzImage& kernel) {
  if (!is_encrypted(board.platform) || kernel.memory_encryption() != Answer::no) return {};
  return bad_input(
      fmt::format("{} cannot use encrypted memory: it was built without CONFIG_AMD_MEM_ENCRYPT", image.name),
      "build it with that option, or take Debian's kernel; without encryption it runs on platform plain");
}

// The kernel, and the memory that it uses before it reads the memory map.
OrError<void> add_kernel(LoadPlan& plan, const BootImage& image, const BzImage& kernel, PhysAddr at) {
  const std::uint64_t code = kernel.protected_mode.size();
  const std::uint64_t bytes = std::max<std::uint64_t>(kernel.header.init_size, code);
  if (plan.add({"kernel", at, kernel.protected_mode}) &&
      plan.reserve("the kernel's working memory", at + code, bytes - code))
    return {};
  constexpr std::uint64_t tables = 1 << 20, mib = 1 << 20;
  const std::uint64_t least = align_up((at + bytes).value() + tables, mib);
  return bad_input(fmt::format("{} needs RAM up to {:#x} to start, and the machine has {} MiB below 4 GiB",
                               image.name, (at + bytes).value(), plan.ram().front().bytes / mib),
                   fmt::format("use --memory {}M or more", least / mib));
}

}  // namespace

std::string_view to_string(Compression compression) {
  switch (compression) {
    case Compression::none: return "none";
    case Compression::gzip: return "gzip";
    case Compression::bzip2: return "bzip2";
    case Compression::lzma: return "lzma";
    case Compression::xz: return "xz";
    case Compression::lzo: return "lzo";
    case Compression::lz4: return "lz4";
    case Compression::zstd: return "zstd";
    case Compression::unknown: return "unknown";
  }
  return "?";
}

Compression compression_of(ConstByteSpan payload) {
  if (payload.size() < 2) return Compression::unknown;
  for (const Magic& magic : magics)
    if (std::to_integer<unsigned>(payload[0]) == magic.bytes[0] &&
        std::to_integer<unsigned>(payload[1]) == magic.bytes[1])
      return magic.compression;
  return Compression::unknown;
}

std::string_view BzImage::release() const { return std::string_view{version}.substr(0, version.find(' ')); }

// The stub, which is not compressed, has had this sentence since the support for SEV-SNP guests in 5.19
// (arch/x86/boot/compressed/sev.c); it is built only with the option.
Answer BzImage::memory_encryption() const {
  constexpr std::string_view sentence = "SEV-SNP supported indicated by CC blob";
  if (contains(protected_mode, sentence)) return Answer::yes;
  const auto version_number = major_minor(release());
  return version_number && *version_number >= std::pair{5u, 19u} ? Answer::no : Answer::unknown;
}

bool is_bzimage(ConstByteSpan file) {
  constexpr std::size_t magic_at = spec::linux_setup_header_at + offsetof(LinuxSetupHeader, header);
  return file.size() >= magic_at + sizeof(std::uint32_t) &&
         load<std::uint32_t>(file, magic_at) == spec::linux_header_magic;
}

OrError<BzImage> read_bzimage(ConstByteSpan file, std::string_view name) {
  if (!is_bzimage(file)) return unusable(name, "is no Linux kernel image", "give it a bzImage (vmlinuz)");
  const auto cut_off = [&](std::uint64_t wanted) {
    return unusable(name, fmt::format("is cut off: it should have {} bytes and has {}", wanted, file.size()),
                    "get the file again");
  };
  const ConstByteSpan rest = file.subspan(spec::linux_setup_header_at);
  BzImage image{.header = load_header(rest)};
  const LinuxSetupHeader& header = image.header;
  // The header ends at 0x202 and the jump's distance, and so long is what goes into boot_params.
  const std::size_t header_bytes = 0x202 - spec::linux_setup_header_at + (header.jump >> 8);
  if (rest.size() < header_bytes) return cut_off(spec::linux_setup_header_at + header_bytes);
  CBIT_TRY(check_entry(header, name));
  if (header_bytes < header_bytes_min)
    return unusable(name, "has a header that is too short for its protocol", "the file is damaged");
  image.setup_header = rest.first(header_bytes);
  const unsigned sectors = header.setup_sects != 0 ? header.setup_sects : spec::linux_setup_sects_default;
  const std::uint64_t setup_bytes = (std::uint64_t{sectors} + 1) * spec::linux_sector_bytes;
  const std::uint64_t code_bytes = header.syssize * spec::linux_paragraph_bytes;
  // Not every image fills its last paragraph; memtest86+ does not.
  if (file.size() + spec::linux_paragraph_bytes <= setup_bytes + code_bytes)
    return cut_off(setup_bytes + code_bytes);
  if (code_bytes <= spec::linux_entry_64)
    return unusable(name, "has no kernel behind its header", "get the file again");
  CBIT_TRY(check_numbers(header, name));
  image.protected_mode = file.subspan(setup_bytes, std::min(code_bytes, file.size() - setup_bytes));
  image.payload = payload_of(header, image.protected_mode);
  image.version = version_text(header, file.first(setup_bytes));
  return image;
}

OrError<LoadPlan> plan_bzimage(const Board& board, const BootImage& image) {
  const BzImage kernel = CBIT_TRY(read_bzimage(image.kernel, image.name));
  CBIT_TRY(check_encryption_support(board, image, kernel));
  LoadPlan plan = CBIT_TRY(begin_plan(board));
  plan.protocol = "Linux, 64-bit entry";
  const PhysAddr at = load_address(kernel);
  CBIT_TRY(enter_long_mode(plan, board.encryption_mask));
  CBIT_TRY(add_kernel(plan, image, kernel, at));
  LinuxParams params{
      .image_header = kernel.setup_header,
      .header = kernel.header,
      .command_line_bytes_max = kernel.header.cmdline_size,
      .initrd_limit = std::min(PhysAddr{std::uint64_t{kernel.header.initrd_addr_max} + 1}, end_of_32_bits),
      .initrd_above_4g = extended_flags(kernel.header).get<LinuxXLoadFlags::CanBeLoadedAbove4G>()};
  params.header.code32_start = static_cast<std::uint32_t>(at.value());
  CBIT_TRY(add_linux_params(plan, image, params));
  plan.entry.rip = (at + spec::linux_entry_64).value();
  return plan;
}

}  // namespace cbit::boot
