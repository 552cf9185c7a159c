// Negotiation, requests, and devices that gave up. Part of base/events.hpp.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/ids.hpp"
#include "base/result.hpp"
#include "cbit/addr.hpp"
#include "cbit/dma_types.hpp"

namespace cbit {

struct VirtioNegotiated {
  static constexpr std::string_view name = "virtio_features";
  NameId device = 0;
  std::uint64_t offered = 0;
  std::uint64_t accepted = 0;
  std::uint8_t status = 0;  // the status register afterwards
  void visit(auto&& v) const {
    v("device", device);
    v("offered", offered);
    v("accepted", accepted);
    v("status", status);
  }
};

// The driver's use of the device: one request from submission to completion.
struct VirtioRequest {
  static constexpr std::string_view name = "virtio_request";
  NameId device = 0;
  std::uint64_t sector = 0;
  std::uint64_t bytes = 0;
  std::uint32_t type = 0;
  std::uint8_t status = 0;
  void visit(auto&& v) const {
    v("device", device);
    v("sector", sector);
    v("bytes", bytes);
    v("type", type);
    v("status", status);
  }
};

// The device found something in a ring that its specification forbids and stopped (DEVICE_NEEDS_RESET).
struct VirtioBroken {
  static constexpr std::string_view name = "virtio_broken";
  NameId device = 0;
  std::uint16_t queue = 0;
  std::string reason;
  void visit(auto&& v) const {
    v("device", device);
    v("queue", queue);
    v("reason", reason);
  }
};

// A request on virtio-iommu's request queue, answered. `status` is the tail's (VIRTIO_IOMMU_S_*).
struct VirtioIommuRequest {
  static constexpr std::string_view name = "viommu_request";
  std::string_view type;  // "attach", "map", ...
  std::uint32_t domain = 0;
  std::uint32_t endpoint = 0;
  DmaAddr first;
  DmaAddr last;  // inclusive, as virt_end is
  std::uint8_t status = 0;
  void visit(auto&& v) const {
    v("type", type);
    v("domain", domain);
    v("endpoint", endpoint);
    v("first", first);
    v("last", last);
    v("status", status);
  }
};

// A fault that virtio-iommu reports on its event queue: struct virtio_iommu_fault.
struct VirtioIommuFault {
  static constexpr std::string_view name = "viommu_fault";
  std::uint8_t reason = 0;  // VIRTIO_IOMMU_FAULT_R_*
  std::uint32_t flags = 0;
  std::uint32_t endpoint = 0;
  DmaAddr address;
  void visit(auto&& v) const {
    v("reason", reason);
    v("flags", flags);
    v("endpoint", endpoint);
    v("address", address);
  }
};

// The guest left for its hypervisor or ultravisor: a queue notification, an emulated IOMMU register, a
// hypercall.
struct GuestExit {
  static constexpr std::string_view name = "guest_exit";
  std::string_view reason;  // "notify", "H_PUT_TCE", "UV_SHARE_PAGE", ...
  std::uint64_t argument = 0;
  void visit(auto&& v) const {
    v("reason", reason);
    v("argument", argument);
  }
};

}  // namespace cbit
