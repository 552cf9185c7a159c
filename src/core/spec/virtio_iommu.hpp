// virtio-iommu: what both sides agree on. VIRTIO 1.2, 5.13; include/uapi/linux/virtio_iommu.h.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cbit::spec {

inline constexpr std::uint16_t virtio_id_iommu = 23;

namespace virtio_iommu_feature {
inline constexpr std::uint64_t input_range = 1u << 0;
inline constexpr std::uint64_t domain_range = 1u << 1;
inline constexpr std::uint64_t map_unmap = 1u << 2;
inline constexpr std::uint64_t bypass = 1u << 3;
inline constexpr std::uint64_t probe = 1u << 4;
inline constexpr std::uint64_t mmio = 1u << 5;
inline constexpr std::uint64_t bypass_config = 1u << 6;
}  // namespace virtio_iommu_feature

struct VirtioIommuConfig {
  std::uint64_t page_size_mask = 0;
  std::uint64_t input_start = 0;
  std::uint64_t input_end = 0;
  std::uint32_t domain_start = 0;
  std::uint32_t domain_end = 0;
  std::uint32_t probe_size = 0;
  std::uint8_t bypass = 0;
  std::uint8_t reserved[3] = {};
};
static_assert(sizeof(VirtioIommuConfig) == 40 && offsetof(VirtioIommuConfig, bypass) == 36);

namespace virtio_iommu_type {
inline constexpr std::uint8_t attach = 1;
inline constexpr std::uint8_t detach = 2;
inline constexpr std::uint8_t map = 3;
inline constexpr std::uint8_t unmap = 4;
inline constexpr std::uint8_t probe = 5;
}  // namespace virtio_iommu_type

// Requests: a head, the body, and a tail that the device writes. Each structure is what the device reads.
struct VirtioIommuHead {
  std::uint8_t type;
  std::uint8_t reserved[3];
};
struct VirtioIommuTail {
  std::uint8_t status = 0;
  std::uint8_t reserved[3] = {};
};
struct VirtioIommuAttach {
  VirtioIommuHead head{virtio_iommu_type::attach, {}};
  std::uint32_t domain = 0;
  std::uint32_t endpoint = 0;
  std::uint32_t flags = 0;
  std::uint8_t reserved[4] = {};
};
struct VirtioIommuDetach {
  VirtioIommuHead head{virtio_iommu_type::detach, {}};
  std::uint32_t domain = 0;
  std::uint32_t endpoint = 0;
  std::uint8_t reserved[8] = {};
};
struct [[gnu::packed]] VirtioIommuMap {
  VirtioIommuHead head{virtio_iommu_type::map, {}};
  std::uint32_t domain = 0;
  std::uint64_t virt_start = 0;
  std::uint64_t virt_end = 0;
  std::uint64_t phys_start = 0;
  std::uint32_t flags = 0;
};
struct [[gnu::packed]] VirtioIommuUnmap {
  VirtioIommuHead head{virtio_iommu_type::unmap, {}};
  std::uint32_t domain = 0;
  std::uint64_t virt_start = 0;
  std::uint64_t virt_end = 0;
  std::uint8_t reserved[4] = {};
};
struct VirtioIommuProbe {
  VirtioIommuHead head{virtio_iommu_type::probe, {}};
  std::uint32_t endpoint = 0;
  std::uint8_t reserved[64] = {};
};
static_assert(sizeof(VirtioIommuTail) == 4 && sizeof(VirtioIommuAttach) == 20 &&
              sizeof(VirtioIommuDetach) == 20 && sizeof(VirtioIommuMap) == 36 &&
              sizeof(VirtioIommuUnmap) == 28 && sizeof(VirtioIommuProbe) == 72);

// The property of a PROBE that there is: VIRTIO_IOMMU_PROBE_T_RESV_MEM.
struct VirtioIommuResvMem {
  std::uint16_t type = 1;
  std::uint16_t length = 20;  // of what follows
  std::uint8_t subtype = 0;
  std::uint8_t reserved[3] = {};
  std::uint64_t start = 0;
  std::uint64_t end = 0;
};
static_assert(sizeof(VirtioIommuResvMem) == 24 && offsetof(VirtioIommuResvMem, start) == 8);

struct VirtioIommuFaultReport {
  std::uint8_t reason = 0;
  std::uint8_t reserved[3] = {};
  std::uint32_t flags = 0;
  std::uint32_t endpoint = 0;
  std::uint8_t reserved2[4] = {};
  std::uint64_t address = 0;
};
static_assert(sizeof(VirtioIommuFaultReport) == 24 && offsetof(VirtioIommuFaultReport, address) == 16);

}  // namespace cbit::spec
