#include "launch/igvm.hpp"

#include <algorithm>
#include <cstdint>

#include "os/input_file.hpp"

namespace cbit::launch {
namespace {

constexpr std::uint32_t magic = 0x4d56'4749;  // "IGVM"
constexpr std::size_t fixed_header_bytes = 24, variable_header_bytes = 8, platform_type_at = 5;
constexpr std::uint32_t supported_platform = 1;
constexpr std::uint8_t platform_sev_snp = 2, platform_tdx = 3;

std::uint32_t word_at(std::span<const std::byte> bytes, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = 4; i-- > 0;) value = value << 8 | std::to_integer<std::uint32_t>(bytes[at + i]);
  return value;
}

}  // namespace

IgvmFile parse_igvm(std::span<const std::byte> file) {
  if (file.size() < fixed_header_bytes || word_at(file, 0) != magic) return {};
  const std::size_t begin = word_at(file, 8), bytes = word_at(file, 12);
  if (begin < fixed_header_bytes || begin > file.size() || bytes > file.size() - begin) return {};
  IgvmFile igvm{.valid = true};
  for (std::span<const std::byte> rest = file.subspan(begin, bytes); rest.size() >= variable_header_bytes;) {
    const std::size_t length = word_at(rest, 4);
    if (length > rest.size() - variable_header_bytes) break;
    if (word_at(rest, 0) == supported_platform && length > platform_type_at) {
      const auto type = std::to_integer<std::uint8_t>(rest[variable_header_bytes + platform_type_at]);
      igvm.sev_snp = igvm.sev_snp || type == platform_sev_snp;
      igvm.tdx = igvm.tdx || type == platform_tdx;
    }
    const std::size_t step = variable_header_bytes + (length + 7) / 8 * 8;
    rest = rest.subspan(std::min(step, rest.size()));
  }
  return igvm;
}

OrError<IgvmFile> read_igvm(const std::string& path) {
  constexpr std::uint64_t bytes_max = 64 << 20;
  const std::string file =
      CBIT_TRY(os::read_input(path, {.what = "an IGVM file",
                                     .remedy = "give an IGVM file, such as COCONUT-SVSM's coconut-qemu.igvm",
                                     .bytes_max = bytes_max}));
  return parse_igvm(std::as_bytes(std::span{file}));
}

}  // namespace cbit::launch
