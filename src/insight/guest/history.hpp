// How a run went over virtual time: shared pages, slots of the bounce pool, bytes of each device.
//
// From events alone. Memory is bounded: `samples_max` samples of equal length, which doubles when they are
// full; devices by the machine's slots. Threading: one thread, as for every sink.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "base/trace.hpp"

namespace cbit::guest {

class History final : public EventSink {
 public:
  static constexpr std::size_t samples_max = 512;
  static constexpr std::uint64_t first_sample_ns = 1'000'000;

  struct Sample {
    std::uint64_t shared_pages = 0;  // at its end
    std::uint64_t slots_max = 0;
    std::map<NameId, std::uint64_t> device_bytes;  // moved in it, either way
  };

  void on_event(const Event& event) override;
  // Up to the end of the run; samples in which nothing happened are filled in.
  void finish(std::uint64_t now_ns) { sample_at(now_ns); }

  [[nodiscard]] std::uint64_t sample_ns() const { return sample_ns_; }
  [[nodiscard]] const std::vector<Sample>& samples() const { return samples_; }

 private:
  Sample& sample_at(std::uint64_t time_ns);
  void halve();

  std::uint64_t sample_ns_ = first_sample_ns;
  std::vector<Sample> samples_;
  std::uint64_t shared_pages_ = 0;
  std::uint64_t slots_ = 0;
};

}  // namespace cbit::guest
