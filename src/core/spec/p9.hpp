// 9P2000.L, the file protocol of Linux's 9p: numbers that both sides agree on. Linux, include/net/9p/9p.h.
// A message is size u32, type u8, tag u16 and what its type has; text is a u16 length and so many bytes; all
// little-endian. Bodies: diod's protocol.md, and the formats in net/9p/client.c.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace cbit::spec {

inline constexpr std::string_view p9_version = "9P2000.L";
inline constexpr std::string_view p9_version_unknown = "unknown";  // version(5) of Plan 9

// enum p9_msg_t: questions. An answer has the number of its question plus one, or is rlerror.
namespace p9_type {
inline constexpr std::uint8_t rlerror = 7;
inline constexpr std::uint8_t tstatfs = 8;
inline constexpr std::uint8_t tlopen = 12;
inline constexpr std::uint8_t tlcreate = 14;
inline constexpr std::uint8_t tsymlink = 16;
inline constexpr std::uint8_t tmknod = 18;
inline constexpr std::uint8_t trename = 20;
inline constexpr std::uint8_t treadlink = 22;
inline constexpr std::uint8_t tgetattr = 24;
inline constexpr std::uint8_t tsetattr = 26;
inline constexpr std::uint8_t txattrwalk = 30;
inline constexpr std::uint8_t txattrcreate = 32;
inline constexpr std::uint8_t treaddir = 40;
inline constexpr std::uint8_t tfsync = 50;
inline constexpr std::uint8_t tlock = 52;
inline constexpr std::uint8_t tgetlock = 54;
inline constexpr std::uint8_t tlink = 70;
inline constexpr std::uint8_t tmkdir = 72;
inline constexpr std::uint8_t trenameat = 74;
inline constexpr std::uint8_t tunlinkat = 76;
inline constexpr std::uint8_t tversion = 100;
inline constexpr std::uint8_t tattach = 104;
inline constexpr std::uint8_t tflush = 108;
inline constexpr std::uint8_t twalk = 110;
inline constexpr std::uint8_t tread = 116;
inline constexpr std::uint8_t twrite = 118;
inline constexpr std::uint8_t tclunk = 120;
inline constexpr std::uint8_t tremove = 122;
}  // namespace p9_type

// enum p9_qid_t.
namespace p9_qid_type {
inline constexpr std::uint8_t folder = 0x80;
inline constexpr std::uint8_t link = 0x02;
inline constexpr std::uint8_t file = 0x00;  // and whatever else there is
}  // namespace p9_qid_type

// P9_DOTL_*, of Tlopen: octal, as Linux's own.
namespace p9_open {
inline constexpr std::uint32_t access_mode = 03;
inline constexpr std::uint32_t read_only = 00;
inline constexpr std::uint32_t create = 0100;
inline constexpr std::uint32_t truncate = 01000;
inline constexpr std::uint32_t directory = 0200000;
}  // namespace p9_open

inline constexpr std::uint64_t p9_stats_basic = 0x7ff;  // P9_STATS_BASIC: mode up to blocks
inline constexpr std::uint8_t p9_lock_success = 0;      // P9_LOCK_SUCCESS
inline constexpr std::uint8_t p9_lock_type_unlck = 2;   // P9_LOCK_TYPE_UNLCK

inline constexpr std::uint16_t p9_no_tag = 0xffff;
inline constexpr std::uint32_t p9_no_fid = 0xffff'ffff;
inline constexpr std::size_t p9_names_max = 16;            // P9_MAXWELEM, of one Twalk
inline constexpr std::uint32_t p9_header_bytes = 7;        // P9_HDRSZ
inline constexpr std::uint32_t p9_io_header_bytes = 24;    // P9_IOHDRSZ: kept free in front of data
inline constexpr std::uint32_t p9_error_bytes = 11;        // of Rlerror
inline constexpr std::uint32_t p9_data_header_bytes = 11;  // of Rread and Rreaddir
inline constexpr std::uint32_t p9_msize_min = 4096;        // net/9p/client.c and QEMU, hw/9pfs: P9_MIN_MSIZE

}  // namespace cbit::spec
