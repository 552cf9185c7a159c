// A translated domain on a small machine, and a look at its tables that uses none of its code.
#pragma once

#include "iommu/iommu.hpp"
#include "support/small_machine.hpp"

namespace cbit::iommu {

struct DomainFixture {
  static constexpr PhysAddr tables{0x10'0000};
  static constexpr std::uint64_t c_bit = 1ull << test::SmallMachine::c_bit;

  explicit DomainFixture(test::Encryption encryption = test::Encryption::sme, unsigned mode = 3)
      : machine{encryption} {
    // A guest's devices strip its C-bit and have no key for it.
    IommuDomain::Config config{.view = machine.cpu_view, .table_key = machine.key, .mode = mode};
    if (encryption == test::Encryption::sev) config.view.encrypted_key = no_key;
    domain =
        IommuDomain::create(config, *machine.memory, machine.tracer, pool.source<IommuPageSource>()).value();
  }

  static constexpr IommuAccess read_write{true, true};
  static constexpr IommuAccess read_only{true, false};
  static constexpr IommuAccess write_only{false, true};

  [[nodiscard]] std::uint64_t entry(PhysAddr at) const {
    return machine.value<std::uint64_t>(at, machine.key);
  }
  void set_entry(PhysAddr at, std::uint64_t raw) { machine.put_value(at, raw, machine.key); }

  [[nodiscard]] static PhysAddr table_in(std::uint64_t raw) {
    return PhysAddr{raw & 0x000f'ffff'ffff'f000 & ~c_bit};
  }
  // Where the entry for `iova` in the table of this level is.
  [[nodiscard]] PhysAddr slot(std::uint64_t iova, unsigned level) const {
    const std::uint64_t dte = domain->device_table_entry().raw;
    PhysAddr table = table_in(dte);
    for (unsigned above = dte >> 9 & 7;; --above) {
      const PhysAddr at = table + (iova >> (12 + 9 * (above - 1)) & 0x1ff) * 8;
      if (above == level) return at;
      table = table_in(entry(at));
    }
  }

  [[nodiscard]] std::optional<FaultKind> kind_at(std::uint64_t iova, bool write = false) const {
    const auto found = domain->translate(DmaAddr{iova}, write);
    if (found) return std::nullopt;
    return found.error().kind;
  }

  test::SmallMachine machine;
  test::PagePool pool{tables};
  std::unique_ptr<IommuDomain> domain;
};

}  // namespace cbit::iommu
