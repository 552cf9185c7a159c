// SCSI: what a disk and its host agree on. SAM-5, SPC-4, SBC-3; the same numbers stand in Linux's
// include/scsi/scsi_proto.h. Numbers in commands and data are big-endian.
#pragma once

#include <cstdint>

namespace cbit::spec::scsi {

enum class Opcode : std::uint8_t {
  test_unit_ready = 0x00,
  request_sense = 0x03,
  inquiry = 0x12,
  mode_sense_6 = 0x1a,
  read_capacity_10 = 0x25,
  read_10 = 0x28,
  write_10 = 0x2a,
  synchronize_cache_10 = 0x35,
  mode_sense_10 = 0x5a,
  read_16 = 0x88,
  write_16 = 0x8a,
  synchronize_cache_16 = 0x91,
  service_action_in_16 = 0x9e,
  report_luns = 0xa0,
};
inline constexpr std::uint8_t read_capacity_16 = 0x10;  // service action

namespace status {
inline constexpr std::uint8_t good = 0x00;
inline constexpr std::uint8_t check_condition = 0x02;
}  // namespace status

// A sense key, additional sense code and its qualifier.
struct Sense {
  std::uint8_t key = 0;
  std::uint8_t code = 0;
  std::uint8_t qualifier = 0;
};
inline constexpr Sense no_sense{0x0, 0x00, 0x00};
inline constexpr Sense write_error{0x3, 0x0c, 0x00};
inline constexpr Sense read_error{0x3, 0x11, 0x00};
inline constexpr Sense invalid_opcode{0x5, 0x20, 0x00};
inline constexpr Sense lba_out_of_range{0x5, 0x21, 0x00};
inline constexpr Sense invalid_field{0x5, 0x24, 0x00};
inline constexpr Sense lun_not_supported{0x5, 0x25, 0x00};
inline constexpr Sense write_protected{0x7, 0x27, 0x00};
inline constexpr std::uint8_t fixed_format = 0x70;
inline constexpr unsigned fixed_sense_bytes = 18;

namespace vpd {
inline constexpr std::uint8_t supported_pages = 0x00;
inline constexpr std::uint8_t serial_number = 0x80;
inline constexpr std::uint8_t identification = 0x83;
}  // namespace vpd

namespace mode_page {
inline constexpr std::uint8_t caching = 0x08;
inline constexpr std::uint8_t all = 0x3f;
}  // namespace mode_page

}  // namespace cbit::spec::scsi
