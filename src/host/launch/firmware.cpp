#include "launch/firmware.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <optional>
#include <span>

#include "os/input_file.hpp"

namespace cbit::launch {
namespace {

// GUIDs as they lie in memory: the first three fields are little-endian.
using Guid = std::array<unsigned char, 16>;
constexpr Guid table_footer{0xde, 0x82, 0xb5, 0x96, 0xb2, 0x1f, 0xf7, 0x45,
                            0xba, 0xea, 0xa3, 0x66, 0xc5, 0x5a, 0x08, 0x2d};
constexpr Guid sev_es_reset_block{0xde, 0x71, 0xf7, 0x00, 0x7e, 0x1a, 0xcb, 0x4f,
                                  0x89, 0x0e, 0x68, 0xc7, 0x7e, 0x2f, 0xb4, 0x4e};
constexpr Guid sev_hash_table{0x1f, 0x37, 0x55, 0x72, 0x3b, 0x3a, 0x04, 0x4b,
                              0x92, 0x7b, 0x1d, 0xa6, 0xef, 0xa8, 0xd4, 0x54};
constexpr Guid sev_metadata{0x66, 0x65, 0x88, 0xdc, 0x4a, 0x98, 0x98, 0x47,
                            0xa7, 0x5e, 0x55, 0x85, 0xa7, 0xbf, 0x67, 0xcc};
constexpr Guid tdx_metadata{0x35, 0x65, 0x7a, 0xe4, 0x4a, 0x98, 0x98, 0x47,
                            0x86, 0x5e, 0x46, 0x85, 0xa7, 0xbf, 0x8e, 0xc2};

constexpr std::size_t reset_vector_bytes = 32;  // after the table, up to the end of the image
constexpr std::size_t length_bytes = 2;
constexpr std::size_t entry_tail_bytes = sizeof(Guid) + length_bytes;  // an entry ends with length and GUID

bool is(std::span<const std::byte> bytes, const Guid& guid) {
  return std::memcmp(bytes.data(), guid.data(), guid.size()) == 0;
}

std::uint32_t little_endian(std::span<const std::byte> bytes) {
  std::uint32_t value = 0;
  for (std::size_t i = bytes.size(); i-- > 0;) value = value << 8 | std::to_integer<std::uint32_t>(bytes[i]);
  return value;
}

// The entries between the footer's length field and the table's start; empty: there is no table.
std::optional<std::span<const std::byte>> table_entries(std::span<const std::byte> image) {
  if (image.size() < reset_vector_bytes + entry_tail_bytes) return std::nullopt;
  const std::span<const std::byte> end = image.first(image.size() - reset_vector_bytes);
  if (!is(end.last(sizeof(Guid)), table_footer)) return std::nullopt;
  const std::size_t total = little_endian(end.last(entry_tail_bytes).first(length_bytes));
  if (total < entry_tail_bytes || total > end.size()) return std::nullopt;
  return end.last(total).first(total - entry_tail_bytes);
}

// The reset block of an OVMF of 2020, which has no table (target/i386/sev.c: sev_es_find_reset_vector()).
bool has_lone_reset_block(std::span<const std::byte> image) {
  if (image.size() < reset_vector_bytes + entry_tail_bytes) return false;
  const std::span<const std::byte> end = image.first(image.size() - reset_vector_bytes);
  const std::size_t length = little_endian(end.last(entry_tail_bytes).first(length_bytes));
  return is(end.last(sizeof(Guid)), sev_es_reset_block) && length >= entry_tail_bytes + 4 &&
         length <= end.size() && little_endian(end.last(length).first(4)) != 0;
}

void note_entry(Firmware& firmware, std::span<const std::byte> guid, std::span<const std::byte> data) {
  // QEMU refuses an address of 0 (target/i386/sev.c: sev_es_parse_reset_block()).
  if (is(guid, sev_es_reset_block) && data.size() >= 4) firmware.sev_es = little_endian(data.first(4)) != 0;
  if (is(guid, sev_metadata)) firmware.sev_snp = true;
  if (is(guid, tdx_metadata)) firmware.tdx = true;
  if (!is(guid, sev_hash_table) || data.size() < 8) return;
  const std::uint32_t base = little_endian(data.first(4));
  firmware.sev_hash_bytes = base == 0 ? 0 : little_endian(data.subspan(4, 4));
}

// Debian and Ubuntu, Fedora and RHEL, SUSE, Arch.
constexpr std::string_view known_images[] = {
    "/usr/share/ovmf/OVMF.amdsev.fd",
    "/usr/share/edk2/ovmf/OVMF.amdsev.fd",
    "/usr/share/OVMF/OVMF_CODE_4M.fd",
    "/usr/share/edk2/ovmf/OVMF_CODE.cc.fd",
    "/usr/share/edk2/ovmf/OVMF_CODE.fd",
    "/usr/share/edk2/x64/OVMF_CODE.4m.fd",
    "/usr/share/qemu/ovmf-x86_64-sev.bin",
    "/usr/share/qemu/ovmf-x86_64-code.bin",
    "/usr/share/ovmf/OVMF.fd",
    "/usr/share/edk2/ovmf/OVMF.inteltdx.fd",
    "/usr/share/edk2/x64/OVMF.4m.fd",
};

}  // namespace

Firmware parse_firmware(std::string path, std::span<const std::byte> image) {
  Firmware firmware{.path = std::move(path), .bytes = image.size()};
  auto entries = table_entries(image);
  firmware.ovmf = entries.has_value();
  if (!entries) firmware.sev_es = has_lone_reset_block(image);
  // Backwards: each entry's length and GUID follow its data.
  while (entries && entries->size() >= entry_tail_bytes) {
    const std::size_t length = little_endian(entries->last(entry_tail_bytes).first(length_bytes));
    if (length < entry_tail_bytes || length > entries->size()) break;
    note_entry(firmware, entries->last(sizeof(Guid)), entries->last(length).first(length - entry_tail_bytes));
    entries = entries->first(entries->size() - length);
  }
  return firmware;
}

OrError<Firmware> read_guest_firmware(const std::string& name) {
  // qemu_find_file(QEMU_FILE_TYPE_BIOS): the name as it is, then in QEMU's folders; Debian's are these.
  constexpr std::string_view folders[] = {"/usr/share/qemu/", "/usr/share/seabios/"};
  std::error_code error;
  if (name.find('/') == std::string::npos && !std::filesystem::exists(name, error))
    for (const std::string_view folder : folders)
      if (const std::string path = std::string{folder} + name; std::filesystem::exists(path, error))
        return read_firmware(path);
  return read_firmware(name);
}

OrError<Firmware> read_firmware(const std::string& path) {
  const std::string image = CBIT_TRY(os::read_input(
      path, {.what = "a firmware image",
             .remedy = "give --firmware an image of OVMF, not a disk; Debian's are in the package ovmf",
             .bytes_max = firmware_bytes_max}));
  return parse_firmware(path, std::as_bytes(std::span{image}));
}

std::vector<Firmware> installed_firmware() {
  std::vector<Firmware> found;
  for (const std::string_view path : known_images)
    if (auto firmware = read_firmware(std::string{path})) found.push_back(*std::move(firmware));
  return found;
}

bool boots(const Firmware& firmware, Protection protection) {
  switch (protection) {
    case Protection::none: return true;
    case Protection::sev: return firmware.ovmf || firmware.sev_es;
    case Protection::sev_es: return firmware.sev_es;
    case Protection::sev_snp: return firmware.sev_es && firmware.sev_snp;
    case Protection::tdx: return firmware.ovmf && firmware.tdx;
  }
  return false;
}

bool has_room_for_hashes(const Firmware& firmware) { return firmware.sev_hash_bytes >= sev_hash_table_bytes; }

}  // namespace cbit::launch
