// An AMD-Vi style IOMMU: a device table that gives each requester a domain, and per domain a page table in the
// machine's memory whose entries carry the C-bit, so that a device whose address is an IOVA reads encrypted
// memory as plain. AMD I/O Virtualization Technology specification, 2.2.
//
// Translation reads real entries from memory; a fault is a value (IO_PAGE_FAULT) and an event of DmaPort.
// Threading: map, unmap and attach from one thread; translate in parallel with itself.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>

#include "base/addr.hpp"
#include "base/result.hpp"
#include "base/trace.hpp"
#include "mem/key_layout.hpp"
#include "mem/memory.hpp"

namespace cbit {

struct IommuAccess {
  bool read = false;   // IR, bit 61
  bool write = false;  // IW, bit 62
};

struct IommuTranslation {
  PhysAddr phys;
  KeyId key = no_key;
  bool encrypted = false;  // the leaf entry's C-bit
};

// Where table pages come from, as in PageTable::Source.
struct IommuPageSource {
  std::function<Result<PhysAddr>()> allocate;
  std::function<void(PhysAddr)> release;
};

// A v1 page table (modes 1-6, 9 bits per level). Levels are added as IOVAs need them.
class IommuDomain {
 public:
  enum class Type : std::uint8_t { identity, translated, blocked };

  struct Config {
    std::uint16_t id = 1;
    Type type = Type::translated;
    // What a leaf's key bits select for a device: the host's view on SME; in a guest the same layout with no
    // keys, since the guest's devices have none.
    KeyView view;
    // Key of the table pages: with sme_me_mask set Linux makes them encrypted (iommu_virt_to_phys) and the entries
    // that point to them carry the C-bit. A guest's virtual IOMMU is told of its mappings by the guest, so its
    // tables are readable to it whatever the guest's key.
    KeyId table_key = no_key;
  };
  static Result<std::unique_ptr<IommuDomain>> create(const Config& config, Memory& memory, Tracer& tracer,
                                                     IommuPageSource source);
  ~IommuDomain();

  [[nodiscard]] std::uint16_t id() const;
  [[nodiscard]] Type type() const;

  // Page-aligned. Larger leaf sizes (2M, 1G, and the in-between ones with next level 7) are used where address
  // and size allow. Faults: iommu_protection when part of the range is mapped already.
  Result<void> map(DmaAddr iova, PhysAddr phys, std::uint64_t bytes, IommuAccess rights, bool encrypted);
  // Returns the bytes that were unmapped, as iommu_unmap() does.
  std::uint64_t unmap(DmaAddr iova, std::uint64_t bytes);
  // Sets leaf C-bits of a mapped range without remapping: for experiments on IOPTE-without-C-bit.
  Result<void> set_encrypted(DmaAddr iova, std::uint64_t bytes, bool encrypted);

  [[nodiscard]] Result<IommuTranslation> translate(DmaAddr at, bool write) const;

 private:
  IommuDomain();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The device table. A requester without entry is blocked once the IOMMU is enabled.
class Iommu {
 public:
  explicit Iommu(const KeyView& view) : view_{view} {}

  void attach(RequesterId requester, IommuDomain& domain);
  void detach(RequesterId requester);
  [[nodiscard]] IommuDomain* domain_of(RequesterId requester) const;

  // Identity domains pass the address on with its key bits, as without IOMMU.
  [[nodiscard]] Result<IommuTranslation> translate(RequesterId requester, DmaAddr at, bool write) const;

 private:
  KeyView view_;
  std::map<RequesterId, IommuDomain*> device_table_;
};

}  // namespace cbit
