// The features of an NVMe controller: numbers that a host sets and gets, with what may be changed of them.
// NVM Express Base Specification 1.4, 5.13 and 5.21. None is saved over a reset.
//
// Threading: one thread.
#pragma once

#include <cstdint>
#include <vector>

#include "base/state_stream.hpp"
#include "dev/nvme/data_pointer.hpp"
#include "spec/nvme.hpp"

namespace cbit::dev {

// Kelvins: of a device that does not get warm.
inline constexpr std::uint16_t nvme_temperature = 310;
inline constexpr std::uint16_t nvme_temperature_warning = 343;
inline constexpr std::uint16_t nvme_temperature_critical = 353;

class NvmeFeatures {
 public:
  // io_queue_pairs, vectors: 1 to 65536.
  NvmeFeatures(std::uint32_t io_queue_pairs, std::uint32_t vectors);
  void reset();

  // Dword 0 of the completion.
  // Errors: invalid_field; feature_not_saveable, feature_not_changeable.
  OrNvmeStatus<std::uint32_t> set(const spec::nvme::Command& command);
  [[nodiscard]] OrNvmeStatus<std::uint32_t> get(const spec::nvme::Command& command) const;

  [[nodiscard]] bool write_cache() const { return (write_cache_ & 1) != 0; }
  // HealthLog::critical_warning, as the thresholds have it.
  [[nodiscard]] std::uint8_t critical_warning() const;
  [[nodiscard]] bool wants_event(std::uint32_t of_async_event) const {
    return (async_event_ & of_async_event) != 0;
  }

  void transfer(StateStream& s);

 private:
  struct Row;
  static const Row rows[];

  [[nodiscard]] static const Row* find(std::uint8_t id);
  [[nodiscard]] OrNvmeStatus<std::uint32_t> value(spec::nvme::Feature id, std::uint32_t dword11,
                                                  bool initial) const;
  OrNvmeStatus<void> set_temperature(std::uint32_t dword11);
  OrNvmeStatus<void> set_vector(std::uint32_t dword11);

  std::uint32_t io_queue_pairs_;
  std::uint32_t arbitration_{};
  std::uint32_t power_{};
  std::uint32_t error_recovery_{};
  std::uint32_t write_cache_{};
  std::uint32_t coalescing_{};
  std::uint32_t atomicity_{};
  std::uint32_t async_event_{};
  std::uint16_t too_hot_{};
  std::uint16_t too_cold_{};
  std::vector<bool> uncoalesced_;  // by vector
};

}  // namespace cbit::dev
