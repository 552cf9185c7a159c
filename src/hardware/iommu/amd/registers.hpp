// The register file of an AMD IOMMU: which bits there are, which software writes, and which it clears by
// writing ones. What a write sets off is AmdIommu's. Internal to the room.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/bytes.hpp"
#include "spec/amd_iommu.hpp"

namespace cbit::iommu {

struct AmdIommuRegisterRow {
  std::uint64_t offset = 0;
  std::uint64_t settable = 0;
  std::uint64_t at_reset = 0;
  std::uint64_t cleared_by_ones = 0;
};

// What this IOMMU has: the register, and what ACPI says of it before there is a driver.
inline constexpr auto amd_iommu_features = spec::AmdIommuFeatures{}
                                               .with<spec::AmdIommuFeatures::Hats>(2)
                                               .with<spec::AmdIommuFeatures::GaSup>(true)
                                               .with<spec::AmdIommuFeatures::IaSup>(true)
                                               .with<spec::AmdIommuFeatures::XtSup>(true)
                                               .with<spec::AmdIommuFeatures::PprSup>(true);

class AmdIommuRegisters {
 public:
  AmdIommuRegisters() { reset(); }
  void reset();

  // Of 64 bits, aligned. What is no register reads as zero, and takes nothing.
  [[nodiscard]] std::uint64_t value(std::uint64_t offset) const;
  // The hardware's own.
  void set(std::uint64_t offset, std::uint64_t value);
  // Software's: up to eight bytes at `offset`, within one register. What the register was before; nullopt:
  // there is none.
  std::optional<std::uint64_t> write(std::uint64_t offset, ConstByteSpan from);

 private:
  static constexpr std::size_t count = 18;
  std::array<std::uint64_t, count> values_{};
};

}  // namespace cbit::iommu
