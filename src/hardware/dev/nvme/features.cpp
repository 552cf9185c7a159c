#include "dev/nvme/features.hpp"

#include <algorithm>
#include <iterator>

namespace cbit::dev {

using namespace spec::nvme;

namespace {

// Feature::temperature_threshold: dword 11.
struct Threshold : Register<Threshold, std::uint32_t> {
  using Thsel = Field<21, 20>;  // 0: over, 1: under
  using Tmpsel = Field<19, 16>;
  using Tmpth = Field<15, 0>;
};
constexpr std::uint32_t composite = 0;
constexpr std::uint32_t all_sensors = 0xf;  // of Set Features

// Feature::interrupt_vector: dword 11.
struct VectorConfig : Register<VectorConfig, std::uint32_t> {
  using Cd = Field<16, 16, bool>;
  using Iv = Field<15, 0>;
};

constexpr std::uint32_t power_state_mask = 0x1f;

}  // namespace

// Features that are one number: its place, what it is at first, and the bits that a host may set.
struct NvmeFeatures::Row {
  Feature id;
  std::uint32_t NvmeFeatures::* place;  // nullptr: more than that
  std::uint32_t initial;
  std::uint32_t settable;
  bool per_namespace = false;
};
const NvmeFeatures::Row NvmeFeatures::rows[] = {
    {Feature::arbitration, &NvmeFeatures::arbitration_, 7, 0xffff'ff07},  // 7: no limit of a burst
    {Feature::power_management, &NvmeFeatures::power_, 0, 0xff},
    {Feature::temperature_threshold, nullptr, 0, ~0u},
    {Feature::error_recovery, &NvmeFeatures::error_recovery_, 0, 0xffff, true},
    {Feature::volatile_write_cache, &NvmeFeatures::write_cache_, 1, 1},
    {Feature::number_of_queues, nullptr, 0, ~0u},
    {Feature::interrupt_coalescing, &NvmeFeatures::coalescing_, 0, 0xffff},
    {Feature::interrupt_vector, nullptr, 0, ~0u},
    {Feature::write_atomicity, &NvmeFeatures::atomicity_, 0, 1},
    {Feature::async_event, &NvmeFeatures::async_event_, 0, 0xff},
};

NvmeFeatures::NvmeFeatures(std::uint32_t io_queue_pairs, std::uint32_t vectors)
    : io_queue_pairs_{io_queue_pairs}, uncoalesced_(vectors) {
  reset();
}

void NvmeFeatures::reset() {
  for (const Row& row : rows)
    if (row.place != nullptr) this->*row.place = row.initial;
  too_hot_ = nvme_temperature_warning;
  too_cold_ = 0;
  uncoalesced_.assign(uncoalesced_.size(), false);
}

const NvmeFeatures::Row* NvmeFeatures::find(std::uint8_t id) {
  const auto* const row = std::ranges::find(rows, Feature{id}, &Row::id);
  return row != std::end(rows) ? row : nullptr;
}

OrNvmeStatus<std::uint32_t> NvmeFeatures::set(const Command& command) {
  const Row* const row = find(command.cdw10 & 0xff);
  if (row == nullptr) return refused(status::invalid_field);
  if ((command.cdw10 & feature_save) != 0) return refused(status::feature_not_saveable);
  const std::uint32_t wanted = command.cdw11;
  switch (row->id) {
    case Feature::temperature_threshold: CBIT_TRY(set_temperature(wanted)); return 0;
    case Feature::interrupt_vector: CBIT_TRY(set_vector(wanted)); return 0;
    case Feature::number_of_queues:
      // 5.21.1.7: it has all that there are, whatever it asks for.
      if ((wanted & 0xffff) == 0xffff || wanted >> 16 == 0xffff) return refused(status::invalid_field);
      return value(row->id, wanted, false);
    case Feature::power_management:
      if ((wanted & power_state_mask) != 0) return refused(status::invalid_field);
      break;
    default: break;
  }
  this->*row->place = wanted & row->settable;
  return 0;
}

OrNvmeStatus<std::uint32_t> NvmeFeatures::get(const Command& command) const {
  const Row* const row = find(command.cdw10 & 0xff);
  if (row == nullptr) return refused(status::invalid_field);
  switch (FeatureSelect{static_cast<std::uint8_t>(command.cdw10 >> 8 & 7)}) {
    case FeatureSelect::current: return value(row->id, command.cdw11, false);
    case FeatureSelect::initial:
    case FeatureSelect::saved: return value(row->id, command.cdw11, true);
    case FeatureSelect::capabilities:
      return feature_changeable | (row->per_namespace ? feature_per_namespace : 0);
  }
  return refused(status::invalid_field);
}

OrNvmeStatus<std::uint32_t> NvmeFeatures::value(Feature id, std::uint32_t dword11, bool initial) const {
  switch (id) {
    case Feature::number_of_queues: return (io_queue_pairs_ - 1) << 16 | (io_queue_pairs_ - 1);
    case Feature::interrupt_vector: {
      const std::uint32_t vector = VectorConfig{{dword11}}.get<VectorConfig::Iv>();
      if (vector >= uncoalesced_.size()) return refused(status::invalid_field);
      return VectorConfig{}
          .with<VectorConfig::Iv>(vector)
          .with<VectorConfig::Cd>(!initial && uncoalesced_[vector])
          .raw;
    }
    case Feature::temperature_threshold: {
      const Threshold asked{{dword11}};
      if (asked.get<Threshold::Tmpsel>() != composite || asked.get<Threshold::Thsel>() > 1)
        return refused(status::invalid_field);
      const bool over = asked.get<Threshold::Thsel>() == 0;
      if (initial) return over ? nvme_temperature_warning : 0;
      return over ? too_hot_ : too_cold_;
    }
    default: break;
  }
  const Row& row = *find(static_cast<std::uint8_t>(id));
  return initial ? row.initial : this->*row.place;
}

OrNvmeStatus<void> NvmeFeatures::set_temperature(std::uint32_t dword11) {
  const Threshold wanted{{dword11}};
  const std::uint32_t sensor = wanted.get<Threshold::Tmpsel>();
  if ((sensor != composite && sensor != all_sensors) || wanted.get<Threshold::Thsel>() > 1)
    return refused(status::invalid_field);
  auto& place = wanted.get<Threshold::Thsel>() == 0 ? too_hot_ : too_cold_;
  place = static_cast<std::uint16_t>(wanted.get<Threshold::Tmpth>());
  return {};
}

OrNvmeStatus<void> NvmeFeatures::set_vector(std::uint32_t dword11) {
  const VectorConfig wanted{{dword11}};
  if (wanted.get<VectorConfig::Iv>() >= uncoalesced_.size()) return refused(status::invalid_field);
  uncoalesced_[wanted.get<VectorConfig::Iv>()] = wanted.get<VectorConfig::Cd>();
  return {};
}

std::uint8_t NvmeFeatures::critical_warning() const {
  return nvme_temperature >= too_hot_ || nvme_temperature <= too_cold_ ? warning_temperature : 0;
}

void NvmeFeatures::transfer(StateStream& s) {
  s(arbitration_, power_, error_recovery_, write_cache_, coalescing_, atomicity_, async_event_, too_hot_,
    too_cold_);
  for (std::size_t vector = 0; vector < uncoalesced_.size(); ++vector) {
    bool on = uncoalesced_[vector];
    s(on);
    uncoalesced_[vector] = on;
  }
}

}  // namespace cbit::dev
