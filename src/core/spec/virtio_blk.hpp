// virtio-blk: numbers and structures that both sides agree on. VIRTIO 1.2, 5.2;
// include/uapi/linux/virtio_blk.h.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cbit::spec {

inline constexpr std::uint16_t virtio_id_block = 2;

namespace virtio_blk_feature {
inline constexpr std::uint64_t size_max = 1ull << 1;
inline constexpr std::uint64_t seg_max = 1ull << 2;
inline constexpr std::uint64_t ro = 1ull << 5;
inline constexpr std::uint64_t blk_size = 1ull << 6;
inline constexpr std::uint64_t flush = 1ull << 9;
inline constexpr std::uint64_t discard = 1ull << 13;
inline constexpr std::uint64_t write_zeroes = 1ull << 14;
}  // namespace virtio_blk_feature

namespace virtio_blk_type {
inline constexpr std::uint32_t in = 0;
inline constexpr std::uint32_t out = 1;
inline constexpr std::uint32_t flush = 4;
inline constexpr std::uint32_t id = 8;
inline constexpr std::uint32_t discard = 11;
inline constexpr std::uint32_t write_zeroes = 13;
}  // namespace virtio_blk_type

namespace virtio_blk_status {
inline constexpr std::uint8_t ok = 0;
inline constexpr std::uint8_t ioerr = 1;
inline constexpr std::uint8_t unsupp = 2;
}  // namespace virtio_blk_status

// First in the device-readable part of a request; one status byte ends the device-writable part.
struct VirtioBlkOutHdr {
  std::uint32_t type = 0;
  std::uint32_t ioprio = 0;  // reserved since virtio 1.0; Linux fills it in
  std::uint64_t sector = 0;
};
static_assert(sizeof(VirtioBlkOutHdr) == 16);

// One range of DISCARD and WRITE_ZEROES.
struct VirtioBlkRange {
  std::uint64_t sector = 0;
  std::uint32_t num_sectors = 0;
  std::uint32_t flags = 0;  // bit 0: unmap, of WRITE_ZEROES only
};
static_assert(sizeof(VirtioBlkRange) == 16);
inline constexpr std::uint32_t virtio_blk_flag_unmap = 1;

inline constexpr std::size_t virtio_blk_id_bytes = 20;

// 5.2.4. Every field stands at its natural alignment, so the packed structure has no holes of its own.
struct VirtioBlkConfig {
  std::uint64_t capacity = 0;  // in 512-byte sectors, whatever blk_size says
  std::uint32_t size_max = 0;
  std::uint32_t seg_max = 0;
  std::uint16_t cylinders = 0;
  std::uint8_t heads = 0;
  std::uint8_t sectors = 0;
  std::uint32_t blk_size = 0;
  std::uint8_t physical_block_exp = 0;
  std::uint8_t alignment_offset = 0;
  std::uint16_t min_io_size = 0;
  std::uint32_t opt_io_size = 0;
  std::uint8_t writeback = 0;
  std::uint8_t unused0 = 0;
  std::uint16_t num_queues = 0;
  std::uint32_t max_discard_sectors = 0;
  std::uint32_t max_discard_seg = 0;
  std::uint32_t discard_sector_alignment = 0;
  std::uint32_t max_write_zeroes_sectors = 0;
  std::uint32_t max_write_zeroes_seg = 0;
  std::uint8_t write_zeroes_may_unmap = 0;
  std::uint8_t unused1[3] = {};
};
static_assert(offsetof(VirtioBlkConfig, blk_size) == 20 && offsetof(VirtioBlkConfig, num_queues) == 34);
static_assert(offsetof(VirtioBlkConfig, max_discard_sectors) == 36);
static_assert(offsetof(VirtioBlkConfig, write_zeroes_may_unmap) == 56 && sizeof(VirtioBlkConfig) == 64);

}  // namespace cbit::spec
