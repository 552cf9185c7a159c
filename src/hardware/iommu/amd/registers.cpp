#include "iommu/amd/registers.hpp"

#include <algorithm>

namespace cbit::iommu {

using namespace spec;

namespace {

constexpr std::uint64_t addresses = bit_mask(52) & ~bit_mask(12);
constexpr std::uint64_t ring_base_settable =
    addresses | AmdIommuRingBase{}.with<AmdIommuRingBase::Length>(0xf).raw;
constexpr std::uint64_t ring_base_at_reset =
    AmdIommuRingBase{}.with<AmdIommuRingBase::Length>(amd_iommu_ring_length_min).raw;
constexpr std::uint64_t exclusion_base_settable = addresses | AmdIommuExclusionBase{}
                                                                  .with<AmdIommuExclusionBase::Allow>(true)
                                                                  .with<AmdIommuExclusionBase::ExEn>(true)
                                                                  .raw;
// Bits of features that are not there stay zero: software may find out so.
constexpr std::uint64_t control_settable = bit_mask(16) | AmdIommuControl{}
                                                              .with<AmdIommuControl::IntCapXtEn>(true)
                                                              .with<AmdIommuControl::XtEn>(true)
                                                              .with<AmdIommuControl::GaEn>(true)
                                                              .raw;
constexpr std::uint64_t status_cleared = AmdIommuStatus{}
                                             .with<AmdIommuStatus::PprInt>(true)
                                             .with<AmdIommuStatus::PprOverflow>(true)
                                             .with<AmdIommuStatus::ComWaitInt>(true)
                                             .with<AmdIommuStatus::EventLogInt>(true)
                                             .with<AmdIommuStatus::EventOverflow>(true)
                                             .raw;
constexpr std::uint64_t xt_settable = 0xff00'01ff'ffff'ff04;

namespace at = amd_iommu_register;

constexpr AmdIommuRegisterRow rows[] = {
    {at::device_table_base, addresses | bit_mask(9)},
    {at::command_base, ring_base_settable, ring_base_at_reset},
    {at::event_base, ring_base_settable, ring_base_at_reset},
    {at::control, control_settable},
    {at::exclusion_base, exclusion_base_settable},
    {at::exclusion_limit, addresses},
    {at::extended_features, 0, amd_iommu_features.raw},
    {at::ppr_base, ring_base_settable, ring_base_at_reset},
    {at::xt_event_interrupt, xt_settable},
    {at::xt_ppr_interrupt, xt_settable},
    {at::xt_ga_interrupt, xt_settable},
    {at::command_head, amd_iommu_ring_pointer_mask},
    {at::command_tail, amd_iommu_ring_pointer_mask},
    {at::event_head, amd_iommu_ring_pointer_mask},
    {at::event_tail, amd_iommu_ring_pointer_mask},
    {at::status, 0, 0, status_cleared},
    {at::ppr_head, amd_iommu_ring_pointer_mask},
    {at::ppr_tail, amd_iommu_ring_pointer_mask},
};

std::optional<std::size_t> index_of(std::uint64_t offset) {
  const auto* const row = std::ranges::find(rows, offset, &AmdIommuRegisterRow::offset);
  if (row == std::end(rows)) return std::nullopt;
  return static_cast<std::size_t>(row - std::begin(rows));
}

}  // namespace

void AmdIommuRegisters::reset() {
  static_assert(std::size(rows) == count);
  std::ranges::transform(rows, values_.begin(), &AmdIommuRegisterRow::at_reset);
}

std::uint64_t AmdIommuRegisters::value(std::uint64_t offset) const {
  const auto index = index_of(offset);
  return index ? values_[*index] : 0;
}

void AmdIommuRegisters::set(std::uint64_t offset, std::uint64_t value) {
  if (const auto index = index_of(offset)) values_[*index] = value;
}

std::optional<std::uint64_t> AmdIommuRegisters::write(std::uint64_t offset, ConstByteSpan from) {
  const std::uint64_t within = offset % sizeof(std::uint64_t);
  const auto index = index_of(offset - within);
  if (!index) return std::nullopt;
  const AmdIommuRegisterRow& row = rows[*index];
  std::uint64_t& value = values_[*index];
  const std::uint64_t before = value;

  std::array<std::byte, sizeof(std::uint64_t)> written{}, mask{};
  std::ranges::copy(from, written.begin() + static_cast<std::ptrdiff_t>(within));
  std::fill_n(mask.begin() + static_cast<std::ptrdiff_t>(within), from.size(), std::byte{0xff});
  const auto bits = load<std::uint64_t>(written);
  const std::uint64_t settable = row.settable & load<std::uint64_t>(mask);
  value = (value & ~settable) | (bits & settable);
  value &= ~(bits & row.cleared_by_ones);
  return before;
}

}  // namespace cbit::iommu
