// What an NVMe controller says of itself and of its namespace: the data structures of Identify. NVM Express
// Base Specification 1.4, 5.15.2.
#pragma once

#include <cstdint>
#include <string>

#include "base/bytes.hpp"
#include "dev/nvme/namespace.hpp"
#include "spec/nvme.hpp"

namespace cbit::dev {

inline constexpr std::uint16_t nvme_pci_vendor = 0x1234;  // nobody's
inline constexpr std::uint16_t nvme_pci_device = 0xcb1e;

inline constexpr std::size_t nvme_serial_bytes = 20;

inline constexpr std::uint8_t nvme_abort_limit = 3;         // less one
inline constexpr std::uint8_t nvme_async_event_limit = 3;   // less one
inline constexpr std::uint8_t nvme_error_log_entries = 15;  // less one

struct NvmeSelf {
  std::string serial;  // at most nvme_serial_bytes
  std::uint8_t mdts = 0;
};

[[nodiscard]] spec::nvme::IdentifyController identify_controller(const NvmeSelf& self);
[[nodiscard]] spec::nvme::IdentifyNamespace identify_namespace(const NvmeNamespace& of);
// The list of Cns::ns_descriptors: a UUID that the serial number gives.
[[nodiscard]] Bytes namespace_descriptors(const NvmeSelf& self);
// Of slot 1, the only one.
[[nodiscard]] spec::nvme::FirmwareSlotLog firmware_slots();

}  // namespace cbit::dev
