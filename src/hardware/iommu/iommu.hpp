// An AMD-Vi style IOMMU: a device table that gives each requester a domain, and per domain a page table in
// the machine's memory whose entries carry the C-bit, so that a device whose address is an IOVA reads
// encrypted memory as plain. AMD I/O Virtualization Technology specification, 2.2.
//
// Translation reads real entries from memory; a fault is a value (IO_PAGE_FAULT) and an event of DmaPort.
// An entry counts from the moment it is in memory, and until it is invalidated (iotlb.hpp). Threading: map,
// unmap, flush and set_encrypted of a domain from one thread at a time, the rest from any; attach and detach
// while no device runs.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>

#include "base/result.hpp"
#include "base/trace.hpp"
#include "cbit/addr.hpp"
#include "iommu/io_pte.hpp"
#include "mem/key_layout.hpp"
#include "mem/memory.hpp"

namespace cbit::iommu {

struct IommuAccess {
  bool read = false;   // IR, bit 61
  bool write = false;  // IW, bit 62
};

struct IommuTranslation {
  PhysAddr phys;
  KeyId key = no_key;
  bool encrypted = false;   // the leaf entry's C-bit; the bus address's where there is no translation
  std::uint64_t bytes = 0;  // from `phys` to the end of the leaf: as far as this translation goes
  bool translated = false;  // by a page table

  // Of a byte further on in it.
  [[nodiscard]] IommuTranslation at(std::uint64_t offset) const {
    IommuTranslation further = *this;
    further.phys += offset;
    further.bytes -= offset;
    return further;
  }
  friend bool operator==(const IommuTranslation&, const IommuTranslation&) = default;
};

// A bus address without translation: its key bits select the key.
[[nodiscard]] inline IommuTranslation untranslated(const mem::KeyView& view, DmaAddr at) {
  const auto [phys, selector] = view.layout.split(at);
  const std::uint64_t run = std::uint64_t{1} << (view.layout.mask() != 0 ? view.layout.lowest_bit() : 63);
  return {.phys = phys,
          .key = view.key(selector),
          .encrypted = selector != 0,
          .bytes = run - (at.value() & (run - 1)),
          .translated = false};
}

// Where table pages come from, as in PageTable::Source.
struct IommuPageSource {
  std::function<Result<PhysAddr>()> allocate;
  std::function<void(PhysAddr)> release;
};

// A v1 page table: modes 1-6, 9 bits per level. Levels are added as IOVAs need them. Leaves have the natural
// sizes 4 KiB, 2 MiB, 1 GiB, ... (Next Level 0) and the powers of two between them (Next Level 7, the entry
// repeated).
class IommuDomain {
 public:
  // identity: Linux's passthrough, mode 0 with IR and IW. blocked: mode 0 without.
  enum class Type : std::uint8_t { identity, translated, blocked };

  struct Config {
    std::uint16_t id = 1;
    Type type = Type::translated;
    // What a leaf's key bits select for a device: the host's view on SME; in a guest the same layout with no
    // keys, since the guest's devices have none.
    mem::KeyView view;
    // Key of the table pages: with sme_me_mask set Linux makes them encrypted (iommu_virt_to_phys) and the
    // entries that point to them carry the C-bit. A guest's virtual IOMMU is told of its mappings by the
    // guest, so its tables are readable to it whatever the guest's key.
    KeyId table_key = no_key;
    unsigned mode = 3;  // levels to begin with, 1 to 6: DEFAULT_PGTABLE_LEVEL
  };
  static Result<std::unique_ptr<IommuDomain>> create(const Config& config, mem::Memory& memory,
                                                     Tracer& tracer, IommuPageSource source);
  ~IommuDomain();

  [[nodiscard]] std::uint16_t id() const;
  [[nodiscard]] Type type() const;
  // What set_dte_entry() writes for this domain: root pointer with key bits, mode, IR and IW.
  [[nodiscard]] IoDte device_table_entry() const;

  // All or nothing. The largest leaves that address and size allow are used, as iommu_pgsize() chooses them.
  // Faults: iommu_protection when part of the range is mapped already; device_protocol where iommu_map() says
  // -EINVAL (not page-aligned, no rights, not a translated domain) and for addresses that do not exist;
  // iommu_reserved_bit when the table in memory is not what was written there; what the page source says.
  // `selector` is the leaves' key bits: 1 for encrypted on AMD, a KeyID on MKTME.
  Result<void> map(DmaAddr iova, PhysAddr phys, std::uint64_t bytes, IommuAccess rights,
                   mem::KeySelector selector);
  // Returns the bytes that were unmapped, as iommu_unmap() does, and like it
  //  - takes a large leaf away whole, also when only part of it was asked for, and counts all of it;
  //  - counts a page without mapping as unmapped where a level 1 table covers it, and stops where none does.
  // What was unmapped is invalidated.
  std::uint64_t unmap(DmaAddr iova, std::uint64_t bytes);
  // The same, but devices may reach what was unmapped until the flush, which invalidates all of the domain.
  std::uint64_t unmap_lazily(DmaAddr iova, std::uint64_t bytes);
  void flush();
  // Sets the C-bit of every leaf that the range touches, without remapping: for experiments on leaves that
  // lack it. iommu_not_present where nothing is mapped; earlier leaves stay changed.
  Result<void> set_encrypted(DmaAddr iova, std::uint64_t bytes, bool encrypted);

  // What the hardware does with a device's access. Not for identity domains: those Iommu passes on.
  // Faults: iommu_not_present, iommu_protection (also: blocked), iommu_reserved_bit for a malformed entry
  // (reserved bits, impossible level or size), and what the table read itself met.
  [[nodiscard]] Result<IommuTranslation> translate(DmaAddr at, bool write) const;
  // The same without a trace.
  [[nodiscard]] Result<IommuTranslation> peek(DmaAddr at, bool write) const;
  // What the table says, whatever the IOTLB holds; without a trace.
  [[nodiscard]] Result<IommuTranslation> look_up(DmaAddr at, bool write) const;

 private:
  IommuDomain();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// What stands between a device's address and memory.
class DmaTranslator {
 public:
  virtual ~DmaTranslator() = default;
  [[nodiscard]] virtual Result<IommuTranslation> translate(RequesterId requester, DmaAddr at,
                                                           bool write) const = 0;
  // The same without a trace.
  [[nodiscard]] virtual Result<IommuTranslation> peek(RequesterId requester, DmaAddr at,
                                                      bool write) const = 0;
};

// The device table. A requester without entry is blocked once the IOMMU is enabled.
class Iommu final : public DmaTranslator {
 public:
  // `view` is that of bus addresses in identity domains: SystemBus::device_view().
  explicit Iommu(const mem::KeyView& view) : view_{view} {}

  // The domain outlives its entry.
  void attach(RequesterId requester, IommuDomain& domain);
  void detach(RequesterId requester);
  [[nodiscard]] IommuDomain* domain_of(RequesterId requester) const;

  // Identity domains pass the address on with its key bits, as without IOMMU. Faults: iommu_no_domain, or the
  // domain's.
  [[nodiscard]] Result<IommuTranslation> translate(RequesterId requester, DmaAddr at,
                                                   bool write) const override;
  [[nodiscard]] Result<IommuTranslation> peek(RequesterId requester, DmaAddr at, bool write) const override;

 private:
  using Lookup = Result<IommuTranslation> (IommuDomain::*)(DmaAddr, bool) const;
  [[nodiscard]] Result<IommuTranslation> look_up(RequesterId requester, DmaAddr at, bool write,
                                                 Lookup lookup) const;

  mem::KeyView view_;
  std::map<RequesterId, IommuDomain*> device_table_;
};

}  // namespace cbit::iommu
