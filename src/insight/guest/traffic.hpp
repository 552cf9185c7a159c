// What a run's DMA and conversions were, by device and by who asked: from events alone.
//
// Memory is bounded: devices by the machine's slots, callers by `callers_max`; who comes later is counted as
// "others". Threading: one thread, as for every sink.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/trace.hpp"

namespace cbit::guest {

struct DeviceTraffic {
  std::string device;
  std::uint64_t mappings = 0;
  std::uint64_t mapped_bytes = 0;
  std::uint64_t bounced = 0;     // mappings that went through a bounce buffer
  std::uint64_t translated = 0;  // mappings whose addresses are the IOMMU's
  std::uint64_t refused = 0;
  std::uint64_t iommu_faults = 0;   // accesses that the IOMMU refused
  std::uint64_t bytes_read = 0;     // by the device, from memory
  std::uint64_t bytes_written = 0;  // by the device
};

struct CallerConversions {
  std::string caller;  // "dma_direct_alloc+0x13f"
  std::uint64_t calls = 0;
  std::uint64_t pages_shared = 0;
  std::uint64_t pages_made_private = 0;
};

class Traffic final : public EventSink {
 public:
  static constexpr std::size_t callers_max = 1024;

  // `tracer` outlives it.
  explicit Traffic(const Tracer& tracer) : tracer_{&tracer} {}
  void on_event(const Event& event) override;

  [[nodiscard]] std::vector<DeviceTraffic> by_device() const;      // by name
  [[nodiscard]] std::vector<CallerConversions> by_caller() const;  // most pages first

 private:
  void on(const DmaMapped& mapped);
  void on(const DmaMapFailed& failed) { ++devices_[failed.device].refused; }
  void on(const DeviceAccess& access);
  void on(const DeviceFault& refused);
  void on(const PageConversion& conversion);
  template <class Other>
  void on(const Other&) {}

  const Tracer* tracer_;
  std::map<NameId, DeviceTraffic> devices_;
  std::map<SiteId, CallerConversions> callers_;
};

}  // namespace cbit::guest
