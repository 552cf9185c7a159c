// The address spaces of a virtio-iommu: endpoints, domains, mappings, and what a device's access meets in
// them. VIRTIO 1.2, 5.13.6; where the specification leaves a choice, QEMU's (hw/virtio/virtio-iommu.c).
//
// Mappings are intervals that the guest asked for, not a page table in memory: translation reads no memory.
// The device's keys are those of an untranslated access: a virtual IOMMU has none to give.
//
// Threading: one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "iommu/iommu.hpp"

namespace cbit::iommu {

// VIRTIO_IOMMU_S_*
enum class ViommuStatus : std::uint8_t {
  ok = 0,
  ioerr = 1,
  unsupp = 2,
  deverr = 3,
  inval = 4,
  range = 5,
  noent = 6,
  fault = 7,
  nomem = 8,
};

namespace viommu_flag {
inline constexpr std::uint32_t attach_bypass = 1;  // VIRTIO_IOMMU_ATTACH_F_BYPASS
inline constexpr std::uint32_t map_read = 1;
inline constexpr std::uint32_t map_write = 2;
inline constexpr std::uint32_t map_mmio = 4;
inline constexpr std::uint32_t fault_read = 1;
inline constexpr std::uint32_t fault_write = 2;
inline constexpr std::uint32_t fault_exec = 4;
inline constexpr std::uint32_t fault_address = 0x100;
}  // namespace viommu_flag

// VIRTIO_IOMMU_FAULT_R_*
enum class ViommuReason : std::uint8_t { unknown = 0, domain = 1, mapping = 2 };

struct ViommuFault {
  ViommuReason reason{};
  std::uint32_t flags = 0;
  std::uint32_t endpoint = 0;
  DmaAddr address;
};

// Inclusive, as in the requests.
struct ViommuRange {
  DmaAddr first;
  DmaAddr last;

  [[nodiscard]] constexpr bool contains(DmaAddr at) const { return first <= at && at <= last; }
};

// VIRTIO_IOMMU_RESV_MEM_T_*: no DMA at all, or doorbells that need no translation.
enum class ViommuReservedType : std::uint8_t { reserved = 0, msi = 1 };
struct ViommuReserved {
  ViommuReservedType type{};
  ViommuRange range;
};

class ViommuDomains final : public DmaTranslator {
 public:
  struct Config {
    std::uint64_t page_size_mask = ~(page_size - 1);
    ViommuRange input{DmaAddr{0}, DmaAddr{~std::uint64_t{0}}};
    std::uint32_t first_domain = 0;
    std::uint32_t last_domain = ~std::uint32_t{0};
    std::vector<ViommuReserved> reserved;
    mem::KeyView view;  // SystemBus::device_view()
  };
  // `exists` tells which endpoints there are; `report` gets each fault.
  ViommuDomains(Config config, std::function<bool(std::uint32_t)> exists,
                std::function<void(const ViommuFault&)> report)
      : config_{std::move(config)}, exists_{std::move(exists)}, report_{std::move(report)} {}

  // Requests. An endpoint that is attached again leaves its domain first; a domain that nobody is attached to
  // is gone with its mappings. A failed attach may leave the endpoint without domain.
  ViommuStatus attach(std::uint32_t domain, std::uint32_t endpoint, std::uint32_t flags);
  ViommuStatus detach(std::uint32_t domain, std::uint32_t endpoint);
  // range: not aligned to the smallest page, or outside of the input range; inval: the end before the start,
  // unknown flags, a bypass domain, overlap with a mapping.
  ViommuStatus map(std::uint32_t domain, ViommuRange range, PhysAddr phys, std::uint32_t flags);
  // Removes the mappings that lie in the range; `range` when others reach into it.
  ViommuStatus unmap(std::uint32_t domain, ViommuRange range);
  [[nodiscard]] ViommuStatus probe(std::uint32_t endpoint) const;
  // Forgets endpoints and domains.
  void reset();

  // Whether endpoints in no domain pass untranslated.
  void set_bypass(bool bypass) { bypass_ = bypass; }
  [[nodiscard]] bool bypass() const { return bypass_; }
  [[nodiscard]] const Config& config() const { return config_; }

  // Faults: iommu_no_domain, iommu_not_present (also: reserved), iommu_protection; each is reported.
  [[nodiscard]] Result<IommuTranslation> translate(RequesterId requester, DmaAddr at,
                                                   bool write) const override;
  [[nodiscard]] Result<IommuTranslation> peek(RequesterId requester, DmaAddr at, bool write) const override;

 private:
  struct Mapping {
    DmaAddr last;
    PhysAddr phys;
    std::uint32_t flags = 0;
  };
  struct Domain {
    bool bypass = false;
    std::uint32_t endpoints = 0;
    std::map<DmaAddr, Mapping> mappings;  // by first address
  };
  // A translation, or the fault and what is told of it.
  struct Refusal {
    FaultKind kind{};
    ViommuReason reason{};
    std::uint32_t flags = 0;
  };
  [[nodiscard]] Result<IommuTranslation, Refusal> look_up(RequesterId requester, DmaAddr at,
                                                          bool write) const;
  [[nodiscard]] Result<IommuTranslation, Refusal> look_up(const Domain& domain, DmaAddr at, bool write) const;
  [[nodiscard]] ViommuStatus check_domain(std::uint32_t domain) const;
  [[nodiscard]] std::uint64_t granule() const;
  void leave(std::uint32_t domain);

  Config config_;
  std::function<bool(std::uint32_t)> exists_;
  std::function<void(const ViommuFault&)> report_;
  bool bypass_ = false;
  std::map<std::uint32_t, Domain> domains_;
  std::map<std::uint32_t, std::optional<std::uint32_t>> endpoints_;  // those that were ever attached; domain
};

}  // namespace cbit::iommu
