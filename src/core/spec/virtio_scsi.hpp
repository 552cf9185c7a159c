// virtio-scsi: numbers and structures that both sides agree on. VIRTIO 1.2, 5.6;
// include/uapi/linux/virtio_scsi.h.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cbit::spec {

inline constexpr std::uint16_t virtio_id_scsi = 8;

namespace virtio_scsi_queue {
inline constexpr std::uint16_t control = 0;
inline constexpr std::uint16_t event = 1;
inline constexpr std::uint16_t request = 2;
}  // namespace virtio_scsi_queue

// 5.6.4. The packed structure has no holes of its own.
struct VirtioScsiConfig {
  std::uint32_t num_queues = 0;
  std::uint32_t seg_max = 0;
  std::uint32_t max_sectors = 0;
  std::uint32_t cmd_per_lun = 0;
  std::uint32_t event_info_size = 0;
  std::uint32_t sense_size = 0;  // these two a driver may write
  std::uint32_t cdb_size = 0;
  std::uint16_t max_channel = 0;
  std::uint16_t max_target = 0;
  std::uint32_t max_lun = 0;
};
static_assert(sizeof(VirtioScsiConfig) == 36 && offsetof(VirtioScsiConfig, sense_size) == 20);
inline constexpr std::uint32_t virtio_scsi_sense_default = 96;
inline constexpr std::uint32_t virtio_scsi_cdb_default = 32;
inline constexpr std::uint32_t virtio_scsi_event_bytes = 16;

// 5.6.6.1: first in the device-readable part, before the CDB and the data; `lun`, a tag and three bytes.
inline constexpr std::size_t virtio_scsi_lun_bytes = 8;
inline constexpr std::size_t virtio_scsi_request_bytes = 19;

// First in the device-writable part, before the sense data and the data.
struct VirtioScsiResponse {
  std::uint32_t sense_len = 0;
  std::uint32_t resid = 0;
  std::uint16_t status_qualifier = 0;
  std::uint8_t status = 0;
  std::uint8_t response = 0;
};
static_assert(sizeof(VirtioScsiResponse) == 12);

namespace virtio_scsi_response {
inline constexpr std::uint8_t ok = 0;  // of a task management function: complete
inline constexpr std::uint8_t overrun = 1;
inline constexpr std::uint8_t bad_target = 3;
inline constexpr std::uint8_t function_rejected = 11;
inline constexpr std::uint8_t incorrect_lun = 12;
}  // namespace virtio_scsi_response

// 5.6.6.2.
namespace virtio_scsi_control {
inline constexpr std::uint32_t task_management = 0;
inline constexpr std::uint32_t query_notifications = 1;
inline constexpr std::uint32_t subscribe_notifications = 2;
}  // namespace virtio_scsi_control
struct VirtioScsiTask {
  std::uint32_t type = 0;
  std::uint32_t subtype = 0;
  std::uint8_t lun[virtio_scsi_lun_bytes] = {};
  std::uint64_t tag = 0;
};
static_assert(sizeof(VirtioScsiTask) == 24);
inline constexpr std::uint32_t virtio_scsi_task_functions = 8;  // subtypes

}  // namespace cbit::spec
